"""The document on scale: its picture shows its table, and the benchmark fills its places."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import document, plot
from benchmarks.document import DOCUMENT, PICTURE

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    plot.Row(1, 44.5, 46.0, 1.06, 1.06, 1.06),
    plot.Row(20, 100.9, 55.4, 1.09, 1.2, 1.2),
    plot.Row(1000, 655.0, 545.0, 1.1, 1.3, 1.6),
]
PLACES = "before\n\n<!-- bench: speed -->\nold\n<!-- end -->\n\nafter\n"


def fleet(row: plot.Row) -> dict[str, object]:
    """Return what the report's table of fleets needs of one."""
    return {
        "instances": row.instances,
        "captured_seconds": row.captured_seconds,
        "bound_seconds": row.bound_seconds,
        "bound_ratio": row.captured_seconds / row.bound_seconds,
        "downtime_ratio": {"median": row.median, "p99": row.p99, "worst": row.worst},
        "failed": 0,
        "missed": 0,
        "throttled_calls": 1234,
        "api_calls_per_backup": 57.0,
        "transitions_per_backup": 72.0,
        "usd_per_backup": {"orchestration": 0.0019},
        "bytes_per_backup": {"logs": 1, "metrics": 1},
        "peak": {"instances_in_a_backup": 1, "executions": 1, "invocations": 1, "a_second": 1},
        "rates": [],
    }


def test_the_picture_shows_the_table_of_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [row.instances for row in document.rows(text)] == [1, 20, 100, 1000]
    assert PICTURE.read_text(encoding="utf-8") == document.drawn(text)


def test_an_update_fills_the_places_and_draws_what_it_filled_in(tmp_path: Path) -> None:
    page, picture = tmp_path / "scale.md", tmp_path / "scale.svg"
    others = "".join(f"<!-- bench: {name} -->\n<!-- end -->\n" for name in ("use", "rates"))
    page.write_text(PLACES + others, encoding="utf-8")
    document.update({"fleets": [fleet(row) for row in ROWS]}, page, picture)
    text = page.read_text(encoding="utf-8")
    assert document.rows(text) == ROWS
    assert "old" not in text
    assert text.startswith("before\n\n<!-- bench: speed -->\n| instances |")
    assert "| 1,000 | 655.0 s | 545.0 s | 1.202 | 1.100 | 1.300 | 1.600 | 0 | 1,234 |" in text
    assert picture.read_text(encoding="utf-8") == document.drawn(text)


def test_a_table_without_a_place_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(PLACES, encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table use"):
        document.update({"fleets": [fleet(row) for row in ROWS]}, page, tmp_path / "scale.svg")


def test_the_picture_has_every_figure_as_a_tooltip_and_can_be_read_aloud() -> None:
    root = ET.fromstring(plot.draw(ROWS, most_median=1.15, most_p99=1.5))
    assert root.get("role") == "img"
    assert "1,000 instances are captured after 655 s" in (root.findtext(f"{SVG}desc") or "")
    tooltips = {title.text for title in root.iterfind(f".//{SVG}circle/{SVG}title")}
    assert len(tooltips) == len(ROWS) * 5
    assert {"all captured, 20: 100.9 s", "bound of EC2's rates, 1: 46 s", "worst, 1,000: 1.6"} <= (
        tooltips
    )


def test_more_is_drawn_higher_and_larger_fleets_further_to_the_right() -> None:
    root = ET.fromstring(plot.draw(ROWS, most_median=1.15, most_p99=1.5))
    dots = [
        (title.text, float(circle.get("cx", "")), float(circle.get("cy", "")))
        for circle in root.iterfind(f"{SVG}circle")
        for title in circle.iterfind(f"{SVG}title")
    ]
    place = {text: (x, y) for text, x, y in dots}
    small, large = place["all captured, 20: 100.9 s"], place["all captured, 1,000: 655 s"]
    assert small[0] < large[0]
    assert small[1] > large[1]
    assert all(plot.TOP <= y <= plot.BOTTOM for _, _, y in dots)
