"""The sample document for PostgreSQL, run for real with a PostgreSQL that does as it is told."""

from pathlib import Path

import pytest

from tests.documents.guest import Guest, read_document

MARKER = "/var/lib/stillpoint-postgresql"
EXECUTION_ID = "0b5c8a52-35f9-5f7c-9df9-1de4f9d2a5a1"
PSQL = """
for sql; do :; done
echo "$sql" | head -1 >>"$STATE/calls"
case "$*" in *--no-psqlrc*ON_ERROR_STOP=1*--dbname*) ;; *) exit 64 ;; esac
if [ -e "$STATE/down" ]; then echo "connection refused" >&2; exit 2; fi
if [ -e "$STATE/starting" ]; then rm "$STATE/starting"; echo "starting up" >&2; exit 2; fi
case $sql in
  'SHOW fsync') cat "$STATE/fsync" ;;
  'SELECT rolsuper'*) [ ! -e "$STATE/mute" ] || exit 1; cat "$STATE/may" ;;
  CHECKPOINT)
    [ ! -e "$STATE/hang" ] || exec sleep 30
    [ ! -e "$STATE/full" ] || { echo "No space left on device" >&2; exit 1; } ;;
  'SELECT 1') echo 1 ;;
  *) exit 65 ;;
esac
"""
# It takes the options of the real one away, and runs the rest.
RUNUSER = """
[ "$1 $2 $3" = "-u postgres --" ] || exit 66
shift 3
exec "$@"
"""


@pytest.fixture(params=["sh", "bash"])
def guest(tmp_path: Path, request: pytest.FixtureRequest) -> Guest:
    made = Guest(
        tmp_path,
        read_document("docs/scripts/postgresql.yaml"),
        (MARKER,),
        {"answer_seconds=60": "answer_seconds=1", "checkpoint_seconds=90": "checkpoint_seconds=1"},
        shell=request.param,
    )
    made.provide("psql", PSQL)
    made.provide("runuser", RUNUSER)
    made.provide("sync", 'echo sync >>"$STATE/calls"; [ ! -e "$STATE/sync-fails" ]\n')
    made.set("fsync", "on\n")
    made.set("may", "t\n")
    return made


def marker(guest: Guest) -> Path:
    return guest.path(MARKER) / "pre-script"


def test_the_pre_script_writes_a_checkpoint_and_the_post_script_waits_for_an_answer(
    guest: Guest,
) -> None:
    before = guest.run("pre-script", executionId=EXECUTION_ID)

    assert (before.code, before.errors) == (0, "")
    assert guest.calls[-2:] == ["CHECKPOINT", "sync"]
    assert marker(guest).read_text() == f"{EXECUTION_ID}\n"

    guest.set("starting")
    after = guest.run("post-script", executionId=EXECUTION_ID)

    assert (after.code, after.errors) == (0, "")
    assert guest.calls[-2:] == ["SELECT 1", "SELECT 1"]
    assert not marker(guest).exists()


def test_a_dry_run_changes_nothing(guest: Guest) -> None:
    done = guest.run("dry-run")

    assert (done.code, done.errors) == (0, "")
    assert "Nothing was changed" in done.output
    assert not marker(guest).parent.exists()
    assert "CHECKPOINT" not in guest.calls
    assert "sync" not in guest.calls


@pytest.mark.parametrize("command", ["dry-run", "pre-script"])
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("down", "", "PostgreSQL does not answer"),
        ("fsync", "off\n", "fsync is off"),
        ("may", "f\n", "grant it the role pg_checkpoint"),
        ("mute", "", "does not tell what its user may do"),
    ],
)
def test_nothing_is_done_while_postgresql_is_not_ready(
    guest: Guest, command: str, name: str, text: str, words: str
) -> None:
    guest.set(name, text)

    done = guest.run(command)

    assert done.code == 206
    assert words in done.errors
    assert "CHECKPOINT" not in guest.calls
    assert not marker(guest).exists()


@pytest.mark.parametrize("name", ["hang", "full", "sync-fails"])
def test_a_pre_script_that_fails_leaves_no_mark(guest: Guest, name: str) -> None:
    assert guest.run("pre-script").code == 0
    guest.set(name)

    assert guest.run("pre-script").code == 201
    assert not marker(guest).exists()
    assert guest.run("post-script").code == 205


def test_a_post_script_without_a_pre_script_is_told_so(guest: Guest) -> None:
    done = guest.run("post-script")

    assert done.code == 205
    assert "No pre-script has succeeded" in done.errors


def test_a_postgresql_that_does_not_come_back_fails_the_post_script(guest: Guest) -> None:
    guest.run("pre-script")
    guest.set("down")

    done = guest.run("post-script")

    assert done.code == 202
    assert "PostgreSQL does not answer: connection refused" in done.errors
    guest.unset("down")
    assert guest.run("post-script").code == 0


def test_a_post_script_that_never_came_does_not_hold_up_the_next_backup(guest: Guest) -> None:
    guest.run("pre-script")

    again = guest.run("pre-script", executionId=EXECUTION_ID)

    assert again.code == 0
    assert "has not come" in again.output
    assert marker(guest).read_text() == f"{EXECUTION_ID}\n"


def test_a_mark_that_cannot_be_made_fails_the_pre_script(guest: Guest) -> None:
    guest.path("/var/lib").mkdir(parents=True)
    guest.path(MARKER).write_text("a file in the way")

    done = guest.run("pre-script")

    assert done.code == 201
    assert "CHECKPOINT" not in guest.calls
