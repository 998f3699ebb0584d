# SPDX-License-Identifier: GPL-2.0-only
"""Tagged traffic: judged on the parent by its rules, or on a VLAN device of its own."""

import itertools

import pytest

from lab.lab import RULES, WAN, Lab
from lab.packets import TAGS, TCP, UDP, echo_request, frame, ip
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_try, udp_try

ADDRESS = {4: ("203.0.113.2", "203.0.113.1", 24), 6: ("2001:db8:3::2", "2001:db8:3::1", 64)}
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
# Flows of ICMP outlive a test, so each test pings with an identifier of its own.
idents = itertools.count(9000)
TAGGED = {name: tags for name, tags in TAGS.items() if tags}


@pytest.mark.modes("xdp", "tc", "xdp-generic")
@pytest.mark.parametrize("family", [4, 6])
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


def can_make_vlan_devices():
    """False on kernels without 8021q."""
    with Lab() as lab:
        return lab.client.run("ip", "link", "add", "link", "eth0", "name", "probe", "type",
                              "vlan", "id", "5", check=False).returncode == 0


def add_vlan(ns, parent, name, tag, protocol="802.1Q"):
    """One VLAN device, up."""
    ns.run("ip", "link", "add", "link", parent, "name", name, "type", "vlan", "protocol",
           protocol, "id", tag)
    ns.run("ip", "link", "set", name, "up")


def tagged_lab(lab, depth):
    """Give client and firewall `vlan` devices, one or two tags deep."""
    if not can_make_vlan_devices():
        pytest.skip("this kernel has no VLAN devices (8021q)")
    for i, (ns, parent) in enumerate(((lab.client, "eth0"), (lab.firewall, "fw-wan"))):
        if depth == 2:
            add_vlan(ns, parent, "outer", 20, "802.1ad")
            parent = "outer"
        add_vlan(ns, parent, "vlan", 10)
        for addresses in ADDRESS.values():
            ns.run("ip", "address", "add", f"{addresses[i]}/{addresses[2]}", "dev", "vlan",
                   "nodad")


@pytest.fixture(scope="module", params=[1, 2], ids=["802.1Q", "802.1ad+802.1Q"])
def tagged(request):
    """A lab whose client reaches the firewall by VLAN devices, too."""
    with Lab() as lab:
        tagged_lab(lab, request.param)
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture(scope="module")
def tagged_once():
    """The same, with one tag only."""
    with Lab() as lab:
        tagged_lab(lab, 1)
        yield lab


@pytest.mark.parametrize("family", [4, 6])
def test_judged_on_the_parent(tagged, mode, family):
    """Only the parent is declared: rules of its zone judge what is tagged."""
    tagged.mode = mode
    own = ADDRESS[family][1]
    tagged.load(DENY + "accept in on wan proto { tcp, udp } to self port 7 label echo\n"
                "accept in on wan proto icmp type echo-request\n")
    before = tagged.counters()
    with TcpEcho(tagged.firewall, own, 7), UdpEcho(tagged.firewall, own, 7):
        assert tcp_try(tagged.client, own, 7) == "ok"
        assert udp_try(tagged.client, own, 7) == "ok"
        assert ping(tagged.client, own)
        assert not (tagged.counters() - before).drops()
        assert udp_try(tagged.client, own, 8, timeout=0.2) == "timeout"
    gained = tagged.gain(before, lambda c: c.drops())
    assert gained.get("default", tagged.hook, "fw-wan") == 1, gained


@pytest.mark.parametrize("family", [4, 6])
def test_replies_of_outgoing(tagged, mode, family):
    """A connection that the firewall opens over the VLAN device is answered."""
    tagged.mode = mode
    peer = ADDRESS[family][0]
    tagged.load(DENY)
    with TcpEcho(tagged.client, peer, 7), UdpEcho(tagged.client, peer, 7):
        assert tcp_try(tagged.firewall, peer, 7) == "ok"
        assert udp_try(tagged.firewall, peer, 7) == "ok"


@pytest.mark.parametrize("family", [4, 6])
def test_vlan_device_is_a_zone(tagged_once, mode, family):
    """A declared VLAN device has rules of its own, also for XDP on its parent."""
    tagged = tagged_once
    tagged.mode = mode
    own = ADDRESS[family][1]
    tagged.fwctl("load", tagged.write("vlan.conf", RULES.format(mode=mode) + DENY
                                      + "interface dmz = vlan { mode tc }\n"
                                      "accept in on dmz proto tcp to port 7 label dmz\n"
                                      "accept in on wan proto tcp to port 8 label wan\n"))
    with TcpEcho(tagged.firewall, own, 7), TcpEcho(tagged.firewall, own, 8):
        assert tcp_try(tagged.client, own, 7) == "ok"
        assert tcp_try(tagged.client, own, 8, timeout=0.2) == "timeout"
    with TcpEcho(tagged.firewall, WAN[family], 7), TcpEcho(tagged.firewall, WAN[family], 8):
        assert tcp_try(tagged.client, WAN[family], 7, timeout=0.2) == "timeout"
        assert tcp_try(tagged.client, WAN[family], 8) == "ok"
