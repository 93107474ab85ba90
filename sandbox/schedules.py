"""EventBridge in simulated time, with ticks and events that go missing or arrive twice."""

from typing import Any

from ministack.services import eventbridge

from sandbox.clock import Clock
from sandbox.host_faults import HostFaults

SWEEP_SECONDS = 2.0  # simulated; how late a schedule rule's tick may be


def install(clock: Clock, faults: HostFaults) -> None:
    """Look for due rules often enough for the clock's speed, and let faults at ticks and events."""
    invoke_target, dispatch_event = eventbridge._invoke_target, eventbridge._dispatch_event

    def invoke(target: Any, event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        if rule.get("ScheduleExpression"):
            if faults.take("tick-missed"):
                return
            if faults.take("tick-doubled"):
                invoke_target(target, event, rule, view)
        invoke_target(target, event, rule, view)

    def dispatch(event: dict[str, Any], view: Any = None) -> None:
        detail_type = event.get("DetailType", "")
        if faults.take("event-lost", detail_type=detail_type):
            return
        if faults.take("event-doubled", detail_type=detail_type):
            dispatch_event(event, view)
        dispatch_event(event, view)

    eventbridge._SCHEDULER_TICK_INTERVAL = clock.real_seconds(SWEEP_SECONDS)
    eventbridge._invoke_target = invoke
    eventbridge._dispatch_event = dispatch
