# SPDX-License-Identifier: GPL-2.0-only
"""Real TCP and UDP conversations between namespaces, and iperf3."""

import contextlib
import json
import math
import socket
import struct
import threading
import time

from .netns import SLOWNESS, patience, wait_for

METRICS_PORT = 9477


def family_of(address):
    """AF_INET6 for an address with a colon, else AF_INET."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class _Server:
    """A listening socket, one thread that serves it, and its end."""

    kind = socket.SOCK_STREAM

    def __init__(self, ns, address, port):
        self._s = ns.socket(family_of(address), self.kind)
        self._s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._s.bind((address, port))
        self._s.settimeout(0.1)
        self.port = self._s.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start()
        self._thread.start()

    def _start(self):
        pass

    def _step(self):
        raise NotImplementedError

    def _run(self):
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                try:
                    self._step()
                except OSError as e:
                    # ICMP errors of an earlier datagram come back here.
                    if self._stop.is_set() or e.errno == 9:
                        return

    def close(self):
        """Stop serving."""
        self._stop.set()
        self._thread.join(patience(2))
        self._s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class UdpEcho(_Server):
    """Sends every datagram back."""

    kind = socket.SOCK_DGRAM

    def __init__(self, ns, address, port):
        self.received = 0
        super().__init__(ns, address, port)

    def _step(self):
        data, peer = self._s.recvfrom(65535)
        self.received += 1
        self._s.sendto(data, peer)


class TcpEcho(_Server):
    """Sends every byte back, on any number of connections."""

    def _start(self):
        self._s.listen(64)
        self._connections = []

    def _step(self):
        connection, _ = self._s.accept()
        self._connections.append(connection)
        threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection):
        connection.settimeout(None)
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.close()

    def say(self, text):
        """Send text to every client without being asked."""
        for connection in self._connections:
            connection.sendall(text)

    def close(self):
        super().close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                cut(connection)
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def cut(connection):
    """Make a socket end with a reset when it is closed: no FIN that is sent for minutes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tcp_connect(ns, address, port, timeout=2.0, source=None):
    """Open a connection; returns the socket or raises OSError."""
    s = ns.socket(family_of(address), socket.SOCK_STREAM)
    try:
        s.settimeout(patience(timeout))
        if source:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(source)
        s.connect((address, port))
    except BaseException:
        s.close()
        raise
    return s


class Connection:
    """A TCP connection with both ends at hand; either side may speak first."""

    def __init__(self, stack, opener, acceptor, address, port, at=None):
        """Opened to an address and port; NAT may lead it to another one, `at`."""
        with acceptor.socket(family_of(address), socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(at or (address, port))
            listener.listen(1)
            self.near = stack.enter_context(tcp_connect(opener, address, port))
            self.far = stack.enter_context(listener.accept()[0])
        self.near.settimeout(patience(3))
        self.far.settimeout(patience(3))

    def says(self, opener_first):
        """Both sides send and receive; true if everything came through."""
        sides = (self.near, self.far) if opener_first else (self.far, self.near)
        try:
            for a, b in (sides, sides[::-1]):
                a.sendall(b"hello")
                if b.recv(5) != b"hello":
                    return False
        except OSError:
            return False
        return True

    def give_up(self):
        """Wait less, and leave without a word."""
        for s in (self.near, self.far):
            s.settimeout(patience(0.3))
            cut(s)


def tcp_talk(connection, text=b"hello"):
    """Send text and wait for its echo; true if it came."""
    try:
        connection.sendall(text)
        got = b""
        while len(got) < len(text):
            data = connection.recv(65536)
            if not data:
                return False
            got += data
    except OSError:
        return False
    return got == text


def tcp_try(ns, address, port, timeout=1.0, source=None):
    """'ok', 'refused', 'unreachable' or 'timeout' of one echo over TCP."""
    try:
        with tcp_connect(ns, address, port, timeout, source) as s:
            return "ok" if tcp_talk(s) else "timeout"
    except OSError as e:
        return outcome(e)


def udp_try(ns, address, port, timeout=1.0, size=5, source=None):
    """'ok', 'refused', 'unreachable' or 'timeout' of one echo over UDP."""
    with ns.socket(family_of(address), socket.SOCK_DGRAM) as s:
        s.settimeout(patience(timeout))
        text = bytes(i & 0xff for i in range(size))
        try:
            if source:
                s.bind(source)
            s.connect((address, port))
            s.send(text)
            return "ok" if s.recv(65535) == text else "garbled"
        except OSError as e:
            return outcome(e)


def http(ns, path, method="GET", address="127.0.0.1", port=METRICS_PORT, accept=None):
    """(status, headers, body) of one request inside a namespace, to fwctld unless told."""
    with ns.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(patience(5))
        s.connect((address, port))
        more = f"Accept: {accept}\r\n" if accept else ""
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n"
                  .encode())
        data = b""
        while more := s.recv(65536):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body.decode()


def outcome(error):
    """One word for an OSError of a conversation."""
    if isinstance(error, TimeoutError):
        return "timeout"
    names = {111: "refused", 104: "reset", 113: "unreachable", 101: "unreachable",
             13: "unreachable", 110: "timeout", 90: "too big"}
    return names.get(error.errno, str(error))


def ping(ns, address, count=1, size=56, timeout=1.0, *more):
    """True if every request was answered."""
    done = ns.run("ping", "-n", "-q", "-c", count, "-i", "0.2", "-s", size, "-W",
                  patience(timeout),
                  *more, address, check=False)
    return done.returncode == 0 and f"{count} received" in done.stdout


class Iperf:
    """An iperf3 run from one namespace to a server in another one.

    Slow machines run and report for longer: a pause of theirs is no gap.
    """

    def __init__(self, client, server, address, seconds=5, port=5201, reverse=False, rate=None,
                 options=()):
        self._server = server.popen("iperf3", "-s", "-1", "-p", port)
        listening = lambda: f":{port} " in server.run("ss", "-Hltn").stdout  # noqa: E731
        wait_for(listening, 5, "iperf3 to listen")
        extra = [*(["-R"] if reverse else []), *(["-b", rate] if rate else []), *options]
        self.seconds = math.ceil(patience(seconds))
        self._client = client.popen("iperf3", "-J", "-c", address, "-p", port, "-t",
                                    self.seconds, "-i", patience(0.5), *extra)
        self.started = time.monotonic()

    def is_running(self):
        """False once the client is done."""
        return self._client.poll() is None

    def result(self, timeout=60):
        """The JSON report, once it is done."""
        text, _ = self._client.communicate(timeout=patience(timeout))
        self.close()
        report = json.loads(text)
        if "error" in report:
            raise AssertionError("iperf3: " + report["error"])
        return report

    def close(self):
        """End both sides."""
        for process in (self._client, self._server):
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=patience(5))


class Flood:
    """Sends frames round and round at a steady rate until the block ends.

    Slow machines get fewer frames a second: none may be lost to a full queue.
    """

    def __init__(self, ns, iface, frames, pps):
        self._ns, self._iface, self._frames = ns, iface, frames
        self._pps = pps / SLOWNESS
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        start, at = time.monotonic(), 0
        while not self._stop.is_set():
            due = int((time.monotonic() - start) * self._pps) - self.sent
            if due <= 0:
                time.sleep(0.001)
                continue
            batch = self._frames[at:at + min(due, 64)]
            self._ns.send_raw(self._iface, batch)
            self.sent += len(batch)
            at = (at + len(batch)) % len(self._frames)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
