"""The judge: each deletion at its moment, and after each sweep what is there and what is not.

It knows what was made from the ledger, what the owner wants from his deeds, and what must expire
from the oracle. Nothing of it comes from the code that it judges.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from sandbox.clock import iso
from sandbox.ec2.call import CallRecord
from sandbox.ec2.model import ImageState
from sandbox.history.ledger import COPYING, Ledger, Made
from sandbox.history.oracle import Standing, expired, moment
from sandbox.virtual.stack import REGION

# "What is left over: ... once it is two days old", and then by the next sweep.
LEFT_OVER: Final = timedelta(days=2)
# "For a week nothing of it expires": so long an instance has to be gone to count as such.
A_WEEK: Final = timedelta(days=7)
ENDED_AT: Final = "stillpoint:ended-at"
PRUNER: Final = "/prune_recovery_points"


class Judge:
    """One history's judge.

    `guarded` says why an AMI must stay, by its id and the label of the deed. `missing` is what
    ought to be there, `left` what ought not to, as sentences.
    """

    def __init__(self, ledger: Ledger, *, default_retain: str, final: timedelta) -> None:
        """Judge what happens from now on."""
        self._ledger = ledger
        self._default = default_retain
        self._final = final
        self.guarded: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.terminated: set[str] = set()
        self.expected: defaultdict[tuple[str, str], dict[str, Made]] = defaultdict(dict)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.missing: dict[str, str] = {}
        self.left: dict[str, str] = {}
        self.orphans: dict[str, str] = {}
        self._doubles: set[str] = set()
        self._lived_at: dict[tuple[str, str], datetime] = {}
        ledger.on_gone = self._gone
        ledger.on_snapshot_gone = self._snapshot_gone

    # -- each deletion, at its moment -------------------------------------------

    def _gone(self, made: Made, record: CallRecord) -> None:
        now = datetime.fromtimestamp(record.at, UTC)
        kind = "a copy" if made.region != REGION else "an image"
        for why in self._objections(made, record.principal, now):
            self.wrong.append(f"{iso(record.at)} {made.image_id} in {made.region}, {kind}: {why}")
        self.counts["deregistered"] += 1

    def _objections(self, made: Made, principal: str, now: datetime) -> Iterator[str]:
        """Return why an image should not have gone at this moment."""
        if not made.ours:
            yield "the stack did not make it"
            return
        yield from self.guarded.get(made.image_id, {}).values()
        others = [each for each in self._siblings(made) if self._is_available(each)]
        if not (made.is_point and self._ledger.available(made)):
            if principal.endswith(PRUNER) and not _is_old(made, now):
                yield "it is nothing that can be used, but not two days old"
            return
        if self._is_double(made, others):
            self._doubles.add(made.image_id)
            return
        key = made.region, made.instance_id
        if made.image_id not in self._expired(key, [*others, made], now):
            yield "it has not expired"
        is_final = self._has_ended(*key) and now >= made.point().occurrence + self._final
        if not others and not is_final:
            yield "it is the last one of its instance"
        if self._is_being_copied(made, now):
            yield "it is being copied"

    def _snapshot_gone(self, snapshot_id: str, record: CallRecord) -> None:
        self.counts["snapshots deleted"] += 1
        place = self._ledger.region(record.region)
        snapshot = place.gone_snapshots[snapshot_id]
        if snapshot.users:
            self.wrong.append(f"{snapshot_id} in {record.region} was in use by {snapshot.users}")
        owner = self._ledger.made.get(snapshot.image_id or "")
        if owner is not None and not owner.ours:
            self.wrong.append(f"{snapshot_id} in {record.region} was not the stack's")

    def _siblings(self, made: Made) -> list[Made]:
        found = self._ledger.by_instance[made.region, made.instance_id].values()
        return [each for each in found if each.ours and each is not made]

    def _is_available(self, made: Made) -> bool:
        return made.is_point and made.image.state is ImageState.AVAILABLE

    def _is_double(self, made: Made, others: list[Made]) -> bool:
        """Whether another image holds the same occurrence: an occurrence has one point."""
        occurrence = made.point().occurrence
        return any(each.point().occurrence == occurrence for each in others)

    def _is_being_copied(self, made: Made, now: datetime) -> bool:
        """Whether a copy is still to be made or completed, "for at most seven days"."""
        return COPYING in made.tags and _age(made, now) < A_WEEK

    def _standing(
        self, region: str, instance_id: str, newest: Made | None, now: datetime
    ) -> Standing:
        """Return what the owner says of an instance, as far as it counts in a Region.

        That it has ended counts a week after the sweep has written so on its newest point.
        """
        tags = self._ledger.tags.get(instance_id, {})
        if not self._has_ended(region, instance_id):
            return Standing(gone=False, retain=tags.get("stillpoint:retain", self._default))
        own = newest.tags if newest else {}
        since = own.get(ENDED_AT)
        gone = since is not None and now - moment(since) >= A_WEEK
        # Until then its tags may ask for anything: "For a week nothing of it expires."
        return Standing(gone=gone, retain=own.get("stillpoint:retain", "") if gone else "")

    def _has_ended(self, region: str, instance_id: str) -> bool:
        tags = self._ledger.tags.get(instance_id, {})
        elsewhere = region != REGION and region not in tags.get("stillpoint:copy-to", "")
        gone = instance_id in self.terminated or "stillpoint:schedule" not in tags
        return gone or elsewhere

    def _expired(self, key: tuple[str, str], some: Iterable[Made], now: datetime) -> frozenset[str]:
        """Ask the oracle about what is available of an instance in a Region."""
        usable = list(some)
        newest = max(usable, key=lambda each: each.point().occurrence, default=None)
        standing = self._standing(*key, newest, now)
        return expired([each.point() for each in usable], standing, now, self._final)

    # -- after a sweep that nothing disturbed ------------------------------------

    def compare(self, swept_at: datetime, now: datetime) -> None:
        """Follow the history up to a sweep, and compare with what there is after it."""
        self._take_in()
        for key, some in self.expected.items():
            usable = {key: each for key, each in some.items() if self._ledger.available(each)}
            due = self._expired(key, usable.values(), swept_at)
            for image_id in self._expired(key, usable.values(), now):
                # What has expired since the sweep began may have gone with it.
                must_stay = self.guarded.get(image_id) or self._is_being_copied(some[image_id], now)
                if some[image_id].gone or (image_id in due and not must_stay):
                    del some[image_id]
                    self.counts["expired"] += 1
            self._check_end(key, some.values(), swept_at)
        expected = {
            each.image_id: each for some in self.expected.values() for each in some.values()
        }
        for image_id, made in expected.items():
            if made.gone:
                self.missing.setdefault(image_id, f"{_label(made)} ought to be there")
        for made in self._ledger.ours():
            if made.image.state is ImageState.PENDING:
                continue
            if made.is_point and made.image_id not in expected:
                self.left.setdefault(made.image_id, f"{_label(made)} ought to have gone")
            if not made.is_point and self._is_left_over(made, swept_at):
                self.orphans.setdefault(made.image_id, f"{_label(made)} is left over")
        self._compare_snapshots(swept_at)
        self.counts["comparisons"] += 1

    def _check_end(self, key: tuple[str, str], some: Iterable[Made], swept_at: datetime) -> None:
        """Note if the newest point does not say since when its instance has ended, or says more.

        It cannot have ended before the last sweep that saw it with its schedule.
        """
        there = [each for each in some if not each.gone]
        newest = max(there, key=lambda each: each.point().occurrence, default=None)
        ended = self._has_ended(*key)
        if not ended:
            self._lived_at[key] = swept_at
        since = newest.tags.get(ENDED_AT) if newest else None
        is_true = moment(since) >= self._lived_at[key] if since and ended else bool(since) == ended
        if newest and not is_true:
            sentence = f"{_label(newest)} does not say truly whether its instance has ended"
            self.left.setdefault(f"{newest.image_id} ended", sentence)

    def _take_in(self) -> None:
        """Expect what has become available since, but one point an occurrence."""
        waiting = []
        for made in self._ledger.fresh:
            if made.is_point and self._ledger.available(made):
                if made.ours and made.image_id not in self._doubles:
                    self.expected[made.region, made.instance_id][made.image_id] = made
                    self.counts["copied" if made.region != REGION else "made"] += 1
            elif not made.gone:
                waiting.append(made)
        self._ledger.fresh = waiting

    def _is_left_over(self, made: Made, now: datetime) -> bool:
        """Whether it is old enough to have been removed, and not all that its instance has."""
        has_other = any(self._is_available(each) for each in self._siblings(made))
        failed = made.image.state is ImageState.FAILED
        return _is_old(made, now) and (failed or has_other)

    def _compare_snapshots(self, now: datetime) -> None:
        for made in self._ledger.ours():
            there = self._ledger.region(made.region).snapshots
            if made.is_point and not all(one.snapshot_id in there for one in made.image.volumes):
                self.missing.setdefault(made.image_id, f"{_label(made)} lacks a snapshot")
        latest = (now - LEFT_OVER).timestamp()
        for region in {region for region, _ in self._ledger.by_instance}:
            for snapshot_id, snapshot in self._ledger.region(region).snapshots.items():
                if not snapshot.users and snapshot.started_at <= latest:
                    sentence = f"{snapshot_id} in {region} belongs to no image"
                    self.orphans.setdefault(snapshot_id, sentence)

    # -- in the end ---------------------------------------------------------------

    def violations(self) -> list[str]:
        """Return everything that was not as it should be, in sentences."""
        found = [self.missing, self.left, self.orphans]
        sentences = [each for some in found for each in some.values()]
        return [*self.wrong, *sentences, *self._touched()]

    def _touched(self) -> Iterator[str]:
        """Return what is not the stack's and is not as it was made."""
        for made in self._ledger.made.values():
            if not made.ours and (made.gone or made.tags != made.born_with):
                yield f"{_label(made)} is not the stack's and was touched"

    def spared(self) -> dict[str, list[str]]:
        """Return what has expired and is there all the same, with the reasons, by image id."""
        return {
            made.image_id: [_label(made), *self.guarded[made.image_id].values()]
            for made in self._ledger.ours()
            if self.guarded.get(made.image_id)
        }


def _age(made: Made, now: datetime) -> timedelta:
    return now - datetime.fromtimestamp(made.image.created_at, UTC)


def _is_old(made: Made, now: datetime) -> bool:
    return _age(made, now) >= LEFT_OVER


def _label(made: Made) -> str:
    occurrence = made.tags.get("stillpoint:occurrence", "")
    return f"{made.image_id} in {made.region}, of {made.instance_id} at {occurrence},"
