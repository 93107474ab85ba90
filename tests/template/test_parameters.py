"""The stack's parameters are described, constrained and grouped, and the product takes them."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.template import ROOT, TEMPLATE
from stillpoint.configuration import LONGEST_LOCK_DAYS, check
from stillpoint.policy import PolicyDefaults
from stillpoint.retain import final_retention
from stillpoint.standing import PAUSE
from stillpoint.tags import Cursor
from tests.template.cloudformation import Recorder, Stack

CHECK = "ConfigurationCheck"
CONSTRAINTS = {"AllowedPattern", "AllowedValues", "MaxValue"}


@pytest.fixture(scope="session")
def parameters(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = template["Parameters"]
    return declared


@pytest.fixture(scope="session")
def interface(template: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = template["Metadata"]["AWS::CloudFormation::Interface"]
    return shown


def test_every_parameter_is_described_in_a_sentence(parameters: dict[str, dict[str, Any]]) -> None:
    assert parameters
    for name, each in parameters.items():
        assert re.search(r"^[A-Z].{20,}\.$", each.get("Description", ""), re.DOTALL), name


def test_every_parameter_is_constrained(parameters: dict[str, dict[str, Any]]) -> None:
    for name, each in parameters.items():
        assert each.keys() & CONSTRAINTS or each["Type"] == "CommaDelimitedList", name
        assert ("MinValue" in each) == ("MaxValue" in each), name


def test_a_pattern_is_anchored_and_says_what_it_wants(
    parameters: dict[str, dict[str, Any]],
) -> None:
    for name, each in parameters.items():
        if pattern := each.get("AllowedPattern"):
            assert pattern.startswith("^"), name
            assert pattern.endswith("$"), name
            assert each["ConstraintDescription"].startswith("must be "), name


def test_every_parameter_has_a_default_so_that_one_tag_is_enough(
    parameters: dict[str, dict[str, Any]],
) -> None:
    assert [name for name, each in parameters.items() if "Default" not in each] == []


def test_every_parameter_is_in_one_group_and_has_a_label(
    parameters: dict[str, dict[str, Any]], interface: dict[str, Any]
) -> None:
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(parameters)
    assert interface["ParameterLabels"].keys() == parameters.keys()


def test_every_parameter_is_used(parameters: dict[str, dict[str, Any]]) -> None:
    body = TEMPLATE.read_text(encoding="utf-8").partition("\nConditions:\n")[2]
    used = set(re.findall(r"!Ref (\w+)|\$\{(\w+)\}", body))
    assert parameters.keys() <= {name for pair in used for name in pair}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("TimeZone", ["UTC", "Asia/Seoul", "Etc/GMT+5"], ["", "Asia Seoul", "../etc", "é"]),
        ("DefaultTime", ["00:00", "23:59"], ["", "24:00", "3:00", "03:60", "03:00:00"]),
        ("DefaultRetain", ["14", "30d", "7d 4w 12m 1y"], ["", "0", "7x", "7d,4w", "0d", "7d 7d"]),
        (
            "FinalRetention",
            ["forever", "365d", "1825d", "52w", "12m", "10y"],
            ["", "0d", "14", "7d 4w", "11y", "365", "for ever", "3651d", "xforever"],
        ),
        ("NotificationEmail", ["", "a@b.example"], ["a", "a@b", "a b@c.example", "@b.example"]),
    ],
)
def test_the_pattern_takes_what_is_right_and_nothing_else(
    name: str, good: list[str], bad: list[str], parameters: dict[str, dict[str, Any]]
) -> None:
    pattern = re.compile(parameters[name]["AllowedPattern"])
    assert [text for text in good if not pattern.search(text)] == []
    assert [text for text in bad if pattern.search(text)] == []


def test_the_product_understands_the_defaults(any_stack: Stack) -> None:
    given = any_stack.parameters
    defaults = PolicyDefaults.parse(
        time=given["DefaultTime"], zone=given["TimeZone"], retain=given["DefaultRetain"]
    )
    assert (defaults.zone, defaults.time.isoformat("minutes")) == ("UTC", "03:00")
    assert defaults.retain.count == 14


@pytest.mark.parametrize(
    ("name", "setting"), [("DefaultTime", "time"), ("DefaultRetain", "retain")]
)
@given(data=st.data())
def test_the_product_understands_whatever_the_pattern_takes(
    name: str, setting: str, data: st.DataObject, parameters: dict[str, dict[str, Any]]
) -> None:
    text = data.draw(st.from_regex(parameters[name]["AllowedPattern"], fullmatch=True))
    settings = {"time": "03:00", "retain": "14", setting: text.removesuffix("\n")}
    PolicyDefaults.parse(zone="UTC", **settings)


@given(data=st.data())
def test_the_product_understands_whatever_final_retention_the_pattern_takes(
    data: st.DataObject, parameters: dict[str, dict[str, Any]]
) -> None:
    pattern = parameters["FinalRetention"]["AllowedPattern"]
    final_retention(data.draw(st.from_regex(pattern, fullmatch=True)).removesuffix("\n"))


@given(data=st.data())
def test_the_product_understands_whatever_number_of_days_a_lock_may_have(
    data: st.DataObject, parameters: dict[str, dict[str, Any]]
) -> None:
    least, most = (parameters["SnapshotLockDays"][name] for name in ("MinValue", "MaxValue"))
    days = data.draw(st.integers(least, most))
    defaults = {name: str(each["Default"]) for name, each in parameters.items()}
    defaults |= {"FinalRetention": "forever", "DefaultRetain": "10y"}
    found = checked(defaults | {"SnapshotLockDays": str(days)})
    # That a lock is no single day, or is longer than the retention, no pattern can say.
    ten_years = 3650
    expected = [] if days == least or 1 < days <= ten_years else ["SnapshotLockDays"]
    assert [problem.partition(":")[0] for problem in found] == expected


def test_snapshots_can_be_locked_as_long_as_ec2_can(parameters: dict[str, dict[str, Any]]) -> None:
    assert parameters["SnapshotLockDays"]["MaxValue"] == LONGEST_LOCK_DAYS


def test_nothing_is_wrong_with_the_defaults_nor_with_everything_together(any_stack: Stack) -> None:
    assert checked({name: as_text(each) for name, each in any_stack.parameters.items()}) == ()


def test_the_check_is_given_the_parameters_that_it_looks_at(full_stack: Stack) -> None:
    properties = full_stack.properties(CHECK)
    recorder = Recorder({name: as_text(each) for name, each in full_stack.parameters.items()})
    checked(recorder)
    given = {name: as_text(each) for name, each in properties.items() if "Service" not in name}
    assert given == {name: recorder[name] for name in recorder.asked}


def test_the_check_is_made_by_its_function_which_answers_in_time(any_stack: Stack) -> None:
    properties = any_stack.properties(CHECK)
    assert properties["ServiceToken"] == "<CheckConfigurationFunction.Arn>"
    timeout = any_stack.properties("CheckConfigurationFunction")["Timeout"]
    assert properties["ServiceTimeout"] > timeout


def checked(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """What the product finds wrong with a stack's parameters."""
    return check(parameters, region="eu-west-1", account="111122223333")


def as_text(value: object) -> str:
    """A parameter as CloudFormation hands it on, in a Region of AWS's own partition."""
    text = ",".join(value) if isinstance(value, list) else str(value)
    return text.replace("${AWS::Partition}", "aws").replace("${AWS::Region}", "eu-west-1")


def test_an_instance_can_remember_as_many_failed_attempts_as_there_may_be(
    parameters: dict[str, dict[str, Any]],
) -> None:
    at = datetime(2026, 11, 22, 3, tzinfo=UTC)
    for attempts in range(1, parameters["MaxAttempts"]["MaxValue"] + 1):
        cursor = Cursor(at, "1a2b3c4d", attempts, at + PAUSE)
        assert Cursor.parse(cursor.render()) == cursor


@pytest.mark.parametrize(
    "path", ["stack_name", "capabilities", "resolve_s3"], ids=lambda path: f"says {path}"
)
@pytest.mark.parametrize("environment", ["default", "sandbox"])
def test_samconfig_can_deploy_in_the_environment(environment: str, path: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    settings = config[environment]
    said = settings["global"]["parameters"] | settings["deploy"]["parameters"]
    assert said[path]


@pytest.mark.parametrize("environment", ["default", "sandbox"])
def test_samconfig_gives_the_template_its_own_parameters_and_enough_capabilities(
    environment: str, transformed_template: dict[str, Any]
) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    deploy = config[environment]["deploy"]["parameters"]
    overrides = re.findall(r"(\w+)=", json.dumps(deploy.get("parameter_overrides", "")))
    assert set(overrides) <= transformed_template["Parameters"].keys()
    # CAPABILITY_IAM is enough because no role has a name; people confirm what they deploy.
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert deploy["confirm_changeset"] is (environment == "default")
