"""What befalls a call on its way: before it, instead of it, after it."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.service_calls import ServiceError
from sandbox.virtual.front_door import Caller, FrontDoor, Killed, ResponseLost, region_of
from sandbox.virtual.journal import Journal
from sandbox.virtual.mischief import Fault, Kind, Mischief
from sandbox.virtual.run import Run
from sandbox.virtual.scheduler import Scheduler
from sandbox.virtual.services import Json, Reply, Request

HEADERS = {"x-amz-target": "Any.DoIt"}


class Generous:
    """Allows everything but what a test forbids."""

    def __init__(self) -> None:
        self.refuses = False

    def refusal(self, *_args: object) -> ServiceError | None:
        return ServiceError("Denied", "no", 400, "id") if self.refuses else None

    def narrowed(self, _role: str, _principal: str, request: Request) -> Request:
        return request

    def is_missing(self, _body: str) -> bool:
        return True


class Door:
    """A front door with one service behind it that counts."""

    def __init__(self, scheduler: Scheduler, *faults: Fault) -> None:
        self.scheduler = scheduler
        self.journal = Journal(scheduler.now)
        self.permissions = Generous()
        self.effects = 0
        self.door = FrontDoor(
            {"kms": Json({"DoIt": self._do})},
            self.permissions,  # type: ignore[arg-type]
            Run(scheduler, Mischief(faults, scheduler.now), self.journal, seed="1"),
        )

    def _do(self, params: dict[str, Any]) -> dict[str, Any]:
        self.effects += 1
        return params

    def call(self) -> Reply | BaseException:
        """The answer, or what was raised instead."""
        results: list[Reply | BaseException] = []

        def work() -> None:
            try:
                caller = Caller("somebody", "arn", "Role", hang=self._hang)
                results.append(self.door.call(caller, "kms", HEADERS, '{"a": 1}'))
            except (ResponseLost, Killed) as error:
                results.append(error)

        self.scheduler.spawn("call", work)
        self.scheduler.run_until(self.scheduler.now() + 600)
        return results[0]

    def _hang(self) -> None:
        self.scheduler.sleep(100)
        raise Killed(timed_out=True)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(0.0)
    yield made
    made.close()


def struck_by(kind: Kind) -> Fault:
    return Fault(kind, "somebody", "DoIt")


def test_a_call_without_a_fault_takes_effect_and_some_time(scheduler: Scheduler) -> None:
    door = Door(scheduler)
    assert door.call() == (200, b'{"a": 1}')
    assert door.effects == 1
    assert door.journal.calls.keys() == {("somebody", "DoIt")}


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.THROTTLED_ONCE, 400), (Kind.SERVER_ERROR, 500), (Kind.ACCESS_DENIED, 400)],
)
def test_a_refused_call_has_no_effect(scheduler: Scheduler, kind: Kind, status: int) -> None:
    door = Door(scheduler, struck_by(kind))
    answer = door.call()
    assert isinstance(answer, tuple)
    assert answer[0] == status
    assert door.effects == 0


@pytest.mark.parametrize(
    ("kind", "effects", "timed_out"),
    [(Kind.CRASH_BEFORE, 0, False), (Kind.CRASH_AFTER, 1, False), (Kind.HANG, 1, True)],
)
def test_a_function_dies_before_or_after_its_call(
    scheduler: Scheduler, kind: Kind, effects: int, timed_out: bool
) -> None:
    door = Door(scheduler, struck_by(kind))
    answer = door.call()
    assert isinstance(answer, Killed)
    assert answer.timed_out is timed_out
    assert door.effects == effects


def test_a_lost_response_is_the_response_of_a_call_that_took_effect(scheduler: Scheduler) -> None:
    door = Door(scheduler, struck_by(Kind.RESPONSE_LOST))
    assert isinstance(door.call(), ResponseLost)
    assert door.effects == 1


def test_a_permission_that_is_missing_is_a_surprise(scheduler: Scheduler) -> None:
    door = Door(scheduler)
    door.permissions.refuses = True
    answer = door.call()
    assert isinstance(answer, tuple)
    assert answer[0] == 400
    assert door.effects == 0
    assert door.journal.surprises == ["somebody lacks a permission: no"]


@pytest.mark.parametrize(
    ("headers", "region"),
    [
        ({}, "us-east-1"),
        ({"host": "ec2.ap-northeast-2.amazonaws.com"}, "ap-northeast-2"),
        (
            {
                "authorization": "AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-west-1/ec2/"
                "aws4_request, SignedHeaders=host, Signature=0",
                "host": "ec2.us-east-1.amazonaws.com",
            },
            "eu-west-1",
        ),
    ],
)
def test_a_request_goes_to_the_region_of_its_signature_or_of_its_host(
    headers: dict[str, str], region: str
) -> None:
    assert region_of(headers) == region
