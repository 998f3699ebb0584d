# SPDX-License-Identifier: GPL-2.0-only
"""A bad line: frames of TCP get lost, late, doubled and out of order, anything else passes.

For kernels without netem, and drawn from a seed. Run in a namespace with two interfaces:

    python3 -m lab.line A B SEED DELAY JITTER LOSS DUPLICATE   (milliseconds and percent)
"""

import heapq
import itertools
import random
import select
import socket
import sys
import time

ETH_P_ALL, SOL_PACKET, PACKET_IGNORE_OUTGOING = 3, 263, 23


def _open(iface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.bind((iface, ETH_P_ALL))
    s.setblocking(False)
    return s


def _is_tcp(frame):
    return frame[12:14] == b"\x08\x00" and frame[23] == 6 or \
        frame[12:14] == b"\x86\xdd" and frame[20] == 6


def relay(a, b, rng, delay, jitter, loss, duplicate):
    """Carry frames between two interfaces until the process ends."""
    to, due, serial = {a: b, b: a}, [], itertools.count()
    while True:
        wait = max(0, due[0][0] - time.monotonic()) if due else None
        for s in select.select([a, b], [], [], wait)[0]:
            for _ in range(64):
                try:
                    frame = s.recv(1 << 16)
                except BlockingIOError:
                    break
                copies = 1
                if _is_tcp(frame):
                    copies = 0 if rng.random() < loss else 1 + (rng.random() < duplicate)
                for _ in range(copies):
                    late = delay + rng.random() * jitter if _is_tcp(frame) else 0
                    heapq.heappush(due, (time.monotonic() + late, next(serial), to[s], frame))
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, s, frame = heapq.heappop(due)
            try:
                s.send(frame)
            except OSError:
                pass  # a full queue: one more that is lost


def main(first, second, seed, *figures):
    """The figures are milliseconds, then percent."""
    delay, jitter, loss, duplicate = map(float, figures)
    relay(_open(first), _open(second), random.Random(seed), delay / 1000, jitter / 1000,
          loss / 100, duplicate / 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
