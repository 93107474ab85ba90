"""The figures of a night, from the world's truth and from what was counted."""

import math
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from sandbox.ec2.model import DownPeriod, Image, ImageState, Instance
from sandbox.ec2.region import Region
from sandbox.ec2.truth import floor_of
from sandbox.simulation import prices
from sandbox.simulation.night import (
    Backup,
    FunctionUse,
    Night,
    Peaks,
    Price,
    Spread,
)
from sandbox.simulation.output import Output
from sandbox.simulation.setting import Setting
from sandbox.simulation.watch import Watch, merged, peak
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.executions import Record
from sandbox.virtual.lambdas import PLANNER
from sandbox.virtual.stack import ACCOUNT, REGION

if TYPE_CHECKING:
    from sandbox.simulation.watch import Interval

CONSISTENCY: Final = "stillpoint:consistency"
AT_REST: Final = frozenset({"file-system", "application"})
REFUSALS: Final = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException"})


def account(
    cloud: Cloud,
    setting: Setting,
    ids: dict[str, str],
    watch: Watch,
    output: Output,
    *,
    due: float,
    begun: float,
    clock: Callable[[], float],
) -> Night:
    """Return the figures of a night that is over. `ids` are names by id, `due` epoch seconds."""
    region = cloud.world.region(ACCOUNT, REGION)
    now = cloud.scheduler.now()
    records = list(cloud.executions.records.values())
    backups = _backups(region, records, ids, due)
    functions = _functions(cloud, output)
    planned = [one for one in cloud.meter.invocations if one.function == PLANNER]
    claims, false_claims = _claims(region)
    transitions = [float(one.transitions) for one in records]
    return Night(
        setting=setting,
        seconds=clock() - begun,
        cpu_seconds=time.process_time(),
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        captured_seconds=_last(backup.captured_after for backup in backups),
        all_back_seconds=_last(backup.up_after for backup in backups),
        ended_seconds=_last(one.ended_at - due for one in records if one.ended_at is not None),
        backups=tuple(backups),
        executions=dict(Counter(one.status for one in records)),
        calls=_calls(cloud),
        throttled=_throttled(cloud),
        transitions=Spread.of(transitions),
        delayed_transitions=len(cloud.meter.waits),
        history_events=Spread.of([float(one.events) for one in records]),
        functions=functions,
        planner_ms=Spread.of([1000 * (one.ended_at - one.ready_at) for one in planned]),
        peaks=_peaks(cloud, region, records, watch, now),
        price=_price(functions, sum(transitions), setting.instances),
        errors=dict(_errors(cloud, records)),
        messages=dict(Counter(message.event or "notice" for message in cloud.journal.messages)),
        claims=claims,
        false_claims=false_claims,
        stranded=tuple(
            name for each, name in ids.items() if region.instances[each].state != "running"
        ),
        violations=(
            *cloud.journal.surprises,
            *(str(violation["what"]) for violation in cloud.truth()["violations"]),
        ),
    )


def _backups(
    region: Region, records: list[Record], ids: dict[str, str], due: float
) -> list[Backup]:
    own: dict[str, list[Record]] = {each: [] for each in ids}
    for record in records:
        for member in record.members:
            own[member].append(record)
    return [
        _backup(region, region.instances[each], name, own[each], due) for each, name in ids.items()
    ]


def _backup(
    region: Region, instance: Instance, name: str, records: list[Record], due: float
) -> Backup:
    downs = _downs(instance)
    captured = [max(image.initiated_at) for down in downs for image in _captured(region, down)]
    ups = [down.up_at for down in downs]
    succeeded = any(record.status == "SUCCEEDED" for record in records)
    return Backup(
        name=name,
        volumes=len(instance.attachments),
        outcome="succeeded" if succeeded else "failed" if records else "missed",
        executions=len(records),
        began_after=downs[0].began_at - due if downs else None,
        captured_after=max(captured) - due if captured else None,
        up_after=ups[-1] - due if ups and ups[-1] is not None else None,
        downtime=sum(down.up_at - down.began_at for down in downs if down.up_at is not None),
        floor=sum(floor_of(region, down) or 0.0 for down in downs),
    )


def _downs(instance: Instance) -> list[DownPeriod]:
    """Return an instance's down periods, one that lasts included."""
    return [*instance.downs, *([instance.down] if instance.down else [])]


def _captured(region: Region, down: DownPeriod) -> list[Image]:
    """Return the images of a down period of which every snapshot was initiated."""
    images = [region.any_image(image_id) for image_id in down.image_ids]
    return [
        image
        for image in images
        if image
        and image.state is not ImageState.FAILED
        and image.initiated_at
        and len(image.initiated_at) == len(image.volumes)
    ]


def _claims(region: Region) -> tuple[dict[str, int], int]:
    """Return the claimed levels of all images, and how many claim rest and miss data."""
    claims: Counter[str] = Counter()
    false = 0
    for image in [*region.images.values(), *region.gone_images.values()]:
        claim = region.tags.current(image.image_id).get(CONSISTENCY, "")
        snapshots = [region.any_snapshot(volume.snapshot_id) for volume in image.volumes]
        dirty = any(snapshot is None or snapshot.dirty_bytes for snapshot in snapshots)
        claims[claim or "none"] += 1
        false += dirty and claim in AT_REST
    return dict(claims), false


def _calls(cloud: Cloud) -> dict[str, dict[str, int]]:
    calls: dict[str, Counter[str]] = {}
    for kind, number in cloud.meter.calls.items():
        calls.setdefault(kind.principal.value, Counter())[kind.action] += number
    return {principal: dict(sorted(actions.items())) for principal, actions in calls.items()}


def _errors(cloud: Cloud, records: list[Record]) -> Counter[str]:
    errors = Counter(f"{function}: {error}" for _, function, error in cloud.lambdas.errors)
    errors.update(
        f"{one.status}: {one.error}"
        for one in records
        if one.status not in {"RUNNING", "SUCCEEDED"}
    )
    return errors


def _throttled(cloud: Cloud) -> dict[str, int]:
    throttled: Counter[str] = Counter()
    for kind, number in cloud.meter.calls.items():
        if kind.error in REFUSALS:
            throttled[kind.action] += number
    return dict(sorted(throttled.items()))


def _functions(cloud: Cloud, output: Output) -> dict[str, FunctionUse]:
    use = {}
    for logical_id, properties in cloud.stack.of_type("AWS::Lambda::Function").items():
        name = cloud.lambdas.name(logical_id)
        own = [one for one in cloud.meter.invocations if one.function == name]
        use[name] = FunctionUse(
            invocations=len(own),
            errors=sum(bool(one.error) for one in own),
            refused=cloud.meter.refused[name],
            billed_ms=sum(math.ceil(1000 * (one.ended_at - one.began_at)) for one in own),
            memory_mb=int(properties.get("MemorySize", 128)),
            log_bytes=output.logs[name],
            metric_bytes=output.metrics[name],
        )
    return {name: each for name, each in sorted(use.items()) if each.invocations}


def _peaks(cloud: Cloud, region: Region, records: list[Record], watch: Watch, now: float) -> Peaks:
    lives: list[Interval] = [(one.started_at, one.ended_at or now) for one in records]
    busy: list[Interval] = []
    for instance in region.instances.values():
        down = [(each.began_at, each.up_at or now) for each in _downs(instance)]
        busy += merged([*watch.of(instance.instance_id, now), *down])
    invocations = [(one.began_at, one.ended_at) for one in cloud.meter.invocations]
    return Peaks(
        executions=peak(lives),
        backups=peak(busy),
        invocations=peak(invocations),
        transitions_per_second=max(cloud.meter.transitions.values(), default=0),
    )


def _price(functions: dict[str, FunctionUse], transitions: float, backups: int) -> Price:
    work, logs = 0.0, 0.0
    planner = 0.0
    for name, use in functions.items():
        compute = prices.lambda_usd(use.invocations, use.billed_ms, use.memory_mb)
        written = prices.log_usd(use.log_bytes + use.metric_bytes)
        if name == PLANNER:
            planner += compute + written
        else:
            work, logs = work + compute, logs + written
    moves = transitions * prices.USD_PER_TRANSITION
    return Price(moves / backups, work / backups, logs / backups, planner / backups)


def _last(moments: Iterable[float | None]) -> float:
    """Return the last of some moments; 0 if there is none."""
    return max((moment for moment in moments if moment is not None), default=0.0)
