# SPDX-License-Identifier: GPL-2.0-only
"""A good neighbour: nftables NAT and `ct state` rules beside fwctl."""

import pathlib
import socket
import subprocess
import threading

import pytest

from lab.lab import LAN, SERVER, WAN
from lab.netns import patience, wait_for
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
# Conntrack's own place in the order of hooks, and what is not conntrack.
SAME_PRIORITY = """\
table inet lab_early {
	chain in {
		type filter hook prerouting priority -200;
		counter
	}
}
"""
KPTR_RESTRICT = pathlib.Path("/proc/sys/kernel/kptr_restrict")


@pytest.fixture
def nat_lab(lab):
    """The lab without any nftables rule before and after."""
    lab.firewall.run("nft", "flush", "ruleset")
    yield lab
    lab.firewall.run("nft", "flush", "ruleset")


@pytest.fixture
def hidden_symbols():
    """Every kernel address reads as 0; undone also if this process is killed."""
    before = KPTR_RESTRICT.read_text(encoding="ascii").strip()
    with subprocess.Popen(["sh", "-c", f"cat; echo {before} >{KPTR_RESTRICT}"],
                          stdin=subprocess.PIPE, start_new_session=True):
        KPTR_RESTRICT.write_text("2", encoding="ascii")
        yield


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
def test_reload_before_an_answer(nat_lab, family):
    """What a load judges again first is an answer, to the address of the masquerade."""
    lab = nat_lab
    nft(lab, MASQUERADE)
    lab.load(DENY + THROUGH)
    with TcpEcho(lab.server, SERVER[family], 7) as server, \
            tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        before = lab.counters()
        lab.load(DENY + THROUGH + "# again\n")
        server.say(b"hello")
        assert s.recv(5) == b"hello"
        assert tcp_talk(s)
        assert not (lab.counters() - before).drops(), lab.counters() - before


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
        connection.settimeout(patience(20))
        with connection:
            connection.sendall(bytes(size))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    got = 0
    with listener, tcp_connect(lab.client, SERVER[family], 80) as s:
        s.settimeout(patience(5))
        added = False
        while data := s.recv(1 << 18):
            got += len(data)
            if got > size // 4 and not added:
                nft(lab, INVALID)
                added = True
    assert added and got == size
    counter = lab.firewall.run("nft", "list", "table", "inet", "lab_filter").stdout
    assert "packets 0 " in counter, counter
    thread.join(patience(5))


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


@both
@pytest.mark.modes("tc")
@pytest.mark.usefixtures("hidden_symbols")
@pytest.mark.parametrize("early", ["", SAME_PRIORITY], ids=["alone", "early-chain"])
def test_nat_without_kernel_symbols(nat_lab, family, early):
    """Programs that were loaded where addresses are hidden leave NAT alone."""
    lab = nat_lab
    lab.unload()
    nft(lab, early + MASQUERADE + DNAT)
    lab.load(DENY + THROUGH + PUBLISHED)
    before = lab.counters()
    with lab.server.sniffer("eth0") as sniffer, TcpEcho(lab.server, SERVER[family], 7), \
            TcpEcho(lab.server, SERVER[family], 80):
        assert tcp_try(lab.client, SERVER[family], 7) == "ok"
        source = socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6,
                                  LAN[family])
        at = 26 if family == 4 else 22
        assert sniffer.count(lambda f: f[at:at + len(source)] == source)
        assert tcp_try(lab.client, WAN[family], 8080) == "ok"
    gained = lab.counters() - before
    assert not gained.drops(), gained


@both
@pytest.mark.modes("tc")
def test_chain_at_the_priority_of_conntrack(nat_lab, family):
    """An nftables chain there is nobody who tracks: the entries are ours."""
    lab = nat_lab
    nft(lab, SAME_PRIORITY)
    lab.unload()  # and its counters
    lab.load(DENY + THROUGH)
    before = lab.counters()
    with TcpEcho(lab.server, SERVER[family], 7), tcp_connect(lab.client, SERVER[family], 7) as s:
        assert tcp_talk(s)
        port = f"sport={s.getsockname()[1]}"
        assert any(port in line.split() for line in lab.conntrack())
    gained = lab.counters() - before
    assert lab.rule("through")["flows"] == 1 and not gained.drops(), gained
    chain = lab.firewall.run("nft", "list", "table", "inet", "lab_early").stdout
    assert "packets 0 " not in chain, chain
