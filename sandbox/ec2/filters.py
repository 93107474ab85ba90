"""Filters and pages of the Describe operations.

EC2 User Guide, "Find your Amazon EC2 resources": at most 50 filters of 200 values, values are
case-sensitive, `*` and `?` are wildcards, values are joined by OR and filters by AND.
"""

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sandbox.ec2.errors import Ec2Error

MAX_FILTERS = 50
MAX_VALUES = 200

_WILDCARDS = frozenset("*?\\")

type Extractor[T] = Callable[[T], Iterable[str]]
type Lookup = Callable[[str], Collection[str]]
"""Takes a filter's value and returns the ids of all things that may have it, and perhaps more."""


def candidates[T](
    filters: Sequence[Mapping[str, Any]] | None,
    things: Mapping[str, T],
    lookups: Mapping[str, Lookup],
    tag_lookup: Callable[[str, str], Collection[str]],
) -> Iterable[T]:
    """Return those of `things`, by id, that can match the filters: all of them, or far fewer.

    `lookups` are by the names of filters, `tag_lookup` takes a tag's key and value.
    """
    best: list[Collection[str]] | None = None
    for entry in filters or []:
        name, values = (
            str(entry.get("Name", "")),
            [str(value) for value in entry.get("Values") or []],
        )
        if name.startswith("tag:"):
            lookup: Lookup | None = partial(tag_lookup, name.removeprefix("tag:"))
        else:
            lookup = lookups.get(name)
        if lookup is None or any(_WILDCARDS & set(value) for value in values):
            continue
        found = [lookup(value) for value in values]
        if best is None or sum(map(len, found)) < sum(map(len, best)):
            best = found
    if best is None:
        return things.values()
    ids = dict.fromkeys(each for some in best for each in some)
    return [things[each] for each in ids if each in things]


def matcher[T](
    filters: Sequence[Mapping[str, Any]] | None,
    extractors: Mapping[str, Extractor[T]],
    tags_of: Callable[[T], Mapping[str, str]],
) -> Callable[[T], bool]:
    """Return the predicate that a request's `Filters` ask for.

    `extractors` gives for each filter name the values of a thing; `tag:KEY`, `tag-key` and
    `tag-value` look into `tags_of`. Raise Ec2Error for a name that is not known: an unknown filter
    that was ignored would select everything.
    """
    requested = list(filters or [])
    if len(requested) > MAX_FILTERS:
        message = "The maximum number of filters specified on a single call is 50"
        raise Ec2Error("FilterLimitExceeded", message)
    tests = [_test(entry, extractors, tags_of) for entry in requested]
    return lambda thing: all(test(thing) for test in tests)


def _test[T](
    entry: Mapping[str, Any],
    extractors: Mapping[str, Extractor[T]],
    tags_of: Callable[[T], Mapping[str, str]],
) -> Callable[[T], bool]:
    """Return the predicate of one filter."""
    name, values = str(entry.get("Name", "")), [str(value) for value in entry.get("Values") or []]
    if len(values) > MAX_VALUES:
        message = "The maximum number of filter values specified on a single call is 200"
        raise Ec2Error("FilterLimitExceeded", message)
    if not values:
        raise Ec2Error("InvalidParameterValue", f"The filter '{name}' has no values")
    extract: Extractor[T]
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        extract = lambda thing: [v] if (v := tags_of(thing).get(key)) is not None else []  # noqa: E731
    elif name == "tag-key":
        extract = lambda thing: tags_of(thing).keys()  # noqa: E731
    elif name == "tag-value":
        extract = lambda thing: tags_of(thing).values()  # noqa: E731
    elif name in extractors:
        extract = extractors[name]
    else:
        raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")
    plain = frozenset(value for value in values if not _WILDCARDS & set(value))
    patterns = [pattern(value) for value in values if value not in plain]
    if not patterns:
        return lambda thing: not plain.isdisjoint(extract(thing))
    return lambda thing: any(
        v in plain or any(p.fullmatch(v) for p in patterns) for v in extract(thing)
    )


def pattern(value: str) -> re.Pattern[str]:
    r"""Return a filter value as a regular expression; `\*` and `\?` stand for themselves."""
    pieces = re.findall(r"\\[*?\\]|.", value, re.DOTALL)
    wildcards = {"*": ".*", "?": "."}
    return re.compile(
        "".join(wildcards.get(piece) or re.escape(piece[-1]) for piece in pieces), re.DOTALL
    )


def page[T](
    things: Sequence[T], params: Mapping[str, Any], lowest: int = 5, highest: int = 1000
) -> tuple[Sequence[T], str | None]:
    """Return the page of `things` that MaxResults and NextToken ask for, and the next token.

    Raise Ec2Error for a MaxResults outside of `lowest` to `highest` and for a foreign token.
    """
    begin = _offset(params.get("NextToken"))
    size = params.get("MaxResults")
    if size is None:
        return things[begin:], None
    if not lowest <= size <= highest:
        message = f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value "
        message += f"between {lowest} and {highest}."
        raise Ec2Error("InvalidParameterValue", message)
    end = begin + size
    token = base64.b64encode(f"offset:{end}".encode()).decode() if end < len(things) else None
    return things[begin:end], token


def _offset(token: str | None) -> int:
    """Return how many things were listed before the page that `token` asks for."""
    if not token:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode().removeprefix("offset:"))
    except (binascii.Error, ValueError) as error:
        message = "The specified pagination token is not valid or is expired."
        raise Ec2Error("InvalidPaginationToken", message) from error
