"""docs/failure-modes.md speaks of every fault that the matrix has."""

from pathlib import Path

import pytest

from sandbox.faults.strikes import GUESTS, PHYSICAL, RULES
from sandbox.virtual.mischief import Kind

DOCUMENT = Path(__file__).parents[2] / "docs" / "failure-modes.md"
NAMED_BY_EC2 = {
    fault.physics["name"]
    for faults in (PHYSICAL, *GUESTS.values())
    for some in faults.values()
    for fault in some
    if fault.physics
}


@pytest.mark.parametrize(
    "name", sorted({*(kind.value for kind in Kind if kind is not Kind.PHYSICS), *RULES})
)
def test_every_fault_is_in_the_document(name: str) -> None:
    assert f"`{name}`" in DOCUMENT.read_text(encoding="utf-8")


def test_every_fault_of_ec2_and_of_a_guest_is_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert NAMED_BY_EC2
    assert [name for name in NAMED_BY_EC2 if f"`{name}`" not in text] == []
