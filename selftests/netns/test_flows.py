# SPDX-License-Identifier: GPL-2.0-only
"""Flows that are picked out of many: show flows FILTER, flows kill FILTER."""

import socket

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience, wait_for
from lab.packets import UDP, Raw, frame, ip
from lab.traffic import TcpEcho, UdpEcho, cut, ping, tcp_connect, tcp_talk, udp_try

both = pytest.mark.parametrize("family", [4, 6])
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port 7 label echo\n"
         "accept forward wan -> lan proto icmp type echo-request label pings\n"
         "accept in on wan proto udp to self port 9 label mine\n"
         "accept forward wan -> lan proto gre label tunnels\n")


def shown(lab, *words):
    """Flows that a filter picks."""
    return lab.fwctl("show", "flows", *words, "--json").rows


def count(lab, *words):
    """What `count` says, and that the list says the same."""
    number = int(lab.fwctl("show", "flows", *words, "count").out)
    assert number == len(shown(lab, *words)), words
    assert lab.fwctl("show", "flows", "count", *words, "--json").json["count"] == number
    return number


def open_many(lab):
    """Load RULES; 3000 flows from 100 hosts, of ports from 1000 on."""
    lab.load(RULES)
    many = [frame(ip(4, src=f"192.0.2.{100 + i % 100}") / UDP(sport=1000 + i, dport=7))
            for i in range(3000)]

    def are_open():
        """What the queue of a CPU had no room for is sent again."""
        lab.client.send_raw("eth0", many)
        return int(lab.fwctl("show", "flows", "port", "7", "count").out) == 3000
    wait_for(are_open, 20)
    assert count(lab, "port", "7") == 3000


@both
def test_terms(own_lab, family):
    """Each term picks what it names, and all have to agree."""
    lab = own_lab
    lab.load(RULES)
    here, there, wan = CLIENT[family], SERVER[family], WAN[family]
    prefix = {4: "192.0.2.0/24", 6: "2001:db8:1::/64"}[family]
    with TcpEcho(lab.server, there, 7), UdpEcho(lab.firewall, wan, 9), \
            tcp_connect(lab.client, there, 7) as s:
        assert tcp_talk(s)
        assert udp_try(lab.client, wan, 9) == "ok"
        assert ping(lab.client, there)
        lab.client.send_raw("eth0", [frame(ip(family, **{"proto" if family == 4 else "nh": 47})
                                           / Raw(b"\0" * 12))])
        lab.gain(lab.counters(), lambda _: count(lab, "proto", "gre") == 1)
        assert [f["rule"] for f in shown(lab, "proto", "tcp")] == ["echo"]
        assert [f["rule"] for f in shown(lab, "proto", "icmp")] == ["pings"]
        assert [f["rule"] for f in shown(lab, "proto", "gre")] == ["tunnels"]
        assert [f["rule"] for f in shown(lab, "rule", "mine")] == ["mine"]
        assert count(lab, "from", here) == 4 and count(lab, "to", here) == 0
        assert count(lab, "from", prefix) == 4 and count(lab, "to", prefix) == 1
        assert count(lab, "to", there) == 3 and count(lab, "from", there) == 0
        assert count(lab, "port", "7") == 1 and count(lab, "port", "7-9") == 2
        assert count(lab, "port", str(s.getsockname()[1])) == 1
        assert count(lab, "state", "established") == 1
        assert count(lab, "family", f"ipv{family}") == 4 and count(lab, "all") == 4
        assert count(lab, "family", f"ipv{10 - family}") == 0
        assert count(lab, "zone", "wan") == 4 and count(lab, "zone", "lan") == 0
        assert count(lab, "from", here, "to", there, "proto", "tcp", "port", "7",
                     "state", "ESTABLISHED", "rule", "echo", "zone", "wan") == 1
        assert count(lab, "from", here, "to", there, "proto", "tcp", "port", "9") == 0
        text = lab.fwctl("show", "flows", "rule", "mine").out.splitlines()
        assert len(text) == 2 and "mine" in text[1], text
        assert lab.fwctl("show", "flows", "port", "1").out == "no flow matches\n"


@pytest.mark.modes("tc")
def test_few_of_many(own_lab):
    """The daemon picks: of thousands only those that match are told; in order."""
    lab = own_lab
    open_many(lab)
    few = shown(lab, "from", "192.0.2.142", "port", "1000-1399", "sort", "port")
    assert [f["original"]["source_port"] for f in few] == [1042, 1142, 1242, 1342]
    # What is shown is what it is when it is written: a second may pass meanwhile.
    ages = [f["age"] for f in shown(lab, "sort", "age")]
    assert all(old >= new - 1 for old, new in zip(ages, ages[1:])), ages
    ports = [f["original"]["source_port"] for f in shown(lab, "sort", "timeout", "reverse")]
    assert sorted(ports) == list(range(1000, 4000))
    left = [f["left"] for f in shown(lab, "sort", "timeout")]
    assert all(less <= more + 1 for less, more in zip(left, left[1:])), left


@pytest.mark.modes("tc")
def test_what_is_wrong(lab):
    """Wrong words are refused with what would be right: by the client, or by the rules."""
    lab.load(RULES)
    for words, status, text in (
            (["proto", "tpc"], 2, "no protocol is called 'tpc'"),
            (["from", "1.2.3.4/33"], 2, "192.0.2.0/24"),
            (["sort", "size"], 2, "sort takes age"),
            (["colour", "red"], 2, "expected proto, from, to, port"),
            (["rule", "nobody"], 1, "see fwctl show rules"),
            (["zone", "dmz"], 1, "see fwctl show interfaces")):
        done = lab.fwctl("show", "flows", *words, check=False)
        assert done.exit == status and text in done.err, (words, done)


def kill(lab, *words):
    """How many flows were killed."""
    return lab.fwctl("flows", "kill", *words, "--json").json["killed"]


def assert_silent(s):
    """Nothing comes back on this connection."""
    s.settimeout(patience(0.3))
    assert not tcp_talk(s)
    cut(s)


@both
def test_kill_tcp(lab, family):
    """One of two connections ends: table, list and packets agree at once."""
    lab.load(RULES)
    with TcpEcho(lab.server, SERVER[family], 7), \
            tcp_connect(lab.client, SERVER[family], 7) as s, \
            tcp_connect(lab.client, SERVER[family], 7) as other:
        assert tcp_talk(s) and tcp_talk(other)
        port = str(s.getsockname()[1])
        before = lab.counters()
        assert kill(lab, "proto", "tcp", "from", CLIENT[family], "port", port) == 1
        assert not shown(lab, "port", port)
        assert not [line for line in lab.conntrack() if f"sport={port}" in line]
        assert_silent(s)
        lab.gain(before, lambda c: c.get("tcp-no-syn", lab.hook, "fw-wan") >= 1)
        assert tcp_talk(other)
        assert kill(lab, "port", port) == 0
        assert lab.fwctl("flows", "kill", "port", port).out == "no flow matches\n"
        assert lab.fwctl("flows", "kill", "rule", "echo", "proto", "tcp").out == "1 flow killed\n"
        assert_silent(other)


@both
def test_kill_others(lab, family):
    """UDP and echo, too: what comes next opens a flow of its own, if it may."""
    lab.load(RULES)
    kill(lab, "all")
    with UdpEcho(lab.server, SERVER[family], 7):
        assert udp_try(lab.client, SERVER[family], 7) == "ok"
        assert ping(lab.client, SERVER[family])
        assert count(lab, "all") == 2
        assert kill(lab, "proto", "icmp", "family", f"ipv{10 - family}") == 0
        assert kill(lab, "proto", "icmp", "family", f"ipv{family}") == 1
        assert [f["protocol"] for f in lab.flows()] == ["udp"]
        assert kill(lab, "all") == 1 and not lab.flows()
        # nobody has asked: an answer alone is none
        with lab.server.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                               socket.SOCK_DGRAM) as s:
            before = lab.counters()
            s.connect((CLIENT[family], 4000))
            s.send(b"x")
            lab.gain(before, lambda c: c.get("default", None, "fw-lan") >= 1)
        assert udp_try(lab.client, SERVER[family], 7) == "ok"
        assert count(lab, "rule", "echo") == 1


@pytest.mark.modes("tc")
def test_kill_many(own_lab):
    """Thousands at once, none of another filter."""
    lab = own_lab
    open_many(lab)
    assert kill(lab, "port", "1000-3499") == 2500
    assert count(lab, "all") == 500 and len(lab.conntrack()) == 500
    assert kill(lab, "all") == 500
    assert not lab.flows() and not lab.conntrack()


@pytest.mark.modes("tc")
def test_kill_what(lab):
    """No filter is no wish to end everything."""
    lab.load(RULES)
    for words in ([], ["sort", "age"], ["count", "all"], ["proto"]):
        assert lab.fwctl("flows", "kill", *words, check=False).exit == 2, words
    assert "'all' ends every flow" in lab.fwctl("flows", "kill", check=False).err
    assert lab.fwctl("flows", "kill", "rule", "nobody", check=False).exit == 1
