"""When what happens in a run, as epoch seconds."""

from datetime import UTC, datetime
from typing import Final

SCHEDULE: Final = "daily 03:00"
ENROLMENT: Final = datetime(2026, 11, 22, 2, 50, tzinfo=UTC).timestamp()
OCCURRENCE: Final = datetime(2026, 11, 22, 3, 0, tzinfo=UTC).timestamp()
DAY: Final = 86_400.0
# From a run's begin until the backup is due: what befalls the backup is armed so much later.
CYCLE: Final = OCCURRENCE - ENROLMENT
