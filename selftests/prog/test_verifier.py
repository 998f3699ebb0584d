# SPDX-License-Identifier: GPL-2.0-only
"""Each program loads on this kernel, and within the verifier's budget."""

import copy
import json

import pytest

import verifier
from conftest import BUILD


@pytest.fixture(scope="module")
def budget():
    return verifier.read_budget()


def test_within_budget(budget, record_testsuite_property):
    """Instructions and stack of every program; the figures go into the report."""
    measured = verifier.measure(BUILD)
    text = json.dumps(measured)
    print(text)
    record_testsuite_property(verifier.PROPERTY, text)
    assert not verifier.over_budget(budget["limits"], measured)


def test_recorded_figures_are_within_budget(budget):
    assert set(budget["recorded"]) >= {"6.1", "6.12", "6.18"}
    for measured in budget["recorded"].values():
        assert not verifier.over_budget(budget["limits"], measured)


@pytest.mark.parametrize("what", ["insns", "stack", "program"])
def test_over_budget_is_told(budget, what):
    """One instruction or byte more than the limit, or a program without one."""
    limits, measured = budget["limits"], copy.deepcopy(budget["recorded"]["6.1"])
    figures = measured["programs"]["fw_xdp"]
    if what == "insns":
        figures["insns"] = limits["fw_xdp"]["insns"] + 1
    elif what == "stack":
        figures["stack"][0] = limits["fw_xdp"]["stack"] + 1
    else:
        measured["programs"]["fw_more"] = figures
    assert len(verifier.over_budget(limits, measured)) == 1


def test_page_shows_what_was_recorded(budget):
    """`verifier.py --record` writes both."""
    assert verifier.page_table() == verifier.table(budget)
