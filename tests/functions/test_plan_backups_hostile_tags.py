"""Any tag value whatsoever gives a reason on its instance and never disturbs another."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.ec2.models import ec2_backends
from moto.sns.models import sns_backends

from stillpoint.tags import OWNER_TAGS, Tag, portable
from tests.functions.fleet import launch_one, own_tags_of, tag, tags_of
from tests.functions.samples import sample
from tests.functions.stack import ACCOUNT, REGION, Stack

TICK = sample("plan_backups_tick")
HOSTILE = {
    "empty": "",
    "blank": "   \t  ",
    "as long as can be": "x" * 256,
    "many schedules": "daily;" * 42,
    "control characters": "daily\t\n03:00\x7f\x85\n",  # those that XML, and so EC2, can carry
    "emoji": "daily \N{FLOPPY DISK}" * 20,
    "right to left": "\N{RIGHT-TO-LEFT OVERRIDE}daily 03:00",
    "digits of another script": "daily \N{ARABIC-INDIC DIGIT ZERO}\N{ARABIC-INDIC DIGIT THREE}:00",
    "a nonsense zone": "daily 03:00 Mars/Phobos",
    "a zone that is a path": "daily 03:00 ../../etc/passwd",
    "an impossible date": "cron(0 3 31 2 ? *)",
    "an impossible year": "cron(0 3 1 1 ? 1969)",
    "a rate of nothing": "rate(0 minutes)",
    "a rate without end": "rate(999999999 days)",
    "a time that is none": "daily 99:99",
    "JSON": '{"schedule": "daily"}',
    "a script": "$(reboot); daily",
    "quotation marks": "'\"`daily`\"'",
}


def a_fleet_with(key: str) -> dict[str, str]:
    """Launch an instance for every hostile value of a tag; return the values by id."""
    return {launch_one(tags={key: value}): value for value in HOSTILE.values()}


@pytest.mark.parametrize("key", sorted(OWNER_TAGS))
def test_hostile_values_are_problems_of_their_instances_alone(stack: Stack, key: str) -> None:
    odd = a_fleet_with(key)
    neighbour = launch_one()
    answer = stack.invoke("plan_backups", TICK, variables={"MAX_CONCURRENT_BACKUPS": "100"})
    assert f"{neighbour}-20261122T030000Z" in stack.executions()
    invalid = [row for row in answer["instances"] if row["status"] == "invalid"]
    assert {row["instance_id"] for row in invalid} <= odd.keys()
    assert invalid
    told = {
        row["instance_id"]: message for message in stack.messages() for row in message["instances"]
    }
    assert told.keys() == {row["instance_id"] for row in invalid}
    for row in invalid:
        problem = own_tags_of(row["instance_id"])["problem"]
        assert problem.startswith("policy: ")
        assert portable(problem) == problem
        assert row["reason"].isprintable()
        assert row["reason"] in told[row["instance_id"]]["text"]


@pytest.mark.parametrize("key", [Tag.CYCLE, Tag.LAST, Tag.PROBLEM, Tag.RECOVERY_POINT])
def test_hostile_values_in_our_own_tags_disturb_nobody(stack: Stack, key: str) -> None:
    odd = a_fleet_with(key)
    neighbour = launch_one()
    answer = stack.invoke("plan_backups", TICK, variables={"MAX_CONCURRENT_BACKUPS": "100"})
    assert f"{neighbour}-20261122T030000Z" in stack.executions()
    assert {row["instance_id"] for row in answer["instances"]} == {neighbour, *odd}
    assert stack.messages() == []


def test_hostile_names_break_no_message(stack: Stack) -> None:
    named = {
        launch_one(schedule="nonsense", seen=None, tags={"Name": value}): value
        for value in HOSTILE.values()
    }
    stack.invoke("plan_backups", TICK)
    for message in stack.messages():
        assert message["subject"].isascii()
        assert message["subject"].isprintable()
        assert len(message["subject"]) < 100
        for row in message["instances"]:
            assert row["name"] == named.pop(row["instance_id"])
    assert named == {}


# EC2 answers in XML, which cannot carry the other control characters.
ANY_VALUE = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\x7f\x85"),
    max_size=256,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(Tag)), ANY_VALUE))
def test_whatever_the_tags_say_the_neighbours_are_backed_up(
    stack: Stack, tags: dict[str, str]
) -> None:
    ec2_backends[ACCOUNT][REGION].reset()
    sns_backends[ACCOUNT][REGION].topics[stack.topic_arn].sent_notifications.clear()
    neighbour = launch_one()
    odd = launch_one(schedule=None)
    tag([odd], tags)
    answer = stack.invoke("plan_backups", TICK)
    started = [row["execution"] for row in answer["backups"]]
    assert f"{neighbour}-20261122T030000Z" in started
    if {Tag.SCHEDULE, Tag.CYCLE} & tags.keys():
        assert odd in {row["instance_id"] for row in answer["instances"]}
    else:
        assert tags_of(odd) == tags
    second = stack.invoke("plan_backups", TICK)
    assert len(stack.messages()) <= 1
    assert second["instances"]
