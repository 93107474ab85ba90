"""The report as tables, for the console and for the document alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.tables import aligned

type Report = Mapping[str, Any]
type Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the name of its place in the document, what it shows, its cells."""

    name: str
    title: str
    headings: Row
    rows: Sequence[Row]

    def markdown(self) -> str:
        """Return the table in Markdown, numbers flush right."""
        rule = ("---", *("---:" for _ in self.headings[1:]))
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.headings, rule, *self.rows))

    def lines(self) -> list[str]:
        """Return the table as lines for a console."""
        return aligned([self.headings, *self.rows])


def tables(report: Report) -> Iterator[Table]:
    """Return the tables of what was measured."""
    if "fleets" in report:
        yield _speed(report["fleets"])
        yield _use(report["fleets"])
        yield _rates(report["fleets"][-1])
    if "history" in report:
        yield _history(report["history"])
    if "planner" in report:
        yield _planner(report["planner"])
    if "real_speed" in report:
        yield _policies(report["real_speed"])
        yield _agreement(report["real_speed"]["agreement"])
    if "footprint" in report:
        yield _layer(report["footprint"])
        yield _functions(report["footprint"])


def _speed(fleets: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        "speed",
        "Due at the same minute (virtual time, AMIs pending about 2 h)",
        (
            "instances",
            "all captured after",
            "bound",
            "time / bound",
            "downtime / floor: median",
            "p99",
            "worst",
            "failed or missed",
            "throttled calls",
        ),
        [
            (
                f"{fleet['instances']:,}",
                f"{fleet['captured_seconds']:.1f} s",
                f"{fleet['bound_seconds']:.1f} s",
                f"{fleet['bound_ratio']:.3f}",
                *(f"{fleet['downtime_ratio'][name]:.3f}" for name in ("median", "p99", "worst")),
                f"{fleet['failed'] + fleet['missed']}",
                f"{fleet['throttled_calls']:,}",
            )
            for fleet in fleets
        ],
    )


def _use(fleets: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        "use",
        "What a backup uses, and the most that there is at once",
        (
            "instances",
            "API calls a backup",
            "state transitions a backup",
            "USD a backup",
            "bytes of logs and metrics a backup",
            "instances in a backup at once",
            "executions at once",
            "invocations at once",
            "transitions in a second",
        ),
        [
            (
                f"{fleet['instances']:,}",
                f"{fleet['api_calls_per_backup']:.1f}",
                f"{fleet['transitions_per_backup']:.1f}",
                f"{fleet['usd_per_backup']['orchestration']:.5f}",
                f"{sum(fleet['bytes_per_backup'].values()):,}",
                *(f"{number:,}" for number in fleet["peak"].values()),
            )
            for fleet in fleets
        ],
    )


def _rates(fleet: Mapping[str, Any]) -> Table:
    return Table(
        "rates",
        f"What each of {fleet['instances']:,} backups draws on EC2's buckets",
        ("action", "bucket", "refill a second", "calls a backup", "so many backups a second"),
        [
            (
                f"`{row['action']}`",
                f"{row['size']:g}",
                f"{row['refill']:g}",
                f"{row['calls_per_backup']:g}",
                f"{row['backups_per_second']:.1f}",
            )
            for row in fleet["rates"]
        ],
    )


def _history(history: Mapping[str, Any]) -> Table:
    low, high = (seconds / 3600 for seconds in history["image_seconds"])
    return Table(
        "history",
        f"A backup whose AMI is pending for {low:.1f} to {high:.1f} h",
        ("history events at most", "of", "state transitions at most", "USD a backup"),
        [
            (
                f"{history['events_most']:,}",
                f"{history['events_limit']:,}",
                f"{history['transitions_most']:,}",
                f"{history['orchestration_usd']:.5f}",
            )
        ],
    )


def _planner(planner: Mapping[str, Any]) -> Table:
    return Table(
        "planner",
        "A tick of the planner (processor time of this machine)",
        (
            "instances",
            "usual tick",
            "for one instance",
            "everything due",
            "first of a process",
            "on Lambda at most",
            "peak memory",
            "bytes logged",
        ),
        [
            (
                f"{row['instances']:,}",
                f"{row['usual_ms']:,.0f} ms",
                f"{row['usual_ms'] / row['instances']:.3f} ms",
                f"{row['due_ms']:,.0f} ms",
                f"{row['cold_ms']:,.0f} ms",
                f"{row['lambda_seconds']:.1f} s",
                f"{row['peak_mb']:.0f} MB",
                f"{row['logged']:,}",
            )
            for row in planner["ticks"]
        ],
    )


def _policies(report: Mapping[str, Any]) -> Table:
    return Table(
        "policies",
        f"{report['instances']} instances at real speed: downtime / floor",
        ("started again when", "median", "worst", "dirty images", "succeeded"),
        [
            (
                name,
                f"{run['median']:.3f}",
                f"{run['worst']:.3f}",
                f"{run['dirty_images']} of {run['backups']}",
                f"{run['succeeded']} of {run['backups']}",
            )
            for name, run in report["policies"].items()
        ],
    )


def _agreement(found: Mapping[str, Any]) -> Table:
    return Table(
        "agreement",
        "Downtime simulated, against that at real speed",
        ("instances", "difference of the means", "largest of one instance", "beyond 5 %"),
        [
            (
                f"{found['instances']}",
                f"{100 * found['mean']:+.2f} %",
                f"{100 * found['worst']:.2f} %",
                f"{found['beyond']}",
            )
        ],
    )


def _layer(footprint: Mapping[str, Any]) -> Table:
    return Table(
        "layer",
        "The layer",
        ("zip", "unpacked", "`import boto3`", "the same without the layer's bytecode"),
        [
            (
                f"{footprint['layer_zip_mb']:.1f} MB",
                f"{footprint['layer_mb']:.1f} MB",
                f"{footprint['boto3_cpu_ms']} ms",
                f"{footprint['boto3_compiling_cpu_ms']} ms",
            )
        ],
    )


def _functions(footprint: Mapping[str, Any]) -> Table:
    return Table(
        "functions",
        "Cold imports (processor time of this machine) and peak memory",
        ("function", "import", "divided by `import boto3`", "memory then", "after invocations"),
        [
            (
                f"`{name}`",
                f"{each['cold_import_cpu_ms']:.0f} ms",
                f"{each['cold_import_ratio']:.2f}",
                f"{each['imported_mb']:.0f} MB",
                "-" if each["invoked_mb"] is None else f"{each['invoked_mb']:.0f} MB",
            )
            for name, each in footprint["functions"].items()
        ],
    )
