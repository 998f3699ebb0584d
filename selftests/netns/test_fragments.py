# SPDX-License-Identifier: GPL-2.0-only
"""Fragments follow their first fragment; without one they are dropped."""

import pytest

from lab.lab import SERVER, WAN
from lab.packets import UDP, Raw, fragment, frame, ip
from lab.traffic import UdpEcho, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"


def udp_bytes(family, dport, size):
    """A UDP header with a right checksum and `size` bytes of data."""
    packet = ip(family) / UDP(sport=3333, dport=dport) / Raw(b"y" * size)
    return bytes(packet)[20 if family == 4 else 40:]


@both
@pytest.mark.parametrize("size", [3000, 30000])
def test_big_datagrams_both_ways(lab, family, size):
    """An accepted datagram in many fragments, and its echo."""
    lab.load(DENY + "accept forward on wan proto udp to port 7\n")
    before = lab.counters()
    with UdpEcho(lab.server, SERVER[family], 7):
        assert udp_try(lab.client, SERVER[family], 7, size=size) == "ok"
    gained = lab.counters() - before
    assert not gained.drops(), gained
    assert gained.get("fragment", lab.hook, "fw-wan") >= 1, gained
    assert gained.get("fragment", lab.hook, "fw-lan") >= 1, gained


@both
@pytest.mark.parametrize("size", [3000])
def test_big_datagrams_local(lab, family, size):
    """The same to the firewall itself."""
    lab.load(DENY + "accept in on wan proto udp to self port 7\n")
    before = lab.counters()
    with UdpEcho(lab.firewall, WAN[family], 7):
        assert udp_try(lab.client, WAN[family], 7, size=size) == "ok"
    assert not (lab.counters() - before).drops()


@both
def test_stateless_datagram(lab, family):
    """A rule that keeps no flow lets the rest of its datagrams through too, both ways."""
    lab.load(DENY + "accept stateless forward proto udp to port 7\n"
             "accept stateless forward proto udp from port 7\n")
    before = lab.counters()
    with UdpEcho(lab.server, SERVER[family], 7):
        # the last packet before is another flow's
        assert udp_try(lab.client, SERVER[family], 8, timeout=0.2) == "timeout"
        assert udp_try(lab.client, SERVER[family], 7, size=3000) == "ok"
    gained = lab.counters() - before
    assert gained.drops() == {"default": 1}, gained
    assert gained.get("fragment", lab.hook, "fw-wan") == 2, gained
    assert gained.get("fragment", lab.hook, "fw-lan") == 2, gained


@both
def test_undecided_datagram(lab, family):
    """Where only the leaving interface decides, the egress hook keeps the fragments."""
    lab.load(DENY + "accept forward wan -> lan proto udp to port 7\n")
    before = lab.counters()
    with UdpEcho(lab.server, SERVER[family], 7):
        assert udp_try(lab.client, SERVER[family], 7, size=3000) == "ok"
        assert udp_try(lab.client, SERVER[family], 8, size=3000, timeout=0.2) == "timeout"
    gained = lab.counters() - before
    assert gained.get("fragment", "egress", "fw-lan") >= 1, gained
    assert gained.drops() == {"default": 1, "fragment-orphan": 2}, gained


@both
def test_rest_of_denied_datagram(lab, family):
    """If the first fragment is denied the others are orphans."""
    lab.load(DENY)
    before = lab.counters()
    assert udp_try(lab.client, SERVER[family], 7, size=4000, timeout=0.2) == "timeout"
    gained = lab.gain(before, lambda c: sum(c.drops().values()) >= 3)
    assert gained.drops() == {"default": 1, "fragment-orphan": 2}, gained
    assert gained.get("fragment-orphan", lab.hook, "fw-wan") == 2, gained


@both
def test_fragment_of_another_datagram(lab, family):
    """An accepted first fragment lets in only what bears its identifier."""
    lab.load(DENY + "accept forward on wan proto udp to port 7\n")
    data = udp_bytes(family, 7, 1400 - 8)
    before = lab.counters()
    lab.client.send_raw("eth0", [
        frame(fragment(family, 0, True, data, 501)),
        frame(fragment(family, len(data) // 8, False, b"z" * 64, 501)),
        frame(fragment(family, len(data) // 8, False, b"z" * 64, 502))])
    gained = lab.gain(before, lambda c: c.drops() and c.get("fragment", lab.hook))
    assert gained.drops() == {"fragment-orphan": 1}, gained
    assert gained.get("fragment", lab.hook, "fw-wan") == 1, gained


@both
def test_option_fragments_drop(lab, family):
    """`option fragments drop` drops every fragment, also good ones."""
    lab.load("option fragments drop\ndefault forward accept\ndefault in accept\n")
    before = lab.counters()
    assert udp_try(lab.client, SERVER[family], 7, size=3000, timeout=0.2) == "timeout"
    gained = lab.gain(before, lambda c: sum(c.drops().values()) >= 3)
    assert gained.drops() == {"fragment-option": 3}, gained


def test_atomic_fragment(lab):
    """A fragment header on a whole IPv6 packet (RFC 6946) changes nothing."""
    lab.load(DENY + "accept forward on wan proto udp to port 7\n")
    before = lab.counters()
    data = udp_bytes(6, 7, 64)
    with lab.server.sniffer("eth0") as sniffer:
        lab.client.send_raw("eth0", [frame(fragment(6, 0, False, data, 503))])
        sniffer.wait(lambda f: data in f)
    assert not (lab.counters() - before).drops()
