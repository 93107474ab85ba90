"""What holds for the verdicts whatever the recovery points are."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stillpoint.image import Image
from stillpoint.pruning import Situation, is_point
from stillpoint.retain import parse_retain
from stillpoint.retention import Ended
from stillpoint.tags import Tag
from tests.unit.pruned import DAY, a_point, judged

POINTS = st.lists(
    st.builds(
        a_point,
        st.integers(0, 60),
        retain=st.sampled_from(["1", "3", "5d", "3d 2w", "2w 1m", "30d", "", "nonsense"]),
        state=st.sampled_from(["available"] * 4 + ["pending", "disabled", "failed"]),
        level=st.sampled_from(["file-system", "crash", "crash", None]),
        zone=st.sampled_from(["UTC", "Asia/Seoul", ""]),
    ),
    max_size=14,
    unique_by=lambda image: image.image_id,
)
SITUATIONS = st.sampled_from(
    [
        *(Situation(parse_retain(text)) for text in ("1", "4", "7d", "2d 2w 1m")),
        *(Situation(ended=Ended(final)) for final in (None, 20 * DAY, 200 * DAY)),
        Situation(unreadable="it cannot be understood"),
        Situation(uncertain=True),
    ]
)
DAMAGED = st.sets(st.integers(0, 60).map(lambda day: f"ami-{day}"), max_size=20)


@given(POINTS, SITUATIONS, DAMAGED)
def test_each_recovery_point_gets_one_verdict(
    images: list[Image], situation: Situation, damaged: set[str]
) -> None:
    verdicts = judged(*images, situation=situation, damaged=damaged)
    assert {v.image.image_id for v in verdicts.values()} == {
        image.image_id for image in images if is_point(image)
    }


@given(POINTS, SITUATIONS, DAMAGED)
def test_the_newest_one_that_can_be_launched_stays_while_the_instance_exists(
    images: list[Image], situation: Situation, damaged: set[str]
) -> None:
    verdicts = judged(*images, situation=situation, damaged=damaged)
    launchable = [
        verdict
        for verdict in verdicts.values()
        if verdict.image.state == "available" and verdict.image.image_id not in damaged
    ]
    if launchable and situation.ended is None:
        newest = max(launchable, key=lambda verdict: verdict.image.tags[Tag.OCCURRENCE])
        assert not newest.expired
    assert not any(v.expired for v in verdicts.values() if v.image.state == "pending")


@given(POINTS, SITUATIONS, DAMAGED)
def test_what_cannot_be_launched_changes_nothing_for_what_can(
    images: list[Image], situation: Situation, damaged: set[str]
) -> None:
    sound = [i for i in images if i.state == "available" and i.image_id not in damaged]
    if not any(is_point(image) for image in sound):
        return
    alone = judged(*sound, situation=situation)
    together = judged(*images, situation=situation, damaged=damaged)
    assert {day: together[day] for day in alone} == alone


@given(POINTS, SITUATIONS, DAMAGED)
def test_nothing_comes_back_and_nothing_more_goes_when_it_is_judged_again(
    images: list[Image], situation: Situation, damaged: set[str]
) -> None:
    first = judged(*images, situation=situation, damaged=damaged)
    left = [verdict.image for verdict in first.values() if not verdict.expired]
    again = judged(*left, situation=situation, damaged=damaged)
    # The last of all takes the rules along that the others were judged by.
    if any(i.state == "available" and i.image_id not in damaged for i in left):
        assert not any(verdict.expired for verdict in again.values())


@given(POINTS, SITUATIONS, DAMAGED, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(
    images: list[Image], situation: Situation, damaged: set[str], random: Random
) -> None:
    shuffled = list(images)
    random.shuffle(shuffled)
    first = judged(*images, situation=situation, damaged=damaged)
    assert judged(*shuffled, situation=situation, damaged=damaged) == first
