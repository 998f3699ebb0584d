# SPDX-License-Identifier: GPL-2.0-only
"""Packets that no rule can allow: each dies at the first hook, for its own reason."""

import pytest

from lab.lab import LAN, WAN
from lab.packets import BAD, TAGS, UDP, frame, ip

ACCEPT = "default in accept\ndefault out accept\ndefault forward accept\n"
CASES = [pytest.param(bad, family, id=f"{bad.name}-ipv{family}")
         for bad in BAD for family in bad.families]
COPIES = 3


def check_dropped(lab, frames, reason):
    """All `frames` are dropped at the first hook for `reason`, for no other."""
    before = lab.counters()
    with lab.server.sniffer("eth0") as sniffer:
        lab.client.send_raw("eth0", frames)
        gained = lab.gain(before, lambda c: sum(c.drops().values()) >= len(frames))
        assert gained.drops() == {reason: len(frames)}, gained
        assert gained.get(reason, lab.hook, "fw-wan") == len(frames), gained
        if lab.hook == "xdp":
            assert gained.get("judged-by-xdp", "ingress", "fw-wan") == 0, gained
        # Beyond the fields that a router changes, nothing came out like this.
        assert not sniffer.count(lambda f: f[26:] == frames[0][26:])


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
@pytest.mark.parametrize("bad, family", CASES)
def test_dropped(lab, bad, family, tags):
    """With zero, one and two VLAN tags."""
    lab.load_once(ACCEPT)
    check_dropped(lab, [frame(bad.build(family), tags)] * COPIES, bad.reason)


@pytest.mark.parametrize("family", [4, 6])
def test_three_tags(lab, family):
    """Deeper than we look is not passed on trust."""
    lab.load_once(ACCEPT)
    packet = frame(ip(family) / UDP(sport=1, dport=53), (30, 20, 10))
    check_dropped(lab, [packet] * COPIES, "vlan-depth")


@pytest.mark.modes("xdp-generic")
@pytest.mark.parametrize("bad, family", [c for c in CASES if c.id.startswith(
    ("syn-less", "xmas", "null", "spoofed", "orphan", "error"))])
def test_dropped_by_generic_xdp(lab, bad, family):
    """The mode for drivers without native XDP gives the same answers."""
    lab.load_once(ACCEPT)
    check_dropped(lab, [frame(bad.build(family))] * COPIES, bad.reason)


# Without its check loopback is an address of this host: another check's affair.
OFF = [bad for bad in BAD if bad.name != "loopback source" and
       bad.reason in ("land", "martian", "ttl-zero", "bad-l4", "port-zero")]


@pytest.mark.parametrize("bad, family", [pytest.param(bad, family, id=f"{bad.name}-ipv{family}")
                                         for bad in OFF for family in bad.families])
def test_check_is_off(lab, bad, family):
    """Switched off, the check is none: no hook drops the packet for it."""
    lab.load_once(ACCEPT + f"option check {bad.reason} off\n")
    before = lab.counters()
    frames = [frame(bad.build(family))] * COPIES
    lab.client.send_raw("eth0", frames)
    gained = lab.gain(before, lambda c: c.get("new", "ingress", "fw-wan") +
                      c.get("established", lab.hook, "fw-wan") >= 1)
    assert bad.reason not in gained.drops(), gained


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("which", ["wan", "lan"])
def test_spoofed_to_self(lab, family, which):
    """Also when the victim is the firewall itself, with either of its addresses."""
    lab.load_once(ACCEPT)
    source, target = (WAN, LAN) if which == "wan" else (LAN, WAN)
    packet = frame(ip(family, src=source[family], dst=target[family]) / UDP(sport=9, dport=53))
    check_dropped(lab, [packet] * COPIES, "spoofed-self")


@pytest.mark.parametrize("family", [4, 6])
def test_good_packet_passes(lab, family):
    """The counterpart: the same way of sending, a good packet, no drop."""
    lab.load_once(ACCEPT)
    before = lab.counters()
    packet = ip(family) / UDP(sport=1234, dport=53)
    with lab.server.sniffer("eth0") as sniffer:
        lab.client.send_raw("eth0", [frame(packet)])
        sniffer.wait(lambda f: bytes(packet[UDP])[:4] in f)
    assert not (lab.counters() - before).drops()
