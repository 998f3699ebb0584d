# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: one lab per module, clean connection table per test, both modes.

A test that takes `lab` runs once in each mode of MODES, or of its mark
@pytest.mark.modes("xdp", ...). The lab starts each test without flows; rules of
the test before may still run, so a test loads its own. Marks: see pytest_configure()
and lab/kernel.py, which skips tests that need what this kernel lacks.
"""

import os
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

# pylint: disable=wrong-import-position,unused-import
from lab import ipsec as tunnels  # noqa: E402
from lab.kernel import (check_marks, declare_marks, lacks,  # noqa: E402
                        pytest_runtest_setup)  # noqa: F401
from lab.lab import Lab, build_dir  # noqa: E402

MODES = ("xdp", "tc")

# What `-m main` runs: for each capability a few tests, some minutes on a slow machine.
MAIN = {
    "new and denied flows": (r"test_traffic.*::test_forward_allowed\[(xdp|tc)-(tcp|udp)",
                             r"test_traffic.*::test_(forward_denied|outgoing)\[(xdp|tc)-tcp",
                             r"test_sanity.*::test_dropped\[xdp-xmas-ipv6-untagged",
                             r"test_sanity.*::test_dropped\[tc-spoofed.*ipv4-untagged"),
    "antispoof": (r"test_bond.*::test_antispoof\[tc-s0 s1-6",),
    "adoption": (r"test_adopt.*::test_survive_the_first_load\[xdp-True-6",),
    "conntrack": (r"test_conntrack_hooks.*::test_on_and_off",
                  r"test_conntrack.*::test_established_is_shown\[(xdp-6|tc-4)",
                  r"test_conntrack.*::test_mirror_equals_conntrack"),
    "reload": (r"test_reload.*::test_accepted_flow_survives\[(xdp-6|tc-4)",),
    "neighbours": (r"test_neighbours.*::test_masquerade\[xdp-fwctl", r"::test_dnat\[tc"),
    "helpers": (r"test_helpers.*::test_through_a_router\[xdp-nft-active-6\]",),
    "fragments": (r"test_fragments.*::test_big_datagrams_both_ways\[(xdp-30000-6|tc-30000-4)",),
    "icmp": (r"test_icmp.*::test_error_of_known_flow\[(xdp-4|tc-6)",
             r"test_icmp.*::test_ping_through\[(xdp-6|tc-4|xdp-generic-6)"),
    "verdicts": (r"test_verdicts.*::test_reject\[(xdp-forward|tc-self)",),
    "vlan": (r"test_vlan.*::test_(vlan_device_is_a_zone|priority_tag)",),
    "interfaces": (r"test_interfaces.*::test_recreated_interface_is_covered\[xdp-4",),
    "clsact": (r"test_clsact.*::test_filter_that_came_later\[xdp",),
    "tools": (r"test_tools.*::test_as_without\[xdp-sctp-6",),
    "explain": (r"test_explain.*::test_fragments\[xdp-6",
                r"test_explain.*::test_nothing_is_counted\[xdp\]"),
    "captures": (r"test_capture.*::test_drops\[xdp-6",),
    "esp": (r"test_ipsec.*::test_tunnel_to_the_firewall\[xdp",
            r"test_strongswan.*::test_connection\[xdp-tunnel-6"),
    "steering": (r"test_steer.*::test_hotplug", r"test_steer.*::test_decrypted_there\[xdp-6"),
}


def pytest_configure(config):
    config.addinivalue_line("markers", "modes(*names): interface modes a test runs in")
    declare_marks(config)
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    config.addinivalue_line("markers", "alternate: one family in each mode, all with FWCTL_EVERY")
    config.addinivalue_line("markers", "waits: two minutes of waiting; run beside the others")


def is_other_half(item):
    """Of tests whose modes and families have little to do with each other."""
    if not item.get_closest_marker("alternate") or os.environ.get("FWCTL_EVERY"):
        return False
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return (params.get("mode"), params.get("family")) in (("xdp", 4), ("tc", 6))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if not is_other_half(item)]
    main = re.compile("|".join(p for patterns in MAIN.values() for p in patterns))
    for item in items:
        if main.search(item.nodeid):
            item.add_marker(pytest.mark.main)
    check_marks(items)
    if lacks("root"):
        # No mark of need: `-m needs` is for what some kernels lack.
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs: root"))
    elif not (build_dir() / "user" / "fwctl").exists():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"no fwctl in {build_dir()}/user"))


def pytest_generate_tests(metafunc):
    own = {name.strip() for mark in metafunc.definition.iter_markers("parametrize")
           for name in mark.args[0].split(",")}
    if "mode" in metafunc.fixturenames and "mode" not in own:
        mark = metafunc.definition.get_closest_marker("modes")
        metafunc.parametrize("mode", mark.args if mark else MODES)


def assert_clean(lab):
    """No sanitizer has complained."""
    reports = lab.sanitizer_reports()
    assert not reports, reports


@pytest.fixture(scope="module")
def module_lab():
    with Lab() as lab:
        yield lab
        lab.unload()
        assert_clean(lab)


@pytest.fixture
def lab(module_lab, mode):
    """The lab of the module without flows, in one mode."""
    module_lab.mode = mode
    module_lab.firewall.run("conntrack", "-F", check=False)
    yield module_lab
    assert_clean(module_lab)


@pytest.fixture(scope="module")
def esp_lab():
    """A lab with inner addresses and routes to them."""
    with Lab() as lab:
        tunnels.address_inside(lab)
        yield lab
        lab.unload()
        assert_clean(lab)


@pytest.fixture
def esp(esp_lab, mode):
    """The same without flows, tunnels and flows of ESP (they need a new rule set)."""
    esp_lab.mode = mode
    tunnels.disconnect(esp_lab)
    esp_lab.load("default in drop\ndefault out drop\ndefault forward drop\n")
    esp_lab.firewall.run("conntrack", "-F", check=False)
    yield esp_lab
    tunnels.disconnect(esp_lab)
    assert_clean(esp_lab)


@pytest.fixture
def own_lab(mode):
    """A lab of this test alone, for tests that kill, unload or rewire."""
    with Lab() as lab:
        lab.mode = mode
        yield lab
        assert_clean(lab)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what fwctld had to say when a test fails."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        lab = item.funcargs.get("lab") or item.funcargs.get("own_lab")
        if lab is not None:
            report.sections.append(("fwctld.log", "\n".join(lab.daemon_log().splitlines()[-6:])))
