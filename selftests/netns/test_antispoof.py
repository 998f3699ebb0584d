# SPDX-License-Identifier: GPL-2.0-only
"""`antispoof on ZONE`: what comes in must have a way back, by whatever routes there are now."""

import contextlib
import itertools
import os
import pathlib
import signal

import pytest

from lab.lab import CLIENT, LAN, SERVER, WAN
from lab.netns import wait_for
from lab.packets import (
    TCP,
    UDP,
    IPv6,
    fragment,
    frame,
    ip,
    neighbour_solicitation,
    router_advertisement,
)
from lab.traffic import ping

ACCEPT = "default in accept\ndefault out accept\ndefault forward accept\n"
INNER = {4: "198.51.100.77", 6: "2001:db8:2::77"}  # of the LAN, used on the WAN
FAR = {4: "203.0.113.9", 6: "2001:db8:3::9"}  # of no route, unless a test makes one
FAR_NET = {4: "203.0.113.0/24", 6: "2001:db8:3::/64"}
LINK_LOCAL = "fe80::1234"
OFFERED = "192.0.2.99"  # of the WAN, nobody's

families = pytest.mark.parametrize("family", [4, 6])
all_modes = pytest.mark.modes("xdp", "tc", "xdp-generic")
ports = itertools.count(30000)


def reasons(lab, packets, noise=("non-ip", "essential")):
    """What became of packets from the client, each for itself, at the first hook."""
    def signal(gained):
        return [r for (i, h, r) in gained.values
                if i == "fw-wan" and h == lab.hook and r not in noise]

    found = []
    for packet in packets:
        before = lab.counters()
        lab.client.send_raw("eth0", [frame(packet)])
        found += signal(lab.gain(before, signal))
    return found


def is_passed(reason):
    """XDP cannot be sure of all that passes."""
    return reason in ("new", "undecided", "established")


def check(lab, family, dst, passes, dies):
    """Datagrams from some sources pass, from others are dropped as spoofed."""
    def packets(sources):
        return [ip(family, src=src, dst=dst) / UDP(sport=next(ports), dport=53)
                for src in sources]
    found = reasons(lab, packets(passes))
    assert all(map(is_passed, found)), dict(zip(passes, found))
    # each of them; the client may send something by itself in between
    found = reasons(lab, packets(dies))
    assert found.count("antispoof") == len(dies), found


@contextlib.contextmanager
def route(lab, family, *spec):
    """A route of the firewall."""
    command = ("ip", f"-{family}", "route")
    lab.firewall.run(*command, "replace", *spec)
    try:
        yield
    finally:
        lab.firewall.run(*command, "del", *spec)


@all_modes
@families
def test_strict(lab, family):
    """Through the firewall and to itself, only what is answered by the same interface."""
    lab.load(ACCEPT + "antispoof on wan\n")
    for dst in (SERVER[family], WAN[family], LAN[family]):
        check(lab, family, dst, [CLIENT[family]], [INNER[family], FAR[family]])


@all_modes
@families
def test_loose(lab, family):
    """Any way back will do; none is none."""
    lab.load(ACCEPT + "antispoof on { wan, lan } loose\n")
    check(lab, family, SERVER[family], [CLIENT[family], INNER[family]], [FAR[family]])


@families
def test_not_asked_for(lab, family):
    """Other zones pay and lose nothing."""
    lab.load(ACCEPT + "antispoof on lan\n")
    check(lab, family, SERVER[family], [CLIENT[family], INNER[family], FAR[family]], [])


@families
def test_asymmetric_routes(lab, family):
    """Routes are those of the moment, also for a flow that was accepted."""
    lab.load(ACCEPT + "antispoof on wan strict\n")
    dst, src = SERVER[family], FAR[family]
    packet = ip(family, src=src, dst=dst) / UDP(sport=next(ports), dport=53)
    with route(lab, family, FAR_NET[family], "via", CLIENT[family]):
        check(lab, family, dst, [src], [INNER[family]])
        assert reasons(lab, [packet] * 2)[1] == "established"
    with route(lab, family, FAR_NET[family], "via", SERVER[family]):
        check(lab, family, dst, [], [src])
        assert reasons(lab, [packet]) == ["antispoof"]
        lab.load(ACCEPT + "antispoof on wan loose\n")
        check(lab, family, dst, [src], [])
    for kind in ("blackhole", "unreachable", "prohibit"):
        with route(lab, family, kind, FAR_NET[family]):
            check(lab, family, dst, [], [src])


@families
def test_two_zones(lab, family):
    """An interface of both is asked strictly if one of them says so, and if only one asks."""
    lab.load(ACCEPT + "interface outer = fw-wan\nantispoof on wan loose\nantispoof on outer\n")
    check(lab, family, SERVER[family], [CLIENT[family]], [INNER[family]])
    lab.load(ACCEPT + "interface outer = fw-wan\nantispoof on outer loose\n")
    check(lab, family, SERVER[family], [CLIENT[family], INNER[family]], [FAR[family]])


@families
def test_before_stateless_accept(lab, family):
    """A rule that asks for no state saves no spoofed packet."""
    lab.load(ACCEPT + "accept stateless forward on wan proto udp\nantispoof on wan\n")
    packets = [ip(family, src=src) / UDP(sport=next(ports), dport=53)
               for src in (CLIENT[family], INNER[family], FAR[family])]
    assert reasons(lab, packets) == ["stateless", "antispoof", "antispoof"]


@families
def test_fragments(lab, family):
    """Each is held against the routes, also the later ones, which have no ports."""
    lab.load(ACCEPT + "antispoof on wan\n")
    first = bytes(UDP(sport=next(ports), dport=53, len=48)) + bytes(16)

    def both(src):
        return [fragment(family, 0, True, first, src=src),
                fragment(family, 3, False, bytes(24), src=src)]
    assert "antispoof" not in reasons(lab, both(CLIENT[family]))
    # a first one that was accepted is known when the later one comes
    lab.load(ACCEPT + "antispoof on wan loose\n")
    fragments = both(INNER[family])
    assert "antispoof" not in reasons(lab, fragments[:1])
    lab.load(ACCEPT + "antispoof on wan\n")
    assert reasons(lab, fragments[1:] + both(INNER[family])) == ["antispoof"] * 3


@families
def test_more_specific_route(lab, family):
    """The longest prefix says where the way back is, not that there is one by the interface."""
    lab.load(ACCEPT + "antispoof on wan\n")
    with route(lab, family, "default", "via", CLIENT[family]):
        check(lab, family, SERVER[family], [FAR[family], CLIENT[family]], [INNER[family]])


def test_essential(lab):
    """Who has no address yet, and neighbours, are not asked for routes."""
    lab.load("antispoof on wan\n")
    good = [
        ip(4, src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67),
        ip(4, src="10.9.9.9", dst="255.255.255.255") / UDP(sport=67, dport=68),
        # to the address that it offers, which is not ours yet
        ip(4, src="10.9.9.9", dst=OFFERED) / UDP(sport=67, dport=68),
        neighbour_solicitation("::", WAN[6]),
        neighbour_solicitation(LINK_LOCAL, WAN[6]),
        IPv6(src=LINK_LOCAL, dst="ff02::1") / UDP(sport=5, dport=5),
    ]
    assert reasons(lab, good, ["non-ip"]) == [
        "default", "essential", "essential", "essential", "essential", "default"]
    # To a group or the link, the source is looked up all the same.
    bad = [
        ip(4, src=INNER[4], dst="224.0.0.251") / UDP(sport=5, dport=5),
        ip(4, src=INNER[4], dst="255.255.255.255") / UDP(sport=5, dport=5),
        IPv6(src=INNER[6], dst="ff02::1") / UDP(sport=5, dport=5),
        IPv6(src=INNER[6], dst=LINK_LOCAL) / UDP(sport=5, dport=5),
    ]
    assert reasons(lab, bad) == ["antispoof"] * 4
    for packet in bad:
        packet.src = CLIENT[6 if IPv6 in packet else 4]
    assert "antispoof" not in reasons(lab, bad)


def test_forwarded_is_not_essential(lab):
    """What would be essential here is not on its way to somebody else."""
    lab.load(ACCEPT + "antispoof on wan\n")
    solicitation = neighbour_solicitation(INNER[6], SERVER[6])
    solicitation.dst = SERVER[6]
    assert reasons(lab, [
        ip(4, src=INNER[4]) / UDP(sport=67, dport=68),
        ip(4, src=FAR[4]) / UDP(sport=68, dport=67),
        ip(6, src=INNER[6]) / UDP(sport=547, dport=546),
        ip(6, src=FAR[6]) / UDP(sport=546, dport=547),
        solicitation,
    ]) == ["antispoof"] * 5


def sysctl(lab, path):
    with lab.firewall.inside():
        return pathlib.Path("/proc/sys/net", path).read_text(encoding="ascii").strip()


FORWARDING = ("ipv4/conf/{}/forwarding", "ipv6/conf/{}/forwarding")


def no_router(lab):
    lab.firewall.sysctl(net__ipv4__ip_forward=0, net__ipv6__conf__all__forwarding=0)
    assert [sysctl(lab, p.format("lo")) for p in FORWARDING] == ["0", "0"]


@families
def test_host(own_lab, family):
    """A host that forwards nothing can look up routes, and still forwards nothing."""
    lab = own_lab
    no_router(lab)
    lab.load(ACCEPT + "antispoof on wan\n")
    assert [sysctl(lab, p.format("lo")) for p in FORWARDING] == ["1", "1"]
    for name in ("all", "default", "fw-wan", "fw-lan"):
        assert [sysctl(lab, p.format(name)) for p in FORWARDING] == ["0", "0"], name
    check(lab, family, WAN[family], [CLIENT[family]], [INNER[family], FAR[family]])
    assert ping(lab.client, WAN[family])
    with lab.server.sniffer("eth0") as sniffer:
        packet = ip(family) / TCP(sport=next(ports), dport=9, flags="S")
        lab.client.send_raw("eth0", [frame(packet)])
        assert not sniffer.count(lambda f: bytes(packet[TCP])[:8] in f)


def lookups_are_on(lab):
    return [sysctl(lab, p.format("lo")) for p in FORWARDING] == ["1", "1"]


@pytest.mark.modes("tc")
def test_sysctls_are_kept(own_lab):
    """Who says once more that this is no router does not end all traffic."""
    lab = own_lab
    no_router(lab)
    lab.load(ACCEPT + "antispoof on wan\n")
    lab.firewall.sysctl(net__ipv6__conf__all__forwarding=0)
    wait_for(lambda: lookups_are_on(lab))
    assert "somebody has cleared" in lab.daemon_log()
    lab.firewall.sysctl(net__ipv4__ip_forward=1)
    lab.firewall.sysctl(net__ipv4__ip_forward=0)
    wait_for(lambda: lookups_are_on(lab))
    os.kill(lab.daemon_pid(), signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None)
    lab.firewall.sysctl(net__ipv4__conf__lo__forwarding=0, net__ipv6__conf__lo__forwarding=0)
    lab.fwctl("status")
    wait_for(lambda: lookups_are_on(lab))
    for name in ("all", "default", "fw-wan", "fw-lan"):
        assert [sysctl(lab, p.format(name)) for p in FORWARDING] == ["0", "0"], name


@pytest.mark.modes("tc")
def test_advertised_route_stays(own_lab):
    """A host keeps the IPv6 default route that a router has told it."""
    lab = own_lab

    def routes():
        return lab.firewall.run("ip", "-6", "route", "show", "default").stdout
    no_router(lab)
    assert sysctl(lab, "ipv6/conf/fw-wan/accept_ra") == "1"
    router = frame(router_advertisement(LINK_LOCAL))
    wait_for(lambda: lab.client.send_raw("eth0", [router]) or "proto ra" in routes())
    lab.load(ACCEPT + "antispoof on wan\n")
    assert sysctl(lab, "ipv6/conf/lo/forwarding") == "1"
    assert f"default via {LINK_LOCAL} dev fw-wan proto ra" in routes()
    assert sysctl(lab, "ipv6/conf/fw-wan/accept_ra") == "1"


@pytest.mark.modes("tc")
def test_refused_where_it_cannot_be(own_lab):
    """Without lookups every packet would be dropped: the place and the reason are said."""
    lab = own_lab
    no_router(lab)
    path = lab.rules("antispoof on wan\n")
    done = lab.firewall.run(
        "unshare", "--mount", "sh", "-c",
        'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"',
        "sh", lab.binary("fwctl"), "load", path, check=False, env=lab.environment())
    assert done.returncode == 4, done
    assert f"{path}:3:1: error: this kernel lacks" in done.stderr, done.stderr
    assert "/proc/sys/net/ipv4/conf/lo/forwarding is 0" in done.stderr, done.stderr


@pytest.mark.needs("vlan")
@families
@pytest.mark.parametrize("is_declared", [True, False])
def test_vlan(own_lab, family, is_declared):
    """The way back of a tagged packet is the VLAN device, also if only the parent is named."""
    lab, vlan = own_lab, {4: "203.0.10.{}", 6: "2001:db8:10::{}"}[family]
    for ns, parent, host in ((lab.client, "eth0", 2), (lab.firewall, "fw-wan", 1)):
        ns.run("ip", "link", "add", "link", parent, "name", "v10", "type", "vlan", "id", 10)
        ns.run("ip", "link", "set", "v10", "up")
        ns.run("ip", "address", "add", f"{vlan.format(host)}/{ {4: 24, 6: 64}[family]}", "dev",
               "v10", *(["nodad"] if family == 6 else []))
    lab.load(ACCEPT + ("interface tagged = v10\nantispoof on tagged\n" if is_declared else "")
             + "antispoof on wan\n")

    def one(src):
        return ip(family, src=src, dst=SERVER[family]) / UDP(sport=next(ports), dport=53)

    def drops(src):
        before = lab.counters()
        lab.client.send_raw("eth0", [frame(one(src), (10,))])
        return lab.gain(before, lambda c: sum(c.values.values()) > 0).get("antispoof")
    assert drops(vlan.format(2)) == 0
    assert drops(INNER[family]) == 1
    assert drops(CLIENT[family]) == (1 if is_declared else 0)
    assert ping(lab.client, vlan.format(1))
