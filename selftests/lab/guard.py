# SPDX-License-Identifier: GPL-2.0-only
"""Waits until the process that made a lab is gone, even by SIGKILL, and cleans up.

It holds the reading end of a pipe; the kernel closes the other one in any case.
"""

import signal
import sys

from . import cleanup


def main():
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    sys.stdin.buffer.read()
    if (cleanup.STATE_DIR / sys.argv[1]).exists():
        cleanup.remove(sys.argv[1])


if __name__ == "__main__":
    main()
