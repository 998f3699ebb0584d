# SPDX-License-Identifier: GPL-2.0-only
"""What was found established is remembered for a moment, and no longer than it is true.

Whoever looks a flow up gives it the whole of its life again; a packet of one that is
remembered does not, which shows the one from the other.
"""

import os
import re
import time

import pytest
from conftest import PEER4, PEER6, RULES, SELF4, SELF6
from lab.netns import patience
from packets import FAMILIES, TCP, UDP, frame, l3

LIFE_S = 0.8  # a little less than that of what is remembered
SHORT_S = 20  # that of a flow which nobody looks up
PLAIN = "".join(line + "\n" for line in RULES.splitlines() if "stateless" not in line)
PROTOCOLS = ("tcp", "udp")
GONE = {"tcp": "tcp-no-syn", "udp": "new"}
hooks = pytest.mark.parametrize("hook", ["xdp", "ingress"])
every = pytest.mark.parametrize("family, proto", [(f, p) for f in FAMILIES for p in PROTOCOLS])


def to_us(family, l4):
    return frame(l3(family) / l4)


def from_us(family, l4):
    back = {4: (SELF4, PEER4), 6: (SELF6, PEER6)}[family]
    return frame(l3(family, *back) / l4)


def request(proto, flags="A", port=3000):
    if proto == "udp":
        return UDP(sport=port, dport=53)
    return TCP(sport=port, dport=22, flags=flags, seq=100, ack=901)


def answer(proto, flags="A", port=3000):
    if proto == "udp":
        return UDP(sport=53, dport=port)
    return TCP(sport=22, dport=port, flags=flags, seq=900, ack=101)


def establish(fw, family, proto):
    """A flow to this host, that both sides have opened."""
    opened = fw.run("ingress", to_us(family, request(proto, "S")))
    assert opened["reason"] == "new", opened
    for hook, packet in (("egress", from_us(family, answer(proto, "SA"))),
                         ("ingress", to_us(family, request(proto)))):
        assert fw.run(hook, packet)["reason"] == "established"


def in_time(story):
    """Until the machine was quick enough for the story to be told within an entry's life."""
    for _ in range(100):
        begun = time.monotonic()
        outcome = story()
        if time.monotonic() - begun < LIFE_S:
            return outcome
    raise AssertionError("this machine is too slow")


def begin(fw, family, proto, hook):
    """One flow, which the hook has just seen a packet of."""
    fw.flush()
    establish(fw, family, proto)
    assert fw.run(hook, to_us(family, request(proto)))["reason"] == "established"


def conntrack(fw, *argv):
    """The tool, in the namespace of the programs."""
    done = fw.call(sh=" ".join(("conntrack", *argv, "2>&1")))
    assert done["exit"] == 0, done["out"]
    return done["out"]


def is_remembered(fw, family, proto, hook, happens=lambda: None, packet=None):
    """Does a packet pass without a look at its flow, after that?"""
    which = ("-f", f"ipv{family}", "-p", proto)
    packet = packet or to_us(family, request(proto))

    def story():
        begin(fw, family, proto, hook)
        conntrack(fw, "-U", *which, "-t", str(SHORT_S))
        happens()
        assert fw.run(hook, packet)["reason"] == "established"
        life = re.search(rf"{proto}\s+\d+\s+(\d+)", conntrack(fw, "-L", *which))
        return int(life[1]) <= SHORT_S

    return in_time(story)


@pytest.fixture(name="fw")
def plain_rules(fw):
    """Nothing but the state of a flow decides about its packets. Each CPU remembers its own."""
    fw.rules(PLAIN)
    cpus = os.sched_getaffinity(fw.process.pid)
    os.sched_setaffinity(fw.process.pid, {min(cpus)})
    yield fw
    os.sched_setaffinity(fw.process.pid, cpus)


@every
@hooks
def test_remembers(fw, family, proto, hook):
    """The next packet like it passes without a look into the connection table."""
    assert is_remembered(fw, family, proto, hook)


@every
@hooks
def test_for_a_moment(fw, family, proto, hook):
    """Within a second somebody looks again, which keeps the flow alive."""
    begin(fw, family, proto, hook)
    conntrack(fw, "-U", "-f", f"ipv{family}", "-p", proto, "-t", str(SHORT_S))
    time.sleep(patience(1))
    assert fw.run(hook, to_us(family, request(proto)))["reason"] == "established"
    listed = conntrack(fw, "-L", "-f", f"ipv{family}", "-p", proto)
    assert int(re.search(rf"{proto}\s+\d+\s+(\d+)", listed)[1]) > SHORT_S


@every
@hooks
def test_not_when_it_is_gone(fw, family, proto, hook):
    """Who deletes a flow has ended it, for the very next packet; it may come again."""
    for _ in range(3):
        begin(fw, family, proto, hook)
        assert fw.run(hook, to_us(family, request(proto)))["reason"] == "established"
        fw.call(flush_conntrack=True)
        assert fw.run(hook, to_us(family, request(proto)))["reason"] == GONE[proto]


@every
@hooks
def test_not_when_others_are_there(fw, family, proto, hook):
    """The memory of a flow may be that of other ones by now."""
    begin(fw, family, proto, hook)
    fw.call(flush_conntrack=True)
    for port in range(4000, 4100):
        assert fw.run("ingress", to_us(family, UDP(sport=port, dport=53)))["reason"] == "new"
    assert fw.run(hook, to_us(family, request(proto)))["reason"] == GONE[proto]


@every
@hooks
def test_not_by_other_rules(fw, family, proto, hook):
    """Flows of earlier rules are judged again."""
    begin(fw, family, proto, hook)
    fw.rules(PLAIN.replace("port 53", "port 54").replace("port 22", "port 24"))
    denied = fw.run("ingress", to_us(family, request(proto)))
    assert denied["reason"] == "reload", denied


@every
@hooks
def test_not_by_other_addresses(fw, family, proto, hook):
    """Whose address it is may be another question now."""
    def happens():
        fw.call(self=SELF4 if family == 4 else SELF6, flags=1)

    assert not is_remembered(fw, family, proto, hook, happens)


@pytest.mark.parametrize("side", ["same", "other"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flags", ["FA", "RA", "R"])
@hooks
def test_not_when_it_ends(fw, family, flags, side, hook):
    """Once one side ends it, the packets of both are looked at."""
    def ends():
        if side == "same":
            fw.run(hook, to_us(family, request("tcp", flags)))
        else:
            fw.run("egress", from_us(family, answer("tcp", flags)))

    def story():
        begin(fw, family, "tcp", hook)
        before = conntrack(fw, "-L", "-p", "tcp", "-f", f"ipv{family}")
        ends()
        ended = conntrack(fw, "-L", "-p", "tcp", "-f", f"ipv{family}")
        marks = [re.search(r"mark=(\d+)", text)[1] for text in (before, ended)]
        assert marks[0] != marks[1]
        assert fw.run(hook, to_us(family, request("tcp")))["reason"] == "established"
        last = conntrack(fw, "-L", "-p", "tcp", "-f", f"ipv{family}")
        return re.search(r"mark=(\d+)", last)[1] != marks[1] or flags[0] == "F"

    assert in_time(story)


@every
@hooks
@pytest.mark.parametrize("line", [
    "drop stateless in from 203.0.113.9", "option flow-accounting on", "option esp-unknown-spi log",
    "accept in on wan proto tcp to self port 24 via ipsec",
])
def test_not_where_more_decides(fw, family, proto, hook, line):
    """Or where there is more to do with each packet."""
    fw.rules(PLAIN + line + "\n")
    assert not is_remembered(fw, family, proto, hook)


@every
@hooks
@pytest.mark.parametrize("what", ["last hop", "tag"])
def test_not_what_is_special(fw, family, proto, hook, what):
    """Nor what has another tag."""
    extra = {4: {"ttl": 1}, 6: {"hlim": 1}}[family] if what == "last hop" else {}
    packet = frame(l3(family, **extra) / request(proto), 0 if extra else 1)
    assert not is_remembered(fw, family, proto, hook, packet=packet)
