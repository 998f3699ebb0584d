# SPDX-License-Identifier: GPL-2.0-only
"""What people use through a firewall that drops by default: all as without one.

Each tool runs once with nothing loaded, then in each mode with only the rules it
needs. It must find the same, and no packet may be dropped.
"""

import pytest

from lab import tools
from lab.kernel import lacks, needed

DENY = "default in drop\ndefault out drop\ndefault forward drop\n"
FORWARD = "accept forward wan -> lan "

# Rules, what the machine needs for it.
TOOLS = {
    "iperf3": ("proto { tcp, udp } to port 5201", "iperf3"),
    "curl": ("proto tcp to port 8000", "curl"),
    "ssh": ("proto tcp to port 2222", "ssh"),
    "dig": ("proto { tcp, udp } to port domain", "dig"),
    "ping": ("proto icmp type echo-request", None),
    "ping_narrow": ("proto icmp type echo-request", None),
    "traceroute_udp": ("proto udp to port 33434-33534", "traceroute"),
    "traceroute_icmp": ("proto icmp type echo-request", "traceroute"),
    "traceroute_tcp": ("proto tcp to port 80", "traceroute"),
    "tracepath": ("proto udp to port 44444-44500", "tracepath"),
    "path_mtu_tcp": ("proto tcp to port 7", None),
    "path_mtu_udp": ("proto udp to port 9", None),
    "sctp": ("proto sctp", "sctp"),
}

# Packet too big about later fragments does not say whose they are; the one about the
# first fragment is enough.
TOLERATED = {("ping_narrow", 6): {"icmp-unrelated"}}

each_tool = pytest.mark.parametrize("tool", [
    pytest.param(name, marks=[pytest.mark.needs(need)] if need else [])
    for name, (_, need) in TOOLS.items()])
pytestmark = pytest.mark.alternate
both = pytest.mark.parametrize("family", [4, 6])


def run(network, tool, family):
    """What a tool finds."""
    return getattr(tools, tool)(network, family)


@pytest.fixture(scope="module")
def network(module_lab):
    """The lab of the module with a host behind its server."""
    return tools.Network(module_lab)


@pytest.fixture(scope="module")
def without(network, request):
    """What the tools of this session find with nothing loaded, by (tool, family)."""
    wanted = {(item.callspec.params["tool"], item.callspec.params["family"])
              for item in request.session.items
              if item.module is request.module and not any(map(lacks, needed(item)))}
    return {case: run(network, *case) for case in sorted(wanted)}


@both
@each_tool
def test_as_without(without, network, lab, tool, family):
    """The same result, and nothing dropped."""
    lab.load(DENY + FORWARD + TOOLS[tool][0] + "\n")
    before = lab.counters()
    assert run(network, tool, family) == without[tool, family]
    gained = lab.counters() - before
    # SCTP: the flow of two addresses may be there from the mode before.
    assert gained.get("new") or tool == "sctp", gained
    assert gained.get("established") + gained.get("related"), gained
    assert gained.drops().keys() <= TOLERATED.get((tool, family), set()), gained


@both
@each_tool
def test_it_is_worth_comparing(without, tool, family):
    """What the tools find without a firewall is what they are there to find."""
    found = repr(without[tool, family])
    expected = {
        "iperf3": "(0, None, True)",
        "curl": "(0, '200', True, 0, ['HTTP/1.0 404 File not found'], 0, '5242880')",
        "ssh": "(7, ",
        "dig": "203.0.113.7",
        "ping": "(0, ['3 packets transmitted, 3 received'])",
        "ping_narrow": "(0, ['3 packets transmitted, 3 received'])",
        "traceroute_udp": tools.FAR[family],
        "traceroute_icmp": tools.FAR[family],
        "traceroute_tcp": tools.FAR[family],
        "tracepath": "pmtu 1300 hops 3",
        "path_mtu_tcp": "(1500, True, 1300)",
        "path_mtu_udp": "(90, 1300)",
        "sctp": "(4000, b'fine', b'')",
    }
    assert expected[tool] in found, found
