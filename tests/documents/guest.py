"""A guest to run the scripts of Command documents in: a real shell, and tools that are fakes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def read_document(name: str) -> dict[str, Any]:
    """Return a document, such as `docs/scripts/mysql.yaml`."""
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


@dataclass
class Run:
    """How a script ended, and what it wrote."""

    code: int
    output: str
    errors: str


@dataclass
class Guest:
    """A machine below a directory.

    `moved` are paths that the script would use on a real machine, and uses below the directory
    here. `changes` are replacements in its text, such as of times to wait.
    """

    root: Path
    document: Mapping[str, Any]
    moved: tuple[str, ...]
    changes: dict[str, str] = field(default_factory=dict)
    shell: str = "sh"

    def __post_init__(self) -> None:
        """Make the directory of the fakes, and the one where they keep their state."""
        self.tools.mkdir()
        self.state.mkdir()

    @property
    def tools(self) -> Path:
        """Where the fakes are."""
        return self.root / "tools"

    @property
    def state(self) -> Path:
        """Where the fakes look up what to do, and note what they did."""
        return self.root / "state"

    @property
    def calls(self) -> list[str]:
        """What the fakes were asked to do, in order."""
        log = self.state / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def path(self, name: str) -> Path:
        """Return where a path of the script is here."""
        return self.root / name.removeprefix("/")

    def provide(self, name: str, script: str) -> None:
        """Put a fake on the PATH; `$STATE` is where it keeps its state."""
        tool = self.tools / name
        tool.write_text(f"#!/bin/sh\nSTATE={self.state}\n{script}")
        tool.chmod(0o755)

    def set(self, name: str, text: str = "") -> None:
        """Tell the fakes something."""
        (self.state / name).write_text(text)

    def unset(self, name: str) -> None:
        """Take back what the fakes were told."""
        (self.state / name).unlink()

    def script(self, values: Mapping[str, str]) -> str:
        """Return the script as the agent gets it: with the values of the document's parameters."""
        (step,) = self.document["mainSteps"]
        (text,) = step["inputs"]["runCommand"]
        assert isinstance(text, str)
        for old, new in self.changes.items():
            assert old in text, old
            text = text.replace(old, new)
        for path in self.moved:
            assert path in text, path
            text = text.replace(path, str(self.path(path)))
        for name, parameter in self.document["parameters"].items():
            text = text.replace(f"{{{{ {name} }}}}", values.get(name, parameter["default"]))
        assert "{{" not in text
        return text

    def run(self, command: str, **values: str) -> Run:
        """Run the script to its end, which what it leaves behind does not hold up."""
        file = self.root / "script"
        file.write_text(self.script({"command": command, **values}))
        done = subprocess.run(
            [shutil.which(self.shell) or self.shell, str(file)],
            env={"PATH": f"{self.tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def kill_session(self, name: str) -> None:
        """Kill everything in the session of the process that a fake noted, if it is alive."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.killpg(os.getpgid(int((self.state / name).read_text())), signal.SIGKILL)
