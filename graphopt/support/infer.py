"""From verdicts on probes to rows: under which conditions a vendor takes an operator, version by version.

For each operator:
1. nodes on nothing but constants are set apart: a toolchain computes them ahead of time, whatever its target can do,
   so what holds for them says nothing of the others; they become rows with status "folded", or none;
2. its versions are cut into runs whose core cases got the same answers; a run becomes a row;
3. what was measured at other versions counts as evidence, too, unless the run's own probes say otherwise;
4. conditions that separate the taken probes from the refused ones are found (`conditions`); a refused probe that
   cannot be told from a taken one is listed as doubtful;
5. an operator that no probe of the run got through is a row with status "unsupported".

A crash, a hang and a wrong result count as refusals, with their effect noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from graphopt.support.conditions import conditions, quoted
from graphopt.support.facts import FOLDABLE, folds
from graphopt.support.predicate import Facts
from graphopt.support.result import Result as Result
from graphopt.support.table import Row, Verdict

_LAYOUT: Final = frozenset(
    {"transpose", "reshape", "shuffle", "constant", "cast", "convert", "identity", "quantize", "dequantize", "noop"}
)
_SURE: Final = 4
"""How many times as many alike probes must be taken as refused for the refused ones to count as exceptions."""


def rows(results: Iterable[Result], *, ahead: bool = True) -> list[Row]:
    """All rows that the results support, sorted by operator and version.

    Args:
        results: the evidence.
        ahead: whether the toolchain computes anything ahead of time; where it does not, a node on constants is a node
            like any other.
    """
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        grouped.setdefault((result.domain, result.op_type), []).append(result)
    return [row for _, group in sorted(grouped.items()) for row in _rows(group, ahead=ahead)]


def _rows(group: Sequence[Result], *, ahead: bool) -> list[Row]:
    """The rows of one operator."""
    folded = [result for result in group if ahead and folds(result.op_type, result.facts)]
    made = [_row(run, _elsewhere(run, folded), folded=True) for run in runs(folded)]
    found = [row for row in made if row.status != "unsupported"]
    computed = [result for result in group if not (found and folds(result.op_type, result.facts))]
    return [*(_row(run, _elsewhere(run, computed)) for run in runs(computed)), *found]


def runs(group: Sequence[Result]) -> list[list[Result]]:
    """Cut one operator's results into runs of neighboring versions whose shared cases got the same answers.

    A version that was asked no core case joins the run before it, or the first one.
    """
    if not group:
        return []
    asked = {result.since for result in group if result.core} or {result.since for result in group}
    found: list[list[Result]] = []
    early: list[Result] = []
    for version in sorted({result.since for result in group}):
        here = [result for result in group if result.since == version]
        if version not in asked:
            (found[-1] if found else early).extend(here)
            continue
        answers = {result.label: result.effect is None for result in here}
        before = {result.label: result.effect is None for result in found[-1]} if found else {}
        shared = answers.keys() & before.keys()
        if shared and all(answers[label] == before[label] for label in shared):
            found[-1] += here
        else:
            found.append(here)
    found[0] += early
    return found


def _elsewhere(run: Sequence[Result], group: Sequence[Result]) -> list[Result]:
    """Results of the operator's other versions that the run's own do not contradict."""
    own = {result.label: result.effect is None for result in run}
    versions = {result.since for result in run}
    return [
        other
        for other in group
        if other.since not in versions
        and own.get(other.label, other.effect is None) == (other.effect is None)
        and not any(
            (result.effect is None) != (other.effect is None) and _alike(result.facts, other.facts) for result in run
        )
    ]


def _row(results: Sequence[Result], elsewhere: Sequence[Result], *, folded: bool = False) -> Row:
    own_refused = [result for result in results if result.effect is not None]
    own_taken = _telling([result for result in results if result.effect is None], own_refused)
    first = results[0]
    since = (min(result.since for result in results), max(result.since for result in results))
    if not own_taken:
        plainest = next((result for result in own_refused if result.core), own_refused[0])
        return Row(
            op_type=first.op_type,
            domain=first.domain,
            since=since,
            status="unsupported",
            verdict=_verdict(own_refused),
            effect=plainest.effect,
            says=plainest.says,
            probes=quoted([plainest, *own_refused]),
            measured=len(results),
        )
    refused = [*own_refused, *(result for result in elsewhere if result.effect is not None)]
    taken = [*own_taken, *_telling([result for result in elsewhere if result.effect is None], refused)]
    found, doubtful = conditions(taken, refused, {FOLDABLE} if folded else None)
    base = next((result for result in own_taken if result.core), own_taken[0])
    return Row(
        op_type=first.op_type,
        domain=first.domain,
        since=since,
        status="folded" if folded else _status(base),
        verdict=_verdict(own_taken),
        precision=Counter(result.precision for result in own_taken).most_common(1)[0][0],
        realized_as=() if folded else base.realized_as,
        require=tuple(found),
        probes=quoted([base, *own_taken]),
        measured=len(results),
        doubtful=tuple(result.id for result in doubtful if result.since in range(since[0], since[1] + 1)),
    )


def _telling(taken: Sequence[Result], refused: Sequence[Result]) -> list[Result]:
    """Taken probes without those that no fact tells from a refused one: luck there promises nothing elsewhere.

    Where alike probes are nearly all taken, the refused ones are the exceptions. Core cases stay unless most alike
    probes are refused, since an operator's base form may fail at a size that no fact tells; and one of the operator
    tests, with its odd values, says nothing against an ordinary form when it is merely rejected.
    """
    against = [result for result in refused if result.effect != "rejected" or not result.label.startswith("suite:")]
    alike = Counter(frozenset(result.facts.items()) for result in taken)

    def tells(result: Result) -> bool:
        others = sum(_alike(result.facts, other.facts) for other in against)
        same = alike[frozenset(result.facts.items())]
        return same >= others if result.core else same >= _SURE * others

    return [result for result in taken if tells(result)]


def _alike(a: Facts, b: Facts) -> bool:
    return all(a[name] == b[name] for name in a.keys() & b.keys())


def _verdict(results: Sequence[Result]) -> Verdict:
    numerics = {result.numerics for result in results}
    return Verdict(
        claimed=_common([result.claimed for result in results]),
        compiled=_common([result.compiled for result in results]),
        ran=_common([result.ran for result in results]),
        numerics="fail" if "fail" in numerics else "pass" if "pass" in numerics else None,
    )


def _common(answers: Sequence[bool | None]) -> bool | None:
    known = {answer for answer in answers if answer is not None}
    return None if not known else all(known)


def _status(base: Result) -> Literal["native", "emulated"]:
    working = {op.lower() for op in base.realized_as} - _LAYOUT
    return "emulated" if len(working) > 1 else "native"
