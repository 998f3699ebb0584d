# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels that strongSwan agrees on, from the client to the firewall, beside its rules."""

import os
import time

import pytest

from lab.charon import Pair
from lab.ipsec import INNER, address_inside, prefer_inside, states, xfrm_stat
from lab.lab import CLIENT, WAN, Lab
from lab.netns import patience
from lab.traffic import Iperf, TcpEcho, UdpEcho, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = pytest.mark.needs("esp", "strongswan")
families = pytest.mark.parametrize("family", [4, 6])
IKE = ("default in drop\ndefault out accept\ndefault forward drop\n"
       "accept in on wan proto udp to self port { 500, 4500 } label ike\n")
ESP = "accept in on wan proto esp label esp\n"
ECHO = "accept in on wan proto { tcp, udp } to self port 7 label inside\n"
IPERF = "accept in on wan proto tcp to self port 5201 label iperf\n"
# What ESP without a rule dies for: a flow of an earlier test may still be known.
DENIED = {"default", "reload"}
DROP = "option esp-unknown-spi drop\n"
UNKNOWN = "esp-unknown-spi"
knows = pytest.mark.needs("xdpxfrm")
MANY = 100 if os.environ.get("FWCTL_EVERY") else 10


@pytest.fixture(scope="module")
def ike_lab():
    """The lab with inner addresses, and a charon at client and firewall."""
    with Lab() as lab:
        address_inside(lab)
        prefer_inside(lab)
        with Pair(lab, lab.client, lab.firewall) as lab.pair:
            yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture
def ike(ike_lab, mode):
    """The same without connections, flows, and flows of ESP (they need a new rule set)."""
    ike_lab.mode = mode
    ike_lab.load("default in drop\ndefault out drop\ndefault forward drop\n")
    ike_lab.firewall.run("conntrack", "-F", check=False)
    yield ike_lab
    ike_lab.pair.down()


def outer(family):
    """Addresses of client and firewall outside."""
    return CLIENT[family], WAN[family]


def inner(family, mode="tunnel"):
    """And inside of a tunnel, or of what transport mode protects."""
    if mode == "transport":
        return outer(family)
    return INNER["client"][family], INNER["firewall"][family]


def talks(lab, family, mode="tunnel"):
    """TCP and UDP from the client, and datagrams in fragments."""
    source, target = inner(family, mode)
    with TcpEcho(lab.firewall, target, 7), UdpEcho(lab.firewall, target, 7):
        with tcp_connect(lab.client, target, 7, source=(source, 0)) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
        for size in (5, 3000):
            assert udp_try(lab.client, target, 7, size=size, source=(source, 0)) == "ok"


@families
@pytest.mark.parametrize("kind", ["tunnel", "transport"])
@pytest.mark.alternate
def test_connection(ike, family, kind):
    """IKE and ESP have rules, and so has what is inside: it comes up, and all goes through."""
    ike.load(IKE + ESP + ECHO)
    before = ike.counters()
    with ike.client.sniffer("eth0") as sniffer:
        ike.pair.up(outer(family), inner(family, kind), mode=kind)
        talks(ike, family, kind)
        assert len(esp_sent(sniffer, family, "no")) > 3
    gained = ike.counters() - before
    assert not gained.drops(), gained
    # Both ends may ask at once: of two pairs one goes, and its counters with it.
    assert {x.mode for x in states(ike.firewall)} == {kind}
    assert ike.rule("ike")["flows"] == 1


def esp_sent(sniffer, family, encap):
    """Frames of ESP, of it in UDP with "yes", that this end has sent."""
    at = 34 if family == 4 else 54
    proto = 17 if encap == "yes" else 50

    def is_esp(frame):
        if frame[at - 11 if family == 4 else at - 34] != proto:
            return False
        if family == 4 and int.from_bytes(frame[20:22], "big") & 0x3fff:
            return False  # a fragment
        return proto == 50 or (frame[at + 2:at + 4] == b"\x11\x94" and any(frame[at + 8:at + 12]))
    return [frame for kind, frame in sniffer.read() if kind == 4 and is_esp(frame)]


@families
@pytest.mark.parametrize("encap", ["no", "yes"])
@pytest.mark.parametrize("mode", ["xdp", "xdp-generic"])
@pytest.mark.alternate
@knows
def test_unknown_spi(ike, family, encap):
    """What IKE has agreed on comes in; once the SA is gone, packets of it die in XDP."""
    ike.load(DROP + "option esp-grace 1s\n" + IKE + ESP + ECHO)
    before = ike.counters()
    with ike.client.sniffer("eth0") as sniffer:
        ike.pair.up(outer(family), inner(family), encap=encap)
        talks(ike, family)
        found = esp_sent(sniffer, family, encap)
    gained = ike.counters() - before
    assert found and not gained.drops(), gained
    ike.pair.a.swanctl("--terminate", "--ike", "lab")
    time.sleep(1.5)
    before = ike.counters()
    ike.client.send_raw("eth0", found[-3:])
    gained = ike.gain(before, lambda c: c.get(UNKNOWN, "xdp") >= 3)
    assert gained.drops() == {UNKNOWN: 3}, gained
    # IKE itself is not taken for ESP.
    before = ike.counters()
    ike.pair.up(outer(family), inner(family), encap=encap)
    talks(ike, family)
    gained = ike.counters() - before
    assert not gained.drops(), gained


def test_without_a_rule(ike):
    """Without a rule for ESP the SAs come up, but nothing comes through them."""
    ike.load(IKE + ECHO)
    ike.pair.up(outer(4), inner(4))
    before = ike.counters()
    with TcpEcho(ike.firewall, inner(4)[1], 7):
        assert tcp_try(ike.client, inner(4)[1], 7, timeout=0.2) == "timeout"
    gained = ike.gain(before, lambda c: c.drops())
    assert set(gained.drops()) <= DENIED, gained
    assert not sum(x.packets for x in states(ike.firewall) if x.dst == WAN[4])


@families
@pytest.mark.alternate
def test_nat_traversal(ike, family):
    """ESP in UDP is what IKE's rule for port 4500 lets in: one flow, no ESP."""
    ike.load(IKE + ECHO)
    before = ike.counters()
    ike.pair.up(outer(family), inner(family), encap="yes")
    talks(ike, family)
    gained = ike.counters() - before
    assert not gained.drops(), gained
    assert ike.rule("ike")["flows"] == 2  # ports 500 and 4500
    assert not [x for x in ike.conntrack() if "dport=7 " in x and "src=192.0.2.2" in x]


def test_esn(ike):
    """Sequence numbers of 64 bits, a window of 256."""
    ike.load(IKE + ESP + ECHO)
    before = ike.counters()
    ike.pair.up(outer(4), inner(4), proposals="aes128gcm16-esn", window=256)
    talks(ike, 4)
    gained = ike.counters() - before
    assert not gained.drops(), gained
    assert all("esn" in x.flags for x in states(ike.firewall)), states(ike.firewall)


@pytest.mark.slow
@pytest.mark.parametrize("mode, family, encap, option, times", [
    ("tc", 6, "no", "pass", 10), ("xdp", 4, "no", "pass", 10),
    pytest.param("xdp", 4, "no", "drop", MANY, marks=knows),
    pytest.param("xdp", 6, "yes", "drop", 10, marks=knows)])
@pytest.mark.needs("iperf3")
def test_rekeying(ike, family, encap, option, times):
    """SAs are replaced over and over beside iperf3: fwctl drops nothing."""
    ike.load(f"option {UNKNOWN} {option}\n" * (option == "drop") + IKE + ESP + IPERF)
    before = ike.counters()
    ike.pair.up(outer(family), inner(family), encap=encap)
    start, done = time.monotonic(), 0
    while done < times:
        flow = Iperf(ike.client, ike.firewall, inner(family)[1], seconds=2)
        while done < times and flow.is_running():
            ike.pair.rekey(outer(family))
            done += 1
        assert flow.result()["end"]["sum_received"]["bytes"] > 1e5
    gained = ike.counters() - before
    assert not gained.drops(), gained
    print(f"{done} times in {time.monotonic() - start:.0f} s; XFRM dropped "
          f"{xfrm_stat(ike.firewall)}")


@families
@pytest.mark.alternate
def test_deleted(ike, family):
    """A connection that IKE has ended lets nothing through, and opens again."""
    ike.load(IKE + ESP + ECHO)
    ike.pair.up(outer(family), inner(family))
    talks(ike, family)
    ike.pair.a.swanctl("--terminate", "--ike", "lab")
    assert not states(ike.firewall) and not states(ike.client)
    with TcpEcho(ike.firewall, inner(family)[1], 8):
        # In clear: by the rules, which have none for this port.
        assert tcp_try(ike.client, inner(family)[1], 8, timeout=0.2) == "timeout"
    before = ike.counters()
    ike.pair.up(outer(family), inner(family))
    talks(ike, family)
    gained = ike.counters() - before
    assert not gained.drops(), gained


def only(what=""):
    """Echo for nobody but what came out of an SA, of a reqid."""
    return f"accept in on wan proto {{ tcp, udp }} to self port 7 via ipsec {what} label inside\n"


@families
@pytest.mark.alternate
def test_only_by_ipsec(ike, family):
    """A service for one connection of IKE: not in clear, and not by another one."""
    target = inner(family)[1]
    ike.load(IKE + ESP + only("reqid 7"))
    with TcpEcho(ike.firewall, target, 7):
        before = ike.counters()
        assert tcp_try(ike.client, target, 7, timeout=0.2) == "timeout"
        gained = ike.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"default"}, gained
        ike.pair.up(outer(family), inner(family), reqid=8)
        before = ike.counters()
        assert tcp_try(ike.client, target, 7, timeout=0.2) == "timeout"
        gained = ike.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"default"}, gained
    ike.pair.a.swanctl("--terminate", "--ike", "lab")
    ike.pair.up(outer(family), inner(family), reqid=7)
    before = ike.counters()
    talks(ike, family)
    ike.pair.rekey(outer(family))
    talks(ike, family)
    gained = ike.counters() - before
    assert not gained.drops(), gained


@families
@pytest.mark.alternate
def test_not_in_clear_when_it_ends(ike, family):
    """What was opened inside of a tunnel waits for the next one, and never goes on in clear."""
    source, target = inner(family)
    ike.load(IKE + ESP + only())
    ike.pair.up(outer(family), inner(family))
    with TcpEcho(ike.firewall, target, 7), \
            tcp_connect(ike.client, target, 7, source=(source, 0)) as s:
        assert tcp_talk(s, b"inside")
        ike.pair.a.swanctl("--terminate", "--ike", "lab")
        before = ike.counters()
        s.sendall(b"later")
        gained = ike.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"ipsec-clear"}, gained
        ike.pair.up(outer(family), inner(family))
        s.settimeout(patience(10))
        assert s.recv(100) == b"later"


@families
@pytest.mark.alternate
def test_promise(ike, family):
    """What the firewall may send only encrypted does not leave before there is an SA."""
    target, source = inner(family)
    ike.load(IKE + ESP + "accept out proto tcp to port 9 via ipsec label secret\n")
    with TcpEcho(ike.client, target, 9):
        before = ike.counters()
        tcp_try(ike.firewall, target, 9, timeout=0.2, source=(source, 0))
        gained = ike.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"ipsec-clear"}, gained
        ike.pair.up(outer(family), inner(family))
        before = ike.counters()
        assert tcp_try(ike.firewall, target, 9, timeout=3, source=(source, 0)) == "ok"
        gained = ike.counters() - before
        assert not gained.drops(), gained
