# SPDX-License-Identifier: GPL-2.0-only
"""Ping, ICMP errors, and what a host needs to stay reachable."""

import socket

import pytest

from lab.lab import CLIENT, CLIENT6, SERVER, SERVER4, WAN, WAN4, WAN6
from lab.netns import patience
from lab.packets import (ICMP, IP, TCP, UDP, echo_reply, echo_request, frame, from_server,
                         icmp_error, ip)
from lab.traffic import UdpEcho, ping, udp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
PING = "accept forward wan -> lan proto icmp type echo-request label ping\n"


@both
@pytest.mark.modes("xdp", "tc", "xdp-generic")
def test_ping_through(lab, family):
    """A request opens a flow; its reply, and no other, comes back."""
    lab.load(DENY + PING)
    before = lab.counters()
    assert ping(lab.client, SERVER[family])
    gained = lab.counters() - before
    assert not gained.drops(), gained
    assert gained.get("new") >= 1 and gained.get("established") >= 1, gained


@both
def test_ping_denied(lab, family):
    """Without a rule: the default."""
    lab.load(DENY)
    before = lab.counters()
    assert not ping(lab.client, SERVER[family], timeout=0.3)
    lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 1)


@both
def test_ping_self_and_from_self(lab, family):
    """To the firewall by a rule for `in`, from it by one for `out`."""
    lab.load(DENY + "accept in proto icmp type echo-request\n"
             "accept out proto icmp type echo-request\n")
    before = lab.counters()
    assert ping(lab.client, WAN[family])
    assert ping(lab.firewall, SERVER[family])
    assert not (lab.counters() - before).drops()


@both
def test_ping_is_one_way(lab, family):
    """lan may ping wan, not the other way round, also with the same identifier."""
    lab.load(DENY + "accept forward lan -> wan proto icmp type echo-request\n")
    lab.server.send_raw("eth0", [from_server(
        echo_request(family, 77, src=SERVER[family], dst=CLIENT[family]))])
    before = lab.counters()
    with lab.server.sniffer("eth0") as sniffer:
        lab.client.send_raw("eth0", [frame(echo_request(family, 77))])
        lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") == 1)
        kind = b"\x08\x00" if family == 4 else b"\x80\x00"
        at = 34 if family == 4 else 54
        assert not sniffer.count(lambda f: f[at:at + 2] == kind)


@both
def test_reply_of_another_identifier(lab, family):
    """A reply must answer a request that was seen."""
    lab.load(DENY + "accept forward lan -> wan proto icmp type echo-request\n")
    lab.server.send_raw("eth0", [from_server(
        echo_request(family, 78, src=SERVER[family], dst=CLIENT[family]))])
    before = lab.counters()
    lab.client.send_raw("eth0", [frame(echo_reply(family, 79))])
    lab.gain(before, lambda c: c.get("icmp-no-request", lab.hook, "fw-wan") == 1)


@both
def test_error_of_known_flow(lab, family):
    """Port unreachable reaches the client whose datagram it is about."""
    lab.load(DENY + "accept forward wan -> lan proto udp to port 9\n")
    before = lab.counters()
    assert udp_try(lab.client, SERVER[family], 9) == "refused"
    gained = lab.counters() - before
    assert gained.get("related", lab.hook, "fw-lan") >= 1, gained
    assert not gained.drops(), gained


@both
def test_error_of_unknown_flow(lab, family):
    """The same error about a datagram that nobody sent."""
    lab.load("default in accept\ndefault forward accept\n")
    quoted = ip(family) / UDP(sport=4711, dport=9)
    before = lab.counters()
    lab.server.send_raw("eth0", [from_server(
        icmp_error(family, quoted, SERVER[family], CLIENT[family]))])
    gained = lab.gain(before, lambda c: c.drops())
    assert gained.drops() == {"icmp-unrelated": 1}, gained


@both
def test_error_must_go_to_the_sender(lab, family):
    """An error about a known flow, sent to somebody else (CVE-2019-5598)."""
    lab.load("default in accept\ndefault forward accept\ndefault out accept\n")
    with UdpEcho(lab.server, SERVER[family], 7):
        with lab.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                               socket.SOCK_DGRAM) as s:
            s.connect((SERVER[family], 7))
            s.send(b"x")
            assert s.recv(10) == b"x"
            quoted = ip(family) / UDP(sport=s.getsockname()[1], dport=7)
    other = {4: "192.0.2.99", 6: "2001:db8:1::99"}[family]
    before = lab.counters()
    lab.server.send_raw("eth0", [from_server(icmp_error(family, quoted, SERVER[family], other))])
    gained = lab.gain(before, lambda c: c.drops())
    assert gained.drops() == {"icmp-unrelated": 1}, gained


@both
def test_unreachable_host(lab, family):
    """The firewall's own ICMP error about a forwarded flow reaches the client."""
    lab.load("default in drop\ndefault out drop\ndefault forward accept\n")
    nobody = {4: "203.0.113.9", 6: "2001:db8:9::9"}[family]
    kind, at = (b"\x03\x00", 34) if family == 4 else (b"\x01\x00", 54)
    with lab.client.sniffer("eth0") as sniffer:
        udp_try(lab.client, nobody, 9, timeout=0.1)
        sniffer.wait(lambda f: f[at:at + 2] == kind, what="no route to destination")


@both
def test_path_mtu(own_lab, family):
    """`packet too big` from behind the firewall gets through, and TCP adapts."""
    lab = own_lab
    lab.load("default in drop\ndefault forward drop\n"
             "accept forward wan -> lan proto udp to port 7\n")
    lab.firewall.run("ip", "link", "set", "fw-lan", "mtu", "1400")
    lab.server.run("ip", "link", "set", "eth0", "mtu", "1400")
    before = lab.counters()
    with UdpEcho(lab.server, SERVER[family], 7), lab.client.socket(
            socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as s:
        if family == 4:
            s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        s.connect((SERVER[family], 7))
        s.send(bytes(1450))
        with pytest.raises((OSError, TimeoutError)):
            s.recv(2000)
            s.send(bytes(1450))
        s.settimeout(patience(2))
        s.send(bytes(1300))
        assert len(s.recv(2000)) == 1300
    assert not (lab.counters() - before).drops()


@both
def test_traceroute_errors(lab, family):
    """Time exceeded, from the firewall itself, about a packet of an accepted flow."""
    lab.load("default in drop\ndefault forward drop\n"
             "accept forward wan -> lan proto udp to port 33434-33500\n")
    hop = {"ttl": 1} if family == 4 else {"hlim": 1}
    kind = b"\x0b\x00" if family == 4 else b"\x03\x00"
    at = 34 if family == 4 else 54
    with lab.client.sniffer("eth0") as sniffer:
        lab.client.send_raw("eth0", [frame(ip(family, **hop) / UDP(sport=5, dport=33434))])
        sniffer.wait(lambda f: f[at:at + 2] == kind, what="time exceeded")


def test_arp_and_neighbour_discovery(own_lab):
    """Everything denied: the neighbours still find the firewall and each other."""
    lab = own_lab
    lab.load(DENY)
    for ns in (lab.client, lab.firewall):
        ns.run("ip", "neigh", "flush", "all")
    before = lab.counters()
    for address in (WAN4, WAN6):
        assert not ping(lab.client, address, timeout=0.3)
        state = lab.client.run("ip", "neigh", "show", address).stdout
        assert "lladdr" in state and "FAILED" not in state, state
    gained = lab.counters() - before
    assert gained.get("non-ip", lab.hook, "fw-wan") >= 1, gained
    assert gained.get("essential", lab.hook, "fw-wan") >= 1, gained
    assert gained.get("default", lab.hook, "fw-wan") == 2, gained


def test_neighbour_discovery_can_be_denied_by_name(lab):
    """A rule that names the message is obeyed."""
    lab.load("default in accept\n"
             "drop in on wan proto icmp6 type neighbour-solicitation label mute\n")
    before = lab.counters()
    solicitation = bytes.fromhex("87000000") + bytes(4) + socket.inet_pton(
        socket.AF_INET6, WAN6)
    packet = ip(6, src=CLIENT6, dst="ff02::1:ff00:1", nh=58, hlim=255)
    lab.client.send_raw("eth0", [frame(packet / solicitation)])
    lab.gain(before, lambda c: c.get("rule", lab.hook, "fw-wan") == 1)


def test_dhcp_reply(lab):
    """The answer of a DHCP server to a client on the firewall."""
    lab.load(DENY)
    before = lab.counters()
    offer = (IP(src="192.0.2.2", dst="255.255.255.255") / UDP(sport=67, dport=68)
             / (b"\x02\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63\x35\x01\x02\xff"))
    lab.client.send_raw("eth0", [frame(offer, dst="ff:ff:ff:ff:ff:ff")])
    gained = lab.gain(before, lambda c: c.get("essential", lab.hook, "fw-wan") >= 1)
    assert not gained.drops(), gained


def test_dhcp_reply_to_the_address_it_gives(lab):
    """A server may send to the new address, which the host does not have yet."""
    lab.load(DENY)
    before = lab.counters()
    ack = (IP(src="192.0.2.2", dst="192.0.2.200") / UDP(sport=67, dport=68)
           / (b"\x02\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63\x35\x01\x05\xff"))
    lab.client.send_raw("eth0", [frame(ack)])
    gained = lab.gain(before, lambda c: c.get("essential", lab.hook, "fw-wan")
                      + c.get("default", lab.hook, "fw-wan") >= 1)
    assert not gained.drops(), gained


def test_dhcp_port_is_no_back_door(lab):
    """Only a reply of a server to a client counts as one, not any UDP from port 67."""
    lab.load(DENY)
    before = lab.counters()
    lab.client.send_raw("eth0", [frame(ip(4, dst=WAN4) / UDP(sport=67, dport=53))])
    lab.client.send_raw("eth0", [frame(ip(4) / UDP(sport=67, dport=68))])
    # The second one may pass the first hook: it could be for an address that this
    # host is just being given. It must not be forwarded.
    lab.gain(before, lambda c: c.get("default") == 2)


def test_redirect_is_no_essential(lab):
    """An ICMP redirect about an unknown flow is not let in."""
    lab.load(DENY)
    before = lab.counters()
    quoted = bytes(IP(src=WAN4, dst=SERVER4) / TCP(sport=1, dport=2))[:28]
    lab.client.send_raw("eth0", [frame(IP(src=CLIENT[4], dst=WAN4)
                                       / ICMP(type=5, code=1, gw="192.0.2.66") / quoted)])
    gained = lab.gain(before, lambda c: c.drops())
    assert set(gained.drops()) <= {"icmp-unrelated", "default"}, gained
