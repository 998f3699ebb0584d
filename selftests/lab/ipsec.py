# SPDX-License-Identifier: GPL-2.0-only
"""IPsec between namespaces of the lab: SAs and policies by hand, as `ip xfrm` makes them.

Those that IKE agrees on are in charon.py.
"""

import contextlib
import re
import socket
from typing import NamedTuple, Optional

from .lab import CLIENT, SERVER, WAN
from .traffic import family_of

# Addresses inside of the tunnels, on the loopbacks.
INNER = {"client": {4: "10.7.0.1", 6: "fd00:7::1"}, "firewall": {4: "10.7.0.9", 6: "fd00:7::9"},
         "server": {4: "10.7.0.2", 6: "fd00:7::2"}}
KEY = {"esp": ("aead", "rfc4106(gcm(aes))", "0x" + "5a" * 20, "128"),
       "ah": ("auth-trunc", "hmac(sha256)", "0x" + "5a" * 32, "128")}
ANYWHERE = {4: "0.0.0.0", 6: "::"}
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2


class Sa(NamedTuple):
    """What the SAs of both directions have in common; a `window` of 0 checks no replays."""

    proto: str = "esp"
    window: int = 0
    esn: bool = False  # sequence numbers of 64 bits
    port: Optional[int] = None  # ESP in UDP, from and to this port

    def words(self, family):
        """Its part of `ip xfrm state add`."""
        words = ["replay-window", self.window] if self.window else []
        words += ["flag", "esn"] if self.esn else []
        if self.port:
            words += ["encap", "espinudp", self.port, self.port, ANYWHERE[family]]
        return [*words, *KEY[self.proto]]


def protect(spis, outer, inner, mode, interface=None, reqid=1, sa=Sa()):
    """SAs and policies of one end: `spis`, `outer` and `inner` are of (near, far).

    Those of an XFRM interface at the near end bear its number.
    """
    (a, b), (x, y) = outer, inner
    number = ["if_id", interface] if interface else []
    family = 6 if ":" in a else 4
    for src, dst, spi in ((a, b, spis[0]), (b, a, spis[1])):
        yield ["state", "add", "src", src, "dst", dst, "proto", sa.proto, "spi", f"0x{spi}",
               "reqid", reqid, "mode", mode, *number, *sa.words(family)]
    ways = [("out", x, y, a, b), ("in", y, x, b, a)]
    if mode == "tunnel":
        ways.append(("fwd", y, x, b, a))
    for way, src, dst, from_, to in ways:
        ends = ["src", from_, "dst", to] if mode == "tunnel" else []
        yield ["policy", "add", "src", src, "dst", dst, "dir", way, *number, "tmpl", *ends,
               "proto", sa.proto, "reqid", reqid, "mode", mode]


def connect(a, b, outer, inner, mode, interface=None, reqid=1, sa=Sa(), spis=("101", "102")):
    """Both ends of a tunnel, or of a protected path, between namespaces a and b.

    `interface` is the number of an XFRM interface at b, `reqid` what b calls the SAs, `spis`
    are of what a sends and of what b sends, in hex.
    """
    for argv in protect(spis, outer, inner, mode, sa=sa):
        a.run("ip", "xfrm", *argv)
    for argv in protect(spis[::-1], outer[::-1], inner[::-1], mode, interface, reqid, sa):
        b.run("ip", "xfrm", *argv)


def disconnect(lab):
    """No SA and no policy anywhere, no XFRM interface."""
    for ns in (lab.client, lab.firewall, lab.server):
        ns.run("ip", "xfrm", "policy", "flush")
        ns.run("ip", "xfrm", "state", "flush")
    lab.firewall.run("ip", "link", "del", "ipsec0", check=False)


def address_inside(lab):
    """The addresses of INNER on the loopbacks, and the firewall's routes to them."""
    for name, addresses in INNER.items():
        for address in addresses.values():
            getattr(lab, name).run("ip", "address", "add", address, "dev", "lo")
    for family in (4, 6):
        for name, via in (("client", CLIENT), ("server", SERVER)):
            lab.firewall.run("ip", f"-{family}", "route", "add", INNER[name][family], "via",
                             via[family])


def prefer_inside(lab):
    """Client and firewall take their inner addresses for what they send to one another."""
    for family in (4, 6):
        ends = INNER["client"][family], INNER["firewall"][family]
        for ns, (own, other), via in ((lab.client, ends, WAN), (lab.firewall, ends[::-1], CLIENT)):
            ns.run("ip", f"-{family}", "route", "replace", other, "via", via[family], "src", own)


@contextlib.contextmanager
def receives_in_udp(ns, address, port):
    """Within the block a namespace takes ESP in UDP at a port, as an IKE daemon would."""
    with ns.socket(family_of(address), socket.SOCK_DGRAM) as s:
        s.bind((address, port))
        s.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
        yield


class State(NamedTuple):
    """An SA of the kernel, with keys: none that IKE only keeps a place for."""

    src: str
    dst: str
    spi: int
    reqid: int
    mode: str
    packets: int
    flags: str


def states(ns):
    """The SAs of a namespace that can be used."""
    text = ns.run("ip", "-s", "xfrm", "state").stdout
    found = []
    for block in re.split(r"\n(?=src )", text.strip()):
        head = re.match(r"src (\S+) dst (\S+)\n\s+proto \w+ spi (0x[0-9a-f]+)\S* "
                        r"reqid (\d+)\S* mode (\w+)", block)
        if not head or not re.search(r"^\s+(aead|auth|auth-trunc|enc) ", block, re.M):
            continue
        packets = re.search(r"lifetime current:\n\s+\d+\(bytes\), (\d+)\(packets\)", block)
        flags = re.search(r"\bflag (.*?)(?: \(0x|$)", block, re.M)
        found.append(State(head[1], head[2], int(head[3], 16), int(head[4]), head[5],
                           int(packets[1]), flags[1] if flags else ""))
    return found


def xfrm_stat(ns):
    """Counters of /proc/net/xfrm_stat that are not 0: what XFRM has dropped, and why."""
    rows = (line.split() for line in ns.run("cat", "/proc/net/xfrm_stat").stdout.splitlines())
    return {name: int(value) for name, value in rows if int(value)}
