# SPDX-License-Identifier: GPL-2.0-only
"""Tables and plots of results, and how they compare with what fwctl is to reach."""

import statistics

from bench.tables import Cells, mebibytes, seconds, table, yes

from .plot import number, plot

RULE_PEERS = ("fwctl", "fwctl-stateful", "fwctl-tc", "bpfilter", "nft-map", "nft-linear",
              "iptables", "iptables-nft")
SET_PEERS = ("fwctl", "fwctl-stateful", "fwctl-tc", "xdp-filter", "bpfilter", "nft-set",
             "nft-vmap", "ipset")
TRAFFIC_TITLES = {"uniform": "each rule hit as often", "skewed": "half of the hits in one eighth",
                  "miss": "headers that match nothing"}


class Report(Cells):
    """Everything that is said about some results."""

    def __init__(self, results, titles):
        super().__init__(results)
        self.titles = titles

    def _rows(self, peers, kind, family, sizes, cells):
        for peer in peers:
            row = [cells(kind, family, size, peer) for size in sizes]
            if any(row):
                yield [self.titles[peer], *row]

    # ---- tables ------------------------------------------------------------------------

    def rules(self):
        """Nanoseconds a packet by number of rules."""
        names = {"rules": "", "pairs": "Between two sites only, "}
        return "\n".join(self._rules_of(kind, name, family) for kind, name in names.items()
                         for family in (4, 6) if self.r.sizes(kind, family))

    def _rules_of(self, kind, name, family):
        sizes = self.r.sizes(kind, family)
        text = ""
        for traffic, title in TRAFFIC_TITLES.items():
            rows = self._rows(RULE_PEERS, kind, family, sizes, lambda k, f, s, p: self.cell(
                self.total_net, k, f, s, p, traffic))  # pylint: disable=cell-var-from-loop
            text += f"\n{name}IPv{family}, {title}:\n\n" + table(
                ["", *(number(s) + " rules" for s in sizes)], rows) + self.footnotes()
        return text

    def classbench(self):
        """The same for files in the format of ClassBench."""
        known = ("rules", "pairs", "addresses", "prefixes")
        names = sorted({k.split("/")[0] for k in self.r.data["points"]} - set(known))
        return "\n".join(self._rules_of(name, f"`{name}`, ", 4) for name in names)

    def spreads(self):
        """Least and greatest totals of the first traffic: how noisy the machine was."""
        worst = sorted(((p["total"]["max"] / p["total"]["min"], key)
                        for key, p in self.r.data["points"].items() if "total" in p))
        ratios = [ratio for ratio, _ in worst]
        base = [p["drop"]["median"] for p in self.r.data["points"].values() if "drop" in p]
        if not ratios:
            return ""
        return (f"XDP_DROP on the same path: {min(base):.0f} to {max(base):.0f} ns, median "
                f"{statistics.median(base):.0f} ns. Greatest total over least of one point: "
                f"median {statistics.median(ratios):.2f}, worst {ratios[-1]:.2f} "
                f"({worst[-1][1]}).\n")

    def rates(self):
        """Packets a second on one CPU and with the firewall on a CPU of its own."""
        text = ""
        for kind, peers in (("rules", RULE_PEERS), ("pairs", RULE_PEERS), ("addresses", SET_PEERS),
                            ("prefixes", SET_PEERS)):
            for family in (4, 6):
                sizes = self.r.sizes(kind, family)

                def cell(k, f, s, p):
                    one = self.cell(lambda x: number(round(x["pps"], -3)), k, f, s, p, "uniform")
                    two = self.cell(lambda x: number(round(x["pps"]["median"], -3)), k, f, s, p,
                                     "two-cpus")
                    return f"{one} / {two}" if one and two and "[" not in two else one
                rows = list(self._rows(peers, kind, family, sizes, cell))
                if rows:
                    text += f"\n{kind}, IPv{family}:\n\n" + table(
                        ["", *(number(s) for s in sizes)], rows) + self.footnotes()
        return text

    def sets(self):
        """Nanoseconds a packet by number of entries."""
        text = ""
        for kind in ("addresses", "prefixes"):
            for family in (4, 6):
                sizes = self.r.sizes(kind, family)

                def cell(k, f, s, p):
                    hit = self.cell(self.total_net, k, f, s, p, "uniform")
                    miss = self.cell(self.total_net, k, f, s, p, "miss")
                    return f"{hit} / {miss}" if hit and miss and hit != miss else hit
                rows = list(self._rows(SET_PEERS, kind, family, sizes, cell))
                if rows:
                    text += f"\nIPv{family} {kind}, in the set / not in it:\n\n" + table(
                        ["", *(number(s) for s in sizes)], rows) + self.footnotes()
        return text

    def loads(self):
        """Time and memory."""
        text = ""
        for kind, peers in (("rules", RULE_PEERS), ("pairs", RULE_PEERS), ("addresses", SET_PEERS),
                            ("prefixes", SET_PEERS)):
            for family in (4, 6):
                sizes = self.r.sizes(kind, family)
                rows = list(self._rows(peers, kind, family, sizes, self._load_cell))
                if rows:
                    text += f"\n{kind}, IPv{family}:\n\n" + table(
                        ["", *(number(s) for s in sizes)], rows) + self.footnotes()
        return text

    def _load_cell(self, *key):
        load = self.r.load(*key)
        if not load:
            return self.cell(str, *key)
        first, again = load["seconds"][0], load["seconds"][1:]
        times = seconds(first)
        if again:
            times += f", {seconds(statistics.median(again))}"
        return f"{times}; {mebibytes(load['rss'])}; {mebibytes(load['kernel'])}"

    # ---- the aims ------------------------------------------------------------------------

    def aims(self):
        """What was to be reached, and what was, for both families; it is `stateless` rules that
        count, a second number is of stateful ones or, beside bpfilter, of no match."""
        rows = [row for family in (4, 6) for row in self._aims_of(family)]
        return table(["aim", "measured", "reached"], rows)

    def _pps(self, kind, family, size, peer, traffic="uniform"):
        point = self.r.point(kind, family, size, peer, traffic)
        return point["pps"] if point else None

    def _aims_of(self, family):
        wanted = [("rules", "nft-linear", 1000, 30), ("rules", "nft-linear", 10000, 300),
                  ("rules", "iptables", 1000, 10), ("rules", "iptables", 10000, 80),
                  ("rules", "nft-map", 10000, 2), ("pairs", "nft-map", 10000, 2)]
        for kind, peer, size, aim in wanted:
            for traffic, word in (("uniform", "hits"), ("miss", "no match")):
                ratios = []
                theirs = self._pps(kind, family, size, peer, traffic)
                for form in ("fwctl", "fwctl-stateful"):
                    ours = self._pps(kind, family, size, form, traffic)
                    if ours and theirs:
                        ratios.append(ours / theirs)
                if ratios:
                    what = f"{number(size)} {'rules' if kind == 'rules' else 'pairs of sites'}"
                    yield self._row(f"IPv{family}, {what}, {word}: packets a second, {aim} times "
                                    f"{self.titles[peer]}", ratios, aim)
        for size in self.r.sizes("addresses", family):
            ours, theirs = (self._pps("addresses", family, size, p)
                            for p in ("fwctl", "xdp-filter"))
            if ours and theirs:
                yield self._row(f"IPv{family}, {number(size)} addresses, hits: packets a second, "
                                "not less than xdp-filter", [ours / theirs], 1)
        for kind in ("rules", "addresses", "prefixes"):
            for size in self.r.sizes(kind, family):
                ratios = [ours / theirs for ours, theirs in (
                    [self._pps(kind, family, size, p, t) for p in ("fwctl", "bpfilter")]
                    for t in ("uniform", "miss")) if ours and theirs]
                if ratios:
                    yield self._row(f"IPv{family}, {number(size)} {kind}, hits and no match: "
                                    "packets a second, not less than bpfilter", ratios, 1, min)
        yield from self._load_aims(family)

    def _load_aims(self, family):
        for kind, size, peer, aim in (("rules", 100000, "nft-linear", 5),
                                      ("prefixes", 1000000, "nft-set", 10)):
            ours, theirs = (self.r.load(kind, family, size, p) for p in ("fwctl", peer))
            if not ours or not theirs:
                continue
            their = statistics.median(theirs["seconds"])
            for word, ours_s in (("first load", ours["seconds"][0]),
                                 ("reload", statistics.median(ours["seconds"][1:] or [9e9]))):
                yield self._row(f"IPv{family}, {word} of {number(size)} {kind}: faster than "
                                f"`nft -f`, {aim} times", [their / ours_s], aim)
                yield [f"IPv{family}, {word} of {number(size)} {kind}: at most 1 s",
                       seconds(ours_s), yes(ours_s <= 1)]
            yield [f"IPv{family}, {number(size)} {kind}: at most 512 MiB while loading",
                   mebibytes(ours["rss"]) + " MiB", yes(ours["rss"] <= 512 << 20)]

    @staticmethod
    def _row(text, ratios, aim, decide=lambda ratios: ratios[0]):
        """The first ratio counts; a second one is of the stateful form, for information."""
        shown = ", ".join(f"{ratio:.3g}" for ratio in ratios)
        return [text, f"{shown} times", yes(decide(ratios) >= aim)]

    # ---- files -----------------------------------------------------------------------------

    def sections(self):
        """{name: text} of all parts."""
        return {"about": self.about(), "aims": self.aims(), "rules": self.rules(),
                "rates": self.rates(), "sets": self.sets(), "loads": self.loads(),
                "classbench": self.classbench(), "spread": self.spreads()}

    def plots(self):
        """{file name: SVG}."""
        found = {}
        for family in (4, 6):
            for kind, peers, word in (("rules", RULE_PEERS, "rules"),
                                      ("addresses", SET_PEERS, "addresses in the set"),
                                      ("prefixes", SET_PEERS, "prefixes in the set")):
                times, loads = {}, {}
                for peer in peers:
                    title = self.titles[peer]
                    for size in self.r.sizes(kind, family):
                        point = self.r.point(kind, family, size, peer, "uniform")
                        if point:
                            t = point["total"]
                            times.setdefault(title, []).append(
                                (size, t["median"], t["min"], t["max"]))
                        load = self.r.load(kind, family, size, peer)
                        if load:
                            s = load["seconds"]
                            loads.setdefault(title, []).append(
                                (size, statistics.median(s) * 1e3, min(s) * 1e3, max(s) * 1e3))
                if times:
                    found[f"{kind}-ipv{family}.svg"] = plot(
                        f"Nanoseconds a packet, IPv{family}, generator and veth included", word,
                        "ns", times)
                if loads:
                    found[f"{kind}-ipv{family}-load.svg"] = plot(
                        f"Milliseconds to load, IPv{family}, from text to running", word, "ms",
                        loads)
        return found
