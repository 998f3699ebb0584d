# SPDX-License-Identifier: GPL-2.0-only
"""The verifier's budget: limits, recorded figures, and the table of docs/verifier.md.

    verifier.py                      what the running kernel says of a build
    verifier.py --record [FILE...]   write it, or what FILEs say (JSON as printed
                                     here, or JUnit reports of the prog suite), into
                                     verifier.json and the table

The limits are set by hand, in verifier.json. Times are recorded, never held
against anything.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
from xml.etree import ElementTree

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
BUDGET = HERE / "verifier.json"
PAGE = TOP / "docs" / "verifier.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
PROPERTY = "verifier"  # of a JUnit report
OPTIONAL = {"fw_local_in", "fw_local_out"}  # types that not all kernels have


def measure(build):
    """Load each program alone: {"release", "programs": {name: figures}}."""
    done = subprocess.run([pathlib.Path(build) / "selftests/prog/verifier"], text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def read_budget():
    """verifier.json: {"limits": ..., "recorded": {kernel: measurement}}."""
    return json.loads(BUDGET.read_text("utf-8"))


def over_budget(limits, measured):
    """Complaints about a measurement, one a program and limit."""
    complaints = []
    if limits.keys() - OPTIONAL != measured["programs"].keys() - OPTIONAL:
        complaints.append(f"limits for {', '.join(limits)}; "
                          f"programs are {', '.join(measured['programs'])}")
    for name, limit in limits.items():
        figures = measured["programs"].get(name)
        if not figures:
            continue
        for what, value in (("insns", figures["insns"]), ("stack", figures["stack"][0])):
            if value > limit[what]:
                complaints.append(f"{name} on {measured['release']}: {what} {value}, "
                                  f"the limit is {limit[what]}")
    return complaints


def table(budget):
    """The recorded figures against the limits, as Markdown."""
    lines = ["| program | kernel | instructions | of the limit | stack, bytes | limit "
             "| functions it calls | verified in ms |",
             "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |"]
    for name, limit in budget["limits"].items():
        for kernel, measured in budget["recorded"].items():
            figures = measured["programs"].get(name)
            if not figures:
                continue
            own, *called = figures["stack"]
            lines.append(f"| `{name}` | {kernel} | {figures['insns']} "
                         f"| {100 * figures['insns'] / limit['insns']:.0f} % of {limit['insns']} "
                         f"| {own} | {limit['stack']} | {', '.join(map(str, called))} "
                         f"| {figures['verify_us'] / 1000:.0f} |")
    releases = ", ".join(m["release"] for m in budget["recorded"].values())
    return "\n".join([*lines, "", f"Kernels: {releases}.", ""])


def page_table():
    """The table that stands in docs/verifier.md."""
    return PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def read_measurements(path):
    """Measurements in a JSON file or in a JUnit report."""
    text = path.read_text("utf-8")
    if path.suffix != ".xml":
        return [json.loads(text)]
    found = [p.get("value") for p in ElementTree.fromstring(text).iter("property")
             if p.get("name") == PROPERTY]
    if not found:
        raise SystemExit(f"{path}: nothing of the verifier in there")
    return [json.loads(value) for value in found]


def _dump(budget):
    """JSON with a line a program."""
    def rows(programs, indent):
        return ",\n".join(f"{indent}{json.dumps(k)}: {json.dumps(v)}"
                          for k, v in programs.items())
    kernels = ",\n".join(
        f'    "{kernel}": {{\n      "release": {json.dumps(m["release"])},\n'
        f'      "programs": {{\n{rows(m["programs"], " " * 8)}\n      }}\n    }}'
        for kernel, m in budget["recorded"].items())
    return (f'{{\n  "limits": {{\n{rows(budget["limits"], " " * 4)}\n  }},\n'
            f'  "recorded": {{\n{kernels}\n  }}\n}}\n')


def record(measurements):
    """Write measurements, each in place of the older one of its kernel."""
    budget = read_budget()
    for measured in measurements:
        kernel = re.match(r"\d+\.\d+", measured["release"])[0]
        budget["recorded"][kernel] = measured
    budget["recorded"] = dict(sorted(
        budget["recorded"].items(), key=lambda item: [int(n) for n in item[0].split(".")]))
    BUDGET.write_text(_dump(budget), "utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(budget) + END + rest.partition(END)[2], "utf-8")


def main():
    """Command line, see above."""
    parser = argparse.ArgumentParser(description="What the programs cost the verifier.")
    parser.add_argument("--record", action="store_true", help="write verifier.json and the table")
    parser.add_argument("--build", default=os.environ.get("FWCTL_BUILD", TOP / "build"))
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    found = [m for path in options.files for m in read_measurements(path)]
    found = found or [measure(options.build)]
    if options.record:
        record(found)
    else:
        print("\n".join(json.dumps(m, indent=2) for m in found))


if __name__ == "__main__":
    main()
