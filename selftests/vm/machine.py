# SPDX-License-Identifier: GPL-2.0-only
"""One virtual machine: boot, watch its console, take its results; a hang or a panic is told."""

import contextlib
import os
import pathlib
import platform
import re
import subprocess
import tarfile
import time

CPUS, MEMORY_MIB = 2, 3072
# QEMU's emulation is several times slower than the processor; "icount" by its own clock.
SLOWNESS = {"tcg": 5, "icount": 2, "kvm": 1}
PROBE_S = 20
PROBE_OK = "fwctl-probe-ok"
SILENCE_S = 300

# Lines that no healthy kernel writes.
TROUBLE = re.compile(r"Kernel panic|BUG: |WARNING: CPU|Oops: |general protection fault|"
                     r"INFO: (task|rcu|possible)|soft lockup|Out of memory|unregister_netdevice")


class Failure(Exception):
    """The machine did not get to the end; the text says how far it got."""


def _argv(accel, kernel, initrd, append):
    # One thread for both processors: with two, QEMU 7.2 may run code that the kernel has
    # just patched as it was before ("Oops: int3").
    tcg = "tcg,thread=single,tb-size=512"
    # Each instruction takes two nanoseconds by the machine's clock, and a pause no time by the
    # host's: what is measured there does not depend on what else the host does.
    options = {"tcg": [tcg], "icount": [tcg, "-icount", "shift=1,sleep=off"],
               "kvm": ["kvm"]}[accel]
    # With `erms` the kernel copies and clears byte by byte, which is emulated byte by byte;
    # wide registers are slow, too, and kept by every switch of tasks.
    emulated = "max,la57=off,erms=off,avx=off,avx2=off,xsave=off"
    model = "host" if accel == "kvm" else emulated
    # The machine goes when this process goes, however it went.
    return ["setpriv", "--pdeathsig", "KILL", f"qemu-system-{platform.machine()}",
            "-accel", *options, "-cpu", model, "-smp", str(CPUS), "-m", str(MEMORY_MIB),
            "-no-reboot", "-nodefaults", "-display", "none", "-kernel", str(kernel.vmlinuz),
            "-initrd", str(initrd),
            "-append", f"console=ttyS0 panic=-1 oops=panic loglevel=5 mitigations=off "
            f"nokaslr {append}"]


def accelerator(kernel, initrd, cache):
    """"kvm" if a machine with it comes up here, or else "tcg"; asked once a boot."""
    boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    memory = cache / "accelerator"
    with contextlib.suppress(OSError, ValueError):
        known, answer = memory.read_text("ascii").split()
        if known == boot_id:
            return answer
    answer = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"
    if answer == "kvm":
        argv = [*_argv("kvm", kernel, initrd, "quiet"), "-serial", "stdio"]
        try:
            done = subprocess.run(argv, timeout=PROBE_S, capture_output=True, check=False,
                                  stdin=subprocess.DEVNULL)
            answer = "kvm" if PROBE_OK.encode() in done.stdout else "tcg"
        except subprocess.TimeoutExpired:
            answer = "tcg"
    memory.write_text(f"{boot_id} {answer}", "ascii")
    return answer


def concatenate(layers, target):
    """One initramfs of several archives."""
    with open(target, "wb") as out:
        for layer in layers:
            data = layer.read_bytes()
            out.write(data + b"\0" * (-len(data) % 4))
    return target


def shell(accel, kernel, initrd):
    """A machine whose console is this terminal; returns when it is switched off."""
    argv = [*_argv(accel, kernel, initrd, "quiet"), "-serial", "mon:stdio"]
    return subprocess.run(argv, check=False).returncode


class Machine:
    """A machine at work in the background, its files below `folder`."""

    def __init__(self, accel, kernel, initrd, folder, silence_s=SILENCE_S):
        folder.mkdir(parents=True, exist_ok=True)
        self.kernel, self.folder = kernel, folder
        self.console, self._archive = folder / "console.log", folder / "results.tar"
        for path in (self.console, self._archive):
            path.unlink(missing_ok=True)
        self._errors = open(folder / "qemu.log", "wb")  # pylint: disable=consider-using-with
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [*_argv(accel, kernel, initrd, ""), "-serial", f"file:{self.console}",
             "-device", "virtio-serial-pci", "-chardev", f"file,id=results,path={self._archive}",
             "-device", "virtserialport,chardev=results,name=results"],
            stdin=subprocess.DEVNULL, stdout=self._errors, stderr=subprocess.STDOUT)
        self._start = self._heard = time.monotonic()
        self._size, self._silence_s = 0, silence_s

    @property
    def seconds(self):
        """How long it has been running."""
        return time.monotonic() - self._start

    def is_running(self):
        """False once it has switched itself off; a silent one is ended, with Failure."""
        if self._process.poll() is not None:
            return False
        size = self.console.stat().st_size if self.console.exists() else 0
        if size != self._size:
            self._size, self._heard = size, time.monotonic()
        if time.monotonic() - self._heard > self._silence_s:
            self.end()
            raise Failure(f"hangs: nothing on the console for {self._silence_s} s")
        return True

    def end(self):
        """Switch it off hard; fine if it is off."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def tail(self, lines=40):
        """The last lines of the console."""
        text = self.console.read_text("utf-8", "replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def trouble(self):
        """Lines of the console that report a fault of the kernel."""
        text = self.console.read_text("utf-8", "replace")
        return [line for line in text.splitlines()
                if TROUBLE.search(line) and not re.match(r"[a-z_-]+\| ", line)]

    def results(self):
        """Unpack what it delivered; the folder that holds it."""
        self.end()
        try:
            with tarfile.open(self._archive) as archive:
                archive.extractall(self.folder)
        except (OSError, tarfile.TarError) as error:
            raise Failure(f"ended without results ({error})") from None
        self._archive.unlink()
        return self.folder
