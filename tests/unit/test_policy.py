from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillpoint.errors import InvalidText
from stillpoint.hold import Hold
from stillpoint.policy import BackupPolicy, InvalidPolicy, Method, PolicyDefaults, parse_policy
from stillpoint.retain import parse_retain
from stillpoint.tags import OWNER_TAGS, Tag
from tests.unit.builders import DEFAULTS, at


def valid(**tags: str) -> BackupPolicy:
    policy = parse_policy(keys(tags), DEFAULTS)
    assert isinstance(policy, BackupPolicy), policy
    return policy


def problems(**tags: str) -> tuple[str, ...]:
    policy = parse_policy(keys(tags), DEFAULTS)
    assert isinstance(policy, InvalidPolicy)
    return policy.problems


def keys(tags: dict[str, str]) -> dict[str, str]:
    return {f"stillpoint:{key.replace('_', '-')}": value for key, value in tags.items()}


def test_one_tag_is_enough() -> None:
    policy = valid(schedule="daily")
    assert [one.expression for one in policy.schedules] == ["daily 03:00 UTC"]
    assert policy.method is Method.STOP
    assert str(policy.retain) == "14"
    assert (policy.group, policy.order, policy.anti_affinity, policy.hold) == (None, 0, None, None)
    assert policy.accept == frozenset()


def test_every_tag_is_read() -> None:
    policy = valid(
        schedule="daily 04:00; rate(6 hours)",
        method=" Reboot ",
        retain="7d 4w",
        group="erp:2",
        anti_affinity="erp-pair",
        hold="2026-12-24/2027-01-02",
        accept="public-ip, instance-store",
        pre=" AWSSupport-Quiesce_1.0 ",
        post="arn:aws:ssm:eu-west-1:123456789012:document/erp-scripts",
    )
    assert [one.expression for one in policy.schedules] == ["daily 04:00 UTC", "rate(6 hours)"]
    assert policy.method is Method.REBOOT
    assert policy.retain == parse_retain("7d 4w")
    assert (policy.group, policy.order) == ("erp", 2)
    assert policy.anti_affinity == "erp-pair"
    assert policy.hold == Hold(at("2026-12-24 00:00"), at("2027-01-03 00:00"))
    assert policy.accept == {"public-ip", "instance-store"}
    assert policy.pre == "AWSSupport-Quiesce_1.0"
    assert policy.post == "arn:aws:ssm:eu-west-1:123456789012:document/erp-scripts"


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({}, "stillpoint:schedule is missing"),
        ({"schedule": "dayly"}, "stillpoint:schedule: 'dayly' is not a schedule"),
        ({"method": "halt"}, "'halt' is not a method, write stop, reboot, freeze or none"),
        ({"retain": "many"}, "stillpoint:retain: 'many' is not a retention rule"),
        ({"group": "e r p"}, "'e r p' is not a group"),
        ({"group": "a.b"}, "'a.b' is not a group"),
        ({"group": "x" * 41}, "is not a group"),
        ({"group": "erp:1000"}, "'erp:1000' is not a group"),
        ({"anti_affinity": ""}, "stillpoint:anti-affinity: '' is not a name"),
        ({"hold": "maybe"}, "stillpoint:hold: 'maybe' is not a hold"),
        ({"accept": "asg"}, "'asg' is not a hazard to accept"),
        ({"accept": " "}, "stillpoint:accept: it is empty"),
        ({"pre": "my doc"}, "stillpoint:pre: 'my doc' is not a Systems Manager document"),
        ({"pre": "ab"}, "write its name, 3 to 128 letters, digits, - _ or ., or its ARN"),
        ({"post": ""}, "stillpoint:post: '' is not a Systems Manager document"),
        ({"post": "x" * 129}, "is not a Systems Manager document"),
        (
            {"post": "arn:aws:s3:::documents/erp"},
            "'arn:aws:s3:::documents/erp' is not a Systems Manager document",
        ),
        ({"copy_to": "eu-west-1"}, "its parameter CopyRegions allows none so far"),
        ({"copy_to": " , "}, "stillpoint:copy-to: it is empty, write Regions such as none so far"),
        ({"retian": "3"}, "'stillpoint:retian' is not known, perhaps stillpoint:retain is meant"),
        ({"Schedule": "daily"}, "perhaps stillpoint:schedule is meant"),
        (
            {"accept": "public-ip mac"},
            "mac is no hazard that can be accepted, write auto-scaling or capacity-block",
        ),
        ({"zzz": ""}, "the tag 'stillpoint:zzz' is not known, remove it"),
    ],
)
def test_every_problem_is_named(tags: dict[str, str], problem: str) -> None:
    found = problems(**(tags if "missing" in problem else {"schedule": "daily"} | tags))
    assert len(found) == 1
    assert problem in found[0]


def test_all_problems_are_named_at_once() -> None:
    assert len(problems(schedule="x", method="y", retain="z", pre="?", typo="")) == 5


def test_an_instance_may_be_frozen() -> None:
    policy = parse_policy(keys({"schedule": "daily", "method": " Freeze "}), DEFAULTS)
    assert isinstance(policy, BackupPolicy)
    assert (policy.method, policy.pre, policy.post) == (Method.FREEZE, None, None)


def test_a_key_in_other_letters_is_a_typing_error_too() -> None:
    policy = parse_policy({Tag.SCHEDULE: "daily", "StillPoint:Hold": "true"}, DEFAULTS)
    assert isinstance(policy, InvalidPolicy)
    assert "perhaps stillpoint:hold is meant" in policy.problems[0]


COPYING = replace(DEFAULTS, copy_regions=frozenset(f"us-west-{number}" for number in range(1, 8)))


def test_regions_to_copy_to_are_read_once_each_in_their_order() -> None:
    text = " US-West-2, us-west-1 us-west-2"
    policy = parse_policy(keys({"schedule": "daily", "copy_to": text}), COPYING)
    assert isinstance(policy, BackupPolicy)
    assert policy.copy_to == ("us-west-2", "us-west-1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("eu-west-9", "'eu-west-9' is not a Region that the stack may copy to"),
        (" ".join(sorted(COPYING.copy_regions)), "it names 7 Regions, at most 5 are possible"),
    ],
)
def test_regions_that_cannot_be_copied_to_are_explained(text: str, problem: str) -> None:
    policy = parse_policy(keys({"schedule": "daily", "copy_to": text}), COPYING)
    assert isinstance(policy, InvalidPolicy)
    assert problem in policy.problems[0]


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [
        ("daily", "UTC"),
        ("rate(6 hours)", "UTC"),
        ("daily 03:00 Asia/Seoul", "Asia/Seoul"),
        ("rate(6 hours); daily 04:00 asia/seoul", "Asia/Seoul"),
    ],
)
def test_the_days_of_a_retention_begin_where_those_of_its_schedule_do(
    schedule: str, zone: str
) -> None:
    assert valid(schedule=schedule).time_zone == zone


def test_what_stillpoint_writes_and_what_others_write_is_not_looked_at() -> None:
    ours = {tag: "\x00 nonsense" for tag in Tag if tag not in OWNER_TAGS}
    tags = ours | {"Name": "\x07", "still": "x", "aws:autoscaling:groupName": "asg"}
    assert isinstance(parse_policy(tags | {Tag.SCHEDULE: "daily"}, DEFAULTS), BackupPolicy)


def test_an_invalid_policy_still_says_which_group_it_concerns() -> None:
    policy = parse_policy(keys({"schedule": "x", "group": "erp:2"}), DEFAULTS)
    assert isinstance(policy, InvalidPolicy)
    assert policy.group == "erp"


def test_a_time_of_the_schedule_is_read_in_the_default_zone() -> None:
    defaults = PolicyDefaults.parse(time="01:30", zone="asia/seoul", retain="3")
    policy = parse_policy({Tag.SCHEDULE: "daily"}, defaults)
    assert isinstance(policy, BackupPolicy)
    assert policy.schedules[0].expression == "daily 01:30 Asia/Seoul"


@pytest.mark.parametrize(
    ("time", "zone", "retain"),
    [("3am", "UTC", "14"), ("03:00", "Mars/Olympus", "14"), ("03:00", "UTC", "some")],
)
def test_defaults_that_cannot_be_understood_are_explained(
    time: str, zone: str, retain: str
) -> None:
    with pytest.raises(InvalidText):
        PolicyDefaults.parse(time=time, zone=zone, retain=retain)


HOSTILE = st.text(max_size=256) | st.text(alphabet="\x00\x1b\r\n\t\u202e💾", max_size=256)
OWNED = st.sampled_from(sorted(OWNER_TAGS))
HALF_RIGHT = st.sampled_from(["daily ", "cron(", "rate(", "weekly ", "erp:", "7d ", "2026-12-24/"])


@given(
    st.dictionaries(OWNED, HOSTILE | st.builds("".join, st.tuples(HALF_RIGHT, HOSTILE)))
    | st.dictionaries(OWNED | st.builds("stillpoint:{}".format, HOSTILE) | HOSTILE, HOSTILE)
)
@example({Tag.SCHEDULE: "daily 03:00 " + "a/" * 122})
@example({Tag.SCHEDULE: "cron(" + "9" * 250 + ")"})
@example({Tag.SCHEDULE: "daily 03:00 \x00"})
@example({Tag.HOLD: "2026-12-24T00:00:00+23:59/9999-12-31T23:59:59-23:59"})
@example({Tag.RETAIN: "9" * 256})
@example({Tag.GROUP: "erp\n"})
def test_no_text_whatever_makes_it_raise(tags: dict[str, str]) -> None:
    policy = parse_policy(tags, DEFAULTS)
    match policy:
        case InvalidPolicy(problems=found):
            assert found
            assert all(problem.isprintable() and len(problem) < 400 for problem in found)
        case BackupPolicy():
            assert policy.schedules
