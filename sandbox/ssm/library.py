"""The documents of one account in one Region, and the calls that concern them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ssm.documents import Document, Version, check_name, parse, rendered
from sandbox.ssm.errors import error
from sandbox.ssm.owned import owned

type Answer = dict[str, Any]


@dataclass(slots=True)
class Library:
    """Documents by name: the account's own, and those of AWS."""

    account: str
    own: dict[str, Document] = field(default_factory=dict)
    amazon: Mapping[str, Document] = field(default_factory=owned)

    def find(self, name: str) -> Document:
        """Return a document by name or ARN; raise InvalidDocument."""
        bare = name.rpartition(":document/")[2].removeprefix("document/")
        document = self.own.get(bare) or self.amazon.get(bare)
        if document is None:
            raise error("InvalidDocument", f"Document with name {bare} does not exist.")
        return document

    def find_own(self, name: str) -> Document:
        """Return a document that the account may change; raise InvalidDocument."""
        document = self.find(name)
        if document.name not in self.own:
            raise error("InvalidDocument", f"Document {name} is not owned by this account.")
        return document


def _create(library: Library, call: Call) -> Answer:
    """Store a new document."""
    params = call.params
    name, form = str(params["Name"]), str(params.get("DocumentFormat", "JSON"))
    check_name(name)
    if name in library.own:
        raise error("DocumentAlreadyExists", f"Document with same name {name} already exists")
    version = Version(params["Content"], form, parse(params["Content"], form), call.at)
    document = Document(
        name,
        str(params.get("DocumentType", "Command")),
        library.account,
        {1: version},
        tags=_tags(params.get("Tags") or ()),
    )
    library.own[name] = document
    return {"DocumentDescription": document.description(1)}


def _update(library: Library, call: Call) -> Answer:
    """Store a new version of a document; the default version stays what it is."""
    params = call.params
    document = library.find_own(params["Name"])
    form = str(params.get("DocumentFormat", "JSON"))
    latest = document.versions[max(document.versions)]
    if latest.text == params["Content"]:
        raise error("DuplicateDocumentContent", "The content is that of the latest version.")
    number = max(document.versions) + 1
    content = parse(params["Content"], form)
    document.versions[number] = Version(params["Content"], form, content, call.at)
    return {"DocumentDescription": document.description(number)}


def _set_default(library: Library, call: Call) -> Answer:
    """Make a version the default."""
    document = library.find_own(call.params["Name"])
    document.default, _ = document.version(str(call.params["DocumentVersion"]))
    default = {"Name": document.name, "DefaultVersion": str(document.default)}
    return {"Description": default}


def _get(library: Library, call: Call) -> Answer:
    """Return a document's text, as JSON if nothing else is asked for."""
    document = library.find(call.params["Name"])
    number, version = document.version(call.params.get("DocumentVersion"))
    form = str(call.params.get("DocumentFormat", "JSON"))
    described = document.description(number)
    kept = ("Name", "CreatedDate", "DocumentVersion", "Status", "DocumentType")
    return {
        **{key: described[key] for key in kept},
        "Content": rendered(version, form),
        "DocumentFormat": form,
    }


def _describe(library: Library, call: Call) -> Answer:
    """Describe a document."""
    document = library.find(call.params["Name"])
    number, _ = document.version(call.params.get("DocumentVersion"))
    return {"Document": document.description(number)}


def _delete(library: Library, call: Call) -> Answer:
    """Delete a document with all its versions."""
    del library.own[library.find_own(call.params["Name"]).name]
    return {}


def _add_tags(library: Library, call: Call) -> Answer:
    """Tag a document."""
    _tagged(library, call).tags.update(_tags(call.params["Tags"]))
    return {}


def _remove_tags(library: Library, call: Call) -> Answer:
    """Take tags off a document."""
    document = _tagged(library, call)
    for key in call.params["TagKeys"]:
        document.tags.pop(key, None)
    return {}


def _list_tags(library: Library, call: Call) -> Answer:
    """List a document's tags."""
    tags = _tagged(library, call).tags
    return {"TagList": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}


def _tagged(library: Library, call: Call) -> Document:
    """Return the document that a call about tags names."""
    kind, name = call.params["ResourceType"], call.params["ResourceId"]
    if kind != "Document":
        raise error("InvalidResourceType", f"The sandbox's SSM tags documents only, not {kind}.")
    if name not in library.own and name not in library.amazon:
        raise error("InvalidResourceId", f"The resource ID {name!r} is not valid.")
    return library.find(name)


def _tags(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the tags of a request."""
    return {row["Key"]: row["Value"] for row in rows}


ACTIONS: Mapping[str, Callable[[Library, Call], Answer]] = {
    "CreateDocument": _create,
    "UpdateDocument": _update,
    "UpdateDocumentDefaultVersion": _set_default,
    "GetDocument": _get,
    "DescribeDocument": _describe,
    "DeleteDocument": _delete,
    "AddTagsToResource": _add_tags,
    "RemoveTagsFromResource": _remove_tags,
    "ListTagsForResource": _list_tags,
}
