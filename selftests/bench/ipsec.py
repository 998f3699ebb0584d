# SPDX-License-Identifier: GPL-2.0-only
"""What a flood of ESP costs a tunnel: PYTHONPATH=selftests python3 -m bench.ipsec, as root.

    client ==ESP== firewall ---- server

iperf3 goes from the client to the server by a tunnel that ends at the firewall. The flood is in
proportion to it, whatever the speed of the machine: for each packet of the tunnel a program at
the client's device (flood.bpf.c) sends so many more, short ones with random SPIs, from the same
address. Four situations take turns:

    alone      there is no flood
    elsewhere  it goes to another device, which drops it in XDP first thing: what it costs to
               send it, on the CPUs of the tunnel
    pass       it goes to the firewall, through the queue of the tunnel's packets
    drop       the same, with `option esp-unknown-spi drop`

Prints bits a second, and what is left of `alone` and of `elsewhere`, each beside those of the
same turn. And without iperf3, what a packet of the flood costs: nanoseconds of the CPU that
sends it and has the firewall's work.
Figures of a machine in emulation are those of its host's other work, too, unless it counts
instructions: scripts/test-vm --accel icount -i 6.12, and in there with --seconds 1.
Exits 1 if the flood was not as large as it should be, did not end where it should, or packets
were lost on the way to the firewall.
"""

import argparse
import contextlib
import ipaddress
import json
import os
import random
import statistics
import sys

from bench.rules.case import Header, pack
from bench.rules.track import Generator, attach_xdp
from lab import bpf
from lab.ipsec import INNER, Sa, address_inside, connect, xfrm_stat
from lab.lab import CLIENT, SERVER, WAN, Lab, plain_build
from lab.traffic import Iperf

RULES = """\
default in drop
default out accept
default forward drop
accept in on wan proto esp
accept forward wan -> lan proto { tcp, udp } to port 5201
"""
SITUATIONS = {"alone": None, "elsewhere": "other", "pass": "eth0", "drop": "eth0"}
OPTION = "option esp-unknown-spi drop\n"
SIZE = 128  # bytes of a frame of the flood, as in flood.h
SPIS = 65536  # different ones
MANY = 20000  # packets of which one is timed
ESP = 50
REACHES = 0.99  # at least: packets may be on their way when they are counted
# TCP has no more under way than the 256 places of a veth's queue hold with the flood beside it;
# datagrams are received before the next one is sent, since each end keeps to a CPU.
KINDS = {"TCP": ("-w", "32K"), "UDP": ("-u", "-b", "0", "-l", "1200")}
PLACES = ("-A", "0,1")


def arguments():
    """The command line."""
    p = argparse.ArgumentParser(prog="python3 -m bench.ipsec", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="one short trial of each")
    p.add_argument("--families", type=lambda text: [int(x) for x in text.split(",")],
                   default=[4, 6])
    p.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    p.add_argument("--copies", type=int, default=3,
                   help="packets of the flood for each one of the tunnel, default 3")
    p.add_argument("--seconds", type=float, default=2, help="a trial takes, default 2")
    p.add_argument("--trials", type=int, default=5, help="of each, default 5")
    args = p.parse_args()
    if args.quick:
        args.seconds, args.trials = 1, 1
    return args


class Wrong(Exception):
    """The flood was not what it should be."""


class Flood:
    """The process that has the flood sent; see flood.c."""

    def __init__(self, lab, copies):
        path = lab.build / "selftests" / "bench" / "bench_flood"
        self._process = lab.client.popen(path, "eth0", copies, stdin=-1, stderr=None)

    def goes(self, device):
        """From now on out of this device, None: none is sent. What there was until now:
        packets of the tunnel, and of the flood."""
        print(device or "-", file=self._process.stdin, flush=True)
        tunnel, flood = self._process.stdout.readline().split()
        return int(tunnel), int(flood)

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(10)


class Gateway(Lab):
    """The lab with a tunnel between client and firewall, and a device beside it."""

    def __init__(self, family, copies):
        super().__init__(plain_build())
        self.family, self._copies = family, copies
        self._option = None
        self._stack = contextlib.ExitStack()
        try:
            self._tunnel(family)
            self._reference()
            self._flood = Flood(self, copies)
            self._stack.callback(self._flood.close)
            self._generator = Generator(self, self.client, 0, realtime=False)
            self._stack.callback(self._generator.close)
            self._generator.load_packed(family, self._spis(family))
        except BaseException:
            self.close()
            raise

    def _tunnel(self, family):
        address_inside(self)
        source, target = INNER["client"][family], SERVER[family]
        connect(self.client, self.firewall, (CLIENT[family], WAN[family]), (source, target),
                "tunnel", sa=Sa(window=1024, esn=True))
        self.client.run("ip", f"-{family}", "route", "replace", target, "via", WAN[family],
                        "src", source)

    def close(self):
        """Remove all of it."""
        self._stack.close()
        super().close()

    def prepare(self, situation):
        """The rules of a situation."""
        option = OPTION if situation == "drop" else ""
        if option != self._option:
            self.load(option + RULES)
            self._option = option

    def _reference(self):
        """The device beside: a veth takes frames from XDP if its end has a program."""
        self.wire(self.firewall, "fw-other", self.client, "other")
        for ns, device, verdict in ((self.firewall, "fw-other", bpf.XDP_DROP),
                                    (self.client, "other", bpf.XDP_PASS)):
            self._stack.callback(os.close, attach_xdp(ns, device, verdict))

    @staticmethod
    def _spis(family):
        """Packets of ESP: the SPI is where others have their ports."""
        rng = random.Random(f"spis {family}")
        src, dst = (int(ipaddress.ip_address(x[family])) for x in (CLIENT, WAN))
        return pack(family, [Header(src, dst, rng.randrange(1, 1 << 16),
                                    rng.randrange(1 << 16), ESP) for _ in range(SPIS)])

    def _ended(self):
        """(what the firewall has dropped for its SPI, what XFRM has, what was lost before)."""
        device, = json.loads(self.client.run("ip", "-j", "-s", "link", "show", "eth0").stdout)
        return (self.counters().get("esp-unknown-spi"),
                xfrm_stat(self.firewall).get("XfrmInNoStates", 0),
                device["stats64"]["tx"]["dropped"])

    def trial(self, situation, kind, seconds):
        """(bits a second that the server has received, packets of the flood for each of the
        tunnel's)."""
        self.prepare(situation)
        before = self._ended()
        first = self._flood.goes(SITUATIONS[situation])
        end = Iperf(self.client, self.server, SERVER[self.family], seconds,
                    options=(*KINDS[kind], *PLACES)).result()["end"]
        tunnel, flood = (now - then for now, then in zip(self._flood.goes(None), first))
        self._verify(situation, tunnel, flood,
                     [now - then for now, then in zip(self._ended(), before)])
        if kind == "TCP":
            return end["sum_received"]["bits_per_second"], flood / tunnel
        return (end["sum"]["bits_per_second"] * (1 - end["sum"]["lost_percent"] / 100),
                flood / tunnel)

    def _verify(self, situation, tunnel, flood, ended):
        due = self._copies * tunnel if SITUATIONS[situation] else 0
        wanted = [flood if situation == name else 0 for name in ("drop", "pass")]
        if (not REACHES * due <= flood <= due or ended[2] or
                any(not REACHES * want <= have <= want for have, want in zip(ended, wanted))):
            raise Wrong(f"{situation}: for {tunnel} packets of the tunnel {flood} of the flood; "
                        f"fwctl dropped {ended[0]}, XFRM {ended[1]}, lost before {ended[2]}")

    def cost(self, situation):
        """Nanoseconds that a packet of the flood takes, generator included."""
        self.prepare(situation)
        return self._generator.run(SITUATIONS[situation], MANY, SIZE)


def turns(names, trials, seed):
    """The names in another order each time."""
    for trial in range(trials):
        order = list(names)
        random.Random(f"{seed} {trial}").shuffle(order)
        yield order


def measure(args, family, kind):
    """{situation: [(bits a second, packets of the flood for each of the tunnel's), ...]}."""
    found = {name: [] for name in SITUATIONS}
    with Gateway(family, args.copies) as gateway:
        for order in turns(SITUATIONS, args.trials, f"{family} {kind}"):
            for name in order:
                found[name].append(gateway.trial(name, kind, args.seconds))
    return found


def show(family, kind, found):
    """Print a table of one measurement."""
    print(f"\n{kind} through a tunnel, IPv{family}: Mbit/s, median (least - greatest)")
    rates = {name: [rate / 1e6 for rate, _ in trials] for name, trials in found.items()}
    for name, values in rates.items():
        line = (f"  {name:10} {statistics.median(values):9.1f} ({min(values):.1f} - "
                f"{max(values):.1f})")
        for base in ("alone", "elsewhere"):
            if base != name != "alone":
                left = statistics.median(x / y for x, y in zip(values, rates[base]))
                line += f"   {left:.2f} of {base}"
        copies = statistics.median(copies for _, copies in found[name])
        print(line + f"   flood: {copies:.1f} for each" * (copies > 0), flush=True)


def show_costs(args, family):
    """Measure and print what a packet of the flood costs."""
    found = {name: [] for name, device in SITUATIONS.items() if device}
    with Gateway(family, args.copies) as gateway:
        for order in turns(found, args.trials, family):
            for name in order:
                found[name].append(gateway.cost(name))
    print(f"\nA packet of the flood, IPv{family}: ns, median (least - greatest)")
    for name, values in found.items():
        print(f"  {name:10} {statistics.median(values):9.0f} ({min(values):.0f} - "
              f"{max(values):.0f})", flush=True)


def main():
    args, wrong = arguments(), 0
    for family in args.families:
        show_costs(args, family)
        for kind in args.kinds:
            try:
                show(family, kind, measure(args, family, kind))
            except Wrong as error:
                wrong += 1
                print(f"IPv{family}, {kind}: WRONG: {error}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
