# SPDX-License-Identifier: GPL-2.0-only
"""docs/helpers.md lists each helper that XDP or TC may call, and says the truth about kern/."""

import pathlib
import re

import pytest

from lab import bpf

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = r"`(bpf_\w+)`"
# A row is about what its cell before the last text names; prose may name others.
ROW = re.compile(rf"^\| (?:[a-z ]+ \| )?({NAME}(?:, {NAME})*) \|(.*)\|$")
HOOKS = {
    "XDP and TC": {bpf.XDP, bpf.SCHED_CLS},
    "XDP only": {bpf.XDP},
    "TC only": {bpf.SCHED_CLS},
    "Of no network": {bpf.XDP, bpf.SCHED_CLS},
}


def read_tables():
    """Helper -> (program types, what its row says), and how often each is listed."""
    rows, names, hooks = {}, [], None
    for line in (ROOT / "docs/helpers.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            hooks = HOOKS[line[3:].removeprefix("Networking: ")]
        row = ROW.match(line)
        for name in re.findall(NAME, row[1]) if row else ():
            names.append(name)
            rows[name] = (hooks, row[row.lastindex])
    return rows, names


def code_of(path):
    """A source without its comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)


def callers():
    """Helper -> the files of kern/ that call it."""
    found = {}
    for path in sorted((ROOT / "kern").glob("*.[ch]")):
        for name in re.findall(r"\b(bpf_\w+)\(", code_of(path)):
            found.setdefault(name, set()).add(f"kern/{path.name}")
    return found


@pytest.fixture(name="rows", scope="module")
def rows_fixture():
    return read_tables()[0]


def test_each_is_listed_once():
    names = read_tables()[1]
    assert len(names) > 140
    assert len(names) == len(set(names))


@pytest.mark.needs("headers")
@pytest.mark.parametrize("kind", [bpf.XDP, bpf.SCHED_CLS], ids=["xdp", "tc"])
def test_tables_are_complete(rows, kind):
    """What this kernel lets a program call stands in a table, of the right hooks."""
    allowed = {name for name, number in bpf.helpers().items() if bpf.may_call(kind, number)}
    assert len(allowed) > 80
    assert not {name for name in allowed if kind not in rows.get(name, (set(),))[0]}


def test_rows_say_who_calls(rows):
    """A row of a networking helper names the files that call it, and no others."""
    found = callers()
    for name, (_, text) in rows.items():
        if text.startswith(" – |") or text.startswith(" `kern/"):
            named = set(re.findall(r"`(kern/[\w.]+)`", text.split("|")[0]))
            assert named == found.get(name, set()), name
        else:
            assert text.startswith(" not used") == (name not in found), name


@pytest.mark.needs("headers")
def test_tables_name_no_others(rows):
    """Nor does a table promise a helper that there is not; two are of Linux 6.2."""
    later = {"bpf_cgrp_storage_get", "bpf_cgrp_storage_delete"}
    assert not set(rows) - later - set(bpf.helpers())
