# SPDX-License-Identifier: GPL-2.0-only
"""What only the kernel can refuse is said as the compiler would say it: with its place."""

import json
import os
import pathlib
import shutil
import tempfile

import pytest

from lab.lab import RULES
from lab.netns import sh, wait_for

pytestmark = pytest.mark.modes("tc")

KERNEL = 4
NO_XDP = ("the driver of 'lo' has no native XDP: say 'mode tc' or 'mode xdp-generic' for it")
GOOD = "accept in on wan proto icmp\n"
# The loopback has no native XDP on any kernel; the tab tries the caret.
BAD = "\tinterface loop = { lo { mode xdp } }\naccept in on loop\n"
SHOWN = [" 3 | \tinterface loop = { lo { mode xdp } }",
         "   | \t                             ^~~"]


def refused(lab, *argv, **kwargs):
    """The standard error of a load that the kernel refuses."""
    result = lab.fwctl(*argv, check=False, **kwargs)
    assert result.exit == KERNEL, result
    return result


def test_place(own_lab):
    """File, line, column, source and caret; nothing stays."""
    lab = own_lab
    path = lab.rules(BAD)
    result = refused(lab, "load", path)
    assert result.err.splitlines() == [f"{path}:3:31: error: {NO_XDP}", *SHOWN], result
    assert not result.out
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    assert not lab.pin_dir.exists()
    assert f"error: load failed: {path}:3:31: error: {NO_XDP}" in lab.daemon_log()


def test_place_in_json(own_lab):
    """As JSON it is a message among those of the compiler."""
    lab = own_lab
    path = lab.rules(BAD)
    result = refused(lab, "load", "--json", path)
    assert not result.err, result
    assert result.json["ok"] is False and result.json["errors"] == 1
    [message] = result.json["messages"]
    assert (message["file"], message["line"], message["column"], message["length"]) == (
        str(path), 3, 31, 3), message
    assert message["severity"] == "error" and message["text"] == NO_XDP


def test_place_in_an_included_file(own_lab):
    """The name is the one that the user sees: relative, and of the right file."""
    lab = own_lab
    lab.write("bad.conf", BAD)
    lab.write("top.conf", RULES.format(mode="tc") + 'include "bad.conf"\n')
    result = refused(lab, "load", "top.conf", cwd=lab.dir)
    assert result.err.splitlines()[0] == f"bad.conf:1:31: error: {NO_XDP}", result
    result = refused(lab, "load", "-", input=RULES.format(mode="tc") + BAD, stdin=None)
    assert result.err.splitlines() == [f"stdin:3:31: error: {NO_XDP}", *SHOWN], result


def test_running_rules_stay(own_lab):
    """A refused load changes nothing, and the daemon goes on."""
    lab = own_lab
    lab.load(GOOD)
    pid = lab.daemon_pid()
    before = lab.show("interfaces")
    refused(lab, "load", lab.rules(BAD))
    assert lab.generation() == 1 and lab.daemon_pid() == pid
    now = lab.show("interfaces")
    assert [i["name"] for i in now["interfaces"]] == [i["name"] for i in before["interfaces"]]
    assert "lo" not in [i["name"] for i in now["interfaces"]]


def test_doctor_without_root(own_lab):
    """Anybody may ask; only what root would have cannot be told."""
    lab = own_lab
    as_root = lab.fwctl("doctor", "--json").json
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        # The build may be in a directory that others cannot enter.
        os.chmod(folder, 0o755)
        fwctl = shutil.copy(lab.binary("fwctl"), pathlib.Path(folder) / "fwctl")
        os.chmod(fwctl, 0o755)
        done = sh("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                  fwctl, "doctor", "--json")
    result = json.loads(done.stdout)
    assert result["ok"] is True
    of_root = {f["feature"]: f["answer"] for f in as_root["features"]}
    answers = {f["feature"]: f["answer"] for f in result["features"]}
    assert of_root["capabilities"] == "yes" and answers["capabilities"] == "unknown"
    differ = {name for name in of_root if of_root[name] != answers.get(name)}
    assert differ <= {"capabilities", "conntrack hooks", "route lookups for any host"}, differ
