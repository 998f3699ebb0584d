# SPDX-License-Identifier: GPL-2.0-only
"""Larval SAs for one CPU (RFC 9611), which ip(8) of Debian 12 cannot make."""

import ipaddress
import os
import socket
import struct

NETLINK_XFRM, ALLOCSPI, XFRMA_SA_PCPU = 6, 0x16, 35
REQUEST, ACK = 1, 4  # of nlmsghdr, NLM_F_*
ERROR = 2  # NLMSG_ERROR
ESP = 50


def _address(text):
    return ipaddress.ip_address(text).packed.ljust(16, b"\0")


def allocspi(src, dst, spi, cpu):
    """A larval SA of this thread's network namespace for `cpu`."""
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    # xfrm_usersa_info: selector, id, source, limits, counters, statistics, the rest
    info = bytes(56) + _address(dst) + struct.pack("!IB3x", 0, ESP) + _address(src)
    info += bytes(64 + 32 + 12 + 4 + 4) + struct.pack("=HBBB7x", family, 0, 0, 0)
    body = info + struct.pack("=II", spi, spi) + struct.pack("=HHI", 8, XFRMA_SA_PCPU, cpu)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), ALLOCSPI, REQUEST | ACK, 1, 0) + body)
        answer = s.recv(65536)
    kind, error = struct.unpack_from("=H10xi", answer, 4)
    if kind == ERROR and error:
        raise OSError(-error, os.strerror(-error))
