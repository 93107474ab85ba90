"""EventBridge in virtual time: the schedule rules tick, and the ends of executions find targets."""

import json
import re
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from sandbox.clock import iso
from sandbox.template import UnsupportedTemplate
from sandbox.virtual.journal import Message
from sandbox.virtual.lambdas import Lambdas
from sandbox.virtual.mischief import Kind
from sandbox.virtual.run import Run
from sandbox.virtual.stack import ACCOUNT, REGION, Stack

_RATE: Final = re.compile(r"rate\((\d+) (minute|hour)s?\)")
_SECONDS: Final = {"minute": 60, "hour": 3600}
TICK_DELAY: Final = (0.2, 20.0)  # seconds from the full minute to the invocation
EVENT_DELAY: Final = (0.3, 6.0)  # seconds from the end of an execution to its event


class Rules:
    """The rules of the stack, at least once each, and as late as they may be."""

    def __init__(self, stack: Stack, lambdas: Lambdas, run: Run) -> None:
        self.quiet_until = 0.0
        self._stack = stack
        self._lambdas = lambdas
        self._run = run
        self._chance = run.chance("rules")
        self._rules = {
            name: rule
            for name, rule in stack.of_type("AWS::Events::Rule").items()
            if rule.get("State", "ENABLED") == "ENABLED"
        }

    def start(self) -> None:
        """Let the schedule rules tick from now on."""
        for name, rule in self._rules.items():
            if "ScheduleExpression" in rule:
                self._run.scheduler.spawn(f"rule {name}", partial(self._tick, name, rule))

    def execution_ended(self, detail: dict[str, Any]) -> None:
        """Send the event of an execution's change of status."""
        event = self._event("aws.states", "Step Functions Execution Status Change", detail)
        fault = self._run.mischief.event()
        if fault:
            self._run.journal.note("fault", f"{fault} for {detail['name']}")
        if fault is Kind.EVENT_LOST:
            return
        for name, rule in self._rules.items():
            if "EventPattern" in rule and _matches(rule["EventPattern"], event):
                times = 2 if fault is Kind.EVENT_DOUBLED else 1
                for _ in range(times):
                    delay = self._chance.uniform(*EVENT_DELAY)
                    self._send(name, rule, event, delay)

    def _tick(self, name: str, rule: Mapping[str, Any]) -> None:
        match = _RATE.fullmatch(rule["ScheduleExpression"])
        if match is None:
            raise UnsupportedTemplate(f"a schedule rule of {rule['ScheduleExpression']}")
        period = int(match[1]) * _SECONDS[match[2]]
        while True:
            now = self._run.scheduler.now()
            following = max((now // period + 1) * period, self.quiet_until)
            self._run.scheduler.sleep(following - now)
            if self._run.scheduler.now() < self.quiet_until:
                continue
            event = self._event("aws.events", "Scheduled Event", {}, self._stack.arns[name])
            [target] = rule["Targets"]
            function = self._lambdas.name(self._stack.logical_id(target["Arn"]))
            fault = self._run.mischief.tick(function)
            if fault:
                self._run.journal.note("fault", f"{fault} of {name}")
            if fault is Kind.TICK_MISSED:
                continue
            delay = self._chance.uniform(*TICK_DELAY)
            self._send(name, rule, event, delay)
            if fault is Kind.TICK_DOUBLED:
                self._send(name, rule, event, delay + self._chance.uniform(1, 15))
            if fault is Kind.PLANNERS_AT_ONCE:
                self._send(name, rule, event, delay)

    def _send(
        self, name: str, rule: Mapping[str, Any], event: dict[str, Any], delay: float
    ) -> None:
        for target in rule["Targets"]:
            logical_id = self._stack.logical_id(target["Arn"])
            kind = self._stack.resources[logical_id]["Type"]
            if kind == "AWS::Lambda::Function":
                self._run.scheduler.spawn(
                    f"{name} -> {logical_id}",
                    partial(self._lambdas.invoke_later, logical_id, event),
                    after=delay,
                )
            elif kind == "AWS::SNS::Topic":
                text = _transformed(target.get("InputTransformer"), event)
                message = Message(
                    self._run.scheduler.now(), "events.amazonaws.com", "", text, {}, {}
                )
                self._run.scheduler.spawn(
                    f"{name} -> {logical_id}",
                    partial(self._run.journal.published, message),
                    after=delay,
                )
            else:
                raise UnsupportedTemplate(f"a rule with the target {kind}")

    def _event(
        self, source: str, detail_type: str, detail: dict[str, Any], *resources: str
    ) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": iso(self._run.scheduler.now())[:-5] + "Z",
            "region": REGION,
            "resources": list(resources),
            "detail": detail,
        }


def _matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Say whether an event matches a pattern of plain values, as far as these rules go."""
    for key, wanted in pattern.items():
        if isinstance(wanted, Mapping):
            if not _matches(wanted, event.get(key, {})):
                return False
        elif not all(isinstance(each, str) for each in wanted):
            raise UnsupportedTemplate(f"the event pattern {wanted}")
        elif event.get(key) not in wanted:
            return False
    return True


def _transformed(transformer: Mapping[str, Any] | None, event: Mapping[str, Any]) -> str:
    """Return the text that an input transformer makes of an event."""
    if transformer is None:
        return json.dumps(event)
    text: str = transformer["InputTemplate"]
    for name, path in transformer.get("InputPathsMap", {}).items():
        value: Any = event
        for step in path.removeprefix("$.").split("."):
            value = value.get(step, "")
        text = text.replace(f"<{name}>", str(value))
    return text.strip().strip('"')
