# SPDX-License-Identifier: GPL-2.0-only
"""`option conntrack-hooks on`: the kernel tracks, by a table of ours that harms nobody."""

import contextlib
import os
import signal
import socket
import time

import pytest

from lab.lab import SERVER
from lab.netns import patience, wait_for
from lab.traffic import (
    Connection,
    TcpEcho,
    UdpEcho,
    family_of,
    tcp_connect,
    tcp_talk,
    tcp_try,
    udp_try,
)

both = pytest.mark.parametrize("family", [4, 6])
RULES = ("default in drop\ndefault out accept\ndefault forward drop\n"
         "accept forward wan -> lan proto { tcp, udp } to port 7 label through\n")
ON = "option conntrack-hooks on\n"
SECONDS = 2
SHORT = [f"net.netfilter.nf_conntrack_{name}={SECONDS}" for name in (
    "udp_timeout", "udp_timeout_stream", "tcp_timeout_established", "tcp_timeout_fin_wait",
    "tcp_timeout_time_wait")]
INVALID = """\
table inet lab_filter {
	chain forward {
		type filter hook forward priority filter;
		ct state invalid counter drop
	}
}
"""


@pytest.fixture
def hooks_lab(own_lab):
    """A lab where every table of nftables is listed at will."""
    own_lab.tables = lambda: own_lab.firewall.run("nft", "list", "ruleset").stdout
    return own_lab


def is_tracked(lab):
    """True if new entries are the kernel's: they send events."""
    events = lab.firewall.popen("timeout", str(patience(1)), "conntrack", "-E", "-e", "NEW")
    wait_for(lambda: "conntrack" in lab.firewall.run("ss", "-f", "netlink", "-p").stdout, 1)
    assert udp_try(lab.client, SERVER[4], 7) == "ok"
    return "udp" in events.communicate()[0]


@pytest.mark.modes("xdp")
def test_on_and_off(hooks_lab):
    """Held from the load that says so to the one that does not, or to the unload."""
    lab = hooks_lab
    with UdpEcho(lab.server, SERVER[4], 7):
        lab.load(RULES)
        assert "fwctl" not in lab.tables()
        assert not is_tracked(lab)
        lab.load(ON + RULES)
        before = lab.tables()
        assert "table inet fwctl" in before and "ct state invalid" in before
        assert "hook" not in before.replace("hooks", "")  # no packet passes it
        assert is_tracked(lab)
        lab.load(ON + RULES)
        assert lab.tables() == before
        lab.load(RULES)
        assert lab.tables() == ""
        wait_for(lambda: not is_tracked(lab), 20, "the entries to be ours again")
        lab.load(ON + RULES)
        lab.unload()
        assert lab.tables() == ""


@pytest.mark.modes("tc")
def test_table_outlives_the_daemon(hooks_lab):
    """A crash changes nothing; the next daemon brings back what somebody removed."""
    lab = hooks_lab
    lab.load(ON + RULES)
    before = lab.tables()
    for _ in range(2):
        pid = lab.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: lab.daemon_pid() != pid)  # noqa: B023
        lab.fwctl("status")
        assert lab.tables() == before
        lab.firewall.run("nft", "delete", "table", "inet", "fwctl")
    lab.load(RULES)
    assert lab.tables() == ""


@pytest.mark.slow
@pytest.mark.modes("tc")
def test_table_comes_back(hooks_lab):
    """Who loads a ruleset of nftables flushes all others before; the daemon sees it."""
    lab = hooks_lab
    lab.load(ON + RULES)
    before = lab.tables()
    for spec in (("flush", "ruleset"), ("flush", "chain", "inet", "fwctl", "hooks")):
        lab.firewall.run("nft", *spec)
        assert "ct state invalid" not in lab.tables()
        wait_for(lambda: lab.tables() == before, 15, "the table")
    assert lab.daemon_log().count("somebody has removed") == 2
    # One that is in the way is said once.
    lab.firewall.run("nft", "-f", "-", input="flush ruleset\ntable inet fwctl {\n}\n")
    wait_for(lambda: "has not made" in lab.daemon_log(), 15, "a message")
    lab.load(RULES)
    assert lab.tables() != ""


@pytest.mark.modes("tc")
def test_tables_of_others(hooks_lab):
    """They stay; one that has taken the name is an error with its place."""
    lab = hooks_lab
    lab.firewall.run("nft", "-f", "-", input=INVALID)
    others = lab.tables()
    lab.load(ON + RULES)
    lab.load(RULES)
    assert lab.tables() == others
    lab.firewall.run("nft", "add", "table", "inet", "fwctl")
    others = lab.tables()
    generation = lab.generation()
    refused = lab.fwctl("load", lab.rules(ON + RULES), check=False)
    assert refused.exit == 4
    assert "rules.conf:3:8: error: there is an nftables table inet fwctl" in refused.err
    assert lab.generation() == generation and lab.tables() == others
    lab.unload()
    assert lab.tables() == others


@both
def test_flows_go_on_through_both_switches(hooks_lab, family):
    """Connections opened while BPF owns them, whoever speaks first after each switch."""
    lab, address = hooks_lab, SERVER[family]
    lab.load(RULES)
    with TcpEcho(lab.server, address, 7) as server:
        talkers = [tcp_connect(lab.client, address, 7) for _ in range(2)]
        for s in talkers:
            assert tcp_talk(s)
        wait_for(lambda: sum("ESTABLISHED" in line for line in lab.conntrack()) == 2, 5,
                 "the states")
        for switch in (lambda: lab.firewall.run("nft", "-f", "-", input=INVALID),
                       lambda: lab.firewall.run("nft", "delete", "table", "inet", "lab_filter"),
                       lambda: lab.load(ON + RULES),
                       lambda: lab.load(RULES)):
            switch()
            server.say(b"first")  # a packet of the answers
            for s in talkers:
                assert s.recv(5) == b"first"
                assert tcp_talk(s, bytes(200000))
            talkers.append(tcp_connect(lab.client, address, 7))
            assert tcp_talk(talkers[-1])
            wait_for(lambda: sum("ESTABLISHED" in line for line in lab.conntrack())
                     == len(talkers), 5, "the states")  # noqa: B023
        assert tcp_try(lab.client, address, 7) == "ok"


@both
def test_flows_of_hooks_that_are_gone(hooks_lab, family):
    """What the kernel has made lives on by traffic, and ends when it ends, without it."""
    lab, address = hooks_lab, SERVER[family]
    lab.firewall.run("sysctl", "-q", "-w", *SHORT)
    lab.load(RULES)
    lab.firewall.run("nft", "-f", "-", input=INVALID)
    with contextlib.ExitStack() as stack:
        tcp = Connection(stack, lab.client, lab.server, address, 7)
        ends = Connection(stack, lab.client, lab.server, address, 7, at=(address, 7))
        far = stack.enter_context(lab.server.socket(family_of(address), socket.SOCK_DGRAM))
        far.bind((address, 7))
        far.settimeout(patience(3))
        near = stack.enter_context(lab.client.socket(family_of(address), socket.SOCK_DGRAM))
        near.connect((address, 7))
        near.settimeout(patience(3))
        near.send(b"subscribe")
        peer = far.recvfrom(16)[1]
        for text in (b"one", b"two"):  # answered: a stream
            far.sendto(text, peer)
            assert near.recv(16) == text
            near.send(b"more")
        lab.firewall.run("nft", "delete", "table", "inet", "lab_filter")
        for s in (ends.near, ends.far):
            s.shutdown(socket.SHUT_WR)
        end = time.monotonic() + 3 * SECONDS
        while time.monotonic() < end:  # only the server speaks: nobody else opens it again
            far.sendto(b"news", peer)
            assert near.recv(16) == b"news"
            assert tcp.says(opener_first=False)
            time.sleep(SECONDS / 20)
        wait_for(lambda: tcp.says(opener_first=False) and
                 sum("tcp" in line for line in lab.conntrack()) == 1, 3 * SECONDS,
                 "the end of the connection that was closed")
