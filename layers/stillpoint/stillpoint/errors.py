"""The exceptions of Stillpoint: one tree, rooted in `StillpointError`.

The class name of an exception is what a state machine catches and what a log shows.
"""

from collections.abc import Mapping


class StillpointError(Exception):
    """The root of every exception that Stillpoint raises on purpose."""


class InvalidText(StillpointError):
    """A text that a person wrote, in a tag or a stack parameter, cannot be understood.

    `reason` says in words what is wrong and what would be right.
    """

    def __init__(self, reason: str) -> None:
        """Keep the reason, which is also the exception's message."""
        super().__init__(reason)
        self.reason = reason


class InvalidSchedule(InvalidText):
    """A schedule expression, a time of day or a time zone cannot be understood."""


class InvalidRetain(InvalidText):
    """A retention rule cannot be understood."""


class InvalidHold(InvalidText):
    """A hold cannot be understood."""


class InvalidRegions(InvalidText):
    """A list of Regions to copy to cannot be understood, or names one that is not allowed."""


class MalformedInput(StillpointError):
    """A function was invoked with an event that it cannot act on; the message says which."""


class MissingSetting(StillpointError):
    """An environment variable of a function is missing or cannot be read; it is named."""


class AwsUnavailable(StillpointError):
    """AWS did not answer, throttled or failed for the moment: asking again later may help."""


class AwsRefused(StillpointError):
    """AWS refused a call, and would refuse it again: a permission, a limit, a parameter."""


class PlannerIncomplete(StillpointError):
    """The planner did what it could, and some of its work failed; the message says what."""


class RecoveryIncomplete(StillpointError):
    """The recovery did what it could, and some of its work failed; the message says what."""


class CopyIncomplete(StillpointError):
    """The copying did what it could, and some of its work failed; the message says what."""


class PruneIncomplete(StillpointError):
    """The pruning did what it could, and some of its work failed; the message says what."""


class TooManyDeletions(StillpointError):
    """One pruning would delete more recovery points than is usual, so it deleted none.

    `planned` is how many it would have deleted, `limit` how many it may, and `by_instance` how
    many of each instance.
    """

    def __init__(self, planned: int, limit: int, by_instance: Mapping[str, int]) -> None:
        """Keep the counts; the message names the instances with most of the deletions."""
        worst = sorted(by_instance.items(), key=lambda each: (-each[1], each[0]))[:10]
        named = ", ".join(f"{instance_id}: {number}" for instance_id, number in worst)
        more = f" and {len(by_instance) - len(worst)} more" if len(by_instance) > len(worst) else ""
        super().__init__(
            f"{planned} recovery points would be deleted and at most {limit} may be; nothing was"
            f" deleted. By instance: {named}{more}"
        )
        self.planned = planned
        self.limit = limit
        self.by_instance = dict(by_instance)
