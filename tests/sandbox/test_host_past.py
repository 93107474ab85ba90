"""The past of an instance: what the product would have left, put into the EC2 model."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from sandbox.control import Control
from sandbox.ec2 import World, past
from sandbox.past import images_of
from sandbox.scenario import InstanceSpec, PastSpec, due, load, parse
from stillpoint.ownership import is_ours
from stillpoint.retain import parse_retain
from stillpoint.retention import Point, Rule, decide
from stillpoint.tags import parse_iso
from tests.sandbox.ec2_lab import START, Lab

BEGIN = datetime.fromtimestamp(START, UTC)
DAILY = {"stillpoint:schedule": "daily {time+3m}"}
ID = "i-0123456789abcdef0"


def spec(days: int, retain: str, pruned: int | None = None, state: str = "running") -> InstanceSpec:
    return InstanceSpec("web", dict(DAILY), state=state, past=PastSpec(days, retain, pruned))


def occurrences(rows: list[dict[str, Any]]) -> list[datetime]:
    return [cast("datetime", parse_iso(row["tags"]["stillpoint:occurrence"])) for row in rows]


def as_points(rows: list[dict[str, Any]]) -> list[Point]:
    pairs = zip(rows, occurrences(rows), strict=True)
    return [Point(row["name"], occurrence, available=True) for row, occurrence in pairs]


def test_there_was_a_backup_at_the_same_time_of_each_day_before() -> None:
    rows = images_of(spec(3, "400d"), ID, BEGIN)
    today = due(spec(3, "400d"), BEGIN)
    assert occurrences(rows) == [today - timedelta(days=day) for day in (3, 2, 1)]
    assert images_of(InstanceSpec("web", dict(DAILY)), ID, BEGIN) == []


def test_what_was_left_is_the_product_s_own_with_its_evidence() -> None:
    (row,) = images_of(spec(1, "7d 4w"), ID, BEGIN)
    assert is_ours(row["name"], row["tags"], stack="stillpoint", source_region=None)
    assert row["tags"]["stillpoint:consistency"] == "file-system"
    assert row["tags"]["stillpoint:evidence"].startswith("stopped in 35 s")
    assert row["tags"]["stillpoint:retain"] == "7d 4w"
    assert row["tags"]["stillpoint:schedule"] == "daily 03:03"
    assert row["tags"]["stillpoint:resumed-at"] == "2026-11-21T03:04:25Z"
    assert row["tags"]["Name"] == "web"


def test_an_instance_that_was_stopped_before_has_crash_consistent_ones() -> None:
    (row,) = images_of(spec(1, "4d", state="stopped"), ID, BEGIN)
    assert row["tags"]["stillpoint:consistency"] == "crash"
    assert "stillpoint:stopped-at" not in row["tags"]


def test_a_past_that_was_pruned_holds_what_was_kept_then_and_all_since() -> None:
    rows = images_of(spec(30, "5d 2w", pruned=2), ID, BEGIN)
    assert [each.day for each in occurrences(rows)] == [8, 15, 16, 17, 18, 19, 20, 21]


def test_the_demo_shows_the_same_retention_pass_on_whichever_day() -> None:
    chosen = load("fleet")
    (web,) = [each for each in chosen.instances if each.name == "web"]
    rule = Rule(parse_retain(web.tags["stillpoint:retain"]), ZoneInfo("UTC"))
    expected = chosen.expected["web"]
    for day in (*range(0, 4 * 366, 11), *range(30, 80)):  # and every day around a new year
        begin = BEGIN + timedelta(days=day)
        today = due(web, begin)
        points = as_points(images_of(web, ID, begin))
        after = decide([*points, Point("today", today, available=True)], [rule], today)
        assert (len(after.keep), len(after.expire)) == (expected.kept, expected.expired), begin
        assert len(points) == 26


def test_the_demo_s_slip_of_the_pen_would_delete_more_than_may_be_deleted_at_once() -> None:
    (archive,) = [each for each in load("fleet").instances if each.name == "archive"]
    points = as_points(images_of(archive, ID, BEGIN))
    mistyped = Rule(parse_retain(archive.tags["stillpoint:retain"]), ZoneInfo("UTC"))
    today = due(archive, BEGIN)
    after = decide([*points, Point("today", today, available=True)], [mistyped], today)
    assert len(after.expire) == 117


def test_an_instance_that_is_never_due_has_no_past() -> None:
    row = {"name": "web", "tags": {"stillpoint:schedule": "daily 03:00"}}
    with pytest.raises(ValueError, match="web has a past, but nothing of it is ever due"):
        parse({"title": "t", "instance": [row | {"past": {"days": 3, "retain": "4d"}}]})


def test_the_images_are_there_and_available_with_complete_snapshots() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    rows = images_of(spec(2, "400d"), web, datetime.fromtimestamp(lab.clock.now(), UTC))
    past.put(lab.world, web, reversed(rows))
    images = lab.call("DescribeImages", Owners=["self"])["Images"]
    assert sorted(image["Name"] for image in images) == sorted(row["name"] for row in rows)
    for image in images:
        assert image["State"] == "available"
        assert image["SourceInstanceId"] == web
        ids = [mapping["Ebs"]["SnapshotId"] for mapping in image["BlockDeviceMappings"]]
        snapshots = lab.call("DescribeSnapshots", SnapshotIds=ids)["Snapshots"]
        assert [snapshot["State"] for snapshot in snapshots] == ["completed", "completed"]
        assert all(snapshot["Tags"] == image["Tags"] for snapshot in snapshots)
    truth = lab.world.truth()["images"]
    assert [(image["dirty_bytes"], image["at_rest"]) for image in truth] == [(0, True)] * 2


def test_an_image_of_the_past_can_be_deregistered_with_its_snapshots() -> None:
    lab = Lab()
    web = lab.launch()
    past.put(lab.world, web, images_of(spec(1, "4d"), web, BEGIN))
    (image,) = lab.call("DescribeImages", Owners=["self"])["Images"]
    lab.call("DeregisterImage", ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)
    assert lab.world.truth()["snapshots"] == []


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"name": "a", "created_at": START, "tags": {}}], "would not be available yet"),
        ([{"name": "a", "created_at": 1.0, "tags": {}}] * 2, "the name a already"),
        ([{"name": "", "created_at": 1.0, "tags": {}}], "has a name"),
        ([{"name": "a", "created_at": 1.0, "tags": []}], "has a name"),
    ],
)
def test_what_cannot_have_been_is_refused(rows: list[dict[str, Any]], problem: str) -> None:
    lab = Lab()
    web = lab.launch()
    with pytest.raises(ValueError, match=problem):
        past.put(lab.world, web, rows)


def test_the_control_interface_puts_images_into_the_past() -> None:
    lab = Lab()
    web = lab.launch("web")
    parts: dict[str, Any] = dict.fromkeys(("clock", "faults", "lambdas", "engine", "truth"))
    control = Control(world=lab.world, secret="s", **parts)
    rows = images_of(spec(4, "400d"), web, BEGIN)
    assert control.answer("POST", "instances/web/past", rows) == {}
    assert count(lab.world) == 4
    with pytest.raises(LookupError, match="0 instances"):
        control.answer("POST", "instances/nobody/past", rows)


def count(world: World) -> int:
    return len(world.truth()["images"])
