"""The layer brings the descriptions of the services that are called, and of no others."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = re.compile(r"\bclient\(\s*\"([a-z0-9-]+)\"")


def test_the_layer_brings_the_services_that_the_code_calls() -> None:
    makefile = (ROOT / "layers" / "stillpoint" / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^SERVICES := (.*)$", makefile, re.MULTILINE)
    assert listed is not None
    sources = [*ROOT.glob("layers/stillpoint/stillpoint/**/*.py"), *ROOT.glob("functions/**/*.py")]
    called = {name for path in sources for name in CLIENT.findall(path.read_text("utf-8"))}
    assert listed[1].split() == sorted(called)


def test_no_client_is_made_of_a_service_that_the_test_cannot_see() -> None:
    made = re.compile(r"\bclient\(\s*(?![\"\s])(?!service: str)")
    sources = [*ROOT.glob("layers/stillpoint/stillpoint/**/*.py"), *ROOT.glob("functions/**/*.py")]
    found = {path.name: made.findall(path.read_text("utf-8")) for path in sources}
    # The one exception is the function that makes the clients, which is given the name.
    assert {name for name, hits in found.items() if hits} <= {"client.py"}
