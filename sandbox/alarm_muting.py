"""Alarm mute rules of CloudWatch, and the metric alarms that they are about.

CloudWatch API Reference, PutAlarmMuteRule and Schedule: a rule names at most 100 alarms, and
mutes them for a duration (one minute to 15 days) from the moment of its `at(...)` on, or from each
one of its `cron(...)`, which is checked here but never comes round.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sandbox.ec2.call import Call
from sandbox.ec2.moments import iso
from sandbox.ec2.region import Region
from sandbox.ec2.world import World
from sandbox.modelled import Modelled, page
from sandbox.service_calls import ServiceError

MOST_ALARMS: Final = 100
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=15)
REQUEST_ID: Final = "cloudwatch"
_AT: Final = re.compile(r"at\((\d{4}-\d{2}-\d{2}T\d{2}:\d{2})\)")
_CRON: Final = re.compile(r"cron\((\S+ ){4}\S+\)")
_DURATION: Final = re.compile(r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")

type Rules = dict[str, "MuteRule"]


@dataclass(frozen=True, slots=True)
class MuteRule:
    """A rule as it was put last. Moments are epoch seconds; `begins` is None for a `cron(...)`."""

    name: str
    arn: str
    alarms: tuple[str, ...]
    schedule: Mapping[str, str]
    begins: float | None
    seconds: float
    put_at: float
    description: str | None
    starts: datetime | None
    expires: datetime | None

    def status(self, now: float) -> str:
        """Return SCHEDULED, ACTIVE or EXPIRED."""
        over = self.expires is not None and self.expires.timestamp() <= now
        if over or (self.begins is not None and self.begins + self.seconds <= now):
            return "EXPIRED"
        started = self.starts is None or self.starts.timestamp() <= now
        return (
            "ACTIVE" if started and self.begins is not None and self.begins <= now else "SCHEDULED"
        )

    def summary(self, now: float) -> dict[str, Any]:
        """Return it as ListAlarmMuteRules does."""
        return {
            "AlarmMuteRuleArn": self.arn,
            "ExpireDate": self.expires,
            "Status": self.status(now),
            "MuteType": "CRON" if self.begins is None else "AT",
            "LastUpdatedTimestamp": self.put_at,
        }


class AlarmMuting(Modelled[Region]):
    """All mute rules of a world, and the metric alarms that were put there."""

    def __init__(self, world: World) -> None:
        operations = {
            "DeleteAlarmMuteRule": self._delete,
            "DescribeAlarms": self._describe_alarms,
            "GetAlarmMuteRule": self._get,
            "ListAlarmMuteRules": self._list,
            "PutAlarmMuteRule": self._put,
            "PutMetricAlarm": self._put_alarm,
        }
        super().__init__("cloudwatch", world, operations)
        self._rules: defaultdict[tuple[str, str], Rules] = defaultdict(dict)
        self._alarms: defaultdict[tuple[str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)

    def is_muted(self, alarm: str, account: str, region: str) -> bool:
        """Say whether the actions of an alarm are muted now."""
        now = self._world.clock.now()
        return any(
            alarm in rule.alarms and rule.status(now) == "ACTIVE"
            for rule in self._rules[account, region].values()
        )

    def report(self) -> dict[str, Any]:
        """Return the rules that there are, ready for JSON."""
        with self._world.lock:
            now = self._world.advance()
            return {
                "mute_rules": [
                    {
                        "name": rule.name,
                        "region": region,
                        "alarms": list(rule.alarms),
                        "status": rule.status(now),
                        "ends_at": None if rule.begins is None else iso(rule.begins + rule.seconds),
                    }
                    for (_, region), rules in self._rules.items()
                    for rule in rules.values()
                ]
            }

    def _put(self, place: Region, call: Call) -> dict[str, Any]:
        """Make a rule, or replace the one of this name."""
        params = call.params
        schedule, name = params["Rule"]["Schedule"], params["Name"]
        alarms = params.get("MuteTargets", {}).get("AlarmNames", [])
        if len(alarms) > MOST_ALARMS:
            raise _error("ValidationError", f"A rule targets at most {MOST_ALARMS} alarms")
        self._of(place)[name] = MuteRule(
            name,
            arn=f"arn:aws:cloudwatch:{place.name}:{place.account}:alarm-mute-rule:{name}",
            alarms=tuple(alarms),
            schedule=schedule,
            begins=_beginning(schedule),
            seconds=_duration(schedule["Duration"]).total_seconds(),
            put_at=call.at,
            description=params.get("Description"),
            starts=params.get("StartDate"),
            expires=params.get("ExpireDate"),
        )
        return {}

    def _delete(self, place: Region, call: Call) -> dict[str, Any]:
        """Delete a rule; that there is none is no error (API Reference)."""
        self._of(place).pop(call.params["AlarmMuteRuleName"], None)
        return {}

    def _get(self, place: Region, call: Call) -> dict[str, Any]:
        rule = self._of(place).get(call.params["AlarmMuteRuleName"])
        if rule is None:
            raise _error("ResourceNotFoundException", "The alarm mute rule does not exist", 404)
        return {
            **rule.summary(call.at),
            "Name": rule.name,
            "Description": rule.description,
            "Rule": {"Schedule": rule.schedule},
            "MuteTargets": {"AlarmNames": list(rule.alarms)},
            "StartDate": rule.starts,
        }

    def _list(self, place: Region, call: Call) -> dict[str, Any]:
        alarm, statuses = call.params.get("AlarmName"), call.params.get("Statuses")
        rows = [
            rule.summary(call.at)
            for rule in self._of(place).values()
            if (alarm is None or alarm in rule.alarms)
            and (not statuses or rule.status(call.at) in statuses)
        ]
        return page("AlarmMuteRuleSummaries", rows, call)

    def _put_alarm(self, place: Region, call: Call) -> dict[str, Any]:
        """Keep an alarm as it is described: nothing evaluates it here."""
        self._alarms[place.account, place.name][call.params["AlarmName"]] = call.params
        return {}

    def _describe_alarms(self, place: Region, call: Call) -> dict[str, Any]:
        """List metric alarms; no composite ones are kept here."""
        names, kinds = call.params.get("AlarmNames"), call.params.get("AlarmTypes")
        rows = [
            {
                "AlarmArn": f"arn:aws:cloudwatch:{place.name}:{place.account}:alarm:{name}",
                "StateValue": "OK",
                **{key: value for key, value in alarm.items() if key != "Tags"},
            }
            for name, alarm in self._alarms[place.account, place.name].items()
            if (not names or name in names)
            and (not kinds or "MetricAlarm" in kinds)
            and name.startswith(call.params.get("AlarmNamePrefix", ""))
        ]
        return page("MetricAlarms", rows, call)

    def _place(self, region: Region, now: float) -> Region:  # noqa: ARG002
        return region

    def _of(self, place: Region) -> Rules:
        return self._rules[place.account, place.name]


def _beginning(schedule: Mapping[str, str]) -> float | None:
    """Return when a one-time rule begins, or None for a recurring one. Raises ServiceError."""
    expression, name = schedule["Expression"], schedule.get("Timezone", "UTC")
    try:
        zone = UTC if name == "UTC" else ZoneInfo(name)
        if match := _AT.fullmatch(expression):
            return datetime.fromisoformat(match[1]).replace(tzinfo=zone).timestamp()
    except (ValueError, ZoneInfoNotFoundError):
        raise _error("ValidationError", f"{expression} in {name} is no moment") from None
    if _CRON.fullmatch(expression):
        return None
    raise _error("ValidationError", f"{expression} is not a schedule expression")


def _duration(text: str) -> timedelta:
    """Return a duration in ISO 8601. Raises ServiceError."""
    match = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (
        (int(each or 0) for each in match.groups()) if match else [0] * 4
    )
    length = timedelta(days, seconds, hours=hours, minutes=minutes)
    if not SHORTEST <= length <= LONGEST:
        raise _error("ValidationError", f"{text} is not a duration from PT1M to P15D")
    return length


def _error(code: str, message: str, status: int = 400) -> ServiceError:
    return ServiceError(code, message, status, REQUEST_ID)
