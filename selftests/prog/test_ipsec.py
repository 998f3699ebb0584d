# SPDX-License-Identifier: GPL-2.0-only
"""`via ipsec` without IPsec: if1 is a device of it, what comes and leaves by if0 is in clear.

Packets that come out of SAs on a usual device are in selftests/netns/test_ipsec_rules.py.
"""

import re

import pytest
from conftest import SELF4, SELF6, Progrun
from packets import FAMILIES, IP, TCP, UDP, IPv6, IPv6ExtHdrFragment, Raw, echo, frame, l3
from packets import unreachable
from test_state import far_of, inside, peer_of, self_of

WAN, VPN, LAN = 0, 1, 2
HEAD = """\
interface wan = if0
interface vpn = if1
interface lan = if2
default in drop
default out accept
default forward drop
"""
POSTGRES = HEAD + "accept in proto tcp to self port 5432 via ipsec label db\n"


@pytest.fixture(scope="module", name="host")
def made_host():
    host = Progrun()
    host.call(ipsec=1 << VPN)
    for addr in (SELF4, SELF6):
        host.call(self=addr, flags=1)
    yield host
    host.close()


@pytest.fixture(name="fw")
def clean(host):
    host.call(flush=True)
    host.call(evict=True)
    return host


def up(f, l4, **more):
    """From the peer to this host."""
    return frame(l3(f, **more) / l4)


def down(f, l4):
    """What this host sends to the peer."""
    return frame(l3(f, src=self_of(f), dst=peer_of(f)) / l4)


def tcp(flags, dport=5432):
    return TCP(sport=1024, dport=dport, flags=flags, seq=100, ack=901)


def back(flags, sport=5432):
    return TCP(sport=sport, dport=1024, flags=flags, seq=900, ack=101)


def reason(fw, hook, packet, iface, **more):
    return fw.run(hook, packet, iface=iface, **more)["reason"]


def connect(fw, f, dport=5432):
    """A connection that came in by the IPsec device."""
    out = fw.run("ingress", up(f, tcp("S", dport)), iface=VPN)
    assert out["reason"] == "new", out
    assert reason(fw, "egress", down(f, back("SA", dport)), VPN) == "established"
    assert reason(fw, "ingress", up(f, tcp("A", dport)), VPN) == "established"
    return out["rule"]


@pytest.mark.parametrize("family", FAMILIES)
def test_one_line(fw, family):
    """Through IPsec it goes on, in clear neither its first packet nor a later one passes."""
    fw.rules(POSTGRES)
    assert reason(fw, "xdp", up(family, tcp("S")), WAN) == "undecided"
    assert reason(fw, "ingress", up(family, tcp("S")), WAN) == "default"
    assert reason(fw, "xdp", up(family, tcp("S")), VPN) == "undecided"
    assert connect(fw, family) == "db"
    for flags in ("A", "PA", "S", "R", "FA"):
        assert reason(fw, "xdp", up(family, tcp(flags)), WAN) == "undecided"
        assert reason(fw, "ingress", up(family, tcp(flags)), WAN) == "ipsec-clear"
    for flags in ("A", "PA", "R", "SA"):
        assert reason(fw, "egress", down(family, back(flags)), WAN) == "ipsec-clear"
    assert reason(fw, "xdp", up(family, tcp("A")), VPN) == "undecided"
    assert reason(fw, "ingress", up(family, tcp("A")), VPN) == "established"
    assert reason(fw, "egress", down(family, back("A")), VPN) == "established"


@pytest.mark.parametrize("family", FAMILIES)
def test_clear_packets_move_nothing(fw, family):
    """What is dropped for being in clear does not end a handshake, or a connection."""
    fw.rules(POSTGRES)
    assert reason(fw, "ingress", up(family, tcp("S")), VPN) == "new"
    assert reason(fw, "egress", down(family, back("SA")), VPN) == "established"
    before = state(fw, family)
    for packet in (tcp("A"), tcp("R"), tcp("FA")):
        assert reason(fw, "xdp", up(family, packet), WAN) == "undecided"
        assert reason(fw, "ingress", up(family, packet), WAN) == "ipsec-clear"
        assert state(fw, family) == before
    assert reason(fw, "ingress", up(family, tcp("A")), VPN) == "established"
    assert state(fw, family) != before


def state(fw, family):
    """The mark of the only entry of the connection table."""
    return re.search(r"mark=(\d+)", inside(fw, "conntrack", "-L", "-f", f"ipv{family}"))[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_rule_without_the_clause(fw, family):
    """What came out of an SA stays there, by any rule; what came in clear may go on."""
    fw.rules(POSTGRES + "accept in proto tcp to self port 22 label any\n")
    assert reason(fw, "xdp", up(family, tcp("S", 22)), VPN) == "new"
    assert connect(fw, family, 22) == "any"
    assert reason(fw, "ingress", up(family, tcp("A", 22)), WAN) == "ipsec-clear"
    assert reason(fw, "egress", down(family, back("A", 22)), WAN) == "ipsec-clear"
    fw.call(flush=True)
    assert reason(fw, "xdp", up(family, tcp("S", 22)), WAN) == "new"
    assert reason(fw, "ingress", up(family, tcp("S", 22)), WAN) == "new"
    assert reason(fw, "egress", down(family, back("SA", 22)), WAN) == "established"
    for iface in (WAN, VPN):
        assert reason(fw, "xdp", up(family, tcp("A", 22)), iface) == "established"
        assert reason(fw, "egress", down(family, back("A", 22)), iface) == "established"


@pytest.mark.parametrize("family", FAMILIES)
def test_forgotten(fw, family):
    """Of a flow that nobody remembers each packet is judged anew."""
    fw.rules(POSTGRES)
    connect(fw, family)
    fw.call(evict=True)
    assert reason(fw, "xdp", up(family, tcp("A")), WAN) == "undecided"
    assert reason(fw, "ingress", up(family, tcp("A")), WAN) == "default"
    assert reason(fw, "egress", down(family, back("A")), WAN) == "default"
    out = fw.run("ingress", up(family, tcp("A")), iface=VPN)
    assert (out["reason"], out["rule"]) == ("established", "db")
    assert reason(fw, "ingress", up(family, tcp("A")), WAN) == "ipsec-clear"


@pytest.mark.parametrize("family", FAMILIES)
def test_forgotten_and_ended(fw, family):
    """A flow that a load has ended does not come back for being forgotten."""
    fw.rules(POSTGRES)
    connect(fw, family)
    fw.call(evict=True)
    fw.rules(POSTGRES + "option on-reload kill\n")
    assert reason(fw, "ingress", up(family, tcp("A")), VPN) == "reload"


@pytest.mark.parametrize("family", FAMILIES)
def test_reload(fw, family):
    """New rules judge a flow as what it is, whichever of its packets comes first."""
    fw.rules(POSTGRES)
    connect(fw, family)
    fw.rules(POSTGRES + "# again\n")
    assert reason(fw, "ingress", up(family, tcp("A")), WAN) == "ipsec-clear"
    out = fw.run("egress", down(family, back("A")), iface=VPN)
    assert (out["reason"], out["rule"]) == ("established", "db")
    assert reason(fw, "ingress", up(family, tcp("A")), WAN) == "ipsec-clear"
    fw.rules(POSTGRES.replace("via", "not via"))
    assert reason(fw, "ingress", up(family, tcp("A")), VPN) == "reload"


@pytest.mark.parametrize("family", FAMILIES)
def test_reqid(fw, family):
    """By such a device nobody knows the SA: no reqid agrees."""
    fw.rules(POSTGRES.replace("ipsec", "ipsec reqid 7"))
    assert reason(fw, "ingress", up(family, tcp("S")), VPN) == "default"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "echo"])
def test_without_handshake(fw, family, kind):
    """The same of datagrams and pings."""
    icmp = "icmp" if family == 4 else "icmpv6"
    fw.rules(HEAD + "accept in proto udp to self port 53 via ipsec label in\n"
             f"accept in proto {icmp} type echo-request via ipsec label in\n")
    ask = UDP(sport=999, dport=53) if kind == "udp" else echo(family, 5)
    tell = UDP(sport=53, dport=999) if kind == "udp" else echo(family, 5, reply=True)
    assert reason(fw, "xdp", up(family, ask), WAN) == "undecided"
    assert reason(fw, "ingress", up(family, ask), WAN) == "default"
    assert fw.run("ingress", up(family, ask), iface=VPN)["rule"] == "in"
    for _ in range(2):
        assert reason(fw, "xdp", up(family, ask), WAN) == "undecided"
        assert reason(fw, "ingress", up(family, ask), WAN) == "ipsec-clear"
        assert reason(fw, "egress", down(family, tell), WAN) == "ipsec-clear"
        assert reason(fw, "egress", down(family, tell), VPN) == "established"
        assert reason(fw, "ingress", up(family, ask), VPN) == "established"


@pytest.mark.parametrize("family", FAMILIES)
def test_promise(fw, family):
    """`accept out via ipsec`: in clear nothing leaves, though the default lets all out."""
    fw.rules(HEAD + "accept out proto { tcp, udp } to port 443 via ipsec label safe\n")
    syn = TCP(sport=3333, dport=443, flags="S")
    for l4 in (syn, UDP(sport=3333, dport=443)):
        assert fw.run("egress", down(family, l4), iface=WAN)["reason"] == "ipsec-clear"
        out = fw.run("egress", down(family, l4), iface=VPN)
        assert (out["reason"], out["rule"]) == ("new", "safe")
        assert reason(fw, "egress", down(family, l4), WAN) == "ipsec-clear"
    answer = TCP(sport=443, dport=3333, flags="SA")
    assert reason(fw, "xdp", up(family, answer), WAN) == "undecided"
    assert reason(fw, "ingress", up(family, answer), WAN) == "ipsec-clear"
    assert reason(fw, "ingress", up(family, answer), VPN) == "established"
    assert reason(fw, "egress", down(family, UDP(sport=1, dport=444)), WAN) == "new"


@pytest.mark.parametrize("family", FAMILIES)
def test_forwarded(fw, family):
    """From IPsec into the LAN: in clear there, and on no other leg."""
    fw.rules(HEAD + "accept forward vpn -> lan proto tcp via ipsec label fwd\n"
             "accept forward on wan proto tcp to port 22\n")

    def packet(flags, reply=False):
        ends = (peer_of(family), far_of(family))
        src, dst = ends[::-1] if reply else ends
        l4 = back(flags) if reply else tcp(flags)
        return frame(l3(family, src=src, dst=dst) / l4)

    assert reason(fw, "egress", packet("S"), LAN, iif=WAN) == "default"
    assert reason(fw, "egress", packet("S"), LAN, iif=VPN) == "default"  # no secpath
    assert reason(fw, "ingress", packet("S"), VPN) in ("default", "undecided")


@pytest.mark.parametrize("family", FAMILIES)
def test_icmp_errors(fw, family):
    """An error about what is protected is protected, either way; others are not asked."""
    fw.rules(HEAD + "accept in proto udp to self port { 53, 54 } label in\n"
             "accept in proto udp to self port 55 via ipsec\n")
    quoted = l3(family, src=self_of(family), dst=peer_of(family)) / UDP(sport=53, dport=999)
    error = up(family, unreachable(family, quoted))
    assert reason(fw, "ingress", up(family, UDP(sport=999, dport=53)), VPN) == "new"
    assert reason(fw, "xdp", error, WAN) == "undecided"
    assert reason(fw, "ingress", error, WAN) == "ipsec-clear"
    assert reason(fw, "ingress", error, VPN) == "related"
    quoted = l3(family) / UDP(sport=999, dport=53)
    own = down(family, unreachable(family, quoted))
    assert reason(fw, "egress", own, WAN) == "ipsec-clear"
    assert reason(fw, "egress", own, VPN) == "related"
    fw.call(flush=True)
    assert reason(fw, "ingress", up(family, UDP(sport=999, dport=53)), WAN) == "new"
    for hook in ("xdp", "ingress"):
        assert reason(fw, hook, error, WAN) == "related"
    fw.call(evict=True)
    assert reason(fw, "ingress", error, WAN) == "icmp-unrelated"


def fragments(f, ident):
    """First and last fragment of a datagram to port 53, as frames."""
    whole = bytes(UDP(sport=999, dport=53, len=8 + 1600) / Raw(bytes(1600)))
    cuts = ((0, whole[:800]), (100, whole[800:]))
    if f == 4:
        return [frame(IP(src=peer_of(4), dst=self_of(4), id=ident, frag=at, proto=17,
                         flags=0 if at else "MF") / Raw(part)) for at, part in cuts]
    return [frame(IPv6(src=peer_of(6), dst=self_of(6)) /
                  IPv6ExtHdrFragment(id=ident, offset=at, m=0 if at else 1, nh=17) / Raw(part))
            for at, part in cuts]


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments(fw, family):
    """XDP leaves what follows to TC, which follows the first one."""
    fw.rules(HEAD + "accept in proto udp to self port 53 via ipsec\n")
    first, last = fragments(family, 1000)
    assert reason(fw, "ingress", first, WAN) == "default"
    assert reason(fw, "ingress", last, WAN) == "fragment-orphan"
    assert reason(fw, "xdp", first, VPN) == "undecided"
    assert reason(fw, "ingress", first, VPN) == "new"
    assert reason(fw, "xdp", last, VPN) == "undecided"
    assert reason(fw, "ingress", last, VPN) == "fragment"
