# SPDX-License-Identifier: GPL-2.0-only
"""The benches: fwctl and its peers give each packet the verdict that the rules say."""

import json
import os
import subprocess
import sys

import pytest

from bench.rules.case import AddressSet, Rules
from bench.rules.plot import plot
from bench.rules.report import into_document
from lab.lab import TOP
from lab.netns import patience


@pytest.mark.slow
@pytest.mark.needs("bench")
def test_quick_bench(tmp_path):
    """Every peer that is here judges every packet right, and the report is written."""
    env = dict(os.environ, PYTHONPATH=str(TOP / "selftests"))
    done = subprocess.run(
        [sys.executable, "-m", "bench.rules", "--quick", "--output", tmp_path], env=env,
        capture_output=True, text=True, timeout=patience(600), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 wrong" in done.stdout
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    for peer in ("fwctl", "fwctl-stateful", "fwctl-tc", "nft-linear", "nft-map"):
        for family in (4, 6):
            point = results["points"][f"rules/{family}/100/{peer}/uniform"]
            assert point["packets"] >= 100, point
    assert "IPv6, headers that match nothing" in (tmp_path / "tables.md").read_text("utf-8")
    assert (tmp_path / "rules-ipv6.svg").read_text("utf-8").startswith("<svg ")


@pytest.mark.parametrize("family", [4, 6])
def test_generated_rules(family):
    """Packets made for a rule match that one alone; the same seed gives the same rules."""
    case = Rules(family, 500, 7)
    assert case.rules == Rules(family, 500, 7).rules != Rules(family, 500, 8).rules
    assert all(case.find(case.hit(rule)) is rule for rule in case.rules)
    for traffic, verdict in (("uniform", "drop"), ("skewed", "drop"), ("miss", None)):
        for header in case.headers(traffic, 200):
            rule = case.find(header)
            assert (rule and rule.verdict) == verdict
    checks = case.check_headers(400)
    assert 0 < sum(accepted for _, accepted in checks) < 300


@pytest.mark.parametrize("kind", ["addresses", "prefixes"])
@pytest.mark.parametrize("family", [4, 6])
def test_generated_sets(family, kind):
    """Packets are in the set, or not, as they were asked for."""
    case = AddressSet(family, 1000, kind)
    assert len(set(case.entries)) == 1000
    assert all(case.contains(h.src) for h in case.headers("uniform", 200))
    assert not any(case.contains(h.src) for h in case.headers("miss", 200))


def test_document():
    """Only what stands between marks is made anew."""
    text = "a\n<!-- rules -->\nold\n<!-- end -->\nb\n<!-- sets -->\nkept\n<!-- end -->\n"
    new = into_document(text, {"rules": "new\n"})
    assert new == ("a\n<!-- rules -->\n\nnew\n\n<!-- end -->\nb\n<!-- sets -->\nkept\n"
                   "<!-- end -->\n")


def test_plot_is_reproducible():
    """The same figures give the same file."""
    series = {"a & b": [(10, 100.0, 90.0, 120.0), (1000, 5000.0, 4000.0, 6000.0)],
              "c": [(10, 50.0, 50.0, 50.0)]}
    assert plot("t", "x", "y", series) == plot("t", "x", "y", series)
    assert "a &amp; b" in plot("t", "x", "y", series)
