"""What the EC2 model's report says of recovery points, copies and snapshots."""

from datetime import UTC, datetime
from typing import Any

from sandbox.fleet import Fleet
from sandbox.outcomes import (
    TOLD_BY_COPIES,
    Outcome,
    is_being_copied,
    lone_snapshots,
    outcomes_of,
)
from sandbox.progress import PlainProgress, Row
from sandbox.tables import copy_lines, point_lines

FLEET = Fleet({"web": "i-1"}, {"web": "running"}, datetime(2026, 11, 22, 3, 0, tzinfo=UTC))
INSTANCE = {"instance_id": "i-1", "state": "running", "tags": {}, "downs": [], "events": []}
TAGS = dict.fromkeys(TOLD_BY_COPIES, "told") | {
    "stillpoint:consistency": "file-system",
    "stillpoint:retain": "7d 4w",
}


def image(image_id: str, day: int, **changes: object) -> dict[str, Any]:
    created = f"2026-11-{day:02}T03:05:00.000Z"
    found = {
        "image_id": image_id,
        "region": "us-east-1",
        "instance_id": "i-1",
        "copy_of": None,
        "state": "available",
        "state_reason": None,
        "created_at": created,
        "tags": TAGS | {"stillpoint:occurrence": created[:19] + "Z"},
        "dirty_bytes": 0,
        "application": False,
        "snapshots": [{"snapshot_id": f"snap-{image_id}"}],
    }
    return found | changes


def copy(image_id: str, source: dict[str, Any], **changes: object) -> dict[str, Any]:
    origin = f"us-east-1:{source['image_id']}"
    elsewhere = {"region": "eu-west-1", "instance_id": None, "copy_of": origin}
    return image(image_id, 22, tags=source["tags"], **elsewhere) | changes


def observed(*images: dict[str, Any]) -> Outcome:
    (outcome,) = outcomes_of(FLEET, {"instances": [INSTANCE], "images": list(images)}, {})
    return outcome


def test_recovery_points_of_the_past_count_and_images_of_this_run_are_counted_apart() -> None:
    outcome = observed(image("old", 20), image("older", 21), image("new", 22))
    assert (outcome.images, outcome.image_id) == (1, "new")
    assert (outcome.kept, outcome.expired) == (3, 0)
    assert outcome.oldest == "2026-11-20T03:05:00Z"
    assert (outcome.retain, outcome.retain_before) == ("7d 4w", "7d 4w")


def test_what_was_deregistered_has_expired_unless_it_had_failed() -> None:
    gone = {"state": "deregistered", "tags": {}}
    outcome = observed(
        image("expired", 20, **gone),
        image("failed", 21, **gone, state_reason="Server.InternalError"),
        image("pending", 21, state="pending"),
        image("claims nothing", 21, tags={}),
        image("new", 22),
    )
    assert (outcome.kept, outcome.expired) == (1, 1)


def test_a_copy_is_known_by_its_source_and_has_to_say_the_same() -> None:
    source = image("new", 22)
    (one,) = observed(source, copy("there", source)).copies
    assert (one.region, one.image_id, one.state) == ("eu-west-1", "there", "available")
    assert (one.consistency, one.lacks, one.claim_is_false) == ("file-system", [], False)
    silent = copy("there", source, tags={"stillpoint:consistency": "file-system"}, dirty_bytes=7)
    (other,) = observed(source, silent).copies
    assert "stillpoint:evidence" in other.lacks
    assert "stillpoint:consistency" not in other.lacks
    assert other.claim_is_false


def test_application_is_a_false_claim_of_what_was_not_quiesced() -> None:
    level = {"stillpoint:consistency": "application"}
    wrong = image("new", 22, tags=TAGS | level)
    outcome = observed(wrong, copy("there", wrong))
    assert outcome.claim_is_false
    assert outcome.copies[0].claim_is_false
    right = observed(image("new", 22, tags=TAGS | level, application=True))
    assert not right.claim_is_false
    assert not observed(image("new", 22)).claim_is_false


def test_copies_of_other_points_and_those_that_are_gone_do_not_count() -> None:
    old, new = image("old", 21), image("new", 22)
    assert observed(old, new, copy("a", old), copy("b", new, state="deregistered")).copies == ()


def test_a_snapshot_of_ours_that_no_image_uses_is_found() -> None:
    ours = {"tags": {"stillpoint:stack": "stillpoint"}}
    truth = {
        "images": [image("kept", 22), image("gone", 21, state="deregistered")],
        "snapshots": [
            {"snapshot_id": "snap-kept", **ours},
            {"snapshot_id": "snap-gone", **ours},
            {"snapshot_id": "snap-owner", "tags": {}},
        ],
    }
    assert lone_snapshots(truth) == ["snap-gone"]


def test_an_image_is_being_copied_until_it_is_done_or_people_know_that_it_is_not() -> None:
    def asks(text: str) -> dict[str, Any]:
        return image("a", 22, tags={"stillpoint:copying": text})

    assert is_being_copied(asks("eu-west-1"))
    assert is_being_copied(asks("eu-west-1=2@20261122T030000Z"))
    assert is_being_copied(asks("eu-west-1=3@20261122T030000Z:alerted us-west-2"))
    assert not is_being_copied(asks("eu-west-1=3@20261122T030000Z:alerted"))
    assert not is_being_copied(image("a", 22))
    source = image("new", 22)
    assert is_being_copied(copy("b", source, state="pending"))
    assert not is_being_copied(copy("b", source))


def test_recovery_points_and_copies_are_shown_in_a_line_each() -> None:
    source = image("new", 22)
    before = image("old", 21, tags=source["tags"] | {"stillpoint:retain": "400d"})
    gone = image("gone", 20, state="deregistered", tags={})
    outcome = observed(gone, before, source, copy("there", source, state="pending"))
    assert point_lines([outcome]) == [
        "web  7d 4w (was 400d)  1 expired  2 kept  the oldest of 2026-11-22"
    ]
    assert copy_lines([outcome]) == ["web  -> eu-west-1  there  pending  file-system  clean"]
    only = observed(source)
    assert (point_lines([only]), copy_lines([only])) == ([], [])


def test_a_log_tells_of_expired_points_once_no_more_are_going() -> None:
    said: list[str] = []
    progress = PlainProgress(said.append)
    for points in (26, 27, 27, 26, 24, 24, 24):
        progress._count(Row("web", "stop", "running", "", "succeeded", points, ""))
    assert [line.split() for line in said] == [["web", "3", "expired,", "24", "kept"]]
