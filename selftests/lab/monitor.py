# SPDX-License-Identifier: GPL-2.0-only
"""A running `fwctl monitor --json`, and what it has shown so far."""

import json
import signal
import threading

from .netns import patience, wait_for


class Monitor:
    """Watches from the moment it is made; a context manager."""

    def __init__(self, lab, *words):
        others = self._running(lab)
        self._process = lab.firewall.popen(lab.binary("fwctl"), "monitor", "--json", *words,
                                           env=lab.environment())
        self.lines = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        wait_for(lambda: self._running(lab) > others, 5, "a monitor")

    @staticmethod
    def _running(lab):
        return lab.status()["daemon"]["monitors"]

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(line)

    @property
    def events(self):
        """All events, in the order in which they came."""
        return [json.loads(line) for line in list(self.lines)]

    def of(self, **members):
        """Events that have these members."""
        return [e for e in self.events if all(e.get(k) == v for k, v in members.items())]

    def wait(self, count=1, deadline=5, **members):
        """The first events that have these members, when there are `count`."""
        return wait_for(lambda: self.of(**members)[count - 1:] and self.of(**members), deadline,
                        f"{count} of {members}")

    def total(self, **members):
        """Packets or events that these events stand for."""
        return sum(e.get("count", 1) for e in self.of(**members))

    def signal(self, number):
        """Send a signal to fwctl."""
        self._process.send_signal(number)

    def end(self):
        """Wait for its end; returns the exit status and what it complained of."""
        status = self._process.wait(patience(5))
        self._thread.join(patience(5))
        return status, [line for line in self.lines if not line.startswith("{")]

    def close(self):
        """End it, however it is."""
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        self.end()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
