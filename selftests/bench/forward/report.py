# SPDX-License-Identifier: GPL-2.0-only
"""Tables of forwarded packets and of TCP, and how fwctl compares with what it is to reach."""

import statistics

from bench.rules.plot import number
from bench.tables import Cells, table, yes

from .peers import PEERS
from .tcp import SETTINGS


def frame_bytes(family, size):
    """What a frame really has: IPv6's are not shorter than 74 (TRAFFIC_SIZE_6)."""
    return max(size, {4: 60, 6: 74}[family])


class Report(Cells):
    """Everything that is said about some results."""

    def __init__(self, results):
        super().__init__(results)
        keys = [k.split("/") for k in results.data["points"]]
        self.found = sorted({(int(k[1]), int(k[2]), int(k[3])) for k in keys
                             if k[0] == "forward"})

    def net(self, family, flows, size, peer):
        """Median of what a packet costs above XDP_DROP, or None."""
        point = self.r.point("forward", family, flows, size, peer)
        return point["net"]["median"] if point else None

    # ---- tables ------------------------------------------------------------------------

    def forward(self):
        """Nanoseconds a packet by family, flows and size."""
        text = ""
        for family, flows in sorted({x[:2] for x in self.found}):
            sizes = [s for f, n, s in self.found if (f, n) == (family, flows)]
            rows = [[cls.title, *(self.cell(self.total_net, "forward", family, flows, s, name)
                                  for s in sizes)] for name, cls in PEERS.items()]
            word = "flow" if flows == 1 else "flows"
            text += f"\nIPv{family}, {number(flows)} {word}:\n\n" + table(
                ["", *(f"{frame_bytes(family, s)} bytes" for s in sizes)],
                [row for row in rows if any(row[1:])]) + self.footnotes()
        return text

    def tcp(self):
        """Gbit/s by peer and settings of the devices."""
        text = ""
        for family in (4, 6):
            rows = [[cls.title, *(self.cell(self._gigabits, "tcp", family, setting, name)
                                  for setting in SETTINGS)] for name, cls in PEERS.items()]
            rows = [row for row in rows if any(row[1:])]
            if rows:
                text += f"\nIPv{family}, Gbit/s, median (least to greatest):\n\n" + table(
                    ["", *(title for title, _, _ in SETTINGS.values())], rows) \
                    + self.footnotes()
        return text

    @staticmethod
    def _gigabits(point):
        least, median, most = (point["bps"][x] / 1e9 for x in ("min", "median", "max"))
        return f"{median:.2f} ({least:.2f}–{most:.2f})"

    # ---- the aims ----------------------------------------------------------------------

    def aims(self):
        """What was to be reached, and what was."""
        rows = [row for family in (4, 6) for row in
                [*self._share_aims(family), *self._stack_aims(family), *self._tcp_aims(family)]]
        return table(["aim", "measured", "reached"], rows)

    def _places(self, family, flows):
        return [(family, n, s) for f, n, s in self.found if (f, n) == (family, flows)]

    def _share_aims(self, family):
        for flows, aim in ((1, 5), (1000, 5), (100000, 3)):
            for place in self._places(family, flows):
                ours, theirs = (self.net(*place, p) for p in ("fwctl-offload", "nft"))
                if ours is not None and theirs:
                    yield [f"{self._where(place)}: offloaded, at most one {self._part(aim)} of "
                           "nftables, stateful", f"{ours / theirs:.3f} of it",
                           yes(ours * aim <= theirs)]

    @staticmethod
    def _part(aim):
        return {3: "third", 5: "fifth"}[aim]

    def _stack_aims(self, family):
        for place in (x for x in self.found if x[0] == family):
            bare, theirs = (self.net(*place, p) for p in ("none", "nft"))
            for name, word in (("fwctl", "xdp"), ("fwctl-tc", "tc")):
                ours = self.net(*place, name)
                if None not in (bare, theirs, ours):
                    yield [f"{self._where(place)}: without offload, mode {word}, adds less to no "
                           "firewall than nftables, stateful",
                           f"{ours - bare:.0f} beside {theirs - bare:.0f} ns",
                           yes(ours < theirs)]

    def _tcp_aims(self, family):
        for setting, peer, least, text in (
                ("no-tso", "fwctl-offload", 1, "offloaded, faster than no firewall"),
                ("no-tso-gro", "fwctl-offload", 1, "offloaded, faster than no firewall"),
                ("no-tso-pass", "fwctl-offload", 1, "offloaded, faster than no firewall"),
                ("tso", "fwctl-tc", 0.95, "mode tc, 95 % of no firewall")):
            ours, bare = (self.r.point("tcp", family, setting, p) for p in (peer, "none"))
            if ours and bare:
                ratio = ours["bps"]["median"] / bare["bps"]["median"]
                yield [f"IPv{family}, TCP, {SETTINGS[setting][0]}: {text}", f"{ratio:.3f} times",
                       yes(ratio >= least)]

    @staticmethod
    def _where(place):
        family, flows, size = place
        return (f"IPv{family}, {number(flows)} {'flow' if flows == 1 else 'flows'}, "
                f"{frame_bytes(family, size)} bytes")

    # ---- all ---------------------------------------------------------------------------

    def about(self):
        """Machine, versions, commands, and how noisy it was."""
        text = super().about()
        points = [p for k, p in self.r.data["points"].items() if k.startswith("forward/")]
        if points:
            base = [p["drop"]["median"] for p in points]
            ratios = [p["total"]["max"] / p["total"]["min"] for p in points]
            text += (f"\nXDP_DROP on the same path: {min(base):.0f} to {max(base):.0f} ns, median "
                     f"{statistics.median(base):.0f} ns. Greatest total over least of one point: "
                     f"median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}. Lost: "
                     f"{100 * max(p['lost'] for p in points):.2g} % of the packets at most.\n")
        return text

    def sections(self):
        """{name: text} of all parts."""
        return {"forward-about": self.about(), "forward-aims": self.aims(),
                "forward": self.forward(), "forward-tcp": self.tcp()}
