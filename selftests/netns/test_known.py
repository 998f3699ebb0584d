# SPDX-License-Identifier: GPL-2.0-only
"""What TC takes as known, by a note of the hook before it, is that packet, by these rules.

Of a flow that goes on nothing else is looked at than the packet itself; what has become
another packet on the way, or meets other rules, has to be found out there.
"""

import contextlib
import os
import socket

import pytest

from lab import bpf
from lab.capture import Capture
from lab.lab import CLIENT, LAN, SERVER, SERVER_MAC
from lab.netns import patience, wait_for
from lab.packets import UDP, frame, from_server, ip
from lab.traffic import TcpEcho, tcp_connect, tcp_talk

PORT, PACKETS = 7, 20
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
both = pytest.mark.parametrize("family", [4, 6])
modes = pytest.mark.modes("xdp", "xdp-generic", "tc")

MANGLE = """\
table inet lab_mangle {
	chain forward {
		type filter hook forward priority 0;
		iifname "fw-wan" %s
	}
}
"""
# What becomes of a datagram between the hooks -> the reason to drop it.
UDP_CHANGES = {
    "port": ("udp dport set 9", "default"),
    "source-4": ("ip saddr set 192.0.2.9", "default"),
    "source-6": ("ip6 saddr set 2001:db8:1::9", "default"),
    "fragment-4": ("ip frag-off set 1", "fragment-orphan"),
    "ihl-4": ("ip hdrlength set 4", "bad-ipv4"),
    "total-4": ("ip length set 2000", "truncated"),
    "payload-6": ("ip6 length set 2000", "truncated"),
    "extension-6": ("ip6 nexthdr set 60", "truncated"),
    "length": ("udp length set 4", "bad-l4"),
    "port-zero": ("udp dport set 0", "port-zero"),
}
TCP_CHANGES = {
    "offset": ("tcp doff set 4", "bad-l4"),
    "null": ("tcp flags set 0x0", "tcp-null"),
    "syn-fin": ("tcp flags set 0x3", "tcp-flags"),
}


# The same between XDP and TC ingress: offset and two bytes of the frame -> the reason.
REWRITTEN = {
    "port": {4: (36, 9, "default"), 6: (56, 9, "default")},
    "source": {4: (28, 0x0209, "bad-checksum"), 6: (36, 9, "default")},
    "ttl": {4: (22, 0x0011, "bad-checksum"), 6: (20, 0x1100, "ttl-zero")},
    "length": {4: (38, 4, "bad-l4"), 6: (58, 4, "bad-l4")},
    "payload": {4: (16, 2000, "truncated"), 6: (18, 2000, "truncated")},
    "port-zero": {4: (36, 0, "port-zero"), 6: (56, 0, "port-zero")},
}


def of_families(changes):
    """(family, change) of each; those that end in a family are of that one."""
    return [(family, change) for change in changes for family in (4, 6)
            if change[-2:] not in ("-4", "-6") or change.endswith(str(family))]


def accepting(family):
    """Rules that let the client of one family in."""
    return DENY + (f"accept forward wan -> lan proto {{ tcp, udp }} from {CLIENT[family]} "
                   f"to port {PORT}\n")


def datagram(family):
    """A frame from client to server."""
    return frame(ip(family) / UDP(sport=40000, dport=PORT) / bytes(20))


def bytes_of(lab, hook, reason):
    """Bytes counted on both interfaces."""
    return sum(row["bytes"] for r in lab.status()["reasons"] if r["reason"] == reason
               for row in r["by"] if row["hook"] == hook)


@contextlib.contextmanager
def mangling(lab, change):
    """The firewall changes what it forwards from the client."""
    lab.firewall.run("nft", "-f", lab.write("mangle.nft", MANGLE % change))
    try:
        yield
    finally:
        lab.firewall.run("nft", "flush", "ruleset")


@contextlib.contextmanager
def rewriting(lab, offset, value):
    """Two bytes of what the client sends change between XDP and the firewall's TC ingress."""
    program = bpf.altering(offset, value)
    try:
        with lab.firewall.inside():
            link = bpf.attach_tcx(program, "fw-wan", flags=bpf.TCX_FIRST)
    finally:
        os.close(program)
    try:
        yield
    finally:
        os.close(link)


@pytest.fixture(name="flow")
def flow_fixture(lab, family):
    """The lab with a flow of datagrams that goes on; nobody answers them."""
    lab.load(accepting(family))
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with lab.server.socket(kind, socket.SOCK_DGRAM) as silent:
        silent.bind((SERVER[family], PORT))
        before = lab.counters()
        lab.client.send_raw("eth0", [datagram(family)] * 2)
        lab.gain(before, lambda c: c.get("new", "egress") + c.get("established", "egress") >= 2)
        yield lab


def passed(mode):
    """The reason that TC ingress has for a packet of a flow."""
    return "established" if mode == "tc" else "judged-by-xdp"


@modes
@both
def test_counted(flow, family, mode):
    """At each hook each packet counts once, for its interface, with its bytes."""
    lab, reason = flow, passed(mode)
    sizes = bytes_of(lab, "ingress", reason), bytes_of(lab, "egress", "established")
    before = lab.counters()
    lab.client.send_raw("eth0", [datagram(family)] * PACKETS)
    gained = lab.gain(before, lambda c: c.get("established", "egress", "fw-lan") >= PACKETS)
    assert gained.get(reason, "ingress", "fw-wan") == PACKETS, gained
    assert gained.get(reason, "ingress") == PACKETS, gained
    assert gained.get("established", "egress") == PACKETS, gained
    assert not gained.drops(), gained
    size = len(datagram(family))
    assert bytes_of(lab, "egress", "established") - sizes[1] == PACKETS * size
    hidden = 14 if mode == "xdp-generic" else 0  # TC does not see it there
    got = bytes_of(lab, "ingress", reason) - sizes[0]
    assert got in (PACKETS * size, PACKETS * (size - hidden))


@modes
@both
def test_nobody_sees_it(flow, family, mode):
    """Whoever watches is shown nothing of it, and it counts the same."""
    lab = flow
    with Capture(lab) as seen:
        before = lab.counters()
        lab.client.send_raw("eth0", [datagram(family)] * PACKETS)
        gained = lab.gain(before, lambda c: c.get("established", "egress", "fw-lan") >= PACKETS)
        assert gained.get(passed(mode), "ingress", "fw-wan") == PACKETS, gained
        assert not seen.frames()


@modes
@both
def test_answers_are_known(flow, family, mode):
    """The other direction goes on as well, and the other way round."""
    lab = flow
    answer = from_server(ip(family, SERVER[family], CLIENT[family]) /
                         UDP(sport=PORT, dport=40000) / bytes(20))
    before = lab.counters()
    lab.server.send_raw("eth0", [answer] * PACKETS)
    gained = lab.gain(before, lambda c: c.get("established", "egress", "fw-wan") >= PACKETS)
    assert gained.get(passed(mode), "ingress", "fw-lan") == PACKETS, gained


@modes
@pytest.mark.parametrize("family, change", of_families(UDP_CHANGES))
def test_changed_datagram(flow, family, change):
    """What has become another packet on the way is judged as that."""
    lab, (statement, reason) = flow, UDP_CHANGES[change]
    with mangling(lab, statement):
        before = lab.counters()
        lab.client.send_raw("eth0", [datagram(family)] * PACKETS)
        gained = lab.gain(before, lambda c: sum(c.drops().values()) >= PACKETS)
    assert gained.get(reason, "egress", "fw-lan") == PACKETS, gained
    assert not gained.get("established", "egress"), gained


@pytest.mark.modes("xdp")
@pytest.mark.needs("tcx")
@pytest.mark.parametrize("change", REWRITTEN)
@both
def test_changed_behind_xdp(flow, family, change):
    """TC ingress takes nothing for what XDP has judged but that, and checks it again."""
    lab, (offset, value, reason) = flow, REWRITTEN[change][family]
    with rewriting(lab, offset, value):
        before = lab.counters()
        lab.client.send_raw("eth0", [datagram(family)] * PACKETS)
        gained = lab.gain(before, lambda c: sum(c.drops().values()) >= PACKETS)
    assert gained.drops() == {reason: PACKETS}, gained
    assert gained.get("established", "xdp") == PACKETS, gained
    assert not gained.get("judged-by-xdp"), gained


@modes
@pytest.mark.parametrize("change", TCP_CHANGES)
@both
def test_changed_segment(lab, family, change):
    """The same of TCP."""
    statement, reason = TCP_CHANGES[change]
    lab.load(accepting(family))
    with TcpEcho(lab.server, SERVER[family], PORT), \
            tcp_connect(lab.client, SERVER[family], PORT) as s:
        assert tcp_talk(s)
        with mangling(lab, statement):
            before = lab.counters()
            s.send(b"lost")
            gained = lab.gain(before, lambda c: c.get(reason, "egress", "fw-lan"))
            assert not gained.get("established", "egress", "fw-lan"), gained
        s.settimeout(patience(5))
        assert s.recv(4) == b"lost"  # sent again


@modes
@both
def test_ends_of_a_connection(lab, family):
    """A FIN is not taken as known: it ends the flow, and both sides go on until theirs."""
    lab.load(accepting(family))
    before = lab.counters()
    with TcpEcho(lab.server, SERVER[family], PORT):
        with tcp_connect(lab.client, SERVER[family], PORT) as s:
            assert tcp_talk(s)
            s.shutdown(socket.SHUT_WR)
            assert s.recv(1) == b""
    wait_for(lambda: any("TIME_WAIT" in line for line in lab.conntrack("-p", "tcp")) or
             not lab.conntrack("-p", "tcp"), 3, "the connection to end")
    assert not (lab.counters() - before).drops()


@modes
@both
def test_rules_change_on_the_way(flow, family):
    """What waits for the address of the next hop while other rules are loaded meets those."""
    lab, prefix = flow, 24 if family == 4 else 64
    to = f"{SERVER[family]} dev fw-lan"
    lab.server.ip(f"address del {SERVER[family]}/{prefix} dev eth0")  # nobody says who has it
    try:
        lab.firewall.run("ip", "neigh", "del", *to.split(), check=False)
        before = lab.counters()
        lab.client.send_raw("eth0", [datagram(family)] * 3)
        gained = lab.gain(before, lambda c: c.get("established") +
                          c.get("judged-by-xdp", "ingress") >= 3)
        assert not gained.get("established", "egress", "fw-lan"), gained
        lab.load(DENY + "accept out proto icmp\n")
        before = lab.counters()
        lab.firewall.ip(f"neigh replace {to} lladdr {SERVER_MAC} nud permanent")
        gained = lab.gain(before, lambda c: sum(c.drops().values()) >= 3)
        assert not gained.get("established", "egress"), gained
    finally:
        lab.firewall.run("ip", "neigh", "del", *to.split(), check=False)
        lab.server.run("ip", "address", "add", f"{SERVER[family]}/{prefix}", "dev", "eth0",
                       *(["nodad"] if family == 6 else []))
        lab.server.ip(f"route replace default via {LAN[family]}")  # IPv4 lost it with the address


@pytest.mark.modes("xdp", "tc")
@both
def test_deleted_by_others(lab, family):
    """Who deletes a flow ends it, also where its packets are not looked up any more."""
    lab.load(accepting(family))
    with TcpEcho(lab.server, SERVER[family], PORT), \
            tcp_connect(lab.client, SERVER[family], PORT) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(5):
            assert tcp_talk(s)
        before = lab.counters()

        def is_dropped():
            s.send(b"late")
            return (lab.counters() - before).get("tcp-no-syn")

        lab.firewall.run("conntrack", "-D", "-p", "tcp", "-f", f"ipv{family}")
        wait_for(is_dropped, 0.5, "the end of the flow")
