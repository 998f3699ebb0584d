# SPDX-License-Identifier: GPL-2.0-only
"""A peer: something that can judge packets by rules, and how it is asked to."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time
from typing import NamedTuple

from . import track


class Load(NamedTuple):
    """What a load took: seconds, and the largest resident set in bytes of those at work."""

    seconds: float
    rss: int


class Denied(NamedTuple):
    """Packets denied so far: by rules, at last because nothing matched, both together.
    None is what the peer does not count."""

    rules: int | None = None
    last: int | None = None
    both: int | None = None


class Refused(Exception):
    """A peer does not take a case; the message says why."""


class Peer:
    """One way to judge packets. A peer that is not here, or cannot do a case, is skipped.

    Methods are called in this order: missing(), refuses(), write(), start(), install(),
    then remove(), stop(); install() and remove() several times.
    """

    name = ""
    title = ""
    program = ""
    packages = ""  # where Debian has it
    hook = "stack"  # "xdp" if it attaches to XDP itself

    def __init__(self, lab):
        self.lab, self.ns = lab, lab.firewall
        self.deadline = 60  # seconds that a load may take

    # ---- what a peer may define ------------------------------------------------------

    def missing(self):
        """Why this peer cannot run here, or None."""
        if shutil.which(self.program):
            return None
        return f"{self.program}: not installed, skipped ({self.packages})"

    def refuses(self, case):
        """Why this peer cannot do a case, or None."""
        return None

    def refuses_traffic(self, traffic):
        """Why this peer cannot be compared about one kind of TRAFFIC, or None."""
        return None

    def checks(self, headers):
        """Those of [(header, is accepted)] about which this peer must agree."""
        return headers

    def write(self, case):
        """Write the file that install() loads; returns its path."""
        raise NotImplementedError

    def start(self):
        """Start what has to run before a load."""

    def stop(self):
        """End what start() has started."""

    def install(self, path):
        """Load the file; returns a Load or raises Refused."""
        raise NotImplementedError

    def remove(self):
        """Remove what install() has loaded."""
        raise NotImplementedError

    def denied(self):
        """What the peer's own counters say: Denied."""
        return Denied()

    def memory(self):
        """Bytes that the kernel holds for the rules as the peer itself says, or None."""
        return None

    # ---- help for them -----------------------------------------------------------------

    def feed(self):
        """Context in which frames reach this peer's hook."""
        return contextlib.nullcontext() if self.hook == "xdp" else self.lab.passing()

    def timed(self, *argv, stdin=None):
        """Run a loader in the firewall's namespace; returns its Load."""
        log, usage = self.lab.dir / "errors", self.lab.dir / "usage"
        argv = [str(a) for a in argv]
        # GNU time: the loader is not forked off this process, whose memory is large.
        command = ["/usr/bin/time", "-q", "-f", "%M", "-o", usage,
                   "timeout", "-s", "KILL", self.deadline, *argv]
        with open(stdin or os.devnull, "rb") as source, log.open("wb") as errors:
            start = time.monotonic()
            done = subprocess.run(self.ns.argv(*command), stdin=source, stdout=errors,
                                  stderr=errors, env=self.lab.environment(), check=False)
            seconds = time.monotonic() - start
        if done.returncode in (137, -9):
            raise Refused(f"{os.path.basename(argv[0])}: not done after {self.deadline:g} s")
        if done.returncode:
            text = log.read_text(encoding="utf-8", errors="replace")
            first = next((x for x in text.splitlines() if x.strip()), "no message")
            raise Refused(f"{os.path.basename(argv[0])}: {first.strip()[:160]}")
        return Load(seconds, int(usage.read_text(encoding="ascii").split()[-1]) << 10)

    def run(self, *argv, check=True):
        """Run a command in the firewall's namespace; returns its output."""
        return self.ns.run(*argv, check=check).stdout

    def file(self, text):
        """Write the rule file."""
        path = self.lab.dir / f"{self.name}.rules"
        path.write_text(text, encoding="ascii")
        return path


def high_water(pid):
    """Largest resident set in bytes of a running process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) << 10


def reset_high_water(pid):
    """Forget the largest resident set of a process."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


DEVICE = track.DEVICE
