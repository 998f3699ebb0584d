# SPDX-License-Identifier: GPL-2.0-only
"""Which test ran on which kernel: python3 -m lab.matrix [-o LIST] KERNEL=REPORT...

REPORT is a JUnit file; a kernel may have several. Prints a table of the kernels, then
every test that ran on none of them, then "N never ran"; the exit status is 1 if there
is one. LIST gets every test with the kernels it passed on.
"""

import argparse
import collections
import sys

from .tally import junit


def test_name(name):
    """module::test[parameters], wherever the suite was run from."""
    classname, _, test = name.partition("::")
    return f"{classname.rpartition('.')[2]}::{test}"


def read(reports):
    """{kernel: {test: (outcome, detail)}} of (kernel, path) pairs."""
    kernels = {}
    for kernel, path in reports:
        outcomes = kernels.setdefault(kernel, {})
        for name, outcome, detail in junit(path):
            name = test_name(name)
            # Of a test in two reports of one kernel the one that ran counts.
            if outcomes.get(name, ("skipped",))[0] == "skipped":
                outcomes[name] = outcome, detail
    return kernels


def passed_on(kernels):
    """{test: kernels it passed on}, in the order of the names."""
    tests = sorted(set().union(*kernels.values()))
    return {test: [kernel for kernel, outcomes in kernels.items()
                   if outcomes.get(test, ("",))[0] == "passed"] for test in tests}


def never_ran(kernels):
    """Tests that were skipped wherever they were to run."""
    ran = {test for outcomes in kernels.values()
           for test, (outcome, _) in outcomes.items() if outcome != "skipped"}
    return sorted(set().union(*kernels.values()) - ran)


def table(kernels):
    """Lines: each kernel with what passed, failed and was skipped, by reason."""
    yield f"{'kernel':12} {'passed':>7} {'failed':>7} {'skipped':>7}"
    for kernel, outcomes in kernels.items():
        count = collections.Counter(outcome for outcome, _ in outcomes.values())
        yield f"{kernel:12} {count['passed']:7} {count['failed']:7} {count['skipped']:7}"
        reasons = collections.Counter(detail for outcome, detail in outcomes.values()
                                      if outcome == "skipped")
        for reason, n in sorted(reasons.items()):
            yield f"{'':28} {n:7}  {reason}"


def main():
    parser = argparse.ArgumentParser(prog="python3 -m lab.matrix")
    parser.add_argument("-o", metavar="LIST", help="write tests and their kernels to a file")
    parser.add_argument("reports", nargs="+", metavar="KERNEL=REPORT")
    options = parser.parse_args()
    pairs = [report.partition("=")[::2] for report in options.reports]
    if not all(path for _, path in pairs):
        parser.error("expected KERNEL=REPORT")
    kernels = read(pairs)
    if options.o:
        with open(options.o, "w", encoding="utf-8") as f:
            for test, where in passed_on(kernels).items():
                f.write(f"{test}: {', '.join(where) or '-'}\n")
    print("\n".join(table(kernels)))
    missing = never_ran(kernels)
    for test in missing:
        print(f"never ran: {test}")
    if missing:
        print(f"{len(missing)} never ran")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
