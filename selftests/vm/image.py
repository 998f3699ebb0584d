# SPDX-License-Identifier: GPL-2.0-only
"""The initramfs: three layers, each a cpio archive; the kernel unpacks one after the other.

    userland   programs and Python, as this machine has them, and strongSwan, which it
               does not: scripts/install-deps unpacks it; kept until packages change
    modules    what the suites may need of a kernel's modules; kept with the kernel
    project    what was built, and the tests; made anew each time
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

INSTALL = "/usr/lib/dracut/dracut-install"

# Debian packages whose programs and data are in there, with the libraries they need.
PACKAGES = ("bash", "dash", "coreutils", "util-linux", "mount", "procps", "grep", "sed", "mawk",
            "findutils", "tar", "gzip", "kmod", "iproute2", "iputils-ping", "ethtool",
            "conntrack", "nftables", "iperf3", "curl", "openssh-client", "dropbear-bin",
            "traceroute", "iputils-tracepath", "netbase", "bpftool", "ncurses-base",
            "libc-bin", "libcap2-bin",
            "libgcc-s1")  # which threads look for when they end others
PYTHON = ("python3-pytest", "python3-scapy", "python3-pyte", "python3-wcwidth")
BORING = re.compile(r"/usr/share/(doc|man|info|locale|lintian|bug|bash-completion|menu|"
                    r"initramfs-tools|perl5|pixmaps|applications)/|/etc/(init\.d|cron)|"
                    r"/usr/lib/(systemd|x86_64-linux-gnu/perl)|/test/|/tests/|/idlelib/|/lib2to3/")

# What fwctld and the tests may ask the kernel to load. Nothing of it is loaded at boot.
MODULES = ("=net", "=crypto", "=arch/x86/crypto", "=drivers/net/bonding",
           "=drivers/net/wireguard", "veth", "dummy", "tun", "ifb", "macvlan", "ipvlan",
           "vrf", "vxlan", "geneve", "virtio_pci", "virtio_console")

FOLDERS = ("kern", "rules", "user", "selftests", "scripts", "docs")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".pytest_cache", "*.o", "fuzz")


def _run(*argv, **kwargs):
    done = subprocess.run([str(a) for a in argv], check=False, text=True, capture_output=True,
                          **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _pack(root, target):
    """A cpio archive of everything below `root`."""
    partial = target.with_name(target.name + ".part")
    with open(partial, "wb") as out:
        subprocess.run("find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0", shell=True,
                       cwd=root, stdout=out, check=True)
    partial.rename(target)
    return target


# ---- userland --------------------------------------------------------------------------


def _python_packages():
    """PYTHON and the packages of Python that they depend on."""
    lines = _run("apt-cache", "depends", "--recurse", "--installed", "--no-recommends",
                 "--no-suggests", "--no-enhances", "--no-conflicts", "--no-breaks",
                 "--no-replaces", *PYTHON, "python3").splitlines()
    return sorted({line for line in lines if re.match(r"(lib)?python3", line)})


def _base_root(root):
    """The empty tree; /bin, /lib and /sbin are links as on any Debian since 12."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "etc", "var/tmp", "results"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n"
                                         "nobody:x:65534:65534::/:/bin/false\n", "ascii")
    (root / "etc" / "shells").write_text("/bin/bash\n", "ascii")
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n", "ascii")


def _linked_with(programs, folder="/nonexistent"):
    """Libraries that programs need, looked for in a folder first."""
    found = set()
    environment = dict(os.environ, LD_LIBRARY_PATH=str(folder))
    for line in _run("ldd", *programs, env=environment).splitlines():
        if "not found" in line:
            raise RuntimeError(line.strip())
        # The programs themselves stand in the lines that begin at once.
        if line[:1].isspace():
            found.update(pathlib.Path(p) for p in re.findall(r"(/\S+\.so\S*)", line))
    return sorted(p for p in found if p.exists())


def _is_elf(path):
    with open(path, "rb") as f:
        return f.read(4) == b"\x7fELF"


def _install(root, paths):
    """Copy files, programs with their libraries."""
    programs = [p for p in paths if _is_elf(p)]
    data = [p for p in paths if not _is_elf(p)]
    _run(INSTALL, "-D", root, "-a", "-l", *programs)
    # Under their real names: /bin is a link in the image, too.
    names = "\0".join(str(p.parent.resolve() / p.name).lstrip("/") for p in data)
    subprocess.run(["cpio", "--quiet", "-0", "-pdmu", str(root)], input=names, text=True,
                   cwd="/", check=True, stderr=subprocess.DEVNULL)


def _add_strongswan(root, folder):
    """Copy an unpacked strongSwan, with the libraries of this machine that it needs."""
    own = folder / "usr/lib/ipsec"
    shutil.copytree(own, root / "usr/lib/ipsec", symlinks=True)
    shutil.copytree(folder / "usr/sbin", root / "usr/sbin", dirs_exist_ok=True)
    programs = [p for p in [*own.rglob("*.so"), *(folder / "usr/sbin").iterdir()] if _is_elf(p)]
    _run(INSTALL, "-D", root, "-a", "-l",
         *(p for p in _linked_with(programs, own) if not p.is_relative_to(folder)))


def _names(folder):
    """What tells one unpacked package from another; empty if there is none."""
    return "".join(f"{p} {p.stat().st_mtime_ns}\n" for p in sorted(folder.glob("usr/*/*")))


def userland(cache):
    """The layer of programs: packages of this machine, and strongSwan if it is unpacked."""
    packages = [*PACKAGES, *_python_packages()]
    versions = _run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages)
    strongswan = cache.parent / "strongswan"
    key = hashlib.sha256((versions + _names(strongswan)
                          + pathlib.Path(__file__).read_text("utf-8")).encode())
    target = cache / f"userland-{key.hexdigest()[:16]}.cpio"
    if target.exists():
        return target
    paths = sorted({pathlib.Path(line) for line in _run("dpkg", "-L", *packages).splitlines()
                    if line.startswith("/") and not BORING.search(line)})
    paths = [p for p in paths if p.is_file()]
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        root = pathlib.Path(folder)
        _base_root(root)
        _install(root, paths)
        if strongswan.exists():
            _add_strongswan(root, strongswan)
        (root / "usr/bin/awk").symlink_to("mawk")
        # The kernel gives unpacked files a new time: bytecode must not depend on it.
        libraries = next((root / "usr/lib").glob("python3.*")), root / "usr/lib/python3"
        _run("/usr/bin/python3", "-m", "compileall", "-q", "-f", "--invalidation-mode",
             "unchecked-hash", "-s", root, *libraries)
        for old in cache.glob("userland-*.cpio"):
            old.unlink()
        return _pack(root, target)


# ---- modules ---------------------------------------------------------------------------


def modules(kernel):
    """The layer of a kernel's modules."""
    key = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:16]
    target = kernel.root / f"modules-{key}.cpio"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=kernel.root) as folder:
        root = pathlib.Path(folder)
        _run(INSTALL, "-D", root, "--kerneldir", kernel.modules, "-o", "-m", *MODULES)
        here = root / "usr/lib/modules" / kernel.release
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            shutil.copy(kernel.modules / name, here)
        _run("depmod", "-b", root, kernel.release)
        for old in kernel.root.glob("modules-*.cpio"):
            old.unlink()
        return _pack(root, target)


# ---- project ---------------------------------------------------------------------------


def _built(build):
    """Programs of a build, without objects and libraries."""
    suites = [f"selftests/{name}/*" for name in ("prog", "datapath", "mirror", "bench")]
    for pattern in ("user/fw*", *suites):
        for path in sorted(build.glob(pattern)):
            if path.is_file() and not path.suffix and _is_elf(path):
                yield path


def project(top, build, job, cache):
    """The layer of what is tested: the tree, the build as /fwctl/build, the job."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        root = pathlib.Path(folder)
        for name in FOLDERS:
            shutil.copytree(top / name, root / "fwctl" / name, ignore=LEFT_OUT)
        programs = list(_built(build))
        for path in programs:
            target = root / "fwctl/build" / path.relative_to(build)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        (root / "fwctl/build/kern").mkdir()
        shutil.copy(build / "kern/fwctl.bpf.o", root / "fwctl/build/kern")
        _libraries(root, programs)
        shutil.copy(HERE / "init", root / "init")
        (root / "job").write_text(job, "utf-8")
        return _pack(root, cache / f"project-{hashlib.sha256(job.encode()).hexdigest()[:8]}.cpio")


def _libraries(root, programs):
    """What the built programs are linked with."""
    (root / "usr/lib").mkdir(parents=True, exist_ok=True)
    _run(INSTALL, "-D", root, "-a", "-l", *_linked_with(programs))
    for name in ("bin", "lib", "lib64", "sbin"):  # the userland has these links
        if (root / name).is_symlink():
            (root / name).unlink()
