# SPDX-License-Identifier: GPL-2.0-only
"""Tagged traffic: judged on the parent by its rules, or on a VLAN device of its own.

A tag is in the frame, or beside it in the metadata of the packet, as after hardware
has taken it off. On veth the sender decides: with txvlan off it writes the tag itself.
"""

import itertools

import pytest

from lab.lab import CLIENT_MAC, RULES, SERVER, WAN, WAN_MAC, Lab
from lab.netns import wait_for
from lab.packets import (TAGS, TCP, UDP, Dot1Q, Ether, echo_reply, echo_request, fragment, frame,
                         ip, tcp, unknown_error)
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
ACCEPT = "default in accept\ndefault out accept\ndefault forward accept\n"
# Flows of ICMP outlive a test, so each test pings with an identifier of its own.
idents = itertools.count(9000)
TAGGED = {name: tags for name, tags in TAGS.items() if tags}

families = pytest.mark.parametrize("family", [4, 6])
all_modes = pytest.mark.modes("xdp", "tc", "xdp-generic")
by_depth = pytest.mark.parametrize("device", ["v10", "q10"], ids=TAGGED)
by_place = pytest.mark.parametrize("place", ["inline", "metadata"])
needs_vlan = pytest.mark.needs("vlan")


# ---- tagged frames, no VLAN devices --------------------------------------------------------


@all_modes
@families
@pytest.mark.parametrize("tags", TAGGED.values(), ids=TAGGED.keys())
def test_new_flows(lab, family, tags):
    """A tagged packet opens a flow if the rules of the parent's zone say so."""
    lab.load(DENY + "accept in on wan proto { tcp, udp } to self port 7 label seven\n"
             "accept in on wan proto icmp type echo-request label ping\n")
    self = WAN[family]
    good = [ip(family, dst=self) / UDP(sport=700, dport=7),
            ip(family, dst=self) / TCP(sport=701, dport=7, flags="S"),
            echo_request(family, next(idents), dst=self)]
    bad = [ip(family, dst=self) / UDP(sport=700, dport=8),
           ip(family, dst=self) / TCP(sport=701, dport=8, flags="S")]
    before = lab.counters()
    lab.client.send_raw("eth0", [frame(p, tags) for p in good + bad])
    gained = lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") == 2)
    assert gained.drops() == {"default": 2}, gained
    assert gained.get("new", "ingress", "fw-wan") == 3, gained
    lines = [line for line in lab.conntrack() if "dport=7 " in line]
    assert len(lines) == 2 and not [x for x in lab.conntrack() if "dport=8 " in x], lines
    before = lab.counters()
    lab.client.send_raw("eth0", [frame(p, tags) for p in good])
    gained = lab.gain(before, lambda c: c.get("established", lab.hook, "fw-wan") == 3)
    assert not gained.drops(), gained


@all_modes
@families
def test_priority_tag(lab, family):
    """VID 0 is a priority on an untagged packet: the host answers, the rules are the parent's."""
    lab.load(DENY + "accept in on wan proto udp to self port 7 label seven\n")
    before = lab.counters()

    def priority(port):
        return bytes(Ether(src=CLIENT_MAC, dst=WAN_MAC) / Dot1Q(vlan=0, prio=5)
                     / ip(family, dst=WAN[family]) / UDP(sport=702, dport=port))
    with UdpEcho(lab.firewall, WAN[family], 7) as server:
        lab.client.send_raw("eth0", [priority(7), priority(8)])
        wait_for(lambda: server.received == 1, 3, "the datagram")
    gained = lab.gain(before, lambda c: c.drops())
    assert gained.drops() == {"default": 1}, gained
    assert gained.get("default", lab.hook, "fw-wan") == 1, gained


# ---- VLAN devices -----------------------------------------------------------------------------


def add_vlan(ns, parent, name, tag, protocol="802.1Q", home=None):
    """One VLAN device, up; in the namespace `home` if that is not the parent's."""
    ns.run("ip", "link", "add", "link", parent, "name", name, "type", "vlan", "protocol",
           protocol, "id", tag)
    if home:
        ns.run("ip", "link", "set", name, "netns", home.name)
    (home or ns).run("ip", "link", "set", name, "up")


def address(device, family, host):
    """Address of the firewall (1) or its neighbour (2) on a VLAN device."""
    net = {"v10": 10, "q10": 20, "v11": 11}[device]
    return {4: f"203.0.{net}.{host}", 6: f"2001:db8:{net}::{host}"}[family]


def give_addresses(ns, device, host):
    """Both families."""
    for family, length in ((4, 24), (6, 64)):
        ns.run("ip", "address", "add", f"{address(device, family, host)}/{length}", "dev",
               device, *(["nodad"] if family == 6 else []))


@pytest.fixture(scope="module")
def trunk_lab():
    """client (v10, q10) and far (v11) behind one trunk to fw-wan; q10 has two tags."""
    with Lab() as lab:
        lab.far = lab.namespace("far")
        for ns, parent in ((lab.client, "eth0"), (lab.firewall, "fw-wan")):
            add_vlan(ns, parent, "v10", 10)
            add_vlan(ns, parent, "outer", 20, "802.1ad")
            add_vlan(ns, "outer", "q10", 10)
            add_vlan(ns, parent, "v11", 11, home=lab.far if ns is lab.client else None)
        for device, neighbour in (("v10", lab.client), ("q10", lab.client), ("v11", lab.far)):
            give_addresses(lab.firewall, device, 1)
            give_addresses(neighbour, device, 2)
        for flag, via, there in (([], 4, "203.0.11.0/24"), (["-6"], 6, "2001:db8:11::/64")):
            lab.client.run("ip", *flag, "route", "add", there, "via", address("v10", via, 1))
            lab.far.run("ip", *flag, "route", "add", "default", "via", address("v11", via, 1))
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture
def trunk(trunk_lab, mode):
    """The same without flows, tags in the frames."""
    trunk_lab.mode = mode
    trunk_lab.firewall.run("conntrack", "-F", check=False)
    put_tags(trunk_lab, "inline")
    return trunk_lab


def put_tags(lab, place):
    """Where the tags of what the client sends are when they arrive."""
    switch = "on" if place == "metadata" else "off"
    lab.client.run("ethtool", "-K", "eth0", "txvlan", switch, "tx-vlan-stag-hw-insert", switch)


@needs_vlan
@all_modes
@families
@by_depth
@by_place
def test_judged_on_the_parent(trunk, family, device, place):
    """Only the parent is declared: rules of its zone judge what is tagged."""
    put_tags(trunk, place)
    own = address(device, family, 1)
    trunk.load_once(DENY + "accept in on wan proto { tcp, udp } to self port 7 label echo\n"
                    "accept in on wan proto icmp type echo-request\n")
    before = trunk.counters()
    with TcpEcho(trunk.firewall, own, 7), UdpEcho(trunk.firewall, own, 7):
        assert tcp_try(trunk.client, own, 7) == "ok"
        assert udp_try(trunk.client, own, 7) == "ok"
        assert ping(trunk.client, own)
        gained = trunk.counters() - before
        assert not gained.drops(), gained
        assert gained.get("new", "ingress", "fw-wan") >= 2, gained
        assert gained.get("established", trunk.hook, "fw-wan") >= 1, gained
        assert udp_try(trunk.client, own, 8, timeout=0.2) == "timeout"
    gained = trunk.gain(before, lambda c: c.drops())
    assert gained.drops() == {"default": 1}, gained
    assert gained.get("default", trunk.hook, "fw-wan") == 1, gained


REASONS = {
    "tcp-no-syn": lambda f: tcp(f, "A"),
    "tcp-xmas": lambda f: tcp(f, "FPU"),
    "icmp-unrelated": unknown_error,
    "icmp-no-request": lambda f: echo_reply(f, next(idents)),
    "spoofed-self": lambda f: ip(f, src=address("v11", f, 1)) / UDP(sport=1, dport=53),
    "martian": lambda f: ip(f, src={4: "127.0.0.1", 6: "::1"}[f]) / UDP(sport=1, dport=53),
    "fragment-orphan": lambda f: fragment(f, 100, False, bytes(64)),
    "rule": lambda f: ip(f) / UDP(sport=1, dport=4242),
}


@needs_vlan
@all_modes
@families
@by_depth
@by_place
def test_same_reasons(trunk, family, device, place):
    """What must not pass dies for the same reason, wherever its tag is."""
    put_tags(trunk, place)
    trunk.load_once(ACCEPT + "drop in on wan proto udp to port 4242\n"
                    "drop forward on wan proto udp to port 4242 label no\n")
    before = trunk.counters()
    # Through the device, so that its driver adds the tags.
    trunk.client.send_raw(device, [frame(build(family)) for build in REASONS.values()])
    gained = trunk.gain(before, lambda c: sum(c.drops().values()) >= len(REASONS))
    assert gained.drops() == {reason: 1 for reason in REASONS}, gained
    for reason in REASONS:
        assert gained.get(reason, trunk.hook, "fw-wan") == 1, (reason, gained)


@needs_vlan
@families
@by_depth
@by_place
def test_replies_of_outgoing(trunk, family, device, place):
    """A connection that the firewall opens over the VLAN device is answered."""
    put_tags(trunk, place)
    peer = address(device, family, 2)
    trunk.load_once(DENY)
    before = trunk.counters()
    with TcpEcho(trunk.client, peer, 7), UdpEcho(trunk.client, peer, 7):
        assert tcp_try(trunk.firewall, peer, 7) == "ok"
        assert udp_try(trunk.firewall, peer, 7) == "ok"
    gained = trunk.counters() - before
    assert not gained.drops(), gained
    assert gained.get("established", trunk.hook, "fw-wan") >= 2, gained


def load_zones(lab, text):
    """Rules for the zones wan, lan, red (v10) and blue (v11)."""
    zones = "".join(f"interface {zone} = {device} {{ mode tc }}\n"
                    for zone, device in (("red", "v10"), ("blue", "v11")))
    lab.fwctl("load", lab.write("vlan.conf", RULES.format(mode=lab.mode) + zones + DENY + text))


# Where each mode sees the tag; see test_tag_that_xdp_does_not_see() for the rest.
seen = pytest.mark.parametrize("mode, place", [
    ("xdp", "inline"), ("xdp-generic", "inline"), ("tc", "inline"), ("tc", "metadata")])


@needs_vlan
@seen
@families
def test_vlan_device_is_a_zone(trunk, family, place):
    """A declared VLAN device has rules of its own, also for XDP on its parent."""
    put_tags(trunk, place)
    own = address("v10", family, 1)
    load_zones(trunk, "accept in on red proto tcp to port 7 label red\n"
               "accept in on wan proto tcp to port 8 label wan\n")
    with TcpEcho(trunk.firewall, own, 7), TcpEcho(trunk.firewall, own, 8):
        assert tcp_try(trunk.client, own, 7) == "ok"
        assert tcp_try(trunk.client, own, 8, timeout=0.2) == "timeout"
    with TcpEcho(trunk.firewall, WAN[family], 7), TcpEcho(trunk.firewall, WAN[family], 8):
        assert tcp_try(trunk.client, WAN[family], 7, timeout=0.2) == "timeout"
        assert tcp_try(trunk.client, WAN[family], 8) == "ok"


@needs_vlan
@families
@pytest.mark.modes("xdp", "xdp-generic")
def test_tag_that_xdp_does_not_see(trunk, family):
    """Hardware has taken the tag off: XDP judges by the parent, TC by the device as well."""
    put_tags(trunk, "metadata")
    own = address("v10", family, 1)
    load_zones(trunk, "accept in on red proto udp to port { 7, 9 }\n"
               "accept in on wan proto udp to port { 8, 9 }\n")
    before = trunk.counters()
    with UdpEcho(trunk.firewall, own, 7), UdpEcho(trunk.firewall, own, 8), \
            UdpEcho(trunk.firewall, own, 9):
        assert udp_try(trunk.client, own, 7, timeout=0.2) == "timeout"
        assert udp_try(trunk.client, own, 8, timeout=0.2) == "timeout"
        assert udp_try(trunk.client, own, 9) == "ok"
    gained = trunk.counters() - before
    assert gained.drops() == {"default": 2}, gained
    assert gained.get("default", "xdp", "fw-wan") == 1, gained
    assert gained.get("default", "ingress", "v10") == 1, gained


def stick(trunk, family, allowed):
    """TCP and UDP from one VLAN to the other: `allowed`, and nothing else."""
    there = address("v11", family, 2)
    before = trunk.counters()
    with TcpEcho(trunk.far, there, 7), TcpEcho(trunk.far, there, 8), UdpEcho(trunk.far, there, 7):
        if allowed:
            with tcp_connect(trunk.client, there, 7) as s:
                for _ in range(4):
                    assert tcp_talk(s, bytes(20000))
            assert udp_try(trunk.client, there, 7, size=4000) == "ok"
            gained = trunk.counters() - before
            assert not gained.drops(), gained
            assert trunk.rule("stick")["flows"] >= 2
        assert tcp_try(trunk.client, there, 8 if allowed else 7, timeout=0.2) == "timeout"
    return trunk.gain(before, lambda c: c.drops())


@needs_vlan
@seen
@families
def test_router_on_a_stick(trunk, family, place):
    """Between two declared VLAN devices of one trunk."""
    put_tags(trunk, place)
    load_zones(trunk, "accept forward red -> blue proto { tcp, udp } to port 7 label stick\n")
    assert set(stick(trunk, family, True).drops()) == {"default"}


@needs_vlan
@all_modes
@families
def test_stick_of_the_parent(trunk, family):
    """VLAN devices that are not declared belong to their parent's zone, in and out."""
    trunk.load(DENY + "accept forward wan -> wan proto { tcp, udp } to port 7 label stick\n")
    assert set(stick(trunk, family, True).drops()) == {"default"}
    trunk.load(ACCEPT + "drop forward wan -> wan proto { tcp, udp } to port 7 label no\n")
    trunk.firewall.run("conntrack", "-F", check=False)
    assert set(stick(trunk, family, False).drops()) == {"rule"}


@needs_vlan
@families
def test_stick_to_elsewhere(trunk, family):
    """From an undeclared VLAN device to another interface, and back."""
    rule = "drop forward {a} -> {b} proto tcp to port 7\naccept forward {a} -> {b} label f\n"
    back = address("v10", family, 2)
    for a, b, source, target in (("wan", "lan", trunk.client, SERVER[family]),
                                 ("lan", "wan", trunk.server, back)):
        trunk.load(DENY + rule.format(a=a, b=b))
        listener = trunk.server if a == "wan" else trunk.client
        with TcpEcho(listener, target, 8):
            bind = (back, 0) if a == "wan" else None
            with tcp_connect(source, target, 8, source=bind) as s:
                assert tcp_talk(s)
            before = trunk.counters()
            assert tcp_try(source, target, 7, timeout=0.2) == "timeout"
            gained = trunk.gain(before, lambda c: c.drops())
            assert set(gained.drops()) == {"rule"}, gained
