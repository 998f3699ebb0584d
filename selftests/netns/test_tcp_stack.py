# SPDX-License-Identifier: GPL-2.0-only
"""Linux's TCP as the judge: what two stacks say to each other is legal, whatever the line does.

Through a firewall that accepts every new connection, thousands of random exchanges: no packet
may be dropped, every byte arrives, and both ends learn what they would without us.
And the contrary: what no stack says changes nothing for those who talk.
"""

import collections
import contextlib
import errno
import hashlib
import os
import random
import select
import socket
import sys
import time

import pytest

from lab.lab import CLIENT, CLIENT_MAC, SERVER, TOP, WAN, Lab
from lab.netns import SLOWNESS, patience, wait_for
from lab.packets import TCP, frame, ip
from lab.traffic import cut, ping, tcp_connect

pytestmark = pytest.mark.alternate
both = pytest.mark.parametrize("family", [4, 6])
SEED = int(os.environ.get("FWCTL_SEED") or random.SystemRandom().randrange(1 << 32))
PORT = 7
ALL = "default in accept\ndefault out accept\ndefault forward accept\n"
ONE = ("default in drop\ndefault out drop\ndefault forward drop\n"
       "accept forward wan -> lan proto tcp to port 7 label through\n"
       "accept in on wan proto tcp to self port 7 label self\n")
# Milliseconds that a packet takes, and may take longer; percent that are lost, and doubled.
LINES = {"clean": (0, 0, 0, 0), "late": (1, 4, 0, 0), "bad": (1, 4, 4, 3)}
# Reasons that only packets have which are late: their connection is over for both ends.
LATE = {"tcp-no-syn"}


def lay_line(lab):
    """Put a namespace between the client and the firewall, whose interfaces are wc and wf."""
    client, between = lab.client, lab.namespace("w")
    client.run("ip", "link", "set", "eth0", "netns", between.name)
    between.run("ip", "link", "set", "eth0", "name", "wf", "address", "02:00:00:00:03:01")
    lab.wire(between, "wc", client, "eth0", None, CLIENT_MAC)
    client.run("ip", "address", "add", f"{CLIENT[4]}/24", "dev", "eth0")
    client.run("ip", "address", "add", f"{CLIENT[6]}/64", "dev", "eth0", "nodad")
    client.run("ip", "route", "add", "default", "via", WAN[4])
    client.run("ip", "-6", "route", "add", "default", "via", WAN[6])
    between.run("ip", "link", "add", "clean", "type", "bridge", "mcast_snooping", "0")
    for iface in ("wc", "wf"):
        between.run("ip", "link", "set", iface, "up", "promisc", "on", "master", "clean")
    between.run("ip", "link", "set", "clean", "up")
    return between


@pytest.fixture(scope="module")
def module_lab():
    """The lab with a line between client and firewall; every packet is one frame."""
    with Lab() as lab:
        lab.between = lay_line(lab)
        for ns, iface in ((lab.client, "eth0"), (lab.server, "eth0"), (lab.firewall, "fw-wan"),
                          (lab.firewall, "fw-lan")):
            ns.run("ethtool", "-K", iface, "tso", "off", "gso", "off")
        for ns in (lab.client, lab.server, lab.firewall):
            ns.sysctl(net__ipv4__ip_local_port_range="20000 21500",  # ports come again soon
                      net__ipv4__tcp_tw_reuse="1", net__ipv4__tcp_fin_timeout="3")
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


CLOSING = ("fin-wait-1", "last-ack", "closing", "syn-sent", "syn-recv")


def still_closing(lab):
    """Connections whose stacks still have something to say to the other end."""
    wanted = [word for state in CLOSING for word in ("state", state)]
    return "".join(ns.run("ss", "-Htan", *wanted).stdout
                   for ns in (lab.client, lab.firewall, lab.server))


@pytest.fixture(autouse=True)
def silence(lab):
    """What one test has left unsaid is no drop of the next one."""
    yield
    wait_for(lambda: not still_closing(lab), 20, "an end of all connections")


@contextlib.contextmanager
def line(lab, kind):
    """The line is of LINES within the block, and clean before and after."""
    if not any(LINES[kind]):
        yield
        return
    for iface in ("wc", "wf"):
        lab.between.run("ip", "link", "set", iface, "nomaster")
    process = lab.between.popen(sys.executable, "-m", "lab.line", "wc", "wf", SEED, *LINES[kind],
                                cwd=TOP / "selftests")
    try:
        wait_for(lambda: ping(lab.client, WAN[4], timeout=0.2), 10, "the line")
        yield
        assert process.poll() is None, process.communicate()
    finally:
        process.kill()
        process.communicate()
        for iface in ("wc", "wf"):
            lab.between.run("ip", "link", "set", iface, "master", "clean")


def content(seed, size):
    """Bytes that do not repeat."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


class Side:
    """One end of an exchange: what it has still to send, and what it got."""

    def __init__(self, sock, data, chunk, half_close):
        self.sock, self.left, self.chunk, self.half_close = sock, data, chunk, half_close
        self.ended = self.shut = False
        self.got = bytearray()
        sock.setblocking(False)

    def step(self):
        """Do what can be done now; an OSError goes to the caller."""
        with contextlib.suppress(BlockingIOError):
            while self.left:
                n = self.sock.send(self.left[:self.chunk])
                self.left = self.left[n:]
        with contextlib.suppress(BlockingIOError):
            while not self.ended:
                more = self.sock.recv(1 << 16)
                self.ended = not more
                self.got += more
        if not self.left and not self.shut and (self.half_close or self.ended):
            self.sock.shutdown(socket.SHUT_WR)
            self.shut = True

    @property
    def done(self):
        return self.ended and self.shut


class Exchange:
    """Two ends of a connection and what they are to do, drawn from `rng`."""

    ENDS = ("close", "close", "close", "reset", "reset-answer")

    def __init__(self, rng, number, near, far):
        self.number, self.near_sock, self.far_sock = number, near, far
        sizes = [rng.choice((0, 1, 100, 3000, 40000, rng.randrange(100000))) for _ in range(2)]
        self.end = rng.choice(self.ENDS)
        self.data = [content((SEED, number, i), n) for i, n in enumerate(sizes)]
        first = rng.randrange(2)  # who says that it has no more to say, before it heard all
        self.sides = [Side(s, self.data[i], rng.choice((100, 1460, 20000)), i == first)
                      for i, s in enumerate((near, far))]
        self.over = False

    def step(self):
        """True if both ends are done, or what was to be has happened."""
        near, far = self.sides
        near.step()
        far.step()
        if self.end != "close" and bytes(far.got) == self.data[0] and \
                bytes(near.got) == self.data[1] and not self.over:
            # a reset once everything has arrived: the other side may have ended already
            cut(near.sock if self.end == "reset" else far.sock)
            (near if self.end == "reset" else far).sock.close()
            self.over = True
            return True
        return near.done and far.done

    def check(self):
        """Nothing was lost and nothing was added."""
        near, far = self.sides
        assert bytes(far.got) == self.data[0], (self.number, len(far.got), len(self.data[0]))
        assert bytes(near.got) == self.data[1], (self.number, len(near.got), len(self.data[1]))

    def close(self):
        for side in self.sides:
            side.sock.close()


def opened(ns, family):
    """A socket that may take a port whose last connection is in TIME_WAIT."""
    s = ns.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return s


class Run:
    """Many exchanges at once between two namespaces, until all have ended."""

    AT_ONCE = 60

    def __init__(self, rng, opener, acceptor, address, family):
        self.rng, self.opener, self.address, self.family = rng, opener, address, family
        self.listener = opened(acceptor, family)
        self.listener.bind((address, PORT))
        self.listener.listen(256)
        self.listener.setblocking(False)
        self.waiting, self.running, self.counts = {}, [], collections.Counter()

    def start(self):
        """One more connection begins; its port may have been used a moment ago."""
        s = opened(self.opener, self.family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rng.choice((4096, 1 << 18)))
        s.setblocking(False)
        if s.connect_ex((self.address, PORT)) not in (0, errno.EINPROGRESS):
            s.close()
            return
        self.waiting[s.getsockname()[1]] = s

    def accept(self):
        """Pair what has arrived with who opened it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                far, peer = self.listener.accept()
                near = self.waiting.pop(peer[1])
                self.counts["begun"] += 1
                self.running.append(Exchange(self.rng, self.counts["begun"], near, far))

    def go(self, total, seconds):
        """`total` exchanges in at most `seconds`."""
        end = time.monotonic() + patience(seconds)
        while self.counts["ended"] < total:
            assert time.monotonic() < end, (self.counts, len(self.waiting))
            while len(self.waiting) + len(self.running) < min(
                    self.AT_ONCE, total - self.counts["ended"]):
                self.start()
            self.accept()
            for exchange in list(self.running):
                if exchange.step():
                    exchange.check()
                    exchange.close()
                    self.counts["ended"] += 1
                    self.counts[exchange.end] += 1
                    self.running.remove(exchange)
            select.select([self.listener, *(s.sock for e in self.running for s in e.sides)], [],
                          [], 0.01)

    def close(self):
        self.listener.close()
        for s in self.waiting.values():
            s.close()
        for exchange in self.running:
            exchange.close()


@both
@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("place", ["router", "host"])
def test_random_exchanges(lab, family, kind, place, record_property):
    """Hundreds of them on a line that is clean, late or bad."""
    record_property("seed", SEED)
    rng = random.Random(f"{SEED} {family} {kind} {place} {lab.mode}")
    lab.load_once(ALL)
    acceptor, address = (lab.server, SERVER) if place == "router" else (lab.firewall, WAN)
    before = lab.counters()
    with line(lab, kind):
        run = Run(rng, lab.client, acceptor, address[family], family)
        try:
            run.go(int(150 / SLOWNESS), 60)
        finally:
            run.close()
        gained = lab.counters() - before
    drops = gained.drops()
    if kind == "clean":
        # nothing is ever late, and nobody but a reset ends a flow at once
        assert not drops, (SEED, gained)
    assert drops.keys() <= LATE, (SEED, gained)


@both
@pytest.mark.parametrize("place", ["router", "host"])
def test_simultaneous_open(lab, family, place):
    """Both ends connect to each other; what the line makes of it is up to the two."""
    lab.load_once(ALL)
    far_ns, far_address = (lab.server, SERVER) if place == "router" else (lab.firewall, WAN)
    rng, crossed = random.Random(f"{SEED} {family} {place}"), 0
    before = lab.counters()
    with line(lab, "late"):
        for i in range(int(40 / SLOWNESS) + 1):
            with opened(lab.client, family) as near, opened(far_ns, family) as far:
                near.bind((CLIENT[family], 22000 + i))
                far.bind((far_address[family], 23000 + i))
                for s in (near, far):
                    s.setblocking(False)
                near.connect_ex((far_address[family], 23000 + i))
                far.connect_ex((CLIENT[family], 22000 + i))
                ends = [Side(near, content((SEED, i, 0), 3000), 1460, bool(rng.randrange(2))),
                        Side(far, content((SEED, i, 1), 3000), 1460, True)]
                if not together(ends):
                    continue
                crossed += 1
                assert bytes(ends[0].got) == content((SEED, i, 1), 3000)
                assert bytes(ends[1].got) == content((SEED, i, 0), 3000)
        gained = lab.counters() - before
    assert crossed > int(10 / SLOWNESS), crossed
    assert not gained.drops(), (SEED, gained)


def together(ends):
    """Let both sides talk to their end; False if they have not met."""
    end = time.monotonic() + patience(5)
    while not all(side.done for side in ends):
        assert time.monotonic() < end, [(len(side.left), len(side.got)) for side in ends]
        for side in ends:
            try:
                side.step()
            except OSError as e:
                if e.errno == errno.ECONNREFUSED:
                    return False
                if e.errno not in (errno.ENOTCONN, errno.EPIPE):
                    raise
        time.sleep(0.001)
    return True


@both
@pytest.mark.parametrize("first", ["opener", "answerer"])
def test_port_again_in_time_wait(lab, family, first):
    """The same two ports, again and again, right after the end, whoever ended first."""
    lab.load_once(ALL)
    before = lab.counters()
    with opened(lab.server, family) as listener:
        listener.bind((SERVER[family], PORT))
        listener.listen(16)
        for i in range(int(100 / SLOWNESS) + 1):
            near = tcp_connect(lab.client, SERVER[family], PORT, source=(CLIENT[family], 24000))
            far = listener.accept()[0]
            far.settimeout(patience(2))
            near.sendall(b"ask")
            assert far.recv(3) == b"ask"
            sides = (near, far) if first == "opener" else (far, near)
            if first == "opener" and i % 2:
                cut(near)  # else its TIME_WAIT would hold the port for a minute
            elif first == "opener":
                cut(far)
                sides = (far, near)
            sides[0].close()
            with contextlib.suppress(ConnectionResetError):
                assert sides[1].recv(1) == b""
            sides[1].close()
        gained = lab.counters() - before
    assert not gained.drops(), (SEED, gained)


@both
def test_keepalive(lab, family):
    """Silent for longer than an established flow lives, but for what keeps it alive."""
    lab.load(ALL + "timeout tcp-established 2s\n")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(opened(lab.server, family))
        listener.bind((SERVER[family], PORT))
        listener.listen(16)
        pairs = []
        for i in range(20):
            near = stack.enter_context(tcp_connect(lab.client, SERVER[family], PORT))
            far = stack.enter_context(listener.accept()[0])
            side = (near, far)[i % 2]
            side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            pairs.append((near, far))
        before = lab.counters()
        time.sleep(5)
        for near, far in pairs:
            far.settimeout(patience(2))
            near.sendall(b"still here")
            assert far.recv(10) == b"still here"
        assert not (lab.counters() - before).drops(), lab.counters() - before


@both
def test_half_closed_for_long(lab, family):
    """One side ended at once, the other one talks for longer than an end may take."""
    lab.load(ALL + "timeout tcp-fin 2s\n")
    with opened(lab.server, family) as listener:
        listener.bind((SERVER[family], PORT))
        listener.listen(16)
        with tcp_connect(lab.client, SERVER[family], PORT) as near:
            with listener.accept()[0] as far:
                near.shutdown(socket.SHUT_WR)
                before = lab.counters()
                far.settimeout(patience(2))
                assert far.recv(1) == b""
                for i in range(3):
                    time.sleep(1.4)
                    far.sendall(b"%d" % i)
                    assert near.recv(1) == b"%d" % i
            assert near.recv(1) == b""
        assert not (lab.counters() - before).drops(), lab.counters() - before


def illegal(rng, family, address, ports):
    """A frame that no stack sends, or none in this place, of a connection that may run."""
    ends = {"src": CLIENT[family], "dst": address[family]}
    known = rng.random() < 0.6
    sport = rng.choice(ports) if known else rng.randrange(30000, 60000)
    if rng.randrange(2):
        flags = "".join(f for f in "FSRPAU" if rng.randrange(2))
        if len(set(flags) & set("FSR")) < 2 and (set(flags) & set("SRA") or not flags):
            flags = "FSU"
    else:  # a FIN of a known one is believed: it only says that less is to come
        flags = rng.choice(("A", "PA", "RA", "R", "S") if known else ("A", "PA", "FA", "SA", "R"))
    packet = ip(family, **ends) / TCP(sport=sport, dport=PORT, flags=flags,
                                      seq=rng.randrange(1 << 32), ack=rng.randrange(1 << 32),
                                      window=rng.randrange(1 << 16))
    return frame(packet / rng.randbytes(rng.choice((0, 1, 500))))


def states(lab):
    """(state, seconds left) of each TCP connection by the port of its opener."""
    found = {}
    for line_ in lab.conntrack("-p", "tcp"):
        words = line_.split()
        port = next(int(w[6:]) for w in words if w.startswith("sport="))
        found[port] = next((w for w in words if w.isupper() and w != "UNREPLIED"), None), int(
            words[2])
    return found


@both
@pytest.mark.parametrize("place", ["router", "host"])
def test_illegal_packets(lab, family, place):
    """Hundreds of packets that nobody sends: no entry is made, none ends, all go on talking."""
    lab.load(ONE)
    far_ns, address = (lab.server, SERVER) if place == "router" else (lab.firewall, WAN)
    rng = random.Random(f"{SEED} {family} {place} {lab.mode}")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(opened(far_ns, family))
        listener.bind((address[family], PORT))
        listener.listen(64)
        pairs = []
        for _ in range(10):
            near = stack.enter_context(tcp_connect(lab.client, address[family], PORT))
            far = stack.enter_context(listener.accept()[0])
            far.settimeout(patience(3))
            pairs.append((near, far))
        ports = [near.getsockname()[1] for near, _ in pairs]
        talk(pairs)
        wait_for(lambda: all(states(lab).get(p, ("",))[0] == "ESTABLISHED" for p in ports), 5,
                 "the states")
        before = lab.counters()
        for turn in range(10):
            made = [illegal(rng, family, address, ports) for _ in range(int(60 / SLOWNESS) + 1)]
            lab.client.send_raw("eth0", made)
            talk(pairs)
            assert set(states(lab)) == set(ports), (SEED, turn)
        gained = lab.counters() - before
        talk(pairs)
        wait_for(lambda: all(states(lab)[p][0] == "ESTABLISHED" for p in ports), 5, "the states")
        assert all(states(lab)[p][1] > 3600 for p in ports), states(lab)
    assert gained.drops().keys() >= {"tcp-flags", "tcp-no-syn"}, (SEED, gained)
    assert not gained.get("new"), (SEED, gained)


def talk(pairs):
    """All of them, both ways."""
    for near, far in pairs:
        near.sendall(b"ask")
        assert far.recv(3) == b"ask"
        far.sendall(b"tell")
        assert near.recv(4) == b"tell"
