# SPDX-License-Identifier: GPL-2.0-only
"""nftables: one rule after another, and with sets and maps."""

import re

from .case import ANY_PORT, CHECK_PORT, TCP, prefix
from .peer import DEVICE, Denied, Peer

# The hook where a packet is judged first, and one where a rule about an address need
# not ask first whether the packet is of its family.
NETDEV = 'table netdev bench {{\n{sets}\tchain c {{\n' \
    '\t\ttype filter hook ingress device "{device}" priority 0; policy drop;\n{rules}\t}}\n}}\n'
IP = 'table {ip} bench {{\n{sets}\tchain c {{\n' \
    '\t\ttype filter hook prerouting priority -300; policy drop;\n' \
    '\t\tiifname != "{device}" accept\n{rules}\t}}\n}}\n'


def ports(value):
    """Text of a range of ports."""
    return str(value[0]) if value[0] == value[1] else f"{value[0]}-{value[1]}"


class Nft(Peer):
    """Common to all: one table `bench`."""

    program = "nft"
    packages = "nftables of Debian"
    template = NETDEV

    def _file(self, case, rules, sets=""):
        ip = "ip" if case.family == 4 else "ip6"
        self._table = ("netdev" if self.template is NETDEV else ip, "bench")
        return self.file(self.template.format(ip=ip, device=DEVICE, rules=rules, sets=sets))

    def install(self, path):
        return self.timed("nft", "-f", path)

    def remove(self):
        self.run("nft", "delete", "table", *self._table)

    def denied(self):
        """The last rule counts what matched none; a set or map has a counter in its rule."""
        shown = self.run("nft", "list", "chain", *self._table, "c") if self.counted else ""
        found = {kind: int(n) for n, kind in re.findall(
            r'counter packets (\d+) bytes \d+.* comment "(\w+)"', shown)}
        return Denied(found.get("hit"), found.get("miss"))

    counted = True


class NftLinear(Nft):
    """One rule a line, as people write them."""

    name = "nft-linear"
    title = "nftables, rules"
    counted = False  # listing 100 000 rules takes longer than measuring

    template = IP

    def refuses(self, case):
        return None if case.is_rules else "sets are for nft-set"

    def write(self, case):
        return self._file(case, "".join(self.line(case.family, r) for r in case.rules))

    @staticmethod
    def line(family, rule):
        """A rule in the language of nftables."""
        ip = "ip" if family == 4 else "ip6"
        words = [f"{ip} {word} {prefix(family, p)}"
                 for word, p in (("saddr", rule.src), ("daddr", rule.dst)) if p[1]]
        proto = {None: "th", TCP: "tcp"}.get(rule.proto, "udp")
        more = [f"{proto} {word} {ports(p)}"
                for word, p in (("sport", rule.sport), ("dport", rule.dport)) if p != ANY_PORT]
        if not more and rule.proto is not None:
            more = [f"meta l4proto {proto}"]
        return "\t\t" + " ".join([*words, *more, rule.verdict]) + "\n"


class NftPipapo(Nft):
    """One verdict map of concatenated ranges (pipapo): the fields of each rule."""

    name = "nft-map"
    title = "nftables, map of ranges"

    def refuses(self, case):
        return None if case.is_rules else "sets are for nft-set"

    def write(self, case):
        ip, kind = ("ip", "ipv4_addr") if case.family == 4 else ("ip6", "ipv6_addr")
        # No field that no rule asks for.
        sport = any(r.sport != ANY_PORT for r in case.rules)
        elements = ",\n".join(
            f"{self._prefix(case.family, r.src)} . {self._prefix(case.family, r.dst)} . "
            f"{self._proto(r.proto)} . {ports(r.sport) + ' . ' if sport else ''}"
            f"{ports(r.dport)} : {r.verdict}" for r in case.rules)
        sets = (f"\tmap m {{\n\t\ttype {kind} . {kind} . inet_proto . "
                f"{'inet_service . ' if sport else ''}inet_service : verdict\n"
                f"\t\tflags interval\n\t\telements = {{ {elements} }}\n\t}}\n")
        return self._file(case, f"\t\t{ip} saddr . {ip} daddr . meta l4proto . "
                          f"{'th sport . ' if sport else ''}th dport vmap @m\n"
                          '\t\tcounter drop comment "miss"\n', sets)

    @staticmethod
    def _prefix(family, value):
        if value[1] == 0:
            return "0.0.0.0/0" if family == 4 else "::/0"
        return prefix(family, value)

    @staticmethod
    def _proto(proto):
        return "0-255" if proto is None else str(proto)


class NftSet(Nft):
    """A set: a hash of single addresses, or a tree of intervals (rbtree)."""

    name = "nft-set"
    title = "nftables, set"
    flags = True

    def refuses(self, case):
        return None if not case.is_rules else "rules are for nft-linear and nft-map"

    def write(self, case):
        ip, kind = ("ip", "ipv4_addr") if case.family == 4 else ("ip6", "ipv6_addr")
        flags = "\t\tflags interval\n" if case.kind == "prefixes" else ""
        elements = ",\n".join(self._element(case.family, e) for e in case.entries)
        sets = f"\t{self.what} s {{\n\t\ttype {kind}{self.value}\n{flags}" \
               f"\t\telements = {{ {elements} }}\n\t}}\n"
        return self._file(case, f"\t\t{self._lookup(ip)}\n"
                          f"\t\tudp dport {CHECK_PORT} accept\n"
                          '\t\tcounter drop comment "miss"\n', sets)

    what, value = "set", ""

    @staticmethod
    def _element(family, entry):
        return prefix(family, entry)

    @staticmethod
    def _lookup(ip):
        return f'{ip} saddr @s counter drop comment "hit"'


class NftVerdictMap(NftSet):
    """A map from single addresses to verdicts."""

    name = "nft-vmap"
    title = "nftables, verdict map"
    what, value = "map", " : verdict"

    def refuses(self, case):
        return None if case.kind == "addresses" else "single addresses only"

    @staticmethod
    def _element(family, entry):
        return f"{prefix(family, entry)} : drop"

    @staticmethod
    def _lookup(ip):
        return f"{ip} saddr vmap @s"
