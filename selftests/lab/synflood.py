# SPDX-License-Identifier: GPL-2.0-only
"""Many half-open flows a second: SYNs from ever other ports, in a process of its own.

    python3 -m lab.synflood INTERFACE PACKETS-A-SECOND SECONDS

Reads a whole Ethernet frame, in hex, with a SYN. Each one sent has another pair of
ports, among two million. Prints how many were sent.
"""

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

BATCH = 32  # what a queue on the way of 256 frames takes beside other traffic
PORTS = (1024, 65535)  # to which they go


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class _Mmsghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint),
                ("iov", ctypes.POINTER(_Iovec)), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("pad", ctypes.c_int),
                ("sent", ctypes.c_uint), ("pad2", ctypes.c_uint)]


class _Batch:
    """As many frames as there are source ports; all share one destination port.

    Only that is written before they go out together with one system call.
    """

    def __init__(self, iface, frame):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((iface, 0))
        at = 34 if frame[12:14] == b"\x08\x00" else 54
        head, self._tail = (ctypes.create_string_buffer(x, len(x))
                            for x in (frame[:at], frame[at + 2:]))
        ports = ctypes.create_string_buffer(b"".join(struct.pack("!H", PORTS[0] + i)
                                                     for i in range(BATCH)))
        vectors = (_Iovec * (3 * BATCH))()
        self._keep = head, ports, vectors
        self._messages = (_Mmsghdr * BATCH)()
        for i, message in enumerate(self._messages):
            parts = ((head, 0, at), (ports, 2 * i, 2), (self._tail, 0, len(frame) - at - 2))
            for k, (buffer, offset, size) in enumerate(parts, 3 * i):
                vectors[k].base, vectors[k].len = ctypes.addressof(buffer) + offset, size
            message.iov = ctypes.pointer(vectors[3 * i])
            message.iovlen = 3

    def send(self, port):
        """Send with a destination port, counted from the first one."""
        struct.pack_into("!H", self._tail, 0, PORTS[0] + port % (PORTS[1] - PORTS[0] + 1))
        return max(0, self._libc.sendmmsg(self._socket.fileno(), self._messages, BATCH, 0))


def flood(iface, pps, seconds, frame):
    """Send at a steady rate; returns how many were sent."""
    with contextlib.suppress(OSError):
        os.nice(-10)  # or it would be no flood beside other work
    batch = _Batch(iface, frame)
    start, sent, port = time.monotonic(), 0, 0
    while (now := time.monotonic() - start) < seconds:
        if sent >= now * pps:
            time.sleep(0.0005)
            continue
        sent += batch.send(port)
        port += 1
    return sent


class SynFlood:
    """A flood in the background."""

    def __init__(self, ns, iface, frame, pps, seconds):
        self.seconds = seconds
        self._process = ns.popen(sys.executable, "-m", "lab.synflood", iface, pps,
                                 seconds, stdin=subprocess.PIPE, cwd=_selftests())
        self._process.stdin.write(frame.hex() + "\n")
        self._process.stdin.flush()

    def wait(self):
        """How many packets a second it was, once it is over."""
        text, _ = self._process.communicate(timeout=self.seconds + 60)
        return int(text) / self.seconds

    def close(self):
        """End it now."""
        self._process.kill()
        self._process.communicate()


def _selftests():
    return __file__.rsplit("/", 2)[0]


if __name__ == "__main__":
    print(flood(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]),
                bytes.fromhex(sys.stdin.readline())))
