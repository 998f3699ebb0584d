# SPDX-License-Identifier: GPL-2.0-only
"""The runner itself: a machine that panics, hangs or delivers nothing is a failure."""

import argparse
import os
import pathlib

import pytest

from . import __main__ as runner
from . import job, kernels, machine

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("FWCTL_PLAIN_BUILD") or TOP / "build").resolve()

PASSED = '<testsuites><testsuite><testcase classname="c" name="n"/></testsuite></testsuites>'
SKIPPED = PASSED.replace("/></testsuite>", '><skipped message="{}"/></testcase></testsuite>')


class Watch:
    """Run one job, count what comes back."""

    def __init__(self, tmp_path):
        self.run = runner.Run(argparse.Namespace(
            build=BUILD, accel=None, flavour="cloud", k=None, kernels=[kernels.MATRIX[0]]))
        self.folder = tmp_path

    def __call__(self, text, reports=(), silence_s=60):
        kernel, layers = self.run.prepare(kernels.MATRIX[0])
        initrd = self.run.initrd(kernel, layers, text)
        vm = machine.Machine(self.run.accel, kernel, initrd, self.folder, silence_s)
        try:
            self.run.wait([(vm, job.Job(text, list(reports)))])
        finally:
            vm.end()
        return self.run.passed, self.run.failed


@pytest.fixture
def watch(tmp_path):
    """A runner whose machines work in a directory of the test."""
    return Watch(tmp_path)


def test_results_come_back(watch, capfd):
    """What a suite reports is counted, also a skip with a reason and one without."""
    text = (f"echo '{PASSED}' >/results/good.xml\n"
            f"echo '{SKIPPED.format('needs: vlan')}' >/results/needs.xml\n"
            f"echo '{SKIPPED.format('because')}' >/results/mute.xml\ndeliver\n")
    assert watch(text, ["good", "needs", "mute"]) == (1, 1)
    out = capfd.readouterr().out
    assert "needs: vlan" in out and "because" in out, out


def test_missing_report_fails(watch, capfd):
    """A suite that died without a report is not forgotten."""
    assert watch(f"echo '{PASSED}' >/results/good.xml\ndeliver\n", ["good", "gone"]) == (1, 1)
    assert "gone: left no report" in capfd.readouterr().out


def test_programs_without_report(watch, capfd):
    """Programs get their arguments; the exit status counts where no report does, also of
    one that takes too long."""
    text = ("FWCTL_BUILD=/usr/bin\nprogram good 9 test a = a\nprogram bad 9 test a = b\n"
            "program slow 1 sleep 1000\ndeliver\n")
    assert watch(text, ["good", "bad", "slow"]) == (1, 2)
    out = capfd.readouterr().out
    assert "program::bad: exit status 1" in out and "program::slow: exit status 124" in out, out


def test_panic_fails(watch, capfd):
    """A panic is a failure that shows the console."""
    passed, failed = watch("echo c >/proc/sysrq-trigger\n", ["good"])
    out = capfd.readouterr().out
    assert passed == 0 and failed >= 2, out
    assert "Kernel panic" in out and "ended without results" in out, out


def test_hang_fails(watch, capfd):
    """A machine that says nothing for long is ended, and its console shown."""
    assert watch("echo last words\nsleep 1000\n", ["good"], silence_s=8) == (0, 1)
    out = capfd.readouterr().out
    assert "hangs" in out and "last words" in out, out
