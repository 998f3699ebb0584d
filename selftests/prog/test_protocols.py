# SPDX-License-Identifier: GPL-2.0-only
"""Protocols without ports are flows of two addresses: who opens, who answers, how long.

And ICMP errors about flows of any protocol: related by the packet they quote, if
nothing is wrong with that.
"""

import math
import time

import pytest
from conftest import FAR4, FAR6, PEER4, PEER6, SELF4, SELF6
from lab.netns import patience
from packets import (
    FAMILIES,
    ICMP,
    IP,
    TCP,
    UDP,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    echo,
    frame,
    unreachable,
)

HOOKS = ("xdp", "ingress")
WAN = "interface wan = if0\ninterface lan = if1\n"
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"

# SIT is IPv6 in IPv4, number 41; 4 in IPv6 and 41 in IPv6 are the other two of RFC 2473.
PROTOS = {
    "ipip": 4, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "ospf": 89,
    "sctp": 132, "udplite": 136, "253": 253,
}
NAMES = ", ".join(str(n) for n in PROTOS.values())
RULES = (WAN + DENY
         + f"accept in on wan proto {{ {NAMES} }} from {{ {PEER4}, {PEER6} }} label pair\n"
         + f"accept out on wan proto {{ {NAMES} }} to {{ {FAR4}, {FAR6} }} label mine\n"
         + "accept in proto { tcp, udp } to self port 1-65535 label ports\n"
         + "accept in proto tcp from any port 1-65535 label from-ports\n"
         + "accept in to self port 22 label bare\n")

SELF, PEER, FAR = {4: SELF4, 6: SELF6}, {4: PEER4, 6: PEER6}, {4: FAR4, 6: FAR6}
OTHER = {4: "192.0.2.200", 6: "2001:db8:1::200"}

families = pytest.mark.parametrize("family", FAMILIES)
hooks = pytest.mark.parametrize("hook", HOOKS)


def ip(family, src, dst, proto=None, **fields):
    """Network header with the number of what follows."""
    if family == 4:
        return IP(src=src, dst=dst, **({} if proto is None else {"proto": proto}), **fields)
    return IPv6(src=src, dst=dst, **({} if proto is None else {"nh": proto}), **fields)


def payload(proto):
    """Bytes that look like ports 1024 and 22; of AH, a header that says TCP follows."""
    if proto == 51:
        return Raw(b"\x06\x04" + bytes(22) + bytes(TCP(sport=1024, dport=22, flags="S")))
    return Raw(b"\x04\x00\x00\x16" + bytes(28))


def packet(family, proto, src, dst, **fields):
    """One of a protocol without ports."""
    return ip(family, src, dst, proto, **fields) / payload(proto)


def judged(fw, hook, *args):
    """Reason that a packet(*args) meets at a hook."""
    return fw.run(hook, frame(packet(*args)))["reason"]


@pytest.fixture
def pairs(fw):
    """The harness with rules for pairs of addresses."""
    fw.rules(RULES)
    return fw


# ---- who opens and who answers -----------------------------------------------------


@hooks
@families
def test_opened_by_peer(pairs, family, hook):
    """A rule opens the flow, its answer leaves, and nothing else does."""
    for proto in PROTOS.values():
        there = family, proto, PEER[family], SELF[family]
        back = family, proto, SELF[family], PEER[family]
        assert judged(pairs, "egress", *back) == "default", proto
        out = pairs.run(hook, frame(packet(*there)))
        assert (out["reason"], out["rule"]) == ("new", "pair" if hook == "ingress" else None)
        if hook == "xdp":  # makes no state
            assert judged(pairs, "egress", *back) == "default", proto
            assert judged(pairs, "ingress", *there) == "new", proto
        assert judged(pairs, "egress", *back) == "established", proto
        assert judged(pairs, hook, *there) == "established", proto
        # neither another protocol nor another address is of the flow
        pairs.flush()
        assert judged(pairs, "ingress", *there) == "new", proto
        other = 47 if proto != 47 else 50
        assert judged(pairs, "egress", family, other, SELF[family], PEER[family]) == "default"
        assert judged(pairs, "egress", family, proto, SELF[family], OTHER[family]) == "default"


@hooks
@families
def test_opened_by_us(pairs, family, hook):
    """What this host began is answered, what nobody asked for is not."""
    for proto in PROTOS.values():
        answer = family, proto, FAR[family], SELF[family]
        assert judged(pairs, hook, *answer) == "default", proto
        assert judged(pairs, "egress", family, proto, SELF[family], FAR[family]) == "new", proto
        assert judged(pairs, hook, *answer) == "established", proto
        assert judged(pairs, hook, *answer) == "established", proto
        assert judged(pairs, "egress", family, proto, SELF[family],
                      FAR[family]) == "established", proto


@families
def test_forwarded(fw, family):
    """From one zone to the other, and the answers."""
    fw.rules(WAN + DENY + f"accept forward lan -> wan proto {{ {NAMES} }} label tunnel\n")
    inner, outer = OTHER[family], PEER[family]
    for proto in PROTOS.values():
        assert judged(fw, "xdp", family, proto, outer, inner) == "default", proto
        first = frame(packet(family, proto, inner, outer))
        assert fw.run("xdp", first, iface=1)["reason"] == "undecided", proto
        out = fw.run("egress", first, iface=0, iif=1)
        assert (out["reason"], out["rule"]) == ("new", "tunnel"), proto
        for hook in HOOKS:
            assert judged(fw, hook, family, proto, outer, inner) == "established", proto
        back = frame(packet(family, proto, outer, inner))
        assert fw.run("egress", back, iface=1, iif=0)["reason"] == "established", proto


@hooks
@families
def test_port_rules_are_not_for_them(pairs, family, hook):
    """Bytes at the place of ports are none (CVE-2014-8160)."""
    for proto in PROTOS.values():
        assert judged(pairs, hook, family, proto, FAR[family], SELF[family]) == "default", proto


@hooks
@families
@pytest.mark.parametrize("word", ("", "stateless "))
def test_port_rules_deny_none_of_them(fw, family, word, hook):
    """Nor does a rule that denies a port stop them."""
    fw.rules(WAN + DENY + f"drop {word}in proto {{ tcp, udp }} to self port 22\n"
             f"drop {word}in proto tcp from any port 1024\naccept in label all\n")
    for proto in PROTOS.values():
        assert judged(fw, hook, family, proto, PEER[family], SELF[family]) == "new", proto


# ---- how long ----------------------------------------------------------------------

LIFE = math.ceil(patience(1))  # seconds, whatever happens within one


def outlive():
    """Wait without a packet: each would be traffic."""
    time.sleep(LIFE + 0.05)


@families
def test_life(fw, family):
    """Traffic either way lengthens the life; what came too late is judged by the rules."""
    fw.rules(RULES + f"timeout other {LIFE}s\n")
    for proto in PROTOS.values():
        assert judged(fw, "egress", family, proto, SELF[family], FAR[family]) == "new"
    begin, turn = time.monotonic(), 0
    while time.monotonic() - begin < 1.5 * LIFE:
        for proto in PROTOS.values():
            if turn % 2:
                assert judged(fw, "egress", family, proto, SELF[family],
                              FAR[family]) == "established"
            else:
                assert judged(fw, HOOKS[turn // 2 % 2], family, proto, FAR[family],
                              SELF[family]) == "established"
        turn += 1
    outlive()
    for proto in PROTOS.values():
        for hook in HOOKS:
            assert judged(fw, hook, family, proto, FAR[family], SELF[family]) == "default"
    for proto in PROTOS.values():
        assert judged(fw, "egress", family, proto, SELF[family], FAR[family]) == "new"


@families
def test_life_of_echo(fw, family):
    """Replies are those to a request of the last seconds."""
    fw.rules(WAN + "default in drop\ndefault out accept\n" + f"timeout icmp {LIFE}s\n")
    ask = frame(ip(family, SELF[family], PEER[family]) / echo(family, 5))
    tell = frame(ip(family, PEER[family], SELF[family]) / echo(family, 5, reply=True))
    assert fw.run("egress", ask)["reason"] == "new"
    for hook in HOOKS:
        assert fw.run(hook, tell)["reason"] == "established"
    outlive()
    for hook in HOOKS:
        assert fw.run(hook, tell)["reason"] == "icmp-no-request"


@families
def test_shorter_life_of_a_kept_flow(fw, family):
    """A new timeout counts for a running flow with its next packets, also a shorter one."""
    fw.rules(RULES + "option on-reload keep\n")
    there = family, 47, SELF[family], FAR[family]
    back = family, 47, FAR[family], SELF[family]
    assert judged(fw, "egress", *there) == "new"
    fw.rules(RULES + f"option on-reload keep\ntimeout other {LIFE}s\n")
    assert judged(fw, "xdp", *back) == "established"
    outlive()
    assert judged(fw, "xdp", *back) == "default"


@families
def test_life_of_udp(fw, family):
    """An answer makes a datagram a stream; what only repeats the question is none."""
    fw.rules(WAN + DENY + "accept out proto udp label dns\n"
             f"timeout udp {LIFE}s\ntimeout udp-stream {3 * LIFE}s\n")
    ask = frame(ip(family, SELF[family], PEER[family]) / UDP(sport=999, dport=53))
    tell = frame(ip(family, PEER[family], SELF[family]) / UDP(sport=53, dport=999))
    other = frame(ip(family, SELF[family], PEER[family]) / UDP(sport=998, dport=53))
    tell_other = frame(ip(family, PEER[family], SELF[family]) / UDP(sport=53, dport=998))
    for one in (ask, other):
        assert fw.run("egress", one)["reason"] == "new"
    assert fw.run("xdp", tell)["reason"] == "established"
    assert fw.run("egress", ask)["reason"] == "established"
    outlive()
    assert fw.run("xdp", tell)["reason"] == "established"
    for hook in HOOKS:
        assert fw.run(hook, tell_other)["reason"] == "default"


@families
def test_reload(pairs, family):
    """Policy wins for these flows as well; what is still accepted goes on."""
    def back(hook, proto):
        return judged(pairs, hook, family, proto, FAR[family], SELF[family])
    for proto in PROTOS.values():
        assert judged(pairs, "egress", family, proto, SELF[family], FAR[family]) == "new"
        assert proto % 2 or back("xdp", proto) == "established"
    pairs.rules(RULES + "# more\n")
    for proto in PROTOS.values():
        assert back("xdp", proto) == "undecided", proto
        assert back("ingress", proto) == "established", proto
        assert back("xdp", proto) == "established", proto
    pairs.rules(WAN + DENY)
    for proto in PROTOS.values():
        assert back("xdp", proto) == "undecided", proto
        assert back("ingress", proto) == "reload", proto
        assert back("xdp", proto) == "default", proto


# ---- ICMP errors -------------------------------------------------------------------


def own(family, what):
    """A packet that leaves this host, of a protocol by number or one of the others."""
    addresses = SELF[family], FAR[family]
    if what == "tcp":
        return ip(family, *addresses) / TCP(sport=3333, dport=443, flags="S")
    if what == "udp":
        return ip(family, *addresses) / UDP(sport=3333, dport=5353) / Raw(b"x" * 8)
    if what == "echo":
        return ip(family, *addresses) / echo(family, 44)
    return packet(family, what, *addresses)


def turned(family, what):
    """The same from the other side, as the first packet of a flow."""
    one = own(family, what)
    one.src, one.dst = one.dst, one.src
    if what in ("tcp", "udp"):
        one[1].sport, one[1].dport = one[1].dport, one[1].sport
    return one


WHAT = ("tcp", "udp", "echo", *PROTOS.values())
HEAD = {4: 20, 6: 40}


def error_about(family, quoted, src=None, dst=None):
    """A frame with an error of some router; `quoted` may be bytes."""
    if isinstance(quoted, bytes):
        quoted = Raw(quoted)
    return frame(ip(family, src or PEER[family], dst or SELF[family])
                 / unreachable(family, quoted))


@pytest.fixture
def opening(fw):
    """The harness with rules that let everything out and nothing in."""
    fw.rules(WAN + "default in drop\ndefault out accept\ndefault forward drop\n")
    return fw


@hooks
@families
def test_error(opening, family, hook):
    """It is related from the first packet of the flow on, whoever sends it."""
    head = HEAD[family]
    for what in WHAT:
        quoted = own(family, what)
        assert opening.run(hook, error_about(family, quoted))["reason"] == "icmp-unrelated", what
        assert opening.run("egress", frame(quoted))["reason"] == "new", what
        for src in (PEER[family], FAR[family]):
            assert opening.run(hook, error_about(family, quoted, src))["reason"] == "related", what
        # as much as RFC 792 asks for
        short = error_about(family, bytes(quoted)[:head + 8])
        assert opening.run(hook, short)["reason"] == "related", what


@hooks
@families
def test_error_about_a_reply(opening, family, hook):
    """Our answer found nobody: the error about it comes back on the peer's flow."""
    opening.rules(WAN + "default in accept\ndefault out drop\n")
    for what in WHAT:
        there, quoted = turned(family, what), own(family, what)
        if what == "echo":
            quoted = ip(family, SELF[family], FAR[family]) / echo(family, 44, reply=True)
        assert opening.run(hook, error_about(family, quoted))["reason"] == "icmp-unrelated", what
        assert opening.run("ingress", frame(there))["reason"] == "new", what
        assert opening.run(hook, error_about(family, quoted))["reason"] == "related", what
    # we have answered an echo, not asked
    asked = error_about(family, own(family, "echo"))
    assert opening.run(hook, asked)["reason"] == "icmp-unrelated"


def fragment(family, what, at, more):
    """A fragment of own(); at what offset, in units of eight bytes."""
    whole = own(family, what)
    data = bytes(whole)[20 if family == 4 else 40:]
    proto = whole.proto if family == 4 else whole.nh
    if family == 4:
        return ip(4, SELF4, FAR4, proto, frag=at, flags="MF" if more else 0) / Raw(data)
    return (ip(6, SELF6, FAR6) / IPv6ExtHdrFragment(nh=proto, offset=at, m=int(more), id=7)
            / Raw(data))


def bad_quotes(family, what):
    """What is no packet of the flow of own() that can be believed, by name."""
    whole, head = bytes(own(family, what)), HEAD[family]
    inner = ip(family, FAR[family], SELF[family]) / UDP()
    yield "nothing", b""
    yield "half of a header", whole[:head // 2]
    yield "no ports", whole[:head]
    yield "half of the ports", whole[:head + 4]
    yield "wrong version", bytes([whole[0] ^ 0x20]) + whole[1:]
    yield "later fragment", bytes(fragment(family, what, 2, True))
    yield "last fragment", bytes(fragment(family, what, 2, False))
    yield "error about an error", bytes(ip(family, SELF[family], FAR[family])
                                        / unreachable(family, inner))
    yield "the other side's", bytes(turned(family, what))
    if family == 4:
        yield "short header", b"\x44" + whole[1:]


@hooks
@families
def test_error_that_quotes_badly(opening, family, hook):
    """The flow is there, and what is quoted is not a packet of it that can be believed."""
    for what in WHAT:
        quoted = own(family, what)
        assert opening.run("egress", frame(quoted))["reason"] == "new", what
        for name, quote in bad_quotes(family, what):
            out = opening.run(hook, error_about(family, quote))
            assert out["reason"] == "icmp-unrelated", (what, name)
        # it goes to somebody who has not sent that (CVE-2019-5598)
        for dst in (OTHER[family], FAR[family]):
            out = opening.run(hook, error_about(family, quoted, dst=dst))
            assert out["reason"] == "icmp-unrelated", (what, dst)
        # the first fragment has all that is needed
        first = error_about(family, fragment(family, what, 0, True))
        assert opening.run(hook, first)["reason"] == "related", what


@hooks
@families
def test_error_padded_by_the_wire(opening, family, hook):
    """What Ethernet adds to a short frame is not quoted."""
    quoted = own(family, "udp")
    assert opening.run("egress", frame(quoted))["reason"] == "new"
    whole, head = bytes(quoted), 20 if family == 4 else 40
    short = error_about(family, whole[:head + 2])
    assert opening.run(hook, short + whole[head + 2:])["reason"] == "icmp-unrelated"


@hooks
@families
def test_error_with_a_bad_checksum(opening, family, hook):
    """What was damaged on its way says nothing reliable about any flow."""
    at = 14 + HEAD[family]
    for what in WHAT:
        quoted = own(family, what)
        assert opening.run("egress", frame(quoted))["reason"] == "new", what
        good = error_about(family, quoted)
        for place in (at + 2, at + 5, len(good) - 1):
            bad = bytearray(good)
            bad[place] ^= 0x10
            assert opening.run(hook, bad)["reason"] == "bad-checksum", (what, place - at)
        assert opening.run(hook, good)["reason"] == "related", what
    opening.rules(opening.running + "option check bad-checksum off\noption on-reload keep\n")
    assert opening.run(hook, bad)["reason"] == "related"


@hooks
@families
def test_checksum_of_any_size(opening, family, hook):
    """Odd lengths, short and long quotes, and one beyond the linear part of a frame."""
    for size in (0, 1, 2, 3, 4, 28, 29, 30, 31, 32, 33, 63, 64, 65, 500, 1399, 3000, 9000):
        if size == 9000 and hook != "xdp":
            continue  # test runs of TC take no frame larger than a page
        sent = ip(family, SELF[family], FAR[family]) / UDP(sport=3, dport=5)
        assert opening.run("egress", frame(sent))["reason"] in ("new", "established")
        good = error_about(family, sent / Raw(bytes(i * 37 & 255 for i in range(size))))
        assert opening.run(hook, good)["reason"] == "related", size
        bad = good[:-1] + bytes([good[-1] ^ 1])
        assert opening.run(hook, bad)["reason"] == "bad-checksum", size


@hooks
@families
def test_checksum_of_a_part(opening, family, hook):
    """Of an error that is itself in fragments it is not known yet."""
    quoted = own(family, "udp")
    assert opening.run("egress", frame(quoted))["reason"] == "new"
    error = bytes(unreachable(family, Raw(bytes(quoted) + bytes(48))))[:56 + 24]
    if family == 4:
        first = ip(4, PEER4, SELF4, 1, flags="MF") / Raw(error)
    else:
        first = ip(6, PEER6, SELF6) / IPv6ExtHdrFragment(nh=58, m=1, id=9) / Raw(error)
    assert opening.run(hook, frame(first))["reason"] == "related"


@hooks
def test_quoted_extension_headers(opening, hook):
    """An error quotes what was sent, with all its headers."""
    udp = UDP(sport=3, dport=5) / Raw(b"x" * 8)
    sent = IPv6(src=SELF6, dst=FAR6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / udp
    assert opening.run("egress", frame(sent))["reason"] == "new"
    assert opening.run(hook, error_about(6, sent))["reason"] == "related"
    many = IPv6(src=SELF6, dst=FAR6)
    for _ in range(8):
        many = many / IPv6ExtHdrDestOpt()
    many = many / udp
    assert opening.run("egress", frame(many))["reason"] == "established"
    assert opening.run(hook, error_about(6, many))["reason"] == "related"


@hooks
@families
def test_quote_with_options(opening, family, hook):
    """An IPv4 header may be longer."""
    if family == 6:
        sent = IPv6(src=SELF6, dst=FAR6) / IPv6ExtHdrDestOpt() / TCP(sport=9, dport=80, flags="S")
    else:
        sent = IP(src=SELF4, dst=FAR4, options=[b"\x94\x04\x00\x00"]) / TCP(
            sport=9, dport=80, flags="S")
    assert opening.run("egress", frame(sent))["reason"] == "new"
    assert opening.run(hook, error_about(family, sent))["reason"] == "related"


@families
def test_errors_leave_too(fw, family):
    """Our own errors about packets of the peer, of each protocol; forwarded ones as well."""
    fw.rules(WAN + DENY + "accept in label all\n")
    for what in WHAT:
        there = own(family, what)
        there.src, there.dst = PEER[family], SELF[family]
        assert fw.run("ingress", frame(there))["reason"] == "new", what
        back = frame(ip(family, SELF[family], PEER[family]) / unreachable(family, there))
        assert fw.run("egress", back)["reason"] == "related", what
        assert fw.run("egress", back, iif=1)["reason"] == "related", what


# ---- requests and replies of ICMP --------------------------------------------------


@hooks
@families
def test_echo_is_one_way(opening, family, hook):
    """A request is never of a flow in which it is the answer (GHSA-c66w-hq56-4q97)."""
    ask = frame(ip(family, SELF[family], PEER[family]) / echo(family, 9))
    asked_back = frame(ip(family, PEER[family], SELF[family]) / echo(family, 9))
    told_back = frame(ip(family, SELF[family], PEER[family]) / echo(family, 9, reply=True))
    assert opening.run("egress", ask)["reason"] == "new"
    assert opening.run(hook, asked_back)["reason"] == "default"
    assert opening.run("egress", told_back)["reason"] == "icmp-no-request"


@hooks
def test_timestamp_is_no_echo(opening, hook):
    """Each kind of request has its own answer, whatever the identifier."""
    ask, tell = IP(src=SELF4, dst=PEER4), IP(src=PEER4, dst=SELF4)
    assert opening.run("egress", frame(ask / ICMP(type=13, id=9)))["reason"] == "new"
    assert opening.run(hook, frame(tell / ICMP(type=14, id=9)))["reason"] == "established"
    assert opening.run(hook, frame(tell / ICMP(type=0, id=9)))["reason"] == "icmp-no-request"
    assert opening.run(hook, frame(tell / ICMP(type=13, id=9)))["reason"] == "default"
    assert opening.run("egress", frame(ask / ICMP(type=8, id=9)))["reason"] == "new"
    assert opening.run(hook, frame(tell / ICMP(type=0, id=9)))["reason"] == "established"


@hooks
def test_icmp_of_the_other_family(opening, hook):
    """ICMPv6 in IPv4 and ICMP in IPv6 are nobody's flow."""
    for family, proto in ((4, 58), (6, 1)):
        quoted = own(family, "echo")
        assert opening.run("egress", frame(quoted))["reason"] == "new"
        mixed = own(family, "echo")
        if family == 4:
            mixed.proto = proto
        else:
            mixed.nh = proto
        assert opening.run(hook, error_about(family, bytes(mixed)))["reason"] == "icmp-unrelated"
        assert opening.run(hook, frame(ip(family, PEER[family], SELF[family], proto)
                                       / Raw(bytes(16))))["reason"] == "bad-l4"
