# SPDX-License-Identifier: GPL-2.0-only
"""An FTP server with one file, for what the kernel's FTP helper reads: PORT, EPRT, PASV, EPSV.

The client is ftplib of Python's library.
"""

import contextlib
import ftplib
import io
import re
import socket
import threading

from .netns import patience
from .traffic import cut, family_of

CONTENT = bytes(range(256)) * 2000


class FtpServer:
    """Serves CONTENT, `endless` without an end, takes what is stored and forgets it."""

    def __init__(self, ns, address, port=21):
        self._ns, self._address = ns, address
        self.seen = []  # addresses that opened data connections, or that these were opened to
        self._s = ns.socket(family_of(address), socket.SOCK_STREAM)
        self._s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._s.bind((address, port))
        self._s.listen(16)
        self._s.settimeout(None)
        self._open, self._threads = [], []
        self._start(self._accept)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._s.accept()[0]
                self._open.append(connection)
                connection.settimeout(None)
                self._start(self._serve, connection)

    def _serve(self, connection):
        """One control connection to its end."""
        with contextlib.suppress(OSError), connection, connection.makefile("rw", newline="",
                                                                           encoding="ascii") as f:
            session = _Session(self, connection)
            f.write("220 ready\r\n")
            f.flush()
            for line in f:
                for answer in session.command(line.strip()):
                    f.write(answer + "\r\n")
                    f.flush()

    def socket(self):
        """A TCP socket of the server's namespace, which ends with the server."""
        s = self._ns.socket(family_of(self._address), socket.SOCK_STREAM)
        self._open.append(s)
        return s

    def add(self, data):
        """A data connection has been made."""
        self.seen.append(data.getpeername()[0])
        self._open.append(data)

    def close(self):
        """Stop serving, with a reset."""
        for s in (self._s, *self._open):
            with contextlib.suppress(OSError):
                if s is not self._s:
                    cut(s)
                s.shutdown(socket.SHUT_RDWR)
        for s in (self._s, *self._open):
            s.close()
        # Only then the last one who has a socket has closed it: no packet comes later.
        for thread in self._threads:
            thread.join(patience(5))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Session:
    """What one client has said so far."""

    ANSWERS = {"USER": "331 password?", "PASS": "230 welcome", "TYPE": "200 ok",
               "NOOP": "200 ok", "QUIT": "221 bye"}

    def __init__(self, server, control):
        self._server, self._control = server, control
        self._listener = self._peer = None

    def command(self, line):
        """The answers to a line, one after the other."""
        verb, _, argument = line.partition(" ")
        if verb in ("PASV", "EPSV"):
            yield self._listen(verb)
        elif verb in ("PORT", "EPRT"):
            yield self._call(verb, argument)
        elif verb in ("RETR", "STOR"):
            yield "150 here it comes"
            try:
                with self._data() as data:
                    if verb == "RETR":
                        data.sendall(CONTENT)
                        while argument == "endless":
                            data.sendall(CONTENT)
                    else:
                        while data.recv(1 << 16):
                            pass
                yield "226 done"
            except OSError as e:
                yield f"425 {e}"
        else:
            yield self.ANSWERS.get(verb, "502 unknown")

    def _listen(self, verb):
        self._listener = self._server.socket()
        here = self._control.getsockname()[0]
        self._listener.bind((here, 0))
        self._listener.listen(1)
        port = self._listener.getsockname()[1]
        if verb == "EPSV":
            return f"229 Entering Extended Passive Mode (|||{port}|)"
        return f"227 Entering Passive Mode ({here.replace('.', ',')},{port >> 8},{port & 255})"

    def _call(self, verb, argument):
        if verb == "EPRT":
            address, port = re.fullmatch(r"\|[12]\|([^|]+)\|(\d+)\|", argument).groups()
            self._peer = address, int(port)
        else:
            n = argument.split(",")
            self._peer = ".".join(n[:4]), int(n[4]) << 8 | int(n[5])
        return "200 ok"

    def _data(self):
        """The data connection that was agreed on."""
        if self._listener:
            with self._listener:
                data = self._listener.accept()[0]
            self._listener = None
        else:
            data = self._server.socket()
            try:
                data.connect(self._peer)
            except OSError:
                data.close()
                raise
        data.settimeout(patience(3))
        self._server.add(data)
        return data


class FtpClient(ftplib.FTP):
    """A client in a namespace; `passive` as ftplib has it, or not."""

    def __init__(self, ns, address, passive=True, port=21):
        super().__init__(timeout=patience(2))
        self._ns = ns
        with self._inside():
            self.connect(address, port)
            self.login()
        self.set_pasv(passive)
        # What the server says is believed: NAT has to translate it.
        self.trust_server_pasv_ipv4_address = True

    @contextlib.contextmanager
    def _inside(self):
        with self._ns.inside():
            yield

    def fetch(self):
        """True if the file came whole."""
        got = io.BytesIO()
        with self._inside():
            self.retrbinary("RETR file", got.write)
        return got.getvalue() == CONTENT

    def store(self):
        """True if the file could be sent."""
        with self._inside():
            return self.storbinary("STOR file", io.BytesIO(CONTENT)).startswith("226")

    def start(self):
        """The data connection of a download that does not end by itself."""
        with self._inside():
            data = self.transfercmd("RETR endless")
        data.settimeout(patience(2))
        return data

    def __exit__(self, *_):
        self.close()  # without a word, whatever the server is about to say

    def attempt(self):
        """fetch(), or the name of the error."""
        try:
            return self.fetch()
        except (OSError, ftplib.Error) as e:
            return type(e).__name__
