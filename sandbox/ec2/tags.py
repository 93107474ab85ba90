"""The tags of a Region's resources, with EC2's limits.

EC2 User Guide, "Tag your Amazon EC2 resources": 50 tags per resource, keys of at most 128 and
values of at most 256 characters, keys that begin with `aws:` are reserved and do not count.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.lagged import Lagged

MAX_TAGS = 50
MAX_KEY = 128
MAX_VALUE = 256
RESERVED = "aws:"

type TagListener = Callable[[str, Mapping[str, str]], None]


def from_request(entries: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the tags of a request as a dictionary; raise Ec2Error if EC2 would refuse them."""
    tags: dict[str, str] = {}
    for entry in entries:
        key, value = entry.get("Key", ""), entry.get("Value", "")
        if not key:
            raise Ec2Error("InvalidParameterValue", "Tag key cannot be empty.")
        if key.startswith(RESERVED):
            message = "Tag keys starting with 'aws:' are reserved for internal use"
            raise Ec2Error("InvalidParameterValue", message)
        if len(key) > MAX_KEY:
            message = f"Tag key exceeds the maximum length of {MAX_KEY} characters"
            raise Ec2Error("InvalidParameterValue", message)
        if len(value) > MAX_VALUE:
            message = f"Tag value exceeds the maximum length of {MAX_VALUE} characters"
            raise Ec2Error("InvalidParameterValue", message)
        if key in tags:
            raise Ec2Error("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        tags[key] = value
    check_count(tags)
    return tags


def check_count(tags: Mapping[str, str]) -> None:
    """Raise TagLimitExceeded if `tags` are more than a resource can carry."""
    if sum(1 for key in tags if not key.startswith(RESERVED)) > MAX_TAGS:
        message = "The maximum number of Tags for a resource has been reached."
        raise Ec2Error("TagLimitExceeded", message)


def to_response(tags: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Return tags as EC2 lists them, or None for none: EC2 leaves an empty list out."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())] or None


class TagBook:
    """The tags of every resource of a Region."""

    def __init__(self, listener: TagListener | None = None) -> None:
        """Make an empty book; `listener` hears of each change (resource id, all its tags)."""
        self._tags: dict[str, Lagged[dict[str, str]]] = {}
        self._listener = listener
        self._holders: dict[str, dict[str, dict[str, None]]] = {}

    def create(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Give a new resource its tags, which are visible as soon as the resource is."""
        self._tags[resource_id] = Lagged(dict(tags))
        self._note_holder(resource_id, tags)
        self._tell(resource_id)

    def merge(self, resource_id: str, tags: Mapping[str, str], visible_at: float) -> None:
        """Add or overwrite tags; raise TagLimitExceeded if they become too many."""
        merged = {**self.current(resource_id), **tags}
        check_count(merged)
        self._change(resource_id, merged, visible_at)

    def remove(self, resource_id: str, doomed: Mapping[str, str | None], visible_at: float) -> None:
        """Remove tags by key; one that names a value goes only if it has that value."""
        kept = {
            key: value
            for key, value in self.current(resource_id).items()
            if key not in doomed or doomed[key] not in (None, value)
        }
        self._change(resource_id, kept, visible_at)

    def remove_all(self, resource_id: str, visible_at: float) -> None:
        """Remove all tags but the reserved ones: DeleteTags without a list."""
        kept = {key: v for key, v in self.current(resource_id).items() if key.startswith(RESERVED)}
        self._change(resource_id, kept, visible_at)

    def forget(self, resource_id: str) -> None:
        """Drop a resource that is gone."""
        if self._tags.pop(resource_id, None) is not None and self._listener:
            self._listener(resource_id, {})

    def current(self, resource_id: str) -> dict[str, str]:
        """Return the tags that are true now."""
        return self._tags[resource_id].value if resource_id in self._tags else {}

    def seen(self, resource_id: str, now: float) -> dict[str, str]:
        """Return the tags that a Describe call shows at `now`."""
        return self._tags[resource_id].seen(now) if resource_id in self._tags else {}

    def holders(self, key: str, value: str) -> Collection[str]:
        """Return the ids of all resources that have a tag or had it once, and are not gone."""
        if key not in self._holders:
            self._holders[key] = {}
            for resource_id, lagged in self._tags.items():
                for face in lagged.faces():
                    self._note_holder(resource_id, face)
        return self._holders[key].get(value, {})

    def _note_holder(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Remember who has the tags that are looked for."""
        for key, holders in self._holders.items():
            if key in tags:
                holders.setdefault(tags[key], {})[resource_id] = None

    def _change(self, resource_id: str, tags: dict[str, str], visible_at: float) -> None:
        """Store all tags of a resource."""
        if resource_id not in self._tags:
            self._tags[resource_id] = Lagged({})
        self._tags[resource_id].change(tags, visible_at)
        self._note_holder(resource_id, tags)
        self._tell(resource_id)

    def _tell(self, resource_id: str) -> None:
        """Let the listener know."""
        if self._listener:
            self._listener(resource_id, self.current(resource_id))
