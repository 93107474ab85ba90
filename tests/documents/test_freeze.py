"""The document that freezes a guest: its script, really run, with tools that only pretend."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.freezable_guest import DATA, EFI, OTHERS, ROOT, FreezableGuest, the_document


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[FreezableGuest]:
    made = FreezableGuest(tmp_path, "dash")
    yield made
    made.end()


@pytest.fixture(params=["dash", "bash"])
def either_guest(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FreezableGuest]:
    made = FreezableGuest(tmp_path, request.param)
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
    either_guest: FreezableGuest,
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


def test_a_thaw_that_is_asked_for_ends_the_hold_at_once(either_guest: FreezableGuest) -> None:
    guest = either_guest
    guest.ask("freeze", hold=30, thaw=60)
    guest.wait_for("from")
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (0, "asked")
    assert ended.row["until"] - ended.row["from"] < 5
    assert guest.calls == IN_ORDER


def test_a_thaw_that_is_repeated_gives_the_same_answer(guest: FreezableGuest) -> None:
    guest.ask("freeze")
    first, second = guest.ask("thaw"), guest.ask("thaw")
    assert first.code == second.code
    del first.row["now"], second.row["now"]
    ignored = {"now": 0}
    assert first.row | ignored == second.row | ignored


def test_a_holder_that_is_killed_is_noticed_and_everything_thawed(
    either_guest: FreezableGuest,
) -> None:
    guest = either_guest
    guest.ask("freeze", hold=2, thaw=7)
    guest.wait_for("from")
    guest.kill("holder")
    guest.wait_until(lambda: not guest.frozen)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (203, "auto-thaw")
    assert ended.row["from"] < ended.row["until"] <= ended.row["now"]


def test_a_holder_that_hangs_is_overruled_at_the_deadline(guest: FreezableGuest) -> None:
    guest.ask("freeze", hold=1, thaw=6)
    guest.wait_for("from")
    guest.kill("holder", signal.SIGSTOP)
    guest.wait_until(lambda: not guest.frozen)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (203, "auto-thaw")
    assert 5 < ended.row["until"] - ended.row["from"] < 8


def test_a_watchdog_that_is_killed_ends_the_freeze_too(guest: FreezableGuest) -> None:
    guest.ask("freeze", hold=20, thaw=40)
    guest.wait_for("from")
    guest.kill("watchdog")
    guest.wait_until(lambda: not guest.frozen, 5)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (203, "failed")
    assert ended.row["failed"] == ["the watchdog died"]


def test_a_shutdown_thaws_what_is_frozen(guest: FreezableGuest) -> None:
    guest.ask("freeze", hold=20, thaw=40)
    guest.wait_for("from")
    guest.kill("watchdog", signal.SIGTERM)
    guest.kill("holder", signal.SIGTERM)
    guest.wait_until(lambda: not guest.frozen, 5)
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"]) == (0, "interrupted")


def test_a_freeze_that_fails_half_way_is_taken_back(either_guest: FreezableGuest) -> None:
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
    guest: FreezableGuest,
) -> None:
    guest.let("slow", "/data")
    guest.ask("freeze", hold=1, thaw=6)
    guest.wait_until(lambda: "-f /data" in guest.calls)
    guest.kill("holder")
    guest.wait_for("ended", 60)
    assert not guest.frozen
    assert guest.ask("thaw").code == 201


def test_a_file_system_that_somebody_else_thawed_is_told(guest: FreezableGuest) -> None:
    guest.ask("freeze", hold=2, thaw=8)
    guest.wait_until(lambda: guest.frozen == FROZEN)
    (guest.state / "frozen_data").unlink()
    guest.wait_until(lambda: not guest.frozen)
    ended = guest.ask("thaw")
    assert ended.code == 203
    assert ended.row["failed"] == ["/data was not frozen any more"]


def test_what_cannot_be_thawed_is_tried_until_it_can_be(guest: FreezableGuest) -> None:
    guest.let("stuck", "/data")
    guest.ask("freeze", hold=1, thaw=6)
    guest.wait_until(lambda: guest.calls.count("-u /data") > 5)
    assert guest.frozen == {"_data"}  # the others do not wait for it
    (guest.state / "stuck_data").unlink()
    guest.wait_until(lambda: not guest.frozen)
    assert guest.ask("thaw").code == 203


def test_a_thaw_before_the_freeze_has_begun_calls_it_off(guest: FreezableGuest) -> None:
    guest.ask("freeze")
    ended = guest.ask("thaw")
    assert (ended.code, ended.row["by"], ended.row["from"]) == (201, "asked", None)
    assert guest.calls == []


def test_a_thaw_without_a_freeze_is_told(guest: FreezableGuest) -> None:
    ended = guest.ask("thaw")
    assert (ended.code, ended.out) == (204, "")
    assert "nothing was frozen" in ended.err


def test_a_thaw_of_another_execution_does_not_end_the_freeze(guest: FreezableGuest) -> None:
    guest.ask("freeze", "e-1", hold=2, thaw=8)
    guest.wait_until(lambda: guest.frozen == FROZEN)
    ended = guest.ask("thaw", "e-2")
    assert ended.code == 204
    assert "that of e-1" in ended.err
    assert guest.frozen == FROZEN


def test_a_second_freeze_is_refused_while_one_is_not_over(guest: FreezableGuest) -> None:
    guest.ask("freeze", "e-1", hold=2, thaw=8)
    refused = guest.ask("freeze", "e-2")
    assert (refused.code, refused.out) == (201, "")
    assert "the freeze of e-1 is not over" in refused.err
    guest.wait_for("ended")
    assert guest.ask("thaw", "e-1").code == 0
    assert guest.ask("freeze", "e-2").code == 0
    guest.wait_for("ended")
    assert guest.calls == IN_ORDER * 2


def test_the_watchdog_of_an_earlier_freeze_leaves_a_later_one_alone(guest: FreezableGuest) -> None:
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


def test_what_two_dead_processes_left_frozen_is_thawed_by_the_next_freeze(
    guest: FreezableGuest,
) -> None:
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


def test_a_dry_run_says_what_would_be_frozen_and_changes_nothing(
    either_guest: FreezableGuest,
) -> None:
    told = either_guest.ask("dry-run")
    assert told.code == 0
    assert told.row["filesystems"] == ["/var/log", "/data", "/"]
    assert told.row["skipped"] == ["/boot/efi"]
    assert either_guest.calls == []
    assert not either_guest.synced
    assert not either_guest.run.exists()


def test_every_device_is_frozen_once(guest: FreezableGuest) -> None:
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
def test_what_cannot_be_is_told_at_once(guest: FreezableGuest, reason: str, command: str) -> None:
    IMPOSSIBLE[reason](guest)
    refused = guest.ask(command)
    assert (refused.code, refused.out) == (201, "")
    assert reason in refused.err
    assert guest.calls == []


def test_the_auto_thaw_has_to_be_later_than_the_hold(guest: FreezableGuest) -> None:
    refused = guest.ask("freeze", hold=10, thaw=14)
    assert refused.code == 201
    assert "thawSeconds has to be 5 more" in refused.err
