# SPDX-License-Identifier: GPL-2.0-only
"""Finds and removes what a lab leaves behind, also a lab whose process was killed.

Each lab has a directory below STATE_DIR with its owner's process id and start
time and the inodes of its namespaces; nothing else is ever touched.
"""

import contextlib
import json
import os
import pathlib
import shutil

from .netns import RUN_NETNS, delete_namespace, sh

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
        return {"pid": 0, "start": 0, "inodes": [], "had_bpffs": True}


def _write_state(name, state):
    path = _state_file(name)
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(state), encoding="ascii")
    partial.replace(path)


def claim(name, had_bpffs):
    """Make the directory of a new lab, owned by this process."""
    STATE_DIR.mkdir(mode=0o700, exist_ok=True)
    (STATE_DIR / name).mkdir(mode=0o700)
    pid = os.getpid()
    _write_state(name, {"pid": pid, "start": _start_time(pid), "inodes": [],
                        "had_bpffs": had_bpffs})


def note_inode(name, inode):
    """Remember a namespace of a lab, whose pins and run directory bear its inode."""
    state = _read_state(name)
    state["inodes"].append(inode)
    _write_state(name, state)


def is_dead(name):
    """True if the process that made a lab is gone."""
    state = _read_state(name)
    return _start_time(state["pid"]) != state["start"]


def remove_dead_labs():
    """Remove what earlier runs left because they were killed."""
    if STATE_DIR.is_dir():
        for path in STATE_DIR.iterdir():
            if path.is_dir() and is_dead(path.name):
                remove(path.name)


def remove(name):
    """Remove namespaces with their processes, pins, and files of one lab."""
    state = _read_state(name)
    if os.path.isdir(RUN_NETNS):
        for ns in os.listdir(RUN_NETNS):
            if ns.startswith(name + "-"):
                delete_namespace(ns)
    for inode in state["inodes"]:
        shutil.rmtree(PIN_DIR / f"netns-{inode}", ignore_errors=True)
        shutil.rmtree(RUN_DIR / f"netns-{inode}", ignore_errors=True)
    shutil.rmtree(STATE_DIR / name, ignore_errors=True)
    # What is still in use by somebody else is not empty, or busy, and stays.
    for path in (PIN_DIR, RUN_DIR, STATE_DIR):
        with contextlib.suppress(OSError):
            path.rmdir()
    if not state["had_bpffs"] and is_bpffs() and not any(BPFFS.iterdir()):
        sh("umount", BPFFS, check=False)
