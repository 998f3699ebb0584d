# SPDX-License-Identifier: GPL-2.0-only
"""fwctl monitor: what is dropped and logged, and flows, as it happens."""

import itertools
import re
import signal
import subprocess

import pytest

from lab.lab import CLIENT, LAN, SERVER, WAN, plain_build
from lab.monitor import Monitor
from lab.netns import patience, wait_for
from lab.packets import BAD, TCP, UDP, frame, from_server, ip, stream
from lab.traffic import TcpEcho, UdpEcho, http, tcp_connect, tcp_talk, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"  # lines 3 to 5
RULES = DENY + """\
accept forward wan -> lan proto tcp to port 7 label echo
drop in on wan proto udp to port 9 label nine
reject in on wan proto udp to port 10 label ten
drop in on wan proto udp to port 11 log "eleven:" label eleven
accept in on wan proto udp to port 12 log label twelve
drop out on wan proto udp to port 13 label out
drop forward lan -> wan proto udp to port 14 label back
"""
UDP_ECHO = "accept forward wan -> lan proto udp to port 7 label echo-udp\n"


def to_us(family, port, **fields):
    """A datagram for the firewall."""
    return frame(ip(family, dst=WAN[family], **fields) / UDP(sport=1000 + port, dport=port))


def records(lab, kind="drop"):
    """How many records of a kind the daemon has got from the programs."""
    text = http(lab.firewall, "/metrics")[2]
    return int(re.search(rf'^fwctl_mirror_records_total{{type="{kind}"}} (\d+)$', text, re.M)[1])


def resyncs(lab):
    """How often the whole connection table has been read."""
    return int(re.search(r"^fwctl_mirror_resyncs_total (\d+)$",
                         http(lab.firewall, "/metrics")[2], re.M)[1])


@both
def test_drops_by_rules(lab, family):
    """Of each the interface, hook, direction, verdict, reason, rule and its place."""
    lab.load(RULES)
    with Monitor(lab, "drops", "family", f"ipv{family}") as monitor:
        lab.client.send_raw("eth0", [to_us(family, port) for port in (9, 10, 11, 12, 99)])
        assert udp_try(lab.firewall, CLIENT[family], 13, timeout=0.1) != "ok"
        lab.server.send_raw("eth0", [from_server(ip(family, SERVER[family], CLIENT[family]) /
                                                 UDP(sport=1, dport=14))])
        for port, iface, hook, way, verdict, reason, rule, line in (
                (9, "fw-wan", lab.hook, "in", "drop", "rule", "nine", 7),
                (10, "fw-wan", "ingress", "in", "reject", "reject", "ten", 8),
                (11, "fw-wan", lab.hook, "in", "drop", "rule", "eleven", 9),
                (99, "fw-wan", lab.hook, "in", "drop", "default", "default-in", None),
                (13, "fw-wan", "egress", "out", "drop", "rule", "out", 11),
                (14, "fw-wan", "egress", "forward", "drop", "rule", "back", 12)):
            event = monitor.wait(rule=rule)[0]
            assert event["packet"]["destination_port"] == port
            assert (event["interface"], event["hook"], event["direction"], event["verdict"],
                    event["reason"], event["line"]) == (iface, hook, way, verdict, reason, line)
            assert event["file"] == (str(lab.dir / "rules.conf") if line else None), event
            assert (event["event"], event["protocol"]) == ("drop", "udp"), event
            assert event["logged"] == (rule == "eleven"), event
            assert event["prefix"] == ("eleven:" if rule == "eleven" else None), event
        assert len(monitor.of(event="drop")) == 6, monitor.events


@both
def test_drops_of_any_reason(lab, family):
    """What no rule has decided about is seen as well, and no more often than it is counted."""
    lab.load_once(RULES)
    bad = [b for b in BAD if family in b.families]
    with Monitor(lab, "drops") as monitor:
        before = lab.counters()
        lab.client.send_raw("eth0", [frame(b.build(family)) for b in bad])
        gained = lab.gain(before, lambda c: sum(c.drops().values()) >= len(bad))
        monitor.wait(len(bad), event="drop")
        for reason, count in gained.drops().items():
            shown = monitor.of(reason=reason, hook=lab.hook, interface="fw-wan", rule=None)
            assert len(shown) == count, (reason, monitor.events)
        for event in monitor.of(family=f"ipv{family}"):
            assert event["packet"]["destination"], event
        xmas = monitor.of(reason="tcp-xmas")[0]
        assert (xmas["tcp_flags"], xmas["direction"]) == ("FPU", None)


@both
def test_flow_of_a_dropped_packet(lab, family):
    """Of a packet of a known flow both tuples of that are shown."""
    lab.load(RULES)
    with TcpEcho(lab.server, SERVER[family], 7), \
            tcp_connect(lab.client, SERVER[family], 7) as s, Monitor(lab, "drops") as monitor:
        assert tcp_talk(s)
        port = s.getsockname()[1]
        lab.client.send_raw("eth0", [frame(ip(family) / TCP(sport=port, dport=7, flags="FPU"))])
        event = monitor.wait(reason="tcp-xmas")[0]
        assert event["original"] == event["packet"] and event["reply"]["source_port"] == 7, event


@pytest.mark.modes("xdp")
@both
def test_stateless_set(lab, family):
    """Known who sent it, also where XDP drops by the address alone."""
    bad = {4: "203.0.113.7", 6: "2001:db8:77::7"}[family]
    lab.load(DENY + f"set bad {{ {bad} }}\ndrop stateless in from @bad label bad\n")
    with Monitor(lab, "rule", "bad", "from", bad) as monitor:
        lab.client.send_raw("eth0", [to_us(family, 5, src=bad)])
        event = monitor.wait(rule="bad")[0]
        assert (event["packet"]["source"], event["line"]) == (bad, 7), event


def reasons(monitors):
    """What each has shown, by its words."""
    return {words: sorted(e["reason"] for e in monitor.events if "reason" in e)
            for words, monitor in monitors.items()}


@both
def test_filters(lab, family):
    """Each monitor sees what it has asked for, and no more."""
    lab.load(RULES)
    many = {words: Monitor(lab, *words.split()) for words in (
        "drops port 9", f"drops from {CLIENT[family]} proto udp", "drops interface fw-lan",
        "drops zone wan rule nine", "reason default reason tcp-null", "flows", "all")}
    try:
        lab.client.send_raw("eth0", [
            to_us(family, 9), to_us(family, 12), to_us(family, 99),
            frame(ip(family) / TCP(sport=1, dport=1, flags=""))])
        many["all"].wait(3, event="drop")
        many["all"].wait(event="accept", rule="twelve", reason="new")
        expected = {
            "drops port 9": ["rule"], f"drops from {CLIENT[family]} proto udp": ["default", "rule"],
            "drops interface fw-lan": [], "drops zone wan rule nine": ["rule"],
            "reason default reason tcp-null": ["default", "tcp-null"], "flows": [],
            "all": ["default", "new", "rule", "tcp-null"]}
        # Each is a process of its own, and reads when it gets to it.
        wait_for(lambda: reasons(many) == expected, 5, "what each has asked for, and no more")
    finally:
        for monitor in many.values():
            monitor.close()


@both
def test_flows(own_lab, family):
    """Flows that come and go, with rule and state."""
    lab = own_lab
    lab.load(RULES)
    with Monitor(lab, "flows") as monitor, TcpEcho(lab.server, SERVER[family], 7):
        with tcp_connect(lab.client, SERVER[family], 7) as s:
            assert tcp_talk(s)
            port = s.getsockname()[1]
            opened = monitor.wait(event="flow-opened", rule="echo")[0]
        assert opened["original"]["source_port"] == port
        assert opened["reply"]["destination_port"] == port
        assert (opened["line"], opened["interface"], opened["state"]) == (6, "fw-wan", "SYN_SENT")
        wait_for(lambda: [f["state"] for f in lab.flows()] == ["TIME_WAIT"], 5)
        lab.firewall.run("conntrack", "-F", check=False)
        closed = monitor.wait(deadline=10, event="flow-closed")
        assert len(closed) == 1 and closed[0]["original"] == opened["original"], monitor.events
        assert (closed[0]["rule"], closed[0]["state"]) == ("echo", "TIME_WAIT")
        lab.client.send_raw("eth0", [to_us(family, 12)])
        assert monitor.wait(rule="twelve")[0]["protocol"] == "udp"
        assert lab.fwctl("flows", "kill", "rule", "twelve", "--json").json["killed"] == 1
        assert monitor.wait(2, 10, event="flow-closed")[1]["rule"] == "twelve"


def steps(monitor, **what):
    """The states that a flow has gone through, as its events tell them."""
    changed = [e for e in monitor.of(event="flow-changed") if all(e[k] == v
                                                                 for k, v in what.items())]
    for first, then in itertools.pairwise(changed):
        assert first["state"] == then["previous_state"], changed
    return [(e["previous_state"], e["state"]) for e in changed]


@both
def test_flows_that_change(own_lab, family):
    """From the first packet to the last state, as BPF tells them; answered, and assured."""
    lab = own_lab
    lab.load(RULES + UDP_ECHO)
    with Monitor(lab, "flows") as monitor, TcpEcho(lab.server, SERVER[family], 7), \
            UdpEcho(lab.server, SERVER[family], 7):
        with tcp_connect(lab.client, SERVER[family], 7) as s:
            assert tcp_talk(s)
            port = s.getsockname()[1]
            assured = monitor.wait(event="flow-changed", state="ESTABLISHED", assured=True)[0]
            assert assured["original"]["source_port"] == port and assured["rule"] == "echo"
            assert assured["replied"], assured
            told, dumps = len(monitor.of(event="flow-changed")), resyncs(lab)
            wait_for(lambda: resyncs(lab) > dumps, 20, "another dump")
            assert len(monitor.of(event="flow-changed")) == told, monitor.events
        monitor.wait(event="flow-changed", state="TIME_WAIT")
        told = steps(monitor, protocol="tcp")
        assert told[0][0] == "SYN_SENT" and ("SYN_RECV", "ESTABLISHED") in told, told
        assert told[-1][1] == "TIME_WAIT" and "FIN_WAIT" in {then for _, then in told}, told
        assert udp_try(lab.client, SERVER[family], 7) == "ok"
        monitor.wait(event="flow-changed", protocol="udp", previous_state="UNREPLIED",
                     state="REPLIED")


@both
def test_flows_of_the_kernel_change(own_lab, family):
    """The same where the kernel's hooks make the entries and tell by netlink."""
    lab = own_lab
    lab.load("option conntrack-hooks on\n" + RULES)
    with Monitor(lab, "flows") as monitor, TcpEcho(lab.server, SERVER[family], 7):
        with tcp_connect(lab.client, SERVER[family], 7) as s:
            assert tcp_talk(s)
            monitor.wait(event="flow-changed", state="ESTABLISHED")
        monitor.wait(event="flow-changed", state="TIME_WAIT")
        told = steps(monitor, protocol="tcp")
        assert ("SYN_RECV", "ESTABLISHED") in told and told[-1][1] == "TIME_WAIT", told


@both
def test_flood(own_lab, family):
    """Shown, suppressed and lost add up to the flood; nobody's memory does."""
    lab, count = own_lab, 30000
    lab.load(RULES)
    with Monitor(lab, "drops") as monitor, Monitor(lab, "drops") as stopped:
        lab.client.send_raw("eth0", stream(2000, family, 9, WAN[family]))
        monitor.wait(deadline=10, event="suppressed")
        stopped.signal(signal.SIGSTOP)
        memory = lab.daemon_memory()
        lab.client.send_raw("eth0", stream(count - 2000, family, 9, WAN[family]))
        wait_for(lambda: monitor.total() == count, 20, "the whole flood")
        assert monitor.total(event="suppressed", rule=None) > count / 2
        assert {e["rule"] for e in monitor.of(event="drop")} == {"nine"}
        if lab.build == plain_build():  # a sanitizer keeps what is freed
            assert lab.daemon_memory() < memory + 4096
        stopped.signal(signal.SIGCONT)
        wait_for(lambda: stopped.total() == count, 20, "what was missed")


@pytest.mark.modes("tc")
def test_stopped_reader(own_lab):
    """Who does not read loses events, not his connection; he is told how many."""
    lab = own_lab
    lab.load(RULES)
    with Monitor(lab, "drops") as monitor, Monitor(lab, "drops") as stopped:
        stopped.signal(signal.SIGSTOP)
        sent = 0
        for _ in range(8):
            lab.client.send_raw("eth0", stream(900, 4, 9, WAN[4]))
            sent += 900
            wait_for(lambda n=sent: monitor.total() == n, 10)
        assert not monitor.of(event="lost")
        stopped.signal(signal.SIGCONT)
        wait_for(lambda: stopped.total() == sent, 10)
        assert stopped.total(event="lost") > 0
        lab.client.send_raw("eth0", [to_us(4, 99)])
        stopped.wait(rule="default-in")


@both
def test_log_is_limited_by_rule(own_lab, family):
    """A flood that one rule logs takes nothing from another; all of it is accounted for."""
    lab, count = own_lab, 3000
    lab.load(RULES)
    with Monitor(lab, "rule", "eleven") as monitor, Monitor(lab, "all") as other:
        lab.client.send_raw("eth0", stream(count, family, 11, WAN[family]))
        lab.client.send_raw("eth0", [to_us(family, 12)])
        other.wait(event="accept", rule="twelve")
        wait_for(lambda: monitor.total() == count, 10, "the whole flood")
        suppressed = monitor.of(event="suppressed")
        assert {(e["rule"], e["line"]) for e in suppressed} == {("eleven", 9)}, suppressed
        assert len(monitor.of(event="drop")) < count / 2
    wait_for(lambda: "more packets are not shown" in lab.daemon_log(), 10)


def test_nobody_watches(own_lab):
    """Programs send records while somebody watches, also if fwctld dies meanwhile."""
    lab = own_lab
    lab.load(RULES)

    def drop(n):
        before = lab.counters()
        lab.client.send_raw("eth0", [to_us(4, 9)] * n)
        lab.gain(before, lambda c: c.get("rule") == n)

    drop(3)
    assert records(lab) == 0
    with Monitor(lab, "flows"):
        drop(3)
        assert records(lab) == 0
    with Monitor(lab) as monitor:
        drop(3)
        monitor.wait(3, event="drop")
        assert records(lab) == 3
    drop(3)
    assert records(lab) == 3
    with Monitor(lab) as monitor:
        subprocess.run(["kill", "-KILL", str(lab.daemon_pid())], check=True)
        assert monitor.end() == (3, ["fwctl: fwctld has ended\n"])
    drop(3)
    assert records(lab) == 0  # of the daemon that runs now


def test_how_it_ends(own_lab):
    """By a signal, with who reads its output, or with the rules; each is said."""
    lab = own_lab
    lab.load(RULES)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with Monitor(lab) as monitor:
            lab.client.send_raw("eth0", [to_us(4, 9)])
            monitor.wait(event="drop")
            monitor.signal(number)
            assert monitor.end() == (0, [])
    fds = lab.daemon_fds()
    reader = subprocess.run(
        ["ip", "netns", "exec", lab.firewall.name, "bash", "-c",
         'set -o pipefail; "$0" monitor | true', lab.binary("fwctl")],
        env=lab.environment(), capture_output=True, text=True, timeout=patience(10), check=False)
    assert (reader.returncode, reader.stdout + reader.stderr) == (0, "")
    wait_for(lambda: lab.daemon_fds() == fds, 3)
    with Monitor(lab) as monitor:
        lab.unload()
        assert monitor.end() == (3, ["fwctl: the rules have been unloaded\n"])
    done = lab.fwctl("monitor", check=False)
    assert (done.exit, done.err) == (3, "fwctl: nothing is loaded\n")


@pytest.mark.modes("tc")
def test_reload(own_lab):
    """It goes on with new rules, and shows where these stand."""
    lab = own_lab
    lab.load(RULES)
    with Monitor(lab, "drops", "rule", "nine") as monitor:
        lab.load(RULES.replace("accept forward", "\n\naccept forward"))
        lab.client.send_raw("eth0", [to_us(4, 9)])
        assert monitor.wait(event="drop")[0]["line"] == 9


@pytest.mark.modes("tc")
def test_text(lab):
    """What people read."""
    lab.load(RULES)
    with Monitor(lab):
        process = lab.firewall.popen(lab.binary("fwctl"), "monitor", env=lab.environment())
        try:
            def line(what):
                lab.client.send_raw("eth0", [to_us(4, 9), frame(
                    ip(6, dst=LAN[6]) / TCP(sport=1, dport=2, flags=""))])
                while what not in (text := process.stdout.readline()):
                    pass
                return text
            wait_for(lambda: lab.status()["daemon"]["monitors"] == 2, 5)
            assert re.fullmatch(
                r"\d\d:\d\d:\d\d\.\d{6} drop in on fw-wan \(ingress\): udp 192.0.2.2:1009 -> "
                rf"192.0.2.1:9 len 42, rule nine \({lab.dir}/rules.conf:7\), reason rule\n",
                line("rule nine"))
            assert line("tcp-null").endswith(
                "drop on fw-wan (ingress): tcp [2001:db8:1::2]:1 -> [2001:db8:2::1]:2 "
                "flags none len 74, reason tcp-null\n")
        finally:
            process.terminate()
            process.communicate(timeout=patience(5))
        assert process.returncode == 0


@pytest.mark.modes("tc")
def test_what_is_wrong(lab):
    """Wrong words are refused with what would be right; one more than many is, too."""
    lab.load(RULES)
    for words, status, text in (
            (["reason", "fun"], 2, "no reason is called 'fun'"),
            (["dorps"], 2, "'dorps' says nothing about a flow"),
            (["flows", "reason", "rule"], 2, "flows have no reason"),
            (["drops", "state", "established"], 2, "only flows have a state"),
            (["interface"], 2, "'interface' needs a value"),
            (["sort", "age"], 2, "takes no sort"),
            (["rule", "nobody"], 1, "see fwctl show rules"),
            (["zone", "dmz"], 1, "see fwctl show interfaces")):
        done = lab.fwctl("monitor", *words, check=False)
        assert done.exit == status and text in done.err, (words, done)
    many = [Monitor(lab) for _ in range(16)]
    try:
        done = lab.fwctl("monitor", check=False)
        assert done.exit == 1 and "16 monitors" in done.err, done
    finally:
        for monitor in many:
            monitor.close()
