"""The checks around the instances notice a product that errs."""

import pytest

from sandbox.faults import sabotage
from sandbox.faults.workers import Worker


@pytest.mark.parametrize("name", sabotage.KINDS)
def test_what_is_not_done_around_an_instance_is_noticed(name: str) -> None:
    kind = sabotage.KINDS[name]
    worker = Worker()
    try:
        result = worker.play(kind.case(name), history=False, sabotage=name)
    finally:
        worker.close()
    assert any(kind.noticed in violation for violation in result.violations), result.violations
