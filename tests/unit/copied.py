"""Recovery points that are to be copied, and their copies, for the tests of copying."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from stillpoint.copying import Copy, Task
from stillpoint.image import Image
from stillpoint.ownership import copy_name
from stillpoint.recovery_point import Snapshot, image_name
from stillpoint.tags import Tag, iso
from tests.unit.builders import at

OCCURRENCE = at("2026-11-22 03:00")
NOW = at("2026-11-22 04:00")
REGIONS = ("us-west-2", "eu-central-1", "ap-southeast-2", "eusc-de-east-1", "us-gov-west-1")
INSTANCE = "i-0a1b2c3d4e5f60001"


def a_source(number: int = 1, *, volumes: int = 1, state: str = "available") -> Image:
    """Return a local recovery point of the occurrence, or of one that many hours later."""
    occurrence = OCCURRENCE + timedelta(hours=number - 1)
    tags: dict[str, str] = {
        Tag.INSTANCE: INSTANCE,
        Tag.OCCURRENCE: iso(occurrence),
        Tag.CAPTURED_AT: iso(occurrence + timedelta(minutes=2)),
        Tag.CONSISTENCY: "file-system",
        "Name": "web",
    }
    name = image_name(INSTANCE, occurrence)
    return Image(f"ami-0{number}", name, state, "", tags, volumes)


def a_copy(
    state: str = "available",
    *,
    attempt: int = 1,
    completed: int = 1,
    error: str = "",
    reason: str = "",
    created_at: datetime | None = NOW,
    volumes: int = 1,
) -> Copy:
    """Return a copy with this many completed snapshots, and one in state error if it says why."""
    done = [
        Snapshot(f"snap-{n}", "vol-ffffffff", "completed", OCCURRENCE) for n in range(completed)
    ]
    bad = [Snapshot("snap-bad", "vol-ffffffff", "error", OCCURRENCE, state_message=error)]
    name = copy_name(a_source().name, attempt)
    image = Image(
        f"ami-c{attempt}", name, state, reason, {}, volumes=volumes, created_at=created_at
    )
    return Copy(image, attempt, tuple(done + (bad if error else [])))


moments = st.integers(0, 2_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
tasks = st.one_of(
    st.builds(Task, st.sampled_from(REGIONS), alerted=st.booleans()),
    st.builds(Task, st.sampled_from(REGIONS), st.integers(1, 9999), moments, st.booleans()),
)
