"""The command line: what it prints, and errors in words."""

import os
import socket
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from sandbox import deploy, process
from sandbox.__main__ import main
from sandbox.tables import outcome_lines
from tests.sandbox.told import OUTCOME


def test_the_scenarios_are_listed_with_their_titles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--list"]) == 0
    assert "throttle " in capsys.readouterr().out


def test_an_unknown_scenario_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "flood"]) == 2
    assert "there is no scenario 'flood'" in capsys.readouterr().err


def test_a_run_needs_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "which scenario?" in capsys.readouterr().err


def test_a_port_in_use_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["up", "--port", str(port)]) == 2
    assert f"port {port} of this machine is in use" in capsys.readouterr().err


def test_a_missing_sam_cli_is_an_error_in_words(tmp_path: Path) -> None:
    with (
        mock.patch.dict(os.environ, {"SAM_CLI": str(tmp_path / "sam")}),
        mock.patch.object(deploy, "ROOT", tmp_path),
        pytest.raises(deploy.SamMissingError, match="the SAM CLI is missing"),
    ):
        deploy.sam()


def test_the_environment_that_is_printed_reaches_the_server_and_no_account() -> None:
    server = process.Server("http://127.0.0.1:1", mock.Mock(), Path("log"), Path("state"), 1)
    assert server.environment() == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": process.ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": process.SECRET,
        "AWS_DEFAULT_REGION": process.REGION,
    }


def test_what_was_built_is_known_by_its_sources(tmp_path: Path) -> None:
    project = deploy.Project(root=tmp_path)
    (tmp_path / "template.yaml").write_text("a")
    (tmp_path / "samconfig.toml").write_text("b")
    source = tmp_path / "functions" / "app.py"
    source.parent.mkdir()
    source.write_text("1")
    before = deploy._fingerprint(project)
    (source.parent / "__pycache__").mkdir()
    (source.parent / "__pycache__" / "app.pyc").write_bytes(b"x")
    assert deploy._fingerprint(project) == before
    source.write_text("2")
    assert deploy._fingerprint(project) != before


def test_outcomes_are_shown_in_aligned_columns() -> None:
    outcome = replace(
        OUTCOME,
        name="cache",
        method="none",
        consistency="crash",
        dirty_bytes=30_000_000,
        downtime_seconds=None,
        floor_seconds=None,
    )
    heading, row = outcome_lines([outcome])
    assert heading.index("page cache") == row.index("30.0 MB dirty")
