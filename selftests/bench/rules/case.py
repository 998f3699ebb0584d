# SPDX-License-Identifier: GPL-2.0-only
"""What is measured: rules or a set of addresses, and packets with known verdicts.

The rules made here do not overlap, so that every peer can hold them, also those that
refuse overlaps, and so that the verdict of a packet is known from how it was made.
Those of a file in the format of ClassBench overlap as they like.
"""

import bisect
import random
import re
import socket
import struct
from typing import NamedTuple

TCP, UDP = 6, 17
ANY_PORT = (0, 65535)
N_HEADERS = 65536  # not more than TRAFFIC_KEYS of traffic.h
TRAFFIC = ("uniform", "skewed", "miss")

BITS = {4: 32, 6: 128}
SITE = {4: 20, 6: 48}  # the length of the prefixes that networks are cut from
# Lengths and how often, of sources and destinations.
SRC_LENGTHS = {4: {20: 15, 24: 30, 27: 20, 32: 35}, 6: {48: 15, 56: 30, 64: 20, 128: 35}}
DST_LENGTHS = {4: {24: 25, 28: 15, 32: 60}, 6: {64: 25, 112: 15, 128: 60}}
SET_LENGTHS = {4: (24, 25, 26, 27, 28, 29, 30, 31, 32), 6: (48, 52, 56, 60, 64, 96, 128)}
RANGES = ((1024, 65535), (1, 1023), (6000, 6063), (33434, 33600), (137, 139))
# First octets without loopback, private, multicast and documentation networks.
OCTETS = [x for x in range(11, 223) if x not in (127, 169, 172, 192, 198, 203)]

CHECK_PORT, OTHER_PORT = 7777, 9999  # of packets about sets: accepted, and denied at last


class Header(NamedTuple):
    """A packet: addresses as numbers."""

    src: int
    dst: int
    sport: int
    dport: int
    proto: int


class Rule(NamedTuple):
    """Prefixes as (number, length), ports as (first, last), protocol or None, verdict."""

    src: tuple
    dst: tuple
    sport: tuple
    dport: tuple
    proto: int | None
    verdict: str


def address(family, number):
    """Text of an address."""
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6,
                            number.to_bytes(BITS[family] // 8, "big"))


def prefix(family, value):
    """Text of a prefix; that of a single address has no length."""
    number, length = value
    text = address(family, number)
    return text if length == BITS[family] else f"{text}/{length}"


def pack(family, headers):
    """Headers as an array of struct traffic_key4 or traffic_key6."""
    size = BITS[family] // 8
    return b"".join(h.src.to_bytes(size, "big") + h.dst.to_bytes(size, "big")
                    + struct.pack("!HHBxxx", h.sport, h.dport, h.proto) for h in headers)


class Case:
    """Common to rules and sets: `family`, `size`, and headers with verdicts."""

    kind = ""
    is_rules = False

    def __init__(self, family, size, seed):
        self.family, self.size = family, size
        self.bits = BITS[family]
        self.rng = random.Random(f"{self.kind} {family} {size} {seed}")
        self.sites = set()

    def new_site(self):
        """The upper bits of a network that no other call returns."""
        while True:
            if self.family == 4:
                site = self.rng.choice(OCTETS) << 12 | self.rng.getrandbits(12)
            else:
                site = 0x2400 << 32 | self.rng.getrandbits(32)
            if site not in self.sites:
                self.sites.add(site)
                return site

    def inside(self, value):
        """Any address of a prefix."""
        number, length = value
        return number | self.rng.getrandbits(self.bits - length) if length < self.bits else number

    def port(self, ports):
        """A port of a range, but 0, with which no packet is well-formed."""
        return self.rng.randint(max(1, ports[0]), max(1, ports[1]))

    def part_of(self, site, length):
        """Any prefix of that length in a site."""
        free = length - SITE[self.family]
        more = self.rng.getrandbits(free) if free else 0
        return (site << free | more) << (self.bits - length), length

    def pick(self, lengths):
        """One of the lengths."""
        return self.rng.choices(list(lengths), list(lengths.values()))[0]

    def skewed(self, n):
        """An index below n: half of them are in the first eighth."""
        return int(self.rng.random() ** 3 * n)

    def anywhere(self):
        """An address that no rule and no set knows."""
        while True:
            if self.family == 4:
                number = self.rng.choice(OCTETS) << 24 | self.rng.getrandbits(24)
            else:
                number = 0x2400 << 112 | self.rng.getrandbits(112)
            if number >> (self.bits - SITE[self.family]) not in self.sites:
                return number

    def headers(self, traffic, n=N_HEADERS):
        """Packets of one kind of TRAFFIC that are denied: by rules, or at last."""
        raise NotImplementedError

    def check_headers(self, n):
        """[(header, is accepted)] of all kinds."""
        raise NotImplementedError


# ---- rules -------------------------------------------------------------------------------


def _overlap(a, b, bits):
    """True if some packet matches both rules."""
    if a.proto is not None and b.proto is not None and a.proto != b.proto:
        return False
    for x, y in ((a.sport, b.sport), (a.dport, b.dport)):
        if x[0] > y[1] or y[0] > x[1]:
            return False
    for x, y in ((a.src, b.src), (a.dst, b.dst)):
        shift = bits - min(x[1], y[1])
        if x[0] >> shift != y[0] >> shift:
            return False
    return True


def _matches(rule, h, bits):
    return ((rule.proto is None or rule.proto == h.proto)
            and rule.sport[0] <= h.sport <= rule.sport[1]
            and rule.dport[0] <= h.dport <= rule.dport[1]
            and h.src >> (bits - rule.src[1]) == rule.src[0] >> (bits - rule.src[1])
            and h.dst >> (bits - rule.dst[1]) == rule.dst[0] >> (bits - rule.dst[1]))


class Rules(Case):
    """So many rules of five fields that do not overlap; what matches none is dropped.

    Three of four are between two sites, the others TCP from anywhere to a site, or UDP
    from a site to anywhere.
    """

    kind = "rules"
    is_rules = True
    name = "generated"
    PAIRS = 0.75  # of the rules are between two sites

    def __init__(self, family, size, seed=1):
        super().__init__(family, size, seed)
        self.rules = []
        self.groups = {}  # (source site, destination site), None for any -> rules
        self._make()
        self.drops = [i for i, r in enumerate(self.rules) if r.verdict == "drop"]

    def _make(self):
        n = self.size
        inner = [self.new_site() for _ in range(4 + n // 16)]
        pairs = [tuple(self.rng.sample(inner, 2)) for _ in range(2 + n // 6)]
        public = [self.new_site() for _ in range(1 + n // 40)]
        outer = [self.new_site() for _ in range(1 + n // 40)]
        while len(self.rules) < n:
            kind = self.rng.random()
            if kind < self.PAIRS:
                group = self.rng.choice(pairs)
            elif kind < 0.9:
                group = (None, self.rng.choice(public))
            else:
                group = (self.rng.choice(outer), None)
            rule = self._rule(group)
            known = self.groups.setdefault(group, [])
            if not any(_overlap(rule, other, self.bits) for other in known):
                known.append(rule)
                self.rules.append(rule)

    def _rule(self, group):
        src = dst = (0, 0)
        if group[0] is not None:
            src = self.part_of(group[0], self.pick(SRC_LENGTHS[self.family]))
        if group[1] is not None:
            dst = self.part_of(group[1], self.pick(DST_LENGTHS[self.family]))
        sport = ANY_PORT if self.rng.random() < 0.9 else (1024, 65535)
        kind = self.rng.random()
        if kind < 0.1:
            dport = ANY_PORT
        elif kind < 0.35:
            dport = self.rng.choice(RANGES)
        else:
            port = self.rng.choice((self.rng.randrange(120) * 37 + 1,
                                    self.rng.randrange(1, 65536)))
            dport = (port, port)
        proto = TCP if self.rng.random() < 0.7 else UDP
        if None in group:
            proto = TCP if group[0] is None else UDP
        return Rule(src, dst, sport, dport, proto, self.rng.choice(("accept", "drop")))

    def find(self, h):
        """The rule that a packet matches, or None."""
        shift = self.bits - SITE[self.family]
        src, dst = h.src >> shift, h.dst >> shift
        for group in ((src, dst), (None, dst), (src, None)):
            for rule in self.groups.get(group, ()):
                if _matches(rule, h, self.bits):
                    return rule
        return None

    def hit(self, rule):
        """A packet that matches a rule."""
        src, dst = (self.inside(p) if p[1] else self.anywhere() for p in (rule.src, rule.dst))
        return Header(src, dst, self.port(rule.sport), self.port(rule.dport),
                      rule.proto or self.rng.choice((TCP, UDP)))

    def miss(self):
        """A packet that matches no rule: half of them have the addresses of one."""
        rng = self.rng
        for _ in range(20):
            h = Header(self.anywhere(), self.anywhere(), self.port(ANY_PORT),
                       self.port(ANY_PORT), rng.choice((TCP, UDP)))
            if rng.random() < 0.5:
                near = self.hit(rng.choice(self.rules))
                h = h._replace(src=near.src, dst=near.dst)
            if self.find(h) is None:
                return h
        return Header(self.anywhere(), self.anywhere(), 1, 1, UDP)

    def headers(self, traffic, n=N_HEADERS):
        if traffic == "miss":
            return [self.miss() for _ in range(n)]
        m = len(self.drops)
        pick = self.skewed if traffic == "skewed" else self.rng.randrange
        return [self.hit(self.rules[self.drops[pick(m)]]) for _ in range(n)]

    def check_headers(self, n):
        """Three of four match a rule."""
        found = [self.hit(self.rng.choice(self.rules)) for _ in range(n - n // 4)]
        found += [self.miss() for _ in range(n // 4)]
        self.rng.shuffle(found)
        verdicts = ((h, self.find(h)) for h in found)
        return [(h, bool(rule) and rule.verdict == "accept") for h, rule in verdicts]


class Pairs(Rules):
    """Rules between two sites only, with any source port: what pipapo does best."""

    kind = "pairs"
    PAIRS = 1

    def _rule(self, group):
        return super()._rule(group)._replace(sport=ANY_PORT)


LINE = re.compile(r"@([\d.]+)/(\d+)\s+([\d.]+)/(\d+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+"
                  r"0x([0-9a-fA-F]+)/0x([0-9a-fA-F]+)")


class ClassBench(Rules):
    """Rules of a file; those about other protocols than TCP and UDP are left out.

    They overlap: a packet made for one may match an earlier one, which decides. For each
    rule tried there is a search, so there are fewer different packets.
    """

    MOST_HEADERS = 4096

    def __init__(self, path, seed=1):
        with open(path, encoding="ascii") as f:
            self._lines = f.read().splitlines()
        self.name = path.rsplit("/", 1)[-1]
        super().__init__(4, len(self._lines), f"{self.name} {seed}")

    def _make(self):
        number = lambda text: int.from_bytes(socket.inet_aton(text), "big")  # noqa: E731
        for i, line in enumerate(self._lines, 1):
            m = LINE.match(line)
            if not m:
                raise ValueError(f"{self.name}:{i}: not a rule of ClassBench: {line}")
            v = m.groups()
            proto = int(v[8], 16) if int(v[9], 16) else None
            if proto not in (None, TCP, UDP):
                continue
            src, dst = ((number(a) & ~((1 << (32 - int(n))) - 1), int(n))
                        for a, n in ((v[0], v[1]), (v[2], v[3])))
            self.rules.append(Rule(src, dst, (int(v[4]), int(v[5])), (int(v[6]), int(v[7])),
                                   proto, self.rng.choice(("accept", "drop"))))
        self.size = len(self.rules)
        # By the first octet of the source; None: of any source.
        for i, rule in enumerate(self.rules):
            key = rule.src[0] >> 24 if rule.src[1] >= 8 else None
            self.groups.setdefault(key, []).append(i)

    def find(self, h):
        first = len(self.rules)
        for key in (h.src >> 24, None):
            for i in self.groups.get(key, ()):
                if i >= first:
                    break
                if _matches(self.rules[i], h, self.bits):
                    first = i
        return self.rules[first] if first < len(self.rules) else None

    def anywhere(self):
        return self.rng.choice(OCTETS) << 24 | self.rng.getrandbits(24)

    def hit(self, rule):
        h = super().hit(rule)
        # No source that a router would not forward.
        if h.src >> 24 not in OCTETS:
            h = h._replace(src=self.anywhere() if rule.src[1] == 0 else h.src)
        return h

    def headers(self, traffic, n=N_HEADERS):
        found = []
        n = min(n, self.MOST_HEADERS)
        if traffic == "miss":
            return [self.miss() for _ in range(n)]
        pick = self.skewed if traffic == "skewed" else self.rng.randrange
        while len(found) < n:
            h = self.hit(self.rules[pick(len(self.rules))])
            rule = self.find(h)
            if rule and rule.verdict == "drop":
                found.append(h)
        return found


# ---- sets --------------------------------------------------------------------------------


class AddressSet(Case):
    """A set of single addresses, or of prefixes that do not overlap.

    Three rules: drop what comes from the set, accept UDP to CHECK_PORT, drop the rest.
    """

    def __init__(self, family, size, kind, seed=1):
        self.kind = kind  # "addresses" or "prefixes"
        super().__init__(family, size, seed)
        self.entries = self._addresses() if kind == "addresses" else self._prefixes()
        self._shuffled = list(self.entries)
        self.entries.sort()
        self._starts = [number for number, _ in self.entries]

    def _addresses(self):
        if self.family == 4:
            make = lambda: (self.rng.choice(OCTETS) << 24  # noqa: E731
                            | self.rng.getrandbits(24))
        else:
            make = lambda: 0x2400 << 112 | self.rng.getrandbits(112)  # noqa: E731
        found = set()
        while len(found) < self.size:
            found.add(make())
        return [(number, self.bits) for number in sorted(found)]

    def _prefixes(self):
        """One each of different networks of 24 or 48 bits, and so they never touch."""
        upper = 24 if self.family == 4 else 48
        found = {}
        while len(found) < self.size:
            if self.family == 4:
                net = self.rng.choice(OCTETS) << 16 | self.rng.getrandbits(16)
            else:
                net = 0x2400 << 32 | self.rng.getrandbits(32)
            length = self.rng.choice(SET_LENGTHS[self.family])
            free = length - upper
            more = self.rng.getrandbits(free) if free else 0
            found[net] = ((net << free | more) << (self.bits - length), length)
        return list(found.values())

    def contains(self, number):
        """True if an address is in the set."""
        i = bisect.bisect_right(self._starts, number) - 1
        if i < 0:
            return False
        start, length = self.entries[i]
        return number >> (self.bits - length) == start >> (self.bits - length)

    def _packet(self, src, dport):
        return Header(src, self.anywhere(), self.rng.randrange(1024, 65536), dport, UDP)

    def _outside(self):
        while True:
            number = self.anywhere()
            if not self.contains(number):
                return number

    def headers(self, traffic, n=N_HEADERS):
        if traffic == "miss":
            return [self._packet(self._outside(), OTHER_PORT) for _ in range(n)]
        pick = self.skewed if traffic == "skewed" else self.rng.randrange
        return [self._packet(self.inside(self._shuffled[pick(self.size)]), OTHER_PORT)
                for _ in range(n)]

    def check_headers(self, n):
        """Half are in the set; of the others, three of four go to the port that is open."""
        found = []
        for i in range(n):
            if i % 2:
                h = self._packet(self.inside(self.rng.choice(self._shuffled)), CHECK_PORT)
            else:
                h = self._packet(self._outside(), OTHER_PORT if i % 8 == 0 else CHECK_PORT)
            found.append((h, not i % 2 and h.dport == CHECK_PORT))
        return found
