# SPDX-License-Identifier: GPL-2.0-only
"""The picture of the flows while something is missed: stale, never wrong."""

import json
import re
import signal

import pytest

from lab.netns import wait_for
from lab.packets import UDP, frame, ip
from lab.synflood import SynFlood
from lab.traffic import http

pytestmark = [pytest.mark.modes("xdp"), pytest.mark.slow]
RULES = "default in accept\ndefault out accept\ndefault forward accept\n"


def ring_records(lab):
    """How many records of flows the ring of the programs holds, at least."""
    pin = next(lab.pin_dir.rglob("events"))
    shown = lab.firewall.run("bpftool", "-j", "map", "show", "pinned", pin)
    return json.loads(shown.stdout)["max_entries"] // 64


def metric(lab, name):
    """One value of the exporter."""
    text = http(lab.firewall, "/metrics")[2]
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])


def test_full_ring(own_lab):
    """Records that the ring has no room for are missed: told, and made good at once."""
    lab = own_lab
    lab.load(RULES)
    wait_for(lambda: lab.status()["mirror"]["in_sync"], 5, "the first picture")
    resyncs = lab.status()["mirror"]["resyncs"]
    pid = lab.daemon_pid()
    room = ring_records(lab)
    lab.firewall.run("kill", f"-{signal.SIGSTOP.value}", pid)
    try:
        flood = SynFlood(lab.client, "eth0", bytes(frame(ip(4) / UDP(sport=1, dport=1, chksum=0))),
                         2 * room / 5, 5)
        flood.wait()
    finally:
        lab.firewall.run("kill", f"-{signal.SIGCONT.value}", pid)
    there = int(lab.firewall.run("conntrack", "-C").stdout)
    assert there > room, "not enough to fill the ring"
    wait_for(lambda: lab.status()["mirror"]["lost_records"], 5, "the loss to be noticed")
    wait_for(lambda: lab.status()["mirror"]["in_sync"], 15, "the picture to be right again")
    mirror = lab.status()["mirror"]
    assert mirror["flows"] == there and mirror["resyncs"] > resyncs, mirror
    assert mirror["missed"]["records"] and mirror["stale_by"] is None, mirror
    assert metric(lab, "fwctl_mirror_records_lost_total") == mirror["lost_records"]
    assert metric(lab, 'fwctl_mirror_overruns_total{cause="records"}') >= 1
