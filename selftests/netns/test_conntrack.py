# SPDX-License-Identifier: GPL-2.0-only
"""The state is the kernel's: what conntrack(8) shows, timeouts, the mirror."""

import os
import re
import signal
import time

import pytest

from lab.lab import CLIENT, SERVER, WAN
from lab.netns import patience, wait_for
from lab.packets import TCP, frame, ip
from lab.stranger import Stranger
from lab.traffic import TcpEcho, UdpEcho, cut, ping, tcp_connect, tcp_talk, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto { tcp, udp } to port 7 label echo\n"


def entry(lab, *words):
    """The line of `conntrack -L` that has all words, or None."""
    return next((line for line in lab.conntrack()
                 if all(word in line.split() for word in words)), None)


def timeout_of(line):
    """Seconds an entry has left."""
    return int(line.split()[2])


@both
def test_established_is_shown(lab, family):
    """conntrack -L says ESTABLISHED although nothing else asks for tracking."""
    lab.load(DENY + ECHO)
    assert not lab.firewall.run("nft", "list", "ruleset").stdout.strip()
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        port = f"sport={s.getsockname()[1]}"
        line = wait_for(lambda: entry(lab, "tcp", "ESTABLISHED", port), 5,
                        "conntrack to say ESTABLISHED")
        assert "[UNREPLIED]" not in line and "[ASSURED]" in line, line
        assert f"src={CLIENT[family]}" in line and f"dst={SERVER[family]}" in line, line


@both
def test_udp_is_shown(lab, family):
    """A UDP flow, replied to."""
    lab.load(DENY + ECHO)
    with UdpEcho(lab.server, SERVER[family], 7):
        assert udp_try(lab.client, SERVER[family], 7) == "ok"
        line = entry(lab, "udp", "dport=7", f"src={CLIENT[family]}")
        assert line and "[UNREPLIED]" not in line, lab.conntrack()


@both
def test_established_lives_long(lab, family):
    """The first timeout is short, that of an established connection is days."""
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        line = entry(lab, "tcp", f"sport={s.getsockname()[1]}")
        assert line and timeout_of(line) > 86400, line


@both
def test_half_open_is_short(lab, family):
    """A handshake that is never completed: two minutes at most, however often SYN comes."""
    lab.load(DENY + ECHO)
    nobody = {4: "192.0.2.77", 6: "2001:db8:1::77"}[family]
    syn = frame(ip(family, src=nobody) / TCP(sport=4000, dport=7, flags="S", seq=1))
    with TcpEcho(lab.server, SERVER[family], 7):
        lab.client.send_raw("eth0", [syn])
        line = wait_for(lambda: entry(lab, "tcp", "sport=4000"), 2, "the entry")
        assert timeout_of(line) <= 120, line
        wait_for(lambda: timeout_of(entry(lab, "tcp", "sport=4000")) <= 118, 5, "time to pass")
        lab.client.send_raw("eth0", [syn] * 5)
        time.sleep(patience(0.2))
        line = entry(lab, "tcp", "sport=4000")
        assert timeout_of(line) <= 120, line
        assert "[ASSURED]" not in line, line


@both
@pytest.mark.parametrize("how", ["blind", "challenged", "reset"])
def test_half_open_stays_half_open(lab, family, how):
    """Who has not heard the answer to its SYN ends no handshake, whatever the host answers."""
    lab.load(DENY + ECHO)
    address = SERVER[family]
    with TcpEcho(lab.server, address, 7), Stranger(lab, address, 4000, 7) as stranger:
        stranger.says("S", 1000)
        isn = stranger.hears("SA").seq
        if how == "reset":
            stranger.says("R", 1000 + 2**30)
        else:
            stranger.says("A", 1001, isn + 2**30)
            stranger.hears("R")
        if how != "blind":
            stranger.says("S", 1000 + 2**30)
            stranger.hears("A")
        line = entry(lab, "tcp", "sport=4000")
        assert timeout_of(line) <= 120 and "[ASSURED]" not in line, line
        # who has, does
        stranger.says("PA", 1001, isn + 1, b"x")
        stranger.hears("PA")
        stranger.says("A", 1002, isn + 2)
        wait_for(lambda: "[ASSURED]" in entry(lab, "tcp", "sport=4000"), 2, "a connection")


@both
def test_closed_connection_goes_soon(lab, family):
    """After both FINs the entry lives for minutes, not days."""
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[family], 7):
        with tcp_connect(lab.client, SERVER[family], 7) as s:
            assert tcp_talk(s)
            port = f"sport={s.getsockname()[1]}"
        wait_for(lambda: (line := entry(lab, "tcp", port)) is None or timeout_of(line) <= 120, 3,
                 "the timeout to shrink")


def timeouts(lab):
    """What `fwctl show timeouts` says: {name: (seconds, from)}."""
    return {t["timeout"]: (t["seconds"], t["from"])
            for t in lab.fwctl("show", "timeouts", "--json").json["timeouts"]}


@both
def test_timeouts_of_the_namespace(own_lab, family):
    """The namespace's sysctls at the time of a load, where the rules say nothing."""
    lab = own_lab
    lab.firewall.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=7000,
                        net__netfilter__nf_conntrack_tcp_timeout_time_wait=99,
                        net__netfilter__nf_conntrack_udp_timeout=17,
                        net__netfilter__nf_conntrack_udp_timeout_stream=2100000,
                        net__netfilter__nf_conntrack_icmpv6_timeout=66)
    lab.load(DENY + ECHO + "timeout tcp-time-wait 33s\ntimeout icmp 44s\n")
    shown = timeouts(lab)
    assert shown["tcp-established"] == (7000, "sysctl"), shown
    assert shown["tcp-time-wait"] == (33, "rules"), shown
    assert shown["udp"] == (17, "sysctl"), shown
    assert shown["udp-stream"] == (24 * 86400, "sysctl"), shown
    assert shown["icmp4"] == shown["icmp6"] == (44, "rules"), shown
    assert lab.status()["rules"]["timeouts"][0]["sysctl"] == \
        "net.netfilter.nf_conntrack_tcp_timeout_syn_sent"
    text = lab.fwctl("show", "timeouts").out
    assert re.search(r"^tcp-established +7000s +sysctl +net\.netfilter\.nf_conntrack_tcp_timeout",
                     text, re.M), text
    assert re.search(r"^tcp-time-wait +33s +rules +\S+:\d+$", text, re.M), text
    with TcpEcho(lab.server, SERVER[family], 7):
        with tcp_connect(lab.client, SERVER[family], 7) as s:
            assert tcp_talk(s)
            port = f"sport={s.getsockname()[1]}"
            assert 6900 <= timeout_of(entry(lab, "tcp", port)) <= 7000
        wait_for(lambda: (line := entry(lab, "tcp", port)) is None or timeout_of(line) <= 33, 3,
                 "the timeout to shrink")
    # what was in force when the rules were loaded stays, also for another daemon
    lab.firewall.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=8000)
    os.kill(lab.daemon_pid(), signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    assert timeouts(lab) == shown
    lab.load(DENY + ECHO)
    assert timeouts(lab)["tcp-established"] == (8000, "sysctl")
    assert timeouts(lab)["tcp-time-wait"] == (99, "sysctl")
    assert timeouts(lab)["icmp6"] == (66, "sysctl")


@both
def test_mark_of_others_is_kept(lab, family):
    """The lower half of the mark is the operator's."""
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        port = s.getsockname()[1]
        mark = int(entry(lab, "tcp", f"sport={port}").split("mark=")[1].split()[0])
        lab.firewall.run("conntrack", "-U", "-f", f"ipv{family}", "-p", "tcp", "--sport", port,
                         "--mark", str(mark | 0x1234))
        assert tcp_talk(s)
        lab.load(DENY + ECHO)
        assert tcp_talk(s)
        mark = int(entry(lab, "tcp", f"sport={port}").split("mark=")[1].split()[0])
        assert mark & 0xffff == 0x1234, hex(mark)


def endpoints(line):
    """(proto, src, dst, sport, dport) of the original direction in conntrack -L."""
    words = line.split()
    first = dict(reversed([w.split("=", 1) for w in words if "=" in w]))
    return words[0], first["src"], first["dst"], int(first["sport"]), int(first["dport"])


def mirrored(flow):
    """The same of a flow that fwctl shows."""
    orig = flow["original"]
    return (flow["protocol"], orig["source"], orig["destination"], orig.get("source_port"),
            orig.get("destination_port"))


def test_mirror_equals_conntrack(lab):
    """`fwctl show flows` and `conntrack -L` list the same flows."""
    lab.load(DENY + ECHO + "accept in on wan proto udp to self port 7 label self\n"
             "accept out proto udp label mine\n")
    sockets = []
    with TcpEcho(lab.server, SERVER[4], 7), TcpEcho(lab.server, SERVER[6], 7), \
            UdpEcho(lab.firewall, WAN[4], 7):
        for i in range(20):
            for family in (4, 6):
                sockets.append(tcp_connect(lab.client, SERVER[family], 7))
                assert tcp_talk(sockets[-1])
            # Ports that the kernel picks may come twice.
            assert udp_try(lab.client, WAN[4], 7, source=("", 20000 + i)) == "ok"
        shown = {mirrored(f) for f in lab.flows() if f["table"] == "conntrack"}
        there = {endpoints(line) for line in lab.conntrack()}
        assert shown == there
        assert len(shown) == 60
        for s in sockets:
            s.close()


@both
def test_flows_name_their_rule(lab, family):
    """Each flow bears protocol, state, age, time left, interface and label."""
    lab.load(DENY + ECHO + "accept forward wan -> lan proto icmp type echo-request label pings\n")
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        assert ping(lab.client, SERVER[family])
        flows = {f["protocol"]: f for f in lab.flows()}
        tcp = flows["tcp"]
        assert tcp["rule"] == "echo" and tcp["state"] == "ESTABLISHED", tcp
        assert tcp["interface"] in ("fw-wan", "fw-lan"), tcp
        assert 0 <= tcp["age"] < 60 and tcp["left"] > 86400, tcp
        icmp = flows["icmp" if family == 4 else "icmpv6"]
        assert icmp["rule"] == "pings", icmp
        text = lab.fwctl("show", "flows").out
        assert "echo" in text and "pings" in text and "ESTABLISHED" in text, text


def test_deleted_entry_goes(lab):
    """conntrack -D of an entry is believed, by the data path and by the mirror."""
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[4], 7), tcp_connect(lab.client, SERVER[4], 7) as s:
        assert tcp_talk(s)
        lab.firewall.run("conntrack", "-D", "-p", "tcp", "--dport", "7")
        assert not [f for f in lab.flows() if f["protocol"] == "tcp"]
        before = lab.counters()
        s.settimeout(patience(0.3))
        assert not tcp_talk(s)
        cut(s)
        lab.gain(before, lambda c: c.get("tcp-no-syn", lab.hook, "fw-wan") >= 1)
