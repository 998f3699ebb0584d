# SPDX-License-Identifier: GPL-2.0-only
"""Measures forwarding: PYTHONPATH=selftests python3 -m bench.forward, as root.

Flows that are established, through fwctl and its peers by turns: nanoseconds a packet above
XDP_DROP, on one CPU, and TCP by iperf3. Results go into DIR/forward.json, which later runs
complete. Exits 1 if packets of a peer were lost, or did not go the way that is measured.
"""

import argparse
import contextlib
import pathlib
import shlex
import sys
import tempfile

from bench.rules.peer import Refused
from bench.tables import into_document
from bench.rules.results import Results, version
from lab.lab import plain_build

from .measure import Measurement, Station
from .peers import PEERS
from .report import Report
from .tcp import SETTINGS, Tcp, TcpStation

HERE = ("--output", "--document")  # where results went is of no interest


def arguments():
    """The command line."""
    words = lambda text: text.split(",") if text else []  # noqa: E731
    numbers = lambda text: [int(float(x)) for x in words(text)]  # noqa: E731
    p = argparse.ArgumentParser(prog="python3 -m bench.forward", description=__doc__)
    p.add_argument("--quick", action="store_true",
                   help="little of everything: only whether packets go the right way")
    p.add_argument("--peers", type=words, default=list(PEERS), help="of " + ",".join(PEERS))
    p.add_argument("--flows", type=numbers, default=[1, 1000, 100000])
    p.add_argument("--families", type=numbers, default=[4, 6])
    p.add_argument("--sizes", type=numbers, default=[60, 576, 1500], help="bytes of a frame")
    p.add_argument("--settings", type=words, default=list(SETTINGS),
                   help="of the devices, with TCP: of " + ",".join(SETTINGS))
    p.add_argument("--no-tcp", action="store_true")
    p.add_argument("--seconds", type=float, default=0.2, help="a trial takes, default 0.2")
    p.add_argument("--tcp-seconds", type=float, default=2, help="that of TCP, default 2")
    p.add_argument("--trials", type=int, default=5, help="of each point, default 5")
    p.add_argument("--cpu", type=int, default=0, help="that everything but TCP runs on")
    p.add_argument("--realtime", action="store_true",
                   help="the generator, and so the firewall, before all other work")
    p.add_argument("--output", type=pathlib.Path, metavar="DIR", help="where results are kept")
    p.add_argument("--document", type=pathlib.Path, metavar="FILE",
                   help="put the tables between the marks of this file, too")
    p.add_argument("--report", action="store_true", help="measure nothing, only write anew")
    args = p.parse_args()
    if unknown := set(args.peers) - set(PEERS) | set(args.settings) - set(SETTINGS):
        p.error("unknown: " + ", ".join(sorted(unknown)))
    if args.quick:
        args.flows = [n for n in args.flows if n <= 1000]
        args.seconds, args.tcp_seconds, args.trials = 0.002, 1, 1
        args.settings = args.settings[:1]
    return args


class Run:
    """All points that were asked for."""

    def __init__(self, args, results):
        self.args, self.results = args, results
        self.wrong = 0

    @contextlib.contextmanager
    def _stations(self, make):
        """{peer: station} of those that are here."""
        with contextlib.ExitStack() as stack:
            found = {}
            for name in self.args.peers:
                try:
                    found[name] = make(PEERS[name])
                except Refused as e:
                    print(f"{name}: skipped: {e}", flush=True)
                    continue
                stack.callback(found[name].close)
            yield found

    def packets(self):
        """Nanoseconds a packet."""
        args = self.args
        with self._stations(lambda cls: Station(cls, plain_build(), args.cpu,
                                                args.realtime)) as stations:
            measurement = Measurement(stations, args.seconds, args.trials)
            for family in args.families:
                for flows in args.flows:
                    points = measurement.points(family, flows, args.sizes)
                    for (name, size), point in points.items():
                        self._put(f"forward/{family}/{flows}/{size}/{name}", point)
                    self.results.save()

    def tcp(self):
        """iperf3."""
        args = self.args
        with self._stations(lambda cls: TcpStation(cls, plain_build())) as stations:
            tcp = Tcp(stations, args.tcp_seconds, args.trials)
            for family in args.families:
                for setting in args.settings:
                    for name, point in tcp.points(family, setting).items():
                        self._put(f"tcp/{family}/{setting}/{name}", point)
                    self.results.save()

    def _put(self, key, point):
        if isinstance(point, Refused):
            self.results.put("skipped", key, str(point))
        elif isinstance(point, Exception):
            self.wrong += 1
            print(f"{key}: WRONG: {point}", flush=True)
            self.results.put("skipped", key, "wrong: " + (str(point).splitlines() or ["?"])[0])
        else:
            self.results.put("points", key, point)
            print(f"{key}: {self._shown(point)}", flush=True)

    @staticmethod
    def _shown(point):
        if "bps" in point:
            return f"{point['bps']['median'] / 1e9:.2f} Gbit/s"
        return (f"{point['total']['median']:.0f} ({point['net']['median']:.0f}) ns, "
                f"{point['packets']} packets, {point['offloaded']} offloaded")


def write_report(results, document):
    """Tables beside the results, and in a document; returns them."""
    sections = Report(results).sections()
    text = "\n".join(f"## {name}\n\n{body}" for name, body in sections.items())
    results.folder.mkdir(parents=True, exist_ok=True)
    (results.folder / "forward.md").write_text(text, encoding="utf-8")
    if document:
        old = document.read_text(encoding="utf-8")
        document.write_text(into_document(old, sections), encoding="utf-8")
    return text


def versions():
    """Versions of the peers that are here."""
    found = {}
    for name, argv in (("nftables", ("nft", "--version")), ("iperf3", ("iperf3", "--version")),
                       ("iptables", ("iptables-legacy", "--version"))):
        with contextlib.suppress(FileNotFoundError):
            found[name] = version(*argv)
    return found


def command_line():
    """The command to be shown."""
    words = list(sys.argv[1:])
    for option in HERE:
        if option in words:
            at = words.index(option)
            del words[at:at + 2]
    return " ".join(["python3 -m bench.forward", shlex.join(words)]).strip()


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        results = Results(args.output or scratch, "forward.json")
        if args.report:
            print(write_report(results, args.document))
            return 0
        results.begin(command_line(), versions())
        run = Run(args, results)
        if args.flows and args.sizes:
            run.packets()
        if not args.no_tcp:
            run.tcp()
        results.save()
        print(write_report(results, args.document))
    print(f"{len(results.data['points'])} points, {run.wrong} wrong")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
