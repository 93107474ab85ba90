"""Plain text for consoles."""

from collections.abc import Iterable, Sequence

from sandbox.outcomes import Outcome

HEADINGS = (
    "instance",
    "method",
    "outcome",
    "claimed",
    "page cache",
    "downtime",
    "floor",
    "state",
)


def outcome_row(outcome: Outcome) -> tuple[str, ...]:
    """One instance as the cells under HEADINGS."""
    return (
        outcome.name,
        outcome.method,
        outcome.outcome,
        outcome.consistency or "-",
        _page_cache(outcome.dirty_bytes),
        _seconds(outcome.downtime_seconds),
        _seconds(outcome.floor_seconds),
        outcome.state_after,
    )


def outcome_lines(outcomes: Iterable[Outcome]) -> list[str]:
    """A table of instances, one line each."""
    return aligned([HEADINGS, *(outcome_row(each) for each in outcomes)])


def point_lines(outcomes: Iterable[Outcome]) -> list[str]:
    """What is left of the recovery points of each instance that has a past, one line each."""
    rows = [
        (
            each.name,
            _retain(each),
            f"{each.expired or 'none'} expired",
            f"{each.kept} kept",
            f"the oldest of {each.oldest[:10]}",
        )
        for each in outcomes
        if each.kept + each.expired > 1
    ]
    return aligned(rows) if rows else []


def copy_lines(outcomes: Iterable[Outcome]) -> list[str]:
    """The copies of each newest recovery point, one line each."""
    rows = [
        (
            each.name,
            f"-> {copy.region}",
            copy.image_id,
            copy.state,
            copy.consistency or "-",
            _page_cache(copy.dirty_bytes),
        )
        for each in outcomes
        for copy in each.copies
    ]
    return aligned(rows) if rows else []


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _retain(outcome: Outcome) -> str:
    if outcome.retain_before in ("", outcome.retain):
        return outcome.retain
    return f"{outcome.retain} (was {outcome.retain_before})"


def _page_cache(dirty_bytes: int | None) -> str:
    if dirty_bytes is None:
        return "-"
    return "clean" if dirty_bytes == 0 else f"{dirty_bytes / 1e6:.1f} MB dirty"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
