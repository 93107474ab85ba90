"""Write the figures of a report into docs/scale.md, and draw docs/scale.svg of its table.

The picture is drawn from the table in the document, so that a test holds the two together.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import limits, plot
from benchmarks.tables import Report, tables
from sandbox.process import ROOT

DOCUMENT: Final = ROOT / "docs" / "scale.md"
PICTURE: Final = DOCUMENT.with_suffix(".svg")


def update(report: Report, document: Path = DOCUMENT, picture: Path = PICTURE) -> None:
    """Put the tables of a report in their places, and draw the picture of the fleets.

    A table that the report does not have stays as it is.
    """
    text = document.read_text(encoding="utf-8")
    for table in tables(report):
        text = _replaced(text, table.name, table.markdown())
    document.write_text(text, encoding="utf-8")
    if "fleets" in report:
        picture.write_text(drawn(text), encoding="utf-8")


def drawn(text: str) -> str:
    """Return the picture of the fleets that the text of the document tells of."""
    return plot.draw(rows(text), most_median=limits.MOST_MEDIAN, most_p99=limits.MOST_P99)


def rows(text: str) -> Sequence[plot.Row]:
    """Return the fleets in the document's table."""
    lines = _place(text, "speed").splitlines()
    found = [[cell.strip(" s,") for cell in line.strip("|").split("|")] for line in lines[2:]]
    return [
        plot.Row(
            instances=int(size.replace(",", "")),
            captured_seconds=float(captured),
            bound_seconds=float(bound),
            median=float(median),
            p99=float(p99),
            worst=float(worst),
        )
        for size, captured, bound, _, median, p99, worst, *_ in found
    ]


def _place(text: str, name: str) -> str:
    """Return what stands in a table's place. Raises ValueError if the document has none."""
    found = _pattern(name).search(text)
    if found is None:
        raise ValueError(f"the document has no place for the table {name}")
    return found[2].strip()


def _replaced(text: str, name: str, content: str) -> str:
    """Return the text with other content in a table's place."""
    _place(text, name)
    return _pattern(name).sub(lambda found: f"{found[1]}\n{content}\n{found[3]}", text)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- bench: {name} -->)\n(.*?)(<!-- end -->)", re.DOTALL)
