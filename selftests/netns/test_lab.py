# SPDX-License-Identifier: GPL-2.0-only
"""The lab and the demo themselves: honest without a firewall, gone when they are killed."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from lab import cleanup
from lab.lab import CLIENT, SERVER, TOP, WAN, Lab, build_dir
from lab.netns import patience, sh, wait_for
from lab.packets import UDP, frame, ip
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_try, udp_try

ENV = {**os.environ, "PYTHONPATH": str(TOP / "selftests"), "FWCTL_BUILD": str(build_dir())}

LOAD_AND_DIE = """\
import os, signal, sys
from lab.lab import Lab
lab = Lab()
lab.client.popen("sleep", "1000")
lab.load("default in drop\\n")
print(lab.name, lab.firewall.inode, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("family", [4, 6])
def test_everything_passes_without_fwctl(family):
    """What the tests call denied is denied by fwctl, not by the lab."""
    with Lab() as lab:
        for server, target in ((lab.server, SERVER), (lab.firewall, WAN)):
            with TcpEcho(server, target[family], 7), UdpEcho(server, target[family], 7):
                assert tcp_try(lab.client, target[family], 7) == "ok"
                assert udp_try(lab.client, target[family], 7, size=5000) == "ok"
                assert ping(lab.client, target[family], 1, 60000)
        assert tcp_try(lab.client, SERVER[family], 9) == "refused"
        with TcpEcho(lab.client, CLIENT[family], 7):
            assert tcp_try(lab.server, CLIENT[family], 7) == "ok"
            assert tcp_try(lab.firewall, CLIENT[family], 7) == "ok"
        with lab.server.sniffer("eth0") as sniffer:
            lab.client.send_raw("eth0", [frame(ip(family) / UDP(sport=4711, dport=4712))])
            sniffer.wait(lambda f: b"\x12\x67\x12\x68" in f)


def traces(name):
    """What is left of labs whose name begins like this."""
    spaces = [n for n in sh("ip", "netns", "list").stdout.split() if n.startswith(name)]
    states = list(cleanup.STATE_DIR.glob(name + "*"))
    return spaces + states


def processes(marker):
    """Processes whose environment or command line mentions a marker."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if marker in (path / "environ").read_bytes() + (path / "cmdline").read_bytes():
                found.append(path.name)
        except OSError:
            continue
    return found


def pins(inode):
    """Pin and run directories of a namespace."""
    return [p for p in (cleanup.PIN_DIR / f"netns-{inode}", cleanup.RUN_DIR / f"netns-{inode}")
            if p.exists()]


def test_killed_lab_leaves_nothing():
    """kill -9 of the process that made a lab and loaded rules in it."""
    done = subprocess.run([sys.executable, "-c", LOAD_AND_DIE], env=ENV, text=True,
                          capture_output=True, timeout=patience(60), check=False)
    assert done.returncode == -signal.SIGKILL, done
    name, inode = done.stdout.split()
    wait_for(lambda: not traces(name), 20, "the lab to be removed")
    wait_for(lambda: not processes(name.encode()), 5, "its processes to end")
    assert not pins(inode)


def demo(marker, **kwargs):
    """Start the demo with a word in its environment to find its processes by."""
    return subprocess.Popen([sys.executable, "-m", "lab.demo"], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={**ENV, "FWCTL_DEMO_MARK": marker},
                            **kwargs)


def test_demo_twice():
    """It succeeds, also the second time, and leaves nothing."""
    for i in range(2):
        marker = f"demo-{os.getpid()}-{i}"
        process = demo(marker)
        output, _ = process.communicate(timeout=patience(120))
        assert process.returncode == 0, output
        assert "✘" not in output and "everything as it should be" in output, output
        assert not traces(f"fwt-{process.pid:x}-")
        assert not processes(marker.encode())


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("lines", [2, 12])
def test_killed_demo_leaves_nothing(sig, lines):
    """Whatever kills it, wherever it is."""
    marker = f"demo-{os.getpid()}-{sig}-{lines}"
    process = demo(marker)
    for _ in range(lines):
        process.stdout.readline()
    os.kill(process.pid, sig)
    process.communicate(timeout=patience(30))
    assert process.returncode != 0
    wait_for(lambda: not traces(f"fwt-{process.pid:x}-"), 20, "the lab to be removed")
    wait_for(lambda: not processes(marker.encode()), 10, "its processes to end")
