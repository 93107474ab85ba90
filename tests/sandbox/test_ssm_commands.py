"""Commands: sent, delivered, seen, timed out, cancelled and refused."""

import pytest

from tests.sandbox.ssm_lab import SCRIPTS, SsmLab, answered, document


def lab_with_script(**knobs: object) -> tuple[SsmLab, str]:
    lab = SsmLab()
    lab.create("erp", SCRIPTS)
    return lab, lab.managed("web", **knobs)


def ping(lab: SsmLab, instance_id: str) -> str:
    rows = lab.do(
        "DescribeInstanceInformation", Filters=[{"Key": "InstanceIds", "Values": [instance_id]}]
    )["InstanceInformationList"]
    return str(rows[0]["PingStatus"]) if rows else "unknown"


def test_an_instance_is_managed_only_if_it_is_said_so() -> None:
    lab = SsmLab()
    web = lab.launch()
    lab.create("erp", SCRIPTS)
    assert ping(lab, web) == "unknown"
    code = lab.fails("SendCommand", InstanceIds=[web], DocumentName="erp")
    assert code == "InvalidInstanceId"
    lab.world.configure(web, managed=True)
    assert ping(lab, web) == "Online"


def test_an_agent_comes_online_some_seconds_after_the_boot() -> None:
    lab, web = lab_with_script()
    assert ping(lab, web) == "Online"
    lab.stop(web)
    assert ping(lab, web) == "unknown"
    code = lab.fails("SendCommand", InstanceIds=[web], DocumentName="erp")
    assert code == "InvalidInstanceId"
    lab.start(web)
    assert ping(lab, web) == "ConnectionLost"
    lab.wait_for(lambda: ping(lab, web) == "Online")
    (booted,) = lab.happened(web, "guest_booted")[1:]
    (row,) = lab.do("DescribeInstanceInformation")["InstanceInformationList"]
    assert row["LastPingDateTime"].isoformat() > booted["at"]


def test_instances_are_described_by_platform_and_state_of_the_agent() -> None:
    lab = SsmLab()
    web, win = lab.managed("web", agent_online=False), lab.managed("win", platform="windows")

    def chosen(key: str, value: str) -> list[str]:
        filters = [{"Key": key, "Values": [value]}]
        rows = lab.do("DescribeInstanceInformation", Filters=filters)["InstanceInformationList"]
        return [row["InstanceId"] for row in rows]

    assert chosen("PingStatus", "ConnectionLost") == chosen("PlatformTypes", "Linux") == [web]
    assert chosen("PlatformTypes", "Windows") == [win]
    assert lab.instance(win)["Platform"] == "windows"
    assert "Platform" not in lab.instance(web)
    old = [{"key": "InstanceIds", "valueSet": [win]}]
    rows = lab.do("DescribeInstanceInformation", InstanceInformationFilterList=old)
    assert len(rows["InstanceInformationList"]) == 1
    odd = [{"Key": "Color", "Values": ["red"]}]
    assert lab.fails("DescribeInstanceInformation", Filters=odd) == "InvalidFilterKey"


def test_a_command_goes_from_pending_to_success() -> None:
    lab, web = lab_with_script(scripts={"erp": {"dry-run": {"stdout": "fine\n", "seconds": 2}}})
    begin = lab.clock.time
    command = lab.send(web, "erp", "dry-run", Comment="x dry-run", TimeoutSeconds=60)
    assert lab.fails("GetCommandInvocation", CommandId=command, InstanceId=web) == (
        "InvocationDoesNotExist"
    )
    assert lab.do("ListCommands", InstanceId=web)["Commands"] == []
    seen: list[str] = []
    while not seen or seen[-1] != "Success":
        lab.wait(0.25)
        if answered(lambda: lab.look(command, web)):
            status = lab.look(command, web)["Status"]
            seen += [] if seen[-1:] == [status] else [status]
    assert seen == ["InProgress", "Success"]
    assert lab.clock.time - begin == pytest.approx(1 + 2 + 0.5, abs=0.25)
    last = lab.look(command, web)
    assert (last["ResponseCode"], last["StandardOutputContent"]) == (0, "fine\n")
    assert (last["PluginName"], last["Comment"]) == ("run", "x dry-run")
    assert last["ExecutionElapsedTime"] == "PT2.000S"
    (row,) = lab.do("ListCommands", InstanceId=web)["Commands"]
    assert (row["CommandId"], row["Status"], row["Comment"]) == (command, "Success", "x dry-run")
    (row,) = lab.do("ListCommandInvocations", CommandId=command, Details=True)["CommandInvocations"]
    assert [plugin["Output"] for plugin in row["CommandPlugins"]] == ["fine\n"]


def test_a_script_that_fails_says_so_with_its_code_and_words() -> None:
    spec = {"pre-script": {"exit": 201, "stderr": "no database"}}
    lab, web = lab_with_script(scripts={"erp": spec})
    end = lab.run(web, "erp", "pre-script")
    assert (end["Status"], end["StatusDetails"], end["ResponseCode"]) == ("Failed", "Failed", 201)
    assert end["StandardErrorContent"] == "no database\nfailed to run commands: exit status 201"


def test_a_command_that_nobody_takes_times_out_undelivered() -> None:
    lab, web = lab_with_script(agent_online=False)
    begin = lab.clock.time
    end = lab.run(web, "erp", "dry-run", TimeoutSeconds=30)
    assert (end["Status"], end["StatusDetails"]) == ("TimedOut", "DeliveryTimedOut")
    assert lab.clock.time - begin == pytest.approx(30, abs=0.25)
    assert end["ResponseCode"] == -1
    assert lab.happened(web, "script_began") == []


def test_an_agent_that_comes_back_in_time_takes_the_command() -> None:
    lab, web = lab_with_script(agent_online=False)
    command = lab.send(web, "erp", "dry-run", TimeoutSeconds=60)
    lab.wait(20)
    assert lab.look(command, web)["Status"] == "Pending"
    lab.world.configure(web, agent_online=True)
    assert lab.ended(command, web)["Status"] == "Success"


def test_a_script_that_hangs_runs_into_its_documents_timeout() -> None:
    lab, web = lab_with_script(scripts={"erp": {"pre-script": {"hangs": True}}})
    end = lab.run(web, "erp", "pre-script")
    assert (end["Status"], end["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    assert end["ExecutionElapsedTime"] == "PT120.000S"


def test_the_timeout_can_be_a_parameter() -> None:
    lab = SsmLab()
    content = document("dry-run", executionTimeout={"type": "String", "default": "600"})
    content["mainSteps"][0]["inputs"]["timeoutSeconds"] = "{{ executionTimeout }}"
    lab.create("slow", content)
    web = lab.managed(scripts={"slow": {"hangs": True}})
    end = lab.run(web, "slow", parameters={"executionTimeout": ["7"]})
    assert end["ExecutionElapsedTime"] == "PT7.000S"


def test_a_cancelled_command_ends_without_its_effect() -> None:
    lab, web = lab_with_script(scripts={"erp": {"pre-script": {"seconds": 30}}})
    command = lab.send(web, "erp", "pre-script")
    lab.wait(10)
    lab.do("CancelCommand", CommandId=command, InstanceIds=[web])
    assert lab.look(command, web)["Status"] == "Cancelling"
    lab.wait(2)
    assert lab.look(command, web)["Status"] == "Cancelled"
    lab.wait(60)
    assert lab.look(command, web)["Status"] == "Cancelled"
    assert lab.happened(web, "script_ended") == []


def test_a_command_that_is_cancelled_before_its_delivery_never_begins() -> None:
    lab, web = lab_with_script()
    command = lab.send(web, "erp", "pre-script")
    lab.do("CancelCommand", CommandId=command)
    lab.wait(10)
    assert lab.look(command, web)["Status"] == "Cancelled"
    assert lab.happened(web, "script_began") == []


def test_a_stop_ends_what_runs_in_the_guest() -> None:
    lab, web = lab_with_script(scripts={"erp": {"pre-script": {"seconds": 100}}})
    command = lab.send(web, "erp", "pre-script")
    lab.wait(5)
    lab.stop(web)
    end = lab.look(command, web)
    assert (end["Status"], end["StatusDetails"]) == ("Failed", "Terminated")


def test_commands_are_listed_newest_first_by_page_and_filter() -> None:
    lab, web = lab_with_script()
    sent = [lab.send(web, "erp", "dry-run", Comment=str(number)) for number in range(3)]
    other = lab.send(web, "AWS-RunShellScript", parameters={"commands": ["true"]})
    lab.wait(10)

    def listed(**params: object) -> list[str]:
        rows = lab.do("ListCommands", InstanceId=web, **params)["Commands"]
        return [row["CommandId"] for row in rows]

    assert listed() == [other, *reversed(sent)]
    assert listed(Filters=[{"key": "DocumentName", "value": "erp"}]) == sent[::-1]
    assert listed(Filters=[{"key": "Status", "value": "Failed"}]) == []
    assert listed(Filters=[{"key": "InvokedAfter", "value": "2027-01-01T00:00:00Z"}]) == []
    assert listed(CommandId=other) == [other]
    first = lab.do("ListCommands", InstanceId=web, MaxResults=3)
    assert listed(MaxResults=3, NextToken=first["NextToken"]) == [sent[0]]
    assert len(lab.do("ListCommandInvocations", InstanceId=web)["CommandInvocations"]) == 4
    assert lab.do("ListCommandInvocations", InstanceId="i-0")["CommandInvocations"] == []
    odd = [{"key": "Color", "value": "red"}]
    assert lab.fails("ListCommands", Filters=odd) == "InvalidFilterKey"


def test_a_command_can_be_looked_at_for_thirty_days() -> None:
    lab, web = lab_with_script()
    command = lab.send(web, "erp", "dry-run")
    lab.wait(31 * 86_400)
    lab.send(web, "erp", "dry-run")
    assert lab.fails("ListCommands", CommandId=command) == "InvalidCommandId"


def test_of_several_steps_one_has_to_be_named() -> None:
    lab = SsmLab()
    content = document("dry-run")
    content["mainSteps"].append(content["mainSteps"][0] | {"name": "second"})
    lab.create("two", content)
    web = lab.managed(scripts={"two": {"stdout": "out"}})
    command = lab.send(web, "two", "dry-run")
    lab.wait(10)
    named = {"CommandId": command, "InstanceId": web}
    assert lab.fails("GetCommandInvocation", **named) == "InvalidPluginName"
    outputs = [
        lab.do("GetCommandInvocation", **named, PluginName=step)["StandardOutputContent"]
        for step in ("run", "second")
    ]
    assert outputs == ["out", ""]
    (row,) = lab.do("ListCommandInvocations", CommandId=command, Details=True)["CommandInvocations"]
    assert [plugin["Name"] for plugin in row["CommandPlugins"]] == ["run", "second"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DocumentName": "none"}, "InvalidDocument"),
        ({"DocumentVersion": "7"}, "InvalidDocumentVersion"),
        ({"Parameters": {"odd": ["1"]}}, "InvalidParameters"),
        ({"Parameters": {"command": ["rm"]}}, "InvalidParameters"),
        ({"Parameters": {"command": ["pre-script", "post-script"]}}, "InvalidParameters"),
        ({"DocumentName": "AWS-RunShellScript"}, "InvalidParameters"),
        ({"Comment": "x" * 101}, "ValidationException"),
        ({"TimeoutSeconds": 29}, "ValidationException"),
        ({"InstanceIds": []}, "ValidationException"),
        ({"InstanceIds": ["i-00000000000000000"]}, "InvalidInstanceId"),
        ({"DocumentName": "AWSEC2-CreateVssSnapshot"}, "UnsupportedPlatformType"),
    ],
)
def test_a_command_that_cannot_be_is_refused(changes: dict[str, object], code: str) -> None:
    lab, web = lab_with_script()
    request: dict[str, object] = {"InstanceIds": [web], "DocumentName": "erp", **changes}
    assert lab.fails("SendCommand", **request) == code
    assert lab.fails("SendCommand", InstanceIds=[web] * 2, DocumentName="erp") == (
        "DuplicateInstanceId"
    )


def test_an_unknown_command_is_refused() -> None:
    lab, web = lab_with_script()
    unknown = "00000000-0000-4000-8000-000000000000"
    assert lab.fails("CancelCommand", CommandId=unknown) == "InvalidCommandId"
    assert lab.fails("GetCommandInvocation", CommandId="x", InstanceId=web) == "InvalidCommandId"
    command = lab.send(web, "erp", "dry-run")
    assert lab.fails("CancelCommand", CommandId=command, InstanceIds=["i-0"]) == "InvalidInstanceId"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("throttle", "ThrottlingException"),
        ("access-denied", "AccessDeniedException"),
        ("server-error", "InternalServerError"),
        ("api-error", "Odd"),
    ],
)
def test_the_worlds_faults_strike_ssm_in_its_own_words(name: str, code: str) -> None:
    lab, web = lab_with_script()
    more = {"code": "Odd"} if name == "api-error" else {}
    lab.world.faults.add({"name": name, "action": "SendCommand", "instance": "web", **more})
    assert lab.fails("SendCommand", InstanceIds=[web], DocumentName="erp") == code
    assert [call.error for call in lab.ssm.calls[-1:]] == [code]
    assert lab.run(web, "erp")["Status"] == "Success"


def test_a_command_whose_answer_is_lost_is_sent_all_the_same() -> None:
    lab, web = lab_with_script()
    lab.world.faults.add({"name": "lost-response", "action": "SendCommand"})
    code = lab.fails("SendCommand", InstanceIds=[web], DocumentName="erp", Comment="key")
    assert code == "InternalServerError"
    lab.wait(2)
    assert [row["Comment"] for row in lab.do("ListCommands")["Commands"]] == ["key"]
