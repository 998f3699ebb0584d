# SPDX-License-Identifier: GPL-2.0-only
"""The benches: fwctl and its peers give each packet the verdict that the rules say."""

import json
import os
import subprocess
import sys

import pytest

from bench.document import put
from bench.forward.lane import answers, flows
from bench.forward.peers import PEERS
from bench.rules.case import AddressSet, Rules
from bench.rules.plot import plot
from bench.tables import into_document
from lab.lab import TOP
from lab.netns import patience


@pytest.mark.slow
@pytest.mark.needs("bench")
def test_quick_bench(tmp_path):
    """Every peer that is here judges every packet right, and the report is written."""
    env = dict(os.environ, PYTHONPATH=str(TOP / "selftests"))
    done = subprocess.run(
        [sys.executable, "-m", "bench.rules", "--quick", "--kinds", "rules,addresses",
         "--output", tmp_path], env=env,
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


def forward(tmp_path, *options):
    """A short run of bench.forward; returns its results."""
    env = dict(os.environ, PYTHONPATH=str(TOP / "selftests"))
    done = subprocess.run(
        [sys.executable, "-m", "bench.forward", "--quick", *options, "--output", tmp_path],
        env=env, capture_output=True, text=True, timeout=patience(120), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 wrong" in done.stdout
    return json.loads((tmp_path / "forward.json").read_text(encoding="utf-8"))


def offload_or_skip(results, key):
    """Kernels before 6.3 do not say what drivers can do; returns the point."""
    if key not in results["points"]:
        pytest.skip("XDP does not forward here")
    return results["points"][key]


@pytest.mark.slow
@pytest.mark.needs("bench")
def test_forward(tmp_path):
    """Packets of every peer that is here arrive, and those that XDP shall forward go that way."""
    results = forward(tmp_path, "--no-tcp", "--flows", "16", "--sizes", "60,1500")
    for family in (4, 6):
        for size in (60, 1500):
            for peer in set(PEERS) - {"iptables", "fwctl-offload"}:
                point = results["points"][f"forward/{family}/16/{size}/{peer}"]
                assert point["packets"] >= 100 and not point["offloaded"], (peer, point)
    table = (tmp_path / "forward.md").read_text("utf-8")
    assert "IPv6, 16 flows" in table and "| 74 bytes | 1500 bytes |" in table
    for family in (4, 6):
        point = offload_or_skip(results, f"forward/{family}/16/60/fwctl-offload")
        assert point["offloaded"] >= 0.99 * point["packets"] - 16 > 0


@pytest.mark.needs("bench", "iperf3")
def test_forward_tcp(tmp_path):
    """iperf3 through no firewall, and through one whose XDP forwards."""
    results = forward(tmp_path, "--flows", "", "--families", "6", "--peers",
                      "none,fwctl-offload")
    assert results["points"]["tcp/6/no-tso/none"]["bps"]["median"] > 1e6
    assert offload_or_skip(results, "tcp/6/no-tso/fwctl-offload")["bps"]["median"] > 1e6


@pytest.mark.needs("esp", "xdpxfrm", "iperf3")
def test_ipsec():
    """The flood ends where it should, with and without the option."""
    env = dict(os.environ, PYTHONPATH=str(TOP / "selftests"))
    done = subprocess.run(
        [sys.executable, "-m", "bench.ipsec", "--quick", "--families", "4", "--kinds", "TCP"],
        env=env, capture_output=True, text=True, timeout=patience(120), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"\n  {name} " in done.stdout for name in ("alone", "elsewhere", "pass", "drop"))


@pytest.mark.parametrize("family", [4, 6])
def test_flows(family):
    """All are different, and their answers are theirs turned round."""
    found = flows(family, 5000)
    assert len(set(found)) == 5000 and found == flows(family, 5000)
    assert answers(answers(found)) == found
    assert not {h.src for h in found} & {h.dst for h in found}


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


def test_printed_text():
    """What a program prints becomes a block of code between its marks, which have to be there."""
    text = "<!-- path -->\nold\n<!-- end -->\n"
    assert put(text, "path", "a  1\n\nb  2\n") == (
        "<!-- path -->\n\n    a  1\n\n    b  2\n\n<!-- end -->\n")
    with pytest.raises(SystemExit):
        put(text, "mirror", "x")


def test_plot_is_reproducible():
    """The same figures give the same file."""
    series = {"a & b": [(10, 100.0, 90.0, 120.0), (1000, 5000.0, 4000.0, 6000.0)],
              "c": [(10, 50.0, 50.0, 50.0)]}
    assert plot("t", "x", "y", series) == plot("t", "x", "y", series)
    assert "a &amp; b" in plot("t", "x", "y", series)
