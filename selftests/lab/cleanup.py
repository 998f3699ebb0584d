# SPDX-License-Identifier: GPL-2.0-only
"""Finds and removes what a lab leaves behind, also a lab whose process was killed.

Each lab has a directory below STATE_DIR with its owner's process id and start
time; nothing but what bears the name of a lab is ever touched.
"""

import contextlib
import json
import os
import pathlib
import shutil

from .netns import RUN_NETNS, end_processes, sh

STATE_DIR = pathlib.Path("/run/fwctl-lab")
BPFFS = pathlib.Path("/sys/fs/bpf")
PIN_DIR = BPFFS / "fwctl"
RUN_DIR = pathlib.Path("/run/fwctl")


def is_bpffs():
    """True if a bpf file system is mounted on /sys/fs/bpf."""
    return os.path.ismount(BPFFS)


def _start_time(pid):
    """Start time of a process in ticks, or None if there is none."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _state_file(name):
    return STATE_DIR / name / "lab.json"


def _read_state(name):
    try:
        return json.loads(_state_file(name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {"pid": 0, "start": 0, "had_bpffs": True}


def claim(name, had_bpffs):
    """Make the directory of a new lab, owned by this process.

    It appears with its state inside, or another lab would take it for a dead one.
    """
    partial = STATE_DIR / f".{name}"
    partial.mkdir(mode=0o700, parents=True)
    pid = os.getpid()
    state = {"pid": pid, "start": _start_time(pid), "had_bpffs": had_bpffs}
    (partial / "lab.json").write_text(json.dumps(state), encoding="ascii")
    partial.rename(STATE_DIR / name)


def is_dead(name):
    """True if the process that made a lab is gone."""
    state = _read_state(name)
    return _start_time(state["pid"]) != state["start"]


def remove_dead_labs():
    """Remove what earlier runs left because they were killed."""
    if STATE_DIR.is_dir():
        for path in STATE_DIR.iterdir():
            if path.name[0] != "." and is_dead(path.name):
                remove(path.name)


def remove_namespace(name):
    """Remove a namespace with its processes, pins and run directory.

    The directories bear its inode and go first: once the namespace is gone the
    kernel gives that inode to the next one, of another lab.
    """
    try:
        inode = os.stat(f"{RUN_NETNS}/{name}").st_ino
    except FileNotFoundError:
        return
    end_processes(name)
    shutil.rmtree(PIN_DIR / f"netns-{inode}", ignore_errors=True)
    shutil.rmtree(RUN_DIR / f"netns-{inode}", ignore_errors=True)
    sh("ip", "netns", "del", name, check=False)


def remove(name):
    """Remove the namespaces of one lab and all that belongs to them."""
    state = _read_state(name)
    if os.path.isdir(RUN_NETNS):
        for ns in os.listdir(RUN_NETNS):
            if ns.startswith(name + "-"):
                remove_namespace(ns)
    shutil.rmtree(STATE_DIR / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        STATE_DIR.rmdir()
        _remove_shared(state["had_bpffs"])


def _remove_shared(had_bpffs):
    """The last lab is gone: remove what all of them used and nobody else does."""
    for path in (PIN_DIR, RUN_DIR):
        with contextlib.suppress(OSError):
            path.rmdir()
    # The kernel itself puts two files there.
    if not had_bpffs and is_bpffs() and (
            {path.name for path in BPFFS.iterdir()} <= {"maps.debug", "progs.debug"}):
        sh("umount", BPFFS, check=False)
