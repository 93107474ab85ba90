"""One deployed sandbox for all tests that need one; they come last, the others have the machine."""

from collections.abc import Callable, Iterator

import pytest

from sandbox import run, scenario
from sandbox.session import Session, deployed

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
