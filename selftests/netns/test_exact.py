# SPDX-License-Identifier: GPL-2.0-only
"""The picture of the connection table is the kernel's, entry by entry, whatever was missed."""

import os
import random
import signal
import xml.etree.ElementTree as ElementTree

import pytest

from lab.lab import SERVER
from lab.netns import wait_for
from lab.packets import TCP, UDP, frame, ip, stream

RULES = "default in accept\ndefault out accept\ndefault forward accept\n"
HOOKS = """\
table inet lab_hooks {
	chain forward {
		type filter hook forward priority 0;
		ct state new counter
	}
}
"""
ROUNDS = 100 if os.environ.get("FWCTL_EVERY") else 20
PROTOCOLS = ("tcp", "udp", "sctp", "dccp", "udplite")


def kernels(lab):
    """Both tuples of every entry, as conntrack(8) lists them."""
    def side(flow, direction):
        meta = flow.find(f"meta[@direction='{direction}']")
        # Of a protocol whose ports this kernel does not know conntrack(8) says 0.
        ports = (meta.findtext(f".//{name}") for name in ("sport", "dport"))
        return (meta.findtext(".//src"), meta.findtext(".//dst"),
                *(int(port or 0) for port in ports))

    found = set()
    for family in ("ipv4", "ipv6"):
        text = lab.firewall.run("conntrack", "-L", "-f", family, "-o", "xml").stdout
        for flow in ElementTree.fromstring(text or "<conntrack/>").iter("flow"):
            proto = flow.find("meta/layer4").get("protonum")
            found.add((proto, side(flow, "original"), side(flow, "reply")))
    return found


def ours(lab):
    """The same of what fwctld shows."""
    numbers = {"icmp": "1", "tcp": "6", "udp": "17", "dccp": "33", "icmpv6": "58", "sctp": "132",
               "udplite": "136"}

    def side(t):
        return (t["source"], t["destination"], t.get("source_port", 0),
                t.get("destination_port", 0))

    return {(numbers[f["protocol"]], side(f["original"]), side(f["reply"])) for f in lab.flows()
            if f["table"] == "conntrack"}


def difference(lab):
    """What one side has and the other has not; time goes by while they are asked."""
    before, shown, after = kernels(lab), ours(lab), kernels(lab)
    return (before & after) - shown, shown - (before | after)


def by_packets(lab, rng):
    """New flows, by whoever makes them now: our programs, or the kernel's hooks."""
    family = rng.choice((4, 6))
    first = rng.randrange(1024, 50000)
    if rng.random() < 0.5:
        frames = stream(rng.randrange(1, 1000), family, rng.randrange(1, 60000), SERVER[family],
                        first)
    else:
        frames = [frame(ip(family, dst=SERVER[family]) / TCP(sport=first + i, dport=7, flags="S"))
                  for i in range(rng.randrange(1, 40))]
    lab.client.send_raw("eth0", list(frames))


def by_hand(lab, rng):
    """Entries of anybody, of every protocol that has ports."""
    for _ in range(rng.randrange(1, 4)):
        proto = rng.choice(PROTOCOLS)
        state = {"tcp": ["--state", "SYN_SENT"], "sctp": ["--state", "COOKIE_WAIT"],
                 "dccp": ["--state", "REQUEST", "--role", "client"]}.get(proto, [])
        src, dst = rng.choice((("10.9.0.1", "10.8.0.1"), ("2001:db8:9::1", "2001:db8:8::1")))
        lab.firewall.run(
            "conntrack", "-I", "-p", proto, "-s", src, "-d", dst, "--sport",
            str(rng.randrange(1, 65536)), "--dport", str(rng.randrange(1, 65536)), *state,
            "-t", str(rng.choice((1, 60, 600))), check=False)


def one_dies(lab, rng):
    """An entry is deleted, or will live one second more."""
    entries = sorted(x for x in kernels(lab) if x[0] == "17")
    if not entries:
        return
    _, (src, dst, sport, dport), _ = rng.choice(entries)
    what = rng.choice((["-D"], ["-U", "-t", "1"]))
    lab.firewall.run("conntrack", *what, "-f", "ipv6" if ":" in src else "ipv4", "-p", "udp",
                     "-s", src, "-d", dst, "--sport", str(sport), "--dport", str(dport),
                     check=False)


def many_die(lab, rng):
    """All, or all of one protocol."""
    what = rng.choice((["-F"], ["-D", "-p", "udp"], ["-D", "-p", "tcp"]))
    for family in ("ipv4", "ipv6"):
        lab.firewall.run("conntrack", *what, "-f", family, check=False)


@pytest.mark.modes("xdp")
@pytest.mark.parametrize("maker", ["ours", "kernel's"])
def test_every_entry(own_lab, maker):
    """Random inserts, deletes and expiry, of some of which a stopped daemon heard nothing."""
    lab = own_lab
    lab.load(RULES)
    if maker != "ours":
        lab.firewall.run("nft", "-f", "-", input=HOOKS)
    pid = lab.daemon_pid()
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for i in range(ROUNDS):
        done = []
        is_stopped = rng.random() < 0.5
        if is_stopped:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(rng.randrange(1, 6)):
            what = rng.choices((by_packets, by_hand, one_dies, many_die), (6, 3, 3, 1))[0]
            what(lab, rng)
            done.append(what.__name__)
        if is_stopped:
            os.kill(pid, signal.SIGCONT)
        try:
            wait_for(lambda: not any(difference(lab)), 2)
        except AssertionError:
            theirs, shown = (list(entries)[:3] for entries in difference(lab))
            pytest.fail(f"seed {seed}, round {i}, {done}, stopped {is_stopped}: only the kernel "
                        f"has {theirs}, only we {shown}")
    assert lab.status()["mirror"]["in_sync"]
