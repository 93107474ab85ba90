"""The retention document: its picture and its tables are what the function says."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest

from stillpoint.retain import parse_retain
from stillpoint.retention import Point, Rule, decide
from tools import retention_calendar
from tools.retention_calendar import KINDS, PICTURE, draw, kind, reasons

DOCUMENT = PICTURE.with_suffix(".md")
SVG = "{http://www.w3.org/2000/svg}"


def table(heading: str) -> Mapping[str, list[str]]:
    """Return the cells of the table with a heading in its first cell, by the first of each row."""
    lines = DOCUMENT.read_text(encoding="utf-8").split(f"| {heading} |", 1)[1].splitlines()
    rows: dict[str, list[str]] = {}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip(" `") for cell in line.strip("|").split("|"))
        rows[first] = others
    return rows


def test_the_picture_is_what_the_tool_draws() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(reasons()), (
        "Run: PYTHONPATH=layers/stillpoint .venv/bin/python tools/retention_calendar.py"
    )


def test_the_tool_writes_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retention_calendar, "PICTURE", tmp_path / "retention.svg")
    retention_calendar.main()
    assert (tmp_path / "retention.svg").read_bytes() == PICTURE.read_bytes()
    assert capsys.readouterr().out == "Wrote retention.svg.\n"


def test_the_picture_shows_every_point_that_is_kept_and_can_be_read_aloud() -> None:
    root = ET.fromstring(PICTURE.read_text(encoding="utf-8"))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title")
    description = " ".join((root.findtext(f"{SVG}desc") or "").split())
    assert "Kept are 7 by day, 4 by week, 12 by month, 1 by year." in description
    tooltips = [title.text for title in root.iterfind(f".//{SVG}rect/{SVG}title")]
    expected = {f"{day.isoformat()}: {reason}" for day, reason in reasons().items()}
    assert len(tooltips) == len(expected)
    assert set(tooltips) == expected
    squares = sum((path.get("d") or "").count("z") for path in root.iterfind(f"{SVG}path"))
    days = (retention_calendar.TODAY - retention_calendar.FIRST).days + 1
    assert squares == days - len(expected) + 1  # one in the legend


def test_the_document_lists_what_each_term_keeps() -> None:
    listed = table("kept as the newest of a")
    found: dict[str, list[str]] = {each: [] for each in KINDS}
    for day, reason in sorted(reasons().items(), reverse=True):
        found[kind(reason)].append(day.isoformat())
    assert listed == {each: [str(len(days)), ", ".join(days)] for each, days in found.items()}


def test_the_document_says_how_many_points_each_retention_leaves() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    mornings = (now - timedelta(days=number, hours=9) for number in range(1000))
    points = [Point(f"{at:%Y-%m-%d}", at, available=True) for at in mornings]
    listed = table("retention | recovery points")
    assert len(listed) == 6
    for retain, cells in listed.items():
        kept = list(decide(points, [Rule(parse_retain(retain), ZoneInfo("UTC"))], now).keep)
        assert cells == [str(len(kept)), min(kept)], retain


def test_the_reasons_in_the_document_are_those_of_the_function() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    points = [
        Point(f"ami-{number}", now - timedelta(days=number), available=number > 0)
        for number in range(60)
    ]
    said = set()
    for retain in ("14", "30d", "7d 4w 12m 1y"):
        decision = decide(points, [Rule(parse_retain(retain), ZoneInfo("UTC"))], now)
        said |= {*decision.keep.values(), *decision.expire.values()}
    fates = table("fate")
    for fate in ("kept", "expired"):
        assert set(re.split("; ", fates[fate][0])) <= said
