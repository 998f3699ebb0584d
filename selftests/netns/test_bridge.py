# SPDX-License-Identifier: GPL-2.0-only
"""A bridge with the firewall as one of its hosts, filtered on the bridge or on a port.

    client b0 --- p0 [br0 of the firewall] p1 --- b0 far
"""

import pytest

from lab.lab import Lab
from lab.netns import wait_for
from lab.traffic import TcpEcho, UdpEcho, ping, tcp_connect, tcp_talk, tcp_try, udp_try

pytestmark = pytest.mark.needs("bridge")
all_modes = pytest.mark.modes("xdp", "tc", "xdp-generic")
families = pytest.mark.parametrize("family", [4, 6])
DENY = "default in drop\ndefault out accept\ndefault forward drop\n"
OWN = {4: "203.0.113.1", 6: "2001:db8:3::1"}
CLIENT = {4: "203.0.113.2", 6: "2001:db8:3::2"}
FAR = {4: "203.0.113.3", 6: "2001:db8:3::3"}
HOOKS = """\
table inet lab_filter {
	chain forward {
		type filter hook forward priority filter;
		ct state invalid counter drop
	}
}
"""


@pytest.fixture(scope="module")
def bridge_lab():
    """A lab with a bridge in the firewall."""
    with Lab() as lab:
        lab.far = lab.namespace("far")
        lab.firewall.run("ip", "link", "add", "br0", "type", "bridge")
        for port, ns in (("p0", lab.client), ("p1", lab.far)):
            lab.wire(lab.firewall, port, ns, "b0")
            lab.firewall.run("ip", "link", "set", port, "master", "br0")
        lab.firewall.run("ip", "link", "set", "br0", "up")
        for ns, device, addresses in ((lab.firewall, "br0", OWN), (lab.client, "b0", CLIENT),
                                      (lab.far, "b0", FAR)):
            ns.run("ip", "address", "add", f"{addresses[4]}/24", "dev", device)
            ns.run("ip", "address", "add", f"{addresses[6]}/64", "dev", device, "nodad")
        # What hosts ask their neighbours through the bridge is forwarded, and denied like
        # anything else: they shall not ask in the midst of a test.
        for ns in (lab.client, lab.far):
            ns.sysctl(net__ipv6__neigh__b0__delay_first_probe_time=3600)
        for address in (*OWN.values(), *FAR.values()):
            wait_for(lambda a=address: ping(lab.client, a), 10, "the bridge")
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture
def bridge(bridge_lab, mode):
    """The same without flows, rules of nftables and rules of fwctl."""
    bridge_lab.mode = mode
    bridge_lab.firewall.run("conntrack", "-F", check=False)
    yield bridge_lab
    bridge_lab.firewall.run("nft", "flush", "ruleset")


def load(lab, text, **zones):
    """Rules for zones of one interface each."""
    head = "".join(f"interface {zone} = {name} {{ mode {lab.mode} }}\n"
                   for zone, name in zones.items())
    return lab.fwctl("load", lab.write("bridge.conf", head + DENY + text))


def judged(lab, server, target):
    """TCP and UDP to port 7 work, port 8 does not; what the counters gained."""
    before = lab.counters()
    with TcpEcho(server, target, 7), UdpEcho(server, target, 7), TcpEcho(server, target, 8):
        with tcp_connect(lab.client, target, 7) as s:
            for _ in range(3):
                assert tcp_talk(s, bytes(20000))
        assert udp_try(lab.client, target, 7, size=3000) == "ok"
        gained = lab.counters() - before
        assert not gained.drops(), gained
        assert tcp_try(lab.client, target, 8, timeout=0.2) == "timeout"
    gained = lab.gain(before, lambda c: c.drops())
    assert set(gained.drops()) == {"default"}, gained
    return gained


@families
@pytest.mark.modes("tc", "xdp-generic")
def test_on_the_bridge_device(bridge, family):
    """The host is filtered; what the bridge forwards does not pass the device."""
    load(bridge, "accept in on br proto { tcp, udp } to self port 7\n", br="br0")
    gained = judged(bridge, bridge.firewall, OWN[family])
    assert gained.get("default", bridge.hook, "br0") >= 1, gained
    with TcpEcho(bridge.far, FAR[family], 8):
        assert tcp_try(bridge.client, FAR[family], 8) == "ok"
    with TcpEcho(bridge.client, CLIENT[family], 9):
        assert tcp_try(bridge.firewall, CLIENT[family], 9) == "ok"


@all_modes
@families
def test_host_behind_a_port(bridge, family):
    """The port alone is declared: what comes through it to the host is `in`."""
    load(bridge, "accept in on leg proto { tcp, udp } to self port 7\n", leg="p0")
    gained = judged(bridge, bridge.firewall, OWN[family])
    assert gained.get("default", bridge.hook, "p0") >= 1, gained


@all_modes
@families
def test_forwarded_by_the_bridge(bridge, family):
    """What the bridge forwards through a declared port is `forward`, judged as it enters."""
    load(bridge, "accept forward on leg proto { tcp, udp } to port 7 label through\n", leg="p0")
    before = bridge.rule("through")["flows"]
    gained = judged(bridge, bridge.far, FAR[family])
    assert gained.get("default", bridge.hook, "p0") >= 1, gained
    assert bridge.rule("through")["flows"] - before == 2


@families
@pytest.mark.modes("tc", "xdp")
def test_from_elsewhere_to_a_port(bridge, family):
    """Entering by a port that is not declared: judged where it leaves."""
    load(bridge, "accept forward proto tcp to port 7\n", leg="p0")
    with TcpEcho(bridge.client, CLIENT[family], 7), TcpEcho(bridge.client, CLIENT[family], 8):
        assert tcp_try(bridge.far, CLIENT[family], 7) == "ok"
        before = bridge.counters()
        assert tcp_try(bridge.far, CLIENT[family], 8, timeout=0.2) == "timeout"
    gained = bridge.gain(before, lambda c: c.drops())
    assert gained.get("default", "egress", "p0") >= 1, gained


@families
@pytest.mark.modes("tc", "xdp")
def test_between_two_declared_ports(bridge, family):
    """Nobody knows the leaving port when a frame enters, so a rule that names it is not
    used to accept; one without it is."""
    load(bridge, "accept forward a -> b proto udp to port 7\n"
         "accept forward on a proto tcp to port 7\n", a="p0", b="p1")
    before = bridge.counters()
    with TcpEcho(bridge.far, FAR[family], 7), UdpEcho(bridge.far, FAR[family], 7):
        assert tcp_try(bridge.client, FAR[family], 7) == "ok"
        gained = bridge.counters() - before
        assert not gained.drops(), gained
        word = udp_try(bridge.client, FAR[family], 7, timeout=0.2)
    assert word in ("ok", "timeout")
    gained = bridge.counters() - before
    assert word == "ok" or set(gained.drops()) == {"default"}, gained


def reload(lab, text, **modes):
    """Rules for a mode each of some devices, which they then have."""
    head = "".join(f"interface {name} = {name} {{ mode {mode} }}\n"
                   for name, mode in modes.items())
    done = lab.fwctl("load", lab.write("bridge.conf", head + DENY + text))
    attached = {i["name"]: i["mode"] for i in lab.status()["interfaces"]}
    assert attached == modes, attached
    return done


@pytest.mark.modes("tc")
@families
def test_reload_moves_xdp(bridge, family):
    """The kernel refuses XDP below a device that has some: a reload finds its way from any
    arrangement to any other, and a flow does not notice."""
    text = "accept in proto tcp to self port 7\n"
    steps = [{"br0": "xdp-generic"}, {"p0": "xdp"}, {"br0": "xdp-generic", "p0": "xdp"},
             {"br0": "tc", "p0": "xdp-generic"}, {"br0": "xdp-generic"},
             {"br0": "xdp-generic", "p0": "xdp"}, {"p0": "tc"}]
    reload(bridge, text, **steps[0])
    before = bridge.counters()
    with TcpEcho(bridge.firewall, OWN[family], 7), tcp_connect(bridge.client, OWN[family], 7) as s:
        for step in steps:
            reload(bridge, text, **step)
            assert tcp_talk(s, bytes(20000)), step
    gained = bridge.counters() - before
    assert not gained.drops(), gained


@pytest.mark.needs("br_netfilter")
@families
@pytest.mark.modes("tc", "xdp")
def test_br_netfilter(bridge, family):
    """The kernel's conntrack sees bridged packets, too: flows stay whole, nobody calls them
    invalid."""
    calls = {f"net__bridge__bridge-nf-call-{x}tables": 1 for x in ("ip", "ip6")}
    bridge.firewall.run("modprobe", "br_netfilter", check=False)
    bridge.firewall.sysctl(**calls)
    try:
        bridge.firewall.run("nft", "-f", bridge.write("hooks.nft", HOOKS))
        load(bridge, "accept forward on leg proto { tcp, udp } to port 7\n", leg="p0")
        judged(bridge, bridge.far, FAR[family])
        shown = bridge.firewall.run("nft", "list", "table", "inet", "lab_filter").stdout
        assert "packets 0 " in shown, shown
        assert [x for x in bridge.conntrack() if "dport=7 " in x], bridge.conntrack()
    finally:
        bridge.firewall.sysctl(**dict.fromkeys(calls, 0))
