"""Weeks of backups, copies, changes of mind and outages: what ought to be left is left."""

from datetime import datetime
from functools import partial
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillpoint.errors import AwsUnavailable, PruneIncomplete
from stillpoint.tags import Tag
from tests.functions.prune_cloud import (
    DAILY,
    HOME,
    OVERSEAS,
    REGIONS,
    Estate,
    an_estate,
    backup_ended,
    fates,
)
from tests.functions.prune_oracle import (
    DAY,
    Asked,
    Loose,
    Made,
    doomed_orphans,
    doomed_points,
    doomed_snapshots,
    is_believed,
    newest_point,
)

RETAINS = ["1", "3", "5d", "2w", "2d 2w", "3d 1m", "2d 1w 1m 1y"]
FINALS = {"10d": 10 * DAY, "60d": 60 * DAY, "forever": None}
GAPS = [1, 1, 1, 1, 2, 7, 40]


class History:
    """One account's life, and the memory of whoever made its images."""

    def __init__(self, estate: Estate, random: Random) -> None:
        self.estate = estate
        self.random = random
        self.final = random.choice(list(FINALS))
        self.made: list[Made] = []
        self.loose: list[Loose] = []
        self.retains: dict[str, str | None] = {}  # None: gone, or without a schedule
        self.zones: dict[str, str] = {}
        self.copied: set[str] = set()  # to OVERSEAS
        self.existing: set[str] = set()
        self.foreign: dict[str, set[str]] = {region: set() for region in REGIONS}

    @property
    def now(self) -> datetime:
        return self.estate.cloud.now

    # ------------------------------------------------------------ what people do

    def launch(self) -> None:
        retain = self.random.choice(RETAINS)
        copied = {"copy_to": OVERSEAS} if self.random.random() < 0.8 else {}
        instance_id = self.estate.instance(volumes=2, retain=retain, **copied)
        self.retains[instance_id] = retain
        self.copied |= {instance_id} if copied else set()
        self.zones[instance_id] = self.random.choice(["UTC", "Asia/Seoul"])
        self.existing.add(instance_id)

    def change_something(self) -> None:
        instance_ids = sorted(self.existing)
        points = [one for one in self.made if one.is_point]
        of_instances = [
            *(self.retag, self.retag, self.take_the_schedule, self.terminate, self.copy_elsewhere)
        ] * bool(instance_ids)
        of_points = [self.hold, self.lift, self.damage, self.disable, self.lose] * bool(points)
        change = self.random.randrange(1 + len(of_instances) + len(of_points))
        if change == 0:
            self.launch()
        elif change <= len(of_instances):
            of_instances[change - 1](self.random.choice(instance_ids))
        else:
            of_points[change - 1 - len(of_instances)](self.random.choice(points))

    def retag(self, instance_id: str) -> None:
        """Change the retention; one that had lost its schedule has it again."""
        retain = self.random.choice(RETAINS)
        tags: dict[str, str] = {Tag.RETAIN: retain, Tag.SCHEDULE: "daily 03:00"}
        self.estate.cloud.tag([instance_id], tags)
        self.retains[instance_id] = retain

    def take_the_schedule(self, instance_id: str) -> None:
        self.estate.untag(instance_id, Tag.SCHEDULE)
        self.retains[instance_id] = None

    def copy_elsewhere(self, instance_id: str) -> None:
        """Let an instance be copied to the other Region no more, or again."""
        if instance_id in self.copied:
            self.copied.discard(instance_id)
            self.estate.untag(instance_id, Tag.COPY_TO)
        else:
            self.copied.add(instance_id)
            self.estate.cloud.tag([instance_id], {Tag.COPY_TO: OVERSEAS})

    def terminate(self, instance_id: str) -> None:
        self.estate.terminate(instance_id)
        self.retains[instance_id] = None
        self.existing.discard(instance_id)

    def hold(self, one: Made) -> None:
        target = self.random.choice([one.image_id, *sorted(one.snapshots)])
        self.estate.cloud.tag([target], {Tag.HOLD: "true"}, region=one.region)
        one.is_held = True

    def lift(self, one: Made) -> None:
        for target in (one.image_id, *one.snapshots):
            self.estate.untag(target, Tag.HOLD, region=one.region)
        one.is_held = False

    def damage(self, one: Made) -> None:
        if len(one.snapshots) > 1 and not one.is_held:
            lost = self.random.choice(sorted(one.snapshots))
            self.estate.lose_snapshots(lost, region=one.region)
            one.snapshots.discard(lost)
            one.is_damaged = True

    def disable(self, one: Made) -> None:
        if one.state == "available":
            self.estate.cloud.call("DisableImage", region=one.region, ImageId=one.image_id)
            one.state = "disabled"

    def lose(self, one: Made) -> None:
        """Deregister an image by hand, and leave its snapshots."""
        if one.is_held:
            return
        self.estate.cloud.call("DeregisterImage", region=one.region, ImageId=one.image_id)
        self.made.remove(one)
        answer = self.estate.cloud.call(
            "DescribeSnapshots", region=one.region, SnapshotIds=sorted(one.snapshots)
        )
        for row in answer["Snapshots"]:
            made = Loose(row["SnapshotId"], one.region, one.instance_id, row["StartTime"])
            self.loose.append(made)

    # ------------------------------------------------------------ what Stillpoint does

    def back_up(self, instance_id: str) -> None:
        retain = self.retains[instance_id]
        assert retain is not None
        becomes = self.random.choice(["good"] * 7 + ["failed", "unproven"])
        if becomes == "failed":
            self.estate.fail_the_next_image()
        zone = self.zones[instance_id]
        image_id = self.estate.point(instance_id, retain=retain, time_zone=zone)
        if becomes == "unproven":
            self.estate.untag(image_id, Tag.CONSISTENCY)
        one = self._remember(HOME, image_id, instance_id, retain)
        one.state = "failed" if becomes == "failed" else "available"
        one.is_proven = becomes != "unproven"
        if becomes == "good" and instance_id in self.copied:
            if self.random.random() < 0.75:
                self._copy(one)
            else:
                one.is_to_be_copied = True
                self.estate.cloud.tag([image_id], {Tag.COPYING: OVERSEAS})

    def _copy(self, source: Made) -> None:
        if fails := self.random.random() < 0.15:
            self.estate.cloud.world.faults.add({"name": "copy-failed", "delay_seconds": 60})
        is_caught_pending = not fails and self.random.random() < 0.3
        image_id = self.estate.copy(source.image_id, ready=not is_caught_pending)
        one = self._remember(OVERSEAS, image_id, source.instance_id, source.retain)
        one.occurrence, one.state = source.occurrence, "failed" if fails else "available"
        if is_caught_pending:
            one.state, source.is_source_of_pending = "pending", True
            self.estate.cloud.tag([source.image_id], {Tag.COPYING: OVERSEAS})
            self.prune(self.random.choice([DAILY, backup_ended(source.instance_id)]))
            self.estate.cloud.wait(minutes=25)
            self.estate.untag(source.image_id, Tag.COPYING)
            one.state, source.is_source_of_pending = "available", False

    def _remember(self, region: str, image_id: str, instance_id: str, retain: str) -> Made:
        image = self.estate.cloud.images(region)[image_id]
        view = self.estate.cloud.call("DescribeImages", region=region, ImageIds=[image_id])
        row = view["Images"][0]
        one = Made(
            region=region,
            image_id=image_id,
            instance_id=instance_id,
            occurrence=datetime.fromisoformat(image["tags"][Tag.OCCURRENCE]),
            created_at=datetime.fromisoformat(row["CreationDate"]),
            retain=retain,
            zone=self.zones[instance_id],
            snapshots=set(image["snapshots"]),
        )
        self.made.append(one)
        return one

    def prune(self, event: dict[str, object]) -> None:
        """Prune, perhaps in an outage, and see that it does what ought to be done."""
        out = self.random.choice([None] * 5 + [HOME, OVERSEAS])
        fault = None
        if out is not None:
            fault = self.estate.cloud.world.faults.add({"name": "region-outage", "region": out})
        goes = set() if out == HOME else self._doomed(event, out)
        names = {one.image_id for one in goes} | (
            self._loose_to_go(out) if event is DAILY and out != HOME else set()
        )
        marked = self._ends(out) if event is DAILY and out != HOME else {}
        if event is DAILY:
            self._try_dry(out, names)
        self._invoke(event, out)
        if fault is not None:
            self.estate.cloud.world.faults.clear(fault)
        for one, ended_at in marked.items():
            one.ended_at = ended_at
        self.made = [one for one in self.made if one not in goes]
        self.loose = [one for one in self.loose if one.snapshot_id not in names]
        self.check()

    def _invoke(self, event: dict[str, object], out: str | None) -> None:
        try:
            answer = self.estate.prune(
                event, final_retention=self.final, max_deletions_per_sweep="10000"
            )
        except PruneIncomplete:
            assert out == OVERSEAS
        except AwsUnavailable:
            assert out == HOME
        else:
            assert out is None
            assert answer["failures"] == []

    def _try_dry(self, out: str | None, names: set[str]) -> None:
        try:
            answer = self.estate.dry_run(final_retention=self.final)
        except AwsUnavailable:
            assert out == HOME
        else:
            assert fates(answer, "expired") | fates(answer, "orphaned") == names

    def _doomed(self, event: dict[str, object], out: str | None) -> set[Made]:
        goes: set[Made] = set()
        for region in REGIONS:
            here = [one for one in self.made if one.region == region]
            if region == out:
                continue
            for instance_id, retain in self.retains.items():
                if event is DAILY or instance_id in str(event):
                    of_it = [one for one in here if one.instance_id == instance_id]
                    is_over = self._is_over(instance_id, region)
                    believed = is_believed(of_it, self.now)
                    asked = Asked(
                        retain=None if is_over else retain,
                        final=FINALS[self.final],
                        is_gone=is_over and believed,
                        is_uncertain=is_over and not believed,
                        knows_copies=region == OVERSEAS or out != OVERSEAS,
                        after_backup=event is not DAILY,
                    )
                    goes |= doomed_points(of_it, asked, self.now)
            if event is DAILY:
                goes |= doomed_orphans(here, self.now, FINALS[self.final])
        return goes

    def _is_over(self, instance_id: str, region: str) -> bool:
        """Whether an instance is not seen, or not copied to the Region any more."""
        is_elsewhere = region == OVERSEAS and instance_id not in self.copied
        return self.retains[instance_id] is None or is_elsewhere

    def _ends(self, out: str | None) -> dict[Made, datetime | None]:
        """Return since when the instances of the newest points are not seen, by these points."""
        marked: dict[Made, datetime | None] = {}
        for instance_id in self.retains:
            for region in {*REGIONS} - {out}:
                of_it = [
                    one
                    for one in self.made
                    if (one.region, one.instance_id) == (region, instance_id)
                ]
                if not self._is_over(instance_id, region):
                    marked |= dict.fromkeys(of_it)
                elif newest := newest_point(of_it):
                    marked[newest] = newest.ended_at or self.now.replace(microsecond=0)
        return marked

    def _loose_to_go(self, out: str | None) -> set[str]:
        goes: set[str] = set()
        for region in {*REGIONS} - {out}:
            here = [one for one in self.made if one.region == region]
            loose = [one for one in self.loose if one.region == region]
            goes |= doomed_snapshots(loose, here, self.now, FINALS[self.final])
        return goes

    # ------------------------------------------------------------ what is left

    def plant_foreign_images(self) -> None:
        """Let there be images that look like ours and are somebody else's."""
        instance_id = next(iter(self.retains))
        image_id = self.estate.point(instance_id, retain="1")
        image = self.estate.cloud.images()[image_id]
        by_hand = partial(self.estate.copied_by_hand, tags_snapshots=False)
        here = [
            by_hand(image_id, "web-by-hand", image["tags"]),
            by_hand(image_id, f"{image['name']}-c2", image["tags"] | {Tag.COPY_OF: "x-1:ami-1"}),
            by_hand(image_id, f"{image['name']}-2", image["tags"] | {Tag.STACK: "other"}),
        ]
        there = by_hand(image_id, image["name"], image["tags"], region=OVERSEAS)
        self.foreign = {HOME: set(here), OVERSEAS: {there}}
        self._remember(HOME, image_id, instance_id, "1").zone = "UTC"

    def check(self) -> None:
        """See that what ought to exist exists, and nothing else."""
        for region in REGIONS:
            images = self.estate.cloud.images(region)
            of_ours = [one for one in self.made if one.region == region]
            assert set(images) - self.foreign[region] == {one.image_id for one in of_ours}
            assert self.foreign[region] <= set(images)
            of_others = (set(images[key]["snapshots"]) for key in self.foreign[region])
            expected = set[str]().union(*of_others, *(one.snapshots for one in of_ours))
            expected |= {one.snapshot_id for one in self.loose if one.region == region}
            assert set(self.estate.cloud.snapshots(region)) == expected


def live(estate: Estate, random: Random, days: int) -> History:
    """Let some days pass, and check after every pruning."""
    history = History(estate, random)
    for _ in range(random.randint(1, 3)):
        history.launch()
    history.plant_foreign_images()
    for _ in range(days):
        estate.cloud.wait(days=random.choice(GAPS))
        if random.random() < 0.6:
            history.change_something()
        due = [key for key, retain in history.retains.items() if retain is not None]
        for instance_id in due:
            if random.random() < 0.9:
                history.back_up(instance_id)
                if random.random() < 0.7:
                    history.prune(backup_ended(instance_id))
        if random.random() < 0.7:
            history.prune(DAILY)
    return history


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_after_any_history_exactly_what_ought_to_exist_does(random: Random, days: int) -> None:
    with an_estate() as estate:
        live(estate, random, days)


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_in_the_end_nothing_of_an_instance_that_is_gone_is_left(random: Random, days: int) -> None:
    with an_estate() as estate:
        history = live(estate, random, days)
        history.final = "60d"
        for instance_id in list(history.existing):
            history.terminate(instance_id)
        for one in history.made:
            history.lift(one)
        for _ in range(3):
            estate.prune(final_retention="60d", max_deletions_per_sweep="10000")
            estate.cloud.wait(days=4000)
        for region, images in history.foreign.items():
            snapshots = {one for image in images for one in estate.snapshots_of(image, region)}
            assert estate.everything()[region] == images | snapshots
