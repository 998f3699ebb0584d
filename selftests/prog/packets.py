# SPDX-License-Identifier: GPL-2.0-only
"""Shorthand over scapy: the same packet for both families and any tags."""

import logging

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

# pylint: disable=wrong-import-position,no-name-in-module
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, IPOption  # noqa: F401
from scapy.layers.inet6 import (  # noqa: F401
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether  # noqa: F401
from scapy.packet import Raw  # noqa: F401

from conftest import PEER4, PEER6, SELF4, SELF6

FAMILIES = (4, 6)
TAGS = (0, 1, 2)


def l3(family, src=None, dst=None, **fields):
    """IP header from the peer to us unless said otherwise."""
    if family == 4:
        return IP(src=src or PEER4, dst=dst or SELF4, **fields)
    return IPv6(src=src or PEER6, dst=dst or SELF6, **fields)


def frame(packet, tags=0):
    """Ethernet, with 0 to 3 VLAN tags (802.1ad outside from the second on)."""
    ether = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01")
    for i in range(tags - 1):
        ether = ether / Dot1AD(vlan=200 + i)
    if tags:
        ether = ether / Dot1Q(vlan=100)
    return bytes(ether / packet)


def echo(family, ident=7, reply=False):
    if family == 4:
        return ICMP(type=0 if reply else 8, id=ident)
    return (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=ident)


def unreachable(family, quoted):
    """Port unreachable about `quoted`, which begins with its IP header."""
    if family == 4:
        return ICMP(type=3, code=3) / quoted
    return ICMPv6DestUnreach(code=4) / quoted
