"""Create the virtual environments of this repository, or leave them alone if they are up to date.

Usage: python3.13 tools/environments.py FOLDER=REQUIREMENTS [FOLDER=REQUIREMENTS ...]

An environment holds exactly what its requirements file pins. The last thing that is written into
it is a stamp: the text of that file, the folder and the Python it was made for. While the stamp
matches there is nothing to do; otherwise the environment is made anew, so that an interrupted
installation, a removed requirement or a moved folder leaves nothing behind.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "stillpoint-stamp.txt"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment and the pinned, hashed requirements file that it is made from."""

    folder: Path
    requirements: Path

    @property
    def python(self) -> Path:
        """The interpreter inside the environment."""
        return self.folder / "bin" / "python"

    @property
    def label(self) -> str:
        """The folder as a user knows it: relative to the repository."""
        return os.path.relpath(self.folder, ROOT)

    def expected_stamp(self) -> str:
        """Return what the stamp of an up-to-date environment says."""
        origin = f"# {self.folder}, Python {sys.version} at {sys.base_prefix}\n"
        return origin + self.requirements.read_text(encoding="utf-8")

    def is_current(self) -> bool:
        """Tell whether the environment was completed from these very requirements."""
        stamp = self.folder / STAMP
        return (
            self.python.exists()
            and stamp.exists()
            and stamp.read_text(encoding="utf-8") == self.expected_stamp()
        )

    def create(self) -> None:
        """Make the environment anew. Raises CalledProcessError if Python or pip fails."""
        began = time.monotonic()
        source = os.path.relpath(self.requirements, ROOT)
        print(f"Creating {self.label} from {source} (a minute or two, once) ...", flush=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        subprocess.run(
            [
                *(self.python, "-I", "-m", "pip", "install"),
                # Only errors are worth showing; the hashes decide what may be installed, and code
                # of a source distribution never runs.
                *("-qq", "--disable-pip-version-check", "--no-input"),
                # Python compiles what it imports; compiling everything here takes twice as long.
                "--no-compile",
                *("--require-hashes", "--only-binary", ":all:"),
                *("--requirement", self.requirements),
            ],
            check=True,
        )
        (self.folder / STAMP).write_text(self.expected_stamp(), encoding="utf-8")
        print(f"{self.label} is ready ({time.monotonic() - began:.0f} s).", flush=True)


def parse(argument: str) -> Environment:
    """Read FOLDER=REQUIREMENTS, both relative to the repository. Raises SystemExit if it is not."""
    folder, separator, requirements = argument.partition("=")
    if not (folder and separator and (ROOT / requirements).is_file()):
        sys.exit(f"{argument!r} is not FOLDER=REQUIREMENTS with an existing requirements file.")
    return Environment(ROOT / folder, ROOT / requirements)


def main(arguments: list[str]) -> int:
    """Bring every environment up to date, side by side, and return the exit status."""
    environments = [parse(argument) for argument in arguments]
    with (ROOT / ".environments.lock").open("w") as lock:
        # Two runs of make at once: the second waits and then finds nothing to do.
        fcntl.flock(lock, fcntl.LOCK_EX)
        outdated = [each for each in environments if not each.is_current()]
        with ThreadPoolExecutor(max_workers=max(1, len(outdated))) as pool:
            attempts = [(each, pool.submit(each.create)) for each in outdated]
        for environment, attempt in attempts:
            error = attempt.exception()
            if isinstance(error, subprocess.CalledProcessError):
                print(f"{environment.label} could not be created: see above.", file=sys.stderr)
            elif error is not None:
                raise error
    return 1 if any(attempt.exception() for _, attempt in attempts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
