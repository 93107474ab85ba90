"""What the documents say is what is there."""

import re
from pathlib import Path

import pytest
import yaml

from stillpoint.hazards import HAZARDS, Rule
from stillpoint.messages import SEVERITIES
from stillpoint.tags import OWNER_TAGS, Tag

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("events/*.md")])


class TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as plain values."""


TemplateLoader.add_multi_constructor(
    "!", lambda loader, _suffix, node: getattr(node, "value", str(loader))
)


def rows(document: str, heading: str) -> dict[str, list[str]]:
    """Return the cells of the table under a heading, by the code in the first cell."""
    section = (ROOT / document).read_text().split(f"# {heading}\n", 1)[1].split("\n#", 1)[0]
    found = {}
    for line in filter(lambda line: line.startswith("|"), section.splitlines()):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if match := re.match(r"`([^`]+)`", cells[0]):
            found[match[1]] = cells[1:]
    return found


def test_the_readme_lists_every_parameter_with_its_default() -> None:
    template = yaml.load((ROOT / "template.yaml").read_text(), TemplateLoader)
    documented = rows("README.md", "Parameters")
    assert set(documented) == set(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert documented[name][0].strip("`") == str(parameter["Default"])


def test_the_readme_names_every_tag() -> None:
    readme = (ROOT / "README.md").read_text()
    for tag in OWNER_TAGS | {Tag.CYCLE, Tag.LAST, Tag.PROBLEM, Tag.RECOVERY_POINT}:
        assert f"`{tag}`" in readme


def test_the_hazards_document_is_the_table_of_the_code() -> None:
    documented = rows("docs/hazards.md", "Hazards")
    assert list(documented) == [hazard.code for hazard in HAZARDS]
    rules = {
        Rule.NEVER: "never backed up",
        Rule.UNLESS_ACCEPTED: "unless accepted",
        Rule.WARNING: "a warning",
    }
    for hazard in HAZARDS:
        assert documented[hazard.code] == [
            hazard.sentence,
            rules[hazard.rule],
            hazard.concern,
            hazard.remedy,
        ]


def test_the_messages_document_lists_every_event_with_its_severity() -> None:
    documented = rows("docs/messages.md", "Messages")
    assert {name: cells[0] for name, cells in documented.items()} == {
        str(name): str(severity) for name, severity in SEVERITIES.items()
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_nothing_that_is_handed_out_names_a_path_of_one_machine() -> None:
    handed_out = [
        *DOCUMENTS,
        *ROOT.glob("docs/scripts/*"),
        *ROOT.glob("*.yaml"),
        *ROOT.glob("*.toml"),
    ]
    assert len(handed_out) > len(DOCUMENTS) + 3
    for path in handed_out:
        assert not re.search(r"/(?:root|home/\w+|Users/\w+)/", path.read_text("utf-8")), path
