import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.errors import MalformedInput
from stillpoint.requests import Request
from tests.functions.samples import sample

ID = "i-0123456789abcdef0"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_the_event_of_a_schedule_rule_is_a_tick() -> None:
    assert Request.parse(sample("plan_backups_tick")) == Request(backup_now=None, dry_run=False)


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
