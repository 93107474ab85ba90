"""Ownership: which images are this stack's own, and which of them are copies.

A tag alone does not say so: whoever copies one of our images together with its tags has an image
of their own that carries ours. An image's name cannot be changed and is unique in its Region, so
an image is ours if it has our tags and the name that we gave it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from stillpoint.recovery_point import image_name
from stillpoint.tags import Tag, parse_iso

# What `image_name` and `copy_name` put behind the name of a first attempt.
_ATTEMPTS = re.compile(r"(-([2-9]|[1-9][0-9]+))?(-c([2-9]|[1-9][0-9]+))?")
# How EC2 describes the snapshots that CreateImage and CopyImage make.
_CREATED, _COPIED = "Created by CreateImage(", "Copied for DestinationAmi "


@dataclass(frozen=True, slots=True)
class CopySource:
    """The value of `stillpoint:copy-of`: the Region and the image that a copy was made of."""

    region: str
    image_id: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the source in `eu-west-1:ami-0abc`, or None if the text is anything else."""
        region, colon, image_id = text.partition(":")
        return cls(region, image_id) if region and colon and image_id else None

    def render(self) -> str:
        """Return the tag's value."""
        return f"{self.region}:{self.image_id}"


def copy_name(name: str, attempt: int) -> str:
    """Return the name of the copy that an attempt makes of an image with this name.

    The first copy has the image's own name. A later one has another: that of a copy which failed
    may still be in use for a while (EC2 API Reference, error InvalidAMIName.Duplicate).
    """
    return name if attempt == 1 else f"{name}-c{attempt}"


def has_our_name(name: str, tags: Mapping[str, str]) -> bool:
    """Return whether an image has the name that we gave to what these tags describe."""
    instance_id = tags.get(Tag.INSTANCE, "")
    occurrence = parse_iso(tags.get(Tag.OCCURRENCE, ""))
    if not instance_id or occurrence is None:
        return False
    first = image_name(instance_id, occurrence)
    return name.startswith(first) and _ATTEMPTS.fullmatch(name, len(first)) is not None


def is_ours(name: str, tags: Mapping[str, str], *, stack: str, source_region: str | None) -> bool:
    """Return whether a stack made an image, by its name and its tags.

    `source_region` is None for what was made in the stack's own Region, and the stack's Region
    for copies that it made elsewhere: there may be a stack of the same name.
    """
    return (
        tags.get(Tag.STACK) == stack
        and _comes_from(tags, source_region)
        and has_our_name(name, tags)
    )


def is_our_snapshot(
    description: str, tags: Mapping[str, str], *, source_region: str | None
) -> bool:
    """Return whether a stack made a snapshot that carries its tag, with an image or as a copy.

    A snapshot has no name. What tells it from one that its owner took or copied, and tagged as
    ours, is how EC2 describes it.
    """
    made_by = _CREATED if source_region is None else _COPIED
    return _comes_from(tags, source_region) and description.startswith(made_by)


def _comes_from(tags: Mapping[str, str], source_region: str | None) -> bool:
    text = tags.get(Tag.COPY_OF)
    if text is None or source_region is None:
        return text is None and source_region is None
    source = CopySource.parse(text)
    return source is not None and source.region == source_region
