# SPDX-License-Identifier: GPL-2.0-only
"""Flows that are picked out of many: show flows FILTER."""

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.packets import UDP, Raw, frame, ip
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, udp_try

both = pytest.mark.parametrize("family", [4, 6])
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port 7 label echo\n"
         "accept forward wan -> lan proto icmp type echo-request label pings\n"
         "accept in on wan proto udp to self port 9 label mine\n"
         "accept forward wan -> lan proto gre label tunnels\n")


def shown(lab, *words):
    """Flows that a filter picks."""
    return lab.fwctl("show", "flows", *words, "--json").json["flows"]


def count(lab, *words):
    """What `count` says, and that the list says the same."""
    number = int(lab.fwctl("show", "flows", *words, "count").out)
    assert number == len(shown(lab, *words)), words
    assert lab.fwctl("show", "flows", "count", *words, "--json").json["count"] == number
    return number


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
    lab.load(RULES)
    many = [frame(ip(4, src=f"192.0.2.{100 + i % 100}") / UDP(sport=1000 + i, dport=7))
            for i in range(3000)]
    lab.client.send_raw("eth0", many)
    lab.gain(lab.counters(), lambda _: count(lab, "port", "7") == 3000, 10)
    few = shown(lab, "from", "192.0.2.142", "port", "1000-1399", "sort", "port")
    assert [f["original"]["source_port"] for f in few] == [1042, 1142, 1242, 1342]
    ages = [f["age"] for f in shown(lab, "sort", "age")]
    assert ages == sorted(ages, reverse=True)
    ports = [f["original"]["source_port"] for f in shown(lab, "sort", "timeout", "reverse")]
    assert sorted(ports) == list(range(1000, 4000))
    left = [f["left"] for f in shown(lab, "sort", "timeout")]
    assert left == sorted(left)


@pytest.mark.modes("tc")
def test_what_is_wrong(lab):
    """Wrong words are refused with what would be right: by the client, or by the rules."""
    lab.load(RULES)
    for words, status, text in (
            (["proto", "tpc"], 2, "no protocol is called 'tpc'"),
            (["from", "1.2.3.4/33"], 2, "192.0.2.0/24"),
            (["sort", "bytes"], 2, "sort takes age"),
            (["colour", "red"], 2, "expected proto, from, to, port"),
            (["rule", "nobody"], 1, "see fwctl show rules"),
            (["zone", "dmz"], 1, "see fwctl show interfaces")):
        done = lab.fwctl("show", "flows", *words, check=False)
        assert done.exit == status and text in done.err, (words, done)
