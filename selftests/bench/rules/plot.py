# SPDX-License-Identifier: GPL-2.0-only
"""Plots as SVG text: a line per peer over the number of rules or entries, both axes
logarithmic, a bar from the least to the greatest value at each point. The same figures
give the same file."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 820, 460
LEFT, RIGHT, TOP, BOTTOM = 78, 220, 44, 56
# Told apart also by those who see no red or no green (Okabe and Ito).
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7", "#000000",
           "#8c6d31", "#7f7f7f")


def number(value):
    """A number for an axis: 1000000 is 1 M."""
    for unit, text in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{text}"
    return f"{value:g}"


class _Axis:
    """Values between two powers of ten on a line of pixels."""

    def __init__(self, values, first, last):
        self.low = math.floor(math.log10(min(values)) + 1e-9)
        self.high = max(self.low + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self.first, self.last = first, last

    def at(self, value):
        """Pixel of a value."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self):
        """Powers of ten."""
        return [10.0 ** i for i in range(self.low, self.high + 1)]


def _grid(x, y, x_label, y_label):
    for value in x.ticks():
        at = x.at(value)
        yield f'<line class="g" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}"/>'
        yield (f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
               f"{number(value)}</text>")
    for value in y.ticks():
        at = y.at(value)
        yield f'<line class="g" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{number(value)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x_label)}</text>'
    yield (f'<text x="18" y="{HEIGHT / 2:.1f}" text-anchor="middle" '
           f'transform="rotate(-90 18 {HEIGHT / 2:.1f})">{escape(y_label)}</text>')


def _series(x, y, points, colour):
    path = " ".join(f"{x.at(a):.1f},{y.at(v):.1f}" for a, v, _, _ in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for a, value, low, high in points:
        px = x.at(a)
        yield (f'<line x1="{px:.1f}" y1="{y.at(low):.1f}" x2="{px:.1f}" y2="{y.at(high):.1f}" '
               f'stroke="{colour}"/>')
        yield f'<circle cx="{px:.1f}" cy="{y.at(value):.1f}" r="3" fill="{colour}"/>'


def plot(title, x_label, y_label, series):
    """SVG of {name: [(x, median, least, greatest)]}; all values above 0."""
    series = {name: sorted(points) for name, points in series.items() if points}
    points = [p for line in series.values() for p in line]
    x = _Axis([p[0] for p in points], LEFT, WIDTH - RIGHT)
    y = _Axis([v for p in points for v in p[1:]], HEIGHT - BOTTOM, TOP)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             "<style>.g{stroke:#ddd}</style>",
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
             *_grid(x, y, x_label, y_label)]
    # The legend in the order of the last values, as the lines end.
    order = sorted(series, key=lambda name: (-series[name][-1][0], -series[name][-1][1]))
    for i, name in enumerate(series):
        lines += _series(x, y, series[name], COLOURS[i % len(COLOURS)])
    for row, name in enumerate(order):
        colour = COLOURS[list(series).index(name) % len(COLOURS)]
        at = TOP + 10 + 20 * row
        lines.append(f'<line x1="{WIDTH - RIGHT + 16}" y1="{at}" x2="{WIDTH - RIGHT + 40}" '
                     f'y2="{at}" stroke="{colour}" stroke-width="3"/>')
        lines.append(f'<text x="{WIDTH - RIGHT + 46}" y="{at + 4}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
