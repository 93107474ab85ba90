"""What is done with a recovery point once it is available: it is shared, locked and protected.

Every step may be done again: what is found done is left alone, so a call that was cut short goes
on where it ended. What AWS refuses is a trouble that people are told of, and never spoils the
recovery point itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import keys
from stillpoint.aws.client import client, translated
from stillpoint.aws.notifications import publish
from stillpoint.aws.settings import Safeguards
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import AwsRefused
from stillpoint.image import Image
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.pruning import PROTECTED_BY_US
from stillpoint.recovery_point import Snapshot, recall
from stillpoint.tags import VALUE_LIMIT, Tag, iso, parse_iso

SHORTEST_LOCK = timedelta(days=1)
"""A snapshot is locked for a day at least (EC2 API Reference, LockSnapshot, LockDuration)."""

_FILTER_VALUES = 200
_UNLOCKED = frozenset({"", "expired"})
_REMEDIES = {
    EventName.SHARING_FAILED: "The recovery point is good, only the other accounts cannot use it."
    " Mend what is said above; the next one is shared again. To share this one, give the accounts"
    " the launch permission of the image and the permission to create volumes of its snapshots.",
    EventName.PROTECTION_FAILED: "The recovery point is good, only not protected as the stack's"
    " parameters ask for. Mend what is said above; the next one is protected again.",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One safeguard that could not be applied: the event that tells of it, and a sentence."""

    event: EventName
    sentence: str


def apply_safeguards(
    image: Image,
    snapshots: Sequence[Snapshot],
    safeguards: Safeguards,
    *,
    region: str | None = None,
    now: datetime,
) -> tuple[Trouble, ...]:
    """Share, lock and protect an available image and its snapshots; return what was refused.

    `image.tags` say when it was captured and what was done before. `region` is where the image
    is, if that is not the function's own. A lock ends so many days after the capture, however late
    it is set. Raises AwsUnavailable if AWS cannot do it now: then call this again.
    """
    applying = _Applying(image, snapshots, region)
    if safeguards.share_with:
        applying.share(safeguards.share_with)
    if safeguards.lock_days:
        applying.lock(timedelta(days=safeguards.lock_days), now)
    if safeguards.deregistration_protection:
        applying.protect()
    return tuple(applying.troubles)


def report_safeguards(
    applied: Iterable[tuple[Image, Sequence[Trouble]]],
    *,
    topic_arn: str,
    now: datetime,
    region: str | None = None,
    execution_arn: str | None = None,
) -> None:
    """Tell people what could not be shared or protected: one message of each kind, if any.

    The images are those of one backup. What there is to say of them comes from their tags.
    """
    pairs = list(applied)
    for name in (EventName.SHARING_FAILED, EventName.PROTECTION_FAILED):
        reports = []
        for image, troubles in pairs:
            sentences = [trouble.sentence for trouble in troubles if trouble.event is name]
            if sentences:
                reports.append(_report(image, sentences, region))
        if not reports:
            continue
        first = next(image for image, _ in pairs)
        metrics.add_metric(name, MetricUnit.Count, 1)
        publish(
            topic_arn,
            Event(
                name=name,
                at=now,
                instances=tuple(reports),
                remedy=_REMEDIES[name],
                group=first.tags.get(Tag.GROUP),
                occurrence=parse_iso(first.tags.get(Tag.OCCURRENCE, "")),
                execution_arn=execution_arn,
            ),
        )


class _Applying:
    """The safeguards of one image: `troubles` collects what was refused."""

    def __init__(self, image: Image, snapshots: Sequence[Snapshot], region: str | None) -> None:
        self._image = image
        self._snapshots = snapshots
        self._region = region
        self._ec2 = client("ec2", region)
        self.troubles: list[Trouble] = []

    def share(self, accounts: Sequence[str]) -> None:
        """Let other accounts launch the image, and make volumes of its snapshots.

        The launch permission alone does not let them copy it (EC2 User Guide, "How Amazon EC2 AMI
        copy works"). Nothing that is encrypted under the AWS managed key can be shared (EC2 User
        Guide, "Share an AMI with specific AWS accounts"). Whether they may use a customer managed
        key is up to the key's policy, which is its owner's.
        """
        shared = self._image.tags.get(Tag.SHARED_WITH, "").split()
        missing = [account for account in accounts if account not in shared]
        if not missing:
            return
        try:
            managed = self._under_the_aws_managed_key()
        except AwsRefused as error:
            self._refused(EventName.SHARING_FAILED, error)
            return
        if managed:
            self._add(
                EventName.SHARING_FAILED,
                f"It cannot be shared with {', '.join(missing)}: the AWS managed key, which no"
                f" other account can use, encrypts {', '.join(managed)}. Encrypt the volume under a"
                " customer managed key.",
            )
            return
        granted = [account for account in missing if self._share_with(account)]
        if granted:
            self._note({Tag.SHARED_WITH: _fitting([*shared, *granted])})

    def _share_with(self, account: str) -> bool:
        image_id = self._image.image_id
        calls: list[tuple[str, Callable[[], object]]] = [
            (
                f"sharing {image_id} with {account}",
                partial(
                    self._ec2.modify_image_attribute,
                    ImageId=image_id,
                    Attribute="launchPermission",
                    OperationType="add",
                    UserIds=[account],
                ),
            )
        ]
        calls += [
            (
                f"sharing {snapshot.snapshot_id} with {account}",
                partial(
                    self._ec2.modify_snapshot_attribute,
                    SnapshotId=snapshot.snapshot_id,
                    Attribute="createVolumePermission",
                    OperationType="add",
                    UserIds=[account],
                ),
            )
            for snapshot in self._snapshots
        ]
        return all(self._do(EventName.SHARING_FAILED, doing, call) for doing, call in calls)

    def _under_the_aws_managed_key(self) -> list[str]:
        """Return the snapshots that are; a key that may not be looked at is a customer's own."""
        arns = dict.fromkeys(s.kms_key_arn for s in self._snapshots if s.kms_key_arn)
        found = {arn: keys.describe_key(arn, region=self._region) for arn in arns}
        managed = {arn for arn, key in found.items() if key is not None and key.aws_managed}
        return [s.snapshot_id for s in self._snapshots if s.kms_key_arn in managed]

    def lock(self, span: timedelta, now: datetime) -> None:
        """Lock the snapshots in governance mode for a time that is counted from the capture.

        If less than a day of it is left, they stay unlocked. A lock in governance mode that ends
        sooner is prolonged. Any other that is in force stays as it is: setting one replaces it (EC2
        API Reference, LockSnapshot), which would shorten a longer one, or weaken one in compliance
        mode that is still in its cooling-off period.
        """
        captured_at = parse_iso(self._image.tags.get(Tag.CAPTURED_AT, ""))
        if captured_at is None:
            sentence = f"Its tag {Tag.CAPTURED_AT} does not say from when on it is to be locked."
            self._add(EventName.PROTECTION_FAILED, sentence)
            return
        until = captured_at + span
        if until - now < SHORTEST_LOCK:
            return
        locks: dict[str, Mapping[str, Any]] = {}
        reading = self._do(
            EventName.PROTECTION_FAILED,
            f"reading the locks of the snapshots of {self._image.image_id}",
            lambda: locks.update(self._locks()),
        )
        for snapshot in self._snapshots if reading else ():
            present = locks.get(snapshot.snapshot_id, {})
            state, ends = present.get("LockState", ""), present.get("LockExpiresOn")
            is_short = state == "governance" and ends is not None and ends < until
            if state in _UNLOCKED or is_short:
                self._do(
                    EventName.PROTECTION_FAILED,
                    f"locking {snapshot.snapshot_id} until {iso(until)}",
                    partial(
                        self._ec2.lock_snapshot,
                        SnapshotId=snapshot.snapshot_id,
                        LockMode="governance",
                        ExpirationDate=until,
                    ),
                )

    def _locks(self) -> dict[str, Mapping[str, Any]]:
        """Return the locks that the snapshots have or had, by snapshot id."""
        found: dict[str, Mapping[str, Any]] = {}
        for some in batched(self._snapshots, _FILTER_VALUES, strict=False):
            answer = self._ec2.describe_locked_snapshots(
                SnapshotIds=[snapshot.snapshot_id for snapshot in some]
            )
            found |= {row["SnapshotId"]: row for row in answer["Snapshots"]}
        return found

    def protect(self) -> None:
        """Protect the image against being deregistered.

        Without the cooldown, which would keep it for another 24 hours after the protection is
        taken off (EC2 API Reference, EnableImageDeregistrationProtection). The tag is written
        first: pruning takes off only what is marked as ours. What somebody else has protected
        stays theirs.
        """
        if self._image.protection.startswith("enabled"):
            return
        image_id = self._image.image_id
        marked = self._image.tags.get(Tag.PROTECTED) == PROTECTED_BY_US or self._do(
            EventName.PROTECTION_FAILED,
            f"tagging {image_id}",
            partial(self._tag, {Tag.PROTECTED: PROTECTED_BY_US}),
        )
        if marked:
            self._do(
                EventName.PROTECTION_FAILED,
                f"protecting {image_id} against its deregistration",
                partial(
                    self._ec2.enable_image_deregistration_protection,
                    ImageId=image_id,
                    WithCooldown=False,
                ),
            )

    def _note(self, tags: Mapping[str, str]) -> None:
        """Write on the image what was done; without that it is done again, which is harmless."""
        try:
            with translated(f"tagging {self._image.image_id}"):
                self._tag(tags)
        except AwsRefused:
            logger.exception("What was done could not be written on the image")

    def _tag(self, tags: Mapping[str, str]) -> None:
        rows = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._ec2.create_tags(Resources=[self._image.image_id], Tags=rows)

    def _do(self, event: EventName, doing: str, call: Callable[[], object]) -> bool:
        """Return whether AWS did it; a refusal is a trouble."""
        try:
            with translated(doing):
                call()
        except AwsRefused as error:
            self._refused(event, error)
            return False
        return True

    def _refused(self, event: EventName, error: AwsRefused) -> None:
        logger.warning(
            "A safeguard was refused", extra={"image": self._image.image_id}, exc_info=error
        )
        self._add(event, f"AWS refused {error}".rstrip(".") + ".")

    def _add(self, event: EventName, sentence: str) -> None:
        self.troubles.append(Trouble(event, sentence))


def _report(image: Image, sentences: Iterable[str], region: str | None) -> InstanceReport:
    where = f"In {region}: " if region else ""
    return InstanceReport(
        instance_id=image.tags.get(Tag.INSTANCE, ""),
        name=image.tags.get("Name", ""),
        state="",
        why=where + " ".join(sentences),
        image_id=image.image_id,
        consistency=recall(image.tags).level,
    )


def _fitting(accounts: Iterable[str]) -> str:
    """Return as many account ids as a tag's value holds."""
    value = ""
    for account in dict.fromkeys(accounts):
        longer = f"{value} {account}".strip()
        if len(longer) > VALUE_LIMIT:
            break
        value = longer
    return value
