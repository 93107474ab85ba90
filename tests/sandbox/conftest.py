"""What the tests of the sandbox stand on.

There is one deployed sandbox for all tests that need one; they come last, the others have the
machine.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import run, scenario, service_calls
from sandbox.ec2 import install
from sandbox.session import Session, deployed
from tests.sandbox.ec2_lab import Lab
from tests.sandbox.ec2_wire import REGION, client_of_ministack

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

SEED = 20261122


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "session" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    """The template, built and deployed into a sandbox that is up."""
    parameters = scenario.load("fleet").parameters
    with deployed(scale=20, seed=SEED, say=print, parameters=parameters) as running:
        yield running


@pytest.fixture(scope="session")
def played(session: Session) -> Callable[[str], run.Report]:
    """What comes of a scenario in the deployed sandbox; each is played once."""
    reports: dict[str, run.Report] = {}

    def play(name: str) -> run.Report:
        if name not in reports:
            reports[name] = run.play(session, scenario.load(name), print)
        return reports[name]

    return play


@pytest.fixture
def lab() -> Lab:
    """A world that has taken the place of ministack's EC2."""
    lab = Lab()
    install(lab.world)
    return lab


@pytest.fixture
def ec2(lab: Lab) -> "EC2Client":
    """A boto3 client of that world."""
    del lab
    return client_of_ministack()


@pytest.fixture
def state_machine(lab: Lab) -> Callable[..., Any]:
    """Calls an action as a state machine does: JSON in, JSON out."""
    del lab

    def call(action: str, **arguments: object) -> dict[str, Any]:
        prepared = service_calls.prepare("ec2", action, arguments)
        return service_calls.execute(prepared, REGION)

    return call
