"""Draw how a fleet's size tells: the time until all are captured, and the downtime.

Both axes of the left half are logarithmic, the horizontal one of the right half, too. The picture
holds the figures that the document's table shows, so that a test can hold the two together.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 860, 330
TOP, BOTTOM = 76, 280
PANEL = 330
LEFT_PANEL, RIGHT_PANEL = 64, 500
DOT = 3.5

STYLE = """
    text { font: 11px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 14px; font-weight: 600; }
    .panel { font-weight: 600; }
    .tick { text-anchor: middle; }
    .value { text-anchor: end; }
    .grid { stroke: #8c959f; stroke-opacity: 0.35; }
    .limit { stroke: #8c959f; stroke-dasharray: 2 3; }
    .line { fill: none; stroke-width: 2; }
    .first { stroke: #0b62b8; } circle.first { fill: #0b62b8; }
    .second { stroke: #a8470a; } circle.second { fill: #a8470a; }
    .third { stroke: #8a3aa8; } circle.third { fill: #8a3aa8; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .first { stroke: #6cb6ff; } circle.first { fill: #6cb6ff; }
      .second { stroke: #f69d50; } circle.second { fill: #f69d50; }
      .third { stroke: #dcbdfb; } circle.third { fill: #dcbdfb; }
    }
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One fleet: its size, seconds until all are captured, their bound, downtime / floor."""

    instances: int
    captured_seconds: float
    bound_seconds: float
    median: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis: from `low` to `high` along the pixels `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = True

    def at(self, value: float) -> float:
        """Return where a value is drawn."""
        low, high, here = self.low, self.high, value
        if self.logarithmic:
            low, high, here = math.log10(low), math.log10(high), math.log10(value)
        return self.begin + (self.end - self.begin) * (here - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Series:
    """One line: how it looks, what it is called, and the values in the order of the rows."""

    style: str
    label: str
    values: Sequence[float]
    unit: str = ""


def draw(rows: Sequence[Row], *, most_median: float, most_p99: float) -> str:
    """Return the picture of fleets in the order of their sizes; the limits are dotted lines."""
    seconds = [value for row in rows for value in (row.captured_seconds, row.bound_seconds)]
    decades = Scale(
        10 ** math.floor(math.log10(min(seconds))),
        10 ** math.ceil(math.log10(max(seconds))),
        BOTTOM,
        TOP,
    )
    times = [
        Series("first", "all captured", [row.captured_seconds for row in rows], " s"),
        Series("second", "bound of EC2's rates", [row.bound_seconds for row in rows], " s"),
    ]
    ratios = [
        Series("first", "median", [row.median for row in rows]),
        Series("second", "p99", [row.p99 for row in rows]),
        Series("third", "worst", [row.worst for row in rows]),
    ]
    top = max(most_p99, *(row.worst for row in rows)) + 0.05
    linear = Scale(1.0, math.ceil(top * 10) / 10, BOTTOM, TOP, logarithmic=False)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "  <title>Time and downtime against the size of a fleet that is due at once</title>",
        f"  <desc>{_described(rows[-1])}</desc>",
        f"  <style>{STYLE}  </style>",
        '  <text class="title" x="8" y="20">A fleet that is due at the same minute</text>',
        *_panel("seconds until all are captured", rows, times, LEFT_PANEL, decades),
        *_decades(decades),
        *_panel("downtime / floor", rows, ratios, RIGHT_PANEL, linear),
        *_steps(linear),
        *(_limit(linear, value) for value in (most_median, most_p99)),
    ]
    return "\n".join([*lines, "</svg>", ""])


def _described(largest: Row) -> str:
    return (
        f"{largest.instances:,} instances are captured after {largest.captured_seconds:g} s, the"
        f" bound is {largest.bound_seconds:g} s; their downtime / floor is {largest.median:g} in"
        " the median."
    )


def _panel(
    title: str, rows: Sequence[Row], series: Sequence[Series], left: int, up: Scale
) -> Iterator[str]:
    """Yield one half: its title and legend, the sizes below it, and its lines."""
    across = Scale(rows[0].instances, rows[-1].instances, left + 12, left + PANEL - 12)
    yield f'  <text class="panel" x="{left}" y="44">{title}</text>'
    begin = left
    for each in series:
        yield f'  <path class="line {each.style}" d="M{begin} 58h16"/>'
        yield f'  <text x="{begin + 21}" y="62">{each.label}</text>'
        begin += 40 + 6 * len(each.label)
    for row in rows:
        size = f'x="{across.at(row.instances):.1f}" y="{BOTTOM + 18}"'
        yield f'  <text class="tick" {size}>{row.instances:,}</text>'
    yield f'  <text class="tick" x="{left + PANEL / 2:g}" y="{BOTTOM + 38}">instances</text>'
    for each in series:
        points = [
            (across.at(row.instances), up.at(value))
            for row, value in zip(rows, each.values, strict=True)
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        yield f'  <path class="line {each.style}" d="M{path}"/>'
        for row, value, (x, y) in zip(rows, each.values, points, strict=True):
            tooltip = f"{each.label}, {row.instances:,}: {value:g}{each.unit}"
            yield (
                f'  <circle class="{each.style}" cx="{x:.1f}" cy="{y:.1f}" r="{DOT}">'
                f"<title>{tooltip}</title></circle>"
            )


def _decades(up: Scale) -> Iterator[str]:
    for power in range(round(math.log10(up.low)), round(math.log10(up.high)) + 1):
        yield from _grid(LEFT_PANEL, up.at(10.0**power), f"{10**power:,}")


def _steps(up: Scale) -> Iterator[str]:
    for tenths in range(round(10 * up.low), round(10 * up.high) + 1):
        yield from _grid(RIGHT_PANEL, up.at(tenths / 10), f"{tenths / 10:.1f}")


def _grid(left: int, y: float, label: str) -> Iterator[str]:
    yield f'  <path class="grid" d="M{left} {y:.1f}h{PANEL}"/>'
    yield f'  <text class="value" x="{left - 6}" y="{y + 4:.1f}">{label}</text>'


def _limit(up: Scale, value: float) -> str:
    return f'  <path class="limit" d="M{RIGHT_PANEL} {up.at(value):.1f}h{PANEL}"/>'
