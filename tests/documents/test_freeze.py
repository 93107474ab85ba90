"""The document that freezes a guest: its script, really run, with tools that only pretend."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
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


class Guest:
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


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    made = Guest(tmp_path, "dash")
    yield made
    made.end()


@pytest.fixture(params=["dash", "bash"])
def either_guest(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Guest]:
    made = Guest(tmp_path, request.param)
    yield made
    made.end()


FROZEN = {"_", "_data", "_var_log"}
IN_ORDER = ["-f /var/log", "-f /data", "-f /", "-u /", "-u /data", "-u /var/log"]


def test_the_document_is_one_that_systems_manager_takes() -> None:
    document = the_document()
    assert document["schemaVersion"] == "2.2"
    assert document["parameters"]["command"]["allowedValues"] == ["freeze", "thaw", "dry-run"]
    assert {name: each["default"] for name, each in document["parameters"].items()} == {
        "executionId": "none",
        "command": "dry-run",
        "holdSeconds": "30",
        "thawSeconds": "60",
    }
    assert len(json.dumps(document)) < 64 * 1024


def test_what_can_be_written_is_frozen_root_last_and_thawed_in_reverse(
    either_guest: Guest,
) -> None:
    guest = either_guest
    begun = guest.ask("freeze", hold=2, thaw=8)
    assert (begun.code, begun.err) == (0, "")
    assert guest.calls == []  # the agent has to report first
    assert begun.row["filesystems"] == ["/var/log", "/data", "/"]
    assert begun.row["skipped"] == ["/boot/efi"]
    assert guest.synced == {"/boot/efi", "/var/log", "/data", "/"}
    assert begun.row["from"] == pytest.approx(begun.row["now"] + 1)
    assert begun.row["until"] == pytest.approx(begun.row["now"] + 3)
    assert begun.row["now"] == pytest.approx(time.time(), abs=3)
    guest.wait_until(lambda: guest.frozen == FROZEN)
    guest.wait_until(lambda: not guest.frozen)
    assert guest.calls == IN_ORDER
    ended = guest.ask("thaw")
    assert ended.code == 0
    assert ended.row["by"] == "hold-over"
    assert ended.row["failed"] == []
    assert ended.row["filesystems"] == ["/var/log", "/data", "/"]
    assert begun.row["from"] <= ended.row["from"] < begun.row["from"] + 1.5
    assert begun.row["until"] <= ended.row["until"] < begun.row["until"] + 2
    assert ended.row["until"] < ended.row["now"]


def test_a_thaw_that_is_asked_for_ends_the_hold_at_once(either_guest: Guest) -> None:
    guest = either_guest
    guest.ask("freeze", hold=30, thaw=60)
    guest.wait_for("from")
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (0, "asked")
    assert ended.row["until"] - ended.row["from"] < 5
    assert guest.calls == IN_ORDER


def test_a_thaw_that_is_repeated_gives_the_same_answer(guest: Guest) -> None:
    guest.ask("freeze")
    first, second = guest.ask("thaw"), guest.ask("thaw")
    assert first.code == second.code
    del first.row["now"], second.row["now"]
    ignored = {"now": 0}
    assert first.row | ignored == second.row | ignored


def test_a_holder_that_is_killed_is_noticed_and_everything_thawed(either_guest: Guest) -> None:
    guest = either_guest
    guest.ask("freeze", hold=2, thaw=7)
    guest.wait_for("from")
    guest.kill("holder")
    guest.wait_until(lambda: not guest.frozen)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (203, "auto-thaw")
    assert ended.row["from"] < ended.row["until"] <= ended.row["now"]


def test_a_holder_that_hangs_is_overruled_at_the_deadline(guest: Guest) -> None:
    guest.ask("freeze", hold=1, thaw=6)
    guest.wait_for("from")
    guest.kill("holder", signal.SIGSTOP)
    guest.wait_until(lambda: not guest.frozen)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (203, "auto-thaw")
    assert 5 < ended.row["until"] - ended.row["from"] < 8


def test_a_watchdog_that_is_killed_ends_the_freeze_too(guest: Guest) -> None:
    guest.ask("freeze", hold=20, thaw=40)
    guest.wait_for("from")
    guest.kill("watchdog")
    guest.wait_until(lambda: not guest.frozen, 5)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (203, "failed")
    assert ended.row["failed"] == ["the watchdog died"]


def test_a_shutdown_thaws_what_is_frozen(guest: Guest) -> None:
    guest.ask("freeze", hold=20, thaw=40)
    guest.wait_for("from")
    guest.kill("watchdog", signal.SIGTERM)
    guest.kill("holder", signal.SIGTERM)
    guest.wait_until(lambda: not guest.frozen, 5)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (0, "interrupted")


def test_a_freeze_that_fails_half_way_is_taken_back(either_guest: Guest) -> None:
    guest = either_guest
    guest.let("unfreezable", "/data")
    guest.ask("freeze")
    guest.wait_for("ended")
    ended = guest.ask("thaw")
    assert ended.code == 201
    assert (ended.row["by"], ended.row["from"], ended.row["until"]) == ("failed", None, None)
    (why,) = ended.row["failed"]
    assert why.startswith("/data: fsfreeze: /data: freeze failed: Operation not supported")
    assert guest.calls == ["-f /var/log", "-f /data", "-u /var/log"]
    assert not guest.frozen


def test_a_holder_that_is_killed_in_the_midst_of_freezing_leaves_nothing_frozen(
    guest: Guest,
) -> None:
    guest.let("slow", "/data")
    guest.ask("freeze", hold=1, thaw=6)
    guest.wait_until(lambda: "-f /data" in guest.calls)
    guest.kill("holder")
    guest.wait_for("ended", 60)
    assert not guest.frozen
    assert guest.ask("thaw").code == 201


def test_a_file_system_that_somebody_else_thawed_is_told(guest: Guest) -> None:
    guest.ask("freeze", hold=2, thaw=8)
    guest.wait_until(lambda: guest.frozen == FROZEN)
    (guest.state / "frozen_data").unlink()
    guest.wait_until(lambda: not guest.frozen)
    ended = guest.ask("thaw")
    assert ended.code == 203
    assert ended.row["failed"] == ["/data was not frozen any more"]


def test_what_cannot_be_thawed_is_tried_until_it_can_be(guest: Guest) -> None:
    guest.let("stuck", "/data")
    guest.ask("freeze", hold=1, thaw=6)
    guest.wait_until(lambda: guest.calls.count("-u /data") > 5)
    assert guest.frozen == {"_data"}  # the others do not wait for it
    (guest.state / "stuck_data").unlink()
    guest.wait_until(lambda: not guest.frozen)
    assert guest.ask("thaw").code == 203


def test_a_thaw_before_the_freeze_has_begun_calls_it_off(guest: Guest) -> None:
    guest.ask("freeze")
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"], ended.row["from"]) == (201, "asked", None)
    assert guest.calls == []


def test_a_thaw_without_a_freeze_is_told(guest: Guest) -> None:
    ended = guest.ask("thaw")
    assert (ended.code, ended.out) == (204, "")
    assert "nothing was frozen" in ended.err


def test_a_thaw_of_another_execution_does_not_end_the_freeze(guest: Guest) -> None:
    guest.ask("freeze", "e-1", hold=2, thaw=8)
    guest.wait_until(lambda: guest.frozen == FROZEN)
    ended = guest.ask("thaw", "e-2")
    assert ended.code == 204
    assert "that of e-1" in ended.err
    assert guest.frozen == FROZEN


def test_a_second_freeze_is_refused_while_one_is_not_over(guest: Guest) -> None:
    guest.ask("freeze", "e-1", hold=2, thaw=8)
    refused = guest.ask("freeze", "e-2")
    assert (refused.code, refused.out) == (201, "")
    assert "the freeze of e-1 is not over" in refused.err
    guest.wait_for("ended")
    assert guest.ask("thaw", "e-1").code == 0
    assert guest.ask("freeze", "e-2").code == 0
    guest.wait_for("ended")
    assert guest.calls == IN_ORDER * 2


def test_the_watchdog_of_an_earlier_freeze_leaves_a_later_one_alone(guest: Guest) -> None:
    guest.ask("freeze", "e-1", hold=1, thaw=6)
    guest.wait_for("from")
    guest.kill("watchdog", signal.SIGSTOP)
    guest.wait_for("ended")
    sleeper = guest.pid("watchdog")
    guest.ask("freeze", "e-2", hold=9, thaw=14)
    os.kill(sleeper, signal.SIGCONT)
    guest.wait_for("from")
    time.sleep(6)  # until after the deadline of the earlier one
    assert guest.frozen == FROZEN
    ended = guest.ask("thaw", "e-2")
    assert (ended.code, ended.row["by"]) == (0, "asked")


def test_what_two_dead_processes_left_frozen_is_thawed_by_the_next_freeze(guest: Guest) -> None:
    guest.ask("freeze", "e-1", hold=20, thaw=40)
    guest.wait_for("from")
    guest.kill("watchdog", signal.SIGSTOP)
    guest.kill("holder")
    guest.kill("watchdog")
    settings = guest.run / "settings"
    long_ago = settings.read_text().split("deadline=")[1].split()[0]
    settings.write_text(settings.read_text().replace(long_ago, "-3000"))
    assert guest.frozen == FROZEN
    assert guest.ask("freeze", "e-2").code == 0
    assert not guest.frozen
    assert guest.ask("thaw", "e-2").code == 201


def test_a_dry_run_says_what_would_be_frozen_and_changes_nothing(either_guest: Guest) -> None:
    told = either_guest.ask("dry-run")
    assert told.code == 0
    assert told.row["filesystems"] == ["/var/log", "/data", "/"]
    assert told.row["skipped"] == ["/boot/efi"]
    assert either_guest.calls == []
    assert not either_guest.synced
    assert not either_guest.run.exists()


def test_every_device_is_frozen_once(guest: Guest) -> None:
    guest.mount(
        "0:30 /dev/nvme0n1p1 btrfs rw,subvol=/@ /",
        "0:30 /dev/nvme0n1p1 btrfs rw,subvol=/@home /home",
        "0:31 /dev/nvme0n1p1 btrfs rw,subvol=/@srv /srv",
        DATA,
        "259:4 /dev/nvme1n1 ext4 rw,noatime /var/lib/erp",
        "7:3 /dev/loop3 ext4 rw /data/image",
    )
    assert guest.ask("dry-run").row["filesystems"] == ["/data/image", "/data", "/"]


IMPOSSIBLE = {
    "fsfreeze is not installed": lambda guest: (guest.bin / "fsfreeze").unlink(),
    "is not on tmpfs": lambda guest: (guest.state / "type-of-run").write_text("ext4\n"),
    "there is no file system to freeze": lambda guest: guest.mount(OTHERS, EFI),
    "/tank is of the type zfs": lambda guest: guest.mount(ROOT, "0:50 tank zfs rw,xattr /tank"),
    "the name of the mount point /a\\x20b is not supported": lambda guest: guest.mount(
        ROOT, r"259:9 /dev/nvme3n1 ext4 rw /a\x20b"
    ),
    "findmnt cannot list the file systems": lambda guest: (guest.state / "mounts").unlink(),
}


@pytest.mark.parametrize("command", ["freeze", "dry-run"])
@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_what_cannot_be_is_told_at_once(guest: Guest, reason: str, command: str) -> None:
    IMPOSSIBLE[reason](guest)
    refused = guest.ask(command)
    assert (refused.code, refused.out) == (201, "")
    assert reason in refused.err
    assert guest.calls == []


def test_the_auto_thaw_has_to_be_later_than_the_hold(guest: Guest) -> None:
    refused = guest.ask("freeze", hold=10, thaw=14)
    assert refused.code == 201
    assert "thawSeconds has to be 5 more" in refused.err
