# SPDX-License-Identifier: GPL-2.0-only
"""Real tunnels through the firewall: flows of two addresses, opened by one side."""

import pytest

from lab.lab import CLIENT, SERVER
from lab.traffic import ping

DENY = "default in drop\ndefault out drop\ndefault forward drop\n"

# Of the device, its options: family outside, protocol of the rule, family inside.
KINDS = {
    "gre": ((), 4, "gre", 4),
    "ipip": ((), 4, "ipencap", 4),
    "sit": (("mode", "ip6ip"), 4, "ipv6", 6),
    "ip6gre": ((), 6, "gre", 4),
    "ip6tnl": (("mode", "ip6ip6"), 6, "ipv6", 6),
    "ip6tnl-4": (("mode", "ipip6"), 6, "ipencap", 4),
}
INNER = {4: ("10.99.0.1", "10.99.0.2"), 6: ("fd99::1", "fd99::2")}


def dig_tunnel(ns, kind, local, remote, inner):
    """One end of a tunnel, with an address inside."""
    options = KINDS[kind][0]
    ns.run("ip", "link", "add", "tun7", "type", kind.partition("-")[0], *options,
           "local", local, "remote", remote)
    ns.run("ip", "link", "set", "tun7", "addrgenmode", "none")
    length = 24 if "." in inner else 64
    ns.run("ip", "address", "add", f"{inner}/{length}", "dev", "tun7",
           *(() if "." in inner else ("nodad",)))
    ns.run("ip", "link", "set", "tun7", "up")


@pytest.mark.needs("tunnels")
@pytest.mark.parametrize("kind", KINDS)
def test_opened_by_one_side(own_lab, kind):
    """The rule is for one direction; once that has spoken, both may."""
    lab = own_lab
    _, family, proto, inside = KINDS[kind]
    near, far = INNER[inside]
    lab.load(DENY + f"accept forward wan -> lan proto {proto} label tunnel\n")
    before = lab.counters()
    dig_tunnel(lab.server, kind, SERVER[family], CLIENT[family], far)
    assert not ping(lab.server, near, timeout=0.3)
    lab.gain(before, lambda c: c.get("default", lab.hook, "fw-lan") >= 1)
    dig_tunnel(lab.client, kind, CLIENT[family], SERVER[family], near)
    before = lab.counters()
    assert ping(lab.client, far)
    assert ping(lab.server, near)
    gained = lab.counters() - before
    assert not gained.drops(), gained
    assert gained.get("established", lab.hook, "fw-lan") >= 2, gained
    flow, = (f for f in lab.flows() if f["rule"] == "tunnel")
    assert flow["replied"] and flow["table"] == "fwctl", flow
