# SPDX-License-Identifier: GPL-2.0-only
"""Interfaces come, go, come again, and belong to somebody else."""

import os

import pytest

from lab import bpf
from lab.cleanup import BPFFS
from lab.lab import CLIENT4, CLIENT6, CLIENT_MAC, SERVER, WAN, WAN4, WAN6, WAN_MAC
from lab.netns import wait_for
from lab.traffic import TcpEcho, tcp_connect, tcp_talk, tcp_try

both = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"


def interface(lab, name):
    """What the status says of one interface."""
    return next((i for i in lab.status()["interfaces"] if i["name"] == name), None)


def load(lab, names, text=DENY, check=True):
    """Load rules whose zones are the given interfaces."""
    zones = "".join(f"interface {zone} = {name} {{ mode {lab.mode} }}\n"
                    for zone, name in names.items())
    return lab.fwctl("load", lab.write("zones.conf", zones + text), check=check)


@both
def test_reload_adds_and_removes(lab, family):
    """An interface that the new file does not name is left alone, and taken back."""
    with TcpEcho(lab.firewall, "::", 9):
        load(lab, {"wan": "fw-wan", "lan": "fw-lan"})
        assert tcp_try(lab.server, WAN[family], 9, timeout=0.2) == "timeout"
        load(lab, {"wan": "fw-wan"})
        assert interface(lab, "fw-lan") is None
        assert tcp_try(lab.server, WAN[family], 9) == "ok"
        assert tcp_try(lab.client, WAN[family], 9, timeout=0.2) == "timeout"
        load(lab, {"wan": "fw-wan", "lan": "fw-lan"})
        assert tcp_try(lab.server, WAN[family], 9, timeout=0.2) == "timeout"


@both
def test_one_zone_of_two_interfaces(lab, family):
    """A list of interfaces is one zone, counted apart."""
    lab.fwctl("load", lab.write("z.conf", f"interface all = {{ fw-wan {{ mode {lab.mode} }}, "
                                f"fw-lan {{ mode {lab.mode} }} }}\n" + DENY
                                + "accept in on all proto tcp to port 9 label nine\n"))
    with TcpEcho(lab.firewall, "::", 9):
        before = lab.counters()
        assert tcp_try(lab.client, WAN[family], 9) == "ok"
        assert tcp_try(lab.server, WAN[family], 9) == "ok"
        gained = lab.counters() - before
    for iface in ("fw-wan", "fw-lan"):
        assert gained.get("established", lab.hook, iface) >= 1, gained


def rebuild_wan(lab):
    """Make fw-wan anew, with its addresses and the client's routes."""
    lab.wire(lab.firewall, "fw-wan", lab.client, "eth0", WAN_MAC, CLIENT_MAC)
    for ns, iface, addresses in ((lab.firewall, "fw-wan", (WAN4 + "/24", WAN6 + "/64")),
                                 (lab.client, "eth0", (CLIENT4 + "/24", CLIENT6 + "/64"))):
        for address in addresses:
            ns.run("ip", "address", "add", address, "dev", iface, "nodad")
    lab.client.run("ip", "route", "add", "default", "via", WAN4)
    lab.client.run("ip", "-6", "route", "add", "default", "via", WAN6)


@both
def test_recreated_interface_is_covered(lab, family):
    """Deleted and made again under the same name: filtered again at once."""
    load(lab, {"wan": "fw-wan", "lan": "fw-lan"})
    lab.firewall.run("ip", "link", "del", "fw-wan")
    wait_for(lambda: not interface(lab, "fw-wan")["ifindex"], 5, "the loss to be noticed")
    rebuild_wan(lab)
    wait_for(lambda: interface(lab, "fw-wan")["ifindex"], 5, "the interface to be covered")
    before = lab.counters()
    with TcpEcho(lab.firewall, WAN[family], 9):
        assert tcp_try(lab.client, WAN[family], 9, timeout=0.2) == "timeout"
    lab.gain(before, lambda c: c.get("default", lab.hook, "fw-wan") >= 1)


@both
def test_interface_that_comes_later(lab, family):
    """Declared before it exists."""
    lab.firewall.run("ip", "link", "del", "fw-wan")
    load(lab, {"wan": "fw-wan", "lan": "fw-lan"})
    assert not interface(lab, "fw-wan")["ifindex"]
    rebuild_wan(lab)
    wait_for(lambda: interface(lab, "fw-wan")["ifindex"], 5, "the interface to be covered")
    with TcpEcho(lab.firewall, WAN[family], 9):
        assert tcp_try(lab.client, WAN[family], 9, timeout=0.2) == "timeout"


@both
def test_new_own_address(lab, family):
    """`self` follows the addresses of the host."""
    load(lab, {"wan": "fw-wan", "lan": "fw-lan"},
         DENY + "accept in on wan proto tcp to self port 9\n")
    extra = {4: "192.0.2.40", 6: "2001:db8:1::40"}[family]
    lab.firewall.run("ip", "address", "add", f"{extra}/{24 if family == 4 else 64}", "dev",
                     "fw-wan", *(["nodad"] if family == 6 else []))
    with TcpEcho(lab.firewall, extra, 9):
        wait_for(lambda: tcp_try(lab.client, extra, 9, timeout=0.2) == "ok", 3, "the address")
    lab.firewall.run("ip", "address", "del", f"{extra}/{24 if family == 4 else 64}", "dev",
                     "fw-wan")


@pytest.mark.modes("xdp")
def test_foreign_xdp_program(own_lab):
    """Somebody else's XDP program stays; we say so and load nothing."""
    lab = own_lab
    fd, path = bpf.program(bpf.XDP, bpf.XDP_PASS), BPFFS / f"{lab.name}-foreign"
    bpf.pin(fd, path)
    lab.firewall.run("ip", "link", "set", "dev", "fw-wan", "xdpdrv", "pinned", path)
    os.close(fd)
    path.unlink()
    result = load(lab, {"wan": "fw-wan", "lan": "fw-lan"}, check=False)
    assert result.exit in (1, 4) and "fw-wan" in result.err, result
    assert "xdp" in lab.firewall.run("ip", "link", "show", "dev", "fw-wan").stdout
    with TcpEcho(lab.server, SERVER[4], 9):
        assert tcp_try(lab.client, SERVER[4], 9) == "ok"


@pytest.mark.modes("xdp")
def test_jumbo_frames(own_lab):
    """MTU 9000, native XDP."""
    lab = own_lab
    for ns, iface in ((lab.firewall, "fw-wan"), (lab.client, "eth0"), (lab.firewall, "fw-lan"),
                      (lab.server, "eth0")):
        ns.run("ip", "link", "set", iface, "mtu", "9000")
    load(lab, {"wan": "fw-wan", "lan": "fw-lan"},
         DENY + "accept forward wan -> lan proto tcp to port 9\n")

    with TcpEcho(lab.server, SERVER[4], 9), tcp_connect(lab.client, SERVER[4], 9) as s:
        assert tcp_talk(s, bytes(100000))
