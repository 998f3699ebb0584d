# SPDX-License-Identifier: GPL-2.0-only
"""fwctld may die, be asked for twice, or be sent away; what filters stays or goes whole."""

import json
import os
import re
import signal
import socket
import stat
import statistics
import subprocess

import pytest

from lab.lab import SERVER, WAN
from lab.netns import sh, wait_for
from lab.traffic import Iperf, TcpEcho, http, tcp_connect, tcp_talk, tcp_try

DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
ECHO = "accept forward wan -> lan proto tcp to port { 7, 5201 } label echo\n"
LINE = "accept in proto tcp from 10.{}.{}.0/24 to port 80 # and so on{}\n"
MANY = "".join(LINE.format(i >> 8, i & 255, 85 * ".") for i in range(9000))  # more than a megabyte


def kill_daemon(lab):
    """kill -9; returns the process id it had."""
    pid = lab.daemon_pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    return pid


@pytest.mark.needs("iperf3")
@pytest.mark.parametrize("family", [4, 6])
def test_kill_9_under_iperf(lab, family):
    """Nothing is lost; the next status works and the counters go on."""
    lab.load(DENY + ECHO)
    before = lab.counters()
    iperf = Iperf(lab.client, lab.server, SERVER[family], seconds=3)
    wait_for(lambda: (lab.counters() - before).get("established") > 1000, 5, "traffic")
    middle = lab.counters()
    old = kill_daemon(lab)
    result = iperf.result()
    rates = [i["sum"]["bits_per_second"] for i in result["intervals"]]
    # One interval may be lost to other work on these processors, two in a row are a gap.
    assert min(map(max, rates, rates[1:])) > statistics.median(rates) / 20, rates

    status = lab.status()
    assert status["rules"]["generation"] and lab.daemon_pid() not in (None, old)
    after = lab.counters()
    assert not (after - before).drops(), after - before
    assert (after - middle).get("established") > 1000
    assert all(v >= middle.values[k] for k, v in after.values.items() if k in middle.values)


def test_flows_keep_their_rule(lab):
    """A new daemon knows which rule let each flow in, and when."""
    lab.load(DENY + ECHO)
    with TcpEcho(lab.server, SERVER[4], 7), tcp_connect(lab.client, SERVER[4], 7) as s:
        assert tcp_talk(s)
        flow = next(f for f in lab.flows() if f["protocol"] == "tcp")
        packets = lab.rule("echo")["packets"]
        kill_daemon(lab)
        assert tcp_talk(s)
        assert tcp_try(lab.client, SERVER[4], 8, timeout=0.2) == "timeout"
        again = next(f for f in lab.flows() if f["protocol"] == "tcp")
        assert again["rule"] == flow["rule"] == "echo"
        assert again["original"] == flow["original"] and again["age"] >= flow["age"]
        assert lab.rule("echo")["packets"] >= packets
        assert tcp_talk(s)


def test_load_after_kill_9(lab):
    """A new daemon adopts what is pinned and replaces it in one switch."""
    lab.load(DENY + ECHO)
    programs = attached(lab)
    kill_daemon(lab)
    assert attached(lab) == programs
    lab.load(DENY + ECHO + "accept in proto icmp\n")
    assert attached(lab) == programs
    with TcpEcho(lab.server, SERVER[4], 7):
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"


def test_ip_netns_exec(own_lab):
    """Its private /sys does not take the pins away: the firewall outlives the daemon."""
    lab = own_lab
    path = lab.rules(DENY + ECHO)

    def fwctl(*argv):
        return sh("ip", "netns", "exec", lab.firewall.name, lab.binary("fwctl"), *argv,
                  env=lab.environment()).stdout

    fwctl("load", path)
    with TcpEcho(lab.server, SERVER[4], 7):
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        kill_daemon(lab)
        before = lab.counters()
        assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        assert tcp_try(lab.client, SERVER[4], 8, timeout=0.2) == "timeout"
        lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 1)
    kill_daemon(lab)
    assert json.loads(fwctl("status", "--json"))["rules"]["generation"] == 1
    fwctl("unload")


@pytest.mark.modes("tc")
def test_private_mounts_lose_bpf(own_lab):
    """Pins go where everybody sees them, also if the daemon's own mounts are no good any more."""
    lab = own_lab
    lab.load(DENY)  # whoever loads first mounts it
    lab.unload()
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    daemon = lab.firewall.popen("unshare", "--mount", "--propagation", "private",
                                lab.binary("fwctld"), "--foreground", env=lab.environment())
    try:
        wait_for((lab.run_dir / "fwctl.sock").exists, 5, "fwctld")
        sh("nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt", "umount", "--lazy", "/sys/fs/bpf")
        lab.load(DENY + ECHO + MANY)  # compiled while programs are opened
        assert lab.pin_dir.exists()
        with TcpEcho(lab.server, SERVER[4], 7):
            assert tcp_try(lab.client, SERVER[4], 7) == "ok"
        lab.fwctl("unload")
    finally:
        daemon.terminate()
        daemon.communicate()


def attached(lab):
    """(interface, hook, mode, program id) of every program in the namespace."""
    net = json.loads(lab.firewall.run("bpftool", "-j", "net", "show").stdout)[0]
    return sorted([(x["devname"], "xdp", x.get("mode"), x.get("id")) for x in net["xdp"]]
                  + [(x["devname"], x.get("kind"), None, x.get("prog_id", x.get("id")))
                     for x in net["tc"]], key=str)


@pytest.mark.modes("xdp")
def test_native_xdp(lab):
    """`mode xdp` is driver mode, visible to bpftool; pins are for root alone."""
    lab.load(DENY + ECHO)
    native = [a for a in attached(lab) if a[1] == "xdp"]
    assert {(a[0], a[2]) for a in native} == {("fw-wan", "driver"), ("fw-lan", "driver")}, native
    assert stat.S_IMODE(lab.pin_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(lab.pin_dir.parent.stat().st_mode) == 0o700
    socket = lab.run_dir / "fwctl.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600


@pytest.mark.modes("auto")
def test_auto_on_veth(lab):
    """On veth `auto` is TC alone, and the status says why."""
    lab.load(DENY + ECHO)
    assert not [a for a in attached(lab) if a[1] == "xdp"]
    for iface in lab.status()["interfaces"]:
        assert iface["mode"] == "tc" and iface["wanted"] == "auto", iface
    assert "auto" in lab.fwctl("status").out


def test_unload_leaves_nothing(own_lab):
    """No program, no pin, no process, no socket; traffic flows."""
    lab = own_lab
    lab.load(DENY + ECHO)
    assert lab.pin_dir.exists() and lab.daemon_pid()
    lab.fwctl("unload")
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    assert attached(lab) == []
    assert not lab.pin_dir.exists()
    assert not (lab.run_dir / "fwctl.sock").exists()
    with TcpEcho(lab.firewall, WAN[4], 9):
        assert tcp_try(lab.client, WAN[4], 9) == "ok"
    assert lab.fwctl("load", lab.rules(DENY)).exit == 0


@pytest.mark.modes("xdp")
def test_unload_without_daemon(own_lab):
    """Also when the daemon is dead, and when there is nothing to unload."""
    lab = own_lab
    lab.load(DENY + ECHO)
    kill_daemon(lab)
    lab.fwctl("unload")
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    assert attached(lab) == [] and not lab.pin_dir.exists()
    again = lab.fwctl("unload", check=False)
    assert again.exit == 0 or (again.exit in (1, 3) and again.err), again


@pytest.mark.modes("xdp")
def test_second_instance(lab):
    """A second fwctld says that one runs, and does no harm."""
    lab.load(DENY + ECHO)
    pid = lab.daemon_pid()
    second = lab.firewall.run(lab.binary("fwctld"), check=False, timeout=30,
                              env=lab.environment())
    assert second.returncode != 0 and second.stderr.strip(), second
    assert lab.daemon_pid() == pid
    assert lab.generation()


@pytest.mark.modes("xdp")
def test_sigterm_keeps_filtering(lab):
    """Stopping the service is not switching the firewall off."""
    lab.load(DENY + ECHO)
    programs = attached(lab)
    os.kill(lab.daemon_pid(), signal.SIGTERM)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    assert attached(lab) == programs
    assert tcp_try(lab.client, SERVER[4], 8, timeout=0.2) == "timeout"
    assert lab.generation()


@pytest.mark.modes("xdp")
def test_killed_while_loading(lab):
    """kill -9 of client and daemon at random moments of a load leaves one whole rule set."""
    lab.load(DENY + ECHO)
    other = lab.rules(DENY + ECHO + "accept in proto icmp\n")
    with TcpEcho(lab.server, SERVER[4], 7):
        for delay in (0.0, 0.01, 0.02, 0.04, 0.08):
            client = lab.firewall.popen(lab.binary("fwctl"), "load", other,
                                        env=lab.environment())
            try:
                client.wait(delay)
            except subprocess.TimeoutExpired:  # still at it, as wanted
                client.kill()
            client.communicate()
            pid = lab.daemon_pid()
            if pid:
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda p=pid: lab.daemon_pid() != p, 5, "fwctld to be gone")
            assert tcp_try(lab.client, SERVER[4], 7) == "ok"
            assert tcp_try(lab.client, SERVER[4], 8, timeout=0.1) == "timeout"
            assert lab.generation()


def test_error_in_much_text(own_lab):
    """What is tried for nothing leaves nothing, running rules least of all."""
    lab = own_lab
    for rule, error in (("accept in from @nobody\n", "no set 'nobody'"),
                        ("accept inn\n", "found 'inn'")):
        bad = lab.rules(DENY + MANY + rule)
        result = lab.fwctl("load", bad, check=False)
        assert result.exit == 1 and error in result.err, result
        wait_for(lambda: lab.daemon_pid() is None, 10, "fwctld to be gone")
        assert attached(lab) == [] and not lab.pin_dir.exists()
    # The daemon is woken when the text has been read; errors in what is no rule are found
    # before it sees it, and told with those of the rules.
    bad = lab.rules(DENY + MANY + "accept inn\ndropping\n")
    result = lab.fwctl("load", bad, check=False)
    assert result.exit == 1 and result.err.count("error: ") == 2, result
    wait_for(lambda: lab.daemon_pid() is not None, 10, "fwctld to be there")
    assert attached(lab) == [] and not lab.pin_dir.exists()
    lab.load(DENY + ECHO)
    programs, generation, fds = attached(lab), lab.generation(), lab.daemon_fds()
    bad = lab.rules(DENY + MANY + "accept in from @nobody\n")
    assert lab.fwctl("load", bad, check=False).exit == 1
    assert (attached(lab), lab.generation()) == (programs, generation)
    # the client of the load before may not have been gone when they were counted
    wait_for(lambda: lab.daemon_fds() <= fds, 10, "programs that were not needed to be gone")


@pytest.mark.modes("tc")
@pytest.mark.parametrize("text", ["", MANY], ids=["little", "much"])
def test_load_says_what_check_says(own_lab, text, tmp_path, monkeypatch):
    """Errors and warnings, with the names that the user gave, whoever has compiled it."""
    lab = own_lab
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets").mkdir()
    main, more = tmp_path / "main.conf", tmp_path / "sets" / "more.conf"
    main.write_text(DENY + text + 'include "sets/more.conf"\n')
    more.write_text("set idle { 192.0.2.1 }\naccept in proto udp from 10.1.0.0/16 to port 53\n"
                    "drop in proto udp from 10.1.1.0/24 to port 53\n")
    checked, loaded = lab.fwctl("check", "main.conf"), lab.fwctl("load", "main.conf")
    assert "sets/more.conf:3:1: warning: rule can never match" in checked.err, checked
    assert "sets/more.conf:1:5: warning: set 'idle'" in checked.err, checked
    assert loaded.err == checked.err
    messages = [json.loads(lab.fwctl("--json", verb, "main.conf").out)["messages"]
                for verb in ("check", "load")]
    assert messages[0] == messages[1] and len(messages[0]) == 4, messages
    more.write_text("accept in from @nobody\naccept in to port 70000\naccept in from 1.2.3.4/\n")
    # The client finds all that is wrong with little text, the daemon with rules of much.
    for lines, error in ((3, "3:24: error: '' is not"), (1, "1:16: error: there is no set")):
        more.write_text("".join(more.read_text().splitlines(True)[:lines]))
        checked, loaded = (lab.fwctl(verb, "main.conf", check=False)
                           for verb in ("check", "load"))
        assert (loaded.exit, loaded.err) == (1, checked.err)
        assert f"sets/more.conf:{error}" in loaded.err, loaded


@pytest.mark.modes("tc")
def test_slow_search_for_warnings(own_lab):
    """A load does not look for them as long as a check, and says so."""
    lab = own_lab
    path = lab.rules(DENY + "".join(
        f"accept in proto tcp from 10.0.0.0/{8 + i % 20} port {i}-{40000 + i}"
        f" to port {i + 1}-{50000 + i % 999}\n" for i in range(15000)))
    checked, loaded = (lab.fwctl(verb, path).err for verb in ("check", "load"))
    lines = [int(re.search(r":(\d+):1: warning: from here on nobody looked", err).group(1))
             for err in (checked, loaded)]
    assert lines[0] > 2 * lines[1] > 1000, lines
    assert "fwctl check looks longer" in loaded and "looks longer" not in checked
    rules = [f"accept in proto tcp from 10.{i >> 8}.{i & 255}.1 to port 22\n"
             for i in range(12000)]
    path = lab.rules(DENY + "".join(rules) + rules[0])
    checked, loaded = (lab.fwctl(verb, path).err for verb in ("check", "load"))
    assert "warning: rule is redundant" in checked and "nobody looked" not in checked
    assert "redundant" not in loaded and "a load looks at the first 10000 only" in loaded
    assert rules[10000].strip() in loaded, loaded  # is quoted: from there on


@pytest.mark.modes("tc")
def test_nothing_in_force(own_lab):
    """A daemon without rules says so; one that is sent away leaves nothing."""
    lab = own_lab
    daemon = lab.firewall.popen(lab.binary("fwctld"), "--foreground", env=lab.environment())
    try:
        wait_for((lab.run_dir / "fwctl.sock").exists, 5, "fwctld")
        bad = lab.rules(DENY + MANY + "accept in from @nobody\n")
        assert lab.fwctl("load", bad, check=False).exit == 1
        for what in ("status", "show rules", "show flows", "show sets", "show interfaces",
                     "show timeouts", "show ipsec"):
            shown = lab.fwctl(*what.split(), check=False)
            assert shown.exit == 3 and "nothing is loaded" in shown.err, (what, shown)
        content = lab.rules("192.0.2.2\n")
        replaced = lab.fwctl("set", "replace", "s", "--file", content, check=False)
        assert replaced.exit == 3 and "nothing is loaded" in replaced.err, replaced
        assert http(lab.firewall, "/metrics")[0] == 200
        assert tcp_try(lab.client, WAN[4], 9) == "refused", "not filtered yet"
    finally:
        daemon.terminate()
        daemon.communicate()
    assert daemon.returncode == 0
    assert attached(lab) == [] and not lab.pin_dir.exists()


@pytest.mark.modes("tc")
@pytest.mark.parametrize("text", ["", MANY], ids=["little", "much"])
def test_request_is_lost(own_lab, text):
    """A daemon that dies meanwhile: all is sent once more."""
    lab = own_lab
    path = lab.rules(DENY + text)
    lab.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = lab.run_dir / "fwctl.sock"
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(address))
        daemon.listen()
        daemon.settimeout(30)
        client = lab.firewall.popen(lab.binary("fwctl"), "load", path, env=lab.environment())
        connection, _ = daemon.accept()
        with connection:
            assert b'"load"' in connection.recv(4096)
            address.unlink()
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0 and not err, (out, err)
    assert lab.generation() == 1 and len(lab.show("rules")["rules"]) >= text.count("\n")
