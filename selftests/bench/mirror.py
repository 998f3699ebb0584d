# SPDX-License-Identifier: GPL-2.0-only
"""What the picture of the connection table costs: PYTHONPATH=selftests python3 -m bench.mirror

Beside conntrack -L: a dump of many flows until they are indexed, bytes a flow, CPU of a
daemon with nothing to do. Beside conntrack -E: flows that come at a rate, inserted by BPF or by the
kernel, and for how long the picture was not exact. As root, in the first network namespace,
for the size of the connection table is changed meanwhile.
"""

import argparse
import contextlib
import ipaddress
import os
import pathlib
import signal
import subprocess
import threading
import time

from bench.rules.case import UDP, Header
from bench.rules.track import Generator
from lab.lab import CLIENT4, SERVER4, Lab, plain_build
from lab.netns import wait_for

RULES = "default in accept\ndefault out accept\ndefault forward accept\n"
HOOKS = """\
table inet bench_hooks {
	chain forward {
		type filter hook forward priority 0;
		ct state new counter
	}
}
"""
SINK = """\
table netdev bench_sink {
	chain ingress {
		type filter hook ingress device "eth0" priority 0;
		meta l4proto udp drop
	}
}
"""
MAX = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max")
BUCKETS = pathlib.Path("/sys/module/nf_conntrack/parameters/hashsize")
PORTS = 50000  # of the server, in turn; each round from another port of the client
LOOK_S = 0.05  # between two looks at whether the picture is exact


@contextlib.contextmanager
def large_table(entries):
    """A connection table for so many entries, all namespaces together."""
    values = {MAX: 2 * entries, BUCKETS: max(entries // 2, 65536)}
    before = {path: path.read_text(encoding="ascii") for path in values}
    try:
        for path, value in values.items():
            path.write_text(str(value), encoding="ascii")
        yield
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="ascii")


def insert(lab, count):
    """Entries of anybody."""
    lines = (f"-I -p udp -s 10.{i >> 16}.{i >> 8 & 255}.{i & 255} -d 10.200.0.1 --sport 1000 "
             f"--dport {1 + i % 7} -t 3000\n" for i in range(count))
    lab.firewall.run("conntrack", "-R", lab.write("entries", "".join(lines)), timeout=600)


def picture(lab):
    """What the daemon says of its picture: "in_sync", "flows" ..."""
    return lab.status()["mirror"]


def cpu_seconds(pid):
    """That a process has used."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def timed(ns, *argv):
    """Seconds that a command takes; its output goes nowhere."""
    start = time.monotonic()
    with ns.popen(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.wait(600)
    return time.monotonic() - start


def idle_share(lab, seconds):
    """Part of a CPU that the daemon uses while nothing happens."""
    pid = lab.daemon_pid()
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def show_stock(lab, count, rest):
    """Flows that are there."""
    lab.load(RULES)
    few = lab.daemon_memory()
    print(f"no flows: fwctld uses {100 * idle_share(lab, 10):.2f} % of a CPU, {few} KiB")
    insert(lab, count)
    wait_for(lambda: (p := picture(lab))["in_sync"] and p["flows"] >= count, 120, "all flows")
    kernel = timed(lab.firewall, "conntrack", "-L")
    before = picture(lab)["resyncs"]
    time.sleep(2 * picture(lab)["last_duration"] + 0.5)  # sooner it begins no other one
    lab.fwctl("show", "flows", "count")  # who asks makes it dump them anew
    wait_for(lambda: picture(lab)["resyncs"] > before, 60, "a dump")
    seconds = picture(lab)["last_duration"]
    many = lab.daemon_memory()
    print(f"{count} flows: dumped and indexed in {seconds:.2f} s (conntrack -L: {kernel:.2f} s, "
          f"{kernel / seconds:.1f} times), {1024 * (many - few) / count:.0f} bytes a flow")
    with lab.firewall.popen(lab.binary("fwctl"), "show", "flows", env=lab.environment()) as p:
        start = time.monotonic()
        p.stdout.readline()
        first = time.monotonic() - start
        lines = sum(1 for _ in p.stdout)
        whole = time.monotonic() - start
    print(f"show flows: first line after {1000 * first:.0f} ms, all {lines} after {whole:.2f} s")
    before = picture(lab)["resyncs"]
    share = idle_share(lab, rest)
    print(f"at rest with them for {rest} s: {100 * share:.2f} % of a CPU, "
          f"{picture(lab)['resyncs'] - before} dumps")


class Exactness:
    """For how long the picture is not the kernel's, at most."""

    def __init__(self, lab):
        self._lab, self._over = lab, threading.Event()
        self.longest, self.times = 0.0, 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self):
        since = None
        while not self._over.wait(LOOK_S):
            now, exact = time.monotonic(), picture(self._lab)["in_sync"]
            if exact:
                since = None
                continue
            if since is None:
                since = now
                self.times += 1
            self.longest = max(self.longest, time.monotonic() - since)

    def close(self):
        """Look no more."""
        self._over.set()
        self._thread.join()


def kernel_lists(lab):
    """Lines of conntrack -L."""
    text = lab.firewall.run("conntrack", "-C").stdout
    return int(text)


def flood(lab, rate, count):
    """Send so many packets, each of another flow; returns how many a second there were."""
    src, dst = (int(ipaddress.ip_address(x)) for x in (CLIENT4, SERVER4))
    generator = Generator(lab, lab.client, 0, realtime=True)
    try:
        generator.load(4, [Header(src, dst, 1024, 1 + i, UDP) for i in range(PORTS)], port_step=1)
        return 1e9 / generator.run("eth0", count, rate=rate)
    finally:
        generator.close()


def run_first(pid):
    """Let a process run before all that is not in real time, like the generator: whatever else
    the machine does is not the question."""
    os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def prepare(lab, by_kernel):
    """Rules, and who inserts entries; the server answers nothing."""
    lab.load(RULES)
    lab.server.run("nft", "-f", lab.write("sink.nft", SINK))
    if by_kernel:
        lab.firewall.run("nft", "-f", lab.write("hooks.nft", HOOKS))


def show_rate(lab, rate, seconds, by_kernel):
    """Flows that come."""
    prepare(lab, by_kernel)
    pid, cpu = lab.daemon_pid(), cpu_seconds(lab.daemon_pid())
    run_first(pid)
    watch = Exactness(lab)
    try:
        reached = flood(lab, rate, rate * seconds)
        used = (cpu_seconds(pid) - cpu) / seconds
        wait_for(lambda: picture(lab)["in_sync"], 60, "the picture to be exact again")
    finally:
        watch.close()
    there, shown = kernel_lists(lab), picture(lab)["flows"]
    who = "kernel" if by_kernel else "BPF"
    missed = ", ".join(f"{n} {what}" for what, n in picture(lab)["missed"].items() if n)
    print(f"{reached:.0f} packets a second, flows inserted by the {who}: {there} entries, "
          f"{shown:.0f} shown; not in sync {watch.times} times, {watch.longest:.2f} s at most; "
          f"missed: {missed or 'nothing'}; fwctld {100 * used:.0f} % of a CPU, "
          f"{1e6 * used * seconds / there:.1f} us a flow")


def show_events(lab, rate, seconds):
    """The same flows, inserted by the kernel, as conntrack -E tells of them; fwctld does not
    run meanwhile, so that either has a CPU to itself beside the one that receives."""
    prepare(lab, True)
    path, pid = lab.write("events", ""), lab.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    listener = lab.firewall.popen("sh", "-c", f"exec conntrack -E -e NEW >{path} 2>&1")
    run_first(listener.pid)
    try:
        reached = flood(lab, rate, rate * seconds)
        there = kernel_lists(lab)
    finally:
        listener.terminate()
        listener.wait(10)
        os.kill(pid, signal.SIGCONT)
    text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    said = sum(1 for line in text.splitlines() if "[NEW]" in line)
    lost = "; it ended with ENOBUFS" if "ENOBUFS" in text or "buffer" in text else ""
    print(f"conntrack -E, at {reached:.0f} packets a second: {said} of {there} new flows{lost}")


def main():
    """The command line."""
    p = argparse.ArgumentParser(prog="python3 -m bench.mirror", description=__doc__)
    p.add_argument("--flows", type=int, default=1000000)
    p.add_argument("--rate", type=int, default=150000, help="new flows a second")
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--rest", type=int, default=300, help="seconds at rest")
    args = p.parse_args()
    with large_table(max(args.flows, args.rate * args.seconds) + 65536):
        if args.flows:
            with Lab(plain_build()) as lab:
                lab.mode = "tc"
                show_stock(lab, args.flows, args.rest)
        if not args.rate:
            return
        for show, *how in ((show_rate, False), (show_rate, True), (show_events,)):
            with Lab(plain_build()) as lab:
                lab.mode = "xdp"
                show(lab, args.rate, args.seconds, *how)


if __name__ == "__main__":
    main()
