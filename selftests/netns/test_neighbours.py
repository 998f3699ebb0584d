# SPDX-License-Identifier: GPL-2.0-only
"""A good neighbour: nftables NAT and `ct state` rules beside fwctl."""

import socket
import threading

import pytest

from lab.lab import LAN, SERVER, WAN
from lab.netns import wait_for
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
THROUGH = ("accept forward wan -> lan proto { tcp, udp } to port { 7, 80 } label through\n"
           "accept forward wan -> lan proto icmp type echo-request label pings\n")
PUBLISHED = ("accept in on wan proto { tcp, udp } to self port 8080 label published\n"
             "accept forward wan -> lan proto { tcp, udp } to port { 80, 8080 } label through\n")
MASQUERADE = """\
table inet lab_nat {
	chain out {
		type nat hook postrouting priority srcnat;
		oifname "fw-lan" masquerade
	}
}
"""
DNAT = """\
table inet lab_dnat {
	chain in {
		type nat hook prerouting priority dstnat;
		meta nfproto ipv4 meta l4proto { tcp, udp } th dport 8080 dnat ip to %s:80
		meta nfproto ipv6 meta l4proto { tcp, udp } th dport 8080 dnat ip6 to [%s]:80
	}
}
""" % (SERVER[4], SERVER[6])
INVALID = """\
table inet lab_filter {
	chain forward {
		type filter hook forward priority filter;
		ct state invalid counter drop
	}
}
"""


@pytest.fixture
def nat_lab(lab):
    """The lab without any nftables rule before and after."""
    lab.firewall.run("nft", "flush", "ruleset")
    yield lab
    lab.firewall.run("nft", "flush", "ruleset")


def nft(lab, text):
    """Add to the firewall's nftables rules."""
    lab.firewall.run("nft", "-f", lab.write("rules.nft", text))


@both
@pytest.mark.parametrize("first", ["nft", "fwctl"])
def test_masquerade(nat_lab, family, first):
    """New connections are masqueraded, whichever was loaded first."""
    lab = nat_lab
    if first == "nft":
        lab.unload()
        nft(lab, MASQUERADE)
    lab.load(DENY + THROUGH)
    if first == "fwctl":
        nft(lab, MASQUERADE)
    before = lab.counters()
    with lab.server.sniffer("eth0") as sniffer, TcpEcho(lab.server, SERVER[family], 7), \
            UdpEcho(lab.server, SERVER[family], 7):
        with tcp_connect(lab.client, SERVER[family], 7) as s:
            for _ in range(5):
                assert tcp_talk(s, bytes(5000))
        assert udp_try(lab.client, SERVER[family], 7) == "ok"
        assert ping(lab.client, SERVER[family], 3)
        # fragments of the very first datagram of a translated flow
        assert ping(lab.client, SERVER[family], 1, 30000)
        # a reset kills the kernel's entry before TC egress sees it
        assert tcp_try(lab.client, SERVER[family], 80) == "refused"
        source = socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6,
                                  LAN[family])
        at = 26 if family == 4 else 22
        l4 = 23 if family == 4 else 20
        for proto in (6, 17, 1 if family == 4 else 58):
            assert sniffer.count(lambda f, p=proto: f[l4] == p and f[at:at + len(source)] == source)
    gained = lab.counters() - before
    assert not gained.drops(), gained
    assert tcp_try(lab.client, SERVER[family], 9, timeout=0.2) == "timeout"


@both
def test_dnat(nat_lab, family):
    """A DNATed flow is judged by what the client asked for, and works."""
    lab = nat_lab
    nft(lab, DNAT)
    lab.load(DENY + PUBLISHED)
    before = lab.counters()
    with TcpEcho(lab.server, SERVER[family], 80), UdpEcho(lab.server, SERVER[family], 80):
        with tcp_connect(lab.client, WAN[family], 8080) as s:
            for _ in range(5):
                assert tcp_talk(s, bytes(5000))
            lab.load(DENY
                     + "accept in on wan proto { tcp, udp } to self port 8080 label published\n"
                     + "accept forward wan -> lan proto { tcp, udp } to port { 80, 8080 }\n")
            assert tcp_talk(s, bytes(5000))
        assert udp_try(lab.client, WAN[family], 8080) == "ok"
    # nobody listens any more: the client is told so
    assert tcp_try(lab.client, WAN[family], 8080) == "refused"
    gained = lab.counters() - before
    assert not gained.drops(), gained


@both
def test_dnat_of_denied(nat_lab, family):
    """DNAT is no way around the rules."""
    lab = nat_lab
    nft(lab, DNAT)
    lab.load(DENY)
    with TcpEcho(lab.server, SERVER[family], 80):
        assert tcp_try(lab.client, WAN[family], 8080, timeout=0.3) == "timeout"


@both
def test_invalid_drop_during_download(nat_lab, family):
    """`ct state invalid drop` appears while megabytes flow to the client."""
    lab = nat_lab
    lab.load(DENY + THROUGH)
    size = 48 << 20
    listener = lab.server.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                 socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((SERVER[family], 80))
    listener.listen()

    def serve():
        connection, _ = listener.accept()
        connection.settimeout(20)
        with connection:
            connection.sendall(bytes(size))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    got = 0
    with listener, tcp_connect(lab.client, SERVER[family], 80) as s:
        s.settimeout(5)
        added = False
        while data := s.recv(1 << 18):
            got += len(data)
            if got > size // 4 and not added:
                nft(lab, INVALID)
                added = True
    assert added and got == size
    counter = lab.firewall.run("nft", "list", "table", "inet", "lab_filter").stdout
    assert "packets 0 " in counter, counter
    thread.join(5)


@both
def test_invalid_drop_before_the_servers_turn(nat_lab, family):
    """The first packet that the new hooks see is a reply of an idle connection."""
    lab = nat_lab
    lab.load(DENY + THROUGH)
    with TcpEcho(lab.server, SERVER[family], 7) as server, \
            tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        port = f"sport={s.getsockname()[1]}"
        wait_for(lambda: any("ESTABLISHED" in line and port in line.split()
                             for line in lab.conntrack()), 5, "ESTABLISHED")
        nft(lab, INVALID)
        server.say(b"the server speaks first")
        assert s.recv(100) == b"the server speaks first"
        assert tcp_talk(s)


@both
def test_removing_nat_again(nat_lab, family):
    """Flows go on being judged after the hooks are gone."""
    lab = nat_lab
    nft(lab, MASQUERADE)
    lab.load(DENY + THROUGH)
    with TcpEcho(lab.server, SERVER[family], 7):
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        lab.firewall.run("nft", "flush", "ruleset")
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        assert tcp_try(lab.client, SERVER[family], 9, timeout=0.2) == "timeout"
