"""What has to hold around the instances: who serves where, scripts, freezes, muted alarms."""

import re
from collections.abc import Iterator
from typing import Any, Final

from sandbox.ec2.model import Instance
from sandbox.faults.fleet import Fleet
from sandbox.faults.told import Told
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.journal import Message
from sandbox.virtual.mischief import Kind
from sandbox.virtual.stack import ACCOUNT, REGION

CYCLE: Final = "stillpoint:cycle"
UNDO: Final = "stillpoint:undo"
RULE: Final = "stillpoint-"
GONE: Final = frozenset({"terminated", "shutting-down"})
HEALTHY, IN_SERVICE, EXPIRED = "healthy", "InService", "EXPIRED"
# What is out of service for longer has to be told while it lasts, or soon after.
OUT_UNTOLD: Final = 1800.0
SOON: Final = 600.0
# How people are told of it: by the backup, or by the recovery, for which only a post-script is due.
POST_SCRIPT: Final = re.compile(r"post-script|PostScriptFailed|NOT IN SERVICE[^$]*script document")
UNMUTING: Final = ("DeleteAlarmMuteRule", "ListAlarmMuteRules")

type Place = tuple[str, int]


class Around:
    """The invariants of one run that are not about EC2 alone."""

    def __init__(self, cloud: Cloud, fleet: Fleet, told: Told) -> None:
        """Remember how everything is before the run."""
        self._cloud = cloud
        self._fleet = fleet
        self._told = told
        truth = cloud.truth()
        self._places = {name: set(dict(_places(truth, key))) for name, key in fleet.ids.items()}
        self._members = {
            name: group["name"]
            for name, key in fleet.ids.items()
            for group in truth["auto_scaling_groups"]
            if key in group["members"]
        }
        self._sizes = {each["name"]: each["desired"] for each in truth["auto_scaling_groups"]}
        self._out_since: dict[str, float] = {}
        self._outages: list[tuple[str, float, float]] = []

    def look(self, truth: dict[str, Any]) -> None:
        """Note who is out of service, to be called every minute or so."""
        now = self._cloud.scheduler.now()
        out = {name for name, _ in self._out_of_service(truth)}
        for name in out:
            self._out_since.setdefault(name, now)
        for name in self._out_since.keys() - out:
            self._outages.append((name, self._out_since.pop(name), now))

    def unsettled(self, truth: dict[str, Any]) -> Iterator[str]:
        """Return what is not as it was: this may take its time, within a bound."""
        for name, what in self._out_of_service(truth):
            yield f"{name} {what}"
        for row in truth["instances"]:
            if row["state"] not in GONE and UNDO in row["tags"] and CYCLE not in row["tags"]:
                yield f"{row['name']} carries {UNDO} = '{row['tags'][UNDO]}' without {CYCLE}"
        for rule in self._forgotten_rules(truth):
            if rule["status"] != EXPIRED:
                yield f"the mute rule {rule['name']} is in force, and nothing is in charge"
        yield from self._guests(truth)
        yield from self._due_scripts(truth)

    def violations(self, truth: dict[str, Any]) -> Iterator[str]:
        """Return what must not be so in the end."""
        for row in truth["instances"]:
            yield from self._script_story(row)
        if not self._cloud.mischief.concerns(*UNMUTING):
            gone = {row["instance_id"] for row in truth["instances"] if row["state"] in GONE}
            for rule in self._forgotten_rules(truth):
                # The alarms of what was terminated ring for nobody, and the rule ends by itself.
                if not gone.issuperset(self._members_of(rule)):
                    yield f"the mute rule {rule['name']} was left behind ({rule['status']})"
        yield from self._untold_outages()

    # -- in service ---------------------------------------------------------------

    def _out_of_service(self, truth: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name, instance_id in self._fleet.ids.items():
            if name in self._fleet.touched:
                continue
            found = dict(_places(truth, instance_id))
            if name not in self._fleet.unplaced:
                for place in sorted(self._places[name]):
                    state = found.get(place, "not registered")
                    if state != HEALTHY:
                        yield name, f"is {state} in {place[0]}:{place[1]}"
                for place in sorted(found.keys() - self._places[name]):
                    yield name, f"is registered in {place[0]}:{place[1]}, where it never was"
            group = self._group_of(truth, name)
            if group is None:
                continue
            state = group["members"].get(instance_id, "no member any more")
            if state != IN_SERVICE:
                yield name, f"is {state} in {group['name']}"
            elif group["desired"] != self._sizes[group["name"]]:
                yield name, f"is in {group['name']}, of which the capacity is {group['desired']}"

    def _group_of(self, truth: dict[str, Any], name: str) -> dict[str, Any] | None:
        wanted = self._members.get(name)
        rows = (row for row in truth["auto_scaling_groups"] if row["name"] == wanted)
        return next(rows, None)

    def _untold_outages(self) -> Iterator[str]:
        if self._told.is_muzzled:
            return
        now = self._cloud.scheduler.now()
        lasting = [(name, since, now) for name, since in self._out_since.items()]
        for name, since, until in [*self._outages, *lasting]:
            if until - since <= OUT_UNTOLD or name in self._fleet.touched:
                continue
            alarms = self._told.alarms(since=since, until=until + SOON)
            if not any(self._concerns(each, name) for each in alarms):
                yield f"nobody was told that {name} was out of service for {until - since:.0f} s"

    def _concerns(self, message: Message, name: str) -> bool:
        """Say whether a message is about an instance, or about its group."""
        group = self._fleet.groups.get(name)
        return message.mentions(self._fleet.ids[name]) or (
            group is not None and message.body.get("group") == group
        )

    # -- muted alarms -----------------------------------------------------------------

    def _forgotten_rules(self, truth: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for rule in truth["mute_rules"]:
            if _execution_of(rule) not in self._cloud.executions.running:
                yield rule

    def _members_of(self, rule: dict[str, Any]) -> tuple[str, ...]:
        records = self._cloud.executions.records.values()
        return next(each.members for each in records if each.name == _execution_of(rule))

    # -- in the guest -----------------------------------------------------------------

    def _guests(self, truth: dict[str, Any]) -> Iterator[str]:
        now = self._cloud.scheduler.now()
        for row in truth["instances"]:
            instance = self._instance(row["instance_id"])
            if any(attachment.cache.frozen for attachment in instance.attachments):
                yield f"a file system of {row['name']} is frozen"
            quiesced = instance.guest_up and instance.guest.quiesced(now)
            if quiesced and not self._told_of_script(row):
                yield f"the applications of {row['name']} are quiesced"

    def _instance(self, instance_id: str) -> Instance:
        return self._cloud.world.region(ACCOUNT, REGION).instances[instance_id]

    def _due_scripts(self, truth: dict[str, Any]) -> Iterator[str]:
        """Return who waits for a post-script that nobody was told of."""
        for row in truth["instances"]:
            if row["state"] in GONE or row["name"] in self._fleet.touched:
                continue
            due = False
            for stage, code in _scripts(row):
                due = (stage, code) == ("pre-script", 0) or (due and stage != "post-script")
            if due and not self._told_of_script(row):
                yield f"no post-script of {row['name']} came after its pre-script"

    def _told_of_script(self, row: dict[str, Any]) -> bool:
        texts = [each.text for each in self._told.alarms(row["instance_id"])]
        return self._told.is_muzzled or any(POST_SCRIPT.search(text) for text in texts)

    def _script_story(self, row: dict[str, Any]) -> Iterator[str]:
        """Return where a script ran that had no reason to.

        A command has no token, so that one whose answer was lost, or that two recoveries send at
        once, is a script that runs twice. The next backup runs a pre-script again if people were
        told that its post-script never came.
        """
        mischief = self._cloud.mischief
        twice = mischief.concerns("SendCommand") or Kind.PLANNERS_AT_ONCE in mischief.kinds
        again = twice or self._told_of_script(row)
        began = owed = done = False
        for stage, code in _scripts(row):
            match stage, code:
                case "pre-script", None:
                    if owed and not again:
                        yield f"the pre-script of {row['name']} came again before its post-script"
                    began, owed, done = True, False, False
                case "pre-script", 0:
                    owed = True
                case "pre-script", _:
                    began = False
                case "post-script", None:
                    if not (began or done):
                        yield f"the post-script of {row['name']} came without a pre-script"
                    if done and not twice:
                        yield f"the post-script of {row['name']} came twice"
                    began, owed, done = False, False, True
                case _:
                    pass


def _execution_of(rule: dict[str, Any]) -> str:
    name: str = rule["name"]
    return name.removeprefix(RULE).partition(".")[0]


def _places(truth: dict[str, Any], instance_id: str) -> Iterator[tuple[Place, str]]:
    """Return where an instance is registered, and the state of each target."""
    for group in truth["target_groups"]:
        for target in group["targets"]:
            if target["instance_id"] == instance_id:
                yield (group["name"], target["port"]), target["state"]


def _scripts(row: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Return what happened of an instance's scripts: a stage, and its exit code at its end."""
    for event in row["events"]:
        match event["what"]:
            case "script_began":
                yield event["stage"], None
            case "script_ended":
                yield event["stage"], int(event["exit_code"])
            case _:
                pass
