# SPDX-License-Identifier: GPL-2.0-only
"""The track: what is measured between a generator and a sink, and beside it XDP_DROP.

    generator  lane ------ fw-wan [firewall] fw-lan ------ eth0  sink
               reference - drop   [reference: XDP_DROP, nothing else]

Both veths are alike, so the generator's cost and the veth's are the same in both, and
what is left of their difference is the firewall. What it accepts reaches the sink.
"""

import contextlib
import ctypes
import json
import os
import socket
import struct
import threading
import time

from lab import bpf
from lab.lab import CLIENT_MAC, LAN_MAC, SERVER_MAC, WAN_MAC, Lab
from lab.netns import Sniffer, sh, wait_for

from .case import Header, pack

DEVICE = "fw-wan"


def attach_xdp(ns, iface, verdict):
    """Attach a program that only returns `verdict`; it goes when the descriptor is closed."""
    with ns.inside():
        return bpf.attach_xdp(bpf.program(bpf.XDP, verdict), iface)


class Generator:
    """The process that sends; see traffic.c. `macs` are destination and source."""

    def __init__(self, lab, ns, cpu, realtime, macs=(WAN_MAC, CLIENT_MAC)):
        self._dir = lab.dir
        path = lab.build / "selftests" / "bench" / "bench_traffic"
        first = ["chrt", "-f", "1"] if realtime else []
        self._process = ns.popen(*first, path, cpu, *macs, stdin=-1, stderr=None)
        self._lock = threading.Lock()

    def _ask(self, line):
        with self._lock:
            print(line, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"bench_traffic: {line}: {answer or 'it has ended'}")
        return answer

    def load(self, family, headers, port_step=0):
        """Packets to send from now on, round and round; the source ports of each round are
        larger than those of the last by `port_step`."""
        self.load_packed(family, pack(family, headers), port_step)

    def load_packed(self, family, data, port_step=0):
        """The same, of what pack() has made."""
        path = self._dir / "keys"
        path.write_bytes(data)
        self._ask(f"keys {family} {path} {port_step}")

    def run(self, device, count, size=0, rate=0):
        """Send so many; nanoseconds a packet, the receiver's work on this CPU included.
        `size` is that of the frames in bytes, the shortest ones if 0, `rate` how many
        a second are sent at most, evenly, any number if 0.

        Measured from the first batch of 64 to the last one: to begin and to end a run
        takes milliseconds. Not known, 0, of a single batch.
        """
        ns, counted = map(int, self._ask(f"run {device} {count} {size} {rate}").split())
        return ns / counted if counted else 0.0

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(10)


class Track(Lab):
    """A lab of another shape; `self.firewall` is where fwctl and its peers run."""

    def __init__(self, build=None, cpu=0, realtime=False):
        self._cpu, self._realtime = cpu, realtime
        self._fds = []
        super().__init__(build)
        self.generator = Generator(self, self.client, cpu, realtime)

    def _make(self):
        c, f, s, r = (self.namespace(x) for x in "cfsr")
        self.client, self.firewall, self.server = c, f, s
        self.wire(c, "lane", f, DEVICE, CLIENT_MAC, WAN_MAC)
        self.wire(c, "reference", r, "drop", CLIENT_MAC, WAN_MAC)
        self.wire(f, "fw-lan", s, "eth0", LAN_MAC, SERVER_MAC)
        self._fds.append(attach_xdp(r, "drop", bpf.XDP_DROP))
        # Nobody speaks here but the generator.
        for ns, iface in ((c, "lane"), (c, "reference"), (r, "drop"), (s, "eth0")):
            ns.sysctl(**{f"net__ipv6__conf__{iface}__disable_ipv6": 1})
        f.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                 net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        f.sysctl(**{f"net__ipv4__conf__{DEVICE}__rp_filter": 0})
        for family, local, remote in ((4, "192.0.2.1/24", "192.0.2.2"),
                                      (6, "2001:db8::1/64", "2001:db8::2")):
            f.run("ip", f"-{family}", "address", "add", local, "dev", "fw-lan",
                  *(["nodad"] if family == 6 else []))
            f.run("ip", f"-{family}", "neighbour", "add", remote, "lladdr", SERVER_MAC,
                  "dev", "fw-lan", "nud", "permanent")
            f.run("ip", f"-{family}", "route", "add", "default", "via", remote)

    @contextlib.contextmanager
    def passing(self):
        """Within the block frames reach the stack: a veth takes them only if its end has XDP.

        Receive offload is off: no peer shall pay for the merging of packets that it drops.
        """
        fd = attach_xdp(self.firewall, DEVICE, bpf.XDP_PASS)
        self.firewall.run("ethtool", "-K", DEVICE, "gro", "off")
        try:
            yield
        finally:
            os.close(fd)

    def received(self):
        """Packets that have come in at the firewall."""
        return self._stat(DEVICE, "rx")

    def forwarded(self):
        """Packets that have left the firewall to the sink."""
        return self._stat("fw-lan", "tx")

    def _stat(self, device, direction, ns=None):
        ns = ns or self.firewall
        shown = ns.run("ip", "-j", "-s", "link", "show", device).stdout
        return json.loads(shown)[0]["stats64"][direction]["packets"]

    def accepted(self, family, headers, timeout=10):
        """Send each of some packets once; returns the set of those that reach the sink."""
        self.generator.load(family, headers)
        before = self.received()
        with Sniffer(self.server, "eth0") as sink:
            self.generator.run("lane", len(headers))
            wait_for(lambda: self.received() - before >= len(headers), timeout,
                     "the firewall to take all packets", 0.01)
            # The last one may still be on its way, on the other CPU.
            seen = -1
            while seen != len(sink.read()):
                seen = len(sink.frames)
                time.sleep(0.03)
            return {parse(frame) for _, frame in sink.frames} - {None}

    @contextlib.contextmanager
    def threaded(self):
        """Within the block the firewall receives on another CPU than the generator's."""
        self._set_threaded(1)
        for pid in sh("pgrep", f"^napi/{DEVICE}-", check=False).stdout.split():
            sh("taskset", "-pc", 1 - self._cpu, pid)
            if self._realtime:
                sh("chrt", "-f", "-p", 1, pid)
        try:
            yield
        finally:
            self._set_threaded(0)

    def _set_threaded(self, value):
        sh("ip", "netns", "exec", self.firewall.name, "sh", "-c",
           f"echo {value} > /sys/class/net/{DEVICE}/threaded")

    def close(self):
        generator = self.__dict__.pop("generator", None)
        if generator:
            with contextlib.suppress(OSError, ValueError):
                generator.close()
        while self._fds:
            os.close(self._fds.pop())
        super().close()


def parse(frame):
    """The header of a frame that the generator has sent, or None."""
    kind, = struct.unpack_from("!H", frame, 12)
    size, at, proto = {0x800: (4, 26, 23), 0x86dd: (16, 22, 20)}.get(kind, (0, 0, 0))
    if not size or len(frame) < at + 2 * size + 4 or frame[proto] not in (
            socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return None
    src, dst = (int.from_bytes(frame[i:i + size], "big") for i in (at, at + size))
    sport, dport = struct.unpack_from("!HH", frame, at + 2 * size)
    return Header(src, dst, sport, dport, frame[proto])


def kernel_memory():
    """Bytes that the kernel holds for itself: slabs, vmalloc areas and per-CPU areas."""
    with open("/proc/meminfo", encoding="ascii") as f:
        fields = dict(line.split(":") for line in f)
    return sum(int(fields[name].split()[0]) << 10 for name in ("Slab", "VmallocUsed", "Percpu"))


def drop_caches():
    """Free the slabs of inodes and the like, so that they do not look like a peer's memory."""
    ctypes.CDLL(None).sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("2")
