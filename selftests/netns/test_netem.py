# SPDX-License-Identifier: GPL-2.0-only
"""A bad line: lost, late, doubled and reordered packets are no reason to drop any."""

import hashlib
import socket
import threading

import pytest

from lab.lab import SERVER, Lab
from lab.netns import patience, wait_for
from lab.traffic import cut, tcp_connect

pytestmark = [pytest.mark.needs("netem"), pytest.mark.modes("xdp", "tc")]
families = pytest.mark.parametrize("family", [4, 6])
RULES = ("default in drop\ndefault out drop\ndefault forward drop\n"
         "accept forward wan -> lan proto tcp to port 7 label bulk\n")
BAD = ("delay", "20ms", "5ms", "loss", "5%", "reorder", "25%", "50%", "duplicate", "2%")
SIZE = 1 << 20


@pytest.fixture(scope="module")
def module_lab():
    """The lab behind a bad line on both sides, in both directions."""
    with Lab() as lab:
        # More than 64 KiB at once would be one packet for netem, lost as a whole.
        for ns, iface in ((lab.client, "eth0"), (lab.server, "eth0"), (lab.firewall, "fw-wan"),
                          (lab.firewall, "fw-lan")):
            ns.run("ethtool", "-K", iface, "tso", "off", "gso", "off")
        for ns in (lab.client, lab.server):
            ns.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", *BAD)
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


def data(seed):
    """Bytes that do not repeat, so that nothing can be exchanged unnoticed."""
    return hashlib.shake_128(seed).digest(SIZE)


def receive(s):
    """As many bytes as data() has, or fewer if they stop."""
    got = bytearray()
    while len(got) < SIZE and (more := s.recv(1 << 16)):
        got += more
    return bytes(got)


@families
def test_both_directions(lab, family):
    """A megabyte each way at once arrives whole; not one packet is dropped by us."""
    lab.load(RULES)
    listener = lab.server.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                 socket.SOCK_STREAM)
    listener.bind((SERVER[family], 7))
    listener.listen()
    listener.settimeout(patience(20))
    up, down, arrived, done = data(b"up"), data(b"down"), [], threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(patience(60))
            sender = threading.Thread(target=connection.sendall, args=(down,), daemon=True)
            sender.start()
            arrived.append(receive(connection))
            sender.join(patience(60))
            done.wait(patience(60))  # a reset would take along what is still on its way
            cut(connection)
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    before = lab.counters()
    with listener, tcp_connect(lab.client, SERVER[family], 7, timeout=20) as s:
        s.settimeout(patience(60))
        sender = threading.Thread(target=s.sendall, args=(up,), daemon=True)
        sender.start()
        back = receive(s)
        sender.join(patience(60))
        wait_for(lambda: arrived, 60, "the way up")
        # Before either side ends: what is late after the end belongs to no flow.
        gained = lab.counters() - before
        done.set()
        cut(s)
    server.join(patience(60))
    assert back == down, f"{len(back)} bytes came back"
    assert arrived == [up], f"{[len(x) for x in arrived]} bytes arrived"
    assert not gained.drops(), gained
    assert gained.get("new") >= 1 and gained.get("established", lab.hook, "fw-lan") > 300, gained
