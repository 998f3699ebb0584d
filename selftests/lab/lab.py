# SPDX-License-Identifier: GPL-2.0-only
"""The lab: client - firewall - server, IPv4 and IPv6, and fwctl in the middle.

    client eth0 ------ fw-wan [firewall] fw-lan ------ eth0 server

Names derive from the process and a counter, so labs run side by side. A guard
process removes everything as soon as this process is gone, however it went.
"""

import atexit
import contextlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

from . import cleanup, control
from .netns import Namespace, patience, sh, wait_for

TOP = pathlib.Path(__file__).resolve().parent.parent.parent

CLIENT4, WAN4, LAN4, SERVER4 = "192.0.2.2", "192.0.2.1", "198.51.100.1", "198.51.100.2"
CLIENT6, WAN6, LAN6, SERVER6 = ("2001:db8:1::2", "2001:db8:1::1", "2001:db8:2::1",
                                "2001:db8:2::2")
CLIENT_MAC, WAN_MAC = "02:00:00:00:01:02", "02:00:00:00:01:01"
LAN_MAC, SERVER_MAC = "02:00:00:00:02:01", "02:00:00:00:02:02"

CLIENT = {4: CLIENT4, 6: CLIENT6}
WAN = {4: WAN4, 6: WAN6}
LAN = {4: LAN4, 6: LAN6}
SERVER = {4: SERVER4, 6: SERVER6}

RULES = """\
interface wan = fw-wan {{ mode {mode} }}
interface lan = fw-lan {{ mode {mode} }}
"""

_serial = itertools.count()


def _read_reasons():
    text = (TOP / "kern" / "abi.h").read_text(encoding="utf-8")
    return {name: drop == "1"
            for name, drop in re.findall(r'X\(\w+, "([a-z0-9-]+)", ([01]),', text)}


REASONS = _read_reasons()  # name -> is it a drop


class Result:
    """What a run of fwctl left: exit status, output, and the output as JSON."""

    def __init__(self, done):
        self.exit, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def rows(self):
        """Standard output that is a JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f"exit {self.exit}\n{self.out}{self.err}"


class Counters:
    """Packets per (interface, hook, reason); subtraction gives what was added."""

    def __init__(self, values):
        self.values = {k: v for k, v in values.items() if v}

    def __sub__(self, older):
        keys = self.values.keys() | older.values.keys()
        return Counters({k: self.values.get(k, 0) - older.values.get(k, 0) for k in keys})

    def get(self, reason, hook=None, iface=None):
        """Sum over what is not named."""
        return sum(v for (i, h, r), v in self.values.items()
                   if r == reason and hook in (None, h) and iface in (None, i))

    def drops(self):
        """Packets dropped, by reason; empty if there were none."""
        found = {}
        for (_, _, reason), v in self.values.items():
            if REASONS[reason]:
                found[reason] = found.get(reason, 0) + v
        return found

    def __repr__(self):
        return ", ".join(f"{i}/{h}/{r}={v}" for (i, h, r), v in sorted(self.values.items()))


def plain_build():
    """A build without sanitizers, for what they would slow down or inflate."""
    return pathlib.Path(os.environ.get("FWCTL_PLAIN_BUILD") or build_dir())


def build_dir():
    """Where the binaries are: $FWCTL_BUILD, or build/ of this tree."""
    return pathlib.Path(os.environ.get("FWCTL_BUILD") or TOP / "build").resolve()


class Lab:
    """Three namespaces with fwctl at hand; a context manager."""

    def __init__(self, build=None):
        cleanup.remove_dead_labs()
        self.build = pathlib.Path(build) if build else build_dir()
        self.name = f"fwt-{os.getpid():x}-{next(_serial)}"
        self.dir = cleanup.STATE_DIR / self.name
        self.mode = "xdp"
        self.adopt = "off"  # packets fare the same whenever the first load was
        self._loaded = None
        self._asked = set()  # of fwctl, see _ask()
        self._closed = False
        self._namespaces = []
        cleanup.claim(self.name, cleanup.is_bpffs())
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "lab.guard", self.name], stdin=subprocess.PIPE,
            cwd=TOP / "selftests", start_new_session=True)
        atexit.register(self.close)
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    # ---- the network ---------------------------------------------------------

    def namespace(self, suffix):
        """Make one more namespace of this lab."""
        ns = Namespace(f"{self.name}-{suffix}")
        self._namespaces.append(ns)
        ns.sysctl(net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0,
                  net__ipv6__conf__default__router_solicitations=0)
        return ns

    def wire(self, a, name_a, b, name_b, mac_a=None, mac_b=None):
        """Join two namespaces by a veth pair; senders compute their checksums."""
        options_a = ["address", mac_a] if mac_a else []
        options_b = ["address", mac_b] if mac_b else []
        a.run("ip", "link", "add", name_a, *options_a, "type", "veth", "peer", "name", name_b,
              *options_b, "netns", b.name)
        for ns, iface in ((a, name_a), (b, name_b)):
            ns.run("ethtool", "-K", iface, "tx", "off", "txvlan", "off")
            # Neighbours that were found stay; what asks for them again would be counted.
            for family in ("ipv4", "ipv6"):
                ns.sysctl(**{f"net__{family}__neigh__{iface}__delay_first_probe_time": 3600})
            ns.run("ip", "link", "set", iface, "up")

    def _make(self):
        c, f, s = (self.namespace(x) for x in "cfs")
        self.client, self.firewall, self.server = c, f, s
        self.wire(f, "fw-wan", c, "eth0", WAN_MAC, CLIENT_MAC)
        self.wire(f, "fw-lan", s, "eth0", LAN_MAC, SERVER_MAC)
        f.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        # The lab sends what no router should forward; the firewall must judge it.
        f.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        for ns, iface, v4, v6 in ((c, "eth0", CLIENT4, CLIENT6), (f, "fw-wan", WAN4, WAN6),
                                  (f, "fw-lan", LAN4, LAN6), (s, "eth0", SERVER4, SERVER6)):
            ns.ip(f"address add {v4}/24 dev {iface}", f"address add {v6}/64 dev {iface} nodad")
        for ns, v4, v6 in ((c, WAN4, WAN6), (s, LAN4, LAN6)):
            ns.ip(f"route add default via {v4}", f"route add default via {v6}")

    # ---- fwctl -----------------------------------------------------------------

    def binary(self, name):
        """Path of a built program."""
        return self.build / "user" / name

    def environment(self):
        """Environment of fwctl: sanitizers report into the lab's directory."""
        env = dict(os.environ)
        env["PATH"] = f"{self.build}/user:" + env.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        env["ASAN_OPTIONS"] = f"log_path={self.dir}/asan:detect_leaks=1:exitcode=99"
        env["LSAN_OPTIONS"] = "report_objects=1"
        env["UBSAN_OPTIONS"] = (f"log_path={self.dir}/ubsan:print_stacktrace=1:"
                                "halt_on_error=1:exitcode=99")
        return env

    def fwctl(self, *argv, check=True, **kwargs):
        """Run fwctl in the firewall's namespace."""
        if argv and argv[0] in ("load", "unload", "set"):
            self._loaded = None
        done = self.firewall.run(self.binary("fwctl"), *argv, check=False,
                                 env=self.environment(), **kwargs)
        result = Result(done)
        if check and result.exit != 0:
            raise AssertionError(f"fwctl {' '.join(map(str, argv))}: {result}\n"
                                 f"{self.daemon_log()}")
        return result

    def write(self, name, text):
        """Write a file into the lab's directory; returns its path."""
        path = self.dir / name
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def rules(self, text, mode=None):
        """A rule file of the two zones wan and lan and `text`, from line 3 on; its path."""
        return self.write("rules.conf", RULES.format(mode=mode or self.mode) + text +
                          f"\noption adopt {self.adopt}\n")

    def load(self, text, mode=None):
        """Load rules for the two zones."""
        result = self.fwctl("load", self.rules(text, mode))
        self._loaded = (text, mode or self.mode)
        return result

    def load_once(self, text):
        """Load rules unless the very same ones run already."""
        if self._loaded != (text, self.mode):
            self.load(text)

    def unload(self):
        """Stop filtering; fine if nothing runs."""
        self.fwctl("unload", check=False)

    def _ask(self, verb):
        """What fwctld answers; nothing the first time, when fwctl is to show it."""
        if verb in self._asked:
            return control.ask(self, verb) or {}
        self._asked.add(verb)
        return {}

    def status(self):
        """`fwctl status --json`."""
        said = self._ask("status")
        return said if said.get("loaded") else self.fwctl("status", "--json").json

    def generation(self):
        """Number of the running rule set."""
        return self.status()["rules"]["generation"]

    def counters(self):
        """Every packet counter, by interface, hook and reason."""
        return Counters(read_counters(self.status()))

    def gain(self, before, condition=lambda gained: True, deadline=3.0):
        """What the counters gained since `before`, once condition(gained) holds."""
        gained = None

        def check():
            nonlocal gained
            gained = self.counters() - before
            return condition(gained)
        try:
            wait_for(check, deadline)
        except AssertionError:
            raise AssertionError(f"the counters gained only: {gained}") from None
        return gained

    @property
    def hook(self):
        """The hook that sees a packet first in this mode."""
        return "ingress" if self.mode == "tc" else "xdp"

    def rule(self, label):
        """Counters of the running rule with a label: packets, bytes, flows."""
        return next(r for r in self.show("rules")["rules"] if r["label"] == label)

    def flows(self):
        """The flows that fwctld knows."""
        return self.fwctl("show", "flows", "--json").rows

    def show(self, what):
        """`fwctl show WHAT --json`."""
        said = self._ask(what) if what in ("rules", "sets") else None
        return said or self.fwctl("show", what, "--json").json

    # ---- the daemon ----------------------------------------------------------------

    @property
    def run_dir(self):
        """Where fwctld of the firewall's namespace keeps its socket and log."""
        return pathlib.Path(f"/run/fwctl/netns-{self.firewall.inode}")

    @property
    def pin_dir(self):
        """Where it pins."""
        return pathlib.Path(f"/sys/fs/bpf/fwctl/netns-{self.firewall.inode}")

    def daemon_pid(self):
        """Process id of fwctld in the firewall's namespace, or None."""
        for pid in sh("ip", "netns", "pids", self.firewall.name, check=False).stdout.split():
            with contextlib.suppress(OSError):
                comm = pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
                if comm == "fwctld":
                    return int(pid)
        return None

    def daemon_memory(self):
        """Resident KiB of fwctld that are its own."""
        status = pathlib.Path(f"/proc/{self.daemon_pid()}/status").read_text(encoding="ascii")
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1])

    def daemon_fds(self):
        """Number of open descriptors of fwctld."""
        return len(os.listdir(f"/proc/{self.daemon_pid()}/fd"))

    def daemon_log(self):
        """What fwctld has said."""
        with contextlib.suppress(OSError):
            return (self.run_dir / "fwctld.log").read_text(encoding="utf-8", errors="replace")
        return ""

    def sanitizer_reports(self):
        """Everything that ASan, LSan and UBSan complained about."""
        paths = sorted(self.dir.glob("*san.*"))
        return "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in paths)

    def conntrack(self, *argv):
        """Lines of `conntrack -L` in the firewall's namespace, both families."""
        lines = []
        for family in ("ipv4", "ipv6"):
            done = self.firewall.run("conntrack", "-L", "-f", family, *argv, check=False)
            lines += [line for line in done.stdout.splitlines() if "src=" in line]
        return lines

    # ---- end -----------------------------------------------------------------------

    def close(self):
        """Unload, remove the namespaces, the pins and the files."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(Exception):
            if self.pin_dir.exists() and self.binary("fwctl").exists():
                self.unload()
        for ns in reversed(self._namespaces):
            with contextlib.suppress(OSError):
                ns.close()
        cleanup.remove(self.name)
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait(patience(20))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_counters(status):
    """(interface, hook, reason) -> packets out of the status document."""
    values = {}
    for reason in status["reasons"]:
        for row in reason["by"]:
            key = (row["interface"] or "other", row["hook"], reason["reason"])
            values[key] = values.get(key, 0) + row["packets"]
    return values
