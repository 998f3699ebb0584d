# SPDX-License-Identifier: GPL-2.0-only
"""Fragments: the first one decides, the rest follow it, nothing else passes."""

import pytest
from conftest import PEER6, RULES, SELF6
from packets import (
    FAMILIES,
    TAGS,
    TCP,
    UDP,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    echo,
    frame,
    l3,
)

HOOKS = ("xdp", "ingress")
WAN = "interface wan = if0\ninterface lan = if1\n"
OTHER = {4: "198.51.100.77", 6: "2001:db8:9::77"}
hooks = pytest.mark.parametrize("hook", HOOKS)
families = pytest.mark.parametrize("family", FAMILIES)


def piece(family, ident, offset, more, data, tags=0, proto=17, **fields):
    """One fragment; `offset` in units of eight bytes."""
    if family == 4:
        fields.update(id=ident, frag=offset, flags="MF" if more else 0, proto=proto)
        return frame(l3(4, **fields) / Raw(data), tags)
    head = IPv6ExtHdrFragment(id=ident, offset=offset, m=int(more), nh=proto)
    return frame(l3(6, **fields) / head / Raw(data), tags)


def udp(port, size=16):
    """A datagram."""
    return bytes(UDP(sport=999, dport=port, len=8 + size) / Raw(b"a" * size))


def first(family, port=53, ident=77, size=16, **fields):
    """The first fragment of a datagram to `port`, `size` bytes of it."""
    return piece(family, ident, 0, True, udp(port, 1000)[:size], **fields)


def rest(family, ident=77, offset=2, **fields):
    """What follows the first 16 bytes."""
    return piece(family, ident, offset, False, b"a" * 8, **fields)


def reason(fw, hook, fragment, **place):
    return fw.run(hook, fragment, **place)["reason"]


@hooks
@families
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("port, verdict", ((53, "new"), (123, "stateless")))
def test_follow(fw, family, hook, tags, port, verdict):
    """The rest of the same datagram, and nobody else's, however the first one was judged."""
    assert reason(fw, hook, rest(family, tags=tags)) == "fragment-orphan"
    # the last packet before
    reason(fw, hook, rest(family, 76, src=OTHER[family], tags=tags))
    assert reason(fw, hook, first(family, port, tags=tags)) == verdict
    assert reason(fw, hook, rest(family, tags=tags)) == "fragment"
    assert reason(fw, hook, rest(family, 78, tags=tags)) == "fragment-orphan"
    assert reason(fw, hook, rest(family, src=OTHER[family], tags=tags)) == "fragment-orphan"
    assert reason(fw, hook, rest(family, tags=tags), iface=1) == "fragment-orphan"
    if tags:
        assert reason(fw, hook, rest(family)) == "fragment-orphan"
    fw.rules("interface wan = if0\noption fragments drop\naccept in\n")
    assert reason(fw, hook, first(family, port, tags=tags)) == "fragment-option"
    assert reason(fw, hook, rest(family, tags=tags)) == "fragment-option"


@families
def test_follow_at_egress(fw, family):
    """The same on the way out."""
    own = {"src": l3(family).dst, "dst": l3(family).src}
    assert reason(fw, "egress", rest(family, **own)) == "fragment-orphan"
    assert reason(fw, "egress", first(family, **own)) == "new"
    assert reason(fw, "egress", rest(family, **own)) == "fragment"


@hooks
@families
def test_echo(fw, family, hook):
    """A ping, both its first datagram and those of a known flow."""
    ping = bytes(l3(family) / echo(family) / Raw(b"p" * 32))[20 if family == 4 else 40:]
    proto = 1 if family == 4 else 58
    for ident, verdict in ((5, "new"), (6, "established")):
        begin = piece(family, ident, 0, True, ping[:16], proto=proto)
        assert reason(fw, hook, begin) == ("new" if hook == "xdp" else verdict)
        for offset in (4, 2, 3, 2):
            assert reason(fw, hook, rest(family, ident, offset, proto=proto)) == "fragment"


@hooks
@families
def test_newest_first_one_decides(fw, family, hook):
    """The identifier is used again, by a datagram that is denied."""
    assert reason(fw, hook, first(family)) == "new"
    assert reason(fw, hook, first(family, 9999)) == "default"
    assert reason(fw, hook, rest(family)) == "fragment-orphan"
    assert reason(fw, hook, first(family)) in ("new", "established")
    assert reason(fw, hook, rest(family)) == "fragment"


@families
def test_refused_by_tc(fw, family):
    """XDP accepts and TC finds no room for the flow: the rest goes no further than XDP."""
    assert reason(fw, "xdp", first(family)) == "new"
    assert reason(fw, "xdp", rest(family)) == "fragment"
    fw.call(half_open=0, room=0, seconds=100)
    assert reason(fw, "ingress", first(family)) == "table-pressure"
    fw.call(half_open=0, room=0, seconds=0)
    assert reason(fw, "xdp", rest(family)) == "fragment-orphan"


@hooks
@families
def test_stateless_rules_judge_the_first(fw, family, hook):
    """A later rule without ports says nothing about the rest of an accepted datagram."""
    fw.rules(
        WAN + "accept stateless in proto udp to self port 53 label dns\n"
        "drop stateless in label rest\n"
    )
    assert reason(fw, hook, rest(family)) == "rule"
    assert reason(fw, hook, first(family, 9999)) == "rule"
    assert reason(fw, hook, rest(family)) == "rule"
    assert reason(fw, hook, first(family)) == "stateless"
    assert reason(fw, hook, rest(family)) == "fragment"


@hooks
@families
def test_reload(fw, family, hook):
    """What is on its way goes on, unless the new stateless rules drop it."""
    assert reason(fw, hook, first(family)) == "new"
    fw.rules(RULES + "accept in proto 77\n")
    assert reason(fw, hook, rest(family)) == "fragment"
    fw.rules(RULES + f"drop stateless in from {l3(family).src} label out\n")
    assert reason(fw, hook, rest(family)) == "rule"


@families
def test_links_of_a_bond(fw, family):
    """XDP runs on the slaves; pieces of a datagram may come by each of them."""
    fw.call(slave=2)
    try:
        fw.rules(RULES + "# if0 is a bond\n")
        assert reason(fw, "xdp", first(family), iface=2) == "new"
        assert reason(fw, "xdp", rest(family)) == "fragment"
        assert reason(fw, "xdp", rest(family, offset=3), iface=2) == "fragment"
        assert reason(fw, "xdp", rest(family), iface=1) == "fragment-orphan"
    finally:
        fw.call(slave=0)


@hooks
@families
@pytest.mark.parametrize("verdict, port", (("new", 53), ("stateless", 123)))
def test_overlap(fw, family, hook, verdict, port):
    """Nothing is written over what the first fragment was judged by."""
    assert reason(fw, hook, first(family, port, size=24)) == verdict
    assert reason(fw, hook, rest(family, offset=1)) == "fragment-bad"
    assert reason(fw, hook, rest(family, offset=2)) == "fragment-bad"
    assert reason(fw, hook, rest(family, offset=3)) == "fragment"


@hooks
@families
def test_tcp_flags_are_not_overwritten(fw, family, hook):
    """RFC 3128: the flags are in the second eight bytes."""
    syn = bytes(TCP(sport=999, dport=22, flags="S") / Raw(b"a" * 20))
    assert reason(fw, hook, piece(family, 77, 0, True, syn[:24], proto=6)) == "new"
    assert reason(fw, hook, rest(family, offset=1, proto=6)) == "fragment-bad"
    assert reason(fw, hook, rest(family, offset=3, proto=6)) == "fragment"


@hooks
def test_extension_headers(fw, hook):
    """Before and behind the fragment header; later fragments may name another header."""
    before = IPv6(src=PEER6, dst=SELF6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    options = bytes(IPv6ExtHdrDestOpt(nh=17))
    begin = IPv6ExtHdrFragment(id=9, m=1, nh=60) / Raw(options + udp(53, 24)[:16])
    assert reason(fw, hook, frame(before / begin)) == "new"
    for nh in (60, 17, 6):
        behind = IPv6ExtHdrFragment(id=9, offset=3, nh=nh) / Raw(b"a" * 8)
        assert reason(fw, hook, frame(before / behind)) == "fragment"
        assert reason(fw, hook, frame(IPv6(src=PEER6, dst=SELF6) / behind)) == "fragment"
    # what would become the ports
    over = IPv6ExtHdrFragment(id=9, offset=1, nh=60) / Raw(b"a" * 8)
    assert reason(fw, hook, frame(before / over)) == "fragment-bad"


@hooks
def test_neighbour_discovery_comes_whole(fw, hook):
    """RFC 6980: a message in fragments is nobody's, so it is not essential."""
    message = bytes(IPv6(src=PEER6, dst=SELF6, hlim=255) / ICMPv6ND_NS(tgt=SELF6))[40:]
    whole = frame(IPv6(src=PEER6, dst=SELF6, hlim=255, nh=58) / Raw(message))
    assert reason(fw, hook, whole) == "essential"
    begin = piece(6, 77, 0, True, message, proto=58, hlim=255)
    assert reason(fw, hook, begin) == "default"
