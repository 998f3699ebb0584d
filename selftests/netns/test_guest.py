# SPDX-License-Identifier: GPL-2.0-only
"""A guest of Docker: published ports and masquerade by nftables beside fwctl.

What Docker does on its host: a bridge with containers behind it, DNAT of published ports and
masquerade outwards. Connections live on whatever came first, they, nftables or fwctl.
"""

import contextlib
import itertools

import pytest

from lab.lab import CLIENT, SERVER, WAN, Lab
from lab.traffic import Connection, TcpEcho, UdpEcho, tcp_try, udp_try

pytestmark = pytest.mark.alternate
both = pytest.mark.parametrize("family", [4, 6])
DOCKER = {4: "172.17.0.1", 6: "fd00:17::1"}
CONTAINER = {4: "172.17.0.2", 6: "fd00:17::2"}
NETS = {4: "172.17.0.0/16", 6: "fd00:17::/64"}
DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
RULES = {
    "declared": "interface docker = docker0\n" + DENY +
                "accept in on wan proto { tcp, udp } to self port 8080 label published\n"
                "accept forward wan -> lan proto { tcp, udp } to port 7 label direct\n"
                "accept forward docker -> wan proto { tcp, udp } to port 53 label outbound\n",
    "undeclared": DENY +
                  "accept in on wan proto { tcp, udp } to self port 8080 label published\n"
                  "accept forward wan -> lan proto { tcp, udp } to port 7 label direct\n"
                  f"accept forward proto {{ tcp, udp }} from {{ {NETS[4]}, {NETS[6]} }} to port 53"
                  " label outbound\n",
}
NFT = """\
table inet docker {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		meta nfproto ipv4 fib daddr type local meta l4proto { tcp, udp } th dport 8080 dnat ip to %s:80
		meta nfproto ipv6 fib daddr type local meta l4proto { tcp, udp } th dport 8080 dnat ip6 to [%s]:80
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname != "docker0" ip saddr %s masquerade
		oifname != "docker0" ip6 saddr %s masquerade
	}
	chain forward {
		type filter hook forward priority filter;
		oifname "docker0" ct state related,established counter accept
		oifname "docker0" ct status dnat counter accept
		oifname "docker0" counter drop
		ct state invalid counter drop
	}
}
""" % (CONTAINER[4], CONTAINER[6], NETS[4], NETS[6])
# conn: a connection that NAT has nothing to do with; nat: one of each kind that it translates.
ORDERS = ["-".join(order) for order in itertools.permutations(("conn", "nft", "fwctl"))]


@pytest.fixture(scope="module")
def module_lab():
    """The lab with a bridge docker0 on the firewall and a container behind it."""
    with Lab() as lab:
        firewall, container = lab.firewall, lab.namespace("d")
        lab.container = container
        firewall.run("ip", "link", "add", "docker0", "type", "bridge", "mcast_snooping", "0")
        lab.wire(firewall, "vethd", container, "eth0")
        firewall.run("ip", "link", "set", "vethd", "master", "docker0")
        firewall.run("ip", "link", "set", "docker0", "up")
        for ns, iface, address in ((firewall, "docker0", DOCKER), (container, "eth0", CONTAINER)):
            ns.run("ip", "address", "add", f"{address[4]}/16", "dev", iface)
            ns.run("ip", "address", "add", f"{address[6]}/64", "dev", iface, "nodad")
        container.run("ip", "route", "add", "default", "via", DOCKER[4])
        container.run("ip", "-6", "route", "add", "default", "via", DOCKER[6])
        # What is not masqueraded finds its way back.
        lab.client.run("ip", "route", "add", NETS[4], "via", WAN[4])
        lab.client.run("ip", "-6", "route", "add", NETS[6], "via", WAN[6])
        yield lab
        lab.unload()
        assert not lab.sanitizer_reports(), lab.sanitizer_reports()


@pytest.fixture
def docker_lab(lab):
    """The lab without any rules; what is older than them is adopted."""
    lab.adopt = "60s"
    lab.unload()
    lab.firewall.run("nft", "flush", "ruleset")
    yield lab
    lab.unload()
    lab.firewall.run("nft", "flush", "ruleset")


class Connections:
    """TCP connections by their kind, each with the address that its client asked for."""

    def __init__(self, lab, stack, family):
        self._lab, self._stack, self._family = lab, stack, family
        self.open = {}

    def add(self, kind, name):
        """Open one more; `kind` is a label of RULES."""
        lab, family = self._lab, self._family
        opener, acceptor, address, port, at = {
            "direct": (lab.client, lab.server, SERVER, 7, None),
            "published": (lab.client, lab.container, WAN, 8080, (CONTAINER[family], 80)),
            "outbound": (lab.container, lab.client, CLIENT, 53, None),
        }[kind]
        self.open[name] = Connection(self._stack, opener, acceptor, address[family], port, at)
        return self.open[name]

    def talk(self, opener_first=True):
        """All of them talk."""
        for name, connection in self.open.items():
            assert connection.says(opener_first), (name, self._lab.conntrack())


def speaks_first(lab, family):
    """Whether the opener does: for each mode and each family the other one, too."""
    return (family == 4) == (lab.mode == "xdp")


def nft(lab):
    """What Docker loads."""
    lab.firewall.run("nft", "-f", lab.write("rules.nft", NFT))


def see(lab, family, kind, masqueraded=False):
    """The address by which the other side of a new connection knows its opener."""
    with contextlib.ExitStack() as stack:
        connection = Connections(lab, stack, family).add(kind, kind)
        assert connection.says(True)
        expected = {"direct": CLIENT, "published": CLIENT,
                    "outbound": WAN if masqueraded else CONTAINER}[kind][family]
        assert connection.far.getpeername()[0] == expected
        connection.give_up()


def denied(lab, family):
    """What neither nftables nor the rules let in."""
    with TcpEcho(lab.container, CONTAINER[family], 80), \
            TcpEcho(lab.container, CONTAINER[family], 81):
        # the client has a route, so this is up to the rules
        assert tcp_try(lab.client, CONTAINER[family], 80, timeout=0.2) == "timeout"
        assert tcp_try(lab.client, CONTAINER[family], 81, timeout=0.2) == "timeout"
        assert tcp_try(lab.client, WAN[family], 81, timeout=0.2) == "timeout"


@both
@pytest.mark.parametrize("order", ORDERS)
def test_whatever_came_first(docker_lab, family, order):
    """Connections that Docker's rules leave alone live on; new ones follow all rules."""
    lab, rules = docker_lab, RULES["declared"]
    opener_first = speaks_first(lab, family)
    with contextlib.ExitStack() as stack:
        connections = Connections(lab, stack, family)
        for step in order.split("-"):
            if step == "conn":
                connections.add("direct", "direct")
            elif step == "nft":
                nft(lab)
            else:
                lab.load(rules)
        # it was silent meanwhile
        connections.talk(opener_first)
        for kind in ("direct", "published", "outbound"):
            see(lab, family, kind, masqueraded=True)
        denied(lab, family)
        connections.talk(not opener_first)


@both
@pytest.mark.parametrize("docker", ["declared", "undeclared"])
@pytest.mark.parametrize("order", ["nft-conn-fwctl", "nft-fwctl-conn", "fwctl-nft-conn"])
def test_translated(docker_lab, family, order, docker):
    """Published ports and masquerade: connections live on through loads, and none is cut."""
    lab, rules = docker_lab, RULES[docker]
    opener_first = speaks_first(lab, family)
    with contextlib.ExitStack() as stack, UdpEcho(lab.container, CONTAINER[family], 80), \
            UdpEcho(lab.client, CLIENT[family], 53):
        connections = Connections(lab, stack, family)
        for step in order.split("-"):
            if step == "conn":
                for kind in ("published", "outbound", "direct"):
                    connections.add(kind, kind)
            elif step == "nft":
                nft(lab)
            else:
                lab.load(rules)
        before = lab.counters()
        connections.talk(opener_first)
        assert connections.open["outbound"].far.getpeername()[0] == WAN[family]
        # judged again, by the first packet that comes
        lab.load(rules + "# again\n")
        connections.talk(opener_first)
        lab.load(rules + "# and again\n")
        connections.talk(not opener_first)
        assert udp_try(lab.client, WAN[family], 8080) == "ok"
        assert udp_try(lab.container, CLIENT[family], 53) == "ok"
        assert not (lab.counters() - before).drops(), lab.counters() - before
        flows = {f["rule"] for f in lab.flows()}
        assert flows >= set(connections.open), lab.flows()
        # rules that no longer accept a kind cut it
        lab.load("".join(line + "\n" for line in rules.splitlines() if "outbound" not in line))
        connections.open["outbound"].give_up()
        assert not connections.open.pop("outbound").says(opener_first)
        connections.talk(opener_first)


@both
@pytest.mark.parametrize("order", ["nft-conn-fwctl", "conn-fwctl-nft"])
def test_docker_goes_away(docker_lab, family, order):
    """Its rules are removed in the middle and come back: what they did not translate lives on."""
    lab, rules = docker_lab, RULES["declared"]
    with contextlib.ExitStack() as stack:
        connections = Connections(lab, stack, family)
        for step in order.split("-"):
            if step == "conn":
                connections.add("direct", "direct")
            elif step == "nft":
                nft(lab)
            else:
                lab.load(rules)
        connections.talk()
        for i in range(2):
            lab.firewall.run("nft", "flush", "ruleset")
            connections.talk(i == 0)
            see(lab, family, "outbound")
            connections.add("direct", f"without {i}")
            connections.talk(i == 1)
            lab.load(rules + f"# {i}\n")
            connections.talk(i == 1)
            nft(lab)
            connections.talk(i == 1)
            see(lab, family, "outbound", masqueraded=True)
            see(lab, family, "published")
            connections.add("direct", f"with {i}")
            connections.talk(i == 0)
        denied(lab, family)
