# SPDX-License-Identifier: GPL-2.0-only
"""Other filters in XDP: xdp-filter of xdp-tools, and bpfilter."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time

from lab import bpf
from lab.lab import TOP
from lab.netns import sh, wait_for

from .case import ANY_PORT, BITS, CHECK_PORT, TCP, address, prefix
from .peer import DEVICE, Denied, Load, Peer, Refused, high_water, reset_high_water

PINS = "/sys/fs/bpf/xdp-filter"
MOST_ADDRESSES = 10000  # in the maps of xdp-filter


def leave(*names):
    """Remove empty folders that a peer has left in the bpf file system."""
    for name in names:
        with contextlib.suppress(OSError):
            os.rmdir(f"/sys/fs/bpf/{name}")


class XdpFilter(Peer):
    """Denies addresses; what it does not know it hands to the stack."""

    name = "xdp-filter"
    title = "xdp-filter"
    program = "xdp-filter"
    packages = "xdp-tools of Debian"
    hook = "xdp"

    def refuses(self, case):
        if case.kind != "addresses":
            return "knows single addresses only"
        if case.size > MOST_ADDRESSES:
            return f"holds {MOST_ADDRESSES} addresses at most"
        return None

    def refuses_traffic(self, traffic):
        """What it has to do with a packet it does not know is not the peers' work."""
        return "hands it to the stack" if traffic == "miss" else None

    def checks(self, headers):
        return [(h, ok) for h, ok in headers if h.dport == CHECK_PORT]

    def write(self, case):
        self._family = case.family
        return self.file("".join(address(case.family, e[0]) + "\n" for e in case.entries))

    def install(self, path):
        """The first address by xdp-filter; it takes one a call, so the rest by bpftool."""
        start = time.monotonic()
        family = f"ipv{self._family}"
        self.timed("xdp-filter", "load", "-m", "native", "-p", "allow", "-f", family, DEVICE)
        first, *others = path.read_text(encoding="ascii").split()
        load = self.timed("xdp-filter", "ip", "-m", "src", first)
        pin = f"{PINS}/filter_{family}"
        entry, = json.loads(self.run("bpftool", "-j", "map", "dump", "pinned", pin))
        value = " ".join(entry["values"][0]["value"])
        size = BITS[self._family] // 8
        batch = self.lab.dir / "xdp-filter.batch"
        batch.write_text("".join(
            f"map update pinned {pin} key hex {self._hex(text, size)} value hex "
            f"{value.replace('0x', '')}\n" for text in others), encoding="ascii")
        self.timed("bpftool", "batch", "file", batch)
        return Load(time.monotonic() - start, load.rss)

    @staticmethod
    def _hex(text, size):
        packed = socket.inet_pton(socket.AF_INET if size == 4 else socket.AF_INET6, text)
        return packed.hex(" ")

    def remove(self):
        self.run("xdp-filter", "unload", DEVICE)
        leave("xdp", "xdp-filter")

    def denied(self):
        shown = self.run("xdp-filter", "status")
        drops = re.search(r"XDP_DROP\s+(\d+)", shown)
        return Denied(int(drops[1]) if drops else None)


def find(program):
    """Path of a program of bpfilter: installed, or fetched by scripts/install-deps."""
    cached = TOP / "build" / "cache" / "bpfilter" / "bin"
    return shutil.which(program, path=os.environ.get("PATH", "") + f":{cached}")


def bpfilter_version():
    """{"bpfilter": what it says}, or nothing."""
    path = find("bfcli")
    return {"bpfilter": sh(path, "--version", check=False).stdout.strip()} if path else {}


class Bpfilter(Peer):
    """A chain of bpfilter in XDP: rules one after another, sets as hash or LPM maps.

    It attaches to the generic hook only, behind the making of an skb; so that it is
    measured at its best, its program is linked to the driver's hook here.
    """

    name = "bpfilter"
    title = "bpfilter"
    program = "bfcli"
    packages = "Debian unstable: scripts/install-deps bpfilter"
    hook = "xdp"
    SOCKET = "/run/bpfilter/daemon.sock"

    def __init__(self, lab):
        super().__init__(lab)
        self._cli, self._server = find("bfcli"), find("bpfilter")
        self._daemon = None

    def missing(self):
        if self._cli and self._server:
            return None
        return f"bpfilter: not installed, skipped ({self.packages})"

    def refuses(self, case):
        if case.is_rules and any(
                r.proto is None and (r.sport, r.dport) != (ANY_PORT, ANY_PORT)
                for r in case.rules):
            return "has no rule for ports of any protocol"
        return None

    def write(self, case):
        ip = "ip4" if case.family == 4 else "ip6"
        head = "chain bench BF_HOOK_XDP DROP\n"
        if case.is_rules:
            return self.file(head + "".join(self._rule(case.family, ip, r) for r in case.rules))
        single = case.kind == "addresses" and case.family == 4
        key = f"{ip}.saddr" if single else f"{ip}.snet"
        entries = "\n".join(self._place(case.family, e, not single) for e in case.entries)
        return self.file(f"{head}rule\n ({key}) in {{\n{entries}\n}}\n counter\n DROP\n"
                         f"rule\n udp.dport eq {CHECK_PORT}\n ACCEPT\n")

    @staticmethod
    def _place(family, value, with_length=True):
        text = prefix(family, value)
        return f"{text}/{value[1]}" if with_length and "/" not in text else text

    def _rule(self, family, ip, rule):
        words = []
        for side, place in (("s", rule.src), ("d", rule.dst)):
            if place[1] == BITS[family]:
                words.append(f"{ip}.{side}addr eq {prefix(family, place)}")
            elif place[1]:
                words.append(f"{ip}.{side}net eq {prefix(family, place)}")
        proto = "tcp" if rule.proto == TCP else "udp"
        for side, ports in (("sport", rule.sport), ("dport", rule.dport)):
            if ports[0] == ports[1]:
                words.append(f"{proto}.{side} eq {ports[0]}")
            elif ports != ANY_PORT:
                words.append(f"{proto}.{side} range {ports[0]}-{ports[1]}")
        if not any(w.startswith(proto) for w in words) and rule.proto is not None:
            words.append(f"meta.l4_proto eq {proto}")
        if not any(w.startswith(ip) for w in words):
            words.append(f"meta.l3_proto eq ipv{family}")
        return "rule\n " + "\n ".join([*words, rule.verdict.upper()]) + "\n"

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.SOCKET)
        self._daemon = self.ns.popen(self._server, "--transient", "--no-iptables",
                                     "--no-nftables", stdout=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(self.SOCKET) or self._daemon.poll() is not None, 5,
                 "bpfilter to listen")

    def stop(self):
        self._daemon.terminate()
        try:
            self._daemon.wait(5)
        except subprocess.TimeoutExpired:  # still at work for a client that has given up
            self._daemon.kill()
            self._daemon.wait()
        leave("bpfilter/bench", "bpfilter")

    def _pid(self):
        """The daemon has taken the place of nsenter."""
        return self._daemon.pid

    def install(self, path):
        reset_high_water(self._pid())
        before = self._programs()
        load = self.timed(self._cli, "chain", "load", "--from-file", path)
        loaded = self._programs() - before
        if len(loaded) != 1:
            raise Refused("bfcli: no program after the chain was loaded")
        fd = bpf.program_of(loaded.pop())
        with self.ns.inside():
            self._link = bpf.attach_xdp(fd, DEVICE)
        os.close(fd)
        return Load(load.seconds, max(load.rss, high_water(self._pid())))

    @staticmethod
    def _programs():
        shown = json.loads(sh("bpftool", "-j", "prog", "show").stdout)
        return {p["id"] for p in shown if p.get("name") == "bf_prog"}

    def remove(self):
        os.close(self._link)
        self.run(self._cli, "chain", "flush", "--name", "bench")

    def denied(self):
        shown = self.run(self._cli, "chain", "get", "--name", "bench")
        policy = re.search(r"policy (\d+) packets", shown)
        rules = re.findall(r"^\s+counters (\d+) packets", shown, re.M)
        return Denied(int(rules[0]) if rules else None, int(policy[1]) if policy else None)
