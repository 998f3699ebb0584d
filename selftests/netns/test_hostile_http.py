# SPDX-License-Identifier: GPL-2.0-only
"""The port of the exporter among slow, silent, greedy and mad clients."""

import contextlib
import random
import socket
import struct

import pytest

from lab.netns import patience, wait_for
from lab.traffic import METRICS_PORT, http

pytestmark = pytest.mark.modes("xdp")

CLIENTS, CUT, TIMEOUT_S = 16, 16, 10  # user/metrics.c
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def served(lab):
    """The lab with a daemon that serves."""
    lab.load_once("default in accept\ndefault out accept\ndefault forward accept\n")
    return lab


@contextlib.contextmanager
def crowd(lab, n, text=b""):
    """Connections to the exporter that have sent some text; closed at the end."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(n):
            s = stack.enter_context(lab.firewall.socket(socket.AF_INET, socket.SOCK_STREAM))
            s.connect(("127.0.0.1", METRICS_PORT))
            if text:
                s.sendall(text)
            sockets.append(s)
        yield sockets


def is_cut(s):
    """Has the daemon ended this connection?  What it has sent before is read."""
    s.settimeout(0)
    try:
        while s.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def assert_alive(lab):
    """Others are served, and so is the control socket."""
    status, _, body = http(lab.firewall, "/metrics")
    assert status == 200 and "fwctl_build_info" in body
    assert lab.status()["loaded"]


def test_many_connections(served):
    """They take the place of each other, and not of who asks something."""
    before = served.daemon_fds()
    with crowd(served, 100) as sockets:
        assert_alive(served)
        assert served.daemon_fds() <= before + CLIENTS + CUT
        wait_for(lambda: sum(map(is_cut, sockets)) >= 100 - CLIENTS, 5, "the oldest to be cut")
        assert_alive(served)
    wait_for(lambda: served.daemon_fds() <= before, 5, "the descriptors to be closed")


@pytest.mark.slow
def test_slow_senders(served):
    """A byte now and then is no request: in ten seconds they are gone."""
    with crowd(served, CLIENTS - 2, b"GET /metrics HTTP/1.1\r\n") as sockets:
        def drip():
            for s in sockets:
                with contextlib.suppress(OSError):
                    s.send(b"X-a: b\r\n")
            return sum(map(is_cut, sockets)) == len(sockets)  # each is read
        assert not drip()
        assert_alive(served)
        wait_for(drip, TIMEOUT_S + 3, "slow senders to be cut", interval=0.5)
    assert_alive(served)


@pytest.mark.slow
def test_client_that_does_not_read(served):
    """Requests without end, and no answer is ever read."""
    with crowd(served, 4) as sockets:
        def ask():
            for s in sockets:
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while s.send(GET * 100):
                        pass
            return True

        def gone():
            for s in sockets:
                # Nothing is read: the end is what sending finds out.
                try:
                    s.send(b"G")
                except BlockingIOError:
                    return False
                except OSError:
                    continue
                return False
            return True
        assert ask()
        assert_alive(served)
        wait_for(gone, 2 * TIMEOUT_S, "silent readers to be cut", interval=0.2)
    assert_alive(served)


def test_idle_connection_serves_again(served):
    """An answer gives a connection its time anew: Prometheus keeps one open."""
    with crowd(served, 1) as [s]:
        s.settimeout(patience(5))
        for _ in range(3):
            s.sendall(GET)
            head, _, body = s.recv(1 << 16).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            while len(body) < length:
                body += s.recv(1 << 16)
        # It is newer than those that only wait.
        with crowd(served, CLIENTS - 1) as others:
            s.sendall(GET)
            assert s.recv(100).startswith(b"HTTP/1.1 200")
            with crowd(served, 1):
                wait_for(lambda: is_cut(others[0]), 5, "the one that has waited longest")
                assert not is_cut(s)


MAD = {
    "half a word": b"GE",
    "half a request": b"GET /metrics HTTP/1.1\r\nHost:",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "an endless line": b"GET /" + b"a" * 100000,
    "endless headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000,
    "an endless header": b"GET / HTTP/1.1\r\nAccept: " + b"q=0.5;" * 20000,
    "a body that never comes": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    "zeros": bytes(5000),
    "line feeds": b"\n" * 5000,
    "two lengths": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
}


@pytest.mark.parametrize("text", MAD.values(), ids=MAD)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_mad_requests(served, text, end):
    """Each of them, left in the middle: others are served."""
    with crowd(served, 3) as sockets:
        for s in sockets:
            with contextlib.suppress(OSError):
                s.sendall(text)
            if end == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert_alive(served)


@pytest.mark.slow
def test_random_requests(served):
    """Requests with bytes changed, cut and doubled; in the end nothing is left of them."""
    before = served.daemon_fds()
    rng = random.Random(7)
    whole = (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;"
             b"version=1.0.0,text/plain;q=0.5\r\nConnection: close\r\n\r\n")
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at:at + rng.randrange(1, 20)]
                    data += b"x"
                case _:
                    data[at:at] = data[at:at + rng.randrange(1, 40)]
        with crowd(served, 1, bytes(data)):
            pass
    assert_alive(served)
    wait_for(lambda: served.daemon_fds() <= before, TIMEOUT_S + 3, "descriptors to be closed")
