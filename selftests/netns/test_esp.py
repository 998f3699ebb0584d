# SPDX-License-Identifier: GPL-2.0-only
"""ESP to the firewall: what nobody has keys for, in XDP, and who is told."""

import itertools
import json

import pytest

from lab.lab import CLIENT, REASONS, WAN
from lab.monitor import Monitor
from lab.netns import wait_for
from lab.packets import UDP, Raw, frame, ip

both = pytest.mark.parametrize("family", [4, 6])
xdp_modes = pytest.mark.modes("xdp", "xdp-generic")
knows = pytest.mark.needs("xdpxfrm")
RULES = "default in accept\ndefault out accept\ndefault forward accept\n"
UNKNOWN = "esp-unknown-spi"
KERNEL = 4  # exit status: it lacks something
spis = itertools.count(0x5000)


def option(what):
    """Rules with the option."""
    return RULES + f"option {UNKNOWN} {what}\n"


def esp(family, spi, seq=1):
    """As it is on the wire; nobody can decrypt it."""
    proto = {"proto": 50} if family == 4 else {"nh": 50}
    body = spi.to_bytes(4, "big") + seq.to_bytes(4, "big") + bytes(40)
    return frame(ip(family, dst=WAN[family], **proto) / Raw(body))


def larval(lab, family, spi):
    """A state that has an SPI and no keys, at the firewall."""
    lab.firewall.run("ip", "xfrm", "state", "allocspi", "src", CLIENT[family], "dst", WAN[family],
                     "proto", "esp", "min", str(spi), "max", str(spi))


@pytest.fixture
def clean(lab):
    """The lab; no state is left behind."""
    yield lab
    lab.firewall.run("ip", "xfrm", "state", "flush")


def drops_of(lab, frames, count):
    """Send them; how many XDP has dropped for want of a state."""
    before = lab.counters()
    lab.client.send_raw("eth0", frames)
    gained = lab.gain(before, lambda c: sum(n for k, n in c.values.items()
                                            if k[:2] == ("fw-wan", "xdp")) >= count)
    return gained.drops().get(UNKNOWN, 0)


@knows
@xdp_modes
@both
def test_drop_is_told(clean, family):
    """By monitor once, with its SPI, and in the log; each is counted."""
    clean.load(option("drop"))
    spi = next(spis)
    with Monitor(clean, "drops") as monitor:
        assert drops_of(clean, [esp(family, spi)], 1) == 1
        event = monitor.wait(reason=UNKNOWN)[0]
        assert (event["spi"], event["verdict"], event["event"]) == (f"0x{spi:08x}", "drop", "drop")
        assert (event["protocol"], event["hook"], event["rule"], event["logged"]) == (
            "esp", "xdp", None, True)
        assert (event["packet"]["source"], event["packet"]["destination"]) == (
            CLIENT[family], WAN[family])
        assert len(monitor.of(event="drop")) == 1, monitor.events
    wait_for(lambda: f"spi 0x{spi:08x}" in clean.daemon_log())
    line, = [text for text in clean.daemon_log().splitlines() if f"spi 0x{spi:08x}" in text]
    assert f"drop in on fw-wan (xdp): esp {CLIENT[family]} -> {WAN[family]} spi" in line, line


@knows
@xdp_modes
@both
def test_log_lets_in(clean, family):
    """Shown among what is logged, and judged by the rules."""
    clean.load(option("log"))
    spi = next(spis)
    with Monitor(clean, "all") as monitor:
        assert drops_of(clean, [esp(family, spi)], 1) == 0
        event = monitor.wait(reason=UNKNOWN)[0]
        assert (event["spi"], event["verdict"], event["event"]) == (
            f"0x{spi:08x}", "accept", "accept"), event


@knows
@pytest.mark.modes("xdp")
def test_flood_is_counted(clean):
    """More than can be shown: how many more there were."""
    clean.load(option("drop"))
    frames = [esp(4, next(spis)) for _ in range(600)]
    with Monitor(clean, "drops") as monitor:
        assert drops_of(clean, frames, len(frames)) == len(frames)
        wait_for(lambda: monitor.total() >= len(frames))
        assert monitor.of(event="suppressed"), monitor.events[-1]


@knows
@xdp_modes
@both
def test_larval(clean, family):
    """While IKE has no keys yet its packets come in."""
    clean.load(option("drop"))
    spi = next(spis)
    larval(clean, family, spi)
    assert drops_of(clean, [esp(family, spi), esp(family, spi + 0x10000)], 2) == 1
    clean.load(option("drop") + "option esp-grace off\n")
    assert drops_of(clean, [esp(family, spi)], 1) == 1


@knows
@pytest.mark.modes("xdp")
def test_without_the_option(clean):
    """Nobody asks, whatever it is."""
    clean.load(RULES)
    with Monitor(clean, "all") as monitor:
        assert drops_of(clean, [esp(4, next(spis))], 1) == 0
        clean.client.send_raw("eth0", [frame(ip(4, dst=WAN[4]) / UDP(sport=4500, dport=4500) /
                                             Raw(b"\1" * 40))])
        assert not monitor.of(reason=UNKNOWN)


@knows
def test_doctor_knows(lab):
    """What the option needs is there."""
    features = json.loads(lab.fwctl("doctor", "--json").out)["features"]
    here, = [f for f in features if f["feature"] == "bpf_xdp_get_xfrm_state"]
    assert here["here"] and UNKNOWN in here["needed_for"], here


@pytest.mark.needs("noxdpxfrm")
@pytest.mark.modes("xdp")
@pytest.mark.parametrize("what", ["log", "drop"])
def test_refused_without_the_kfunc(lab, what):
    """At its place, with what it needs; what does nothing is fine everywhere."""
    lab.load(option("pass"))
    path = lab.rules(option(what))
    refused = lab.fwctl("load", path, check=False)
    assert refused.exit == KERNEL and not refused.out, refused
    message, source, caret = refused.err.splitlines()
    lacks = "error: this kernel lacks bpf_xdp_get_xfrm_state"
    assert message.startswith(f"{path}:6:8: {lacks}"), message
    assert message.endswith("needs Linux 6.8"), message
    assert source.endswith(f"option {UNKNOWN} {what}") and caret.endswith("^" + "~" * 14), refused


def test_reason_is_a_drop():
    assert REASONS[UNKNOWN]
