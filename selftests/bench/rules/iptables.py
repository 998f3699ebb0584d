# SPDX-License-Identifier: GPL-2.0-only
"""iptables, in its legacy form and on top of nftables, and ipset."""

import re
import shutil

from .case import ANY_PORT, CHECK_PORT, TCP, prefix
from .peer import Denied, Load, Peer


class Iptables(Peer):
    """Rules in raw PREROUTING, of iptables-legacy."""

    name = "iptables"
    title = "iptables-legacy"
    variant = "legacy"
    program = "iptables-legacy"
    packages = "iptables of Debian"

    def refuses(self, case):
        return None if case.is_rules else "sets are for ipset"

    def _table(self, rules):
        return f"*raw\n:PREROUTING DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"

    def write(self, case):
        self.tool = ("iptables" if case.family == 4 else "ip6tables") + f"-{self.variant}"
        return self.file(self._table("".join(self._rule(case.family, r) for r in case.rules)))

    @staticmethod
    def _rule(family, rule):
        words = [f"-{word} {prefix(family, p)}"
                 for word, p in (("s", rule.src), ("d", rule.dst)) if p[1]]
        if rule.proto is not None:
            proto = "tcp" if rule.proto == TCP else "udp"
            words.append(f"-p {proto}")
            more = [f"--{word} {p[0]}:{p[1]}" if p[0] != p[1] else f"--{word} {p[0]}"
                    for word, p in (("sport", rule.sport), ("dport", rule.dport))
                    if p != ANY_PORT]
            if more:
                words += [f"-m {proto}", *more]
        elif (rule.sport, rule.dport) != (ANY_PORT, ANY_PORT):
            raise ValueError("ports without protocol")
        return f"-A PREROUTING {' '.join(words)} -j {rule.verdict.upper()}\n"

    def install(self, path):
        return self.timed(f"{self.tool}-restore", path)

    def remove(self):
        self.run(self.tool, "-t", "raw", "-P", "PREROUTING", "ACCEPT")
        self.run(self.tool, "-t", "raw", "-F")


class IptablesNft(Iptables):
    """The same rules by iptables-nft, which makes nftables' rules of them."""

    name = "iptables-nft"
    title = "iptables-nft"
    variant = "nft"
    program = "iptables-nft"


class Ipset(Iptables):
    """A set of ipset, hash:ip or hash:net, asked by a rule of iptables-legacy."""

    name = "ipset"
    title = "ipset, iptables-legacy"
    program = "ipset"
    packages = "ipset and iptables of Debian"

    def missing(self):
        if not shutil.which("iptables-legacy"):
            return f"iptables-legacy: not installed, skipped ({self.packages})"
        return super().missing()

    def refuses(self, case):
        return None if not case.is_rules else "rules are for iptables"

    def write(self, case):
        self.tool = ("iptables" if case.family == 4 else "ip6tables") + "-legacy"
        kind = "hash:ip" if case.kind == "addresses" else "hash:net"
        family = "inet" if case.family == 4 else "inet6"
        self._rules = self.lab.dir / "ipset.iptables"
        self._rules.write_text(self._table(
            "-A PREROUTING -m set --match-set s src -j DROP\n"
            f"-A PREROUTING -p udp -m udp --dport {CHECK_PORT} -j ACCEPT\n"), encoding="ascii")
        return self.file(f"create s {kind} family {family} hashsize 1024 maxelem {case.size}\n"
                         + "".join(f"add s {prefix(case.family, e)}\n" for e in case.entries))

    def install(self, path):
        a = self.timed("ipset", "restore", stdin=path)
        b = self.timed(f"{self.tool}-restore", self._rules)
        return Load(a.seconds + b.seconds, max(a.rss, b.rss))

    def remove(self):
        super().remove()
        self.run("ipset", "destroy", "s")

    def denied(self):
        shown = self.run(self.tool, "-t", "raw", "-v", "-n", "-x", "-L", "PREROUTING")
        policy = re.search(r"policy DROP (\d+) packets", shown)
        rule = re.search(r"^\s*(\d+)\s+\d+\s+DROP\s", shown, re.M)
        return Denied(int(rule[1]), int(policy[1]))

    def memory(self):
        size = re.search(r"Size in memory: (\d+)", self.run("ipset", "list", "-t", "s"))
        return int(size[1]) if size else None
