# SPDX-License-Identifier: GPL-2.0-only
"""Debian's kernel packages: found, downloaded and unpacked, never installed."""

import dataclasses
import functools
import pathlib
import re
import shutil
import subprocess

# What `scripts/test-vm` runs when nobody names a kernel, oldest first.
MATRIX = ("6.1", "6.12")


class Missing(Exception):
    """There is no such kernel; the text says what was looked for."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    name: str  # "6.1"
    release: str  # what `uname -r` says in there
    root: pathlib.Path  # holds boot/ and lib/modules/

    @property
    def vmlinuz(self):
        """The image to boot."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self):
        """/lib/modules/RELEASE of this kernel."""
        return self.root / "lib" / "modules" / self.release


def _run(*argv, **kwargs):
    done = subprocess.run(argv, check=False, text=True, capture_output=True, **kwargs)
    if done.returncode != 0:
        raise Missing(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@functools.cache
def _architecture():
    return _run("dpkg", "--print-architecture").strip()


def _by_version(name):
    return [int(n) for n in re.findall(r"\d+", name)]


def find_package(version, flavour):
    """Name of the newest package of a kernel; a whole package name is itself.

    `version` is "6.1" or "linux-image-6.1.0-47-amd64", `flavour` "cloud" or "".
    """
    if version.startswith("linux-image-"):
        return version
    suffix = "-".join(filter(None, (flavour, _architecture())))
    pattern = rf"^linux-image-{re.escape(version)}\.[0-9.]+(\+[a-z0-9]+|-[0-9]+)?-{suffix}$"
    names = _run("apt-cache", "pkgnames", f"linux-image-{version}.").split()
    found = [name for name in names if re.match(pattern, name)]
    if not found:
        raise Missing(f"no package linux-image-{version}.*-{suffix}: try apt-get update")
    return max(found, key=_by_version)


def _unpack(package, target):
    """Download a package into `target` and unpack it there."""
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # apt drops its privileges to a user who must be able to write here.
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=partial)
    archive = next(partial.glob("*.deb"))
    _run("dpkg-deb", "-x", archive, partial)
    archive.unlink()
    release = next((partial / "lib" / "modules").iterdir()).name
    _run("depmod", "-b", partial, release)
    partial.rename(target)


def get(version, cache, flavour="cloud"):
    """The kernel of a version, from the cache or from Debian's archive."""
    package = find_package(version, flavour)
    root = cache / package
    if not root.exists():
        _unpack(package, root)
    release = next((root / "lib" / "modules").iterdir()).name
    return Kernel(version.removeprefix("linux-image-"), release, root)
