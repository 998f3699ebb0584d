# SPDX-License-Identifier: GPL-2.0-only
"""One network namespace: made, entered, spoken to and removed.

Sockets belong to the namespace their thread was in when it opened them, so this
process opens sockets anywhere without a helper process (see `inside`).

$FWCTL_SLOWNESS says how many times slower than usual the machine is; patience()
turns the times that tests are written with into those to wait here.
"""

import contextlib
import ctypes
import errno
import os
import signal
import socket
import subprocess
import threading
import time

RUN_NETNS = "/run/netns"
CLONE_NEWNET = 0x40000000

SLOWNESS = max(1.0, float(os.environ.get("FWCTL_SLOWNESS") or 1))

_libc = ctypes.CDLL(None, use_errno=True)


def patience(seconds):
    """How long to wait on this machine for what usually takes at most `seconds`.

    Less than half a second is a wait for silence, which is always waited out: it
    grows only by the root of the slowness.
    """
    return seconds * (SLOWNESS if seconds >= 0.5 else SLOWNESS ** 0.5)


def wait_for(condition, deadline=5.0, what="condition", interval=0.02):
    """Return the first true value of condition(), or fail after patience(deadline)."""
    deadline = patience(deadline)
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain: {what}")
        time.sleep(interval)


def _send(sock, frame):
    """Send one frame; a queue on the way that is full empties again."""
    end = time.monotonic() + patience(2.0)
    while True:
        try:
            sock.send(frame)
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS or time.monotonic() > end:
                raise
        time.sleep(0.001)


def sh(*argv, check=True, **kwargs):
    """Run a command and return the finished process with its text output."""
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    if kwargs.get("timeout"):
        kwargs["timeout"] = patience(kwargs["timeout"])
    done = subprocess.run([str(a) for a in argv], text=True, capture_output=True, check=False,
                          **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def setns(fd):
    """Move the calling thread into the network namespace behind `fd`."""
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Namespace:
    """A named network namespace (`ip netns`), with loopback up."""

    def __init__(self, name):
        self.name = name
        self.path = f"{RUN_NETNS}/{name}"
        sh("ip", "netns", "add", name)
        self.inode = os.stat(self.path).st_ino
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._raw = {}
        self._lock = threading.Lock()
        self.run("ip", "link", "set", "lo", "up")

    # ---- processes ---------------------------------------------------------

    def argv(self, *argv):
        """The command line that runs `argv` here; sysfs and bpffs stay in sight."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def run(self, *argv, check=True, **kwargs):
        """Run a command here to its end."""
        return sh(*self.argv(*argv), check=check, **kwargs)

    def ip(self, *commands):
        """Run commands of ip(8) here, in one process; the first that fails ends it."""
        self.run("ip", "-batch", "-", input="\n".join(commands))

    def popen(self, *argv, **kwargs):
        """Start a command here."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.STDOUT)
        return subprocess.Popen(self.argv(*argv), text=True, **kwargs)

    def sysctl(self, **values):
        """Set sysctls; `net.ipv4.ip_forward` is written net__ipv4__ip_forward."""
        with self.inside():
            for name, value in values.items():
                with open("/proc/sys/" + name.replace("__", "/"), "w", encoding="ascii") as f:
                    f.write(str(value))

    # ---- sockets -----------------------------------------------------------

    @contextlib.contextmanager
    def inside(self):
        """Within the block this thread, and sockets it opens, are in here."""
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net", "rb") as home:
            setns(self._fd)
            try:
                yield
            finally:
                setns(home.fileno())

    def socket(self, family, kind, proto=0):
        """A socket of this namespace, with a timeout so that no test hangs."""
        with self.inside():
            s = socket.socket(family, kind, proto)
        s.settimeout(patience(2.0))
        return s

    def send_raw(self, iface, frames):
        """Put whole frames (bytes) on the wire of `iface`."""
        with self._lock:
            if iface not in self._raw:
                with self.inside():
                    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
                    s.bind((iface, 0))
                self._raw[iface] = s
            for frame in frames:
                _send(self._raw[iface], frame)

    def sniffer(self, iface):
        """Start to record what arrives at or leaves `iface`; see Sniffer."""
        return Sniffer(self, iface)

    # ---- end ---------------------------------------------------------------

    def close(self):
        """Close what we hold; cleanup.remove_namespace() does the rest."""
        for s in self._raw.values():
            s.close()
        self._raw.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def end_processes(name):
    """End what runs in a namespace, except this process."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for pid in _pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
        end = time.monotonic() + patience(2)
        while _pids(name) and time.monotonic() < end:
            time.sleep(0.02)


def _pids(name):
    """Processes in a namespace, except this one."""
    out = sh("ip", "netns", "pids", name, check=False).stdout.split()
    return [int(p) for p in out if int(p) != os.getpid()]


class Sniffer:
    """Frames seen on one interface, as bytes, from the moment it is made."""

    ETH_P_ALL = 3

    def __init__(self, ns, iface):
        with ns.inside():
            self._s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                    socket.htons(self.ETH_P_ALL))
            self._s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
            self._s.bind((iface, self.ETH_P_ALL))
        self._s.setblocking(False)
        self.frames = []

    def read(self):
        """All frames so far, as (packet type, bytes); type 4 is our own sending."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = self._s.recvfrom(65536)
                self.frames.append((address[2], data))
        return self.frames

    def wait(self, match, deadline=2.0, what="a packet"):
        """First incoming frame for which match(bytes) is true."""
        def find():
            return next((f for kind, f in self.read() if kind != 4 and match(f)), None)
        return wait_for(find, deadline, what)

    def count(self, match):
        """Number of incoming frames for which match(bytes) is true."""
        return sum(1 for kind, f in self.read() if kind != 4 and match(f))

    def close(self):
        self._s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
