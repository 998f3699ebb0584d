# SPDX-License-Identifier: GPL-2.0-only
"""What a machine is to do: shell text for the guest's init, and the reports it owes.

The guest has two CPUs, so there are two chains of suites side by side, and beside
them what only waits. Tests that unload modules come first and alone, then those that
change the size of the connection table, which all namespaces share.
"""

import dataclasses
import json
import shlex
import shutil
import subprocess

# Suites of C programs that speak to the kernel; the first is in the fixed part, too.
C_SUITES = ("prog", "netns", "bench")
PATIENCE_S = 300  # with each of them on a usual machine, or what meson has

NETNS = "selftests/netns"
MODULES = f"{NETNS}/test_modules.py"
TABLE = f"{NETNS}/test_table_full.py"
# One part of the files; the others, which take about as long, are the second.
FIRST = ("adopt", "antispoof", "bench", "bridge", "daemon", "flows", "fragments", "lab",
         "neighbours", "sanity", "scale", "sets")
# Of the prog suite, what asks least of a kernel; the fixed part leaves it to prog-oracle.
PARSERS = [f"--ignore=selftests/prog/test_{name}.py"
           for name in ("parse", "protocols", "fragments")]
# Every flag in every state, again and again for other bits of the mark: a whole run has them.
EVERY_FLAG = ("prog-tcp-16", "prog-tcp-0", "prog-tcp-9", "prog-tcp-moving-16",
              "prog-tcp-moving-0")
# Files that make half of the fixed part.
TAGGED = ("ipsec", "vlan")


@dataclasses.dataclass
class Job:
    """Text of /job, and the names of the reports that must come back."""

    text: str
    reports: list


def _suite(name, *arguments):
    return name, shlex.join(["suite", name, *arguments])


def _programs(build, suites, slowness=1):
    """(name, command) of the test programs of some suites."""
    done = subprocess.run(["meson", "introspect", "--tests", str(build)], check=True, text=True,
                          capture_output=True)
    return [(test["name"], shlex.join(["program", test["name"],
                                       str(max(test["timeout"], PATIENCE_S) * slowness),
                                       test["cmd"][0].removeprefix(f"{build}/"),
                                       *test["cmd"][1:]]))
            for test in json.loads(done.stdout)
            if set(suites) & {name.rpartition(":")[2] for name in test["suite"]}]


def _chains(build, part, pattern, slowness):
    """Three lists of (name, command)."""
    only = ["-k", pattern] if pattern else []
    if part == "main":
        marked = ["-m", "main", *only]
        tagged = [f"{NETNS}/test_{name}.py" for name in TAGGED]
        rest = [f"--ignore={name}" for name in (*tagged, MODULES, TABLE)]
        return ([_suite("prog", "selftests/prog", *PARSERS, *only),
                 *(program for program in _programs(build, C_SUITES[:1], slowness)
                   if program[0] not in EVERY_FLAG),
                 _suite("main-tagged", *tagged, *marked)],
                [_suite("main", NETNS, *rest, *marked)], [])
    files = [f"{NETNS}/test_{name}.py" for name in FIRST]
    rest = [f"--ignore={name}" for name in (*files, MODULES, TABLE)]
    quick = ["-m", "not waits", *only]
    first = [_suite("prog", "selftests/prog", *only), _suite("first", *files, *quick)]
    if not pattern:
        first += _programs(build, C_SUITES, slowness)
    return (first, [_suite("second", NETNS, *rest, *quick)],
            [_suite("waits", NETNS, "-m", "waits", *only)])


def _chain(commands):
    return "{\n" + "".join(f"\t{command}\n" for _, command in commands) + "} &\n"


def make(build, part="all", pattern=None, environment=None):
    """The job that runs a part of the suites: "all", or "main", the fixed one."""
    head = "".join(f"export {k}={shlex.quote(str(v))}\n" for k, v in (environment or {}).items())
    slowness = (environment or {}).get("FWCTL_SLOWNESS", 1)
    chains = [chain for chain in _chains(build, part, pattern, slowness) if chain]
    only = ["-k", pattern] if pattern else []
    marked = ["-m", "main"] if part == "main" else []
    modules = [_suite("modules", MODULES, *marked, *only)]
    table = [_suite("table", TABLE, *only)] if part == "all" else []
    # Programs that do without fwctld load no modules.
    text = head + modules[0][1] + "\nmodprobe -a nf_conntrack nf_conntrack_netlink\n"
    text += "".join(f"{command}\n" for _, command in table)
    text += "".join(_chain(chain) for chain in chains)
    text += "wait\ndeliver\n"
    return Job(text, [name for chain in (modules, table, *chains) for name, _ in chain])


def shell(environment=None):
    """The job of a person: a shell on the console, `suite` and `program` at hand."""
    head = "".join(f"export {k}={shlex.quote(str(v))}\n" for k, v in (environment or {}).items())
    hint = ("suite NAME FILE... runs tests, e.g.: suite x selftests/netns/test_vlan.py -k parent"
            "\\nctrl-d or exit switches off")
    size = shutil.get_terminal_size()
    return Job(head + "export -f suite program prefixed\n"
               f"stty cols {size.columns} rows {size.lines} </dev/ttyS0\n"
               f"printf '\\n{hint}\\n\\n'\n"
               "setsid -c bash </dev/ttyS0 >/dev/ttyS0 2>&1\n", [])
