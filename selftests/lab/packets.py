# SPDX-License-Identifier: GPL-2.0-only
"""Crafted packets: how the client says things no honest stack would say."""

import logging
import struct
from typing import Callable, NamedTuple

logging.getLogger("scapy").setLevel(logging.ERROR)
# pylint: disable=wrong-import-position
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption  # noqa: E402
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply,  # noqa: E402
                                ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RA, IPv6,
                                IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

from .lab import (CLIENT, CLIENT_MAC, LAN, LAN_MAC, SERVER, SERVER_MAC,  # noqa: E402
                  WAN, WAN_MAC)


def ip(family, src=None, dst=None, **fields):
    """The network header, from the client to the server unless told otherwise."""
    cls = IP if family == 4 else IPv6
    return cls(src=src or CLIENT[family], dst=dst or SERVER[family], **fields)


def frame(packet, tags=(), src=CLIENT_MAC, dst=WAN_MAC):
    """Bytes of an Ethernet frame from client to firewall with VLAN `tags`, outermost first.

    Of several tags the outer ones are 802.1ad, the innermost is 802.1Q.
    """
    head = Ether(src=src, dst=dst)
    for i, tag in enumerate(tags):
        head = head / (Dot1Q(vlan=tag) if i == len(tags) - 1 else Dot1AD(vlan=tag))
    return bytes(head / packet)


def from_server(packet, tags=()):
    """Bytes of a frame from the server to the firewall."""
    return frame(packet, tags, SERVER_MAC, LAN_MAC)


TAGS = {"untagged": (), "802.1Q": (10,), "802.1ad+802.1Q": (20, 10)}


# ---- what must never pass ---------------------------------------------------------


def tcp(family, flags, **more):
    """A TCP segment with any flags."""
    return ip(family) / TCP(sport=40001, dport=80, flags=flags, seq=1000, ack=1, **more)


def icmp_error(family, quoted, src=None, dst=None, cut=None):
    """A port unreachable that quotes a packet."""
    quoted = bytes(quoted)[:cut]
    if family == 4:
        return ip(4, src, dst) / ICMP(type=3, code=3) / Raw(quoted)
    return ip(6, src, dst) / ICMPv6DestUnreach(code=4) / Raw(quoted)


def unknown_error(family):
    """An ICMP error about a flow that never was."""
    never = ip(family, src=SERVER[family], dst=CLIENT[family]) / UDP(sport=4444, dport=5555)
    return icmp_error(family, never)


def echo_request(family, ident=1, seq=1, src=None, dst=None):
    """A ping."""
    if family == 4:
        return ip(4, src, dst) / ICMP(type=8, id=ident, seq=seq)
    return ip(6, src, dst) / ICMPv6EchoRequest(id=ident, seq=seq)


def echo_reply(family, ident=1, seq=1, src=None, dst=None):
    """The answer to a ping."""
    if family == 4:
        return ip(4, src, dst) / ICMP(type=0, id=ident, seq=seq)
    return ip(6, src, dst) / ICMPv6EchoReply(id=ident, seq=seq)


def neighbour_solicitation(src, target):
    """Who has `target`?"""
    return IPv6(src=src, dst="ff02::1", hlim=255) / ICMPv6ND_NS(tgt=target)


def router_advertisement(src):
    """A router says to all on the link that it leads everywhere."""
    return IPv6(src=src, dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800)


def fragment(family, offset, more, payload, ident=7777, proto=17, src=None, dst=None):
    """One fragment; `offset` in units of eight bytes."""
    if family == 4:
        return ip(4, src, dst, id=ident, frag=offset, flags="MF" if more else 0,
                  proto=proto) / Raw(payload)
    return (ip(6, src, dst) / IPv6ExtHdrFragment(nh=proto, id=ident, offset=offset,
                                                 m=int(more)) / Raw(payload))


def martian(family):
    """From loopback, over the wire."""
    return ip(family, src={4: "127.0.0.1", 6: "::1"}[family]) / UDP(sport=1, dport=53)


def multicast_source(family):
    """From a multicast address."""
    return ip(family, src={4: "224.0.0.9", 6: "ff02::9"}[family]) / UDP(sport=1, dport=53)


def spoofed_self(family):
    """UDP that claims to come from the firewall's own address."""
    return ip(family, src=LAN[family]) / UDP(sport=4000, dport=53)


def land(family):
    """Source and destination are the same."""
    return ip(family, src=SERVER[family]) / TCP(sport=80, dport=80, flags="S")


def too_long(family):
    """A network header that promises more than there is."""
    if family == 4:
        return ip(4, len=2000) / UDP(sport=1, dport=53)
    return ip(6, plen=2000) / UDP(sport=1, dport=53)


def bad_udp_length(family):
    """UDP that is longer than its packet."""
    return ip(family) / UDP(sport=1, dport=53, len=4000)


def bad_tcp_offset(family):
    """A TCP header of less than five words."""
    return ip(family) / TCP(sport=1, dport=80, flags="S", dataofs=4)


def truncated(family):
    """A packet that ends inside the TCP header."""
    head = ip(family, proto=6) if family == 4 else ip(family, nh=6)
    return head / Raw(b"\x9c\x41\x00\x50\x00\x00")


def source_route(_family):
    """A loose source route."""
    return (IP(src=CLIENT[4], dst=WAN[4],
               options=IPOption(b"\x83\x07\x04" + bytes([198, 51, 100, 2]) + b"\x00"))
            / UDP(sport=1, dport=53))


def routing_header_0(_family):
    """The same of IPv6, given up by RFC 5095."""
    return (ip(6, dst=WAN[6]) / IPv6ExtHdrRouting(type=0, addresses=[SERVER[6]])
            / UDP(sport=1, dport=53))


def no_hops(family):
    """A packet that should have died a hop before."""
    return ip(family, **{{4: "ttl", 6: "hlim"}[family]: 0}) / UDP(sport=1, dport=53)


def many_headers(_family):
    """More extension headers than anybody needs."""
    packet = ip(6)
    for _ in range(12):
        packet = packet / IPv6ExtHdrDestOpt()
    return packet / UDP(sport=1, dport=53)


def late_hop_by_hop(_family):
    """A hop-by-hop header that is not the first."""
    return ip(6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / UDP(sport=1, dport=53)


class Bad(NamedTuple):
    """A packet no rule can allow, and the reason it dies for."""

    name: str
    reason: str
    build: Callable
    families: tuple = (4, 6)


BAD = [
    Bad("syn-less", "tcp-no-syn", lambda f: tcp(f, "A")),
    Bad("syn-ack out of the blue", "tcp-no-syn", lambda f: tcp(f, "SA")),
    Bad("rst out of the blue", "tcp-no-syn", lambda f: tcp(f, "R")),
    Bad("xmas", "tcp-xmas", lambda f: tcp(f, "FPU")),
    Bad("null", "tcp-null", lambda f: tcp(f, "")),
    Bad("syn+fin", "tcp-flags", lambda f: tcp(f, "SF")),
    Bad("syn+rst", "tcp-flags", lambda f: tcp(f, "SR")),
    Bad("spoofed own address", "spoofed-self", spoofed_self),
    Bad("land", "land", land),
    Bad("loopback source", "martian", martian),
    Bad("multicast source", "martian", multicast_source),
    Bad("error about an unknown flow", "icmp-unrelated", unknown_error),
    Bad("echo reply nobody asked for", "icmp-no-request", lambda f: echo_reply(f, 4242)),
    Bad("orphan fragment", "fragment-orphan", lambda f: fragment(f, 100, False, b"x" * 64)),
    Bad("tiny first fragment", "fragment-tiny",
        lambda f: fragment(f, 0, True, b"\x9c\x41\x00\x50\x00\x00\x00\x00", proto=6)),
    Bad("fragment past 64 KiB", "fragment-bad",
        lambda f: fragment(f, 8189, False, b"x" * 64)),
    Bad("ipv4 header of 16 bytes", "bad-ipv4", lambda f: ip(f, ihl=4) / Raw(bytes(40)), (4,)),
    Bad("ipv4 shorter than its header", "bad-ipv4",
        lambda f: ip(f, len=10) / UDP(sport=1, dport=53), (4,)),
    Bad("wrong version in ipv4", "bad-ipv4",
        lambda f: ip(f, version=6) / UDP(sport=1, dport=53), (4,)),
    Bad("wrong version in ipv6", "bad-ipv6",
        lambda f: ip(f, version=4) / UDP(sport=1, dport=53), (6,)),
    Bad("longer than the frame", "truncated", too_long),
    Bad("udp length", "bad-l4", bad_udp_length),
    Bad("tcp data offset", "bad-l4", bad_tcp_offset),
    Bad("truncated tcp", "truncated", truncated),
    Bad("source route", "source-route", source_route, (4,)),
    Bad("routing header 0", "routing-header-0", routing_header_0, (6,)),
    Bad("hop limit 0", "ttl-zero", no_hops),
    Bad("header checksum", "bad-checksum",
        lambda f: ip(f, chksum=0x1234) / UDP(sport=1, dport=53), (4,)),
    Bad("tcp from port 0", "port-zero", lambda f: ip(f) / TCP(sport=0, dport=80, flags="S")),
    Bad("udp to port 0", "port-zero", lambda f: ip(f) / UDP(sport=1, dport=0)),
    Bad("too many extension headers", "ext-headers", many_headers, (6,)),
    Bad("late hop-by-hop header", "ext-headers", late_hop_by_hop, (6,)),
]


def stream(count, family=4, dport=1000, dst=None, first=20000, size=16):
    """`count` UDP frames from as many source ports; quick, scapy builds only one."""
    one = bytearray(frame(ip(family, dst=dst) / UDP(sport=1, dport=dport) / Raw(b"x" * size)))
    at = 14 + (20 if family == 4 else 40)
    if family == 4:
        struct.pack_into("!H", one, at + 6, 0)
        for i in range(count):
            struct.pack_into("!H", one, at, first + i)
            yield bytes(one)
        return
    base, = struct.unpack_from("!H", one, at + 6)
    for i in range(count):
        port = first + i
        struct.pack_into("!H", one, at, port)
        # RFC 1624: the checksum follows the one word that changed.
        total = (~base & 0xffff) + (~1 & 0xffff) + port
        total = (total & 0xffff) + (total >> 16)
        total = (total & 0xffff) + (total >> 16)
        struct.pack_into("!H", one, at + 6, ~total & 0xffff)
        yield bytes(one)
