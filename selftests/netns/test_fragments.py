# SPDX-License-Identifier: GPL-2.0-only
"""Fragments follow their first fragment; without one they are dropped."""

import json
import random

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import SLOWNESS
from lab.packets import UDP, Raw, echo_request, fragment, frame, ip
from lab.traffic import Flood, Iperf, UdpEcho, ping, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
PING = ("accept forward wan -> lan proto icmp type echo-request\n"
        "accept in on wan proto icmp type echo-request\n"
        "accept out proto icmp type echo-request\n")


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


@both
@pytest.mark.parametrize("hooks", ["auto", "on"])
@pytest.mark.modes("xdp", "tc", "xdp-generic")
def test_big_ping(lab, family, hooks):
    """60 000 bytes through, to and from the firewall, whoever tracks; the other way not."""
    lab.load(f"option conntrack-hooks {hooks}\n" + DENY + PING)
    before = lab.counters()
    assert ping(lab.client, SERVER[family], 3, 60000)
    assert ping(lab.client, WAN[family], 3, 60000)
    assert ping(lab.firewall, SERVER[family], 3, 60000)
    assert ping(lab.client, SERVER[family], 1, 65507)
    gained = lab.counters() - before
    assert not gained.drops(), gained
    assert gained.get("fragment", lab.hook, "fw-wan") >= 100, gained
    assert not ping(lab.server, CLIENT[family], 1, 60000, 0.3)
    gained = lab.counters() - before
    assert gained.drops() == {"default": 1, "fragment-orphan": gained.get("fragment-orphan")}
    lab.load(DENY)


# ---- a flood of first fragments -----------------------------------------------------------

FLOOD = int(200000 / SLOWNESS)
RATE = int(10e6 / SLOWNESS ** 2)  # of the transfer: little, or it is a race for processors
NOBODY = {4: "198.51.100.250", 6: "2001:db8:2::250"}  # or the server could reassemble no more


def first_fragments(family, n):
    """First fragments of pings from ever other senders, with identifiers like theirs."""
    chance = random.Random(f"{family} {n}")
    data = bytes(echo_request(family))[20 if family == 4 else 40:].ljust(16, b"f")
    whole = frame(fragment(family, 0, True, data, proto=1 if family == 4 else 58,
                           dst=NOBODY[family]))
    for _ in range(n):
        yield (other_ipv4 if family == 4 else other_ipv6)(whole, chance.getrandbits(32))


def with_checksum(packet):
    """An IPv4 frame with the checksum of what its header says now."""
    total = sum(int.from_bytes(packet[i:i + 2], "big") for i in range(14, 34, 2) if i != 24)
    return packet[:24] + (-total % 0xffff).to_bytes(2, "big") + packet[26:]


def other_ipv4(whole, number):
    """The same frame from 198.18.0.0/15, with other identifiers of datagram and echo."""
    four = number.to_bytes(4, "big")
    source = bytes((198, 18 + (number & 1))) + four[:2]
    return with_checksum(whole[:18] + four[2:] + whole[20:26] + source + whole[30:38] +
                         four[2:] + whole[40:])


def other_ipv6(whole, number):
    """The same frame from another host of that network, with another identifier."""
    four = number.to_bytes(4, "big")
    return whole[:34] + four + whole[38:58] + four + whole[62:]


def last_fragment(family, begin):
    """What may follow a first fragment of 16 bytes."""
    if family == 4:
        return with_checksum(begin[:20] + b"\x00\x02" + begin[22:])
    return begin[:56] + b"\x00\x10" + begin[58:]


def frags_memory(lab):
    """Bytes of the table of datagrams, as the kernel says."""
    pin = next(lab.pin_dir.rglob("frags"))
    shown = lab.firewall.run("bpftool", "-j", "map", "show", "pinned", pin)
    return json.loads(shown.stdout)["bytes_memlock"]


@both
@pytest.mark.slow
@pytest.mark.needs("iperf3")
def test_flood_of_first_fragments(lab, family):
    """Memory stays what it was; a transfer, big pings and datagrams of flows go on."""
    lab.firewall.run("ip", "neigh", "replace", NOBODY[family], "lladdr", "02:00:00:00:02:99",
                     "dev", "fw-lan")
    lab.load(DENY + "accept forward on wan proto icmp type echo-request label flood\n"
             "accept forward on wan proto udp to port 7\n"
             "accept forward wan -> lan proto tcp to port 5201\n")
    frames = list(first_fragments(family, FLOOD))
    before, memory = lab.counters(), frags_memory(lab)
    with UdpEcho(lab.server, SERVER[family], 7):
        assert udp_try(lab.client, SERVER[family], 7, source=("", 3333)) == "ok"
    datagram = udp_bytes(family, 7, 16)
    transfer = Iperf(lab.client, lab.server, SERVER[family], 8, rate=RATE)
    flood, pings = Flood(lab.client, "eth0", frames, FLOOD / 8 * SLOWNESS), []
    with flood:
        lab.client.send_raw("eth0", [frame(fragment(family, 0, True, datagram[:16], 504))])
        while flood.sent < FLOOD:
            pings.append(ping(lab.client, SERVER[family], 5, 4000))
        report = transfer.result()
        gained = lab.counters() - before
        print(f"{flood.sent} fragments, {len(pings) * 5} pings, {gained}")
        assert gained.get("new", lab.hook, "fw-wan") >= FLOOD * 0.95, gained
        assert all(pings), pings
        assert not gained.drops(), gained
        assert report["end"]["sum_received"]["bits_per_second"] > 0.9 * RATE
        assert frags_memory(lab) == memory
        # of a flow that was answered: remembered; of the flood: forgotten
        before = lab.counters()
        lab.client.send_raw("eth0", [
            frame(fragment(family, 2, False, datagram[16:], 504)),
            last_fragment(family, frames[FLOOD // 2])])
        gained = lab.gain(before, lambda c: c.get("fragment", "egress") and c.drops())
        assert gained.drops() == {"fragment-orphan": 1}, gained
