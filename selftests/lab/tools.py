# SPDX-License-Identifier: GPL-2.0-only
"""The network tools that people use, and the servers for them, in namespaces of the lab.

Behind the server lies a host `far`, over a link that is narrower than the others:

    client --- firewall --- server ==1300== far

Each tool is a function of (network, family) that returns what must be the same with and
without a firewall on the way: what was transferred, which routers were seen.
"""

import contextlib
import functools
import hashlib
import http.server
import json
import re
import socket
import struct
import subprocess
import threading

from .lab import CLIENT, SERVER, SERVER4, SERVER6
from .netns import patience, wait_for
from .traffic import TcpEcho, family_of, tcp_connect, tcp_talk

FAR = {4: "198.18.9.2", 6: "2001:db8:9::2"}
NEAR = {4: "198.18.9.1", 6: "2001:db8:9::1"}
NARROW = 1300
TIMEOUT_S = 30


class Network:
    """A lab with the host behind its server."""

    def __init__(self, lab):
        self.lab, self.client, self.server = lab, lab.client, lab.server
        self.far = lab.namespace("far")
        lab.wire(self.server, "eth1", self.far, "eth0")
        for ns, iface, addresses in ((self.server, "eth1", NEAR), (self.far, "eth0", FAR)):
            ns.run("ip", "address", "add", f"{addresses[4]}/24", "dev", iface)
            ns.run("ip", "address", "add", f"{addresses[6]}/64", "dev", iface, "nodad")
            ns.run("ip", "link", "set", iface, "mtu", NARROW)
        self.server.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        # The client is to find the narrow link by itself, not by what `far` asks for.
        for family, flag in ((4, "-4"), (6, "-6")):
            self.far.run("ip", flag, "route", "add", "default", "via", NEAR[family],
                         "advmss", 1460 if family == 4 else 1440)
        lab.firewall.run("ip", "route", "add", "198.18.9.0/24", "via", SERVER4)
        lab.firewall.run("ip", "-6", "route", "add", "2001:db8:9::/64", "via", SERVER6)
        # Routers limit their errors; the tools are run more often than by any person.
        for ns in (lab.firewall, self.server, self.far):
            ns.sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)

    def run(self, *argv, **kwargs):
        """Run a tool at the client, whatever its exit status."""
        return self.client.run(*argv, check=False, timeout=TIMEOUT_S, **kwargs)

    def forget_paths(self):
        """The client knows no path MTU any more."""
        self.client.run("ip", "route", "flush", "cache")
        self.client.run("ip", "-6", "route", "flush", "cache")


@contextlib.contextmanager
def serving(ns, port, *argv, **kwargs):
    """A server process that listens at a TCP port, for a block."""
    process = ns.popen(*argv, **kwargs)
    try:
        wait_for(lambda: process.poll() is not None
                 or f":{port} " in ns.run("ss", "-Hltn").stdout, 10, f"{argv[0]} to listen")
        assert process.poll() is None, process.communicate()[0]
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=patience(5))


def bracketed(address):
    """An address as it stands in front of a port."""
    return f"[{address}]" if ":" in address else address


# ---- iperf3, curl, ssh -------------------------------------------------------------


def iperf3(network, family):
    """TCP up and down and UDP: all bytes arrive."""
    found = []
    for options in (("-n", "8M"), ("-R", "-n", "8M"), ("-u", "-b", "20M", "-n", "500K")):
        with serving(network.server, 5201, "iperf3", "-s", "-1"):
            done = network.run("iperf3", "-J", "-c", SERVER[family], *options)
        report = json.loads(done.stdout)
        total = report.get("end", {}).get("sum_received") or report.get("end", {}).get("sum", {})
        found.append((done.returncode, report.get("error"), total.get("bytes", 0) > 400000))
    return found


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files of a directory, in silence; what is sent is counted."""

    def do_POST(self):  # pylint: disable=invalid-name
        """Say how much it was, once all of it has come."""
        left = size = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d" % size)

    def log_message(self, *_):  # pylint: disable=arguments-differ
        """Say nothing."""


@contextlib.contextmanager
def serving_files(ns, address, port, folder):
    """Python's HTTP server in a namespace; as a process it would ask for its name by DNS."""
    server = http.server.ThreadingHTTPServer(
        (address, port), functools.partial(_Files, directory=folder), bind_and_activate=False)
    server.socket.close()
    server.socket = ns.socket(family_of(address), socket.SOCK_STREAM)
    server.socket.settimeout(None)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.socket.bind((address, port))
    server.server_activate()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def curl(network, family):
    """A file of five megabytes, one that is not there, and one sent."""
    folder = network.lab.dir / "www"
    folder.mkdir(exist_ok=True)
    data = bytes(i * i & 255 for i in range(1 << 16)) * 80
    (folder / "file").write_bytes(data)
    url = f"http://{bracketed(SERVER[family])}:8000"
    with serving_files(network.server, SERVER[family], 8000, folder):
        target = network.lab.dir / "got"
        got = network.run("curl", "-sS", "-g", "-o", target, "-w", "%{http_code}", url + "/file")
        missing = network.run("curl", "-sS", "-g", "-I", url + "/none")
        sent = network.run("curl", "-sS", "-g", "--data-binary", f"@{folder / 'file'}",
                           url + "/file")
    return (got.returncode, got.stdout, target.read_bytes() == data, missing.returncode,
            missing.stdout.splitlines()[:1], sent.returncode, sent.stdout)


SSHD = """
mount -t tmpfs -o mode=700 tmpfs /root && mkdir -m 700 /root/.ssh &&
printf '%s\\n' "$1" >/root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys &&
exec dropbear -F -E -s -r "$2" -p "$3" -P "$4"
"""


def _ssh_keys(folder):
    """Keys of a user and of a host, made for this lab: (private, text of public, host)."""
    user, host = folder / "user", folder / "host"
    if not user.exists():
        folder.mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", user], check=True)
        subprocess.run(["dropbearkey", "-t", "ed25519", "-f", host], check=True,
                       capture_output=True)
    return user, (folder / "user.pub").read_text("ascii").strip(), host


def ssh(network, family):
    """A command with much input and output; its exit status."""
    folder = network.lab.dir / "ssh"
    key, public, host = _ssh_keys(folder)
    text = "".join(f"line {i}\n" for i in range(100000))
    where = f"{bracketed(SERVER[family])}:2222"
    # The keys of the real root stay out of sight, in this mount namespace only.
    with serving(network.server, 2222, "unshare", "--mount", "--propagation", "private",
                 "sh", "-c", SSHD, "sshd", public, host, where, folder / "pid"):
        done = network.run(
            "ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "GlobalKnownHostsFile=/dev/null", "-q", "-p", 2222,
            f"root@{SERVER[family]}", "cat; exit 7", input=text)
    return done.returncode, hashlib.sha256(done.stdout.encode()).hexdigest(), done.stderr


# ---- DNS ---------------------------------------------------------------------------


def _answer(query):
    """What the server says: an address, or as many texts as the first label says."""
    end = query.index(b"\0", 12) + 5
    question, kind = query[12:end], struct.unpack_from("!H", query, end - 4)[0]
    first = query[13:13 + query[12]]
    if kind == 16:
        data = [b"\xff" + b"x" * 255] * int(first)
    else:
        data = [bytes([203, 0, 113, 7])]
    records = b"".join(struct.pack("!HHHIH", 0xc00c, kind, 1, 60, len(d)) + d for d in data)
    return query[:2] + struct.pack("!HHHHH", 0x8400, 1, len(data), 0, 0) + question + records


class DnsServer:
    """Answers over UDP and TCP until the block ends."""

    def __init__(self, ns, address):
        self._sockets = []
        for kind, serve in ((socket.SOCK_DGRAM, self._udp), (socket.SOCK_STREAM, self._tcp)):
            s = ns.socket(family_of(address), kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, 53))
            s.settimeout(0.1)
            self._sockets.append((s, serve))
        self._sockets[1][0].listen(5)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=pair) for pair in self._sockets]

    def _run(self, s, serve):
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                serve(s)

    @staticmethod
    def _udp(s):
        query, peer = s.recvfrom(4096)
        s.sendto(_answer(query), peer)

    @staticmethod
    def _tcp(s):
        connection, _ = s.accept()
        with connection:
            connection.settimeout(patience(2))
            length, = struct.unpack("!H", connection.recv(2))
            answer = _answer(connection.recv(length))
            connection.sendall(struct.pack("!H", len(answer)) + answer)
            connection.recv(1)  # the client closes first

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for s, _ in self._sockets:
            s.close()


def dig(network, family):
    """A small answer, one in fragments, one over TCP."""
    found = []
    with DnsServer(network.server, SERVER[family]):
        for options in (("host.example", "A"), ("12.example", "TXT", "+bufsize=4096"),
                        ("100.example", "TXT", "+tcp")):
            done = network.run("dig", "+short", "+tries=1", f"+timeout={patience(5):.0f}",
                               f"@{SERVER[family]}", *options)
            found.append((done.returncode, done.stdout))
    return found


# ---- ping, traceroute, tracepath, path MTU -----------------------------------------


def _ping(network, address, *options):
    done = network.run("ping", "-n", "-q", "-c", 3, "-i", "0.2", "-W", patience(2), *options,
                       address)
    return done.returncode, re.findall(r"\d+ packets transmitted, \d+ received", done.stdout)


def ping(network, family):
    """Small ones, and 60 000 bytes in fragments."""
    return _ping(network, SERVER[family]), _ping(network, SERVER[family], "-s", 60000)


def ping_narrow(network, family):
    """60 000 bytes, in fragments that are too large for the narrow link at first."""
    network.forget_paths()
    # IPv6 loses the first one, and fragments again when it is told to.
    _ping(network, FAR[family], "-s", 60000)
    return _ping(network, FAR[family], "-s", 60000)


def _traceroute(network, family, *options):
    done = network.run("traceroute", f"-{family}", "-n", "-q", "1", "-w", patience(3), *options,
                       FAR[family])
    return done.returncode, re.findall(r"^ *(\d+)  (\S+)(?:  [\d.]+ ms)?(.*)$", done.stdout, re.M)


def traceroute_udp(network, family):
    """Every router, and the end that has no such port."""
    return _traceroute(network, family)


def traceroute_icmp(network, family):
    """The same with echo requests."""
    return _traceroute(network, family, "-I")


def traceroute_tcp(network, family):
    """The same with SYNs to a port that nobody listens at."""
    return _traceroute(network, family, "-T", "-p", 80)


def tracepath(network, family):
    """Every router, and the path MTU."""
    network.forget_paths()
    done = network.run("tracepath", f"-{family}", "-n", FAR[family])
    hops = re.findall(r"^ *(\d+): +([0-9a-f.:]+) ", done.stdout, re.M)
    return done.returncode, sorted(set(hops)), re.findall(r"Resume: .*\S", done.stdout)


# linux/in.h, linux/in6.h
MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}
DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}


def path_mtu_tcp(network, family):
    """An upload whose segments are too large for the narrow link at first."""
    network.forget_paths()
    with TcpEcho(network.far, FAR[family], 7), \
            tcp_connect(network.client, FAR[family], 7) as s:
        s.settimeout(patience(10))
        before = s.getsockopt(*MTU[family])
        return before, tcp_talk(s, bytes(300000)), s.getsockopt(*MTU[family])


def path_mtu_udp(network, family):
    """A datagram that may not be fragmented, until it is told how large it may be."""
    network.forget_paths()
    with network.client.socket(family_of(FAR[family]), socket.SOCK_DGRAM) as s:
        s.setsockopt(*DISCOVER[family], 2)  # IP_PMTUDISC_DO
        s.connect((FAR[family], 9))
        s.send(bytes(1400))
        wait_for(lambda: s.getsockopt(*MTU[family]) != 1500, 5, "the path MTU")
        with contextlib.suppress(OSError):  # what is pending of the first one
            s.send(b"")
        try:
            s.send(bytes(1400))
            return "sent"
        except OSError as error:
            return error.errno, s.getsockopt(*MTU[family])


# ---- SCTP --------------------------------------------------------------------------


def sctp(network, family):
    """An association, a message each way, and its end."""
    kind = socket.SOCK_STREAM, socket.IPPROTO_SCTP
    # Bound to one address each: else both would try all the others have told.
    with network.server.socket(family_of(SERVER[family]), *kind) as listener, \
            network.client.socket(family_of(SERVER[family]), *kind) as s:
        listener.bind((SERVER[family], 5001))
        listener.listen(1)
        s.bind((CLIENT[family], 0))
        s.settimeout(patience(5))
        s.connect((SERVER[family], 5001))
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(patience(5))
            s.send(bytes(4000))
            got = 0
            while got < 4000:
                got += len(connection.recv(65536))
            connection.send(b"fine")
            answer = s.recv(100)
            s.shutdown(socket.SHUT_RDWR)
            return got, answer, connection.recv(1)
