# SPDX-License-Identifier: GPL-2.0-only
"""One point of all peers, by turns: nanoseconds a forwarded packet, less those of XDP_DROP."""

import contextlib
import random

from bench.rules.measure import LEAST, spread
from bench.rules.peer import Refused

from .lane import Flows, Lane, Lost

FEW_FLOWS = 10000  # more than that are in the connection table of one lane at a time
FEW = 16           # packets of others, or of those that the stack gets once a second
MOST_LOST = 0.1    # of the packets of a trial; it is those that arrive that are counted
ROUNDS = 4         # how often each flow has its turn in a trial, at least
STEADY_S = 1       # a trial of many flows: XDP looks each up anew twice in that time


class WrongResult(Exception):
    """Packets have not gone the way that is to be measured."""


class Station:
    """A peer in its lane, with its rules loaded."""

    def __init__(self, peer_class, build, cpu, realtime):
        self._stack = contextlib.ExitStack()
        try:
            self.lane = self._stack.enter_context(Lane(build, cpu, realtime))
            self.peer = peer_class(self.lane)
            missing = self.peer.missing()
            if missing:
                raise Refused(missing)
            self._stack.enter_context(self.peer.feed())
            path = self.peer.write()
            self._stack.callback(self.peer.stop)
            self.peer.start()
            self.peer.install(path)
            self._stack.callback(self.peer.remove)
            self.lane.merge_nothing()
            if self.peer.offloads:
                self.peer.ready()
        except BaseException:
            self.close()
            raise
        self.counts = None

    def close(self):
        """Unload, and remove the lane."""
        self._stack.close()

    # ---- trials ------------------------------------------------------------------------

    def prepare(self, flows):
        """Open the flows."""
        self.lane.choose(flows)
        self.lane.open()
        if self.peer.tracks and self.lane.tracked() < flows.count:
            raise WrongResult(f"{self.peer.name}: {self.lane.tracked()} flows are tracked, not "
                              f"{flows.count}")

    def finish(self, flows):
        """No flows of a lane that is not being measured make others' table full."""
        if self.peer.tracks and flows.count > FEW_FLOWS:
            self.lane.forget()

    def count(self, size, seconds):
        """How many packets take that long on the lane, and on the reference."""
        flows = self.lane.flows.count
        n_base = self._count("reference", size, seconds)
        if not self.peer.tracks:
            return self._count("lane", size, seconds), n_base
        if flows > FEW_FLOWS:
            seconds = max(seconds, STEADY_S)
        self.lane.generator.run("lane", 2 * flows, size)
        return max(self._count("lane", size, seconds), ROUNDS * flows), n_base

    def _count(self, device, size, seconds):
        run = self.lane.generator.run
        n, ns = LEAST, run(device, LEAST, size)
        while ns * n < min(5e6, seconds * 1e9 / 4):
            n *= 4
            ns = min(run(device, n, size) for _ in range(2))
        return max(LEAST, int(seconds * 1e9 / ns))

    def trial(self, size, counts):
        """(total, of XDP_DROP, packets sent, arrived, offloaded): nanoseconds a packet."""
        lane = self.lane
        n, n_base = counts
        base = lane.generator.run("reference", n_base, size)
        lane.generator.run("lane", lane.flows.count, size)  # what is remembered is, now
        before, offloaded = lane.settle(lane.arrived), self.offloaded()
        ns = lane.generator.run("lane", n, size)
        came = lane.settle(lane.arrived) - before
        return ns * n / max(came, 1), base, n, came, self.offloaded() - offloaded

    def offloaded(self):
        """Packets that XDP has forwarded so far."""
        if not self.peer.name.startswith("fwctl"):
            return 0
        return self.lane.counters().get("offloaded")

    def verify(self, sent, came, offloaded):
        """What was sent has arrived, and by the way that the peer is to take."""
        if came < sent * (1 - MOST_LOST) or came > sent + FEW:
            raise WrongResult(f"{self.peer.name}: {came} of {sent} packets arrived")
        if self.peer.offloads and offloaded < came * 0.99 - FEW:
            raise WrongResult(f"{self.peer.name}: {offloaded} of {came} packets were offloaded")
        if not self.peer.offloads and offloaded:
            raise WrongResult(f"{self.peer.name}: {offloaded} packets were offloaded")


class Trials:
    """What the trials of one station and one size have found."""

    def __init__(self):
        self.totals, self.bases, self.sent, self.came, self.offloaded = [], [], 0, 0, 0

    def add(self, total, base, sent, came, offloaded):
        """One more trial."""
        self.totals.append(total)
        self.bases.append(base)
        self.sent += sent
        self.came += came
        self.offloaded += offloaded

    def point(self):
        """As it is kept."""
        nets = [t - b for t, b in zip(self.totals, self.bases)]
        return {"total": spread(self.totals), "net": spread(nets), "drop": spread(self.bases),
                "packets": self.came, "lost": max(0, 1 - self.came / self.sent),
                "offloaded": self.offloaded}


class Measurement:
    """Measures stations by turns."""

    def __init__(self, stations, seconds, trials):
        self.stations, self.seconds, self.trials = stations, seconds, trials

    def points(self, family, count, sizes):
        """{(peer, size): point, or a WrongResult}; in each trial every peer has its turn."""
        flows = Flows(family, count)
        found = {(name, size): Trials() for name in self.stations for size in sizes}
        wrong, counts = {}, {}
        for trial in range(self.trials):
            order = list(self.stations)
            random.Random(f"{family} {count} {trial}").shuffle(order)
            for name in order:
                if name in wrong:
                    continue
                try:
                    self._turn(name, flows, sizes, counts, found)
                except (WrongResult, Lost, AssertionError) as e:
                    wrong[name] = e
        return {key: wrong.get(key[0]) or trials.point() for key, trials in found.items()}

    def _turn(self, name, flows, sizes, counts, found):
        station = self.stations[name]
        station.prepare(flows)
        for size in sizes:
            if (name, size) not in counts:
                counts[name, size] = station.count(size, self.seconds)
            result = station.trial(size, counts[name, size])
            station.verify(*result[2:])
            found[name, size].add(*result)
        station.finish(flows)
