"""The stack's parameters: what is wrong with them, each for itself and all together.

CloudFormation checks each parameter against a pattern. That a time zone exists, or that snapshots
are not locked for longer than they are kept, no pattern can say.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta

from stillpoint.errors import InvalidRetain, InvalidText
from stillpoint.policy import MOST_REGIONS
from stillpoint.retain import Retain, final_retention, parse_retain
from stillpoint.retention import ONCE_A_DAY, shortest_life
from stillpoint.safeguards import lock_problem
from stillpoint.schedule import parse_time
from stillpoint.tags import printable
from stillpoint.zones import zone_named

SHORTEST_LOCK_DAYS = 2
"""EC2 locks for a day at least, and an image may take up to 24 hours until it is available."""
LONGEST_LOCK_DAYS = 36_500
"""The longest lock (EC2 API Reference, LockSnapshot, LockDuration)."""

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):([0-9]{12}):key/[A-Za-z0-9-]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
_NUMBER = re.compile(r"[0-9]{1,6}")


def check(parameters: Mapping[str, str], *, region: str, account: str) -> tuple[str, ...]:
    """Return every problem of the stack's parameters, in words; none if the stack can work.

    `parameters` are texts by the parameters' names, lists separated by commas; a name that is
    missing counts as empty. `region` and `account` are the stack's own. No text makes this raise.
    """
    found = _Findings(parameters)
    found.parse("TimeZone", zone_named)
    found.parse("DefaultTime", parse_time)
    retain = found.parse("DefaultRetain", parse_retain)
    lock_days = found.parse("SnapshotLockDays", _parse_lock_days) or 0
    found.parse("FinalRetention", lambda text: _parse_final(text, lock_days))
    if retain is not None and lock_days:
        found.add("SnapshotLockDays", _lock_problem(retain, lock_days))
    regions = found.listed("CopyRegions")
    for problem in _region_problems(regions, region):
        found.add("CopyRegions", problem)
    keys = found.listed("CopyKmsKeyArns")
    for problem in _key_problems(keys, regions):
        found.add("CopyKmsKeyArns", problem)
    accounts = found.listed("ShareWithAccounts")
    for problem in _account_problems(accounts, account):
        found.add("ShareWithAccounts", problem)
    if accounts and found.text("EncryptCopies") == "true":
        found.add("ShareWithAccounts", _shared_without_a_key(regions, keys))
    return tuple(found.problems)


class _Findings:
    """Reads the parameters, and collects what is wrong with them."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        return self._parameters.get(name, "").strip()

    def listed(self, name: str) -> list[str]:
        words = (word.strip() for word in self.text(name).split(","))
        return [word for word in words if word]

    def parse[T](self, name: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(self.text(name))
        except InvalidText as error:
            self.add(name, error.reason)
            return None

    def add(self, name: str, problem: str | None) -> None:
        if problem is not None:
            self.problems.append(f"{name}: {problem}")


def _parse_lock_days(text: str) -> int:
    days = int(text) if _NUMBER.fullmatch(text) else -1
    if days != 0 and not SHORTEST_LOCK_DAYS <= days <= LONGEST_LOCK_DAYS:
        raise InvalidText(
            f"'{printable(text)}' is not a number of days from {SHORTEST_LOCK_DAYS} to"
            f" {LONGEST_LOCK_DAYS}, or 0 for no lock"
        )
    return days


def _parse_final(text: str, lock_days: int) -> None:
    final = final_retention(text)
    if final is not None and final < timedelta(days=lock_days):
        raise InvalidRetain(
            f"the last recovery point goes after {final.days} days and SnapshotLockDays locks its"
            f" snapshots for {lock_days} days"
        )


def _lock_problem(retain: Retain, lock_days: int) -> str | None:
    """Return whether the lock outlasts the default retention of a daily schedule.

    The planner looks at each instance's own schedule and retention.
    """
    problem = lock_problem(retain, shortest_life(retain, ONCE_A_DAY), lock_days)
    return f"with a daily schedule DefaultRetain {problem}" if problem else None


def _region_problems(regions: list[str], own: str) -> list[str]:
    problems = [
        f"'{printable(word)}' is not the name of a Region, write for example eu-central-1"
        for word in regions
        if not _REGION.fullmatch(word)
    ]
    if own in regions:
        problems.append(f"{own} is the stack's own Region, where the recovery points are made")
    problems += [
        f"'{printable(word)}' is named {times} times"
        for word, times in Counter(regions).items()
        if times > 1
    ]
    if len(regions) > MOST_REGIONS:
        problems.append(f"{len(regions)} Regions are named, at most {MOST_REGIONS} are possible")
    return problems


def _key_problems(keys: list[str], regions: list[str]) -> list[str]:
    problems = []
    seen: set[str] = set()
    for arn in keys:
        match = _KEY_ARN.fullmatch(arn)
        if match is None:
            problems.append(
                f"'{printable(arn, 100)}' is not the ARN of a key, such as"
                " arn:aws:kms:eu-central-1:111122223333:key/... (an alias is none)"
            )
        elif match[1] not in regions:
            problems.append(f"'{printable(arn, 100)}' is in no Region of CopyRegions")
        elif match[1] in seen:
            problems.append(f"more than one key is in {match[1]}, copies there have one key")
        else:
            seen.add(match[1])
    return problems


def _account_problems(accounts: list[str], own: str) -> list[str]:
    problems = [
        f"'{printable(word)}' is not the id of an account, which has 12 digits"
        for word in accounts
        if not _ACCOUNT.fullmatch(word)
    ]
    if own in accounts:
        problems.append(f"{own} is the stack's own account, which owns the recovery points")
    return problems


def _shared_without_a_key(regions: list[str], keys: list[str]) -> str | None:
    """Return a problem if copies get a Region's default key, which other accounts may not use.

    That is the AWS managed key unless the account has chosen another (EBS User Guide, "Amazon EBS
    encryption"), and what it encrypts cannot be shared (EC2 User Guide, "Share an AMI with specific
    AWS accounts").
    """
    with_key = {match[1] for arn in keys if (match := _KEY_ARN.fullmatch(arn))}
    without = [region for region in dict.fromkeys(regions) if region not in with_key]
    if not without:
        return None
    return (
        "EncryptCopies is true and CopyKmsKeyArns names no key for"
        f" {', '.join(printable(region) for region in without)}: what is encrypted with a Region's"
        " default key may not be shared"
    )
