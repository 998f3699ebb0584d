# SPDX-License-Identifier: GPL-2.0-only
"""A hundred thousand rules: reloads under as much traffic as one CPU sends, and their cost."""

import threading

import pytest

from bench.rules.case import UDP, Header, Rules
from bench.rules.fwctl import Fwctl
from bench.rules.peer import high_water, reset_high_water
from bench.rules.track import Track
from lab.lab import Lab, plain_build
from lab.netns import patience, wait_for

both = pytest.mark.parametrize("family", [4, 6])
MOST_BYTES = 512 << 20  # that client and daemon may each take for it

HEAD = """\
interface wan = fw-wan {{ mode {mode} }}
default in drop
default out accept
default forward {default}
"""
# Both files accept what goes to ports 1000-1015 and deny the other ports of the traffic;
# A by stateless rules in front of all others, B behind them and by its state, while the
# defaults are opposite. A mixture of the two would let some of it through, or deny more.
RULES_A = """\
drop stateless forward proto udp from {net} to port 1016-65535 label deny-a
accept stateless forward proto udp from {net} to port 1000-1015 label allow-a
"""
RULES_B = """\
accept forward proto udp from {net} to port {{ 1000-1007, 1008-1015 }} label allow-b
drop forward proto udp from {net} label deny-b
"""
LABELS = ("deny-a", "allow-a", "deny-b", "allow-b")
NET = {4: ("10.1.0.0/16", 10 << 24 | 1 << 16), 6: ("2001:db8:9::/64", 0x20010db80009 << 80)}
OPEN_PORTS = range(1000, 1016)
N_PACKETS = 4096  # different ones


def many(seed, verdict):
    """100 000 rules of both families about other packets."""
    text = []
    for family in (4, 6):
        lines = (Fwctl.line(family, rule, "") for rule in Rules(family, 50000, seed).rules)
        text += (f"{verdict} {line.partition(' ')[2]}" for line in lines)
    return "".join(text)


def packets(family):
    """UDP of one network, to the open ports and to many others."""
    base = NET[family][1]
    return [Header(base + i % 251 + 1, base + (1 << 15) + i % 241 + 1, 1024 + i % 16,
                   OPEN_PORTS[i] if i < len(OPEN_PORTS) else 2000 + i, UDP)
            for i in range(N_PACKETS)]


class FullSpeed:
    """Sends as fast as the firewall takes it until the block ends."""

    CHUNK = 16 * N_PACKETS

    def __init__(self, track):
        self._track, self._stop = track, threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.is_set():
            self._track.generator.run("lane", self.CHUNK)
            self.sent += self.CHUNK

    def __enter__(self):
        self._thread.start()
        wait_for(lambda: self.sent, 10, "packets to flow")
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(patience(60))


@pytest.fixture(scope="module")
def track():
    with Track(plain_build()) as found:
        yield found


@pytest.mark.slow
@pytest.mark.needs("bench")
@both
@pytest.mark.parametrize("mode", ["xdp", "tc"])
def test_reload_at_full_speed(track, mode, family):
    """No packet is lost or judged by a mixture; not at the first load either, which gets
    programs with more room."""
    net = NET[family][0]
    small = HEAD.format(mode=mode, default="accept") + RULES_A.format(net=net)
    unused = "".join(f"drop stateless forward proto tcp from 203.0.113.1 to port 9 label {x}\n"
                     for x in LABELS)
    files = [track.write("a.conf", HEAD.format(mode=mode, default="accept")
                         + RULES_A.format(net=net) + many(1, "drop") + unused),
             track.write("b.conf", HEAD.format(mode=mode, default="drop")
                         + many(2, "accept") + RULES_B.format(net=net) + unused)]
    track.unload()
    track.fwctl("load", track.write("small.conf", small + unused))
    track.generator.load(family, packets(family))
    with track.passing() if mode == "tc" else track.firewall.inside():
        before, forwarded, received = track.counters(), track.forwarded(), track.received()
        labels = {x: track.rule(x)["packets"] for x in LABELS}
        pid = track.daemon_pid()
        reset_high_water(pid)
        with FullSpeed(track) as traffic:
            for path in (files[1], files[0], files[1]):
                load = Fwctl(track).timed(track.binary("fwctl"), "load", path)
                assert max(load.rss, high_water(pid)) < MOST_BYTES
        sent = traffic.sent
        wait_for(lambda: track.received() - received >= sent, 5, "all packets to come in")
    opened = sent // N_PACKETS * len(OPEN_PORTS)
    gained = track.counters() - before
    judged = {x: track.rule(x)["packets"] - labels[x] for x in LABELS}
    assert gained.drops() == {"rule": sent - opened}, (judged, gained, sent)
    assert judged["deny-a"] + judged["deny-b"] == sent - opened, (judged, gained, sent)
    assert judged["deny-a"] and judged["deny-b"], judged
    assert track.forwarded() - forwarded == opened, (judged, gained, sent)


@pytest.mark.slow
@pytest.mark.modes("tc")
def test_memory_is_given_back(mode):
    """Many rules and then few: the daemon keeps nothing of what the many needed."""
    head = "default in drop\n"
    large = head + "".join(f"accept forward proto tcp from 10.{i >> 8 & 255}.{i & 255}.0/24 "
                           f"to 192.0.2.0/24 port {1024 + (i >> 16)}\n" for i in range(30000))
    with Lab(plain_build()) as lab:  # a sanitizer keeps what is freed
        lab.mode = mode
        for _ in range(3):
            lab.load(head)
        few = lab.daemon_memory()
        lab.load(large)
        many_kib = lab.daemon_memory()
        lab.load(head)
        kept = lab.daemon_memory()
    assert many_kib > few + 10240 and kept < few + 8192, (few, many_kib, kept)
