# SPDX-License-Identifier: GPL-2.0-only
"""fwctl itself: stateless as most peers are, stateful, and without XDP."""

from .case import ANY_PORT, CHECK_PORT, TCP, prefix
from .peer import DEVICE, Denied, Load, Peer, high_water, reset_high_water

HEAD = """\
interface wan = {device} {{ mode {mode} }}
default in drop
default out accept
default forward drop
"""


class Fwctl(Peer):
    """In XDP, with `stateless` rules, the last of which drops what matches no other: the
    default is for new flows, and whether a packet opens one is asked of conntrack.
    """

    name = "fwctl"
    title = "fwctl"
    hook = "xdp"
    mode = "xdp"
    stateless = "stateless "

    def missing(self):
        path = self.lab.binary("fwctl")
        return None if path.exists() else f"{path} is not built"

    def _head(self):
        return HEAD.format(device=DEVICE, mode=self.mode)

    def write(self, case):
        head = self._head()
        last = "drop stateless forward\n" if self.stateless else ""
        if case.is_rules:
            return self.file(head + "".join(
                self.line(case.family, r, self.stateless) for r in case.rules) + last)
        path = self.lab.dir / f"{self.name}.list"
        path.write_text("".join(prefix(case.family, e) + "\n" for e in case.entries),
                        encoding="ascii")
        return self.file(f'{head}set s {{ file "{path}" }}\n'
                         f"drop {self.stateless}forward from @s\n"
                         f"accept {self.stateless}forward proto udp to port {CHECK_PORT}\n"
                         + last)

    @staticmethod
    def line(family, rule, stateless):
        """A rule in the language of fwctl; `stateless` is that word or nothing."""
        text = f"{rule.verdict} {stateless}forward"
        if rule.proto is not None:
            text += " proto tcp" if rule.proto == TCP else " proto udp"
        for word, place, ports in (("from", rule.src, rule.sport), ("to", rule.dst, rule.dport)):
            words = [prefix(family, place)] if place[1] else []
            if ports != ANY_PORT:
                words.append(f"port {ports[0]}-{ports[1]}" if ports[0] != ports[1]
                             else f"port {ports[0]}")
            if words:
                text += f" {word} {' '.join(words)}"
        if rule.src[1] == rule.dst[1] == 0:
            text += f" family ipv{family}"
        return text + "\n"

    def start(self):
        """The daemon is up, with next to no rules."""
        path = self.lab.write("empty.conf", self._head())
        self.lab.fwctl("load", path)

    def stop(self):
        self.lab.unload()

    def install(self, path):
        pid = self.lab.daemon_pid()
        reset_high_water(pid)
        load = self.timed(self.lab.binary("fwctl"), "load", path)
        return Load(load.seconds, max(load.rss, high_water(pid)))

    def remove(self):
        self.lab.fwctl("load", self.lab.dir / "empty.conf")

    def denied(self):
        counters = self.lab.counters()
        rule, default = (counters.get(x, iface=DEVICE) for x in ("rule", "default"))
        return Denied(rule, default) if not self.stateless else Denied(both=rule)


class FwctlStateful(Fwctl):
    """In XDP, rules that judge new flows: conntrack is asked first."""

    name = "fwctl-stateful"
    title = "fwctl, stateful"
    stateless = ""


class FwctlTc(Fwctl):
    """By traffic control alone."""

    name = "fwctl-tc"
    title = "fwctl, TC"
    hook = "stack"
    mode = "tc"
