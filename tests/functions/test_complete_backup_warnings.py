"""Complete: hazards that did not refuse a backup are told with its outcome."""

import pytest

from tests.functions.captured import Captured, a_captured, a_failure
from tests.functions.stack import Stack


def a_warning(backup: Captured, member: int = 0) -> dict[str, str]:
    return {
        "instance_id": backup.instance_ids[member],
        "name": "web",
        "code": "t2-credits",
        "reason": "A T2 instance loses its CPU credits.",
        "remedy": "Change its type to T3.",
    }


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_warning_stands_beside_the_instance_that_it_is_about(
    stack: Stack, *, succeeds: bool
) -> None:
    backup = a_captured(stack, count=2)
    failures = [] if succeeds else [a_failure()]
    backup.complete(warnings=[a_warning(backup, 1)], failures=failures)
    (message,) = stack.messages()
    text, rows = message["text"], message["instances"]
    assert [row["warnings"] for row in rows] == [
        [],
        ["A T2 instance loses its CPU credits. Change its type to T3."],
    ]
    assert text.count("good to know:   A T2 instance loses its CPU credits.") == 1
    assert text.index(backup.instance_ids[1]) < text.index("good to know")


def test_a_record_of_an_earlier_version_has_no_warnings(stack: Stack) -> None:
    backup = a_captured(stack)
    backup.event.pop("warnings", None)
    assert backup.complete()["status"] == "succeeded"
    (message,) = stack.messages()
    assert "good to know" not in message["text"]
