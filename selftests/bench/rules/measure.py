# SPDX-License-Identifier: GPL-2.0-only
"""One point: nanoseconds a packet, less those of the same path with XDP_DROP."""

import statistics
import time

from .case import TRAFFIC

FEW = 4  # packets of others, such as neighbour discovery
LEAST = 128  # packets of a measurement: two batches
CHECK_SECONDS = 2.0  # what comparing verdicts may take


class WrongVerdict(Exception):
    """A peer, or fwctl, has judged a packet as the rules do not say."""


def spread(values):
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


class Measurement:
    """Measures a peer whose rules are loaded."""

    def __init__(self, lab, seconds, trials):
        self.lab, self.generator = lab, lab.generator
        self.seconds, self.trials = seconds, trials

    # ---- verdicts ------------------------------------------------------------------------

    def check(self, peer, case, headers):
        """Each packet fares as the rules say; slow peers get fewer. Returns how many."""
        headers = peer.checks(headers)
        few = max(32, min(len(headers), int(CHECK_SECONDS * 1e9 / self._cost(peer, case))))
        headers = headers[:few]
        accepted = {h for h, is_accepted in headers if is_accepted}
        passed = self.lab.accepted(case.family, [h for h, _ in headers],
                                   10 + 3 * CHECK_SECONDS) & {h for h, _ in headers}
        if passed != accepted:
            wrong = sorted(passed ^ accepted)[:3]
            raise WrongVerdict(f"{peer.name}, {case.kind} {case.size}: "
                               f"{len(passed ^ accepted)} of {few} packets: {wrong}")
        return few

    def _cost(self, peer, case):
        """About how many nanoseconds a packet takes that matches nothing."""
        traffic = "miss" if not peer.refuses_traffic("miss") else "uniform"
        self.generator.load(case.family, case.headers(traffic, 64))
        return self.generator.run("lane", LEAST)

    # ---- time ----------------------------------------------------------------------------

    def points(self, peer, case, headers):
        """{traffic: point or reason} of one peer; `headers` of each traffic."""
        found = {}
        for traffic in TRAFFIC:
            reason = peer.refuses_traffic(traffic)
            if reason:
                found[traffic] = reason
                continue
            self.generator.load(case.family, headers[traffic])
            found[traffic] = self._point(peer, traffic)
        return found

    def _count(self, device):
        """How many packets take `self.seconds`."""
        count, ns = LEAST, self.generator.run(device, LEAST)
        while ns * count < 5e6:
            count *= 4
            ns = self.generator.run(device, count)
        return max(LEAST, int(self.seconds * 1e9 / ns))

    def _point(self, peer, traffic):
        n, n_base = self._count("lane"), self._count("reference")
        totals, bases, lost = [], [], 0
        self._settle()
        before, denied = self.lab.received(), peer.denied()
        forwarded = self.lab.forwarded()
        for _ in range(self.trials):
            bases.append(self.generator.run("reference", n_base))
            start = self.lab.received()
            ns = self.generator.run("lane", n)
            came = self.lab.received() - start
            totals.append(ns * n / max(came, 1))
            lost += n - came
        self._settle()
        came = self.lab.received() - before
        self._verify(peer, traffic, came, denied, forwarded)
        nets = [t - b for t, b in zip(totals, bases)]
        return {"total": spread(totals), "net": spread(nets), "drop": spread(bases),
                "pps": 1e9 / statistics.median(totals), "packets": came,
                "lost": lost / (n * self.trials)}

    def two_cpus(self, case, headers):
        """Packets a second with the receiver on a CPU of its own; what it cannot take is lost."""
        self.generator.load(case.family, headers)
        rates = []
        with self.lab.threaded():
            n = self._count("lane")
            for _ in range(self.trials):
                before = self.lab.received()
                ns = self.generator.run("lane", n)
                rates.append((self.lab.received() - before) / (ns * n) * 1e9)
        self._settle()
        return {"pps": spread(rates)}

    def _settle(self):
        """Wait until nothing comes in any more."""
        seen = -1
        while seen != self.lab.received():
            seen = self.lab.received()
            time.sleep(0.01)

    def _verify(self, peer, traffic, came, before, forwarded):
        """Nothing was let through, and the peer has counted each packet where it should."""
        if self.lab.forwarded() - forwarded > FEW:
            raise WrongVerdict(f"{peer.name}: packets of {traffic} came through")
        if came < 64:
            raise WrongVerdict(f"{peer.name}: {came} packets arrived")
        gained = [None if a is None else a - b for a, b in zip(peer.denied(), before)]
        wanted = (0, came, came) if traffic == "miss" else (came, 0, came)
        for name, got, want in zip(("by a rule", "at last", "in all"), gained, wanted):
            if got is not None and abs(got - want) > FEW:
                raise WrongVerdict(f"{peer.name}: {traffic}: {got} of {came} packets denied "
                                   f"{name}, not {want}")
