"""What the runs came to: a table for people, and build/faults/report.json."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sandbox.faults.result import Result
from sandbox.process import ROOT

REPORT: Final = ROOT / "build" / "faults" / "report.json"
VIOLATED: Final = "VIOLATED"
LEGEND: Final = (
    "unharmed: every execution succeeded   protected: one failed, and there is a recovery point "
    "all the same   lost: there is none of this occurrence, and a person was told"
)


def summary(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """Return the report's document. `seconds` is how long it all took, on the wall."""
    return {
        "runs": len(results),
        "held": sum(each.held for each in results),
        "violations": [
            {
                "case": each.case.name,
                "seed": each.case.seed,
                "replay": replay(each),
                "violations": list(each.violations),
                "history": list(each.history),
            }
            for each in results
            if not each.held
        ],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(each.cpu_seconds for each in results), 1),
        "virtual_days": round(sum(each.virtual_seconds for each in results) / 86_400, 1),
        "results": [
            {
                "case": each.case.name,
                "seed": each.case.seed,
                "verdict": each.verdict if each.held else VIOLATED,
                "outcome": each.outcome,
                "told": list(each.told),
            }
            for each in results
        ],
    }


def replay(result: Result) -> str:
    """Return the command that plays a case again, with its history."""
    return f"python -m sandbox faults --only '{result.case.name}' --seed {result.case.seed}"


def write(document: dict[str, Any]) -> None:
    """Write the report."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def table(results: Iterable[Result]) -> list[str]:
    """Return the outcome of every pair of a point and a fault: a line for each point."""
    by_point: dict[str, list[Result]] = {}
    for each in results:
        by_point.setdefault(each.case.point, []).append(each)
    lines = [LEGEND, ""]
    for point, some in by_point.items():
        verdicts: dict[str, list[str]] = {}
        for each in some:
            verdicts.setdefault(each.verdict if each.held else VIOLATED, []).append(each.case.fault)
        lines.append(point)
        for verdict, faults in verdicts.items():
            shown = f"{len(faults)} seeds" if point == "walk" and verdict != VIOLATED else ""
            lines.append(f"    {verdict:9} {shown or ', '.join(faults)}")
    return lines
