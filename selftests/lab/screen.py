# SPDX-License-Identifier: GPL-2.0-only
"""A program on a terminal of its own, and what its user sees."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading

import pyte

from .netns import patience, wait_for


class _Display(pyte.Screen):
    """With the scrolling that pyte does not know and curses uses."""

    def _scroll(self, count, to_bottom, step):
        self.save_cursor()
        margins = self.margins or pyte.screens.Margins(0, self.lines - 1)
        self.cursor.y = margins.bottom if to_bottom else margins.top
        for _ in range(count or 1):
            step()
        self.restore_cursor()

    def scroll_up(self, count=1):
        """What is in the scrolling region goes up."""
        self._scroll(count, True, self.index)

    def scroll_down(self, count=1):
        """It goes down."""
        self._scroll(count, False, self.reverse_index)


class _Stream(pyte.ByteStream):
    csi = dict(pyte.ByteStream.csi, S="scroll_up", T="scroll_down")


class Screen:
    """Runs `argv` in a namespace on a pseudo terminal; a context manager."""

    def __init__(self, namespace, *argv, env, rows=24, columns=100):
        self._terminal, self._side = pty.openpty()
        self._screen = _Display(columns, rows)
        self._stream = _Stream(self._screen)
        self._lock = threading.Lock()
        self.bytes = b""
        self._set_size(rows, columns)
        self.modes = termios.tcgetattr(self._side)
        self.process = subprocess.Popen(
            namespace.argv(*argv), stdin=self._side, stdout=self._side, stderr=self._side,
            env=dict(env, TERM="screen", LC_ALL="C.UTF-8"), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _set_size(self, rows, columns):
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self):
        while True:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                return
            with self._lock:
                self.bytes += data
                self._stream.feed(data)

    @property
    def lines(self):
        """What is on the screen, a text a line without blanks at its end."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def resize(self, rows, columns):
        """The user makes the window larger or smaller."""
        with self._lock:
            self._screen.resize(rows, columns)
        self._set_size(rows, columns)

    def press(self, keys):
        """The user types."""
        os.write(self._terminal, keys.encode())

    def wait(self, condition, deadline=5):
        """The lines, when condition(lines) holds."""
        try:
            return wait_for(lambda: condition(self.lines) and self.lines, deadline)
        except AssertionError:
            raise AssertionError("waited in vain, on the screen is:\n" +
                                 "\n".join(self.lines)) from None

    def end(self):
        """Wait for the end of the program; its exit status."""
        return self.process.wait(patience(5))

    def is_restored(self):
        """Is the terminal as it was: modes, and the screen that was there before?"""
        wait_for(lambda: b"\x1b[?1049l" in self.bytes[-200:], 2, "the other screen")
        return termios.tcgetattr(self._side) == self.modes

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._side)
        self._thread.join(patience(5))
        os.close(self._terminal)
