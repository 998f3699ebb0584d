# SPDX-License-Identifier: GPL-2.0-only
"""Each branch of the parser and of the address checks, XDP and TC alike."""

import pytest
from conftest import FAR4, FAR6, PEER4, PEER6, RULES, SELF4, SELF6
from packets import (
    ARP,
    FAMILIES,
    IP,
    TAGS,
    TCP,
    UDP,
    Ether,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Raw,
    echo,
    frame,
    l3,
    unreachable,
)

HOOKS = ("xdp", "ingress")
SYN = dict(sport=1024, dport=22, flags="S")


def tcp(flags):
    return TCP(sport=1024, dport=22, flags=flags)


# What must die for a reason of its own, whatever the family, tags and hook.
BOTH = {
    "tcp-null": lambda f: l3(f) / tcp(0),
    "tcp-xmas": lambda f: l3(f) / tcp("FPU"),
    "tcp-no-syn": lambda f: l3(f) / tcp("A"),
    "bad-l4": lambda f: l3(f) / TCP(sport=1, dport=22, flags="S", dataofs=4),
    "icmp-unrelated": lambda f: l3(f)
    / unreachable(
        f,
        l3(f, src=SELF4 if f == 4 else SELF6, dst=PEER4 if f == 4 else PEER6)
        / UDP(sport=5, dport=6),
    ),
    "icmp-no-request": lambda f: l3(f) / echo(f, reply=True),
    "spoofed-self": lambda f: l3(
        f, src=SELF4 if f == 4 else SELF6, dst=FAR4 if f == 4 else FAR6
    )
    / UDP(sport=5, dport=53),
    "land": lambda f: l3(
        f, src=SELF4 if f == 4 else SELF6, dst=SELF4 if f == 4 else SELF6
    )
    / tcp("S"),
    "martian": lambda f: l3(f, src="127.0.0.1" if f == 4 else "::1") / tcp("S"),
    "truncated": lambda f: l3(f) / tcp("S"),  # and cut, see test_dropped()
    "rule": lambda f: l3(f, src="203.0.113.7" if f == 4 else "2001:db8:bad::7")
    / tcp("S"),
    "default": lambda f: l3(f) / TCP(sport=1024, dport=25, flags="S"),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reason", BOTH)
def test_dropped(fw, reason, family, tags, hook):
    whole = frame(BOTH[reason](family), tags)
    out = fw.run(hook, whole[:-4] if reason == "truncated" else whole)
    assert (out["drop"], out["reason"]) == (True, reason)


@pytest.mark.parametrize("size", (100, 6000))
@pytest.mark.parametrize("family", FAMILIES)
def test_length_of_frames(fw, family, size):
    """XDP: what is beyond the first buffer of a driver is seen, and counted, too."""
    source = "203.0.113.7" if family == 4 else "2001:db8:bad::7"
    datagram = UDP(sport=1, dport=2) / Raw(b"x" * size)
    whole = frame(l3(family, src=source) / datagram)
    cut = bytearray(frame(l3(family) / datagram))[:-1]
    strange = bytes(Ether(type=0x88CC) / Raw(b"x" * size))
    for data, reason in ((whole, "rule"), (cut, "truncated"), (strange, "non-ip")):
        out = fw.run("xdp", data)
        assert (out["reason"], out["bytes"]) == (reason, len(data))


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_flag_combination(fw, family, hook):
    """256 flag bytes: a SYN opens, the legal rest has no flow, the rest is bad."""
    for flags in range(256):
        core = flags & 0x17
        if not flags & 0x3F:
            want = "tcp-null"
        elif flags & 0x29 == 0x29 and core != 0x11:
            want = "tcp-xmas"
        elif core == 0x02:
            want = "new"
        elif core in (0x12, 0x10, 0x04, 0x14, 0x11):
            want = "tcp-no-syn"
        else:
            want = "tcp-flags"
        if want == "new":
            fw.flush()
        got = fw.run(hook, frame(l3(family) / tcp(flags)))["reason"]
        fw.flush()
        assert got == want, f"flags {flags:#x}"


V4_ONLY = {
    "version": ("bad-ipv4", lambda: IP(version=5, src=PEER4, dst=SELF4) / tcp("S")),
    "ihl": ("bad-ipv4", lambda: IP(ihl=4, src=PEER4, dst=SELF4) / tcp("S")),
    "total below header": (
        "bad-ipv4",
        lambda: IP(len=19, src=PEER4, dst=SELF4) / tcp("S"),
    ),
    "total beyond frame": (
        "truncated",
        lambda: IP(len=400, src=PEER4, dst=SELF4) / tcp("S"),
    ),
    "lsrr": (
        "source-route",
        lambda: IP(src=PEER4, dst=SELF4, options=[b"\x83\x07\x04\x0a\x00\x00\x01"])
        / tcp("S"),
    ),
    "ssrr after nops": (
        "source-route",
        lambda: IP(
            src=PEER4, dst=SELF4, options=[b"\x01\x01\x89\x07\x04\x0a\x00\x00\x01"]
        )
        / tcp("S"),
    ),
    "option length": (
        "bad-ipv4",
        lambda: IP(src=PEER4, dst=SELF4, options=[b"\x07\x28\x04\x00"]) / tcp("S"),
    ),
    "tiny fragment": (
        "fragment-tiny",
        lambda: IP(src=PEER4, dst=SELF4, flags="MF", id=1, proto=6)
        / Raw(b"\x00" * 8),
    ),
    "orphan": (
        "fragment-orphan",
        lambda: IP(src=PEER4, dst=SELF4, frag=10, id=2, proto=17) / Raw(b"\x00" * 8),
    ),
    "fragment in the tcp header": (
        "fragment-bad",
        lambda: IP(src=PEER4, dst=SELF4, frag=1, id=3, proto=6) / Raw(b"\x00" * 8),
    ),
    "fragment beyond 64k": (
        "fragment-bad",
        lambda: IP(src=PEER4, dst=SELF4, frag=8191, id=4, proto=17)
        / Raw(b"\x00" * 40),
    ),
    "odd middle fragment": (
        "fragment-bad",
        lambda: IP(src=PEER4, dst=SELF4, flags="MF", frag=9, id=5, proto=17)
        / Raw(b"\x00" * 9),
    ),
    "multicast source": (
        "martian",
        lambda: IP(src="224.0.0.5", dst=SELF4) / tcp("S"),
    ),
    "class e source": ("martian", lambda: IP(src="250.1.2.3", dst=SELF4) / tcp("S")),
    "no source": ("martian", lambda: IP(src="0.0.0.0", dst=SELF4) / tcp("S")),
    "icmpv6 in ipv4": (
        "bad-l4",
        lambda: IP(src=PEER4, dst=SELF4, proto=58) / Raw(b"\x80" + b"\x00" * 7),
    ),
    "udp length": (
        "bad-l4",
        lambda: IP(src=PEER4, dst=SELF4) / UDP(sport=1, dport=53, len=7),
    ),
    "udp beyond packet": (
        "bad-l4",
        lambda: IP(src=PEER4, dst=SELF4) / UDP(sport=1, dport=53, len=99),
    ),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("name", V4_ONLY)
def test_ipv4(fw, name, tags, hook):
    reason, build = V4_ONLY[name]
    out = fw.run(hook, frame(build(), tags))
    assert (out["drop"], out["reason"]) == (True, reason)


def v6(*headers, **fields):
    packet = IPv6(src=PEER6, dst=SELF6, **fields)
    for header in headers:
        packet = packet / header
    return packet


V6_ONLY = {
    "version": ("bad-ipv6", lambda: v6(tcp("S"), version=5)),
    "payload beyond frame": ("truncated", lambda: v6(tcp("S"), plen=400)),
    "routing 0": (
        "routing-header-0",
        lambda: v6(IPv6ExtHdrRouting(type=0, addresses=[SELF6]), tcp("S")),
    ),
    "hop-by-hop not first": (
        "ext-headers",
        lambda: v6(IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop(), tcp("S")),
    ),
    "nine headers": (
        "ext-headers",
        lambda: v6(*[IPv6ExtHdrDestOpt() for _ in range(9)], tcp("S")),
    ),
    "header beyond packet": (
        "truncated",
        lambda: v6(IPv6ExtHdrDestOpt(nh=6, len=9), nh=60),
    ),
    "two fragment headers": (
        "ext-headers",
        lambda: v6(
            IPv6ExtHdrFragment(m=1, id=1), IPv6ExtHdrFragment(m=1, id=1), Raw(b"0" * 16)
        ),
    ),
    "tiny fragment": (
        "fragment-tiny",
        lambda: v6(IPv6ExtHdrFragment(m=1, id=1, nh=6), Raw(b"\x00" * 8)),
    ),
    "chain continues in the next fragment": (
        "fragment-tiny",
        lambda: v6(
            IPv6ExtHdrFragment(m=1, id=1, nh=60), Raw(b"\x06\x04" + b"\x00" * 6)
        ),
    ),
    "orphan": (
        "fragment-orphan",
        lambda: v6(IPv6ExtHdrFragment(offset=10, id=2, nh=17), Raw(b"\x00" * 8)),
    ),
    "orphan behind options": (
        "fragment-orphan",
        lambda: v6(
            IPv6ExtHdrDestOpt(),
            IPv6ExtHdrFragment(offset=10, id=2, nh=17),
            Raw(b"\x00" * 8),
        ),
    ),
    "fragment beyond 64k": (
        "fragment-bad",
        lambda: v6(IPv6ExtHdrFragment(offset=8191, id=3, nh=17), Raw(b"\x00" * 40)),
    ),
    "multicast source": (
        "martian",
        lambda: IPv6(src="ff02::5", dst=SELF6) / tcp("S"),
    ),
    "mapped source": (
        "martian",
        lambda: IPv6(src="::ffff:198.51.100.9", dst=SELF6) / tcp("S"),
    ),
    "no source": ("martian", lambda: IPv6(src="::", dst=SELF6) / tcp("S")),
    "icmp in ipv6": ("bad-l4", lambda: v6(Raw(b"\x08" + b"\x00" * 7), nh=1)),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("name", V6_ONLY)
def test_ipv6(fw, name, tags, hook):
    reason, build = V6_ONLY[name]
    out = fw.run(hook, frame(build(), tags))
    assert (out["drop"], out["reason"]) == (True, reason)


def ipv4(payload=None, **fields):
    return IP(src=PEER4, dst=SELF4, **fields) / (payload or tcp("S"))


def ports(proto, sport, dport):
    flags = {"flags": "S"} if proto is TCP else {}
    return proto(sport=sport, dport=dport, **flags)


SOURCE_ROUTE = b"\x83\x07\x04\x0a\x00\x00\x01"

# A packet for each check, and what becomes of it without: accepted, if not said otherwise.
CHECKS = [
    ("land", lambda: IP(src=FAR4, dst=FAR4) / tcp("S"), "default"),
    ("land", lambda: IP(src=SELF4, dst=SELF4) / tcp("S"), "spoofed-self"),
    ("martian", lambda: IP(src="127.0.0.1", dst=SELF4) / tcp("S"), "spoofed-self"),
    ("martian", lambda: IP(src="240.0.0.1", dst=SELF4) / tcp("S"), "new"),
    ("martian", lambda: IPv6(src="::", dst=SELF6) / tcp("S"), "new"),
    ("spoofed-self", lambda: IP(src=SELF4, dst=FAR4) / ports(TCP, 9, 80), "undecided"),
    ("source-route", lambda: ipv4(options=[SOURCE_ROUTE]), "new"),
    (
        "routing-header-0",
        lambda: v6(IPv6ExtHdrRouting(type=0, addresses=[FAR6]), tcp("S")),
        "new",
    ),
    ("ttl-zero", lambda: ipv4(ttl=0), "new"),
    ("ttl-zero", lambda: v6(tcp("S"), hlim=0), "new"),
    ("bad-checksum", lambda: ipv4(chksum=0x1234), "new"),
    ("bad-checksum", lambda: ipv4(chksum=0), "new"),
    ("bad-checksum", lambda: ipv4(chksum=0, options=[b"\x94\x04\x00\x00"]), "new"),
    ("bad-l4", lambda: ipv4(TCP(sport=1, dport=22, flags="S", dataofs=4)), "new"),
    ("bad-l4", lambda: v6(UDP(sport=1, dport=53, len=99)), "new"),
    ("port-zero", lambda: ipv4(ports(TCP, 0, 22)), "new"),
    ("port-zero", lambda: v6(ports(TCP, 1, 0)), "default"),
    ("port-zero", lambda: ipv4(ports(UDP, 1, 0)), "default"),
    ("tcp-null", lambda: ipv4(tcp(0)), "tcp-no-syn"),
    ("tcp-xmas", lambda: v6(tcp("FPU")), "tcp-no-syn"),
    ("tcp-flags", lambda: ipv4(tcp("SF")), "tcp-no-syn"),
]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("case", range(len(CHECKS)))
def test_check_has_a_switch(fw, case, tags, hook):
    """On without being asked for; off, the packet is judged as if nothing were odd."""
    check, build, without = CHECKS[case]
    if without == "undecided" and hook == "ingress":
        without = "default"
    packet = frame(build(), tags)
    assert fw.run(hook, packet)["reason"] == check
    fw.rules(RULES + f"option check {check} off\n")
    assert fw.run(hook, packet)["reason"] == without
    fw.flush()
    fw.rules(RULES + f"option check {check} on\n")
    assert fw.run(hook, packet)["reason"] == check


@pytest.mark.parametrize("hook", HOOKS)
def test_spoofed_is_not_outgoing(fw, hook):
    """Nobody checks: who claims to be us is still somebody who comes in."""
    fw.rules(
        "interface wan = if0\noption check spoofed-self off\n"
        "accept in from self label claims\ndefault out drop\n"
    )
    packet = frame(IP(src="192.0.2.255", dst=SELF4) / tcp("S"))
    assert fw.run(hook, packet)["reason"] == "default"
    packet = frame(IPv6(src=SELF6, dst="ff02::1") / UDP(sport=5, dport=5))
    assert fw.run(hook, packet)["reason"] == "new"


@pytest.mark.parametrize("hook", HOOKS)
def test_ip_options_drop(fw, hook):
    """Every option of IPv4 but what pads, and what IGMP has to have."""
    alert, pad = b"\x94\x04\x00\x00", b"\x01\x01\x01\x00"
    igmp = {"proto": 2, "ttl": 1}
    for drop, want in (("", "new"), ("option ip-options drop\n", "ip-options-drop")):
        fw.rules(RULES + drop)
        fw.flush()
        assert fw.run(hook, frame(ipv4(options=[alert])))["reason"] == want
        fw.flush()
        assert fw.run(hook, frame(ipv4(options=[pad])))["reason"] == "new"
        query = ipv4(Raw(b"\x11" + b"\x00" * 7), options=[alert], **igmp)
        assert fw.run(hook, frame(query))["reason"] == "essential"
        route = ipv4(options=[SOURCE_ROUTE])
        assert fw.run(hook, frame(route))["reason"] == "source-route"


@pytest.mark.parametrize("hook", HOOKS)
def test_passes(fw, hook):
    """What looks odd and is right."""
    ok = {
        "eight extension headers": v6(
            IPv6ExtHdrHopByHop(), *[IPv6ExtHdrDestOpt() for _ in range(7)], tcp("S")
        ),
        "atomic fragment": v6(IPv6ExtHdrFragment(id=9), tcp("S")),
        "ip options": IP(src=PEER4, dst=SELF4, options=[b"\x94\x04\x00\x00"]) / tcp("S"),
        "ecn": l3(4) / tcp("SEC"),
        "no source port": l3(4) / ports(UDP, 0, 53),
        "last hop": l3(4, ttl=1) / tcp("S"),
    }
    for name, packet in ok.items():
        fw.flush()
        assert fw.run(hook, frame(packet))["reason"] == "new", name


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_vlan_depth(fw, family, hook):
    out = fw.run(hook, frame(l3(family) / tcp("S"), tags=3))
    assert (out["drop"], out["reason"]) == (True, "vlan-depth")


@pytest.mark.parametrize("hook", ("xdp", "ingress", "egress"))
def test_not_ip(fw, hook):
    arp = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=SELF4))
    lldp = bytes(Ether(dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(b"\x00" * 46))
    for packet in (arp, lldp):
        assert fw.run(hook, packet)["reason"] == "non-ip"
    fw.rules("interface wan = if0\noption non-ip drop\n")
    assert fw.run(hook, lldp)["reason"] == "non-ip-drop"
    # a host that drops ARP has locked itself out
    assert fw.run(hook, arp)["reason"] == "non-ip"


@pytest.mark.parametrize("hook", HOOKS)
def test_essential(fw, hook):
    """A default that denies does not cut off the host; a rule that names it may."""
    ns = IPv6(src=PEER6, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=SELF6)
    dhcp = IP(src="192.0.2.254", dst="255.255.255.255") / UDP(sport=67, dport=68)
    ask = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    far = IPv6(src=PEER6, dst="ff02::1:ff00:1", hlim=254) / ICMPv6ND_NS(tgt=SELF6)
    for packet in (ns, dhcp):
        assert fw.run(hook, frame(packet))["reason"] == "essential"
    for packet in (ask, far):
        assert fw.run(hook, frame(packet))["reason"] == "default"
    fw.rules("interface wan = if0\ndrop in label all\n")
    assert fw.run(hook, frame(ns))["reason"] == "essential"
    fw.rules("interface wan = if0\ndrop in proto icmp6 type neighbour-solicitation\n")
    assert fw.run(hook, frame(ns))["reason"] == "rule"


@pytest.mark.parametrize("hook", ("xdp", "ingress", "egress"))
def test_uncovered(fw, hook):
    assert fw.run(hook, frame(l3(4) / tcp("S")), iface=3)["drop"] is False


def test_truncated_anywhere(fw):
    """No prefix of a packet crashes, passes or is counted twice."""
    whole = frame(v6(IPv6ExtHdrDestOpt(), tcp("S")), tags=2)
    for length in range(14, len(whole)):
        for hook in HOOKS:
            out = fw.run(hook, whole[:length])
            assert out["reason"] == "truncated", length
