# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: one lab per module, clean connection table per test, both modes.

A test that takes `lab` runs once in each mode of MODES, or of its mark
@pytest.mark.modes("xdp", ...). The lab starts each test without flows; rules of
the test before may still run, so a test loads its own.
"""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from lab.lab import Lab, build_dir  # noqa: E402  pylint: disable=wrong-import-position

MODES = ("xdp", "tc")


def pytest_configure(config):
    config.addinivalue_line("markers", "modes(*names): interface modes a test runs in")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    config.addinivalue_line("markers", "waits: two minutes of waiting; run beside the others")


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))
    elif not (build_dir() / "user" / "fwctl").exists():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"no fwctl in {build_dir()}/user"))


def pytest_generate_tests(metafunc):
    if "mode" in metafunc.fixturenames:
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
