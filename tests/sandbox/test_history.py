"""The life of recovery points over three years, judged by an oracle of its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.history import command
from sandbox.history.oracle import Point, Standing, expired
from sandbox.history.story import FORTNIGHT, YEARS, Story, Verb

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FINAL = timedelta(days=180)


def points(days: int, retain: str, zone: str = "UTC") -> list[Point]:
    """A recovery point a day at 03:00 UTC, the newest of today; its id is its day."""
    newest = datetime(2026, 11, 22, 3, tzinfo=UTC)
    moments = [newest - timedelta(days=back) for back in range(days)]
    return [Point(f"{each.date()}", each, retain, zone) for each in moments]


def kept(some: list[Point], standing: Standing, now: datetime = NOON) -> list[str]:
    gone = expired(some, standing, now, FINAL)
    return [each.image_id for each in some if each.image_id not in gone]


def balanced(result: dict[str, Any]) -> bool:
    counts = result["counts"]
    made = counts["made"] + counts["copied"]
    return bool(made == counts["expired"] + sum(result["kept"].values()))


@pytest.mark.timeout(600)
def test_after_three_years_exactly_what_the_policies_keep_is_there() -> None:
    result = command.play(full=False)
    assert result["violations"] == []
    assert result["wrong"] == []
    assert result["orphans"] == []
    assert result["days"] == YEARS.days == 3 * 365
    assert result["counts"]["made"] > 4000
    assert result["counts"]["copied"] > 2000
    assert balanced(result)
    reasons = {
        reason.partition(":")[0] for _, *some in result["spared"].values() for reason in some
    }
    assert reasons == {"hold", "use", "use-in-template", "protect"}
    assert {"LastPointExpired", "PruningFailed", "CopyFailed", "CopySucceeded"} <= set(
        result["told"]
    )


def test_a_fortnight_in_full_through_the_planner_the_machine_and_iam() -> None:
    result = command.play(full=True)
    assert result["violations"] == []
    assert result["days"] == FORTNIGHT.days
    assert result["counts"]["copied"] > 0
    assert balanced(result)
    assert next(command.lines(result)).split() == ["simulated", "days", "14,", "in", "full"]


def test_the_judge_notices_what_expires_too_soon() -> None:
    result = command.play(full=False, days=40, sabotage="expires-one-too-many")
    assert any("has not expired" in each for each in result["wrong"])
    assert any("ought to be there" in each for each in result["violations"])
    assert any(line.startswith("VIOLATED") for line in command.lines(result))


def test_the_judge_notices_what_is_kept_too_long() -> None:
    result = command.play(full=False, days=40, sabotage="keeps-one-too-many")
    assert result["wrong"] == []
    assert any("ought to have gone" in each for each in result["violations"])


def test_the_judge_notices_what_goes_although_it_is_held() -> None:
    result = command.play(full=False, days=100, sabotage="spares-nothing")
    assert any("use: bystander" in each for each in result["wrong"])


def test_the_oracle_agrees_with_the_table_of_the_documentation() -> None:
    live = {
        "14": (14, "2026-11-09"),
        "30d": (30, "2026-10-24"),
        "3m": (92, "2026-08-23"),
        "7d 4w": (11, "2026-10-25"),
        "4w 12m": (16, "2025-11-30"),
        "7d 4w 12m 1y": (24, "2024-12-31"),
    }
    for retain, (number, oldest) in live.items():
        found = kept(points(800, retain), Standing(gone=False, retain=retain))
        assert (len(found), found[-1]) == (number, oldest), retain


def test_the_oracle_keeps_all_that_either_of_two_retentions_keeps() -> None:
    found = kept(points(40, "3"), Standing(gone=False, retain="30d"))
    assert len(found) == 30


def test_the_oracle_keeps_everything_if_a_retention_cannot_be_read() -> None:
    some = points(40, "3")
    for wrong in ("a fortnight", "0", "3d 4d", "-1", "11y", "1001"):
        assert len(kept(some, Standing(gone=False, retain=wrong))) == 40


def test_the_oracle_lets_the_last_one_go_after_final_retention() -> None:
    gone = Standing(gone=True, retain="")
    later = NOON + timedelta(days=20)
    assert kept(points(5, "7d"), gone, later) == ["2026-11-22"]
    assert kept(points(5, "7d"), gone, NOON + FINAL) == []
    assert len(kept(points(5, "3"), gone, later)) == 3
    assert kept(points(5, "3"), gone, NOON + FINAL) == []


def test_the_days_of_what_is_gone_go_on() -> None:
    gone = Standing(gone=True, retain="")
    assert kept(points(5, "3d 1w"), gone, NOON + timedelta(days=1)) == ["2026-11-22", "2026-11-21"]


@pytest.mark.parametrize("story", [YEARS, FORTNIGHT])
def test_a_story_tells_of_everything_in_its_days(story: Story) -> None:
    launched = {deed.who: deed.day for deed in story.deeds if deed.verb is Verb.LAUNCH}
    labels = {deed.label: deed.day for deed in story.deeds if deed.label and deed.who}
    for deed in story.deeds:
        assert 0 <= deed.day < story.days
        assert not deed.who or launched[deed.who] <= deed.day
        assert deed.verb is not Verb.LET_GO or labels[deed.label] < deed.day


def test_three_years_tell_of_every_kind_of_deed() -> None:
    assert {deed.verb for deed in YEARS.deeds} == set(Verb)
