# SPDX-License-Identifier: GPL-2.0-only
"""Conversations of TCP and UDP: through the firewall, to it and from it."""

import socket

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience
from lab.packets import TCP, Raw, frame, ip
from lab.traffic import TcpEcho, UdpEcho, tcp_connect, tcp_talk, tcp_try, udp_try

both = pytest.mark.parametrize("family", [4, 6])
protos = pytest.mark.parametrize("proto", ["tcp", "udp"])
ECHO = {"tcp": TcpEcho, "udp": UdpEcho}
TRY = {"tcp": tcp_try, "udp": udp_try}

DENY = "default in drop\ndefault out drop\ndefault forward drop\n"


@both
@protos
@pytest.mark.modes("xdp", "tc", "xdp-generic")
def test_forward_allowed(lab, family, proto):
    """An accepted flow opens once; its answers come by the state, in XDP."""
    lab.load(DENY + f"accept forward wan -> lan proto {proto} to port 7 label echo\n")
    before = lab.counters()
    with ECHO[proto](lab.server, SERVER[family], 7):
        assert TRY[proto](lab.client, SERVER[family], 7) == "ok"
    added = lab.gain(before, lambda c: c.get("established", lab.hook, "fw-lan") >= 1)
    assert added.get("new") >= 1, added
    # Replies enter at fw-lan and were answered there, by the first hook.
    assert added.get("established", lab.hook, "fw-lan") >= 1, added
    if lab.mode == "xdp":
        # Generic XDP may lose the note for TC: the kernel copies the packet.
        assert added.get("judged-by-xdp", "ingress", "fw-lan") >= 1, added
        assert added.get("established", "ingress", "fw-lan") == 0, added
    assert lab.rule("echo")["flows"] >= 1


@both
@protos
@pytest.mark.modes("xdp", "tc", "xdp-generic")
def test_forward_denied(lab, family, proto):
    """A flow that no rule names dies at the first hook, by the default."""
    lab.load(DENY + f"accept forward wan -> lan proto {proto} to port 8 label other\n")
    before = lab.counters()
    with ECHO[proto](lab.server, SERVER[family], 7):
        assert TRY[proto](lab.client, SERVER[family], 7, timeout=0.3) == "timeout"
    added = lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 1)
    assert added.get("new") == 0, added
    assert not [line for line in lab.conntrack() if "dport=7 " in line]


@both
@protos
def test_forward_denied_by_rule(lab, family, proto):
    """A rule that denies is counted as the one that did."""
    lab.load("default forward accept\n"
             f"drop forward on wan proto {proto} to port 7 label no-echo\n")
    before, rule = lab.counters(), lab.rule("no-echo")["packets"]
    assert TRY[proto](lab.client, SERVER[family], 7, timeout=0.3) == "timeout"
    added = lab.gain(before, lambda c: c.get("rule", lab.hook, "fw-wan") >= 1)
    assert lab.rule("no-echo")["packets"] - rule == added.get("rule")


@both
@protos
def test_denied_only_by_leaving_interface(lab, family, proto):
    """XDP does not know where a packet leaves; TC egress decides then."""
    lab.load("default forward accept\ndrop forward wan -> lan label not-there\n")
    before = lab.counters()
    assert TRY[proto](lab.client, SERVER[family], 7, timeout=0.3) == "timeout"
    lab.gain(before, lambda c: c.get("rule", "egress", "fw-lan") >= 1
                and c.get("undecided", lab.hook, "fw-wan") >= 1)


@both
@protos
@pytest.mark.modes("xdp", "tc", "xdp-generic")
def test_local_allowed(lab, family, proto):
    """A service of the firewall itself."""
    lab.load(DENY + f"accept in on wan proto {proto} to self port 7 label self-echo\n")
    before = lab.counters()
    with ECHO[proto](lab.firewall, WAN[family], 7):
        assert TRY[proto](lab.client, WAN[family], 7) == "ok"
    added = lab.counters() - before
    # XDP makes no state: TC ingress must see the packet and insert the entry.
    assert added.get("new", "ingress", "fw-wan") >= 1, added
    assert added.get("established", "egress", "fw-wan") >= 1, added
    if proto == "tcp":
        assert added.get("established", lab.hook, "fw-wan") >= 1, added


@both
@protos
def test_local_denied(lab, family, proto):
    """The same service, not named by any rule."""
    lab.load(DENY + f"accept in on wan proto {proto} to self port 8\n")
    before = lab.counters()
    with ECHO[proto](lab.firewall, WAN[family], 7):
        assert TRY[proto](lab.client, WAN[family], 7, timeout=0.3) == "timeout"
    lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 1)


@both
@protos
def test_outgoing(lab, family, proto):
    """What the host opens makes state at egress; replies are answered in XDP."""
    lab.load("default in drop\ndefault forward drop\ndefault out drop\n"
             f"accept out proto {proto} to port 7 label mine\n")
    before = lab.counters()
    with ECHO[proto](lab.client, CLIENT[family], 7):
        assert TRY[proto](lab.firewall, CLIENT[family], 7) == "ok"
    added = lab.counters() - before
    assert added.get("new", "egress", "fw-wan") == 1, added
    assert added.get("established", lab.hook, "fw-wan") >= 1, added
    if lab.hook == "xdp":
        assert added.get("established", "ingress", "fw-wan") == 0, added
    assert lab.rule("mine")["flows"] >= 1


@both
@protos
def test_outgoing_denied(lab, family, proto):
    """What the host may not send is dropped at egress."""
    lab.load(DENY)
    before = lab.counters()
    with ECHO[proto](lab.client, CLIENT[family], 7):
        assert TRY[proto](lab.firewall, CLIENT[family], 7, timeout=0.3) != "ok"
    lab.gain(before, lambda c: c.get("default", "egress", "fw-wan") >= 1)


@both
def test_one_direction_only(lab, family):
    """lan may open to wan, wan not to lan."""
    lab.load(DENY + "accept forward lan -> wan label outbound\n")
    with TcpEcho(lab.client, CLIENT[family], 7), TcpEcho(lab.server, SERVER[family], 7):
        assert tcp_try(lab.server, CLIENT[family], 7) == "ok"
        assert tcp_try(lab.client, SERVER[family], 7, timeout=0.3) == "timeout"


@both
def test_connection_survives_much_data(lab, family):
    """A megabyte there and back, without one drop."""
    lab.load(DENY + "accept forward wan -> lan proto tcp to port 7\n")
    before = lab.counters()
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        s.settimeout(patience(10))
        for _ in range(16):
            assert tcp_talk(s, bytes(65536))
    added = lab.counters() - before
    assert not added.drops(), added


@both
def test_blind_reset_does_not_cut(lab, family):
    """A RST with a wrong sequence number shortens nothing for who goes on talking."""
    lab.load(DENY + "accept forward wan -> lan proto tcp to port 7\n")
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        port = s.getsockname()[1]
        lab.client.send_raw("eth0", [frame(ip(family) / TCP(
            sport=port, dport=7, flags="R", seq=12345))])
        assert tcp_talk(s)
        assert tcp_talk(s)
        s.shutdown(socket.SHUT_WR)


@both
def test_port_is_not_matched_by_other_protocols(lab, family):
    """A rule about TCP ports lets no UDP through, and none without ports."""
    lab.load(DENY + "accept forward wan -> lan proto tcp to port 7\n")
    before = lab.counters()
    assert udp_try(lab.client, SERVER[family], 7, timeout=0.2) == "timeout"
    sctp = b"\x9c\x41\x00\x07" + bytes(28)
    head = ip(4, proto=132) if family == 4 else ip(6, nh=132)
    lab.client.send_raw("eth0", [frame(head / Raw(sctp))])
    lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 2)


@both
def test_negation_and_lists(lab, family):
    """Lists and `!` mean what they say."""
    lab.load(DENY + "define web = { 80, 443, 8000-8100 }\n"
             "accept forward wan -> lan proto tcp to port $web label web\n"
             "accept forward wan -> lan proto udp to port !{ 1-99 } label high\n")
    with TcpEcho(lab.server, SERVER[family], 8050), UdpEcho(lab.server, SERVER[family], 100), \
            UdpEcho(lab.server, SERVER[family], 99):
        assert tcp_try(lab.client, SERVER[family], 8050) == "ok"
        assert tcp_try(lab.client, SERVER[family], 8101, timeout=0.2) == "timeout"
        assert udp_try(lab.client, SERVER[family], 100) == "ok"
        assert udp_try(lab.client, SERVER[family], 99, timeout=0.2) == "timeout"
