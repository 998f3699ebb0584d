# SPDX-License-Identifier: GPL-2.0-only
"""ESP and AH in XDP: what the kernel has a state for, larval ones, and what nobody has."""

import itertools
import time

import pytest
from conftest import FAR4, FAR6, PEER4, PEER6, RULES, SELF4, SELF6
from packets import (
    FAMILIES,
    IP,
    TAGS,
    UDP,
    IPOption,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    frame,
    l3,
)

from lab.netns import SLOWNESS

pytestmark = pytest.mark.needs("xdpxfrm")

ESP, AH, UDP_PROTO = 50, 51, 17
DROP = "esp-unknown-spi"
SELF = {4: SELF4, 6: SELF6}
PEER = {4: PEER4, 6: PEER6}
FAR = {4: FAR4, 6: FAR6}
spis = itertools.count(0x1000)


def rules(what, grace="10s"):
    return f"option esp-unknown-spi {what}\noption esp-grace {grace}\n" + RULES


def body(spi, seq=1, size=32):
    """ESP as it is on the wire."""
    return spi.to_bytes(4, "big") + seq.to_bytes(4, "big") + bytes(size)


def header(family, proto, **fields):
    key = "proto" if family == 4 else "nh"
    return l3(family, **{key: proto}, **fields)


def esp(family, spi, seq=1, tags=0, **fields):
    return frame(header(family, ESP, **fields) / Raw(body(spi, seq)), tags)


def ah(family, spi, seq=1, **fields):
    head = bytes([59, 4, 0, 0]) + body(spi, seq, 12)
    return frame(header(family, AH, **fields) / Raw(head + bytes(20)))


def in_udp(family, payload, port=4500, tags=0, **fields):
    return frame(l3(family, **fields) / UDP(sport=4500, dport=port) / Raw(payload), tags)


def natt(family, spi, seq=1, **fields):
    return in_udp(family, body(spi, seq), **fields)


KINDS = {"esp": esp, "ah": ah, "udp": natt}


class Host:
    """The harness, and the states of its namespace."""

    def __init__(self, harness):
        self.harness = harness

    def sh(self, *words):
        said = self.harness.call(sh=" ".join(words) + " 2>&1")
        assert said["exit"] == 0, said
        return said["out"]

    def larval(self, family, spi, proto="esp", mark=None):
        """A state without keys, as IKE makes it before it asks."""
        self.sh("ip xfrm state allocspi src", PEER[family], "dst", SELF[family], "proto", proto,
                *(("mark", str(mark)) if mark else ()), "min", str(spi), "max", str(spi))

    def forget(self):
        self.sh("ip xfrm state flush")
        self.harness.call(esp_flush=True)
        self.harness.call(marks=[])

    def xdp(self, packet):
        """The reason that counts in XDP."""
        out = self.harness.run("xdp", packet)
        assert out["drop"] or out["reason"] != DROP
        return out["reason"]

    @property
    def state(self):
        return self.harness.call(esp=True)

    @property
    def counts(self):
        """Those that are not 0."""
        return {k: v for k, v in self.state["counts"].items() if v}


@pytest.fixture
def host(harness):
    host = Host(harness)
    harness.rules(rules("drop"))
    harness.flush()
    host.forget()
    yield host
    host.forget()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_unknown(host, family, kind):
    """Dropped; logged and let in; let in. What the rules say of it is another matter."""
    host.harness.rules(rules("pass"))
    usual = host.xdp(KINDS[kind](family, 0x77))
    assert usual == "default" and not host.counts and not host.state["events"]["records"]
    host.harness.rules(rules("log"))
    assert host.xdp(KINDS[kind](family, 0x77)) == usual
    proto = {"esp": ESP, "ah": AH, "udp": UDP_PROTO}[kind]
    record = {"spi": 0x77, "proto": proto, "family": family, "reason": DROP}
    assert host.state["events"]["records"] == [record | {"drop": False}]
    host.harness.rules(rules("drop"))
    assert host.xdp(KINDS[kind](family, 0x78)) == DROP
    state = host.state
    assert state["events"]["records"] == [record | {"drop": True, "spi": 0x78}]
    assert (state["counts"]["unknown"], state["counts"]["enoent"]) == (2, 2)
    assert not state["sas"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tags", TAGS)
def test_tags(host, family, tags):
    assert host.xdp(esp(family, 0x79, tags=tags)) == DROP
    assert host.xdp(in_udp(family, body(0x79), tags=tags)) == DROP


def test_extension_headers(host):
    """Whatever lies before it; an atomic fragment is none."""
    for chain in (IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=0, offset=0),
                  IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()):
        packet = IPv6(src=PEER6, dst=SELF6) / chain
        last = packet.lastlayer()
        last.nh = ESP
        assert host.xdp(frame(packet / Raw(body(0x7a)))) == DROP, packet
        last.nh = UDP_PROTO
        assert host.xdp(frame(packet / UDP(sport=4500, dport=4500) / Raw(body(0x7a)))) == DROP


def test_ipv4_options(host):
    packet = IP(src=PEER4, dst=SELF4, proto=ESP, options=IPOption(b"\x01" * 4))
    assert host.xdp(frame(packet / Raw(body(0x7b)))) == DROP


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_no_esp(host, family):
    """IKE behind its marker, keepalives, what is too short, other ports and other hosts."""
    for payload in (bytes(4) + b"ike" * 20, b"\xff", b"", body(5, size=0), b"\x00\x00\x00\x01"):
        assert host.xdp(in_udp(family, payload)) == "default", payload
    assert host.xdp(in_udp(family, body(0x7c), port=4501)) == "default"
    for kind in KINDS.values():
        assert host.xdp(kind(family, 0x7c, dst=FAR[family])) != DROP
    assert not host.counts
    assert host.xdp(in_udp(family, body(5, size=1))) == DROP


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments_pass(host, family):
    """The first one and others: who puts them together asks again."""
    if family == 4:
        parts = [IP(src=PEER4, dst=SELF4, proto=ESP, id=7, flags="MF") / Raw(body(9, size=40)),
                 IP(src=PEER4, dst=SELF4, proto=ESP, id=7, frag=6) / Raw(bytes(16))]
    else:
        parts = [IPv6(src=PEER6, dst=SELF6) / IPv6ExtHdrFragment(nh=ESP, m=m, offset=at, id=7) /
                 Raw(load) for m, at, load in ((1, 0, body(9, size=40)), (0, 6, bytes(16)))]
    for part in parts:
        assert host.xdp(frame(part)) != DROP
    assert not host.counts


@pytest.mark.parametrize("family", FAMILIES)
def test_truncated(host, family):
    """No SPI, or no sequence number: nobody could decrypt that."""
    for size in (0, 3, 7):
        packet = frame(header(family, ESP) / Raw(bytes(size)))
        assert host.xdp(packet) == "truncated", size
    assert host.xdp(frame(header(family, AH) / Raw(bytes(11)))) == "truncated"
    host.harness.rules(rules("log"))
    assert host.xdp(frame(header(family, ESP) / Raw(bytes(7)))) == "default"
    assert not host.counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_larval(host, family, kind):
    """Let in for the grace, then dropped; counted, and gone with its state."""
    host.harness.rules(rules("drop", "1s"))
    spi = next(spis)
    host.larval(family, spi, "ah" if kind == "ah" else "esp")
    packet = KINDS[kind](family, spi)
    for _ in range(3):
        assert host.xdp(packet) == "default"
    sa, = host.state["sas"]
    # what goes before IP does not count
    assert sa["packets"] == 3 and sa["bytes"] == 3 * (len(packet) - 14), sa
    assert (sa["dst"], sa["spi"], sa["valid"]) == (SELF[family], spi, None)
    assert sa["larval"] < 1000 * SLOWNESS
    assert host.xdp(KINDS[kind](family, spi + 0x10000)) == DROP
    time.sleep(1.1)
    assert host.xdp(packet) == DROP
    counts = host.counts
    assert (counts["larval"], counts["unknown"], counts["enoent"]) == (3, 2, 1)
    assert host.state["sas"][0]["packets"] == 4
    host.sh("ip xfrm state flush")
    assert host.xdp(packet) == DROP and not host.state["sas"]
    # the next one of this number begins anew
    host.larval(family, spi, "ah" if kind == "ah" else "esp")
    assert host.xdp(packet) == "default"


def test_clock_of_another_processor(host):
    """Which is a tick ahead of ours: what it has written is no time long ago."""
    host.larval(4, 0x8ff)
    assert host.xdp(esp(4, 0x8ff)) == "default"
    host.harness.call(esp_ahead=True)
    assert host.xdp(esp(4, 0x8ff)) == "default"


def test_without_grace(host):
    """Larval ones do not count at all."""
    host.harness.rules(rules("drop", "off"))
    host.larval(4, 0x900)
    assert host.xdp(esp(4, 0x900)) == DROP


def test_other_protocol(host):
    """A state of ESP is none of AH, nor one of another address."""
    host.larval(4, 0x901)
    assert host.xdp(ah(4, 0x901)) == DROP
    assert host.xdp(esp(6, 0x901)) == DROP
    assert host.xdp(natt(4, 0x901)) == "default"


def test_marks(host):
    """A state with a mark is found by it; with more marks than can be known none is dropped."""
    host.larval(4, 0x902, mark=42)
    assert host.xdp(esp(4, 0x902)) == DROP
    host.harness.call(marks=[7, 0, 42])
    assert host.xdp(esp(4, 0x902)) == "default"
    assert host.xdp(esp(4, 0x903)) == DROP
    host.harness.call(marks=list(range(1, 9)))
    assert host.xdp(esp(4, 0x902)) == DROP
    host.harness.call(marks=list(range(1, 9)), unknown=True)
    before = host.state["counts"]["unsure"]
    assert host.xdp(esp(4, 0x902)) == "default"
    assert host.state["counts"]["unsure"] == before + 1


def test_flood(host):
    """Random SPIs leave nothing behind but counts; records are few, the others counted."""
    for spi in range(0x20000, 0x20000 + 100):
        assert host.xdp(esp(4, spi)) == DROP
    assert host.harness.call(repeat=10000, frame=esp(4, 0x20200).hex())["ok"]
    state = host.state
    assert not state["sas"] and state["counts"]["unknown"] == 10100
    records, suppressed = len(state["events"]["records"]), state["events"]["suppressed"]
    assert suppressed > 0 and records + suppressed >= 10100, (records, suppressed)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_reference_leaks(host, family):
    """After a million lookups a state goes at once, and may be made again."""
    host.larval(family, 0x904)
    packet, n = esp(family, 0x904), int(1000000 / SLOWNESS)
    assert host.harness.call(repeat=n, frame=packet.hex())["ok"]
    assert host.state["counts"]["larval"] == n
    assert "0x00000904" in host.sh("ip xfrm state")
    host.sh("ip xfrm state deleteall")
    assert not host.sh("ip xfrm state")
    assert host.xdp(esp(family, 0x904, seq=2)) == DROP
    host.larval(family, 0x904)
    assert host.xdp(packet) == "default"
