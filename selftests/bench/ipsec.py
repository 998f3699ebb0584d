# SPDX-License-Identifier: GPL-2.0-only
"""What a flood of ESP costs a tunnel: PYTHONPATH=selftests python3 -m bench.ipsec, as root.

    client ==ESP== firewall ---- server

iperf3 goes from the client to the server by a tunnel that ends at the firewall, in four
situations that take turns:

    alone      nothing else happens
    elsewhere  packets like those of the flood go to another device, which drops them in XDP
               first thing: the generator works on the CPUs of the tunnel, that is its part
    pass       ESP with random SPIs goes to the firewall, from the address of the tunnel's
               other end
    drop       the same, with `option esp-unknown-spi drop`

Prints bits a second, and what is left of `alone` and of `elsewhere`. And without iperf3, what
a packet of the flood costs: nanoseconds of the CPU that sends it and has the firewall's work.
Exits 1 if the flood did not end where it should, or was not as large as it should be.
"""

import argparse
import contextlib
import ipaddress
import os
import random
import statistics
import sys
import threading
import time

from bench.rules.case import Header, pack
from bench.rules.peer import DEVICE
from bench.rules.track import Generator, attach_xdp
from lab import bpf
from lab.ipsec import INNER, Sa, address_inside, connect, xfrm_stat
from lab.lab import CLIENT, SERVER, WAN, Lab, plain_build
from lab.netns import patience, sh
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
SIZE = 128  # bytes of a frame of the flood
SPIS = 65536  # different ones
MANY = 20000  # packets of which one is timed
BURST_S = 0.5  # to begin and to end one takes a tenth of a second on a slow machine
ESP = 50
REACHES = 0.9  # at least, of what the flood has sent
KEEPS_UP = 0.8  # of what it was to send
KINDS = {"TCP": (), "UDP": ("-u", "-b", "0", "-l", "1200")}


def arguments():
    """The command line."""
    p = argparse.ArgumentParser(prog="python3 -m bench.ipsec", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="one short trial of each")
    p.add_argument("--families", type=lambda text: [int(x) for x in text.split(",")],
                   default=[4, 6])
    p.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    p.add_argument("--situations", type=lambda text: text.split(","), default=list(SITUATIONS))
    p.add_argument("--pps", type=float, help="of the flood; otherwise --share")
    p.add_argument("--share", type=float, default=0.25,
                   help="of what reaches XFRM at most when it is all there is, default 0.25")
    p.add_argument("--seconds", type=float, default=2, help="a trial takes, default 2")
    p.add_argument("--trials", type=int, default=5, help="of each, default 5")
    args = p.parse_args()
    if args.quick:
        args.seconds, args.trials = 1, 1
    return args


class Wrong(Exception):
    """The flood has not ended where it should."""


class Flood:
    """Sends by a generator, at a rate, while the block runs; how much is in `sent`.

    It comes before all other work, as what a network card delivers does.
    """

    def __init__(self, generator, device, pps):
        self.sent, self.seconds = 0, 0.0
        self._generator, self._device, self._pps = generator, device, pps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        start = time.monotonic()
        while not self._stop.wait(BURST_S):
            # What is due by now: a slow machine has longer bursts.
            due = int((time.monotonic() - start) * self._pps) - self.sent
            if due > 0:
                self._generator.run(self._device, due, SIZE)
                self.sent += due
        self.seconds = time.monotonic() - start

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


class Gateway(Lab):
    """The lab with a tunnel between client and firewall, and a device beside it."""

    def __init__(self, family):
        super().__init__(plain_build())
        self.family = family
        self._option = None
        self._stack = contextlib.ExitStack()
        try:
            self._tunnel(family)
            self._reference()
            self.generator = Generator(self, self.client, 0, realtime=True)
            self._stack.callback(self.generator.close)
            self.generator.load_packed(family, self._spis(family))
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
            self._receive_first()

    def _receive_first(self):
        """What comes in is taken before the flood goes on: the queue of a veth has 256 places."""
        sh("ip", "netns", "exec", self.firewall.name, "sh", "-c",
           f"echo 1 > /sys/class/net/{DEVICE}/threaded")
        for pid in self.firewall.run("pgrep", f"^napi/{DEVICE}-").stdout.split():
            self.firewall.run("taskset", "-pc", "0", pid)  # where the flood comes from
            self.firewall.run("chrt", "-f", "-p", "2", pid)

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

    def ended(self):
        """Packets of ESP without an SA: (dropped by fwctl, dropped by XFRM)."""
        return (self.counters().get("esp-unknown-spi"),
                xfrm_stat(self.firewall).get("XfrmInNoStates", 0))

    def trial(self, situation, kind, pps, seconds):
        """(bits a second that the server has received, packets a second of the flood)."""
        self.prepare(situation)
        before, device = self.ended(), SITUATIONS[situation]
        with contextlib.ExitStack() as stack:
            flood = stack.enter_context(Flood(self.generator, device, pps)) if device else None
            end = Iperf(self.client, self.server, SERVER[self.family], seconds,
                        options=KINDS[kind]).result()["end"]
        self._verify(situation, flood.sent if flood else 0,
                     [now - then for now, then in zip(self.ended(), before)])
        rate = flood.sent / flood.seconds if flood else 0
        if rate < KEEPS_UP * pps and flood:
            raise Wrong(f"{situation}: the flood had {rate:.0f} packets a second, "
                        f"not {pps:.0f}: choose less")
        if kind == "TCP":
            return end["sum_received"]["bits_per_second"], rate
        return end["sum"]["bits_per_second"] * (1 - end["sum"]["lost_percent"] / 100), rate

    @staticmethod
    def _verify(situation, sent, ended):
        wanted = [sent if situation == name else 0 for name in ("drop", "pass")]
        for have, want in zip(ended, wanted):
            if not REACHES * want <= have <= want:
                raise Wrong(f"{situation}: of {sent:.0f} packets fwctl dropped {ended[0]}, "
                            f"XFRM {ended[1]}")

    def cost(self, situation):
        """Nanoseconds that a packet of the flood takes, generator included."""
        self.prepare(situation)
        return self.generator.run(SITUATIONS[situation], MANY, SIZE)


def measure(args, family, kind):
    """{situation: (bits a second of each trial, packets of the flood a second)}."""
    found = {name: ([], []) for name in args.situations}
    with Gateway(family) as gateway:
        pps = args.pps or args.share * 1e9 / gateway.cost("pass")
        for trial in range(args.trials):
            order = list(args.situations)
            random.Random(f"{family} {kind} {trial}").shuffle(order)
            for name in order:
                rate, sent = gateway.trial(name, kind, pps, args.seconds)
                found[name][0].append(rate)
                found[name][1].append(sent)
    return found


def show(family, kind, found):
    """Print a table of one measurement."""
    print(f"\n{kind} through a tunnel, IPv{family}: Mbit/s, median (least - greatest)")
    medians = {name: statistics.median(rates) for name, (rates, _) in found.items()}
    for name, (rates, sent) in found.items():
        line = (f"  {name:10} {medians[name] / 1e6:9.1f} ({min(rates) / 1e6:.1f} - "
                f"{max(rates) / 1e6:.1f})")
        for base in ("alone", "elsewhere"):
            if base in medians and base != name:
                line += f"   {medians[name] / medians[base]:.2f} of {base}"
        print(line + (f"   flood: {statistics.median(sent):.0f} packets/s" if any(sent) else ""),
              flush=True)


def show_costs(args, family):
    """Measure and print what a packet of the flood costs."""
    names = [name for name in args.situations if SITUATIONS[name]]
    found = {name: [] for name in names}
    with Gateway(family) as gateway:
        for trial in range(args.trials):
            order = list(names)
            random.Random(f"{family} {trial}").shuffle(order)
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
