# SPDX-License-Identifier: GPL-2.0-only
"""A lane: one firewall between a generator and a sink, in namespaces of its own.

    generator  lane ------ fw-wan [firewall] fw-lan ------ eth0  sink, and who answers
               reference - drop   [reference: XDP_DROP, nothing else]

Every peer has one, so they can be measured by turns. Both ends drop in XDP: so the driver
takes what XDP redirects, and nobody's stack is part of what is measured.
"""

import contextlib
import os
import random
import time

from bench.rules.case import Header, UDP, pack
from bench.rules.track import DEVICE, Generator, Track, attach_xdp
from lab import bpf
from lab.lab import CLIENT_MAC, LAN_MAC, SERVER_MAC
from lab.netns import patience

# family: where flows come from and go to, as (number, free bits), and the way back
SOURCES = {4: (10 << 24 | 1 << 16, 16), 6: (0xfd00_0001 << 96, 16)}
SERVERS = {4: (10 << 24 | 2 << 16, 8), 6: (0xfd00_0002 << 96, 8)}
BACK = {4: ("10.1.0.0/16", "198.51.100.1/24", "198.51.100.2"),
        6: ("fd00:1::/32", "2001:db8:1::1/64", "2001:db8:1::2")}
REMEMBERED_S = 1  # longer than XDP believes what it has seen
PORTS = (53, 443, 4433, 5060, 8443, 51820)


def flows(family, count, seed="1"):
    """So many different flows of UDP, as headers."""
    rng = random.Random(f"flows {family} {count} {seed}")
    found = {}
    while len(found) < count:
        src, dst = (base | rng.getrandbits(bits)
                    for base, bits in (SOURCES[family], SERVERS[family]))
        found[Header(src, dst, rng.randrange(1024, 65536), rng.choice(PORTS), UDP)] = None
    return list(found)


def answers(headers):
    """The same flows the other way round."""
    return [Header(h.dst, h.src, h.dport, h.sport, h.proto) for h in headers]


class Lost(Exception):
    """Packets that open flows, or answer, have not arrived."""


class Flows:
    """Flows and their answers, as the generators take them."""

    def __init__(self, family, count):
        self.family, self.count = family, count
        headers = flows(family, count)
        self.there, self.back = pack(family, headers), pack(family, answers(headers))


class Lane(Track):
    """A track with a way back, and a generator that answers."""

    def __init__(self, build=None, cpu=0, realtime=False):
        super().__init__(build, cpu, realtime)
        self.answerer = Generator(self, self.server, cpu, realtime, (LAN_MAC, SERVER_MAC))
        self.flows = None

    def _make(self):
        super()._make()
        f = self.firewall
        for family, (sources, local, remote) in BACK.items():
            f.run("ip", f"-{family}", "address", "add", local, "dev", DEVICE,
                  *(["nodad"] if family == 6 else []))
            f.run("ip", f"-{family}", "neighbour", "add", remote, "lladdr", CLIENT_MAC,
                  "dev", DEVICE, "nud", "permanent")
            f.run("ip", f"-{family}", "route", "add", sources, "via", remote)
        self._fds += [attach_xdp(self.server, "eth0", bpf.XDP_DROP),
                      attach_xdp(self.client, "lane", bpf.XDP_DROP)]

    @contextlib.contextmanager
    def passing(self):
        """Within the block frames reach the stack from both sides, see Track.passing()."""
        fds = [attach_xdp(self.firewall, dev, bpf.XDP_PASS) for dev in (DEVICE, "fw-lan")]
        try:
            yield
        finally:
            for fd in fds:
                os.close(fd)

    def merge_nothing(self):
        """Receive offload is off: XDP switches it on, and all shall be alike."""
        for device in (DEVICE, "fw-lan"):
            self.firewall.run("ethtool", "-K", device, "gro", "off")

    # ---- packets -----------------------------------------------------------------------

    def arrived(self):
        """Packets that have reached the sink."""
        return self._stat("eth0", "rx", self.server)

    def answered(self):
        """Packets that have come back to the generator."""
        return self._stat("lane", "rx", self.client)

    def settle(self, count):
        """Wait until count() grows no more; returns it."""
        seen = -1
        while seen != (now := count()):
            seen = now
            time.sleep(0.005)
        return seen

    def choose(self, chosen):
        """The flows of all packets from now on; they are not opened."""
        if self.flows is not chosen:
            self.generator.load_packed(chosen.family, chosen.there)
            self.answerer.load_packed(chosen.family, chosen.back)
            self.flows = chosen

    def open(self):
        """A packet of each flow, and an answer to each; all have to arrive."""
        count = self.flows.count
        for what, run, device, get in (
                ("first packets", self.generator.run, "lane", self.arrived),
                ("answers", self.answerer.run, "eth0", self.answered)):
            before = get()
            run(device, count)
            end = time.monotonic() + patience(2)
            while (came := self.settle(get) - before) < count:
                if time.monotonic() > end:
                    raise Lost(f"{came} of {count} {what} have passed")

    def tracked(self):
        """Entries of the firewall's connection table."""
        with self.firewall.inside():
            with open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as f:
                return int(f.read())

    def forget(self):
        """Empty the connection table, and wait until nobody remembers what was in it: the
        kernel tells of no entry that BPF has made, so XDP believes what it has seen for most of a
        second more, and flows would go on that are to be opened anew.
        """
        self.firewall.run("conntrack", "-F")
        time.sleep(REMEMBERED_S)

    def close(self):
        answerer = self.__dict__.pop("answerer", None)
        if answerer:
            with contextlib.suppress(OSError, ValueError):
                answerer.close()
        super().close()
