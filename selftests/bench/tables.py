# SPDX-License-Identifier: GPL-2.0-only
"""What all reports are made of: texts of figures, tables, cells with footnotes, documents."""

import re


def nanoseconds(value):
    """Text of a time."""
    if abs(value) < 9999.5:
        return f"{value:.0f}"
    return f"{value / 1e3:.4g} µs" if abs(value) < 9.9995e5 else f"{value / 1e6:.3g} ms"


def seconds(value):
    """Text of a time."""
    return f"{value:.2f} s" if value >= 0.9995 else f"{value * 1e3:.0f} ms"


def mebibytes(value):
    """Text of a size."""
    return "–" if value is None else f"{value / 2 ** 20:.1f}" if value < 10 << 20 \
        else f"{value / 2 ** 20:.0f}"


def table(head, rows):
    """Lines of a table in markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def yes(is_reached):
    """Text of an aim that was reached or not."""
    return "yes" if is_reached else "**no**"


class Cells:
    """Tables about some results; why a cell is empty is said below."""

    def __init__(self, results):
        self.r = results
        self.notes = {}

    def cell(self, text, *key):
        """What a point says by text(point), or why there is none, as a footnote."""
        point = self.r.point(*key)
        if point:
            return text(point)
        reason = self.r.reason(*key)
        if not reason:
            return ""
        return f"–[{self.notes.setdefault(reason, len(self.notes) + 1)}]"

    def footnotes(self):
        """The footnotes of the table before."""
        text = "\n".join(f"[{n}] {reason}  " for reason, n in self.notes.items())
        self.notes = {}
        return f"\n{text}\n" if text else ""

    @staticmethod
    def total_net(point):
        """Nanoseconds with generator and veth, and without."""
        return f"{nanoseconds(point['total']['median'])} ({nanoseconds(point['net']['median'])})"

    def about(self):
        """Machine, versions and commands."""
        m = self.r.data["machine"]
        if not m:
            return ""
        where = "a virtual machine" if m["virtual"] else "bare metal"
        text = (f"{m['date']}, {m['cpu']}, {m['cpus']} CPUs, {m['memory_gib']} GiB, {where}, "
                f"Linux {m['kernel']}.\n\n")
        text += table(["", "version"], sorted([k, v] for k, v in self.r.data["versions"].items()))
        return text + "\n" + "".join(f"    {c}\n" for c in self.r.data["commands"])


def into_document(text, sections):
    """A document with what stands between <!-- NAME --> and <!-- end --> made anew."""
    for name, body in sections.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)",
                      lambda m: m[1] + "\n" + body.strip("\n") + "\n\n" + m[2],
                      text, flags=re.S)  # pylint: disable=cell-var-from-loop
    return text
