"""The tools behind `make`: finding Python, and environments that are made once and never half."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.environments import ROOT, STAMP, Environment, main

FIND_PYTHON = ROOT / "tools" / "find-python"


@pytest.fixture
def only_path(tmp_path: Path) -> Path:
    """A PATH that offers what a shell script needs, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    cat = shutil.which("cat")
    assert cat is not None
    (folder / "cat").symlink_to(cat)
    return folder


def find_python(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", FIND_PYTHON],
        env={"PATH": str(path), "HOME": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def place_python(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_a_missing_python_is_a_clear_message(only_path: Path) -> None:
    found = find_python(only_path)

    assert found.returncode == 1
    assert found.stdout == ""
    assert "Stillpoint needs Python 3.13, and none was found." in found.stderr
    assert "make PYTHON=/path/to/python3.13" in found.stderr


def test_another_version_of_python_is_passed_over(only_path: Path) -> None:
    place_python(only_path / "python3", "exit 0")  # runs, and does not call itself 3.13

    assert find_python(only_path).returncode == 1


@pytest.mark.parametrize("name", ["python3.13", "python3", "python"])
def test_python_is_found_under_any_of_its_names(only_path: Path, name: str) -> None:
    place_python(only_path / name, f'exec "{sys.executable}" "$@"')

    assert find_python(only_path).stdout == f"{sys.executable}\n"


def test_python_is_found_among_the_versions_of_pyenv(only_path: Path) -> None:
    python = only_path / ".pyenv" / "versions" / "3.13.0" / "bin" / "python3.13"
    place_python(python, f'exec "{sys.executable}" "$@"')

    assert find_python(only_path).stdout == f"{sys.executable}\n"


def test_the_caller_may_say_where_python_is(only_path: Path) -> None:
    assert find_python(only_path, PYTHON=sys.executable).stdout == f"{sys.executable}\n"


def test_a_python_without_venv_is_named_with_the_way_out(only_path: Path) -> None:
    crippled = only_path / "python3.13"
    place_python(
        crippled,
        f"""case "$*" in
            *ensurepip*) exit 1 ;;
            *) echo "{crippled}" ;;
        esac""",
    )

    found = find_python(only_path)

    assert found.returncode == 1
    assert f"{crippled} is Python 3.13 but cannot create virtual environments" in found.stderr


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment that needs nothing and does not exist yet."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n", encoding="utf-8")
    return Environment(tmp_path / "env", requirements)


def test_an_environment_is_made_once_until_its_requirements_change(
    environment: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{environment.folder}={environment.requirements}"]
    environment.folder.mkdir()
    left_behind = environment.folder / "left by an interrupted installation"
    left_behind.touch()

    assert main(arguments) == 0
    assert "Creating" in capfd.readouterr().out
    assert environment.is_current()
    assert not left_behind.exists()

    assert main(arguments) == 0
    assert capfd.readouterr().out == ""

    environment.requirements.write_text("# something else\n", encoding="utf-8")
    assert not environment.is_current()


def test_a_failed_installation_is_reported_and_not_taken_for_an_environment(
    environment: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    environment.requirements.write_text("a-requirement-without-hash==1.0\n", encoding="utf-8")

    assert main([f"{environment.folder}={environment.requirements}"]) == 1

    assert not (environment.folder / STAMP).exists()
    assert "could not be created" in capfd.readouterr().err


def test_an_argument_of_another_form_is_refused_in_words() -> None:
    with pytest.raises(SystemExit, match="is not FOLDER=REQUIREMENTS"):
        main([f"env={os.devnull}-missing"])
