import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.errors import MalformedInput
from stillpoint.requests import PruneRequest, Request
from stillpoint.tags import parse_iso
from tests.functions.samples import sample

ID = "i-0123456789abcdef0"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_the_event_of_a_schedule_rule_is_a_tick() -> None:
    event = sample("plan_backups_tick")
    assert Request.parse(event) == Request(scheduled_at=parse_iso(str(event["time"])))
    assert Request.parse(event).scheduled_at is not None


@pytest.mark.parametrize("time", ["", "soon", 7, None])
def test_a_tick_without_a_readable_time_is_a_tick_all_the_same(time: object) -> None:
    assert Request.parse(sample("plan_backups_tick") | {"time": time}) == Request()


def test_a_dry_run_is_asked_for_by_name() -> None:
    assert Request.parse(sample("plan_backups_dry_run")) == Request(dry_run=True)


def test_backups_are_asked_for_by_instance_id() -> None:
    request = Request.parse(sample("plan_backups_backup_now"))
    assert request == Request(backup_now=("i-0a1b2c3d4e5f60003",))


def test_an_instance_that_is_asked_for_twice_is_backed_up_once() -> None:
    event = {"backup_now": [ID, "i-0a1b2c3d", ID]}
    assert Request.parse(event).backup_now == (ID, "i-0a1b2c3d")


def test_it_can_be_asked_what_a_backup_at_once_would_do() -> None:
    assert Request.parse({"backup_now": [ID], "dry_run": True}) == Request((ID,), dry_run=True)
    assert Request.parse({"backup_now": [ID], "dry_run": False}) == Request((ID,))


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (None, "no JSON object"),
        ([], "no JSON object"),
        ("backup_now", "no JSON object"),
        ({}, "was given nothing"),
        ({"backup_nov": [ID]}, "does not know backup_nov"),
        ({"dry_run": True, "group": "erp"}, "does not know group"),
        ({"dry_run": "true"}, "dry_run must be true or false"),
        ({"dry_run": 1}, "dry_run must be true or false"),
        ({"dry_run": None}, "dry_run must be true or false"),
        ({"dry_run": False}, "nothing else is asked for"),
        ({"backup_now": []}, "must be a list of instance ids"),
        ({"backup_now": ID}, "must be a list of instance ids"),
        ({"backup_now": {ID: True}}, "must be a list of instance ids"),
        ({"backup_now": None}, "must be a list of instance ids"),
        ({"backup_now": ["web"]}, "holds 'web', no instance id"),
        ({"backup_now": [ID, 7]}, "holds '7', no instance id"),
        ({"backup_now": [ID + "\n"]}, "no instance id"),
        ({"backup_now": ["i-0123456789ABCDEF0"]}, "no instance id"),
        ({"backup_now": [["x" * 1000]]}, "no instance id"),
        ({"detail-type": "EC2 Instance State-change Notification"}, "does not know detail-type"),
    ],
)
def test_any_other_event_is_refused_with_what_is_wrong_and_the_forms(
    event: object, what: str
) -> None:
    with pytest.raises(MalformedInput) as refused:
        Request.parse(event)
    message = str(refused.value)
    assert what in message
    for form in ("schedule rule", '{"backup_now": ["i-0123456789abcdef0"]}', '{"dry_run": true}'):
        assert form in message
    assert len(message) < 600


@given(JSON)
def test_no_event_whatsoever_gives_another_error(event: object) -> None:
    try:
        request = Request.parse(event)
    except MalformedInput:
        return
    assert request.dry_run or request.backup_now or isinstance(event, dict)


# ---------------------------------------------------------------- prune_recovery_points

SWEEP = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
ENDED = "Step Functions Execution Status Change"


def ended(members: object, **detail: object) -> dict[str, object]:
    """Return the event of a backup that has ended."""
    text = json.dumps({"group": None, "members": members})
    return {"detail-type": ENDED, "detail": {"status": "SUCCEEDED", "input": text} | detail}


def test_the_event_of_a_schedule_rule_is_a_sweep() -> None:
    assert PruneRequest.parse(SWEEP) == PruneRequest(None, dry_run=False, max_deletions=None)


def test_the_end_of_a_backup_asks_for_its_members_alone() -> None:
    event = ended([{"instance_id": ID, "name": "web"}, {"instance_id": "i-0a1b2c3d"}])
    assert PruneRequest.parse(event) == PruneRequest((ID, "i-0a1b2c3d"), after_backup=True)


def test_the_input_of_the_state_machine_is_the_one_that_the_planner_gives_it() -> None:
    backup = sample("complete_backup_succeeded")["backup"]
    event = {"detail-type": ENDED, "detail": {"input": json.dumps(backup)}}
    members = tuple(member["instance_id"] for member in backup["members"])
    assert members
    assert PruneRequest.parse(event).instances == members


@pytest.mark.parametrize("detail", [{}, {"input": None}, {"input": ""}])
def test_a_backup_whose_input_was_too_long_for_the_event_asks_for_nobody(
    detail: dict[str, object],
) -> None:
    event = {"detail-type": ENDED, "detail": detail}
    assert PruneRequest.parse(event) == PruneRequest((), after_backup=True)


@pytest.mark.parametrize(
    ("event", "request_"),
    [
        ({"dry_run": True}, PruneRequest(dry_run=True)),
        ({"dry_run": True, "instances": [ID, ID]}, PruneRequest((ID,), dry_run=True)),
        ({"max_deletions": 500}, PruneRequest(max_deletions=500)),
        ({"max_deletions": 1, "dry_run": False}, PruneRequest(max_deletions=1)),
        ({"max_deletions": 9, "instances": [ID]}, PruneRequest((ID,), max_deletions=9)),
        (
            {"max_deletions": 9, "dry_run": True},
            PruneRequest(dry_run=True, max_deletions=9),
        ),
    ],
)
def test_people_ask_for_a_dry_run_or_for_more_than_usual(
    event: dict[str, object], request_: PruneRequest
) -> None:
    assert PruneRequest.parse(event) == request_


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (None, "no JSON object"),
        ([], "no JSON object"),
        ({}, "was not told what"),
        ({"instances": [ID]}, "was not told what"),
        ({"delete_all": True}, "does not know delete_all"),
        ({"dry_run": True, "force": True}, "does not know force"),
        ({"dry_run": False}, "dry_run must be true"),
        ({"dry_run": "true"}, "dry_run must be true"),
        ({"dry_run": 1}, "dry_run must be true"),
        ({"dry_run": None, "max_deletions": 5}, "dry_run must be true"),
        ({"dry_run": "no", "max_deletions": 5}, "dry_run must be true"),
        ({"max_deletions": None}, "dry_run must be true"),
        ({"max_deletions": 0}, "max_deletions must be a number from 1 on"),
        ({"max_deletions": -5}, "max_deletions must be a number from 1 on"),
        ({"max_deletions": True}, "max_deletions must be a number from 1 on"),
        ({"max_deletions": "500"}, "max_deletions must be a number from 1 on"),
        ({"max_deletions": 1.5}, "max_deletions must be a number from 1 on"),
        ({"dry_run": True, "instances": []}, "must be a list of instance ids"),
        ({"dry_run": True, "instances": "all"}, "must be a list of instance ids"),
        ({"max_deletions": 5, "instances": ["web"]}, "holds 'web', no instance id"),
        ({"detail-type": "EC2 AMI State Change", "dry_run": True}, "does not know detail-type"),
        ({"detail-type": ENDED}, "tells of no backup"),
        ({"detail-type": ENDED, "detail": None}, "tells of no backup"),
        ({"detail-type": ENDED, "detail": {"input": "{"}}, "tells of no backup"),
        ({"detail-type": ENDED, "detail": {"input": "[]"}}, "tells of no backup"),
        ({"detail-type": ENDED, "detail": {"input": "{}"}}, "tells of no backup"),
        ({"detail-type": ENDED, "detail": {"input": {"members": []}}}, "tells of no backup"),
        (ended(None), "tells of no backup"),
        (ended([ID]), "tells of no backup"),
        (ended([{"name": "web"}]), "tells of no backup"),
    ],
)
def test_any_other_request_to_prune_is_refused_with_what_is_wrong_and_the_forms(
    event: object, what: str
) -> None:
    with pytest.raises(MalformedInput) as refused:
        PruneRequest.parse(event)
    message = str(refused.value)
    assert what in message
    for form in ("schedule rule", '{"dry_run": true}', '{"max_deletions": 500}', '{"instances": ['):
        assert form in message
    assert len(message) < 800


@given(JSON | st.builds(ended, JSON))
def test_no_event_whatsoever_makes_pruning_fail_otherwise(event: object) -> None:
    try:
        request = PruneRequest.parse(event)
    except MalformedInput:
        return
    # Only an event or a person who says so has anything deleted.
    assert isinstance(event, dict)
    assert "detail-type" in event or request.dry_run or request.max_deletions is not None
