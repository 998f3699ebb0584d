# SPDX-License-Identifier: GPL-2.0-only
"""Reloading: one whole rule set judges each packet, state survives, policy wins."""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest

from lab.lab import SERVER, WAN, Lab, plain_build
from lab.netns import SLOWNESS, patience, wait_for
from lab.packets import stream
from lab.traffic import (Flood, TcpEcho, UdpEcho, cut, ping, tcp_connect, tcp_talk, tcp_try,
                         udp_try)

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto { tcp, udp } to port 7 label echo\n"

# Two files that agree about every packet of the flood, each for reasons of its own,
# and disagree about everything else. Port 1000 is accepted and port 2000 denied by
# either; but A decides in its stateless list and B in its stateful one, the zones
# have each other's bits, and the defaults are opposite. Rows, sets, zones or defaults
# of one with those of the other would let 2000 through or stop 1000.
FILE_A = """\
interface wan = fw-wan {{ mode {mode} }}
interface lan = fw-lan {{ mode {mode} }}
set friends {{ 192.0.2.0/24, 2001:db8:1::/64 }}
default in accept
default out accept
drop stateless in on wan proto udp to port 2000 label a-deny
accept stateless in on wan proto udp from @friends to port 1000 label a-allow
drop in on wan proto udp to port 1000 label a-never
"""
FILE_B = """\
interface lan = fw-lan {{ mode {mode} }}
interface wan = fw-wan {{ mode {mode} }}
set strangers {{ 198.18.0.0/15, 203.0.113.0/24, 2001:db8:bad::/48 }}
set friends {{ 192.0.2.0/25, 2001:db8:1::/65 }}
default in drop
default out accept
drop stateless in on wan from @strangers label b-never
accept in on wan proto udp from @friends to port 1000 label b-allow
drop in on wan proto udp to port 2000 label b-deny
"""
LABELS = ("a-deny", "a-allow", "a-never", "b-deny", "b-allow", "b-never")


def with_labels(text):
    """Add a rule that never matches for each label of the other file: counters go on."""
    return text + "".join(f"drop in on lan proto udp from 203.0.113.1 to port 9 label {label}\n"
                          for label in LABELS if f"label {label}\n" not in text)


class Sink:
    """Counts the datagrams that reach one port of the firewall."""

    def __init__(self, ns, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._s = ns.socket(family, socket.SOCK_DGRAM)
        self._s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        self._s.bind((address, port))
        self._s.settimeout(patience(0.2))
        self.count = 0
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop:
            try:
                while True:
                    self._s.recv(64)
                    self.count += 1
            except TimeoutError:
                pass

    def close(self):
        """Count what is still queued, then stop."""
        time.sleep(patience(0.3))
        self._stop = True
        self._thread.join(patience(5))
        self._s.close()


def reload_under_flood(lab, family, times, pps=8000, padding=""):
    """Reload `times` times; every packet of the flood must fare as both files say. From
    the first reload on the files end with `padding`."""
    files = []
    for end in ("", padding):
        files = [lab.write(f"{name}.conf", with_labels(text).format(mode=lab.mode) + end)
                 for name, text in (("a", FILE_A), ("b", FILE_B))]
        if not end:
            for path in files:
                lab.fwctl("load", path)
    frames = [f for pair in zip(stream(2000, family, 1000, WAN[family]),
                                stream(2000, family, 2000, WAN[family])) for f in pair]
    allowed, denied = (Sink(lab.firewall, WAN[family], port) for port in (1000, 2000))
    before = lab.counters()
    rules = {label: lab.rule(label)["packets"] for label in LABELS}
    with Flood(lab.client, "eth0", frames, pps) as flood:
        for i in range(times):
            lab.fwctl("load", files[i % 2])
    sent = flood.sent
    assert sent > times
    allowed.close()
    denied.close()
    gained = lab.counters() - before
    judged = {label: lab.rule(label)["packets"] - rules[label] for label in LABELS}
    assert denied.count == 0, (judged, gained)
    assert allowed.count == sent - sent // 2, (judged, gained)
    assert gained.drops() == {"rule": sent // 2}, (judged, gained)
    assert judged["a-never"] == judged["b-never"] == 0, judged
    assert judged["a-deny"] + judged["b-deny"] == sent // 2, judged
    assert judged["a-deny"] and judged["b-deny"] and judged["a-allow"], judged
    seen = sum(gained.get(reason, lab.hook, "fw-wan") for reason in (
        "stateless", "new", "undecided", "established", "rule"))
    # Hosts ask now and then whether their neighbours are still there; A accepts that.
    assert sent <= seen <= sent + 4, (seen, sent, gained)


@both
def test_hundred_reloads_under_flood(lab, family):
    """Each packet is judged by one whole file; slow machines reload less often."""
    reload_under_flood(lab, family, round(100 / SLOWNESS))


def programs(lab):
    """Numbers of the programs on the WAN interface, XDP first."""
    link, = json.loads(lab.firewall.run("ip", "-j", "-d", "link", "show", "fw-wan").stdout)
    shown = json.loads(lab.firewall.run("bpftool", "-j", "net", "show", "dev", "fw-wan").stdout)
    tc = [entry.get("prog_id", entry.get("id")) for entry in shown[0]["tc"]]
    return [link.get("xdp", {}).get("prog", {}).get("id"), *sorted(tc)]


@both
def test_outgrown_under_flood(own_lab, family):
    """Rules that need a larger image get other programs, on every hook without a gap; the
    next load and the next daemon go on with those."""
    lab = own_lab
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        small = programs(lab)
        reload_under_flood(lab, family, 4, padding="# much to say\n" * (2 << 16))
        large = programs(lab)
        assert len(large) == len(small) and not set(large) & set(small) - {None}, (small, large)
        lab.load(DENY + ECHO)
        s.settimeout(patience(5))
        assert tcp_talk(s)
        assert programs(lab) == large
        os.kill(lab.daemon_pid(), signal.SIGKILL)
        wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
        lab.load(DENY + ECHO)
        assert tcp_talk(s)
        assert programs(lab) == large


def rules_of_short_addresses(n):
    """What takes more room than text of that length mostly does."""
    addresses = "".join(f"{i % 65535 + 1:x}:{i // 65535 + 1:x}::\n" for i in range(n))
    return f"set short {{\n{addresses}}}\n{DENY}drop forward from @short\n"


@both
def test_larger_than_expected(own_lab, family):
    """Programs are loaded for images as large as the text lets expect. If they turn out
    to be larger, others take their place, be it over no rules or over small ones."""
    lab, text = own_lab, rules_of_short_addresses(150000) + ECHO
    checked = lab.fwctl("check", "--json", lab.rules(text)).json
    assert len(text) >= 1 << 20
    assert checked["image_bytes"] > 2 << 20 > 1.5 * len(text)
    with TcpEcho(lab.server, SERVER[family], 7):
        for before in (None, DENY):
            lab.unload()
            if before:
                lab.load(before)
            lab.load(text)
            with tcp_connect(lab.client, SERVER[family], 7) as s:
                assert tcp_talk(s)


@pytest.mark.slow
@pytest.mark.modes("xdp", *(["tc"] if os.environ.get("FWCTL_EVERY") else []))
def test_thousand_reloads_under_flood(mode):
    """The same a thousand times; the daemon neither grows nor leaks descriptors.

    Slow machines, which are silent meanwhile, do it less often.
    """
    slow = round(SLOWNESS ** 1.5)
    with Lab(plain_build()) as lab:
        lab.mode = mode
        reload_under_flood(lab, 4, 200 // slow)
        warm = lab.daemon_memory(), lab.daemon_fds()
        reload_under_flood(lab, 4, 800 // slow)
        memory, fds = lab.daemon_memory(), lab.daemon_fds()
        assert fds <= warm[1] + 2, f"from {warm[1]} to {fds} descriptors"
        assert memory - warm[0] < 1024, f"grew from {warm[0]} to {memory} KiB"


@both
def test_accepted_flow_survives(lab, family):
    """A flow that the new rules accept goes on, and keeps its label's counters."""
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        flows, packets = (lab.rule("echo")[k] for k in ("flows", "packets"))
        before = lab.counters()
        for extra in ("", "accept in proto icmp\n", ""):
            lab.load(DENY + extra + ECHO)
            assert tcp_talk(s)
        assert not (lab.counters() - before).drops()
        assert lab.rule("echo")["flows"] >= flows
        assert lab.rule("echo")["packets"] >= packets


@both
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_denied_flow_is_cut(lab, family, proto):
    """A flow that the new rules deny is cut, and the reason says so."""
    lab.load(DENY + ECHO)
    echo = TcpEcho if proto == "tcp" else UdpEcho
    with echo(lab.server, SERVER[family], 7):
        if proto == "tcp":
            s = tcp_connect(lab.client, SERVER[family], 7)
        else:
            s = lab.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                  socket.SOCK_DGRAM)
            s.connect((SERVER[family], 7))
        with s:
            assert tcp_talk(s)
            lab.load(DENY + "accept forward wan -> lan proto tcp to port 8 label other\n")
            before = lab.counters()
            s.settimeout(patience(0.3))
            assert not tcp_talk(s)
            if proto == "tcp":
                cut(s)
            gained = lab.gain(before, lambda c: c.get("reload") >= 1)
            # XDP leaves running flows of older rules to TC.
            assert gained.get("reload", "ingress", "fw-wan") >= 1, gained


@both
def test_denied_ping_is_cut(lab, family):
    """A running ping, too."""
    rule = "accept forward wan -> lan proto icmp type echo-request\n"
    lab.load(DENY + rule)
    process = lab.client.popen("ping", "-n", "-i", "0.05", "-c", "1000", SERVER[family])
    try:
        process.stdout.readline()
        process.stdout.readline()
        before = lab.counters()
        lab.load(DENY)
        lab.gain(before, lambda c: c.get("reload") + c.get("default") >= 3)
        gained = lab.counters() - before
        assert gained.get("reload", "ingress") >= 1, gained
    finally:
        process.kill()
        process.communicate()


KEEP = "option on-reload keep\n"
KILL = "option on-reload kill\n"
# Somebody else's: the kernel's conntrack hooks run, and it makes the entries.
TRACKED = """\
table inet lab_filter {
	chain in { type filter hook input priority 0; ct state invalid counter; }
	chain out { type filter hook output priority 0; ct state invalid counter; }
	chain forward { type filter hook forward priority 0; ct state invalid counter; }
}
"""
LOCAL = ("accept in on wan proto { tcp, udp } to self port 9 label mine\n"
         "accept in on wan proto icmp type echo-request label pings\n"
         "accept out proto tcp label theirs\n")


SET = "set strangers { 203.0.113.9 }\n"
STRANGERS = "drop in from @strangers\n"


def replace_set(lab):
    """Give the set of the running rules other content."""
    lab.fwctl("set", "replace", "strangers", "--file", lab.write("strangers", "203.0.113.10\n"))


@pytest.fixture(params=["ours", "kernel's"])
def table(lab, request):
    """Who makes the entries."""
    lab.fwctl("flows", "kill", "all", check=False)
    if request.param == "kernel's":
        lab.firewall.run("nft", "-f", lab.write("rules.nft", TRACKED))
    yield request.param
    lab.firewall.run("nft", "flush", "ruleset")


def open_flows(lab, family, stack):
    """Running conversations: (socket, label of its rule) through and to the firewall."""
    for s, address, port, label in ((socket.SOCK_STREAM, SERVER, 7, "echo"),
                                    (socket.SOCK_DGRAM, SERVER, 7, "echo"),
                                    (socket.SOCK_STREAM, WAN, 9, "mine"),
                                    (socket.SOCK_DGRAM, WAN, 9, "mine")):
        ns = lab.server if address is SERVER else lab.firewall
        server = TcpEcho if s == socket.SOCK_STREAM else UdpEcho
        stack.enter_context(server(ns, address[family], port))
        c = lab.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6, s)
        stack.callback(c.close)
        c.settimeout(patience(2))
        c.connect((address[family], port))
        assert tcp_talk(c)
        yield c, label


@both
def test_keep(lab, family, table):
    """option on-reload keep: what was accepted goes on, under the rule that let it in; new
    flows are judged by the new rules, also with another set; the next load that judges
    again cuts it."""
    del table
    lab.load(DENY + ECHO + LOCAL)
    with contextlib.ExitStack() as stack:
        flows = list(open_flows(lab, family, stack))
        assert ping(lab.client, WAN[family])
        before = lab.counters()
        lab.load(KEEP + SET + DENY + STRANGERS)
        for again in (lambda: replace_set(lab), lambda: lab.load(KEEP + DENY), lambda: None):
            for s, _ in flows:
                assert tcp_talk(s)
            again()
        assert not (lab.counters() - before).drops()
        assert udp_try(lab.client, WAN[family], 9, timeout=0.3) == "timeout"
        assert tcp_try(lab.client, SERVER[family], 7, timeout=0.3) == "timeout"
        labels = sorted(f["rule"] for f in lab.flows() if f["protocol"] in ("tcp", "udp"))
        assert labels == ["echo", "echo", "mine", "mine"], lab.flows()
        lab.load(DENY)
        for s, _ in flows:
            s.settimeout(patience(0.3))
            assert not tcp_talk(s)
            if s.type == socket.SOCK_STREAM:
                cut(s)
        lab.gain(before, lambda c: c.get("reload") >= 4)


@both
def test_kill(lab, family, table):
    """option on-reload kill: what was accepted ends, though the rules are the same; new
    flows are fine, and are not ended by a set that is replaced or another load."""
    del table
    rules = SET + DENY + STRANGERS + ECHO + LOCAL
    lab.load(rules)
    with contextlib.ExitStack() as stack:
        flows = list(open_flows(lab, family, stack))
        before = lab.counters()
        lab.load(KILL + rules)
        assert not lab.flows()
        for s, label in flows:
            s.settimeout(patience(0.3))
            assert not tcp_talk(s), label
            if s.type == socket.SOCK_STREAM:  # for good, whoever speaks next
                assert not tcp_talk(s), label
                cut(s)
        gained = lab.gain(before, lambda c: c.get("reload") >= 4)
        assert gained.get("reload") == 4, gained
    with contextlib.ExitStack() as stack:
        flows = list(open_flows(lab, family, stack))
        for change in (lambda: replace_set(lab), lambda: lab.load(rules)):
            change()
            for s, _ in flows:
                assert tcp_talk(s)
        assert sorted(f["rule"] for f in lab.flows() if f["protocol"] != "icmp") == [
            "echo", "echo", "mine", "mine"], lab.flows()


@both
def test_killed_stays_dead(lab, family, table):
    """The killed connection of a server here: the server's own packets do not bring it
    back, although rules accept what goes out and the kernel would pick it up."""
    del table
    lab.load(DENY + LOCAL)
    for how in ("load", "flows kill"):
        with TcpEcho(lab.firewall, WAN[family], 9) as server, \
                tcp_connect(lab.client, WAN[family], 9) as s:
            assert tcp_talk(s)
            if how == "load":
                lab.load(KILL + DENY + LOCAL)
            else:
                port = s.getsockname()[1]
                assert lab.fwctl("flows", "kill", "port", port).out == "1 flow killed\n"
            s.settimeout(patience(1))
            for _ in range(2):
                server.say(b"anybody?")
            with pytest.raises(TimeoutError):
                s.recv(100)
            assert not tcp_talk(s)
            cut(s)
            server.close()
        # the same pair of ports is free for a connection of its own
        with TcpEcho(lab.firewall, WAN[family], 9):
            assert tcp_try(lab.client, WAN[family], 9) == "ok"


def test_counters_by_label(lab):
    """Counters follow the label, wherever in the file the rule stands."""
    lab.load("default in accept\ndrop in on wan proto udp to port 7 label moving\n")
    assert udp_try(lab.client, WAN[4], 7, timeout=0.1) == "timeout"
    one = lab.rule("moving")["packets"]
    assert one >= 1
    lab.load("default in accept\ndrop in on wan proto udp to port 9 label first\n"
             "accept in proto icmp label second\n"
             "drop in on wan proto udp to port 7 label moving\n")
    assert lab.rule("moving")["packets"] == one
    assert lab.rule("first")["packets"] == 0
    assert udp_try(lab.client, WAN[4], 7, timeout=0.1) == "timeout"
    assert lab.rule("moving")["packets"] == one + 1


@pytest.mark.modes("xdp")
def test_change_of_mode(lab):
    """From xdp to tc, generic and back while a connection talks."""
    lab.load(DENY + ECHO, mode="xdp")
    with TcpEcho(lab.server, SERVER[4], 7), tcp_connect(lab.client, SERVER[4], 7) as s:
        for mode in ("tc", "xdp-generic", "xdp", "xdp-generic", "tc", "xdp"):
            lab.load(DENY + ECHO, mode=mode)
            assert {i["mode"] for i in lab.status()["interfaces"]} == {mode}
            assert tcp_talk(s)
            assert tcp_try(lab.client, SERVER[4], 8, timeout=0.1) == "timeout"


@pytest.mark.modes("xdp")
def test_dry_run(lab):
    """`load --dry-run` changes nothing."""
    lab.load(DENY + ECHO)
    generation = lab.generation()
    lab.fwctl("load", "--dry-run", lab.rules(DENY))
    assert lab.generation() == generation
    with UdpEcho(lab.server, SERVER[4], 7):
        assert udp_try(lab.client, SERVER[4], 7) == "ok"
