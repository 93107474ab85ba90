"""Faults of the services around EC2."""

import pytest

from sandbox.host_faults import ATTRIBUTES, HOST_FAULT_NAMES, HostFaults, UnknownFaultError


def test_a_fault_strikes_once_if_nothing_else_is_said() -> None:
    faults = HostFaults()
    faults.add({"name": "tick-missed"})
    assert [bool(faults.take("tick-missed")) for _ in range(3)] == [True, False, False]


def test_a_fault_skips_and_then_strikes_as_often_as_it_is_told() -> None:
    faults = HostFaults()
    faults.add({"name": "tick-missed", "skip": 2, "times": 2})
    taken = [bool(faults.take("tick-missed")) for _ in range(6)]
    assert taken == [False, False, True, True, False, False]
    assert faults.list() == []


def test_a_fault_concerns_its_own_occasions_only() -> None:
    faults = HostFaults()
    faults.add({"name": "execution-aborted", "state": "CreateImage"})
    assert not faults.take("execution-aborted", state="CreateImages", execution="i-1")
    assert not faults.take("lambda-crash", function="CreateImage")
    assert faults.take("execution-aborted", state="CreateImage", execution="i-1")
    assert faults.hits == [
        {"name": "execution-aborted", "state": "CreateImage", "execution": "i-1"}
    ]


def test_a_part_of_a_function_s_name_is_enough() -> None:
    faults = HostFaults()
    faults.add({"name": "lambda-crash", "function": "PrepareBackup"})
    assert faults.take("lambda-crash", function="stillpoint-PrepareBackupFunction-1A2B")


def test_an_unknown_fault_or_attribute_is_refused_in_words() -> None:
    faults = HostFaults()
    with pytest.raises(UnknownFaultError, match=r"unknown fault 'flood'; known: .*tick-missed"):
        faults.add({"name": "flood"})
    with pytest.raises(UnknownFaultError, match="the fault tick-missed has no state"):
        faults.add({"name": "tick-missed", "state": "X"})


def test_clearing_removes_all() -> None:
    faults = HostFaults()
    faults.add({"name": "tick-missed", "times": 9})
    faults.clear()
    assert not faults.take("tick-missed")


def test_every_fault_has_its_attributes_listed() -> None:
    assert HOST_FAULT_NAMES.keys() == ATTRIBUTES.keys()
