"""What a tick tells: many instances in one message, each of them once and with its own reason."""

import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.messages import Event, render
from stillpoint.plan import Missed
from stillpoint.plan_events import MOST_IN_ONE, backup_missed, batches, policy_invalid
from tests.unit.builders import NOW, an_instance, at

SNS_LIMIT = 256 * 1024
SIX_HOURS = timedelta(hours=6)
DUE = at("2026-11-21 03:00")
EMOJI = "\N{FLOPPY DISK}" * 256


def missed(
    *instance_ids: str, group: str | None = None, occurrence: datetime = DUE, name: str = ""
) -> Missed:
    names = tuple(name for _ in instance_ids)
    return Missed(group or instance_ids[0], group, occurrence, instance_ids, names)


def told(*occurrences: Missed) -> Event:
    ids = [each for one in occurrences for each in one.instance_ids]
    return backup_missed(occurrences, {each: an_instance(each) for each in ids}, SIX_HOURS, NOW)


@given(st.lists(st.integers(1, 40), max_size=30))
def test_every_missed_occurrence_is_in_one_batch_whole_and_in_its_place(sizes: list[int]) -> None:
    all_of_them = [
        missed(*(f"i-{number}-{member}" for member in range(size)))
        for number, size in enumerate(sizes)
    ]
    found = list(batches(all_of_them))
    assert [one for batch in found for one in batch] == all_of_them
    assert all(sum(len(one.instance_ids) for one in batch) <= MOST_IN_ONE for batch in found)


def test_one_missed_group_is_told_as_that_group_and_its_occurrence() -> None:
    event = told(missed("i-0a", "i-0b", group="erp"))
    assert (event.group, event.occurrence) == ("erp", DUE)
    assert event.why.startswith("It was due at 2026-11-21T03:00:00Z and could not start within 6")
    assert [report.why for report in event.instances] == ["", ""]


def test_of_several_each_instance_says_what_it_missed() -> None:
    later = at("2026-11-21 04:00")
    event = told(missed("i-0a"), missed("i-0b", "i-0c", group="erp", occurrence=later))
    assert (event.group, event.occurrence) == (None, None)
    assert event.why.startswith("They were due and could not start within 6 hours")
    with_group = "it was due at 2026-11-21T04:00:00Z, with its group erp"
    alone = "it was due at 2026-11-21T03:00:00Z"
    assert [report.why for report in event.instances] == [alone, with_group, with_group]


def test_several_of_one_occurrence_share_it() -> None:
    assert told(missed("i-0a"), missed("i-0b")).occurrence == DUE


@pytest.mark.parametrize("text", [EMOJI, '"\\' * 128, "\x00" * 256])
def test_as_many_as_are_told_at_once_fit_one_message(text: str) -> None:
    ids = [f"i-{number:017x}" for number in range(MOST_IN_ONE)]
    instances = [an_instance(each, name=text) for each in ids]
    events = (
        policy_invalid(instances, dict.fromkeys(ids, text * 40), NOW),
        told(*(missed(each, group="g" * 40, name=text) for each in ids)),
    )
    for event in events:
        message = render(event)
        assert len(json.dumps({"default": message.body, "email": message.text})) < SNS_LIMIT
        assert len(json.loads(message.body)["instances"]) == MOST_IN_ONE
