"""The footprint: what is packed, what an import costs, and whose memory is whose."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from benchmarks import cold_import, footprint
from sandbox.process import SandboxError

if TYPE_CHECKING:
    from sandbox.process import Server

MEGABYTES = 40
SLEEPER = "import time; kept = bytearray(b'x') * 2**20 * {}; print(flush=True); time.sleep(60)"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a small build: a layer with bytecode, and a function."""
    monkeypatch.setattr(footprint, "UNPACKED", tmp_path / "unpacked")
    packages = tmp_path / "build" / "StillpointLayer" / "python"
    packages.mkdir(parents=True)
    (packages / "boto3.py").write_text("sum(range(200_000))\n")
    (packages / "__pycache__").mkdir()
    (packages / "__pycache__" / "old.pyc").write_bytes(b"\0" * 1000)
    function = tmp_path / "build" / "PlanBackupsFunction"
    function.mkdir()
    (function / "app.py").write_text("import boto3\nsum(range(2_000_000))\n")
    return tmp_path / "build"


@pytest.fixture
def invoked() -> Iterator[str]:
    """Return the endpoint of a sandbox with a process that looks like an invoked function."""
    endpoint = f"http://127.0.0.1:{os.getpid()}"
    variables = {"AWS_LAMBDA_FUNCTION_NAME": "stack-plan", "AWS_ENDPOINT_URL": endpoint}
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER.format(MEGABYTES)], env=variables, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield endpoint
        process.kill()


def test_the_footprint_names_functions_by_their_folders_and_counts_the_packed_layer(
    build: Path,
) -> None:
    found = footprint.measure(build, {"PlanBackupsFunction": 77.0}, repeats=1)
    function = found.functions["plan_backups"]
    assert set(found.functions) == {"plan_backups"}
    assert function.cold_import_ratio > 1
    assert function.invoked_mb == 77
    assert 5 < function.imported_mb < 60
    assert 0 < found.layer_zip_mb < found.layer_mb < 0.01
    assert found.to_json()["functions"]["plan_backups"]["invoked_mb"] == 77


def test_measuring_leaves_no_bytecode_in_the_build(build: Path) -> None:
    footprint.measure(build, {}, repeats=1)
    assert {each.name for each in build.rglob("*.pyc")} == {"old.pyc"}
    assert not list((build / "PlanBackupsFunction").rglob("__pycache__"))


def test_a_function_that_cannot_be_imported_is_named_with_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("")
    broken = tmp_path / "BrokenFunction"
    broken.mkdir()
    (broken / "app.py").write_text("raise RuntimeError('no such thing')\n")
    with pytest.raises(SandboxError, match=r"BrokenFunction cannot be imported: .*\n.*\n.*"):
        cold_import.measure(tmp_path, {"broken": broken}, repeats=1)


def test_peak_memory_is_that_of_the_process_and_not_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("")
    large = tmp_path / "LargeFunction"
    large.mkdir()
    (large / "app.py").write_text(f"kept = bytearray(b'x') * 2**20 * {MEGABYTES}\n")
    parent = bytearray(b"x") * 2**20 * 100
    found = cold_import.measure(tmp_path, {"large": large}, repeats=1)
    assert len(parent) > 2**20 * found["large"].peak_mb
    assert MEGABYTES <= found["large"].peak_mb - found["boto3"].peak_mb < MEGABYTES + 10


def test_invoked_functions_are_found_by_the_endpoint_of_their_sandbox(invoked: str) -> None:
    names = {"stack-plan": "PlanBackupsFunction"}
    here = cast("Server", SimpleNamespace(endpoint=invoked))
    elsewhere = cast("Server", SimpleNamespace(endpoint="http://127.0.0.1:1"))
    found = footprint.invoked_peaks(here, names)
    if Path("/proc/self/environ").exists():  # other systems show nothing of another process
        assert MEGABYTES <= found.pop("PlanBackupsFunction") < MEGABYTES + 40
    assert found == {}
    assert footprint.invoked_peaks(elsewhere, names) == {}
    assert footprint.invoked_peaks(here, {}) == {}
