# SPDX-License-Identifier: GPL-2.0-only
"""What was measured, kept in one JSON file: later runs add points or replace them."""

import datetime
import json
import os
import pathlib
import platform
import re

from lab.lab import TOP
from lab.netns import sh


def machine():
    """What the figures depend on."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii")
    model = re.search(r"model name\s*:\s*(.*)", cpuinfo)
    flags = re.search(r"^flags\s*:(.*)", cpuinfo, re.M)
    mem = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
    family = re.search(r"cpu family\s*:\s*(\d+)", cpuinfo)
    number = re.search(r"^model\s*:\s*(\d+)", cpuinfo, re.M)
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": platform.release(),
        "cpu": (model[1] if model else platform.machine())
        + (f" (family {family[1]}, model {number[1]})" if family and number else ""),
        "cpus": os.cpu_count(),
        "virtual": bool(flags and " hypervisor" in flags[1]),
        "memory_gib": round(int(re.search(r"MemTotal:\s+(\d+)", mem)[1]) / 2 ** 20),
    }


def version(*argv):
    """First line of what a program says of its version."""
    done = sh(*argv, check=False)
    return ((done.stdout or done.stderr).strip().splitlines() or [""])[0]


class Results:
    """The file of a directory."""

    def __init__(self, folder, name="results.json"):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / name
        self.data = {"machine": {}, "versions": {}, "commands": [], "points": {}, "loads": {},
                     "skipped": {}}
        if self.path.exists():
            self.data = json.loads(self.path.read_text(encoding="utf-8"))

    def begin(self, command, versions):
        """A run begins."""
        self.data["machine"] = machine()
        self.data["versions"].update(versions)
        commit = version("git", "-C", str(TOP), "rev-parse", "--short=12", "HEAD")
        if commit and "fatal" not in commit:
            self.data["versions"]["fwctl"] = commit
        if command not in self.data["commands"]:
            self.data["commands"].append(command)

    @staticmethod
    def key(case, peer, *more):
        """Name of a point: kind/family/size/peer/…"""
        kind = case.kind if getattr(case, "name", "generated") == "generated" else case.name
        return "/".join(map(str, (kind, case.family, case.size, peer, *more)))

    def put(self, what, key, value):
        """Add or replace; a point that was skipped before is no longer."""
        for table in ("points", "loads"):
            if what in (table, "skipped"):
                self.data[table].pop(key, None)
        self.data["skipped"].pop(key, None)
        self.data[what][key] = value

    def save(self):
        """Write the file anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for table in ("points", "loads", "skipped"):
            self.data[table] = dict(sorted(self.data[table].items()))
        text = json.dumps(_rounded(self.data), indent=1)
        # One line a point.
        text = re.sub(r"\{\n\s+([^{}]*?)\n\s+\}",
                      lambda m: "{" + re.sub(r"\n\s+", " ", m[1]) + "}", text)
        partial = self.path.with_suffix(".tmp")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.rename(self.path)

    def point(self, *parts):
        """A point by the parts of its name, or None."""
        return self.data["points"].get("/".join(map(str, parts)))

    def load(self, *parts):
        """What a load took, or None."""
        return self.data["loads"].get("/".join(map(str, parts)))

    def reason(self, *parts):
        """Why a point is missing, or None."""
        for n in (len(parts), len(parts) - 1):
            found = self.data["skipped"].get("/".join(map(str, parts[:n])))
            if found:
                return found
        return None

    def sizes(self, kind, family):
        """Sizes of which there are points."""
        found = {int(k.split("/")[2]) for k in self.data["points"]
                 if k.startswith(f"{kind}/{family}/")}
        return sorted(found)


def _rounded(value):
    """Four digits are more than the machine is good for."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return value
