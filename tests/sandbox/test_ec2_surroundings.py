"""What other calls than DescribeInstances tell of an instance."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.ec2 import wire
from tests.sandbox.ec2_lab import Lab


def rows(lab: Lab, action: str, key: str, **params: object) -> list[dict[str, Any]]:
    """The rows of an answer that EC2 can give."""
    answer = lab.call(action, **params)
    assert wire.xml_response(action, "request", answer).startswith("<?xml")
    return list(answer[key])


def test_a_spot_instance_has_its_request() -> None:
    lab = Lab()
    lab.launch("plain")
    web = lab.launch("web", InstanceMarketOptions={"MarketType": "spot"})
    action, key = "DescribeSpotInstanceRequests", "SpotInstanceRequests"
    (row,) = rows(lab, action, key)
    assert (row["InstanceId"], row["Type"], row["State"]) == (web, "one-time", "active")
    request = {"Type": "persistent", "State": "disabled", "LaunchGroup": "g"}
    lab.world.configure(web, surroundings={"spot_request": request})
    filters = [{"Name": "instance-id", "Values": [web]}]
    (row,) = rows(lab, action, key, Filters=filters)
    assert {name: row[name] for name in request} == request
    assert rows(lab, action, key, Filters=[{"Name": "state", "Values": ["open"]}]) == []


def test_burstable_instances_have_a_credit_option() -> None:
    lab = Lab()
    kinds = ("t2.micro", "t3.micro", "m7i.large")
    old, new, plain = (lab.launch(kind, InstanceType=kind) for kind in kinds)
    action, key = "DescribeInstanceCreditSpecifications", "InstanceCreditSpecifications"

    def options(*ids: str) -> dict[str, str]:
        found = rows(lab, action, key, InstanceIds=list(ids))
        return {row["InstanceId"]: row["CpuCredits"] for row in found}

    assert options(old, new) == {old: "standard", new: "unlimited"}
    lab.world.configure(new, surroundings={"credits": "standard"})
    lab.world.configure(old, surroundings={"credits": "unlimited"})
    assert options() == {old: "unlimited"}
    assert lab.error(action, InstanceIds=[plain]) == "UnsupportedOperation"


def test_a_capacity_reservation_has_the_state_that_it_is_given() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(
        web,
        attributes={"CapacityReservationId": "cr-1"},
        surroundings={"reservation": "expired"},
    )
    action = "DescribeCapacityReservations"
    found = rows(lab, action, "CapacityReservations", CapacityReservationIds=["cr-1"])
    assert [(row["CapacityReservationId"], row["State"]) for row in found] == [("cr-1", "expired")]
    code = lab.error(action, CapacityReservationIds=["cr-2"])
    assert code == "InvalidCapacityReservationId.NotFound"


@pytest.mark.parametrize(("strategy", "found"), [("cluster", ["g"]), ("spread", [])])
def test_a_placement_group_is_found_by_its_strategy(strategy: str, found: list[str]) -> None:
    lab = Lab()
    web = lab.launch(Placement={"GroupName": "g"})
    lab.launch("alone")
    lab.world.configure(web, surroundings={"placement": strategy})
    filters = [
        {"Name": "group-name", "Values": ["g"]},
        {"Name": "strategy", "Values": ["cluster"]},
    ]
    action, key = "DescribePlacementGroups", "PlacementGroups"
    assert [row["GroupName"] for row in rows(lab, action, key, Filters=filters)] == found
    assert [row["Strategy"] for row in rows(lab, action, key, GroupNames=["g"])] == [strategy]
    assert lab.error(action, GroupNames=["h"]) == "InvalidPlacementGroup.Unknown"


def test_an_instance_shows_its_scheduled_events() -> None:
    lab = Lab()
    web = lab.launch()
    event = {"Code": "instance-retirement", "Description": "old", "NotBefore": "2026-12-01T00:00Z"}
    lab.world.configure(web, surroundings={"events": [event]})
    (row,) = rows(lab, "DescribeInstanceStatus", "InstanceStatuses", InstanceIds=[web])
    assert row["Events"] == [event | {"NotBefore": datetime(2026, 12, 1, tzinfo=UTC)}]


def test_a_shutdown_from_inside_stops_if_nothing_else_is_said() -> None:
    lab = Lab()
    web = lab.launch()
    attribute = "instanceInitiatedShutdownBehavior"
    answer = lab.call("DescribeInstanceAttribute", InstanceId=web, Attribute=attribute)
    assert answer["InstanceInitiatedShutdownBehavior"] == {"Value": "stop"}


def test_surroundings_are_a_table() -> None:
    lab = Lab()
    web = lab.launch()
    with pytest.raises(ValueError, match="surroundings is a table"):
        lab.world.configure(web, surroundings="retirement")
