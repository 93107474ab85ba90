"""What the functions weigh: the layer's size, their cold imports and their memory."""

import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import cold_import
from benchmarks.cold_import import ColdImport
from sandbox.process import ROOT, Server

LAYER: Final = "StillpointLayer"
UNPACKED: Final = ROOT / "build" / "bench" / "layer"
BYTECODE: Final = "__pycache__"
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FunctionFootprint:
    """One function: its import against `import boto3` alone, and its peak memory in MB.

    `invoked_mb` is the peak after real invocations, or None for one that was not invoked.
    """

    cold_import_ratio: float
    cold_import_cpu_ms: float
    imported_mb: float
    invoked_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """The layer as it is uploaded and as it is unpacked (MB of 10^6 bytes), and each function.

    `boto3_cpu_ms` is the import of boto3 from the layer, `boto3_compiling_cpu_ms` the same without
    the bytecode that the layer brings.
    """

    layer_zip_mb: float
    layer_mb: float
    boto3_cpu_ms: float
    boto3_compiling_cpu_ms: float
    functions: Mapping[str, FunctionFootprint] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures, rounded to what they are worth."""
        return {
            "layer_zip_mb": round(self.layer_zip_mb, 2),
            "layer_mb": round(self.layer_mb, 1),
            "boto3_cpu_ms": round(self.boto3_cpu_ms),
            "boto3_compiling_cpu_ms": round(self.boto3_compiling_cpu_ms),
            "functions": {
                name: {key: _rounded(value) for key, value in asdict(each).items()}
                for name, each in self.functions.items()
            },
        }


def measure(build: Path, peaks: Mapping[str, float], *, repeats: int = 5) -> Footprint:
    """Return the footprint of a build; `build` is the folder that `sam build` made.

    `peaks` are the peak memories (MB) of invoked functions, by their logical ids. The layer is
    packed and unpacked again, so that nothing is measured but what would be uploaded.
    """
    archive = _packed(build / LAYER, UNPACKED.with_suffix(".zip"))
    size = _unpacked(archive, UNPACKED)
    layer = UNPACKED / "python"
    folders = {each.name: each for each in sorted(build.glob("*Function"))}
    imports = cold_import.measure(layer, folders, repeats=repeats)
    boto3 = imports.pop("boto3")
    for folder in [*layer.rglob(BYTECODE)]:
        shutil.rmtree(folder)
    compiling = cold_import.measure(layer, {}, repeats=repeats)["boto3"]
    return Footprint(
        layer_zip_mb=archive.stat().st_size / MEGABYTE,
        layer_mb=size / MEGABYTE,
        boto3_cpu_ms=boto3.cpu_ms,
        boto3_compiling_cpu_ms=compiling.cpu_ms,
        functions={
            _snake(name): _function(each, boto3, peaks.get(name)) for name, each in imports.items()
        },
    )


def invoked_peaks(server: Server, functions: Mapping[str, str]) -> dict[str, float]:
    """Return the peak memory (MB) of each function that a running sandbox has invoked.

    `functions` gives the logical id of each function's name. The processes are found by their
    environment, and only where the system shows it (Linux); elsewhere nothing is returned.
    """
    peaks: dict[str, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = _variables(folder)
            status = (folder / "status").read_text()
        except OSError:
            continue  # it has ended, or is somebody else's
        name = functions.get(variables.get("AWS_LAMBDA_FUNCTION_NAME", ""))
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        if name and found and variables.get("AWS_ENDPOINT_URL") == server.endpoint:
            peaks[name] = max(peaks.get(name, 0.0), int(found[1]) / 1024)
    return peaks


def _function(found: ColdImport, boto3: ColdImport, peak: float | None) -> FunctionFootprint:
    return FunctionFootprint(
        cold_import_ratio=found.cpu_ms / boto3.cpu_ms,
        cold_import_cpu_ms=found.cpu_ms,
        imported_mb=found.peak_mb,
        invoked_mb=peak,
    )


def _variables(process: Path) -> dict[str, str]:
    """Return the environment of a process; OSError if it may not be seen."""
    pairs = (process / "environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _packed(folder: Path, archive: Path) -> Path:
    """Pack a layer as the SAM CLI does, deflated, and return the archive."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packing:
        for each in sorted(folder.rglob("*")):
            packing.write(each, each.relative_to(folder))
    return archive


def _unpacked(archive: Path, folder: Path) -> int:
    """Unpack an archive into a fresh folder and return the bytes of its files."""
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        return sum(each.file_size for each in packed.infolist())


def _snake(name: str) -> str:
    """Return the name of a function's folder: PlanBackupsFunction becomes plan_backups."""
    words = re.findall("[A-Z][a-z]*", name.removesuffix("Function"))
    return "_".join(words).lower()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
