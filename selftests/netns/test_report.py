# SPDX-License-Identifier: GPL-2.0-only
"""What is said about a run: skipped tests, slow machines, the matrix of kernels."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
from xml.sax.saxutils import quoteattr

import pytest

from lab import kernel, netns
from lab.lab import TOP

HERE = pathlib.Path(__file__).parent
OUTCOMES = {"passed": "", "failed": "<failure message='no'/>", "error": "<error message='no'/>"}


def run(module, *argv, **env):
    """Run a module of the lab; the finished process."""
    return subprocess.run([sys.executable, "-m", module, *map(str, argv)], text=True,
                          capture_output=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(TOP / "selftests"), **env})


def report(path, tests):
    """A JUnit file of {name: outcome or reason to skip}."""
    cases = "".join(
        f"<testcase classname='selftests.netns.test_x' name={quoteattr(name)}>"
        + OUTCOMES.get(what, f"<skipped message={quoteattr(what)}/>") + "</testcase>"
        for name, what in tests.items())
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", encoding="utf-8")
    return path


def test_tally(tmp_path):
    """Only what says `needs: ` may be skipped."""
    done = run("lab.tally", "junit", report(tmp_path / "a.xml", {
        "one": "passed", "two": "failed", "three": "needs: vlan", "four": "no time",
        "five": "error",
        "six": "needs: vlan"}))
    *lines, last = done.stdout.splitlines()
    assert last == "1 3", done
    assert [x.split()[1] for x in lines[:3]] == [f"selftests.netns.test_x::{name}:" for name in
                                                 ("two", "four", "five")], done
    assert lines[3:] == ["skipped  2: needs: vlan"], done


def test_tally_of_no_report(tmp_path):
    """What cannot be read is a failure that says so."""
    twice = report(tmp_path / "twice.xml", {"one": "passed"})
    twice.write_text(twice.read_text(encoding="utf-8") * 2, encoding="utf-8")
    for path in twice, tmp_path / "none.xml":
        done = run("lab.tally", "junit", path)
        line, last = done.stdout.splitlines()
        assert last == "0 1" and line.startswith(f"failed   {path}: no report"), done


def test_matrix(tmp_path):
    """A test that only one kernel ran is fine, one that nobody ran is not."""
    host = report(tmp_path / "host.xml", {"a[4]": "passed", "a[6]": "needs: vlan",
                                          "b": "needs: vlan", "c": "needs: esp, vm"})
    more = report(tmp_path / "more.xml", {"d": "failed"})
    old = report(tmp_path / "old.xml", {"a[6]": "passed", "b": "failed", "c": "needs: esp, vm",
                                        "d": "passed"})
    path = tmp_path / "list"
    done = run("lab.matrix", "-o", path, f"host={host}", f"host={more}", f"6.1={old}")
    assert done.returncode == 1, done
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["host", "1", "1", "3"], ["1", "needs:", "esp,", "vm"], ["2", "needs:", "vlan"],
        ["6.1", "2", "1", "1"], ["1", "needs:", "esp,", "vm"],
        ["never", "ran:", "test_x::c"], ["1", "never", "ran"]], done
    assert path.read_text(encoding="utf-8").splitlines() == [
        "test_x::a[4]: host", "test_x::a[6]: 6.1", "test_x::b: -", "test_x::c: -",
        "test_x::d: 6.1"]
    done = run("lab.matrix", f"host={more}", f"6.1={more}")
    assert done.returncode == 0 and "never" not in done.stdout, done
    assert run("lab.matrix", host).returncode == 2


CONFTEST = """\
import pytest
from lab import kernel
from lab.kernel import pytest_runtest_setup
pytest_configure = kernel.declare_marks
def gone(): raise OSError("why")
kernel.FEATURES.update(there=lambda: None, gone=gone)
@pytest.fixture
def broken(): assert False, "made before the mark was looked at"
"""
TESTS = """\
import pytest
@pytest.mark.needs("there", "gone")
@pytest.mark.needs("gone")
def test_without(broken): pass
@pytest.mark.needs("there")
def test_with(): pass
"""


@pytest.mark.parametrize("expect, words", [
    ("there", ["1 passed, 1 skipped", "needs: gone\n"]),
    ("vlan gone", ["1 passed, 1 error", "this kernel should have: gone: why\n"])])
def test_needs(tmp_path, expect, words):
    """A missing feature skips, before any fixture; a missing one that is expected fails."""
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_x.py").write_text(TESTS, encoding="utf-8")
    done = run("pytest", "-q", "-rsE", "-p", "no:cacheprovider", tmp_path, FWCTL_EXPECT=expect)
    for word in words:
        assert word in done.stdout and "looked at" not in done.stdout, done.stdout


def test_probes_tell_the_truth():
    """One of two opposite features is there; what is missing says why."""
    assert bool(kernel.lacks("tcx")) != bool(kernel.lacks("notcx"))
    assert all(re.search(r"\S", kernel.lacks(f) or "fine") for f in kernel.FEATURES)
    with pytest.raises(pytest.UsageError):
        class Item:
            """A test with a mark."""

            nodeid = "x"

            @staticmethod
            def iter_markers(_):
                """Its marks."""
                return [pytest.mark.needs("magic").mark]
        kernel.check_marks([Item])


def test_main_tests_are_there():
    """Each capability of the short list still has its tests."""
    spec = importlib.util.spec_from_file_location("netns_conftest", HERE / "conftest.py")
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    ids = run("pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "main",
              HERE).stdout
    missing = [p for patterns in conftest.MAIN.values() for p in patterns if not re.search(p, ids)]
    assert not missing, missing


def test_patience(monkeypatch):
    """Deadlines grow with the slowness, waits for silence by its root."""
    monkeypatch.setattr(netns, "SLOWNESS", 4.0)
    assert netns.patience(3) == 12 and netns.patience(0.2) == 0.4
    monkeypatch.setattr(netns, "SLOWNESS", 1.0)
    assert netns.patience(3) == 3 and netns.patience(0.2) == 0.2
