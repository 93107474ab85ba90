"""The sample document for MySQL, run for real with a MySQL that does as it is told."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.guest import Guest, read_document

RUN = "/run/stillpoint-mysql"
MARKER = "/var/lib/stillpoint-mysql"
BOOT = "/proc/sys/kernel/random/boot_id"
EXECUTION_ID = "0b5c8a52-35f9-5f7c-9df9-1de4f9d2a5a1"
LOCK = (
    "SET SESSION lock_wait_timeout = 30; FLUSH TABLES WITH READ LOCK;"
    " SELECT CONCAT('locked ', CONNECTION_ID()); DO SLEEP(300)"
)
GRANTS = "GRANT SELECT, RELOAD, SHUTDOWN ON *.* TO `root`@`localhost` WITH GRANT OPTION\n"
# `locked` is there while a session has the lock. A session ends as the server ends it: with an
# error for its client, unless its sleep was over.
MYSQL = """
for sql; do :; done
echo "$sql" >>"$STATE/calls"
case "$*" in *--skip-reconnect*--unbuffered*--execute*) ;; *) exit 64 ;; esac
[ "$HOME" = ~root ] && [ -n "${HOME%%~*}" ] || exit 65
if [ -e "$STATE/down" ]; then echo "ERROR 2002: no connection" >&2; exit 1; fi
if [ -e "$STATE/starting" ]; then rm "$STATE/starting"; echo "ERROR 2002: starting" >&2; exit 1; fi
case $sql in
  'SELECT 1') echo 1 ;;
  'SHOW GRANTS') cat "$STATE/grants" ;;
  'KILL 42') [ -e "$STATE/locked" ] || exit 1; kill "$(cat "$STATE/session")" ;;
  *'FLUSH TABLES WITH READ LOCK'*)
    echo "$$" >"$STATE/session"
    if [ -e "$STATE/busy" ]; then echo "ERROR 1205: Lock wait timeout exceeded" >&2; exit 1; fi
    if [ -e "$STATE/hang" ]; then exec sleep 30; fi
    seconds=${sql##*SLEEP(}
    sleep "${seconds%)}" &
    sleeper=$!
    trap 'rm "$STATE/locked"; kill "$sleeper"; echo "ERROR 2013: Lost connection" >&2; exit 1' TERM
    touch "$STATE/locked"
    echo "locked 42"
    wait "$sleeper"
    rm "$STATE/locked" ;;
  *) exit 66 ;;
esac
"""


@pytest.fixture(params=["sh", "bash"])
def guest(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Guest]:
    made = Guest(
        tmp_path,
        read_document("docs/scripts/mysql.yaml"),
        (RUN, MARKER, BOOT),
        {
            "answer_seconds=60": "answer_seconds=1",
            "lock_seconds + 15": "1",
            "release_seconds=15": "release_seconds=2",
        },
        shell=request.param,
    )
    made.provide("mysql", MYSQL)
    made.provide("sync", 'echo sync >>"$STATE/calls"; [ ! -e "$STATE/sync-fails" ]\n')
    made.set("grants", GRANTS)
    made.path(BOOT).parent.mkdir(parents=True)
    made.path(BOOT).write_text("first\n")
    yield made
    made.kill_session("session")


def marker(guest: Guest) -> Path:
    return guest.path(MARKER) / "pre-script"


def is_locked(guest: Guest) -> bool:
    return (guest.state / "locked").exists()


def start_again(guest: Guest) -> None:
    """Stop the machine and start it again, with all that belongs to it."""
    if is_locked(guest):
        guest.kill_session("session")
        guest.unset("locked")
    for file in guest.path(RUN).iterdir():
        file.unlink()
    guest.path(RUN).rmdir()
    guest.path(BOOT).write_text("second\n")


def wait_until_over(guest: Guest) -> None:
    """Wait until the session with the lock has ended, and its end was noted."""
    until = time.monotonic() + 20
    while not (guest.path(RUN) / "ended").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_lock_is_held_from_the_pre_script_to_the_post_script(guest: Guest) -> None:
    before = guest.run("pre-script", executionId=EXECUTION_ID)

    assert (before.code, before.errors) == (0, "")
    assert is_locked(guest)
    assert marker(guest).read_text() == f"{EXECUTION_ID}\nfirst\n"
    assert guest.calls[-2:] == [LOCK, "sync"]

    after = guest.run("post-script", executionId=EXECUTION_ID)

    assert (after.code, after.errors) == (0, "")
    assert guest.calls[-2:] == ["KILL 42", "SELECT 1"]
    assert not is_locked(guest)
    assert not marker(guest).exists()


def test_the_end_of_the_lock_is_asked_for_again_if_the_server_does_not_answer(
    guest: Guest,
) -> None:
    guest.run("pre-script")
    guest.set("starting")

    done = guest.run("post-script")

    assert done.code == 0
    assert "The session 42 could not be ended" in done.errors
    assert not is_locked(guest)


def test_a_stop_ends_the_lock_and_the_post_script_waits_for_the_server(guest: Guest) -> None:
    guest.run("pre-script")
    start_again(guest)
    guest.set("starting")

    done = guest.run("post-script")

    assert (done.code, done.errors) == (0, "")
    assert guest.calls[-2:] == ["SELECT 1", "SELECT 1"]
    assert guest.run("pre-script").code == 0


def test_a_lock_never_outlives_its_time(guest: Guest) -> None:
    assert guest.run("pre-script", holdSeconds="1").code == 0
    wait_until_over(guest)

    done = guest.run("post-script")

    assert not is_locked(guest)
    assert done.code == 203
    assert "had ended before the post-script came" in done.errors
    assert guest.run("post-script").code == 205


def test_a_lock_that_was_over_before_the_stop_is_told_after_it(guest: Guest) -> None:
    guest.run("pre-script", holdSeconds="1")
    wait_until_over(guest)
    start_again(guest)

    assert guest.run("post-script").code == 203


def test_a_session_that_was_killed_is_told(guest: Guest) -> None:
    guest.run("pre-script")
    guest.kill_session("session")

    assert guest.run("post-script").code == 203


def test_a_second_pre_script_does_not_touch_the_lock_of_the_first(guest: Guest) -> None:
    guest.run("pre-script", executionId=EXECUTION_ID)

    again = guest.run("pre-script")

    assert again.code == 204
    assert EXECUTION_ID in again.errors
    assert is_locked(guest)
    assert guest.run("post-script").code == 0


def test_a_post_script_without_a_pre_script_is_told_so(guest: Guest) -> None:
    assert guest.run("post-script").code == 205
    guest.run("pre-script")
    guest.run("post-script")
    assert guest.run("post-script").code == 205


def test_a_mark_from_before_a_stop_does_not_hold_up_the_next_backup(guest: Guest) -> None:
    guest.run("pre-script", executionId=EXECUTION_ID)
    start_again(guest)

    assert guest.run("pre-script").code == 0
    assert marker(guest).read_text() == "None\nsecond\n"
    assert guest.run("post-script").code == 0


def test_a_dry_run_changes_nothing(guest: Guest) -> None:
    done = guest.run("dry-run")

    assert (done.code, done.errors) == (0, "")
    assert "Nothing was changed" in done.output
    assert guest.calls == ["SHOW GRANTS"]
    assert not guest.path(RUN).exists()
    assert not marker(guest).parent.exists()


def test_a_dry_run_leaves_a_lock_alone(guest: Guest) -> None:
    guest.run("pre-script")
    assert guest.run("dry-run").code == 0
    assert is_locked(guest)
    assert guest.run("post-script").code == 0


@pytest.mark.parametrize("command", ["dry-run", "pre-script"])
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("down", "", "The server does not answer"),
        ("grants", "GRANT USAGE ON *.* TO `root`@`localhost`\n", "grant it RELOAD"),
        ("grants", "GRANT ALL PRIVILEGES ON `shop`.* TO `root`@`localhost`\n", "grant it RELOAD"),
    ],
)
def test_nothing_is_done_while_the_server_is_not_ready(
    guest: Guest, command: str, name: str, text: str, words: str
) -> None:
    guest.set(name, text)

    done = guest.run(command)

    assert done.code == 206
    assert words in done.errors
    assert not guest.path(RUN).exists()


def test_a_lock_that_is_not_given_fails_the_pre_script(guest: Guest) -> None:
    guest.set("busy")

    done = guest.run("pre-script")

    assert done.code == 201
    assert "Lock wait timeout exceeded" in done.errors
    assert not marker(guest).exists()
    guest.unset("busy")
    assert guest.run("pre-script").code == 0


def test_a_lock_that_comes_too_late_is_given_up(guest: Guest) -> None:
    guest.set("hang")

    done = guest.run("pre-script")

    assert done.code == 201
    assert "was not given in time" in done.errors
    assert not marker(guest).exists()
    guest.unset("hang")
    assert guest.run("pre-script").code == 0


def test_a_pre_script_that_fails_leaves_no_lock(guest: Guest) -> None:
    guest.set("sync-fails")

    assert guest.run("pre-script").code == 201
    assert guest.run("post-script").code == 205
    guest.unset("sync-fails")
    assert guest.run("pre-script").code == 0  # the first lock is gone: it would be a 204


def test_a_session_that_cannot_be_ended_is_told_and_ends_by_itself(guest: Guest) -> None:
    guest.run("pre-script", holdSeconds="60")
    guest.set("down")

    done = guest.run("post-script")

    assert done.code == 202
    assert "The lock is still held. It ends by itself" in done.errors
    guest.unset("down")
    assert guest.run("post-script").code == 0


def test_a_server_that_does_not_come_back_fails_the_post_script(guest: Guest) -> None:
    guest.run("pre-script")
    start_again(guest)
    guest.set("down")

    done = guest.run("post-script")

    assert done.code == 202
    assert "The server does not answer: ERROR 2002" in done.errors
