# SPDX-License-Identifier: GPL-2.0-only
"""A bond of two links: filtered on the bond device, whichever link carries the packet.

    client cb = { c0, c1 } ====== { s0, s1 } = fw-bond firewall
"""

import contextlib

import pytest

from lab.lab import SERVER, Lab
from lab.netns import patience, wait_for
from lab.packets import UDP, frame, ip
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = [pytest.mark.needs("bond"), pytest.mark.modes("xdp", "tc", "xdp-generic")]
families = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
ACCEPT7 = DENY + ("accept in on up proto { tcp, udp } to self port 7 label seven\n"
                  "accept in on up proto icmp type echo-request\n")
OWN = {4: "203.0.113.1", 6: "2001:db8:3::1"}
PEER = {4: "203.0.113.2", 6: "2001:db8:3::2"}
SLAVES = {"fw-bond": ("s0", "s1"), "cb": ("c0", "c1")}


def enslave(ns, bond, mode):
    """Give a bond a mode and its slaves, which must have left it and be down for that."""
    ns.run("ip", "link", "set", bond, "down")
    for slave in SLAVES[bond]:
        ns.run("ip", "link", "set", slave, "nomaster")
    ns.run("ip", "link", "set", bond, "type", "bond", "mode", mode, "miimon", "20")
    for slave in SLAVES[bond]:
        ns.run("ip", "link", "set", slave, "down")
        ns.run("ip", "link", "set", slave, "master", bond)
        ns.run("ip", "link", "set", slave, "up")
    ns.run("ip", "link", "set", bond, "up")


def set_mode(lab, mode):
    """Both ends; returns when the bonds carry packets."""
    for ns, bond, addresses in ((lab.firewall, "fw-bond", OWN), (lab.client, "cb", PEER)):
        enslave(ns, bond, mode)
        # Going down has cost the bond its IPv6 address.
        ns.run("ip", "address", "replace", f"{addresses[4]}/24", "dev", bond)
        ns.run("ip", "address", "replace", f"{addresses[6]}/64", "dev", bond, "nodad")
    wait_for(lambda: ping(lab.client, OWN[4]) and ping(lab.client, OWN[6]), 10, "the bond")


@pytest.fixture(scope="module")
def bond_lab():
    """A lab whose client also reaches the firewall by a bond."""
    with Lab() as lab:
        for fw, client in zip(SLAVES["fw-bond"], SLAVES["cb"]):
            lab.wire(lab.firewall, fw, lab.client, client)
        for ns, bond in ((lab.firewall, "fw-bond"), (lab.client, "cb")):
            ns.run("ip", "link", "add", bond, "type", "bond", "mode", "active-backup")
        set_mode(lab, "active-backup")
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture
def bond(bond_lab, mode):
    """The same without flows and with the first link active."""
    bond_lab.mode = mode
    bond_lab.firewall.run("conntrack", "-F", check=False)
    return bond_lab


def load(lab, text, members="fw-bond", mode=None, check=True):
    """Rules for one zone of some interfaces."""
    one = ", ".join(f"{name} {{ mode {mode or lab.mode} }}" for name in members.split())
    return lab.fwctl("load", lab.write("bond.conf", f"interface up = {{ {one} }}\n{text}"),
                     check=check)


def active(lab):
    """Name of the slave that carries the firewall's packets."""
    words = lab.firewall.run("ip", "-d", "link", "show", "fw-bond").stdout.split()
    return words[words.index("active_slave") + 1]


def check_rules(lab, family):
    """Port 7 is answered, port 8 is dropped at the bond, by the default."""
    before = lab.counters()
    with TcpEcho(lab.firewall, OWN[family], 7), UdpEcho(lab.firewall, OWN[family], 7), \
            TcpEcho(lab.firewall, OWN[family], 8):
        assert tcp_try(lab.client, OWN[family], 7) == "ok"
        assert udp_try(lab.client, OWN[family], 7) == "ok"
        gained = lab.counters() - before
        assert not gained.drops(), gained
        assert tcp_try(lab.client, OWN[family], 8, timeout=0.2) == "timeout"
    gained = lab.gain(before, lambda c: c.drops())
    assert set(gained.drops()) == {"default"}, gained
    return gained


@families
def test_on_the_bond(bond, family):
    """Native and generic XDP and TC on the bond device."""
    load(bond, ACCEPT7)
    gained = check_rules(bond, family)
    assert gained.get("default", bond.hook, "fw-bond") >= 1, gained
    with TcpEcho(bond.client, PEER[family], 7):
        assert tcp_try(bond.firewall, PEER[family], 7) == "ok"


@families
def test_failover(bond, family):
    """The active link goes in mid-connection: the connection stays, so do the rules."""
    load(bond, ACCEPT7)
    first = active(bond)
    before = bond.counters()
    try:
        with TcpEcho(bond.firewall, OWN[family], 7), \
                tcp_connect(bond.client, OWN[family], 7) as s:
            s.settimeout(patience(8))
            assert tcp_talk(s, bytes(20000))
            bond.firewall.run("ip", "link", "set", first, "down")
            assert tcp_talk(s, bytes(20000))
            assert active(bond) != first
            gained = bond.counters() - before
            assert not gained.drops(), gained
            assert gained.get("new", "ingress", "fw-bond") == 1, gained
        check_rules(bond, family)
    finally:
        bond.firewall.run("ip", "link", "set", first, "up")
    wait_for(lambda: ping(bond.client, OWN[family]), 10, "the bond")


@families
@pytest.mark.modes("tc")
def test_on_bond_and_slaves(bond, family):
    """TC on both: each packet is judged twice by the same zone, and passes twice."""
    load(bond, ACCEPT7, "fw-bond s0 s1")
    gained = check_rules(bond, family)
    slave = active(bond)
    assert gained.get("default", "ingress", slave) >= 1, gained
    assert gained.get("established", "ingress", "fw-bond") >= 1, gained


@families
@pytest.mark.modes("tc")
def test_on_the_slaves_alone(bond, family):
    """Slaves declared, the bond not: what comes in is judged where it comes in."""
    load(bond, ACCEPT7, "s0 s1")
    gained = check_rules(bond, family)
    assert gained.get("default", "ingress", active(bond)) >= 1, gained


@contextlib.contextmanager
def vlan(lab, family):
    """A VLAN on both bonds; the client's and the firewall's address in it."""
    peer, own = {4: ("203.0.10.2", "203.0.10.1"), 6: ("2001:db8:10::2", "2001:db8:10::1")}[family]
    ends = ((lab.client, "cb", peer), (lab.firewall, "fw-bond", own))
    for ns, device, address in ends:
        ns.run("ip", "link", "add", "link", device, "name", "v10", "type", "vlan", "id", 10)
        ns.run("ip", "link", "set", "v10", "up")
        ns.run("ip", "address", "add", f"{address}/{ {4: 24, 6: 64}[family]}", "dev", "v10",
               *(["nodad"] if family == 6 else []))
    try:
        yield peer, own
    finally:
        for ns, _, _ in ends:
            ns.run("ip", "link", "del", "v10")


def spoofed(lab, family, tags=()):
    """How many of two packets with the LAN's addresses are dropped for that."""
    before = lab.counters()
    packet = ip(family, src=SERVER[family], dst=OWN[family]) / UDP(sport=5, dport=7)
    lab.client.send_raw("cb", [frame(packet, tags)] * 2)
    return lab.gain(before, lambda c: c.get("antispoof") >= 2).get("antispoof")


@pytest.mark.needs("vlan")
@families
@pytest.mark.parametrize("mode, members", [
    ("xdp", "fw-bond"), ("tc", "fw-bond"), ("xdp", "s0 s1"), ("tc", "s0 s1"),
    ("tc", "fw-bond s0 s1")])
def test_antispoof(bond, family, members):
    """Routes lead to the bond, or a VLAN device on it: for a declared slave that is its way."""
    load(bond, ACCEPT7 + "antispoof on up\n", members)
    check_rules(bond, family)
    assert spoofed(bond, family) == 2
    with vlan(bond, family) as (_, own):
        wait_for(lambda: ping(bond.client, own), 5, "the VLAN")
        before = bond.counters()
        assert ping(bond.client, own)
        assert not (bond.counters() - before).get("antispoof")
        assert spoofed(bond, family, (10,)) == 2


@pytest.mark.modes("xdp")
def test_native_xdp_on_a_slave(bond):
    """A driver's XDP on a slave and native XDP on its bond exclude each other: clear words."""
    bond.unload()
    load(bond, ACCEPT7)
    result = load(bond, ACCEPT7, "fw-bond s0", check=False)
    assert result.exit in (1, 4), result
    assert "s0" in result.err or "fw-bond" in result.err, result
    check_rules(bond, 4)


@families
@pytest.mark.parametrize("kind", ["balance-rr", "balance-xor"])
@pytest.mark.modes("xdp", "tc")
def test_other_bonds(bond, family, kind):
    """Both links carry packets of one connection."""
    bond.unload()
    set_mode(bond, kind)
    try:
        load(bond, ACCEPT7)
        gained = check_rules(bond, family)
        assert gained.get("default", bond.hook, "fw-bond") >= 1, gained
        # the fragments of a datagram by both
        before = bond.counters()
        assert ping(bond.client, OWN[family], 3, 20000)
        gained = bond.counters() - before
        assert not gained.drops() and gained.get("fragment", bond.hook) >= 30, gained
    finally:
        bond.unload()
        set_mode(bond, "active-backup")
