"""Clearing up after an execution that was ended before it could do so and report it itself."""

import json
from collections.abc import Callable
from datetime import datetime

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, executions, images
from stillpoint.aws.cut_off import report_cut_off
from stillpoint.aws.executions import Execution
from stillpoint.aws.settings import RecoverSettings
from stillpoint.aws.telemetry import metrics
from stillpoint.instance import Instance
from stillpoint.messages import EventName
from stillpoint.plan import execution_name
from stillpoint.tags import Cycle, Tag

type _EvenIfRefused = Callable[[str, Callable[[], None]], None]


def clear_up(
    execution: Execution,
    settings: RecoverSettings,
    now: datetime,
    even_if_refused: _EvenIfRefused,
    *,
    all_news: bool,
) -> bool:
    """Remove what an ended execution has half-made, and ask for another attempt.

    Returns whether that is done, as far as AWS allows it; before all its instances are up again
    nothing is. An execution that reported its failure itself has done all this, and a refused one
    has touched nothing. Once there is another attempt, its success clears up instead. `all_news`
    asks to tell people of the end even if every recovery point is good. What must not be lost if
    AWS refuses it is done by `even_if_refused`, which is told what it is about.
    """
    if not execution.failed:
        return False
    backup = json.loads(execution.input)
    occurrence = datetime.fromisoformat(backup["occurrence"])
    attempt = int(backup.get("attempt", 1))
    following = execution_name(backup["group_id"], occurrence, attempt + 1)
    if executions.describe(settings.state_machine_arn, following) is not None:
        return False
    instances = ec2.instances_by_id(execution.instance_ids)
    if any(_is_down(instance) for instance in instances.values()):
        return False  # its newest image may be all that a replacement can be made of
    made = images.images_of(execution.name)
    snapshots = images.snapshots_of(execution.name)
    good = {
        instance_id
        for instance_id, image in made.items()
        if aftermath.is_good(image) and not aftermath.is_surplus(image, occurrence, attempt)
    }
    stayed = [
        words
        for instance_id in {*made, *snapshots} - good
        for words in aftermath.discard(made.get(instance_id), snapshots.get(instance_id, ()))
    ]
    unmarked = [i for i in instances.values() if aftermath.is_news(i, occurrence, attempt)]
    missing = set(execution.instance_ids) - good
    markable = [i for i in instances.values() if aftermath.is_markable(i, occurrence)]

    def tell() -> None:
        metrics.add_metric(EventName.BACKUP_FAILED, MetricUnit.Count, 1)
        topic = settings.topic_arn
        report_cut_off(topic, execution, instances, good=good, stayed=stayed, now=now)

    if missing and (unmarked or not markable):
        # The mark hides the failure from the next look: people are told before it is written.
        even_if_refused(f"telling of {execution.name}", tell)
        for instance in unmarked:
            aftermath.mark_failed(instance, occurrence, attempt, now)
    elif not missing and all_news and execution.cut_off:
        even_if_refused(f"telling of {execution.name}", tell)
    return True


def _is_down(instance: Instance) -> bool:
    cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
    if cycle is None or cycle.state_before != "running":
        return False
    return instance.state in {"stopping", "stopped", "pending"}
