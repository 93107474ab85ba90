"""`python -m sandbox faults`: the matrix, a sample of it, or one case again."""

import time
from collections.abc import Sequence
from typing import Final

from sandbox.faults import matrix, report, walks
from sandbox.faults.case import DEFAULT_SEED, Case
from sandbox.faults.matrix import Points
from sandbox.faults.result import Result
from sandbox.faults.workers import play_all
from sandbox.process import ROOT, SandboxError

WALKS: Final = 100
EVERY: Final = 50  # runs between two lines of progress


def main(
    *, only: str | None, seed: int, sample: bool, number_of_walks: int, processes: int | None
) -> int:
    """Play and report; the exit status is 1 if an invariant did not hold."""
    if only is not None:
        return _again(only, seed, processes)
    started = time.monotonic()
    bases = _play(matrix.base_cases(seed), processes)
    cases = all_cases(bases, seed)
    chosen = matrix.sample(cases) if sample else [*cases, *walks.walks(cases, 1, number_of_walks)]
    print(f"{len(bases)} ways through the cycle, {len(chosen)} runs to come", flush=True)
    results = bases + _play(chosen, processes)
    document = report.summary(results, time.monotonic() - started)
    report.write(document)
    for line in report.table(results):
        print(line)
    print(
        f"\n{document['held']} of {document['runs']} runs held, in {document['seconds']:.0f} s"
        f" ({document['virtual_days']:.0f} virtual days); {report.REPORT.relative_to(ROOT)}"
    )
    for each in results:
        if not each.held:
            print(f"\nVIOLATED {each.case.name}\n    " + "\n    ".join(each.violations))
            print(f"    again: {report.replay(each)}")
    return 0 if document["held"] == document["runs"] else 1


def all_cases(bases: Sequence[Result], seed: int) -> list[Case]:
    """Return every case of the matrix, given the runs that show the points."""
    found = {each.case.point: Points.of(each) for each in bases}
    return matrix.matrix(found, seed)


def _play(cases: Sequence[Case], processes: int | None) -> list[Result]:
    """Play cases with a word about it now and then; results come in the order of the cases."""
    order = {case.name: number for number, case in enumerate(cases)}
    results: list[Result] = []
    for result in play_all(cases, processes=processes):
        results.append(result)
        if not result.held:
            print(f"VIOLATED {result.case.name}: {result.violations[0][:200]}", flush=True)
        if len(results) % EVERY == 0:
            print(f"{len(results)} of {len(cases)}", flush=True)
    return sorted(results, key=lambda each: order[each.case.name])


def _again(name: str, seed: int, processes: int | None) -> int:
    """Play one case with its history."""
    case = find(name, seed, processes)
    [result] = play_all([case], history=True)
    for line in result.history:
        print(line)
    print(f"\n{case.name}, seed {case.seed}: {result.verdict}: {result.outcome}")
    for violation in result.violations:
        print(f"VIOLATED {violation}")
    return 0 if result.held else 1


def find(name: str, seed: int, processes: int | None) -> Case:
    """Return the case of a name. Raises SandboxError with words for a person."""
    alone = {case.name: case for case in matrix.base_cases(seed)}
    if name in alone:
        return alone[name]
    walk = name.startswith(f"{walks.POINT}:")
    bases = list(play_all(matrix.base_cases(DEFAULT_SEED if walk else seed), processes=processes))
    cases = all_cases(bases, DEFAULT_SEED if walk else seed)
    if walk:
        [case] = walks.walks(cases, int(name.partition(":")[2]), 1)
        return case
    known = {case.name: case for case in cases}
    if name not in known:
        point = name.partition(":")[0]
        near = [each for each in known if each.partition(":")[0] == point] or sorted(
            {each.partition(":")[0] for each in known}
        )
        raise SandboxError(f"there is no case {name!r}; there are: {', '.join(near)}")
    return known[name]
