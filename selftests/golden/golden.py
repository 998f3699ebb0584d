#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Compare what the rule compiler prints with the files that say what it should.

    golden.py PROGRAM            compare
    golden.py PROGRAM --update   write the files anew; look at the difference

Each cases/NAME.conf, and each rules/examples/NAME.conf, has beside it in cases/:
NAME.err (messages), and if it compiles NAME.print (canonical form) and NAME.dump
(intermediate form). What compiles must also be a fixed point: its canonical form
prints itself, and means the same.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE / "cases"
EXAMPLES = HERE.parent.parent / "rules" / "examples"
MANUAL = HERE.parent.parent / "docs" / "fwctl.rules.5"
QUOTED = ("host.conf", "gateway.conf", "blocklist.txt")


def run(program, view, path):
    """Run in the folder of the file: messages then name it without a path."""
    return subprocess.run([program, view, path.name], cwd=path.parent,
                          capture_output=True, check=False)


def views(program, path):
    """All views of one file: {suffix: bytes}."""
    result = run(program, "check", path)
    found = {"err": result.stderr}
    if result.returncode not in (0, 1):
        raise RuntimeError(f"exit status {result.returncode}: {result.stderr!r}")
    if result.returncode == 0:
        for view in ("print", "dump"):
            found[view] = run(program, view, path).stdout
    return found


def without_places(dump):
    return re.sub(rb"(?m)^(row \d+) line \d+", rb"\1", dump)


def check_fixed_point(program, found):
    """The canonical form must print and mean the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "again.conf"
        path.write_bytes(found["print"])
        again = views(program, path)
    if again.get("print") != found["print"]:
        return "its canonical form prints something else"
    if without_places(again["dump"]) != without_places(found["dump"]):
        return "its canonical form means something else"
    return None


def check(program, path, update):
    """Return what is wrong, or None."""
    found = views(program, path)
    for suffix in ("err", "print", "dump"):
        want = CASES / f"{path.stem}.{suffix}"
        text = found.get(suffix)
        if update:
            if text is None:
                want.unlink(missing_ok=True)
            else:
                want.write_bytes(text)
        elif text is None:
            if want.exists():
                return f"it should compile: {want.name} exists"
        elif not want.exists():
            return f"{want.name} is missing"
        elif want.read_bytes() != text:
            diff = subprocess.run(["diff", "-u", str(want), "-"], input=text,
                                  capture_output=True, check=False)
            return f"{want.name} differs\n{diff.stdout.decode(errors='replace')}"
    if "print" in found:
        return check_fixed_point(program, found)
    return None


def check_manual():
    """The manual quotes examples; they must be the files that are tested."""
    manual = MANUAL.read_text(encoding="utf-8")
    for name in QUOTED:
        if (EXAMPLES / name).read_text(encoding="utf-8") not in manual:
            return f"{MANUAL.name} quotes another {name}"
    return None


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    update = "--update" in sys.argv[2:]
    paths = sorted(CASES.glob("*.conf")) + sorted(EXAMPLES.glob("*.conf"))
    tests = [(path.stem, lambda path=path: check(program, path, update))
             for path in paths]
    tests.append(("the manual quotes the examples", check_manual))
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        wrong = test()
        failed += wrong is not None
        print(f"{'not ok' if wrong else 'ok'} {number} - {name}")
        for line in (wrong or "").splitlines():
            print(f"# {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
