"""Ownership: which images are this stack's own, and which of them are copies.

A tag alone does not say so: whoever copies one of our images together with its tags has an image
of their own that carries ours. An image's name cannot be changed and is unique in its Region, so
an image is ours if it has our tags and the name that we gave it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from stillpoint.recovery_point import image_name
from stillpoint.tags import Tag, parse_iso


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
    rest = name.removeprefix(image_name(instance_id, occurrence))
    attempts = [part.removeprefix("c") for part in rest.split("-")[1:]]
    return name.startswith(image_name(instance_id, occurrence)) and (
        not rest or (rest.startswith("-") and all(part.isdecimal() for part in attempts))
    )


def is_ours(name: str, tags: Mapping[str, str], *, stack: str, source_region: str | None) -> bool:
    """Return whether a stack made an image, by its name and its tags.

    `source_region` is None for what was made in the stack's own Region, and the stack's Region
    for copies that it made elsewhere: there may be a stack of the same name.
    """
    source = CopySource.parse(tags.get(Tag.COPY_OF, ""))
    return (
        tags.get(Tag.STACK) == stack
        and (source.region if source else None) == source_region
        and has_our_name(name, tags)
    )
