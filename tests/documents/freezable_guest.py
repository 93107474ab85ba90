"""A guest that is frozen by the stack's document: a real shell, and tools that only pretend."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
REAL_TOOLS = ("cat", "date", "flock", "mkdir", "rm", "setsid", "sleep", "tr")
FINDMNT = """#!/bin/sh
case " $* " in
  *" -T "*) cat '{state}/type-of-run' ;;
  *) cat '{state}/mounts' ;;
esac
"""
SYNC = """#!/bin/sh
echo "sync $2" >>'{state}/calls'
"""
FSFREEZE = """#!/bin/sh
[ "$1" != --version ] || exit 0
of() {{ echo "{state}/$1$(echo "$2" | tr / _)"; }}
refuse() {{ echo "fsfreeze: $2: $1" >&2; exit 1; }}
echo "$1 $2" >>'{state}/calls'
frozen=$(of frozen "$2")
case $1 in
  -f)
    [ ! -e "$(of unfreezable "$2")" ] || refuse "freeze failed: Operation not supported" "$2"
    [ ! -e "$(of slow "$2")" ] || sleep 3
    [ ! -e "$frozen" ] || refuse "freeze failed: Device or resource busy" "$2"
    : >"$frozen" ;;
  -u)
    [ -e "$frozen" ] || refuse "unfreeze failed: Invalid argument" "$2"
    [ ! -e "$(of stuck "$2")" ] || refuse "unfreeze failed: Input/output error" "$2"
    rm "$frozen" ;;
esac
"""
ROOT = "259:1 /dev/nvme0n1p1 xfs rw,relatime /"
DATA = "259:4 /dev/nvme1n1 ext4 rw,noatime /data"
LOGS = "253:0 /dev/mapper/vg-logs xfs rw /var/log"
EFI = "259:2 /dev/nvme0n1p15 vfat rw,umask=0077 /boot/efi"
OTHERS = """0:21 proc proc rw,nosuid /proc
0:25 tmpfs tmpfs rw,nosuid /run
0:31 overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l /var/lib/docker/overlay2/merged
7:0 /dev/loop0 squashfs ro,nodev /snap/core22/1
259:7 /dev/nvme2n1 ext4 ro,noatime /mnt/old
0:44 fs-0123456789abcdef0.efs.eu-west-1.amazonaws.com:/ nfs4 rw,relatime /mnt/efs"""


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as nothing: the document has none."""


_Loader.add_multi_constructor("!", lambda *_: None)


def the_document() -> dict[str, Any]:
    """Return the content of the stack's document."""
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _Loader)  # (a SafeLoader)
    content: dict[str, Any] = template["Resources"]["FreezeDocument"]["Properties"]["Content"]
    return content


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def row(self) -> dict[str, Any]:
        """The only line of its output."""
        (line,) = self.out.splitlines()
        row: dict[str, Any] = json.loads(line)
        return row


class FreezableGuest:
    """A machine of which only the shell is real."""

    def __init__(self, root: Path, shell: str) -> None:
        self.bin, self.state, self.run = root / "bin", root / "state", root / "run" / "stillpoint"
        for folder in (self.bin, self.state, self.run.parent):
            folder.mkdir()
        for tool in REAL_TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        (self.bin / "sh").symlink_to(str(shutil.which(shell)))
        for name, text in (("findmnt", FINDMNT), ("sync", SYNC), ("fsfreeze", FSFREEZE)):
            (self.bin / name).write_text(text.format(state=self.state))
            (self.bin / name).chmod(0o755)
        self.mount(ROOT, OTHERS, EFI, DATA, LOGS)
        (self.state / "type-of-run").write_text("tmpfs\n")
        (self.state / "calls").touch()

    def mount(self, *lines: str) -> None:
        """Mount these, in this order, and nothing else."""
        (self.state / "mounts").write_text("\n".join(lines) + "\n")

    def let(self, what: str, target: str) -> None:
        """Let a file system be `unfreezable`, `slow` to freeze, or `stuck` when it is thawed."""
        (self.state / f"{what}{target.replace('/', '_')}").touch()

    def ask(self, command: str, execution: str = "e-1", *, hold: int = 1, thaw: int = 6) -> Answer:
        """Run the document's script as the agent does."""
        (step,) = the_document()["mainSteps"]
        (script,) = step["inputs"]["runCommand"]
        texts = {
            "{{ command }}": command,
            "{{ executionId }}": execution,
            "{{ holdSeconds }}": str(hold),
            "{{ thawSeconds }}": str(thaw),
            "\nlead=5 ": "\nlead=1 ",
            "run=/run/stillpoint": f"run='{self.run}'",
            "$PATH:/usr/sbin:/usr/bin:/sbin:/bin": str(self.bin),
        }
        for placeholder, text in texts.items():
            script = script.replace(placeholder, text)
        assert "{{" not in script
        assert "/usr/sbin" not in script
        done = subprocess.run(
            [self.bin / "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    @property
    def calls(self) -> list[str]:
        """The calls of fsfreeze so far, such as `-f /data`."""
        lines = (self.state / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith("-")]

    @property
    def synced(self) -> set[str]:
        """The file systems that were written out."""
        lines = (self.state / "calls").read_text().splitlines()
        return {line.removeprefix("sync ") for line in lines if line.startswith("sync")}

    @property
    def frozen(self) -> set[str]:
        """The file systems that are frozen now, such as `_data`."""
        return {path.name.removeprefix("frozen") for path in self.state.glob("frozen*")}

    def pid(self, process: str) -> int:
        """Return the id of the `holder` or the `watchdog`."""
        return int((self.run / process).read_text())

    def kill(self, process: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the `holder` or the `watchdog`."""
        os.kill(self.pid(process), number)

    def wait_until(self, happened: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something has happened, or fail."""
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, self.calls
            time.sleep(0.05)

    def wait_for(self, note: str, seconds: float = 20) -> None:
        """Wait until the processes have noted something: `from` when all is frozen, `ended`."""
        self.wait_until((self.run / note).exists, seconds)

    def end(self) -> None:
        """Leave no process behind."""
        for process in ("watchdog", "holder"):
            if (self.run / process).exists() and not (self.run / "ended").exists():
                with suppress(ProcessLookupError):
                    self.kill(process)
