# SPDX-License-Identifier: GPL-2.0-only
"""ESP with AES-GCM: through the firewall, to the firewall, and what is inside of it."""

import pytest

from lab.ipsec import INNER, Sa, connect
from lab.lab import CLIENT, SERVER, WAN
from lab.netns import wait_for
from lab.packets import TCP, UDP, Raw, frame, ip
from lab.traffic import TcpEcho, UdpEcho, cut, ping, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = pytest.mark.needs("esp")
judged = pytest.mark.needs("nfprog")
families = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
ESP = "accept in on wan proto esp label esp\n"
# What ESP without a rule dies for: a flow of an earlier test may still be known.
DENIED = {"default", "reload"}


def ends(lab, mode, family):
    """(source address, target) of a client that talks to the server by ESP of this mode."""
    outer = CLIENT[family], SERVER[family]
    inner = (INNER["client"][family], INNER["server"][family]) if mode == "tunnel" else outer
    connect(lab.client, lab.server, outer, inner, mode)
    return inner


@families
@pytest.mark.parametrize("kind", ["tunnel", "transport"])
def test_forwarded(esp, family, kind):
    """The firewall sees ESP, a flow of two addresses; what is inside is not its business."""
    source, target = ends(esp, kind, family)
    with TcpEcho(esp.server, target, 7), UdpEcho(esp.server, target, 7):
        esp.load(DENY + "accept forward wan -> lan proto { tcp, udp }\n")
        before = esp.counters()
        assert udp_try(esp.client, target, 7, timeout=0.2, source=(source, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.drops())
        assert set(gained.drops()) <= DENIED, gained
        esp.load(DENY + "accept forward wan -> lan proto esp label vpn\n")
        before = esp.counters()
        with tcp_connect(esp.client, target, 7, source=(source, 0)) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
        assert udp_try(esp.client, target, 7, size=3000, source=(source, 0)) == "ok"
    gained = esp.counters() - before
    assert not gained.drops(), gained
    assert gained.get("established", esp.hook, "fw-lan") >= 3, gained
    assert esp.rule("vpn")["flows"] == 1
    assert not [x for x in esp.conntrack() if "dport=7 " in x]


def to_firewall(lab, family, mode="tunnel", interface=None):
    """A tunnel or path from the client to the firewall; (source, target) inside of it."""
    outer = CLIENT[family], WAN[family]
    inner = ((INNER["client"][family], INNER["firewall"][family]) if mode == "tunnel" else outer)
    connect(lab.client, lab.firewall, outer, inner, mode, interface)
    return inner


@families
def test_tunnel_to_the_firewall(esp, family):
    """ESP needs a rule, and what comes out of it another one: it is judged as what it is."""
    source, target = to_firewall(esp, family)
    with TcpEcho(esp.firewall, target, 7), TcpEcho(esp.firewall, target, 8):
        esp.load(DENY + "accept in on wan proto tcp to self port 7\n")
        before = esp.counters()
        assert tcp_try(esp.client, target, 7, timeout=0.2, source=(source, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.drops())
        assert set(gained.drops()) <= DENIED, gained

        esp.load(DENY + ESP + "accept in on wan proto tcp to self port 7 label inside\n")
        before = esp.counters()
        with tcp_connect(esp.client, target, 7, source=(source, 0)) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
            assert esp.rule("inside")["flows"] >= 1
            gained = esp.counters() - before
            assert not gained.drops(), gained
        before = esp.counters()
        assert tcp_try(esp.client, target, 8, timeout=0.2, source=(source, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.drops())
        # Native XDP does not see what has been decrypted: TC does.
        assert gained.get("default", "ingress", "fw-wan") >= 1, gained


@families
def test_from_the_firewall_into_the_tunnel(esp, family):
    """A connection that the firewall opens by a tunnel: its answers are not locked out."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP)
    before = esp.counters()
    with TcpEcho(esp.client, peer, 7):
        word = tcp_try(esp.firewall, peer, 7, source=(own, 0))
    gained = esp.counters() - before
    assert word == "ok", gained


@families
def test_inside_forwarded(esp, family):
    """From the tunnel on to the server: by the rules of its interface."""
    outer = CLIENT[family], WAN[family]
    source, target = INNER["client"][family], INNER["server"][family]
    connect(esp.client, esp.firewall, outer, (source, target), "tunnel")
    esp.load(DENY + ESP + "accept forward wan -> lan proto tcp to port 7 label on\n")
    before = esp.counters()
    with TcpEcho(esp.server, target, 7), TcpEcho(esp.server, target, 8):
        with tcp_connect(esp.client, target, 7, source=(source, 0)) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert esp.rule("on")["flows"] >= 1
        assert tcp_try(esp.client, target, 8, timeout=0.2, source=(source, 0)) == "timeout"
    gained = esp.gain(before, lambda c: c.drops())
    assert set(gained.drops()) == {"default"}, gained


@pytest.mark.needs("nonfprog")
@families
def test_transport_is_not_judged(esp, family):
    """TC sees ESP alone, and there is nobody else: whoever may send ESP may send all of it."""
    # A neighbour's answer would be ESP, too, and begin the flow that ESP to here belongs to.
    assert not ping(esp.client, WAN[family], timeout=0.3)
    _, target = to_firewall(esp, family, "transport")
    with TcpEcho(esp.firewall, target, 7):
        esp.load(DENY)
        before = esp.counters()
        assert tcp_try(esp.client, target, 7, timeout=0.2) == "timeout"
        gained = esp.gain(before, lambda c: c.drops())
        assert set(gained.drops()) <= DENIED, gained
        esp.load(DENY + ESP)
        before = esp.counters()
        assert tcp_try(esp.client, target, 7) == "ok"
    gained = esp.counters() - before
    assert not gained.drops(), gained
    assert esp.status()["ipsec_transport"] == "unjudged"
    assert "packets out of transport-mode SAs are not judged by rules" in esp.fwctl("status").out
    feature, = (f for f in esp.fwctl("doctor", "--json").json["features"]
                if f["feature"] == "BPF netfilter programs")
    assert feature["answer"] == "no" and "not judged by rules" in feature["without"], feature


@judged
@families
def test_transport_to_the_firewall(esp, family):
    """What comes out of an SA in transport mode needs a rule of its own."""
    source, target = to_firewall(esp, family, "transport")
    with TcpEcho(esp.firewall, target, 7), TcpEcho(esp.firewall, target, 8), \
            UdpEcho(esp.firewall, target, 7), UdpEcho(esp.firewall, target, 8):
        esp.load(DENY + ESP + "accept in on wan proto { tcp, udp } to self port 7 label inside\n")
        assert esp.status()["ipsec_transport"] == "judged"
        before, flows = esp.counters(), esp.rule("inside")["flows"]
        with tcp_connect(esp.client, target, 7) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
            port = s.getsockname()[1]
            flow, = (f for f in esp.flows() if f["original"].get("source_port") == port
                     and f["original"]["source"] == source)
            assert flow["rule"] == "inside" and flow["protocol"] == "tcp", flow
            assert flow["replied"] and flow["table"] == "fwctl", flow
        assert udp_try(esp.client, target, 7, size=3000) == "ok"
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert gained.get("new", "ingress", "fw-wan") >= 2, gained
        assert gained.get("established", "egress", "fw-wan") >= 4, gained
        assert esp.rule("inside")["flows"] - flows == 2
        for attempt in (tcp_try, udp_try):
            before = esp.counters()
            assert attempt(esp.client, target, 8, timeout=0.2) == "timeout"
            gained = esp.gain(before, lambda c: c.drops())
            assert set(gained.drops()) == {"default"}, gained
            assert gained.get("default", "ingress", "fw-wan") >= 1, gained


@judged
@families
def test_transport_echo(esp, family):
    """Pings in transport mode, in either direction; errors about nothing."""
    source, target = to_firewall(esp, family, "transport")
    echo = "icmp" if family == 4 else "icmpv6"
    esp.load(DENY + ESP)
    before = esp.counters()
    assert not ping(esp.client, target, timeout=0.3)
    gained = esp.gain(before, lambda c: c.drops())
    assert set(gained.drops()) == {"default"}, gained
    before = esp.counters()
    assert ping(esp.firewall, source)
    # Nobody listens there: the error comes back in the SA, about a flow of ours.
    assert udp_try(esp.firewall, source, 9) == "refused"
    gained = esp.counters() - before
    assert not gained.drops(), gained
    assert gained.get("related", "ingress", "fw-wan") == 1, gained
    esp.load(DENY + ESP + f"accept in on wan proto {echo} type echo-request to self\n")
    assert ping(esp.client, target)


@judged
@families
def test_transport_reload(esp, family):
    """Rules that deny a connection in an SA cut it for good."""
    _, target = to_firewall(esp, family, "transport")
    rules = DENY + ESP + "accept in on wan proto tcp to self port 7 label inside\n"
    with TcpEcho(esp.firewall, target, 7):
        esp.load(rules)
        with tcp_connect(esp.client, target, 7) as s:
            assert tcp_talk(s)
            before = esp.counters()
            esp.load(rules + "accept in on wan proto tcp to self port 99\n")
            assert tcp_talk(s)
            gained = esp.counters() - before
            assert not gained.drops(), gained
            before = esp.counters()
            esp.load(DENY + ESP)
            cut(s)
            s.send(b"more")
            gained = esp.gain(before, lambda c: c.drops())
            assert gained.get("reload", "ingress", "fw-wan") >= 1, gained
            esp.load(rules)
            before = esp.counters()
            gained = esp.gain(before, lambda c: c.drops(), 10)
            assert set(gained.drops()) == {"tcp-no-syn"}, gained
        assert tcp_try(esp.client, target, 7) == "ok"


@judged
@families
def test_transport_from_the_firewall(esp, family):
    """Connections of the firewall's own, by `out` rules; answers need no rule."""
    peer, own = to_firewall(esp, family, "transport")
    with TcpEcho(esp.client, peer, 7), UdpEcho(esp.client, peer, 7), TcpEcho(esp.firewall, own, 7):
        esp.load(DENY + ESP)
        before = esp.counters()
        assert tcp_try(esp.firewall, peer, 7) == "ok"
        assert udp_try(esp.firewall, peer, 7) == "ok"
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert gained.get("established", "ingress", "fw-wan") >= 3, gained
        assert tcp_try(esp.client, own, 7, timeout=0.2) == "timeout"
        esp.load("default in drop\ndefault out drop\ndefault forward drop\n" + ESP
                 + "accept out on wan proto esp\naccept out on wan proto udp to any port 7\n")
        before = esp.counters()
        assert udp_try(esp.firewall, peer, 7) == "ok"
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert tcp_try(esp.firewall, peer, 7, timeout=0.3) == "timeout"
        gained = esp.gain(before, lambda c: c.drops())
        assert gained.get("default", "egress", "fw-wan") >= 1, gained


@judged
@families
def test_clear_connection_goes_on_in_transport(esp, family):
    """IPsec begins under a connection: it lives on. Nobody else's packet passes for it."""
    target = WAN[family]
    with TcpEcho(esp.firewall, target, 7), TcpEcho(esp.firewall, target, 8):
        esp.load(DENY + ESP + "accept in on wan proto tcp to self port 7\n")
        with tcp_connect(esp.client, target, 7) as s:
            assert tcp_talk(s)
            to_firewall(esp, family, "transport")
            wait_for(lambda: esp.status()["ipsec_transport"] == "judged", 3, "programs")
            before = esp.counters()
            for _ in range(3):
                assert tcp_talk(s, bytes(5000))
            gained = esp.counters() - before
            assert not gained.drops(), gained
            assert gained.get("established", "egress", "fw-wan") >= 3, gained


@pytest.mark.needs("xfrmi")
@families
def test_xfrm_interface_is_a_zone(esp, family):
    """What comes out of the tunnel comes in by its interface, in both directions."""
    source, target = to_firewall(esp, family, interface="7")
    esp.firewall.run("ip", "link", "add", "ipsec0", "type", "xfrm", "dev", "fw-wan", "if_id", "7")
    esp.firewall.run("ip", "link", "set", "ipsec0", "up")
    flag = ["-6"] if family == 6 else []
    esp.firewall.run("ip", *flag, "route", "replace", source, "dev", "ipsec0", "src", target)
    try:
        esp.fwctl("load", esp.write("vpn.conf", (
            f"interface wan = fw-wan {{ mode {esp.mode} }}\ninterface vpn = ipsec0 {{ mode tc }}\n"
            + DENY + ESP + "accept in on vpn proto tcp to self port 7 label vpn\n"
            "accept in on wan proto tcp to self port 8\n")))
        before = esp.counters()
        with TcpEcho(esp.firewall, target, 7), TcpEcho(esp.firewall, target, 8):
            with tcp_connect(esp.client, target, 7, source=(source, 0)) as s:
                for _ in range(3):
                    assert tcp_talk(s, bytes(20000))
                port = f"sport={s.getsockname()[1]}"
                wait_for(lambda: any("ESTABLISHED" in x and port in x.split()
                                     for x in esp.conntrack()), 5, "ESTABLISHED")
            gained = esp.counters() - before
            assert not gained.drops(), gained
            assert gained.get("established", "egress", "ipsec0") >= 3, gained
            assert tcp_try(esp.client, target, 8, timeout=0.2, source=(source, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.drops())
        assert gained.get("default", "ingress", "ipsec0") >= 1, gained
    finally:
        esp.firewall.run("ip", *flag, "route", "replace", source, "via", CLIENT[family])


@judged
@families
def test_transport_reqid(esp, family):
    """A rule that names a reqid: what comes out of another SA is denied, at first and later."""
    source, target = to_firewall(esp, family, "transport")
    esp.load(DENY + ESP + "accept in on wan proto tcp to self port 7 via ipsec reqid 1\n"
             "accept in on wan proto tcp to self port 8 via ipsec reqid 2\n")
    state = ["src", source, "dst", target, "proto", "esp", "spi", "0x101"]
    with TcpEcho(esp.firewall, target, 7), TcpEcho(esp.firewall, target, 8):
        before = esp.counters()
        assert tcp_try(esp.client, target, 8, timeout=0.2) == "timeout"
        assert set(esp.gain(before, lambda c: c.drops()).drops()) == {"default"}
        with tcp_connect(esp.client, target, 7) as s:
            assert tcp_talk(s)
            esp.firewall.run("ip", "xfrm", "state", "delete", *state)
            esp.firewall.run("ip", "xfrm", "state", "add", *state, "reqid", 3, "mode",
                             "transport", *Sa().words(family))
            before = esp.counters()
            s.send(b"from another SA")
            gained = esp.gain(before, lambda c: c.drops())
            assert set(gained.drops()) == {"ipsec-clear"}, gained
            cut(s)


@judged
@families
def test_transport_in_clear(esp, family):
    """`via ipsec`: nothing in clear, neither a first packet nor one of a flow from an SA."""
    source, target = to_firewall(esp, family, "transport")
    esp.load(DENY + ESP + "accept in on wan proto { tcp, udp } to self port 7 via ipsec\n")
    with TcpEcho(esp.firewall, target, 7), UdpEcho(esp.firewall, target, 7) as echo, \
            tcp_connect(esp.client, target, 7) as s:
        assert tcp_talk(s)
        assert udp_try(esp.client, target, 7, source=(source, 1025)) == "ok"
        port = s.getsockname()[1]
        for header in (TCP(sport=1026, dport=7, flags="S"), UDP(sport=1026, dport=7),
                       UDP(sport=1025, dport=7),
                       *(TCP(sport=port, dport=7, flags=flags, seq=7, ack=7)
                         for flags in ("S", "PA", "R"))):
            before = esp.counters()
            esp.client.send_raw("eth0", [frame(ip(family, source, target) / header /
                                               Raw(b"in clear"))])
            gained = esp.gain(before, lambda c: c.drops())
            assert sum(gained.drops().values()) == 1, (header, gained)
            assert set(gained.drops()) <= {"default", "tcp-no-syn"}, (header, gained)
        before = esp.counters()
        assert tcp_talk(s)
        assert udp_try(esp.client, target, 7, source=(source, 1025)) == "ok"
        assert echo.received == 2
        assert not (esp.counters() - before).drops()
