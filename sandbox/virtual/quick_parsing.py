"""botocore's reading of XML, for the many structures that need none of its special cases.

Reading large answers is most of the work of a run in virtual time. botocore looks in an answer for
every member that a structure can have; here every element that is there is looked up.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from botocore import parsers

if TYPE_CHECKING:
    from botocore.model import Shape, StructureShape

_PLAIN: Final = frozenset({"name", "queryName"})
_Parser: Final[Any] = parsers.BaseXMLResponseParser
_slow: Final[Callable[[Any, Any, Any], Any]] = _Parser._handle_structure


def install() -> None:
    """Let every client of this process read that way, once and for all."""
    _Parser._handle_structure = handle_structure


def handle_structure(parser: Any, shape: "StructureShape", node: Any) -> Any:
    """Return what botocore's own `_handle_structure` returns."""
    members = None if isinstance(node, list) else _members(shape)
    if members is None:
        return _slow(parser, shape, node)
    parsed: dict[str, Any] = {}
    for child in node:
        known = members.get(child.tag.rpartition("}")[2])
        if known is None:
            continue
        name, member = known
        if name in parsed:  # repeated elements are one list
            return _slow(parser, shape, node)
        parsed[name] = parser._parse_shape(member, child)
    return parsed


@cache
def _members(shape: "StructureShape") -> "dict[str, tuple[str, Shape]] | None":
    """Return a structure's members by the names of their elements; None for a special case."""
    if shape.metadata.get("exception") or shape.is_tagged_union:
        return None
    if any(member.serialization.keys() - _PLAIN for member in shape.members.values()):
        return None
    return {
        member.serialization.get("name") or name: (name, member)
        for name, member in shape.members.items()
    }
