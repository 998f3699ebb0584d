# SPDX-License-Identifier: GPL-2.0-only
"""ESP to the firewall: what nobody has keys for, in XDP, and who is told."""

import contextlib
import ipaddress
import itertools
import json
import os
import pathlib
import random
import re
import signal
import socket

import pytest

from bench.rules.case import Header, pack
from bench.rules.track import Generator
from lab.lab import CLIENT, REASONS, WAN
from lab.monitor import Monitor
from lab.netns import SLOWNESS, wait_for
from lab.packets import UDP, Raw, frame, ip
from lab.traffic import http

both = pytest.mark.parametrize("family", [4, 6])
xdp_modes = pytest.mark.modes("xdp", "xdp-generic")
knows = pytest.mark.needs("xdpxfrm")
RULES = "default in accept\ndefault out accept\ndefault forward accept\n"
UNKNOWN = "esp-unknown-spi"
SO_RCVBUFFORCE = 33
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
@pytest.mark.modes("xdp", "xdp-generic", "tc")
def test_idle_is_told(clean, mode):
    """Without XDP nobody is asked for SPIs, and whoever loads the rules hears of it."""
    done = clean.fwctl("load", clean.rules(option("drop")))
    assert ("no interface looks for unknown SPIs" in done.err) == (mode == "tc"), done
    done = clean.fwctl("load", clean.rules(option("pass")))
    assert "SPI" not in done.err, done


@knows
def test_doctor_knows(lab):
    """What the option needs is there."""
    features = json.loads(lab.fwctl("doctor", "--json").out)["features"]
    here, = [f for f in features if f["feature"] == "bpf_xdp_get_xfrm_state"]
    assert here["here"] and UNKNOWN in here["needed_for"], here


# ---- what the daemon knows -------------------------------------------------------------------


def associations(lab):
    """Those that `fwctl show ipsec` lists, by SPI."""
    return {a["spi"]: a for a in lab.show("ipsec")["associations"]}


@knows
@pytest.mark.modes("xdp")
@both
def test_show(clean, family):
    """A larval one, with what XDP has seen of it; as a table, too, and without any."""
    clean.load(option("drop"))
    assert clean.fwctl("show", "ipsec").out == "there are no security associations\n"
    spi = next(spis)
    larval(clean, family, spi)
    data = esp(family, spi)
    assert drops_of(clean, [data, data, esp(family, spi + 0x10000)], 3) == 1
    shown = associations(clean)[f"0x{spi:08x}"]
    assert (shown["source"], shown["destination"], shown["protocol"], shown["state"]) == (
        CLIENT[family], WAN[family], "esp", "larval")
    assert (shown["direction"], shown["mode"], shown["packets"]) == ("in", "transport", 0), shown
    assert (shown["xdp_packets"], shown["xdp_bytes"], shown["xdp_replays"]) == (
        2, 2 * (len(data) - 14), 0), shown
    assert not shown["mark"] and not shown["encapsulation"] and not shown["interface_id"], shown
    assert 0 <= shown["age"] < 60 and shown["ends_in"] is None or shown["ends_in"] > 0, shown
    rows = clean.fwctl("show", "ipsec").out.splitlines()
    assert rows[0].split()[:4] == ["WAY", "ADDRESSES", "PROTO", "SPI"] and len(rows) == 2, rows
    assert f"{CLIENT[family]} -> {WAN[family]}" in rows[1] and "larval" in rows[1], rows
    lookups = clean.show("ipsec")["lookups"]
    assert lookups["larval"] >= 2 and lookups["unknown"] >= 1 and lookups["einval"] == 0, lookups


@knows
@pytest.mark.modes("xdp")
def test_metrics(clean):
    """Of each association, and of lookups by what came of them."""
    clean.load(option("drop"))
    spi = next(spis)
    larval(clean, 4, spi)
    before = clean.show("ipsec")["lookups"]
    assert drops_of(clean, [esp(4, spi), esp(4, spi + 0x10000)], 2) == 1
    text = http(clean.firewall, "/metrics")[2]
    labels = f'dst="{WAN[4]}",proto="esp",spi="0x{spi:08x}",reqid="0",mark=""'
    for metric, value in (("xdp_packets", 1), ("packets", 0), ("bytes", 0), ("xdp_replays", 0)):
        assert f"fwctl_ipsec_{metric}_total{{{labels}}} {value}\n" in text, metric
    assert "\nfwctl_ipsec_associations 1\n" in text
    for result in ("larval", "unknown", "enoent"):
        n = before[result] + 1
        assert f'fwctl_ipsec_lookups_total{{result="{result}"}} {n}\n' in text, result


def marked(lab, spi, mark):
    """A larval state with a mark: told to who asks, and to nobody else."""
    lab.firewall.run("ip", "xfrm", "state", "allocspi", "src", CLIENT[4], "dst", WAN[4], "proto",
                     "esp", "mark", str(mark), "min", str(spi), "max", str(spi))


@knows
@pytest.mark.modes("xdp")
def test_marks_are_found(own_lab):
    """By a daemon that starts; and followed until there are none."""
    lab = own_lab
    lab.load(option("drop"))
    spi = next(spis)
    marked(lab, spi, 42)
    os.kill(lab.daemon_pid(), signal.SIGTERM)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    lab.status()
    assert drops_of(lab, [esp(4, spi), esp(4, spi + 0x10000)], 2) == 1
    assert associations(lab)[f"0x{spi:08x}"]["mark"] == "0x2a/0xffffffff"
    lab.firewall.run("ip", "xfrm", "state", "flush")
    for i in range(9):  # one more than there is room for
        marked(lab, next(spis), 100 + i)
    larval(lab, 4, next(spis))
    os.kill(lab.daemon_pid(), signal.SIGTERM)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    lab.status()
    assert drops_of(lab, [esp(4, next(spis))], 1) == 0
    assert "drops nothing" in lab.daemon_log()
    lab.firewall.run("ip", "xfrm", "state", "flush")
    wait_for(lambda: drops_of(lab, [esp(4, next(spis))], 1) == 1, 5, "a drop")


@pytest.mark.needs("noxdpxfrm")
@pytest.mark.modes("xdp")
@pytest.mark.parametrize("what", [f"{UNKNOWN} log", f"{UNKNOWN} drop", "esp-steer 0"])
def test_refused_without_the_kfunc(lab, what):
    """At its place, with what it needs; what does nothing is fine everywhere."""
    lab.load(option("pass"))
    path = lab.rules(RULES + f"option {what}\n")
    refused = lab.fwctl("load", path, check=False)
    assert refused.exit == KERNEL and not refused.out, refused
    message, source, caret = refused.err.splitlines()
    lacks = "error: this kernel lacks bpf_xdp_get_xfrm_state"
    assert message.startswith(f"{path}:6:8: {lacks}"), message
    assert message.endswith("needs Linux 6.8"), message
    name = what.split()[0]
    assert source.endswith(f"option {what}"), refused
    assert caret.endswith(" ^" + "~" * (len(name) - 1)), refused


def test_reason_is_a_drop():
    assert REASONS[UNKNOWN]


# ---- with keys ------------------------------------------------------------------------------

KEY = ("aead", "rfc4106(gcm(aes))", "0x" + "5a" * 20, "128")
WINDOWS = {"legacy": ("replay-window", "32"), "bmp": ("replay-window", "128"),
           "esn": ("replay-window", "128", "flag", "esn")}
real = [pytest.mark.needs("esp"), knows, pytest.mark.modes("xdp"), both]


def needs_keys(test):
    """A test that decrypts."""
    for mark in real:
        test = mark(test)
    return test


def protect(lab, family, spi, window, how="add"):
    """What the client sends to port 9 of the firewall is ESP, in transport mode."""
    src, dst = CLIENT[family], WAN[family]
    for ns, word in ((lab.firewall, how), (lab.client, "add")):
        ns.run("ip", "xfrm", "state", word, "src", src, "dst", dst, "proto", "esp",
               "spi", hex(spi), "reqid", "7", "mode", "transport", *WINDOWS[window], *KEY)
    lab.client.run("ip", "xfrm", "policy", "update", "src", src, "dst", dst, "proto", "udp",
                   "dport", "9", "dir", "out", "tmpl", "proto", "esp", "reqid", "7", "mode",
                   "transport")


class Receiver:
    """Port 9 of the firewall."""

    def __init__(self, lab, family):
        self.socket = lab.firewall.socket(
            socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        # a datagram that native XDP has seen takes a page
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.socket.bind((WAN[family], 9))
        self.socket.setblocking(False)
        self.got = []

    def all(self):
        """Numbers of what has come so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.got.append(int(self.socket.recv(100)))
        return self.got

    def wait(self, numbers):
        """Until just these have come."""
        wait_for(lambda: sorted(self.all()) == sorted(numbers), 5, f"{len(numbers)} datagrams")


@pytest.fixture
def sealed(lab, family):
    """The lab without states, and a receiver."""
    def flush():
        for ns in (lab.client, lab.firewall):
            ns.run("ip", "xfrm", "policy", "flush")
            ns.run("ip", "xfrm", "state", "flush")
    flush()
    lab.receiver = Receiver(lab, family)
    yield lab
    lab.receiver.socket.close()
    flush()


def send(lab, family, numbers):
    """Datagrams of the client; returns the frames that they became."""
    with lab.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                           socket.SOCK_DGRAM) as s, lab.client.sniffer("eth0") as sniffer:
        for number in numbers:
            s.sendto(str(number).encode(), (WAN[family], 9))
        wait_for(lambda: len(esp_frames(sniffer, family)) == len(numbers), 5, "frames")
        return esp_frames(sniffer, family)


def esp_frames(sniffer, family):
    """What of it is ESP."""
    at = 23 if family == 4 else 20
    return [data for kind, data in sniffer.read() if kind == 4 and data[at] == 50]


def xfrm_errors(lab):
    """What the stack has refused: {counter: n}."""
    text = lab.firewall.run("cat", "/proc/net/xfrm_stat").stdout
    return {k: int(v) for k, v in (line.split() for line in text.splitlines())}


@pytest.mark.parametrize("window", WINDOWS)
@needs_keys
def test_replay(sealed, family, window):
    """What was there, and what is too old, dies in XDP; the stack sees none of it."""
    lab = sealed
    lab.load(option("drop"))
    protect(lab, family, next(spis), window)
    numbers = list(range(300))
    frames = send(lab, family, numbers)
    lab.receiver.wait(numbers)
    before, errors = lab.counters(), xfrm_errors(lab)
    lab.client.send_raw("eth0", frames)
    certain = 128 if window == "esn" else len(frames)
    gained = lab.gain(before, lambda c: c.drops().get("esp-replay", 0) >= certain)
    assert gained.drops() == {"esp-replay": certain}
    wait_for(lambda: xfrm_errors(lab)["XfrmInStateSeqError"] +
             xfrm_errors(lab)["XfrmInStateProtoError"] -
             errors["XfrmInStateSeqError"] - errors["XfrmInStateProtoError"]
             == len(frames) - certain)
    more = [n + 1000 for n in numbers]
    send(lab, family, more)
    lab.receiver.wait(numbers + more)
    assert (lab.counters() - before).drops() == {"esp-replay": certain}
    shown, = [a for a in associations(lab).values() if a["direction"] == "in"]
    assert (shown["state"], shown["packets"], shown["xdp_replays"], shown["reqid"]) == (
        "valid", 600, certain, 7), shown
    assert shown["xdp_packets"] == 600 + len(frames), shown
    assert (shown["replay_window"], shown["esn"]) == (
        32 if window == "legacy" else 128, window == "esn"), shown
    assert "5a5a" not in json.dumps(lab.show("ipsec"))


@pytest.mark.parametrize("window", WINDOWS)
@needs_keys
def test_reordered(sealed, family, window):
    """In any order inside of the window nothing is lost."""
    lab = sealed
    lab.load(RULES + "drop stateless in proto esp\n")
    protect(lab, family, next(spis), window)
    numbers = list(range(320))
    frames = send(lab, family, numbers)
    lab.load(option("drop"))
    size = 32 if window == "legacy" else 128
    mixed = []
    for i in range(0, len(frames), size // 2):
        part = frames[i:i + size // 2]
        random.Random(i).shuffle(part)
        mixed += part
    before = lab.counters()
    lab.client.send_raw("eth0", mixed)
    lab.receiver.wait(numbers)
    assert not (lab.counters() - before).drops()


@needs_keys
def test_rekey(sealed, family):
    """New keys while packets come: none is dropped, neither on the old nor on the new SPI."""
    lab = sealed
    lab.load(option("drop"))
    protect(lab, family, next(spis), "bmp")
    before, numbers = lab.counters(), []
    for turn in range(5):
        old = spis_of(lab)
        new = next(spis)
        larval(lab, family, new)
        numbers += range(turn * 100, turn * 100 + 50)
        send(lab, family, numbers[-50:])
        lab.client.run("ip", "xfrm", "state", "flush")
        protect(lab, family, new, "bmp", "update")
        numbers += range(turn * 100 + 50, turn * 100 + 100)
        send(lab, family, numbers[-50:])
        lab.receiver.wait(numbers)
        for spi in old:
            lab.firewall.run("ip", "xfrm", "state", "delete", "src", CLIENT[family], "dst",
                             WAN[family], "proto", "esp", "spi", spi)
    assert not (lab.counters() - before).drops()


def spis_of(lab):
    """Those of the firewall's states."""
    return re.findall(r"proto esp spi (0x\w+)", lab.firewall.run("ip", "xfrm", "state").stdout)


@needs_keys
def test_deleted(sealed, family):
    """A state that is gone lets in for the grace, which the stack ends, then no more."""
    lab = sealed
    grace = int(4 * SLOWNESS)
    lab.load(option("drop") + f"option esp-grace {grace}s\n")
    protect(lab, family, next(spis), "bmp")
    send(lab, family, [1])
    lab.receiver.wait([1])
    lab.firewall.run("ip", "xfrm", "state", "flush")
    before = lab.counters()
    send(lab, family, [2])
    assert not (lab.counters() - before).drops()

    def is_dropped():
        send(lab, family, [3])
        return (lab.counters() - before).drops().get(UNKNOWN)
    wait_for(is_dropped, 10 + grace / SLOWNESS, "the end of the grace")
    assert lab.receiver.all() == [1]


# Of no other test: how many hold it tells whether an SA that is deleted was freed.
OTHER = ("aead", "rfc4543(gcm(aes))", "0x" + "5a" * 20, "128")
MILLION = 1_000_000


def held():
    """By how many the algorithm is."""
    text = pathlib.Path("/proc/crypto").read_text(encoding="ascii")
    return sum(int(re.search(r"^refcnt +: (\d+)", block, re.M)[1])
               for block in text.split("\n\n") if f": {OTHER[1]}\n" in block)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tunnel", "transport"])
@needs_keys
def test_no_reference_is_left(sealed, family, kind):
    """An SA that XDP has looked up a million times is freed as soon as it is deleted."""
    lab, (src, dst) = sealed, (CLIENT[family], WAN[family])
    lab.load(option("drop"))
    states = [["src", src, "dst", dst, "proto", "esp", "spi", hex(next(spis))] for _ in range(2)]
    counts = []
    for state in states:
        lab.firewall.run("ip", "xfrm", "state", "add", *state, "mode", kind, *WINDOWS["legacy"],
                         *OTHER)
        counts.append(held())
    assert counts[1] == counts[0] + 1
    # Number 0 of it, which dies once its SA was found.
    spi = int(states[1][-1], 16)
    packet = Header(*(int(ipaddress.ip_address(x)) for x in (src, dst)), 0, spi, 50)
    generator = Generator(lab, lab.client, 0, realtime=False)
    try:
        generator.load_packed(family, pack(family, [packet]))
        before, found = lab.counters(), 0
        while found < MILLION:
            generator.run("eth0", 100_000)
            gained = (lab.counters() - before).drops()
            assert set(gained) == {"esp-replay"} and gained["esp-replay"] > found, gained
            found = gained["esp-replay"]
    finally:
        generator.close()
    lab.firewall.run("ip", "-s", "xfrm", "state", "delete", *states[1])
    wait_for(lambda: held() == counts[0], 1, "the SA to be freed")
