# SPDX-License-Identifier: GPL-2.0-only
"""Counts what a suite reports: python3 -m lab.tally meson|junit FILE

Prints each failure, the reasons of skipped tests, then "PASSED FAILED". A skipped
test counts as failed unless its reason begins with "needs: ".
"""

import collections
import json
import sys
import xml.etree.ElementTree as ElementTree

NEEDS = "needs: "


def meson(path):
    """(name, outcome, detail) of each test in meson-logs/testlog.json."""
    outcomes = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}
    with open(path, encoding="utf-8") as f:
        for line in f:
            test = json.loads(line)
            outcome = outcomes.get(test["result"], "failed")
            output = (test.get("stdout", "") + test.get("stderr", "")).splitlines()
            detail = "\n".join(output[-40:]) or test["result"]
            if outcome == "skipped":
                detail = next((x for x in output if x.startswith(NEEDS)), detail)
            yield test["name"], outcome, detail


def junit(path):
    """(name, outcome, detail) of each test in a JUnit report, once each."""
    tests = {}
    try:
        report = ElementTree.parse(path)
    except (OSError, ElementTree.ParseError) as e:
        # cmocka writes a document for each group of tests, and only one can be read.
        yield path, "failed", f"no report that can be read: {e}"
        return
    for case in report.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        # A test whose teardown failed as well is reported twice.
        outcome, detail = tests.get(name, ("passed", ""))
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, detail = "failed", child.get("message") or ""
            elif child.tag == "skipped" and outcome == "passed":
                outcome, detail = "skipped", child.get("message") or ""
        tests[name] = outcome, detail
    for name, (outcome, detail) in tests.items():
        yield name, outcome, detail


def main():
    reader, path = sys.argv[1:]
    passed = failed = 0
    skipped = collections.Counter()
    for name, outcome, detail in {"meson": meson, "junit": junit}[reader](path):
        if outcome == "passed":
            passed += 1
        elif outcome == "skipped" and detail.startswith(NEEDS):
            skipped[detail] += 1
        else:
            failed += 1
            print(f"{outcome:8} {name}: {detail}")
    for reason, n in skipped.items():
        print(f"skipped  {n}: {reason}")
    print(passed, failed)


if __name__ == "__main__":
    main()
