# SPDX-License-Identifier: GPL-2.0-only
"""scripts/test-vm: boot kernels, run the suites in there, count what they report."""

import argparse
import pathlib
import subprocess
import sys
import time

from . import image, job, kernels, machine

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
# Features that every machine has; a test that misses one here found a hole in the image.
EXPECTED = "vlan bond bridge esp xfrmi strongswan netem modules vm"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/test-vm", description="Run the prog and netns suites on other kernels.")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", default=kernels.MATRIX,
                        help="a version, e.g. 6.1, or the name of a Debian package; "
                        f"default: {' '.join(kernels.MATRIX)}")
    parser.add_argument("-i", "--interactive", action="store_true",
                        help="a shell in the machine instead of tests")
    parser.add_argument("-k", metavar="PATTERN", help="only tests whose name matches")
    parser.add_argument("--main", action="store_true",
                        help="only the fixed part that scripts/test runs")
    parser.add_argument("--flavour", default="cloud", help="of Debian's packages; '' for the "
                        "standard kernel (default: %(default)s)")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build",
                        help="meson build directory with the tests (default: build)")
    parser.add_argument("--accel", choices=sorted(machine.SLOWNESS),
                        help="default: kvm if it works here, or else tcg; icount is tcg with a "
                        "clock that counts instructions, to measure with")
    parser.add_argument("--one-by-one", action="store_true", help="not all machines at once")
    return parser.parse_args()


class Run:
    """The machines of one call, their files and counts."""

    def __init__(self, options):
        self.options = options
        self.build = options.build.resolve()
        self.cache = self.build / "cache" / "vm"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.passed = self.failed = 0
        self.accel = options.accel

    def environment(self):
        """What the tests are told about the machine."""
        return {"FWCTL_SLOWNESS": machine.SLOWNESS[self.accel], "FWCTL_EXPECT": EXPECTED,
                "FWCTL_EVERY": 1}

    def prepare(self, version):
        """Kernel and initramfs without a job: (kernel, layers)."""
        kernel = kernels.get(version, self.cache, self.options.flavour)
        layers = [image.userland(self.cache), image.modules(kernel)]
        if not self.accel:
            probe = image.project(TOP, self.build, f"echo {machine.PROBE_OK}\n", self.cache)
            initrd = machine.concatenate([*layers, probe], self.cache / "probe.img")
            self.accel = machine.accelerator(kernel, initrd, self.cache)
            initrd.unlink()
        return kernel, layers

    def initrd(self, kernel, layers, text):
        """The whole initramfs with a job in it."""
        project = image.project(TOP, self.build, text, self.cache)
        target = self.cache / f"{kernel.name}.img"
        machine.concatenate([*layers, project], target)
        project.unlink()
        return target

    def shell(self, version):
        """Boot one kernel with a shell."""
        kernel, layers = self.prepare(version)
        initrd = self.initrd(kernel, layers, job.shell(self.environment()).text)
        return machine.shell(self.accel, kernel, initrd)

    # ---- tests -------------------------------------------------------------------------

    def start(self, version):
        """Boot one kernel with the tests: (machine, job)."""
        kernel, layers = self.prepare(version)
        part = "main" if self.options.main else "all"
        todo = job.make(self.build, part, self.options.k, self.environment())
        folder = self.build / "vm" / kernel.name
        print(f"booting Linux {kernel.release} ({self.accel}); console: "
              f"{folder.relative_to(TOP) if folder.is_relative_to(TOP) else folder}/console.log",
              flush=True)
        for old in folder.glob("*"):
            old.unlink()
        return machine.Machine(self.accel, kernel, self.initrd(kernel, layers, todo.text),
                               folder), todo

    def fail(self, name, text):
        """One more failure, told at once."""
        self.failed += 1
        print(f"failed   {name}: {text}")

    def collect(self, vm, todo):
        """Count the reports of a machine that has ended."""
        name = f"Linux {vm.kernel.release}"
        passed, failed = self.passed, self.failed
        print(f"\n== {name}")
        for line in vm.trouble():
            self.fail(name, line)
        folder = vm.results()
        for report in todo.reports:
            self.count(folder / f"{report}.xml", f"{vm.kernel.name} {report}")
        if not self.options.k and self.passed == passed:
            self.fail(name, "no test ran")
        print(f"== {name}: {self.passed - passed} passed, {self.failed - failed} failed "
              f"({vm.seconds:.0f} s)", flush=True)

    def count(self, path, name):
        """Add up one report."""
        if not path.exists():
            self.fail(name, f"left no report; see {path.with_suffix('.log')}")
            return
        done = subprocess.run([sys.executable, "-m", "lab.tally", "junit", path], check=False,
                              cwd=TOP / "selftests", text=True, stdout=subprocess.PIPE)
        *report, sums = done.stdout.splitlines() or ["0 1"]
        passed, failed = map(int, sums.split())
        print("\n".join([*report, f"{name}: {passed} passed, {failed} failed"]), flush=True)
        self.passed += passed
        self.failed += failed

    def tests(self):
        """Boot what was asked for and wait for it."""
        if self.options.one_by_one:
            for version in self.options.kernels:
                self.wait([self.start(version)])
        else:
            self.wait([self.start(version) for version in self.options.kernels])

        if not self.options.k and not self.options.main:
            self.matrix()

    def matrix(self):
        """Say which tests ran on no kernel yet, this machine's included if it has reports."""
        reports = [f"host={path}" for path in sorted(TOP.glob("build-asan/*.xml"))]
        reports += [f"{path.parent.name}={path}"
                    for path in sorted((self.build / "vm").glob("*/*.xml"))]
        print("\n== matrix", flush=True)
        subprocess.run([sys.executable, "-m", "lab.matrix", "-o", self.build / "vm/matrix.txt",
                        *reports], check=False, cwd=TOP / "selftests")

    def wait(self, running):
        """Watch machines, each with its job, until the last has ended; count them."""
        running = list(running)
        while running:
            time.sleep(0.5)
            for vm, todo in list(running):
                try:
                    if vm.is_running():
                        continue
                    self.collect(vm, todo)
                except machine.Failure as failure:
                    self.fail(f"Linux {vm.kernel.release}",
                              f"{failure}; the end of {vm.console}:\n{vm.tail()}")
                running.remove((vm, todo))


def main():
    """Returns the exit status."""
    options = arguments()
    run = Run(options)
    try:
        if options.interactive:
            return run.shell(options.kernels[0])
        run.tests()
    except kernels.Missing as error:
        print(f"test-vm: {error}", file=sys.stderr)
        run.failed += 1
    print(f"\n{run.passed} passed, {run.failed} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
