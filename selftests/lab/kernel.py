# SPDX-License-Identifier: GPL-2.0-only
"""What the running kernel, and this machine, can do: @pytest.mark.needs("vlan").

Each feature is tried in a network namespace made for the trial, so the kernel loads
the modules it would load for anybody. A test whose feature is missing is skipped,
with the reason "needs: vlan". If the feature is named in $FWCTL_EXPECT (words), such
a skip is a failure: the kernel should have it, so something else is wrong.
"""

import contextlib
import ctypes
import functools
import os
import pathlib
import platform
import shutil
import socket
import struct
import threading

import pytest

from . import bpf
from .lab import plain_build
from .netns import CLONE_NEWNET, sh
from .percpu import allocspi

_libc = ctypes.CDLL(None, use_errno=True)
AEAD = ("aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, "128")


# ---- trials: a failure is an AssertionError or OSError that says why ---------------------


def _link(*argv):
    """Make a device."""
    sh("ip", "link", "add", *argv)


def _vlan():
    _link("va", "type", "veth", "peer", "name", "vb")
    _link("link", "va", "name", "vq", "type", "vlan", "id", "5")
    _link("link", "va", "name", "vad", "type", "vlan", "protocol", "802.1ad", "id", "6")


def _br_netfilter():
    _bridge()
    sh("modprobe", "br_netfilter", check=False)
    if not os.path.isdir("/proc/sys/net/bridge"):
        raise OSError("no /proc/sys/net/bridge")


def _bridge():
    _link("br0", "type", "bridge")


def _esp():
    for a, b in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")):
        sh("ip", "xfrm", "state", "add", "src", a, "dst", b, "proto", "esp", "spi", "0x101",
           "mode", "tunnel", *AEAD)


def _allocspi():
    sh("ip", "xfrm", "state", "allocspi", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp",
       "min", "1000", "max", "1000")


def _xdpxfrm():
    _allocspi()
    with open("/sys/kernel/btf/vmlinux", "rb") as btf:
        if b"bpf_xdp_get_xfrm_state" not in btf.read():
            raise OSError("no bpf_xdp_get_xfrm_state")


def _xfrmpcpu():
    allocspi("192.0.2.1", "192.0.2.2", 1001, 0)
    try:
        allocspi("192.0.2.1", "192.0.2.2", 1002, 1 << 20)
    except OSError:
        return
    raise OSError("it is not read")


def _noxdpxfrm():
    if not lacks("xdpxfrm"):
        raise OSError("bpf_xdp_get_xfrm_state")


def _xfrmi():
    _esp()
    _link("ipsec0", "type", "xfrm", "dev", "lo", "if_id", "1")


def _tunnels():
    v4 = ("local", "192.0.2.1", "remote", "192.0.2.2")
    v6 = ("local", "2001:db8::1", "remote", "2001:db8::2")
    for kind, ends in (("gre", v4), ("ipip", v4), ("sit", v4), ("ip6gre", v6), ("ip6tnl", v6)):
        _link(f"{kind}7", "type", kind, *ends)


def _netem():
    sh("ip", "link", "set", "lo", "up")
    sh("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms", "reorder", "25%")


def _tcx():
    program = bpf.program(bpf.SCHED_CLS, bpf.TCX_NEXT)
    try:
        os.close(bpf.attach_tcx(program, "lo"))
    finally:
        os.close(program)


def _notcx():
    with contextlib.suppress(OSError):
        _tcx()
        raise AssertionError("this kernel has TCX")
    sh("tc", "qdisc", "add", "dev", "lo", "clsact")


def _nfprog():
    program = bpf.program(bpf.NETFILTER, bpf.NF_ACCEPT, bpf.ATTACH_NETFILTER)
    try:
        os.close(bpf.attach_netfilter(program))
    finally:
        os.close(program)


def _nonfprog():
    with contextlib.suppress(OSError):
        _nfprog()
        raise AssertionError("this kernel has BPF netfilter programs")


def _xfrm():
    sh("ip", "xfrm", "policy", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "dir", "out",
       "tmpl", "proto", "esp", "reqid", "1", "mode", "transport")


def _modules():
    release = platform.release()
    for path in (f"/lib/modules/{release}/modules.dep", f"/lib/modules/{release}/kernel"):
        if not os.path.exists(path):
            raise OSError(f"no {path}")
    # modinfo(8) says "(builtin)" for what is not a module.
    found = sh("modinfo", "-F", "filename", "nf_conntrack").stdout.strip()
    if not os.path.exists(found):
        raise OSError(f"nf_conntrack is {found}")


def _nfthook():
    # Without nfnetlink_hook nft(8) shows an empty list and succeeds.
    sh("nft", "add", "table", "inet", "probe")
    sh("nft", "add", "chain", "inet", "probe", "in", "{ type filter hook input priority 0; }")
    if "probe" not in sh("nft", "list", "hooks").stdout:
        raise OSError("nft list hooks shows nothing")


def _ftp():
    sh("modprobe", "-a", "nf_conntrack_ftp", "nf_nat_ftp", check=False)
    sh("nft", "-f", "-", input="""\
table inet probe {
	ct helper ftp {
		type "ftp" protocol tcp;
	}
}
""")


def _vm():
    if os.environ.get("FWCTL_VM") != "1":
        raise OSError("not in a throwaway machine (FWCTL_VM is not 1)")


def _root():
    if os.geteuid() != 0:
        raise OSError("not root")


def _promtool():
    if not promtool():
        raise OSError("scripts/install-deps promtool fetches it")


def _prometheus():
    _promtool()
    if not prometheus():
        raise OSError("no prometheus beside promtool")


def _programs(*names):
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        raise OSError(f"no {', '.join(missing)}")


def _sctp():
    for family in (socket.AF_INET, socket.AF_INET6):
        socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()


def _bench():
    for path in (plain_build() / "selftests" / "bench" / "bench_traffic", "/usr/bin/time"):
        if not os.path.exists(path):
            raise OSError(f"no {path}")


def _netdev():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as s:  # NETLINK_GENERIC
        # nlmsghdr, genlmsghdr (CTRL_CMD_GETFAMILY), CTRL_ATTR_FAMILY_NAME
        name = struct.pack("=HH8s", 11, 2, b"netdev")
        s.send(struct.pack("=IHHIIBBH", 20 + len(name), 16, 1, 1, 0, 3, 1, 0) + name)
        if struct.unpack_from("=H", s.recv(8192), 4)[0] != 16:
            raise OSError("no generic netlink family netdev")


FEATURES = {
    "vlan": _vlan,  # VLAN devices, 802.1Q and 802.1ad
    "bond": lambda: _link("bond7", "type", "bond", "mode", "active-backup"),
    "bridge": _bridge,
    "br_netfilter": _br_netfilter,  # IP hooks for bridged packets
    "esp": _esp,  # IPv4 and IPv6, with AES-GCM
    "xdpxfrm": _xdpxfrm,  # XDP looks security associations up (6.8); larval ones at least
    "xfrmpcpu": _xfrmpcpu,  # security associations of one CPU (6.13)
    "noxdpxfrm": _noxdpxfrm,  # it does not
    "xfrm": _xfrm,  # XFRM policies
    "nfprog": _nfprog,  # BPF programs and links of netfilter (6.4)
    "nonfprog": _nonfprog,  # none
    "xfrmi": _xfrmi,  # XFRM interfaces
    "tunnels": _tunnels,  # GRE, and IP in IP, of either family in either
    "netem": _netem,
    "tcx": _tcx,  # BPF links on TC (6.6)
    "notcx": _notcx,  # none: the clsact qdisc it is
    "modules": _modules,  # nf_conntrack is a module that can be loaded
    "netdev": _netdev,  # what drivers can do with XDP (6.3)
    "nfthook": _nfthook,  # nfnetlink_hook
    "headers": lambda: os.stat("/usr/include/linux/bpf.h"),
    "ftp": _ftp,  # the FTP helper of conntrack, for nftables
    "vm": _vm,  # global settings may be changed
    "root": _root,
    "promtool": _promtool,
    "prometheus": _prometheus,
    "iperf3": lambda: _programs("iperf3"),
    "curl": lambda: _programs("curl"),
    "ssh": lambda: _programs("ssh", "ssh-keygen", "dropbear", "dropbearkey"),
    "dig": lambda: _programs("dig"),
    "traceroute": lambda: _programs("traceroute"),
    "tracepath": lambda: _programs("tracepath"),
    "tun": lambda: os.close(os.open("/dev/net/tun", os.O_RDWR)),
    "tshark": lambda: _programs("tshark"),
    "sctp": _sctp,  # sockets of it, on both families
    # The daemon of IKE and its tool: in virtual machines only.
    "strongswan": lambda: _programs("charon-systemd", "swanctl"),
    "bench": _bench,  # the generator of live traffic, GNU time: no virtual machine
}


def promtool():
    """Path of promtool, or None: $FWCTL_PROMTOOL, or where install-deps puts it."""
    top = pathlib.Path(__file__).resolve().parents[2]
    for path in (os.environ.get("FWCTL_PROMTOOL"),
                 top / "build/cache/promtool/usr/bin/promtool"):
        if path and os.path.exists(path):
            return path
    return shutil.which("promtool")


def prometheus():
    """Path of prometheus, which Debian has in one package with promtool, or None."""
    path = pathlib.Path(promtool() or "/none").with_name("prometheus")
    return path if path.exists() else None


@functools.cache
def lacks(feature):
    """Why a feature is missing, or an empty text if it is there."""
    trial, why = FEATURES[feature], []

    def run():
        try:
            if feature != "root" and os.geteuid() == 0 and _libc.unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            trial()
        except (AssertionError, OSError) as e:
            why.append(str(e) or type(e).__name__)
    # The namespace is this thread's alone and goes with it.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return why[0] if why else ""


# ---- hooks of pytest, imported by the conftest.py of each suite ---------------------------


def declare_marks(config):
    """The marks that every suite knows."""
    config.addinivalue_line("markers", "needs(*features): skipped without them; lab/kernel.py")
    config.addinivalue_line("markers", "main: the fixed part of the kernel matrix")


def needed(item):
    """Features that a test asks for, in order, each once."""
    return list(dict.fromkeys(f for mark in item.iter_markers("needs") for f in mark.args))


def check_marks(items):
    """A feature that nobody knows is a mistake in the test."""
    for item in items:
        unknown = set(needed(item)) - FEATURES.keys()
        if unknown:
            raise pytest.UsageError(f"{item.nodeid} needs unknown {', '.join(unknown)}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip what lacks a feature, before any fixture is made."""
    missing = [f for f in needed(item) if lacks(f)]
    expected = set(missing) & set(os.environ.get("FWCTL_EXPECT", "").split())
    if expected:
        pytest.fail("this kernel should have: "
                    + "; ".join(f"{f}: {lacks(f)}" for f in sorted(expected)), pytrace=False)
    if missing:
        pytest.skip("needs: " + ", ".join(missing))
