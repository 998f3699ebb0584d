# SPDX-License-Identifier: GPL-2.0-only
"""Kernels with modules: fwctld loads what is missing, or says why it cannot.

Each test begins with none of the modules loaded. Module files are hidden and put
back, so this is for machines that nobody else uses.
"""

import contextlib
import json
import os
import pathlib
import platform
import signal

import pytest

from lab.lab import WAN
from lab.netns import sh, wait_for
from lab.traffic import TcpEcho, tcp_connect, tcp_talk, tcp_try

pytestmark = [pytest.mark.needs("modules", "vm"), pytest.mark.modes("tc")]

# What fwctl may ask for, the ones that depend on others first.
OURS = ("nf_conntrack_netlink", "nf_conntrack", "cls_bpf", "sch_ingress")
RULES = "default in drop\naccept in on wan proto tcp to self port 7 label seven\n"
MODULES = f"/lib/modules/{platform.release()}"
KERNEL = 4


# ---- modules -------------------------------------------------------------------------


def is_loaded(name):
    """True if the kernel has a module now, whole."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/sys/module/{name}/initstate").read_text(encoding="ascii")
        return text.strip() == "live"
    return False


def remove(name):
    """Unload a module and whatever depends on it; it is gone when this returns."""
    holders = pathlib.Path(f"/sys/module/{name}/holders")

    def is_gone():
        for holder in sorted(os.listdir(holders)) if holders.exists() else ():
            remove(holder)
        if is_loaded(name):
            sh("modprobe", "-r", name, check=False)
        return not os.path.exists(f"/sys/module/{name}")
    wait_for(is_gone, 20, f"{name} to be gone: {sh('lsmod').stdout}")


@contextlib.contextmanager
def hidden(*names, depmod=True):
    """The files of modules are away, and so are they in the index."""
    files = [pathlib.Path(sh("modinfo", "-F", "filename", n).stdout.strip()) for n in names]
    moved = []
    try:
        for path in files:
            moved.append((path.rename(path.with_name(path.name + ".hidden")), path))
        if depmod:
            sh("depmod")
        yield
    finally:
        for away, path in moved:
            away.rename(path)
        if depmod:
            sh("depmod")


@contextlib.contextmanager
def configured(text):
    """A file of modprobe.d."""
    path = pathlib.Path("/etc/modprobe.d/fwctl-test.conf")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_text(text, encoding="ascii")
        yield
    finally:
        path.unlink(missing_ok=True)


@pytest.fixture
def bare(module_lab, mode):
    """The lab of this file, nothing loaded, on a kernel without our modules."""
    module_lab.mode = mode
    module_lab.unload()
    assert_nothing(module_lab)
    for name in OURS:
        remove(name)
    return module_lab


# ---- what is left ----------------------------------------------------------------------


def attached(lab):
    """Programs at interfaces, and the qdiscs that filters hang on."""
    net = json.loads(lab.firewall.run("bpftool", "-j", "net", "show").stdout)[0]
    qdiscs = json.loads(lab.firewall.run("tc", "-j", "qdisc", "show").stdout)
    return net["xdp"] + net["tc"] + [q for q in qdiscs if q["kind"] in ("clsact", "ingress")]


def programs():
    """Names of our programs in the kernel."""
    found = json.loads(sh("bpftool", "-j", "prog", "show").stdout)
    return [p["name"] for p in found if p.get("name", "").startswith("fw_")]


def assert_nothing(lab):
    """No daemon, program, link, qdisc or pin is there."""
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    assert attached(lab) == []
    wait_for(lambda: programs() == [], 5, "programs to be gone")
    assert json.loads(sh("bpftool", "-j", "link", "show").stdout or "[]") == []
    assert not lab.pin_dir.exists()


def refused(lab, wanted, text=RULES):
    """The load fails with this message, whole, and leaves nothing."""
    result = lab.fwctl("load", lab.rules(text), check=False)
    assert result.exit == KERNEL, result
    assert result.err == f"fwctl: {wanted}\n" and not result.out, result
    assert_nothing(lab)


def doctor(lab):
    """(exit status, features by name); it must not have loaded anything."""
    before = [name for name in OURS if is_loaded(name)]
    result = lab.fwctl("doctor", "--json", check=False)
    assert [name for name in OURS if is_loaded(name)] == before
    assert result.json["ok"] == (result.exit == 0), result
    return result.exit, {f["feature"]: f for f in result.json["features"]}


def missing(name):
    """What is said of a module that there is not."""
    return (f"{name} is not loaded and cannot be loaded: no such module in {MODULES}; "
            "install a kernel that has it")


def works(lab):
    """Rules load, and a connection passes."""
    lab.load(RULES)
    with TcpEcho(lab.firewall, WAN[4], 7), tcp_connect(lab.client, WAN[4], 7) as s:
        assert tcp_talk(s)
    assert tcp_try(lab.client, WAN[4], 8, timeout=0.2) == "timeout"


# ---- tests -----------------------------------------------------------------------------


@pytest.mark.main
def test_load_loads_them(bare):
    """What is not loaded is loaded; doctor says beforehand that it can be."""
    lab = bare
    status, features = doctor(lab)
    assert status == 0
    for name in ("nf_conntrack", "nf_conntrack_netlink"):
        assert features[name]["answer"] == "loadable" and features[name]["here"] is True
    for name in ("conntrack kfuncs", "BTF of modules", "size of the connection table"):
        assert features[name]["here"] is None, features[name]
        assert features[name]["detail"] == "unknown until nf_conntrack is loaded"
    works(lab)
    assert is_loaded("nf_conntrack") and is_loaded("nf_conntrack_netlink")
    wait_for(lambda: lab.status()["mirror"]["in_sync"], 5, "the flow table")
    status, features = doctor(lab)
    assert status == 0
    for name in ("nf_conntrack", "nf_conntrack_netlink", "conntrack kfuncs", "BTF of modules"):
        assert features[name]["answer"] == "yes", features[name]


def test_programs_hold_the_module(bare):
    """Nobody can take nf_conntrack away while packets are filtered, daemon or not."""
    lab = bare
    lab.load(RULES)
    os.kill(lab.daemon_pid(), signal.SIGKILL)
    wait_for(lambda: lab.daemon_pid() is None, 5, "fwctld to be gone")
    sh("modprobe", "-r", "nf_conntrack_netlink")
    wait_for(lambda: not is_loaded("nf_conntrack_netlink"), 5, "the module to be gone")
    done = sh("modprobe", "-r", "nf_conntrack", check=False)
    assert done.returncode != 0 and "in use" in done.stderr, done
    # The next daemon gets back what it needs.
    assert lab.status()["rules"]["generation"] == 1
    assert is_loaded("nf_conntrack_netlink")


@pytest.mark.main
@pytest.mark.parametrize("depmod", [True, False], ids=["index", "no-index"])
def test_conntrack_is_missing(bare, depmod):
    """No file: the load is refused, and the module named. With the file it works."""
    lab = bare
    with hidden("nf_conntrack", depmod=depmod):
        refused(lab, missing("nf_conntrack"))
        status, features = doctor(lab)
        assert status == KERNEL
        assert features["nf_conntrack"]["here"] is False
        assert features["nf_conntrack"]["detail"] == "missing"
        assert features["conntrack kfuncs"]["here"] is None
    works(lab)


def test_dependency_is_missing(bare):
    """What nf_conntrack is made of has to be there as well."""
    lab = bare
    remove("nf_defrag_ipv6")
    with hidden("nf_defrag_ipv6"):
        refused(lab, "nf_conntrack is not loaded and cannot be loaded: a module that it depends "
                     f"on is missing in {MODULES}; install a kernel that has it")


def test_running_daemon_says_it_too(bare):
    """A daemon that was there before the load, as under systemd, stays and recovers."""
    lab = bare
    lab.firewall.run(lab.binary("fwctld"), env=lab.environment(), timeout=30)
    pid = lab.daemon_pid()
    try:
        with hidden("nf_conntrack"):
            result = lab.fwctl("load", lab.rules(RULES), check=False)
            assert result.exit == KERNEL, result
            assert result.err == f"fwctl: {missing('nf_conntrack')}\n", result
            assert lab.daemon_pid() == pid
            assert attached(lab) == [] and not lab.pin_dir.exists()
        works(lab)
        assert lab.daemon_pid() == pid
        lab.unload()
    finally:
        os.kill(pid, signal.SIGTERM)
    assert_nothing(lab)


def test_netlink_is_missing(bare):
    """Marks of earlier rules could not be cleared: refused before anything is loaded."""
    lab = bare
    with hidden("nf_conntrack_netlink"):
        refused(lab, missing("nf_conntrack_netlink"))
        status, features = doctor(lab)
        assert status == KERNEL
        assert features["nf_conntrack_netlink"]["here"] is False
        assert features["nf_conntrack"]["here"] is True


def test_blacklist(bare):
    """Who forbids a module in modprobe.d is asked to load it by hand."""
    lab = bare
    with configured("blacklist nf_conntrack\n"):
        refused(lab, "nf_conntrack is not loaded and cannot be loaded: it is blacklisted in "
                     "modprobe.d; load it with 'modprobe nf_conntrack'")
        assert not is_loaded("nf_conntrack")
        status, features = doctor(lab)
        assert status == KERNEL
        assert features["nf_conntrack"]["here"] is False
        assert "blacklisted" in features["nf_conntrack"]["detail"]
        sh("modprobe", "nf_conntrack")
        assert doctor(lab)[0] == 0
        works(lab)


def test_install_command(bare):
    """The commands of modprobe.d are run, and a failure is theirs."""
    lab = bare
    with configured("install nf_conntrack /bin/false\n"):
        refused(lab, "nf_conntrack is not loaded and cannot be loaded: its install command in "
                     "modprobe.d failed (/bin/false); load it with 'modprobe nf_conntrack'")
        assert not is_loaded("nf_conntrack")


def load_without(lab, capability):
    """Load as root that lacks a capability."""
    return lab.firewall.run("setpriv", "--bounding-set", f"-{capability}", lab.binary("fwctl"),
                            "load", lab.rules(RULES), env=lab.environment(), check=False)


def test_not_permitted(bare):
    """Root without CAP_SYS_MODULE is told what to do; once it is done all is well."""
    lab = bare
    done = load_without(lab, "sys_module")
    assert done.returncode == KERNEL, done
    assert done.stderr == ("fwctl: nf_conntrack is not loaded and cannot be loaded: Operation not "
                           "permitted; load it with 'modprobe nf_conntrack'\n"), done
    assert_nothing(lab)
    sh("modprobe", "-a", "nf_conntrack", "nf_conntrack_netlink")
    done = load_without(lab, "sys_module")
    assert done.returncode == 0, done


def test_types_of_modules_are_closed(bare):
    """The module is there, but its functions are for CAP_SYS_ADMIN to find."""
    lab = bare
    done = load_without(lab, "sys_admin")
    assert done.returncode == KERNEL, done
    assert "CAP_SYS_ADMIN" in done.stderr and "bpf_" in done.stderr, done
    assert_nothing(lab)


@pytest.mark.needs("notcx")
@pytest.mark.parametrize("module", ["sch_ingress", "cls_bpf"])
def test_clsact_is_missing(bare, module):
    """Without TCX the filters need two modules; the interface that needs them is shown."""
    lab = bare
    with hidden(module):
        path = lab.rules(RULES)
        result = lab.fwctl("load", path, check=False)
        assert result.exit == KERNEL, result
        assert result.err.splitlines() == [
            f"{path}:1:31: error: this kernel lacks TC hooks, needed for judging packets at the "
            f"interfaces: no TCX; {module}: missing",
            " 1 | interface wan = fw-wan { mode tc }",
            "   |                               ^~",
        ], result
        assert_nothing(lab)
        status, features = doctor(lab)
        assert status == KERNEL
        assert features["TC hooks"]["detail"] == f"no TCX; {module}: missing"
        assert features["clsact filters"]["here"] is False


@pytest.mark.needs("tcx")
def test_clsact_is_not_needed(bare):
    """With TCX nobody misses them."""
    lab = bare
    with hidden("sch_ingress", "cls_bpf"):
        status, features = doctor(lab)
        assert status == 0
        assert features["TC hooks"]["detail"] == "by TCX links"
        assert features["clsact filters"]["here"] is False
        works(lab)
