# SPDX-License-Identifier: GPL-2.0-only
"""State: who opens a flow, who continues it, what follows and what does not."""

import ipaddress
import itertools
import random
import subprocess

import pytest
from conftest import FAR4, FAR6, PEER4, PEER6, RULES, SELF4, SELF6, Progrun
from lab.netns import patience
from packets import (
    FAMILIES,
    IP,
    TCP,
    UDP,
    Ether,
    IPv6,
    IPv6ExtHdrFragment,
    Raw,
    echo,
    frame,
    l3,
    unreachable,
)

HOOKS = ("xdp", "ingress")
WAN = "interface wan = if0\ninterface lan = if1\n"


def self_of(f):
    return SELF4 if f == 4 else SELF6


def peer_of(f):
    return PEER4 if f == 4 else PEER6


def far_of(f):
    return FAR4 if f == 4 else FAR6


def to_us(f, l4):
    return frame(l3(f) / l4)


def from_us(f, l4):
    return frame(l3(f, src=self_of(f), dst=peer_of(f)) / l4)


def request(flags):
    return TCP(sport=1024, dport=22, flags=flags, seq=100, ack=901)


def answer(flags):
    return TCP(sport=22, dport=1024, flags=flags, seq=900, ack=101)


@pytest.mark.parametrize("hook", (*HOOKS, "egress"))
def test_no_rules(hook):
    """Programs without rules drop everything, and count it as what it is."""
    fresh = Progrun()
    try:
        packet = to_us(4, UDP(sport=1, dport=53))
        out = fresh.run(hook, packet)
        assert (out["reason"], out["bytes"]) == ("no-rules", len(packet))
    finally:
        fresh.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp_in(fw, family):
    """XDP decides, TC inserts, from then on XDP answers by conntrack."""
    first = fw.run("xdp", to_us(family, request("S")))
    assert (first["reason"], first["rule"]) == ("new", None)
    opened = fw.run("ingress", to_us(family, request("S")))
    assert (opened["reason"], opened["rule"]) == ("new", "ssh")
    assert fw.run("egress", from_us(family, answer("SA")))["reason"] == "established"
    for flags in ("A", "PA", "FA"):
        for hook in HOOKS:
            out = fw.run(hook, to_us(family, request(flags)))
            assert (out["reason"], out["rule"]) == ("established", None)


@pytest.mark.parametrize("when", ["never", "before", "after"])
@pytest.mark.parametrize("family", FAMILIES)
def test_handshake_of_an_evicted_flow(fw, family, when):
    """The record is made again by SYN+ACK; lost after that, the flow stays half open."""
    assert fw.run("ingress", to_us(family, request("S")))["reason"] == "new"
    if when == "before":
        fw.call(evict=True)
    assert fw.run("egress", from_us(family, answer("SA")))["reason"] == "established"
    if when == "after":
        fw.call(evict=True)
    for flags in ("A", "PA"):
        assert fw.run("xdp", to_us(family, request(flags)))["reason"] == "established"
    assert (life(fw, family, "tcp") > 3600) == (when != "after")


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp_out(fw, family):
    """The host's own connection opens at egress; XDP knows the reply."""
    syn = TCP(sport=3333, dport=443, flags="S")
    back = TCP(sport=443, dport=3333, flags="SA")
    assert fw.run("xdp", to_us(family, back))["reason"] == "tcp-no-syn"
    assert fw.run("egress", from_us(family, syn))["reason"] == "new"
    assert fw.run("xdp", to_us(family, back))["reason"] == "established"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_udp(fw, family, hook):
    ask, tell = UDP(sport=999, dport=53), UDP(sport=53, dport=999)
    assert fw.run("egress", from_us(family, tell))["reason"] == "new"
    fw.flush()
    assert fw.run("ingress", to_us(family, ask))["rule"] == "dns"
    assert fw.run("egress", from_us(family, tell))["reason"] == "established"
    assert fw.run(hook, to_us(family, ask))["reason"] == "established"
    other = UDP(sport=998, dport=54)
    assert fw.run(hook, to_us(family, other))["reason"] == "default"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_echo(fw, family, hook):
    assert fw.run("ingress", to_us(family, echo(family, 5)))["rule"] == "ping"
    assert fw.run(hook, to_us(family, echo(family, 5)))["reason"] == "established"
    out = fw.run("egress", from_us(family, echo(family, 5, reply=True)))
    assert out["reason"] == "established"
    # the reverse of a flow is no flow for a request (GHSA-c66w-hq56-4q97)
    assert fw.run("egress", from_us(family, echo(family, 5)))["reason"] == "new"
    # nobody asked with this identifier
    wrong = fw.run(hook, to_us(family, echo(family, 6, reply=True)))
    assert wrong["reason"] == "icmp-no-request"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_reply_of_own_ping(fw, family, hook):
    back = to_us(family, echo(family, 8, reply=True))
    assert fw.run(hook, back)["reason"] == "icmp-no-request"
    assert fw.run("egress", from_us(family, echo(family, 8)))["reason"] == "new"
    assert fw.run(hook, back)["reason"] == "established"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_related(fw, family, hook):
    """An error passes if what it quotes left here, and was addressed so."""
    out = l3(family, src=self_of(family), dst=peer_of(family))
    quoted = out / UDP(sport=3333, dport=5353) / Raw(b"x" * 8)
    error = frame(l3(family) / unreachable(family, quoted))
    assert fw.run(hook, error)["reason"] == "icmp-unrelated"
    assert fw.run("egress", frame(quoted))["reason"] == "new"
    assert fw.run(hook, error)["reason"] == "related"
    # outer destination is not the quoted source (CVE-2019-5598)
    bent = frame(
        l3(family, dst=far_of(family)) / unreachable(family, quoted)
    )
    assert fw.run(hook, bent)["reason"] == "icmp-unrelated"
    # from any router on the way, not only from the end
    router = frame(
        l3(family, src=far_of(family)) / unreachable(family, quoted)
    )
    assert fw.run(hook, router)["reason"] == "related"


@pytest.mark.parametrize("family", FAMILIES)
def test_related_out(fw, family):
    """The host says port unreachable about an accepted packet."""
    ask = l3(family) / UDP(sport=999, dport=53)
    assert fw.run("ingress", frame(ask))["rule"] == "dns"
    back = l3(family, src=self_of(family), dst=peer_of(family))
    out = fw.run("egress", frame(back / unreachable(family, ask)))
    assert out["reason"] == "related"


@pytest.mark.parametrize("family", FAMILIES)
def test_essential_makes_no_state(fw, family):
    """What no rule accepts cannot fill the table: DHCP answers of anybody."""
    server, client = (67, 68) if family == 4 else (547, 546)
    offer = to_us(family, UDP(sport=server, dport=client))
    for _ in range(2):
        assert fw.run("xdp", offer)["reason"] == "essential"
        assert fw.run("ingress", offer)["reason"] == "essential"
    assert states(fw) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_own_error(fw, family):
    """This host's own errors get out, those of others only if related."""
    fw.rules("interface wan = if0\ninterface lan = if1\ndefault out drop\n")
    quoted = l3(family, dst=far_of(family)) / UDP(sport=7, dport=8)
    error = frame(
        l3(family, src=self_of(family), dst=peer_of(family))
        / unreachable(family, quoted)
    )
    assert fw.run("egress", error)["reason"] == "essential"
    other = frame(
        l3(family, src=far_of(family), dst=peer_of(family))
        / unreachable(family, quoted)
    )
    assert fw.run("egress", other, iif=1)["reason"] == "icmp-unrelated"
    fw.rules("interface wan = if0\ndrop out proto icmp type destination-unreachable\n")
    assert fw.run("egress", error)["reason"] == "rule"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_related_echo(fw, family, hook):
    quoted = l3(family, src=self_of(family), dst=peer_of(family)) / echo(family, 44)
    error = frame(l3(family, src=far_of(family)) / unreachable(family, quoted))
    assert fw.run(hook, error)["reason"] == "icmp-unrelated"
    fw.run("egress", frame(quoted))
    assert fw.run(hook, error)["reason"] == "related"


@pytest.mark.parametrize("hook", HOOKS)
def test_ports_need_ports(fw, hook):
    """SCTP to port 22 is no SSH (CVE-2014-8160)."""
    sctp = Raw(b"\x04\x00\x00\x16" + b"\x00" * 12)
    assert fw.run(hook, frame(l3(4, proto=132) / sctp))["reason"] == "default"
    assert fw.run(hook, frame(l3(6, nh=132) / sctp))["reason"] == "default"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_stateless(fw, family, hook):
    """Judged before state: cuts a running flow, accepts without making one."""
    ntp = to_us(family, UDP(sport=123, dport=123))
    for _ in range(2):
        out = fw.run(hook, ntp)
        assert (out["reason"], out["rule"]) == ("stateless", "ntp")
    src = "203.0.113.7" if family == 4 else "2001:db8:bad::7"
    bad = UDP(sport=53, dport=999)
    mine = frame(l3(family, src=self_of(family), dst=src) / UDP(sport=999, dport=53))
    assert fw.run("egress", mine)["reason"] == "new"
    out = fw.run(hook, frame(l3(family, src=src) / bad))
    assert (out["reason"], out["rule"]) == ("rule", "bad")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_flood_is_not_checked(fw, family, hook):
    """What a stateless rule drops may be martian, too; what one accepts may not, nor is a
    martian answered."""
    def reason(verdict, l4):
        fw.rules(f"{WAN}{verdict} stateless in on wan proto udp label r\n")
        martian = "127.0.0.1" if family == 4 else "::1"
        out = fw.run(hook, frame(l3(family, src=martian) / l4))
        return out["reason"], out["rule"]

    assert reason("drop", UDP(sport=7, dport=9)) == ("rule", "r")
    assert reason("accept", UDP(sport=7, dport=9)) == ("martian", None)
    assert reason("reject", UDP(sport=7, dport=9)) == ("martian", None)
    assert reason("drop", TCP(sport=7, dport=9, flags="S")) == ("martian", None)


def blocked(f, last, step=2):
    """A set of more addresses than entries of rules can say, of both families; `last` is
    one of the family's."""
    there = [f"203.0.113.{i}, 2001:db8:bad::{i:x}" for i in range(0, 200, step)]
    return ("set many { " + ", ".join(there) + " }\n",
            f"203.0.113.{last}" if f == 4 else f"2001:db8:bad::{last:x}")


def group_of(f):
    return "239.1.1.1" if f == 4 else "ff0e::1:1"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_block(fw, family, hook):
    """A set that is dropped at once, before anything else is known of a packet: by the rule
    for its direction, of its zone."""
    text, member = blocked(family, 14)
    _, other = blocked(family, 15)
    text += WAN + "default in accept\ndefault forward accept\n"
    syn = TCP(sport=1024, dport=22, flags="S")

    def rule(l4, iface=0, **addresses):
        addresses = {"src": member, **addresses}
        out = fw.run(hook, frame(l3(family, **addresses) / l4), iface=iface)
        assert out["reason"] != "rule" or out["rule"] is not None, out
        return out["rule"] if out["reason"] == "rule" else None

    fw.rules(text + "drop stateless in on wan from @many label in\n"
                    "drop stateless forward from @many label through\n")
    for l4 in (syn, UDP(sport=67, dport=9), UDP(sport=7, dport=9), Raw(b"x")):
        assert rule(l4) == "in"
        assert rule(l4, dst=group_of(family)) == "in"
        assert rule(l4, dst=far_of(family)) == "through"
        assert rule(l4, iface=1) is None
        assert rule(l4, iface=1, dst=far_of(family)) == "through"
    assert rule(syn, src=other) is None
    assert rule(syn, src=other, dst=far_of(family)) is None
    fw.rules(text + "drop stateless forward from @many label through\n")
    assert rule(syn) is None
    assert rule(syn, dst=far_of(family)) == "through"
    fw.rules(text + "drop stateless in to @many label to\n")
    assert rule(syn) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_block_is_first(fw, family):
    """XDP knows members by their addresses: what else is wrong is not looked at. But rules
    before it, and others of its set, keep their say."""
    text, member = blocked(family, 14)
    text += WAN
    broken = frame(l3(family, src=member) / TCP(sport=1024, dport=0, flags="FS"))
    fine = frame(l3(family, src=member) / TCP(sport=1024, dport=22, flags="S"))

    def outcome(rules, packet):
        fw.rules(text + rules)
        out = fw.run("xdp", packet)
        return out["reason"], out["rule"]

    drop = "drop stateless in from @many label many\n"
    assert outcome(drop, broken) == ("rule", "many")
    assert outcome("accept stateless in proto tcp to port 22 label ssh\n" + drop,
                   fine) == ("stateless", "ssh")
    assert outcome("accept stateless in proto tcp to port 22 label ssh\n" + drop,
                   broken) == ("port-zero", None)
    assert outcome("drop stateless in from @many log label many\n", broken) == ("port-zero", None)
    assert outcome("accept stateless in from @many label many\n", fine) == ("stateless", "many")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_block_of_new_flows(fw, family, hook):
    """Who is in one set says nothing of another one, which new flows are asked for."""
    text, member = blocked(family, 14)
    others = ", ".join(f"203.0.113.{i}, 2001:db8:bad::{i:x}" for i in range(1, 200, 2))
    _, other = blocked(family, 15)
    _, stranger = blocked(family, 250)
    fw.rules(text + f"set more {{ {others} }}\n" + WAN + "default in accept\n"
             "drop stateless in from @many label many\ndrop in from @more label more\n")
    syn = TCP(sport=1024, dport=22, flags="S")
    for src, rule in ((member, "many"), (other, "more")):
        out = fw.run(hook, frame(l3(family, src=src) / syn))
        assert (out["reason"], out["rule"]) == ("rule", rule)
    assert fw.run(hook, frame(l3(family, src=stranger) / syn))["reason"] == "new"


@pytest.mark.parametrize("tags", (0, 1))
@pytest.mark.parametrize("family", (4, 6))
@pytest.mark.parametrize("hook", HOOKS)
def test_accept_stateless(fw, hook, family, tags):
    """Counted for its rule, however soon that is found."""
    fw.rules(WAN + "default in drop\n" +
             "".join(f"accept stateless in proto udp to any port {port} label to-{port}\n"
                     for port in (9, 10)))
    for port in (10, 9):
        out = fw.run(hook, frame(l3(family) / UDP(sport=7, dport=port), tags))
        assert (out["reason"], out["rule"]) == ("stateless", f"to-{port}"), out


@pytest.mark.parametrize("rule", ("stateless in", "in proto udp"))
@pytest.mark.parametrize("size", (1000, 9000, 20000))
@pytest.mark.parametrize("hook", HOOKS)
def test_block_of_many_hosts(fw, hook, size, rule):
    """However many they are, and whoever asks: more than a hash has (FW_ADDRSET_FEW), spread
    evenly, with one network that is not."""
    some = random.Random(size)
    members = {some.randrange(11 << 24, 100 << 24) for _ in range(size)}
    close = range(47 << 24 | 0x10000, (47 << 24 | 0x10000) + 200, 2)
    members.update(close)
    hosts = ", ".join(str(ipaddress.IPv4Address(m)) for m in sorted(members))
    fw.rules(f"set many {{ {hosts} }}\n" + WAN + "default in accept\n"
             f"drop {rule} from @many label many\n")
    asked = some.sample(sorted(members), 30) + list(close[:5])
    asked += [a + by for a in asked for by in (-1, 1)]
    for address in asked:
        src = str(ipaddress.IPv4Address(address))
        out = fw.run(hook, frame(l3(4, src=src) / UDP(sport=7, dport=9)))
        assert (out["rule"] == "many") == (address in members), (src, out)


@pytest.mark.parametrize("hook", HOOKS)
def test_block_offers(fw, hook):
    """A DHCP server's answer to an address that we do not have yet comes in."""
    text, member = blocked(4, 14)
    fw.rules(text + WAN + "drop stateless in from @many label in\n"
             "drop stateless forward from @many label through\n")
    offer = frame(l3(4, src=member, dst=far_of(4)) / UDP(sport=67, dport=68))
    assert fw.run(hook, offer)["rule"] == "in"
    flood = frame(l3(4, src=member, dst=far_of(4)) / UDP(sport=66, dport=68))
    assert fw.run(hook, flood)["rule"] == "through"


@pytest.mark.parametrize("family", FAMILIES)
def test_loopback_is_self(fw, family):
    """What leaves with such an address is ours, though no table of ours has it."""
    fw.rules("interface wan = if0\ndefault out drop\n"
             "accept stateless out proto udp from self to port 7\n"
             "accept stateless out proto udp to self port 9\n")
    own = "127.0.0.2" if family == 4 else "::1"

    def reason(sport, dport, **addresses):
        udp = UDP(sport=sport, dport=dport)
        return fw.run("egress", frame(l3(family, **addresses) / udp))["reason"]
    assert reason(8, 7, src=own, dst=peer_of(family)) == "stateless"
    assert reason(8, 9, src=self_of(family), dst=own) == "stateless"
    assert reason(8, 7, src=far_of(family), dst=peer_of(family)) == "default"
    assert reason(8, 9, src=self_of(family), dst=peer_of(family)) == "default"


@pytest.mark.parametrize("family", FAMILIES)
def test_forward(fw, family):
    """Ingress cannot know the leaving interface: egress decides and inserts."""
    syn = frame(l3(family, dst=far_of(family)) / TCP(sport=7, dport=80, flags="S"))
    back = frame(
        l3(family, src=far_of(family), dst=peer_of(family))
        / TCP(sport=80, dport=7, flags="SA")
    )
    assert fw.run("xdp", syn)["reason"] == "undecided"
    assert fw.run("egress", syn, iface=2, iif=0)["reason"] == "uncovered"
    out = fw.run("egress", syn, iface=1, iif=0)
    assert (out["reason"], out["rule"]) == ("new", "web")
    assert fw.run("xdp", syn)["reason"] == "established"
    assert fw.run("xdp", back, iface=1)["reason"] == "established"
    assert fw.run("egress", back, iface=0, iif=1)["reason"] == "established"
    # the other way nobody may open: certain at once, dies in XDP
    other = frame(
        l3(family, src=far_of(family), dst=peer_of(family))
        / TCP(sport=81, dport=80, flags="S")
    )
    assert fw.run("xdp", other, iface=1)["reason"] == "default"


@pytest.mark.parametrize("family", FAMILIES)
def test_forward_certain(fw, family):
    """A rule without a leaving zone is certain at ingress and counted once."""
    udp = frame(l3(family, dst=far_of(family)) / UDP(sport=7, dport=4000))
    assert fw.run("xdp", udp)["reason"] == "new"
    out = fw.run("ingress", udp)
    assert (out["reason"], out["rule"]) == ("new", "anywhere")
    out = fw.run("egress", udp, iface=1, iif=0)
    assert (out["reason"], out["rule"]) == ("established", None)


SECURE = f"""{WAN}
accept in proto tcp to self port 22 via ipsec reqid 5 label tunnel
accept in proto tcp to self port {{ 22, 23 }} label any
drop in proto udp to self port 53 not via ipsec label clear
accept in proto udp to self label dns
accept forward wan -> lan proto udp to port 80 via ipsec label web
drop forward on wan proto udp to port 81 via ipsec label web-tunnel
accept forward on wan proto udp to port 81 label web-clear
accept out on wan proto udp to port 80 via ipsec label promise
accept out on wan label out
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_in_clear(fw, family):
    """XDP leaves to TC what IPsec could change; in clear, the next rule decides."""
    fw.rules(SECURE)
    syn = to_us(family, request("S"))
    other = to_us(family, TCP(sport=1024, dport=23, flags="S"))
    ask = to_us(family, UDP(sport=999, dport=53))
    assert fw.run("xdp", syn)["reason"] == "undecided"
    out = fw.run("ingress", syn)
    assert (out["reason"], out["rule"]) == ("new", "any")
    assert fw.run("xdp", other)["reason"] == "new"  # no such rule is about it
    assert fw.run("xdp", ask)["reason"] == "undecided"
    out = fw.run("ingress", ask)
    assert (out["reason"], out["rule"]) == ("rule", "clear")


@pytest.mark.parametrize("family", FAMILIES)
def test_forward_in_clear(fw, family):
    """With the leaving interface open as well, and without."""
    fw.rules(SECURE)
    to_web, to_other = (frame(l3(family, dst=far_of(family)) / UDP(sport=7, dport=port))
                        for port in (80, 81))
    assert fw.run("xdp", to_web)["reason"] == "undecided"
    assert fw.run("ingress", to_web)["reason"] == "default"  # whatever it leaves by
    assert fw.run("egress", to_web, iface=1, iif=0)["reason"] == "default"
    assert fw.run("xdp", to_other)["reason"] == "undecided"
    out = fw.run("ingress", to_other)
    assert (out["reason"], out["rule"]) == ("new", "web-clear")


@pytest.mark.parametrize("family", FAMILIES)
def test_promise_in_clear(fw, family):
    """What agrees with a promise dies at egress, and no later rule is asked."""
    fw.rules(SECURE)
    for port, said in ((80, ("ipsec-clear", "promise")), (81, ("new", "out"))):
        out = fw.run("egress", from_us(family, UDP(sport=999, dport=port)))
        assert (out["reason"], out["rule"]) == said


@pytest.mark.parametrize("family", FAMILIES)
def test_reload_recheck(fw, family):
    """Policy wins: a running flow is judged again by its opener's tuple."""
    ask, tell = UDP(sport=999, dport=53), UDP(sport=53, dport=999)
    fw.run("ingress", to_us(family, ask))
    fw.rules("interface wan = if0\naccept in proto udp to port 53 label again\n")
    assert fw.run("xdp", to_us(family, ask))["reason"] == "undecided"
    out = fw.run("egress", from_us(family, tell))
    assert (out["reason"], out["rule"]) == ("established", "again")
    assert fw.run("xdp", to_us(family, ask))["reason"] == "established"
    fw.rules("interface wan = if0\ndrop in label no\n")
    assert fw.run("ingress", to_us(family, ask))["reason"] == "reload"
    assert fw.run("ingress", to_us(family, ask))["reason"] == "rule"


@pytest.mark.parametrize("family", FAMILIES)
def test_syn_rst_ack_is_no_handshake(fw, family):
    """A RST brings no flow past its handshake (a five-day entry for nothing)."""
    fw.run("ingress", to_us(family, request("S")))
    fw.run("ingress", to_us(family, request("R")))
    assert fw.run("ingress", to_us(family, request("A")))["reason"] == "established"
    assert "ESTABLISHED" not in states(fw)


def inside(fw, *command, **options):
    """Run a command in the harness's namespace; what it prints."""
    return subprocess.run(
        ["nsenter", f"--net=/proc/{fw.process.pid}/ns/net", *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        **options,
    ).stdout


def states(fw):
    """What conntrack says of our flows' timeouts."""
    out = inside(fw, "conntrack", "-L")
    return [
        "ESTABLISHED" if int(line.split()[2]) > 1000 else "short"
        for line in out.splitlines()
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_timeouts(fw, family):
    """Half-open flows die in two minutes, established ones live for days."""
    fw.run("ingress", to_us(family, request("S")))
    assert states(fw) == ["short"]
    fw.run("egress", from_us(family, answer("SA")))
    assert states(fw) == ["short"]
    fw.run("xdp", to_us(family, request("A")))
    assert states(fw) == ["ESTABLISHED"]
    fw.run("xdp", to_us(family, request("R")))
    assert states(fw) == ["short"]
    fw.run("xdp", to_us(family, request("PA")))
    assert states(fw) == ["ESTABLISHED"]


@pytest.mark.parametrize("family", FAMILIES)
def test_reject(fw, family):
    """TC turns the packet into its answer."""
    syn = l3(family) / TCP(sport=1024, dport=23, flags="S", seq=100)
    assert fw.run("xdp", frame(syn))["reason"] == "undecided"
    out = fw.run("ingress", frame(syn))
    assert (out["reason"], out["rule"]) == ("reject", "telnet")
    back = Ether(bytes.fromhex(out["frame"]))
    assert back[TCP].flags == "RA" and back[TCP].ack == 101
    assert (back[TCP].sport, back[TCP].dport) == (23, 1024)
    check = back[TCP].chksum
    del back[TCP].chksum
    assert Ether(bytes(back))[TCP].chksum == check
    udp = l3(family) / UDP(sport=1024, dport=23) / Raw(b"hello")
    out = fw.run("ingress", frame(udp))
    assert out["reason"] == "reject"
    back = Ether(bytes.fromhex(out["frame"]))
    inner = back.lastlayer()
    assert b"hello" in bytes(inner)
    layer = back["ICMP" if family == 4 else "ICMPv6DestUnreach"]
    check = layer.chksum if family == 4 else layer.cksum
    if family == 4:
        assert (layer.type, layer.code) == (3, 3)
        del layer.chksum
        assert Ether(bytes(back))["ICMP"].chksum == check
    else:
        assert layer.code == 4
        del layer.cksum
        assert Ether(bytes(back))["ICMPv6DestUnreach"].cksum == check


@pytest.mark.parametrize("family", FAMILIES)
def test_guest(fw, family):
    """Where somebody's rules track connections, the kernel inserts, not we."""
    syn = to_us(family, request("S"))
    table = "ip" if family == 4 else "ip6"
    other = 6 if family == 4 else 4
    inside(fw, "nft", "-f", "-", input=f"""table {table} somebody {{
        chain c {{
            type filter hook input priority 0; ct state established accept;
        }}
    }}""")
    try:
        out = fw.run("ingress", syn)
        assert (out["reason"], out["rule"]) == ("new", None)
        assert states(fw) == []
        # the other family has no hooks and is still ours
        assert fw.run("ingress", to_us(other, request("S")))["rule"] == "ssh"
        assert len(states(fw)) == 1
    finally:
        inside(fw, "nft", "delete", "table", table, "somebody")
    fw.flush()
    assert fw.run("ingress", syn)["rule"] == "ssh"
    assert len(states(fw)) == 1


# ---- what a reload does to flows ----------------------------------------------

DENY_ALL = "default in drop\ndefault out drop\n"


def ports_of(proto):
    """Requests to this host and answers, made by `flags` where there are any."""
    if proto == "tcp":
        return request("A"), answer("A")
    return UDP(sport=1024, dport=53), UDP(sport=53, dport=1024)


def open_both(fw, family):
    """A TCP and a UDP flow and a ping to this host, answered."""
    assert fw.run("ingress", to_us(family, request("S")))["reason"] == "new"
    assert fw.run("egress", from_us(family, answer("SA")))["reason"] == "established"
    assert fw.run("ingress", to_us(family, request("A")))["reason"] == "established"
    there, back = ports_of("udp")
    assert fw.run("ingress", to_us(family, there))["reason"] == "new"
    assert fw.run("egress", from_us(family, back))["reason"] == "established"
    assert fw.run("ingress", to_us(family, echo(family, 5)))["reason"] == "new"


def packets_of_both(family):
    """(what the peer sends, what we answer) of each flow of open_both()."""
    yield tuple(ports_of("tcp"))
    yield tuple(ports_of("udp"))
    yield echo(family, 5), echo(family, 5, reply=True)


@pytest.mark.parametrize("hook", (*HOOKS, "egress"))
@pytest.mark.parametrize("family", FAMILIES)
def test_reload_keep(fw, family, hook):
    """Flows of earlier rules go on, by any hook first, new ones are judged."""
    open_both(fw, family)
    fw.rules(WAN + "option on-reload keep\n" + DENY_ALL)
    for there, back in packets_of_both(family):
        frames = (from_us(family, back),) if hook == "egress" else (to_us(family, there),)
        for one in frames:
            assert fw.run(hook, one)["reason"] == "established"
    fresh = TCP(sport=1025, dport=22, flags="S")
    assert fw.run("ingress", to_us(family, fresh))["reason"] == "default"
    # and kept again by the next load, without a packet in between
    fw.rules(WAN + "option on-reload keep\n" + DENY_ALL + "# more\n")
    fw.rules(WAN + "option on-reload keep\n" + DENY_ALL)
    for there, back in packets_of_both(family):
        assert fw.run("xdp", to_us(family, there))["reason"] == "established"
        assert fw.run("egress", from_us(family, back))["reason"] == "established"
    # judged again as soon as rules say so
    fw.rules(WAN + DENY_ALL)
    for there, _ in packets_of_both(family):
        assert fw.run("xdp", to_us(family, there))["reason"] == "undecided"
        assert fw.run("ingress", to_us(family, there))["reason"] == "reload"


@pytest.mark.parametrize("hook", ("ingress", "egress"))
@pytest.mark.parametrize("family", FAMILIES)
def test_reload_kill(fw, family, hook):
    """Flows of earlier rules end, though the new ones would accept them."""
    open_both(fw, family)
    text = fw.running
    fw.rules("option on-reload kill\n" + text)
    for there, back in packets_of_both(family):
        assert fw.run("xdp", to_us(family, there))["reason"] == "undecided"
        end = to_us(family, there) if hook == "ingress" else from_us(family, back)
        out = fw.run(hook, end)
        assert (out["reason"], out["rule"]) == ("reload", None)
    # nothing is left of them
    assert fw.run(hook, to_us(family, request("A")) if hook == "ingress"
                  else from_us(family, answer("A")))["reason"] == "tcp-no-syn"
    # what is opened now lives, and is not ended by rules that do not say so
    open_both(fw, family)
    fw.rules(text)
    for there, _ in packets_of_both(family):
        assert fw.run("ingress", to_us(family, there))["reason"] == "established"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_errors_about_killed_flows(fw, family, hook):
    """An ICMP error is of a flow that lives, also one that new rules have yet to judge."""
    errors = []
    for l4 in (UDP(sport=3333, dport=5353), echo(family, 44)):
        quoted = l3(family, src=self_of(family), dst=peer_of(family)) / l4
        assert fw.run("egress", frame(quoted))["reason"] == "new"
        errors.append(frame(l3(family) / unreachable(family, quoted)))
    text = fw.running
    for more, want in (("# again\n", "related"), ("option on-reload kill\n", "icmp-unrelated"),
                       ("# later\n", "icmp-unrelated")):
        fw.rules(more + text)
        assert [fw.run(hook, error)["reason"] for error in errors] == [want] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_killed_before_kept(fw, family):
    """A load that ends flows ends them for good: what keeps flows comes too late."""
    open_both(fw, family)
    text = fw.running
    fw.rules("option on-reload kill\n" + text)
    fw.rules("option on-reload keep\n" + text)
    for there, _ in packets_of_both(family):
        assert fw.run("xdp", to_us(family, there))["reason"] == "undecided"
        assert fw.run("ingress", to_us(family, there))["reason"] == "reload"
    open_both(fw, family)
    fw.rules("option on-reload keep\n" + text + "# more\n")
    for there, _ in packets_of_both(family):
        assert fw.run("xdp", to_us(family, there))["reason"] == "established"
# ---- a connection table that fills up -----------------------------------------------


@pytest.fixture
def pressure(fw):
    """Says how full the table is, as the daemon does; takes it back."""
    yield lambda room, half_open=0, seconds=60: fw.call(
        room=room, half_open=half_open, seconds=seconds
    )
    fw.call(room=0, half_open=0, seconds=0)


# What unanswered flows live at most, of which slow machines see a good deal pass.
SHORT = round(5 + patience(2))


def life(fw, family, proto):
    """Seconds that the only flow has left."""
    found = inside(fw, "conntrack", "-L", "-f", f"ipv{family}", "-p", proto)
    return int(found.split()[2])


@pytest.mark.parametrize("family", FAMILIES)
def test_new_flows_are_kept_out(fw, pressure, family):
    """Not before there is no room, by XDP already, and no longer than that is said."""
    pressure(2)
    syns = [TCP(sport=port, dport=22, flags="S") for port in range(1024, 1029)]
    for syn in syns[:2]:
        assert fw.run("xdp", to_us(family, syn))["reason"] == "new"
        assert fw.run("ingress", to_us(family, syn))["reason"] == "new"
    for hook in HOOKS:
        out = fw.run(hook, to_us(family, syns[2]))
        assert (out["reason"], out["drop"], out["rule"]) == ("table-pressure", True, None)
    ask = UDP(sport=3333, dport=5353)
    assert fw.run("egress", from_us(family, ask))["reason"] == "table-pressure"
    # what is there goes on, what makes no entry passes
    for hook in HOOKS:
        again = fw.run(hook, to_us(family, syns[0]))
        assert again["reason"] == "established"
        assert fw.run(hook, to_us(family, UDP(dport=123)))["reason"] == "stateless"
    assert fw.run("ingress", to_us(family, echo(family, 5)))["reason"] == "new"
    # a daemon that has died says nothing any more
    pressure(0, seconds=0)
    assert fw.run("ingress", to_us(family, syns[2]))["reason"] == "new"


@pytest.mark.parametrize("family", FAMILIES)
def test_unanswered_flows_live_shortly(fw, pressure, family):
    """Until the handshake is over: then a flow lives as long as ever."""
    assert fw.run("ingress", to_us(family, request("S")))["reason"] == "new"
    assert life(fw, family, "tcp") > 20
    fw.flush()
    pressure(1000, half_open=SHORT)
    assert fw.run("ingress", to_us(family, request("S")))["reason"] == "new"
    assert 5 <= life(fw, family, "tcp") <= SHORT
    assert fw.run("egress", from_us(family, answer("SA")))["reason"] == "established"
    assert 5 <= life(fw, family, "tcp") <= SHORT
    assert fw.run("ingress", to_us(family, request("A")))["reason"] == "established"
    assert life(fw, family, "tcp") > 86400


@pytest.mark.parametrize("family", FAMILIES)
def test_unanswered_datagrams_live_shortly(fw, pressure, family):
    """Repeating the question makes no longer life of it, an answer does."""
    ask, tell = UDP(sport=999, dport=53), UDP(sport=53, dport=999)
    pressure(1000, half_open=SHORT)
    for _ in range(3):
        fw.run("ingress", to_us(family, ask))
        assert 5 <= life(fw, family, "udp") <= SHORT
    assert fw.run("egress", from_us(family, tell))["reason"] == "established"
    assert life(fw, family, "udp") > 30


# ---- connections that are older than the rules -----------------------------------


@pytest.fixture
def adopting(fw):
    """The harness soon after the first load."""
    serial = itertools.count()

    def load(text=None, seconds=60):
        fw.call(adopt=seconds)
        fw.rules(f"{text or RULES}# {next(serial)}\n")
    fw.adopt_load = load
    load()
    yield fw
    fw.call(adopt=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_adopt_in(adopting, family):
    """An operator's session that the rules would accept: whoever speaks first."""
    fw = adopting
    assert fw.run("xdp", to_us(family, request("PA")))["reason"] == "undecided"
    out = fw.run("ingress", to_us(family, request("PA")))
    assert (out["reason"], out["rule"]) == ("established", "ssh")
    # nobody has heard the other side: that makes it an established flow (I8)
    assert fw.run("xdp", to_us(family, request("A")))["reason"] == "established"
    out = fw.run("egress", from_us(family, answer("A")))
    assert (out["reason"], out["rule"]) == ("established", None)
    # a stranger's packets are no session
    other = TCP(sport=1024, dport=24, flags="A")
    fw.adopt_load(RULES.replace("default out accept", "default out drop"))
    assert fw.run("xdp", to_us(family, other))["reason"] == "undecided"
    assert fw.run("ingress", to_us(family, other))["reason"] == "tcp-no-syn"


@pytest.mark.parametrize("family", FAMILIES)
def test_adopt_turned(adopting, family):
    """The server's packets come first: the rules for the other direction are asked."""
    fw = adopting
    back = TCP(sport=443, dport=3333, flags="PA")
    there = TCP(sport=3333, dport=443, flags="A")
    assert fw.run("xdp", to_us(family, back))["reason"] == "undecided"
    out = fw.run("ingress", to_us(family, back))
    assert (out["reason"], out["rule"]) == ("established", "default-out")
    assert fw.run("egress", from_us(family, there))["reason"] == "established"
    assert fw.run("xdp", to_us(family, back))["reason"] == "established"
    # one of ours whose answers nobody would accept from inside
    fw.flush()
    fw.adopt_load(RULES.replace("default out accept", "default out drop"))
    assert fw.run("ingress", to_us(family, back))["reason"] == "tcp-no-syn"
    out = fw.run("egress", from_us(family, answer("PA")))
    assert (out["reason"], out["rule"]) == ("established", "ssh")
    assert fw.run("xdp", to_us(family, request("A")))["reason"] == "established"


@pytest.mark.parametrize("family", FAMILIES)
def test_adopt_forwarded(adopting, family):
    """Through the firewall: either side first; the zones are those of the opener."""
    fw = adopting
    web, client = far_of(family), peer_of(family)
    there = frame(l3(family, src=client, dst=web) / TCP(sport=4000, dport=80, flags="A"))
    back = frame(l3(family, src=web, dst=client) / TCP(sport=80, dport=4000, flags="A"))
    out = fw.run("egress", there, iface=1, iif=0)
    assert (out["reason"], out["rule"]) == ("established", "web")
    assert fw.run("egress", back, iface=0, iif=1)["reason"] == "established"
    fw.flush()
    out = fw.run("egress", back, iface=0, iif=1)
    assert (out["reason"], out["rule"]) == ("established", "web")
    assert fw.run("egress", there, iface=1, iif=0)["reason"] == "established"
    fw.flush()
    # from lan to wan nothing may be opened
    wrong = frame(l3(family, src=client, dst=web) / TCP(sport=4000, dport=81, flags="A"))
    assert fw.run("egress", wrong, iface=1, iif=0)["reason"] == "tcp-no-syn"
    assert fw.run("egress", there, iface=0, iif=1)["reason"] == "tcp-no-syn"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_not_adopted(adopting, family, hook):
    """What is no packet of a running connection, and nothing after the window."""
    fw = adopting
    for flags in ("R", "RA", "SA"):
        assert fw.run(hook, to_us(family, request(flags)))["reason"] == "tcp-no-syn", flags
    # no socket here is connected to that peer
    tell = UDP(sport=53, dport=999)
    if hook == "ingress":
        assert fw.run(hook, to_us(family, tell))["reason"] == "default"
    fw.adopt_load(seconds=0)
    assert fw.run(hook, to_us(family, request("A")))["reason"] == "tcp-no-syn"
    assert fw.run(hook, to_us(family, tell))["reason"] == "default"


@pytest.mark.parametrize("evicted", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_ended_is_not_adopted(adopting, family, evicted):
    """A connection that a load cut was ours: it does not come back by the window.

    That it was cut is noted also if many flows came after it."""
    fw = adopting
    assert fw.run("ingress", to_us(family, request("A")))["reason"] == "established"
    if evicted:
        fw.call(evict=True)
    fw.adopt_load(RULES.replace("label ssh", "label other").replace("port 22", "port 24"))
    assert fw.run("ingress", to_us(family, request("A")))["reason"] == "reload"
    for hook, packet in (("ingress", to_us(family, request("A"))),
                         ("egress", from_us(family, answer("A")))):
        assert fw.run(hook, packet)["reason"] == "tcp-no-syn"
