# SPDX-License-Identifier: GPL-2.0-only
"""The program harness as a pytest fixture: rules in, frames in, reasons out."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

# pylint: disable=wrong-import-position,unused-import
from lab.kernel import (  # noqa: E402
    check_marks,
    declare_marks,
    pytest_runtest_setup,  # noqa: F401
)
from lab.netns import patience  # noqa: E402

BUILD = pathlib.Path(
    os.environ.get("FWCTL_BUILD", pathlib.Path(__file__).parents[2] / "build")
)

RULES = """
interface wan = if0
interface lan = if1
default in drop
default out accept
default forward drop
accept in on wan proto tcp to self port 22 label ssh
accept in on wan proto udp to self port 53 label dns
accept in proto icmp type echo-request label ping
reject in on wan proto { tcp, udp } to self port 23 label telnet
drop stateless in from { 203.0.113.0/24, 2001:db8:bad::/48 } label bad
accept stateless in proto udp to self port 123 label ntp
accept forward wan -> lan proto tcp to port 80 label web
accept forward on wan proto udp to port 4000 label anywhere
"""

SELF4, SELF6 = "192.0.2.1", "2001:db8:1::1"
PEER4, PEER6 = "198.51.100.9", "2001:db8:9::9"
FAR4, FAR6 = "192.0.2.77", "2001:db8:1::77"


def pytest_configure(config):
    declare_marks(config)


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.needs("root"))
    check_marks(items)


class Progrun:
    """One harness process; every method is one command (see progrun.c)."""

    def __init__(self):
        self.process = subprocess.Popen(
            [BUILD / "selftests" / "prog" / "progrun"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running = None

    def call(self, /, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the harness has died"
        return json.loads(line)

    def rules(self, text):
        """Make `text` the running rules, unless it is."""
        if text != self.running:
            assert self.call(rules=text)["ok"]
        self.running = text

    def flush(self):
        self.call(flush=True)

    def run(self, hook, frame, iface=0, iif=None):
        request = {"hook": hook, "iface": iface, "frame": bytes(frame).hex()}
        if iif is not None:
            request["iif"] = iif
        reply = self.call(**request)
        assert "error" not in reply, reply
        assert reply["n_reasons"] == 1, f"counted {reply['n_reasons']} times"
        assert reply["n_rules"] <= 1
        return reply

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=patience(30)) == 0


@pytest.fixture(scope="session")
def harness():
    run = Progrun()
    for addr in (SELF4, SELF6):
        run.call(self=addr, flags=1)
    run.call(self="192.0.2.255", flags=2)
    yield run
    run.close()


@pytest.fixture
def fw(harness):
    """The harness with the usual rules and no flow in any table."""
    harness.rules(RULES)
    harness.flush()
    return harness
