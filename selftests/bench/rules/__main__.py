# SPDX-License-Identifier: GPL-2.0-only
"""Measures fwctl beside its peers: PYTHONPATH=selftests python3 -m bench.rules, as root.

Results go into DIR/results.json, which later runs complete; with them DIR/tables.md and
the plots are made anew. A peer that is not installed, or cannot do a case, is skipped
with the reason. Exits 1 if any packet was judged otherwise than the rules say.
"""

import argparse
import pathlib
import shlex
import sys
import tempfile
import time

from bench.tables import into_document
from lab.lab import plain_build

from . import fwctl, iptables, nft, xdp
from .case import TRAFFIC, AddressSet, ClassBench, Pairs, Rules
from .measure import Measurement, WrongVerdict
from .peer import Refused
from .report import Report
from .results import Results, version
from .track import Track, drop_caches, kernel_memory

PEERS = {cls.name: cls for cls in (
    fwctl.Fwctl, fwctl.FwctlStateful, fwctl.FwctlTc, xdp.Bpfilter, xdp.XdpFilter,
    nft.NftPipapo, nft.NftLinear, nft.NftSet, nft.NftVerdictMap, iptables.Iptables,
    iptables.IptablesNft, iptables.Ipset)}
KINDS = ("rules", "pairs", "addresses", "prefixes")
RULES = {"rules": Rules, "pairs": Pairs}
SLOW_LOAD = 5  # seconds; what takes longer is loaded only once


def arguments():
    """The command line."""
    words = lambda text: text.split(",")  # noqa: E731
    numbers = lambda text: [int(float(x)) for x in text.split(",")]  # noqa: E731
    p = argparse.ArgumentParser(prog="python3 -m bench.rules", description=__doc__)
    p.add_argument("--quick", action="store_true",
                   help="small sizes, little traffic: only whether every answer is right")
    p.add_argument("--kinds", type=words, default=list(KINDS), help="of " + ",".join(KINDS))
    p.add_argument("--peers", type=words, default=list(PEERS), help="of " + ",".join(PEERS))
    p.add_argument("--sizes", type=numbers, default=[10, 100, 1000, 10000, 100000],
                   help="numbers of rules")
    p.add_argument("--set-sizes", type=numbers, default=[1000, 100000, 1000000],
                   help="numbers of entries")
    p.add_argument("--families", type=numbers, default=[4, 6])
    p.add_argument("--classbench", action="append", default=[], metavar="FILE",
                   help="measure a rule set in the format of ClassBench; may be given again")
    p.add_argument("--seed", default="1")
    p.add_argument("--seconds", type=float, default=0.2, help="a trial takes, default 0.2")
    p.add_argument("--trials", type=int, default=5, help="of each point, default 5")
    p.add_argument("--loads", type=int, default=3, help="of each file, default 3")
    p.add_argument("--deadline", type=float, default=60, help="seconds a load may take")
    p.add_argument("--two-cpus", action="store_true",
                   help="also with the firewall's receiving on a CPU of its own")
    p.add_argument("--cpu", type=int, default=0, help="that the generator runs on")
    p.add_argument("--realtime", action="store_true",
                   help="the generator, and so what receives on its CPU, before all other work")
    p.add_argument("--output", type=pathlib.Path, metavar="DIR", help="where results are kept")
    p.add_argument("--document", type=pathlib.Path, metavar="FILE",
                   help="put the tables between the marks of this file, too")
    p.add_argument("--report", action="store_true", help="measure nothing, only write anew")
    args = p.parse_args()
    if unknown := set(args.peers) - set(PEERS) | set(args.kinds) - set(KINDS):
        p.error("unknown: " + ", ".join(sorted(unknown)))
    if args.quick:
        args.kinds = [kind for kind in args.kinds if kind != "pairs"]
        args.sizes, args.set_sizes = [100], [1000]
        args.seconds, args.trials, args.loads = 0.001, 1, 2
    return args


class Run:
    """All points that were asked for."""

    def __init__(self, args, lab, results):
        self.args, self.lab, self.results = args, lab, results
        self.measurement = Measurement(lab, args.seconds, args.trials)
        self.wrong = 0
        self.missing = {}

    def cases(self):
        """Each rule set and address set in turn; made only now, they are large."""
        if self.args.classbench:
            for path in self.args.classbench:
                yield ClassBench(path, self.args.seed)
            return
        for kind in self.args.kinds:
            for family in self.args.families:
                if kind in RULES:
                    for size in self.args.sizes:
                        yield RULES[kind](family, size, self.args.seed)
                    continue
                for size in self.args.set_sizes:
                    yield AddressSet(family, size, kind, self.args.seed)

    def all(self):
        """Measure everything."""
        for case in self.cases():
            n = 2048 if self.args.quick else 65536
            headers = {traffic: case.headers(traffic, n) for traffic in TRAFFIC}
            checks = case.check_headers(2048)
            for name in self.args.peers:
                self._peer(PEERS[name](self.lab), case, headers, checks)
                self.results.save()

    def _skip(self, peer, case, reason):
        self.results.put("skipped", self.results.key(case, peer.name), reason)

    def _peer(self, peer, case, headers, checks):
        where = f"{case.kind} ipv{case.family} {case.size} {peer.name}"
        if peer.name not in self.missing:
            self.missing[peer.name] = peer.missing()
            if self.missing[peer.name]:
                print(self.missing[peer.name])
        if self.missing[peer.name]:
            return
        reason = peer.refuses(case)
        if reason:
            return
        peer.deadline = self.args.deadline
        path = peer.write(case)
        peer.start()
        try:
            with peer.feed():
                self._loaded(peer, case, path, headers, checks, where)
        except Refused as e:
            print(f"{where}: skipped: {e}")
            self._skip(peer, case, str(e))
        except WrongVerdict as e:
            self.wrong += 1
            print(f"{where}: WRONG: {e}")
            self._skip(peer, case, f"wrong verdict: {e}")
        finally:
            peer.stop()

    def _loaded(self, peer, case, path, headers, checks, where):
        load = self._loads(peer, path)
        try:
            load["own"] = peer.memory()
            load["text"] = path.stat().st_size
            self.results.put("loads", self.results.key(case, peer.name), load)
            checked = self.measurement.check(peer, case, checks)
            points = self.measurement.points(peer, case, headers)
            if self.args.two_cpus:
                points["two-cpus"] = self.measurement.two_cpus(case, headers["uniform"])
        finally:
            peer.remove()
        shown = []
        for traffic, point in points.items():
            key = self.results.key(case, peer.name, traffic)
            self.results.put("skipped" if isinstance(point, str) else "points", key, point)
            if isinstance(point, str):
                shown.append(f"{traffic} –")
            elif traffic == "two-cpus":
                shown.append(f"two CPUs {point['pps']['median']:.3g}/s")
            else:
                shown.append(f"{traffic} {point['total']['median']:.0f} "
                             f"({point['net']['median']:.0f})")
        print(f"{where}: load {load['seconds'][0]:.3f} s, {checked} verdicts right, "
              f"ns (net): {', '.join(shown)}", flush=True)

    def _loads(self, peer, path):
        """Load several times; the last load stays. Memory of the first one."""
        found = {"seconds": [], "rss": 0}
        for i in range(self.args.loads):
            if i:
                peer.remove()
            else:
                drop_caches()
                before = kernel_memory()
            load = peer.install(path)
            found["seconds"].append(load.seconds)
            found["rss"] = max(found["rss"], load.rss)
            if not i:
                time.sleep(0.2)
                drop_caches()
                found["kernel"] = max(0, kernel_memory() - before)
            if load.seconds > SLOW_LOAD:
                break
        return found


def write_report(results, document):
    """Tables and plots beside the results, and in a document."""
    report = Report(results, {name: cls.title for name, cls in PEERS.items()})
    sections = report.sections()
    text = "\n".join(f"## {name}\n\n{body}" for name, body in sections.items())
    (results.folder / "tables.md").write_text(text, encoding="utf-8")
    for name, svg in report.plots().items():
        (results.folder / name).write_text(svg, encoding="utf-8")
    if document:
        old = document.read_text(encoding="utf-8")
        document.write_text(into_document(old, sections), encoding="utf-8")


def versions(names):
    """Versions of the peers that are here."""
    found = {}
    for name, argv in (("nftables", ("nft", "--version")), ("ipset", ("ipset", "--version")),
                       ("iptables", ("iptables-legacy", "--version")),
                       ("xdp-filter", ("xdp-filter", "status", "--version"))):
        try:
            found[name] = version(*argv)
        except FileNotFoundError:
            continue
    if "bpfilter" in names:
        found.update(xdp.bpfilter_version())
    return found


def command_line():
    """The command to be shown: where results went is of no interest."""
    words = list(sys.argv[1:])
    for option in ("--output", "--document"):
        if option in words:
            at = words.index(option)
            del words[at:at + 2]
    return "python3 -m bench.rules " + shlex.join(words)


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        results = Results(args.output or scratch)
        if args.report:
            write_report(results, args.document)
            return 0
        results.begin(command_line(), versions(args.peers))
        with Track(plain_build(), args.cpu, args.realtime) as lab:
            run = Run(args, lab, results)
            run.all()
        results.save()
        write_report(results, args.document)
    print(f"{len(results.data['points'])} points, {run.wrong} wrong")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
