# SPDX-License-Identifier: GPL-2.0-only
"""A full connection table refuses new flows, says so, and harms no running one."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

from lab.lab import SERVER
from lab.netns import SLOWNESS, wait_for
from lab.packets import TCP, frame, ip, stream
from lab.synflood import PORTS, SynFlood
from lab.traffic import (Iperf, TcpEcho, UdpEcho, cut, http, tcp_connect, tcp_talk, tcp_try,
                         udp_try)

pytestmark = pytest.mark.needs("vm")
families = pytest.mark.parametrize("family", [4, 6])
# Global: no other namespace can make connections either while it is low.
LIMIT = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max")
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port { 7, 9 } label echo\n")
ROOM = 64
HOLDS_S = 3.2  # HOLDS_MS of user/fill.c


@pytest.fixture
def limit():
    """Sets the size of the table; puts it back."""
    before = LIMIT.read_text(encoding="ascii")
    yield lambda n: LIMIT.write_text(str(n), encoding="ascii")
    LIMIT.write_text(before, encoding="ascii")


@contextlib.contextmanager
def stopped_daemon(lab):
    """Within the block fwctld does nothing, and what it has said holds no more."""
    pid = lab.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(HOLDS_S)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@families
def test_table_full(lab, limit, family):
    """New flows die for `table-full`; old ones go on; room makes everything well again."""
    lab.load(RULES)
    target = SERVER[family]
    with TcpEcho(lab.server, target, 7), UdpEcho(lab.server, target, 7), \
            tcp_connect(lab.client, target, 7) as s:
        assert tcp_talk(s)
        assert udp_try(lab.client, target, 7, source=("", 4007)) == "ok"
        usual = int(LIMIT.read_text(encoding="ascii"))
        before = lab.counters()
        with stopped_daemon(lab):
            limit(ROOM)
            # Answered, or they would not live long enough for a slow machine.
            lab.client.send_raw("eth0", stream(4 * ROOM, family, 7, target))
            wait_for(lambda: len(lab.conntrack()) >= ROOM - 2, 5, "a full table")
        gained = lab.gain(before, lambda c: c.get("new", "ingress") + c.get("new", "egress")
                          + c.get("table-full") >= 4 * ROOM)
        # Some of the oldest may have been evicted for new ones, never all; nobody asked for
        # what comes back on such a one.
        assert set(gained.drops()) - {"default"} == {"table-full"}, gained
        assert gained.drops()["table-full"] > ROOM, gained
        assert len(lab.conntrack()) <= ROOM + 1
        wait_for(lambda: lab.status()["conntrack"]["refusing"], 5, "the daemon to notice")
        refused = lab.status()["conntrack"]["refused"]
        assert refused["full"] >= gained.drops()["table-full"] and not refused["memory"], refused

        before = lab.counters()
        assert tcp_try(lab.client, target, 7, timeout=0.3) == "timeout"
        gained = lab.gain(before, lambda c: c.drops())
        assert set(gained.drops()) == {"table-pressure"}, gained
        before = lab.counters()
        for _ in range(3):
            assert tcp_talk(s, bytes(20000))
        gained = lab.counters() - before
        assert not gained.drops(), gained
        out = lab.fwctl("status").out
        assert "table-full" in out and "refused     new flows: full" in out, out

        limit(usual)
        wait_for(lambda: tcp_try(lab.client, target, 7) == "ok", 3, "room")
        limit(ROOM)
        wait_for(lambda: tcp_try(lab.client, target, 7, timeout=0.3) == "timeout", 3, "no room")
        cut(s)  # or its end, that no flow answers for, is repeated into the next test
        lab.firewall.run("conntrack", "-F")
        wait_for(lambda: tcp_try(lab.client, target, 7) == "ok", 3, "room")
        assert udp_try(lab.client, target, 7) == "ok"


# ---- a flood of half-open flows -----------------------------------------------------------

FLOODED = ("default in drop\ndefault out drop\ndefault forward drop\n"
           "accept forward wan -> lan proto tcp to port { 7, 5201 } label real\n"
           f"accept forward wan -> lan proto tcp to port {PORTS[0]}-{PORTS[1]} label flood\n")
# An emulated machine has one thread for its processors, and shares that with another machine:
# a flood that takes all of it would say nothing about the table.
SCALE = SLOWNESS ** 3
ENTRIES, FLOW_RATE, QUIET_S, FLOOD_S = int(65536 / SCALE), 50000 / SCALE, 10, 60
# What the transfer may take is bounded: a race for the processor would measure that.
RATE = int(200e6 / SCALE)
STORY = ("the connection table fills up", "the connection table refuses new flows",
         "the connection table takes new flows again", "the connection table has room again")


def half_open(family):
    """A SYN whose answer never comes."""
    return frame(ip(family, dst=SERVER[family]) / TCP(sport=PORTS[0], dport=PORTS[0], flags="S",
                                                      chksum=0xbad))


def entries(lab):
    """How many there are."""
    return int(lab.firewall.run("sysctl", "-n", "net.netfilter.nf_conntrack_count").stdout)


def mean(report, first, last):
    """Bits a second of a transfer, of the intervals within some of its seconds."""
    rates = [i["sum"]["bits_per_second"] for i in report["intervals"]
             if i["sum"]["start"] >= first and i["sum"]["end"] <= last]
    return sum(rates) / len(rates)


def cpu_seconds(pid):
    """Processor time of a process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.needs("iperf3")
@pytest.mark.parametrize("mode, family", [("xdp", 4), ("tc", 6)])
def test_half_open_flood(own_lab, limit, family):
    """A minute of half-open flows: a transfer goes on, the table has room soon after."""
    lab, address = own_lab, SERVER[family]
    limit(ENTRIES)
    lab.load(FLOODED)
    with TcpEcho(lab.server, address, 7), tcp_connect(lab.client, address, 7) as idle:
        assert tcp_talk(idle)
        transfer = Iperf(lab.client, lab.server, address, rate=RATE,
                         seconds=(QUIET_S + FLOOD_S + 10) / SLOWNESS)
        time.sleep(QUIET_S)
        cpu = cpu_seconds(lab.daemon_pid())
        flood = SynFlood(lab.client, "eth0", half_open(family), FLOW_RATE, FLOOD_S)
        start, most, tight = time.monotonic(), 0, False
        while time.monotonic() < start + FLOOD_S - 1:
            most = max(most, entries(lab))
            tight |= lab.status()["conntrack"]["half_open_life"] == 5
            time.sleep(1)
        conntrack = lab.status()["conntrack"]
        metrics = http(lab.firewall, "/metrics")[2]
        rate = flood.wait()
        over = time.monotonic()
        cpu = cpu_seconds(lab.daemon_pid()) - cpu
        wait_for(lambda: entries(lab) < ENTRIES / 10, 120 / SLOWNESS, "room in the table", 0.5)
        recovered = time.monotonic() - over
        report = transfer.result(60 + QUIET_S)
        before = mean(report, 1, QUIET_S - 1)
        during = mean(report, QUIET_S + 2, QUIET_S + FLOOD_S - 2)
        print(f"{rate:.0f} flows a second; {before / 1e6:.0f} Mbit/s before, "
              f"{during / 1e6:.0f} during; at most {most} entries; {recovered:.1f} s to recover; "
              f"fwctld {cpu / FLOOD_S:.0%} of a processor; refused {conntrack['refused']}")
        assert rate > 0.8 * FLOW_RATE
        assert during >= 0.9 * before
        # What the daemon has said holds for three seconds: machines may stand still for longer.
        assert most <= ENTRIES * 0.96 or conntrack["refused"]["full"]
        assert conntrack["refused"]["full"] * 20 <= conntrack["refused"]["pressure"]
        assert tight and conntrack["pressure"] and conntrack["refusing"]
        assert conntrack["refused"]["pressure"] > 0
        assert "fwctl_conntrack_pressure 1\n" in metrics
        assert tcp_talk(idle)
        assert tcp_try(lab.client, address, 7) == "ok"
        # Lives stay short for a minute, or a flood that goes on would fill it again.
        wait_for(lambda: STORY[2] in lab.daemon_log() and STORY[3] in lab.daemon_log(), 75)
        assert [lab.daemon_log().count(text) for text in STORY] == [1, 1, 1, 1]
