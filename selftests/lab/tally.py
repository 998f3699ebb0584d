# SPDX-License-Identifier: GPL-2.0-only
"""Counts what a suite reports: python3 -m lab.tally meson|junit FILE [ALLOWED-SKIP...]

Prints each failure, the reasons of skipped tests, then "PASSED FAILED". A skipped
test counts as failed unless its name matches one of ALLOWED-SKIP.
"""

import collections
import fnmatch
import json
import sys
import xml.etree.ElementTree as ElementTree


def meson(path):
    """(name, outcome, detail) of each test in meson-logs/testlog.json."""
    outcomes = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}
    with open(path, encoding="utf-8") as f:
        for line in f:
            test = json.loads(line)
            outcome = outcomes.get(test["result"], "failed")
            output = (test.get("stdout", "") + test.get("stderr", "")).splitlines()
            yield test["name"], outcome, "\n".join(output[-40:]) or test["result"]


def junit(path):
    """(name, outcome, detail) of each test in a JUnit report."""
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        outcome, detail = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, detail = "failed", child.get("message") or ""
            elif child.tag == "skipped" and outcome == "passed":
                outcome, detail = "skipped", child.get("message") or ""
        yield name, outcome, detail


def main():
    reader, path, *allowed = sys.argv[1:]
    passed = failed = 0
    skipped = collections.Counter()
    for name, outcome, detail in {"meson": meson, "junit": junit}[reader](path):
        if outcome == "passed":
            passed += 1
        elif outcome == "skipped" and any(fnmatch.fnmatch(name, p) for p in allowed):
            skipped[detail] += 1
        else:
            failed += 1
            print(f"{outcome:8} {name}: {detail}")
    for reason, n in skipped.items():
        print(f"skipped  {n}: {reason}")
    print(passed, failed)


if __name__ == "__main__":
    main()
