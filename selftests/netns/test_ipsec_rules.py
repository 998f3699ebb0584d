# SPDX-License-Identifier: GPL-2.0-only
"""`via ipsec`: what came out of SAs and what is in clear, of the first packet and later ones."""

import socket

import pytest

from lab.ipsec import INNER, connect
from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience, wait_for
from lab.packets import IP, TCP, UDP, Raw, frame, ip
from lab.traffic import (TcpEcho, UdpEcho, cut, family_of, tcp_connect, tcp_talk, tcp_try,
                         udp_try)

pytestmark = pytest.mark.needs("esp")
families = pytest.mark.parametrize("family", [4, 6])
everywhere = pytest.mark.modes("xdp", "tc", "xdp-generic")
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
ESP = "accept in on wan proto esp label esp\n"
DB = DENY + ESP + "accept in proto tcp to self port 5432 via ipsec label db\n"


def to_firewall(lab, family, **more):
    """A tunnel from the client to the firewall; (the client's, the firewall's) inner address."""
    inner = INNER["client"][family], INNER["firewall"][family]
    connect(lab.client, lab.firewall, (CLIENT[family], WAN[family]), inner, "tunnel", **more)
    return inner


def inject(lab, packet):
    """Send a packet from the client in clear."""
    lab.client.send_raw("eth0", [frame(packet)])


def forge(lab, connection, family, flags="PA"):
    """A segment of a connection of the client's, in clear."""
    (src, sport), (dst, dport) = connection.getsockname()[:2], connection.getpeername()[:2]
    inject(lab, ip(family, src, dst) / TCP(sport=sport, dport=dport, flags=flags, seq=7, ack=7))


def cut_short(*connections):
    """They are not going to say goodbye."""
    for s in connections:
        s.settimeout(patience(0.3))
        cut(s)


@everywhere
@families
@pytest.mark.parametrize("hooks", ["auto", "on"])
def test_database(esp, family, hooks):
    """One line: only through IPsec, from the first packet to the last."""
    source, target = to_firewall(esp, family)
    with TcpEcho(esp.firewall, target, 5432):
        esp.load(DB + f"option conntrack-hooks {hooks}\n")
        before = esp.counters()
        with tcp_connect(esp.client, target, 5432, source=(source, 0)) as s:
            assert tcp_talk(s, bytes(20000))
            gained = esp.counters() - before
            assert not gained.drops(), gained
            assert esp.rule("db")["flows"] >= 1
            for flags in ("PA", "R", "S"):
                before = esp.counters()
                forge(esp, s, family, flags)
                gained = esp.gain(before, lambda c: c.drops())
                assert gained.drops() == {"ipsec-clear": 1}, gained
            assert tcp_talk(s)
        before = esp.counters()
        inject(esp, ip(family, source, target) / TCP(sport=1025, dport=5432, flags="S"))
        gained = esp.gain(before, lambda c: c.drops())
        assert gained.drops() == {"default": 1}, gained
    assert not [x for x in esp.conntrack() if "sport=1025 " in x]


@everywhere
@families
def test_datagrams(esp, family):
    """The same of UDP."""
    source, target = to_firewall(esp, family)
    esp.load(DENY + ESP + "accept in proto udp to self port 53 via ipsec label dns\n")
    with UdpEcho(esp.firewall, target, 53) as echo:
        datagram = ip(family, source, target) / UDP(sport=1025, dport=53) / Raw(b"in clear")
        for expected in ("default", "ipsec-clear"):
            before = esp.counters()
            inject(esp, datagram)
            gained = esp.gain(before, lambda c: c.drops())
            assert gained.drops() == {expected: 1}, gained
            assert udp_try(esp.client, target, 53, size=3000, source=(source, 1025)) == "ok"
        assert echo.received == 2


@families
def test_reqid(esp, family):
    """Of the SA that is named, and of no other."""
    source, target = to_firewall(esp, family, reqid=7)
    with TcpEcho(esp.firewall, target, 7), TcpEcho(esp.firewall, target, 8):
        esp.load(DENY + ESP + "accept in proto tcp to self port 7 via ipsec reqid 7\n"
                 "accept in proto tcp to self port 8 via ipsec reqid 8\n")
        before = esp.counters()
        assert tcp_try(esp.client, target, 7, source=(source, 0)) == "ok"
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert tcp_try(esp.client, target, 8, timeout=0.3, source=(source, 0)) == "timeout"
    gained = esp.gain(before, lambda c: c.drops())
    assert set(gained.drops()) == {"default"}, gained


@families
def test_rule_without_the_clause(esp, family):
    """A flow that came out of an SA is not continued in clear, whichever rule let it in."""
    source, target = to_firewall(esp, family)
    esp.load(DB + "accept in proto tcp to self port 22 label any\n")
    with TcpEcho(esp.firewall, target, 22), \
            tcp_connect(esp.client, target, 22, source=(source, 0)) as s:
        assert tcp_talk(s)
        before = esp.counters()
        forge(esp, s, family)
        gained = esp.gain(before, lambda c: c.drops())
        assert gained.drops() == {"ipsec-clear": 1}, gained
        assert tcp_talk(s)


@families
def test_answers_in_clear(esp, family):
    """When the policy is gone, what is left of a protected flow stays here."""
    source, target = to_firewall(esp, family)
    esp.load(DB)
    with TcpEcho(esp.firewall, target, 5432), \
            tcp_connect(esp.client, target, 5432, source=(source, 0)) as s:
        assert tcp_talk(s)
        before = esp.counters()
        esp.firewall.run("ip", "xfrm", "policy", "deleteall", "dir", "out")
        cut_short(s)
        assert not tcp_talk(s)
        gained = esp.gain(before, lambda c: c.get("ipsec-clear", "egress", "fw-wan"))
        assert set(gained.drops()) == {"ipsec-clear"}, gained


@families
def test_promise(esp, family):
    """What may leave through IPsec only does so, or not at all."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP + "accept out proto tcp to port 7 via ipsec label safe\n")
    before = esp.counters()
    with TcpEcho(esp.client, peer, 7), \
            tcp_connect(esp.firewall, peer, 7, source=(own, 0)) as s:
        assert tcp_talk(s, bytes(20000))
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert esp.rule("safe")["flows"] >= 1
        esp.firewall.run("ip", "xfrm", "policy", "flush")
        cut_short(s)
        assert not tcp_talk(s)
        assert tcp_try(esp.firewall, peer, 7, timeout=0.3, source=(own, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.get("ipsec-clear", "egress", "fw-wan") >= 2)
    assert set(gained.drops()) == {"ipsec-clear"}, gained


@families
def test_forwarded(esp, family):
    """Out of the tunnel into the network behind: in clear on the one leg, on the other not."""
    source, target = INNER["client"][family], SERVER[family]
    connect(esp.client, esp.firewall, (CLIENT[family], WAN[family]), (source, target), "tunnel")
    esp.load(DENY + ESP + "accept forward wan -> lan proto tcp to port 7 via ipsec label on\n")
    with TcpEcho(esp.server, target, 7):
        before = esp.counters()
        inject(esp, ip(family, source, target) / TCP(sport=1025, dport=7, flags="S"))
        gained = esp.gain(before, lambda c: c.drops())
        assert gained.drops() == {"default": 1}, gained
        before = esp.counters()
        with tcp_connect(esp.client, target, 7, source=(source, 0)) as s:
            assert tcp_talk(s, bytes(20000))
            gained = esp.counters() - before
            assert not gained.drops(), gained
            forge(esp, s, family)
            gained = esp.gain(before, lambda c: c.drops())
            assert gained.drops() == {"ipsec-clear": 1}, gained
            assert tcp_talk(s)
            esp.firewall.run("ip", "xfrm", "policy", "deleteall", "dir", "out")
            cut_short(s)
            assert not tcp_talk(s)
        gained = esp.gain(before, lambda c: c.get("ipsec-clear", "egress", "fw-wan"))
    assert set(gained.drops()) == {"ipsec-clear"}, gained


@pytest.mark.parametrize("family", [4])
def test_fragment_in_clear(esp, family):
    """What follows a fragment that came out of an SA has to come out of one."""
    source, target = to_firewall(esp, family)
    esp.load(DENY + ESP + "accept in proto udp to self port 53 via ipsec\n"
             "accept in proto udp to self port 54\n")
    data = bytes(UDP(sport=1025, dport=53, len=8 + 1592) / Raw(bytes(1592)))
    first = IP(src=source, dst=target, id=77, flags="MF", proto=17) / Raw(data[:800])
    last = IP(src=source, dst=target, id=77, frag=100, proto=17) / Raw(data[800:])
    with esp.client.socket(family_of(source), socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.bind((source, 0))  # the policy is asked about this one, not about the header's
        before = esp.counters()
        raw.sendto(bytes(first), (target, 0))
        wait_for(lambda: (esp.counters() - before).get("new", "ingress", "fw-wan"), 3, "the first")
        inject(esp, last)
        gained = esp.gain(before, lambda c: c.drops())
    hook = "fragment-orphan" if esp.mode == "xdp" else "ipsec-clear"  # XDP saw no first one
    assert gained.drops() == {hook: 1}, gained


@pytest.mark.needs("xfrmi")
@families
def test_xfrm_interface(esp, family):
    """Such a device is IPsec, both ways; what comes by the wire is not."""
    source, target = to_firewall(esp, family, interface="7")
    esp.firewall.run("ip", "link", "add", "ipsec0", "type", "xfrm", "dev", "fw-wan", "if_id", "7")
    esp.firewall.run("ip", "link", "set", "ipsec0", "up")
    flag = ["-6"] if family == 6 else []
    esp.firewall.run("ip", *flag, "route", "replace", source, "dev", "ipsec0", "src", target)
    try:
        esp.fwctl("load", esp.write("vpn.conf", (
            f"interface wan = fw-wan {{ mode {esp.mode} }}\ninterface vpn = ipsec0 {{ mode tc }}\n"
            "option adopt off\n" + DB.replace("ipsec label", "ipsec reqid 1 label") +
            "accept out proto tcp to port 7 via ipsec label safe\n")))
        before = esp.counters()
        with TcpEcho(esp.firewall, target, 5432), TcpEcho(esp.client, source, 7):
            with tcp_connect(esp.client, target, 5432, source=(source, 0)) as s:
                assert tcp_talk(s, bytes(20000))
                assert tcp_try(esp.firewall, source, 7, source=(target, 0)) == "ok"
                gained = esp.counters() - before
                assert not gained.drops(), gained
                assert (esp.rule("db")["flows"], esp.rule("safe")["flows"]) == (1, 1)
                forge(esp, s, family)
                gained = esp.gain(before, lambda c: c.drops())
                assert gained.drops() == {"ipsec-clear": 1}, gained
            esp.firewall.run("ip", *flag, "route", "replace", source, "via", CLIENT[family],
                             "src", target)
            assert tcp_try(esp.firewall, source, 7, timeout=0.3, source=(target, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.get("ipsec-clear", "egress", "fw-wan"))
    finally:
        esp.firewall.run("ip", *flag, "route", "replace", source, "via", CLIENT[family])
