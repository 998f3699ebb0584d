# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels of policies, where TC egress sees ESP alone: who judges what goes into them.

Nothing here is adopted (`option adopt off`): a flow is known, or it is not.
"""

import socket

import pytest

from lab.ipsec import INNER, connect
from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience
from lab.packets import TCP, UDP, Raw, frame, ip
from lab.traffic import TcpEcho, UdpEcho, cut, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = [pytest.mark.needs("esp"), pytest.mark.modes("xdp", "tc", "xdp-generic")]
families = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
ESP = "accept in on wan proto esp label esp\n"


def to_firewall(lab, family):
    """A tunnel from the client to the firewall; (the client's, the firewall's) inner address."""
    inner = INNER["client"][family], INNER["firewall"][family]
    connect(lab.client, lab.firewall, (CLIENT[family], WAN[family]), inner, "tunnel")
    return inner


def to_network(lab, family):
    """A tunnel from the client to the network behind the firewall; inner (client, server)."""
    inner = INNER["client"][family], SERVER[family]
    connect(lab.client, lab.firewall, (CLIENT[family], WAN[family]), inner, "tunnel")
    return inner


def inject(lab, packet):
    """Send a packet from the client in clear."""
    lab.client.send_raw("eth0", [frame(packet)])


# ---- what this host opens ---------------------------------------------------------------


@families
def test_own_flows(esp, family):
    """What the host itself opens into a tunnel is answered, if rules let it go out."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP + "accept out proto { tcp, udp } to port 7 label own\n")
    before = esp.counters()
    with TcpEcho(esp.client, peer, 7), UdpEcho(esp.client, peer, 7):
        with tcp_connect(esp.firewall, peer, 7, source=(own, 0)) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
        assert udp_try(esp.firewall, peer, 7, source=(own, 0)) == "ok"
    gained = esp.counters() - before
    assert not gained.drops(), gained
    assert esp.rule("own")["flows"] == 2


@families
def test_own_flows_denied(esp, family):
    """The answer to what no rule lets go out stays out, by TCP and UDP."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP + "drop out proto { tcp, udp } to port 7\n")
    before = esp.counters()
    with TcpEcho(esp.client, peer, 7), UdpEcho(esp.client, peer, 7):
        assert tcp_try(esp.firewall, peer, 7, timeout=0.3, source=(own, 0)) == "timeout"
        assert udp_try(esp.firewall, peer, 7, timeout=0.3, source=(own, 0)) == "timeout"
    gained = esp.gain(before, lambda c: len(c.drops()) == 2)
    assert set(gained.drops()) == {"tcp-no-syn", "rule"}, gained


@families
def test_no_socket_no_answer(esp, family):
    """Out of the tunnel nothing comes in for being shaped like an answer."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP)
    before = esp.counters()
    with TcpEcho(esp.firewall, own, 7), UdpEcho(esp.firewall, own, 7) as echo, \
            esp.client.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                              socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.bind((peer, 0))
        for port, flags in ((7, "SA"), (7, "A"), (8, "SA"), (8, "R")):
            segment = TCP(sport=5000, dport=port, flags=flags, seq=1, ack=1)
            packet = ip(family, peer, own) / segment
            raw.sendto(bytes(packet)[-20:], (own, 0))
        assert udp_try(esp.client, own, 7, timeout=0.3, source=(peer, 0)) == "timeout"
        gained = esp.gain(before, lambda c: c.get("tcp-no-syn") >= 4)
        assert not echo.received
    assert set(gained.drops()) == {"tcp-no-syn", "default"}, gained


@families
def test_answer_in_clear(esp, family):
    """What is sent in clear is no answer to what went into the tunnel."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP)
    with esp.firewall.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                             socket.SOCK_DGRAM) as s:
        s.settimeout(patience(0.3))
        s.bind((own, 0))
        s.connect((peer, 9))
        before = esp.counters()
        s.send(b"hello")
        inject(esp, ip(family, peer, own) / UDP(sport=9, dport=s.getsockname()[1]) / Raw(b"bad"))
        gained = esp.gain(before, lambda c: c.get("default"))
        assert gained.get("default", iface="fw-wan") == 1, gained
        with pytest.raises(OSError):
            s.recv(100)


@families
def test_load_judges_own_flows(esp, family):
    """A load that denies what the host has opened into a tunnel ends it."""
    peer, own = to_firewall(esp, family)
    esp.load(DENY + ESP)
    with TcpEcho(esp.client, peer, 7), \
            tcp_connect(esp.firewall, peer, 7, source=(own, 0)) as s:
        assert tcp_talk(s)
        esp.load(DENY + ESP + "drop out proto tcp to port 7\n")
        s.settimeout(patience(0.3))
        before = esp.counters()
        assert not tcp_talk(s)
        cut(s)
    assert esp.gain(before, lambda c: c.get("reload")).get("reload", "ingress", "fw-wan")


@families
def test_half_seen(esp, family):
    """A connection out of the tunnel, whose answers nobody sees, outlives its first entry."""
    source, target = to_firewall(esp, family)
    rules = DENY + ESP + "accept in on wan proto tcp to self port 7 label in\n"
    esp.load(rules)
    with TcpEcho(esp.firewall, target, 7), \
            tcp_connect(esp.client, target, 7, source=(source, 0)) as s:
        assert tcp_talk(s)
        before = esp.counters()
        esp.firewall.run("conntrack", "-F")
        assert tcp_talk(s)
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert any("dport=7 " in x for x in esp.conntrack()), esp.conntrack()
        esp.load(DENY + ESP)
        s.settimeout(patience(0.3))
        cut(s)
        assert not tcp_talk(s)


# ---- what goes through this host ----------------------------------------------------------


@families
def test_forwarded_into_the_tunnel(esp, family):
    """Rules from zone to zone hold for what leaves by a tunnel, and its answers come back."""
    far, _ = to_network(esp, family)
    esp.load(DENY + ESP + "accept forward lan -> wan proto { tcp, udp } to port 7 label on\n"
             "drop forward lan -> wan proto { tcp, udp } to port 8 label off\n")
    with TcpEcho(esp.client, far, 7), TcpEcho(esp.client, far, 8), UdpEcho(esp.client, far, 7), \
            UdpEcho(esp.client, far, 8) as echo:
        before = esp.counters()
        with tcp_connect(esp.server, far, 7) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
        assert udp_try(esp.server, far, 7) == "ok"
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert esp.rule("on")["flows"] == 2
        assert tcp_try(esp.server, far, 8, timeout=0.3) == "timeout"
        assert udp_try(esp.server, far, 8, timeout=0.3) == "timeout"
        assert not echo.received
    gained = esp.gain(before, lambda c: c.get("rule") >= 2)
    assert set(gained.drops()) == {"rule"}, gained
    assert gained.get("rule", "ingress", "fw-lan") >= 2, gained


@families
def test_forwarded_beside_the_tunnel(esp, family):
    """What no policy takes is judged where it came in, once, and leaves in clear."""
    to_network(esp, family)
    esp.load(DENY + ESP + "accept forward lan -> wan proto tcp to port 7 label on\n")
    before = esp.counters()
    with TcpEcho(esp.client, CLIENT[family], 7), TcpEcho(esp.client, CLIENT[family], 8):
        assert tcp_try(esp.server, CLIENT[family], 7) == "ok"
        gained = esp.counters() - before
        assert not gained.drops(), gained
        assert (esp.rule("on")["flows"], esp.rule("on")["packets"]) == (1, 1)
        assert tcp_try(esp.server, CLIENT[family], 8, timeout=0.3) == "timeout"
    gained = esp.gain(before, lambda c: c.drops())
    assert set(gained.drops()) == {"default"}, gained


@families
def test_answers_of_a_denied_flow(esp, family):
    """A load that denies a flow out of the tunnel holds for the server's packets, too."""
    source, target = to_network(esp, family)
    esp.load(DENY + ESP + "accept forward wan -> lan proto udp to port 7\n")
    with esp.client.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                           socket.SOCK_DGRAM) as a, \
            esp.server.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                              socket.SOCK_DGRAM) as b:
        a.settimeout(patience(1))
        b.settimeout(patience(1))
        a.bind((source, 0))
        b.bind((target, 7))
        a.sendto(b"ask", (target, 7))
        _, whom = b.recvfrom(10)
        b.sendto(b"tell", whom)
        assert a.recv(10) == b"tell"
        esp.load(DENY + ESP)
        before = esp.counters()
        b.sendto(b"more", whom)
        gained = esp.gain(before, lambda c: c.get("reload"))
        assert gained.get("reload", "ingress", "fw-lan") == 1, gained
        a.settimeout(patience(0.2))
        with pytest.raises(OSError):
            a.recv(10)
