"""Draw docs/retention.svg: a calendar of what a retention of `7d 4w 12m 1y` keeps.

Usage: PYTHONPATH=layers/stillpoint python tools/retention_calendar.py

Every day of two years has brought a recovery point, and the product's own function decides, at a
fixed instant, which of them are kept and why. So the picture is the same on every machine, and a
test holds the document to it.
"""

import calendar
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from stillpoint.retain import parse_retain
from stillpoint.retention import Point, Rule, decide

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "retention.svg"
RETAIN = "7d 4w 12m 1y"
FIRST, TODAY = date(2024, 12, 1), date(2026, 11, 22)
OCCURRENCE = time(3, 0, tzinfo=UTC)
NOW = datetime.combine(TODAY, time(12, 0), UTC)
KINDS = ("day", "week", "month", "year")

CELL, STEP = 13, 15
BLOCK_WIDTH, BLOCK_HEIGHT = 7 * STEP + 15, 6 * STEP + 34
COLUMNS, ROWS = 6, 4
LEFT, TOP = 8, 68
WIDTH, HEIGHT = LEFT + COLUMNS * BLOCK_WIDTH - 9, TOP + ROWS * BLOCK_HEIGHT

STYLE = """
    text { font: 11px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 14px; font-weight: 600; }
    .letter { font-size: 9px; font-weight: 700; text-anchor: middle; fill: #ffffff; }
    .expired { fill: none; stroke: #8c959f; stroke-opacity: 0.45; stroke-linejoin: round; }
    .day { fill: #0b62b8; }
    .week { fill: #a8470a; }
    .month { fill: #11703c; }
    .year { fill: #8a3aa8; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .letter { fill: #0d1117; }
      .day { fill: #6cb6ff; }
      .week { fill: #f69d50; }
      .month { fill: #57c07d; }
      .year { fill: #dcbdfb; }
    }
"""


def reasons() -> dict[date, str]:
    """Return why the recovery point of each day is kept; those of the other days have expired."""
    points = [
        Point(day.isoformat(), datetime.combine(day, OCCURRENCE), available=True)
        for day in days(FIRST, TODAY)
    ]
    decision = decide(points, [Rule(parse_retain(RETAIN), ZoneInfo("UTC"))], NOW)
    return {date.fromisoformat(image_id): reason for image_id, reason in decision.keep.items()}


def days(first: date, last: date) -> Iterator[date]:
    """Yield the days from the first to the last, both included."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def kind(reason: str) -> str:
    """Return the kind of period that a point is kept for: today's is the newest of its day."""
    return next((kind for kind in KINDS if f" of the {kind} " in reason), "day")


def draw(kept: Mapping[date, str]) -> str:
    """Return the calendar as SVG, with a tooltip on every day that is kept."""
    kinds = Counter(kind(reason) for reason in kept.values())
    total = (TODAY - FIRST).days + 1
    counts = ", ".join(f"{kinds[each]} by {each}" for each in KINDS)
    headline = f"On {TODAY.isoformat()}, {RETAIN} keeps {len(kept)} of {total} recovery points"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        f'    width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title desc">',
        f'  <title id="title">{headline}</title>',
        '  <desc id="desc">',
        f"    A calendar from {FIRST:%B %Y} to {TODAY:%B %Y}, one square a day, one row a week",
        f"    from Monday to Sunday. Each day has brought a recovery point. Kept are {counts}.",
        "    The others have expired.",
        "  </desc>",
        f"  <style>{STYLE}  </style>",
        f'  <text class="title" x="{LEFT}" y="18">{headline}</text>',
        *_legend(kinds),
    ]
    first = FIRST.year * 12 + FIRST.month - 1
    for number in range(COLUMNS * ROWS):
        year, month = divmod(first + number, 12)
        row, column = divmod(number, COLUMNS)
        corner = LEFT + column * BLOCK_WIDTH, TOP + row * BLOCK_HEIGHT
        lines += _month(date(year, month + 1, 1), corner, kept)
    return "\n".join([*lines, "</svg>", ""])


def _legend(kinds: Mapping[str, int]) -> Iterator[str]:
    for column, each in enumerate(KINDS):
        x = LEFT + column * 160
        yield from _square(x, 32, each)
        yield f'  <text x="{x + STEP + 4}" y="43">newest of a {each}: {kinds[each]}</text>'
    x = LEFT + len(KINDS) * 160
    yield f'  <path class="expired" d="{_outline(x, 32)}"/>'
    yield f'  <text x="{x + STEP + 4}" y="43">expired</text>'


def _month(first: date, corner: tuple[int, int], kept: Mapping[date, str]) -> Iterator[str]:
    """Yield one month, a row for each of its weeks, which begin on Monday (ISO)."""
    left, top = corner
    yield f'  <text x="{left}" y="{top + 12}">{first:%B %Y}</text>'
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    expired = ""
    for day in days(first, min(last, TODAY)):
        week, weekday = divmod(day.day - 1 + first.weekday(), 7)
        x, y = left + weekday * STEP, top + 20 + week * STEP
        if day in kept:
            yield from _square(x, y, kind(kept[day]), f"{day.isoformat()}: {kept[day]}")
        else:
            expired += _outline(x, y)
    if expired:
        yield f'  <path class="expired" d="{expired}"/>'


def _square(x: int, y: int, which: str, tooltip: str = "") -> Iterator[str]:
    """Yield the square of a point that is kept: a colour and a letter for the reason."""
    title = f"<title>{tooltip}</title>" if tooltip else ""
    size = f'width="{CELL}" height="{CELL}" rx="2"'
    yield f'  <rect class="{which}" x="{x}" y="{y}" {size}>{title}</rect>'
    letter = which[0].upper()
    yield f'  <text class="letter" x="{x + CELL / 2:g}" y="{y + 10}">{letter}</text>'


def _outline(x: int, y: int) -> str:
    """Return the empty square of a point that has expired, as a part of a path."""
    side = CELL - 1
    return f"M{x + 0.5:g} {y + 0.5:g}h{side}v{side}h-{side}z"


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(reasons()), encoding="utf-8")
    print(f"Wrote {PICTURE.name}.")


if __name__ == "__main__":
    main()
