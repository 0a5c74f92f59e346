"""From verdicts on probes to rows: which declarative conditions separate what a vendor takes from what it refuses.

For each operator:
1. its versions are cut into runs whose core cases got the same answers; a run becomes a row;
2. a fact is limited to the values that some taken probe had (numbers and words never seen are not promised);
3. a refused probe that breaks no such limit is explained by the smallest combination of values that no taken probe
   has, found greedily; one that cannot be told from a taken probe is listed as doubtful;
4. an operator that no probe got through is a row with status "unsupported".

A crash, a hang and a wrong result count as refusals, with their effect noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from graphopt.support.predicate import UNKNOWN, All, Fact, Facts, Is, Not
from graphopt.support.table import Condition, Effect, Row, Verdict

_LAYOUT: Final = frozenset(
    {"transpose", "reshape", "shuffle", "constant", "cast", "convert", "identity", "quantize", "dequantize", "noop"}
)
_DOMAINS: Final[Mapping[str, tuple[Fact, ...]]] = {
    "qdq.bias": ("none", "int32"),
    "attr.auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "attr.strides": ("1", "equal", "unequal"),
    "attr.dilations": ("1", "equal", "unequal"),
    "attr.pads": ("zero", "symmetric", "asymmetric", "wide"),
    "attr.group": ("1", "grouped", "depthwise"),
    "attr.axis": ("first", "channel", "inner", "last"),
    "broadcast": ("same", "scalar", "channel", "trailing", "one-sided", "mutual"),
    **{f"attr.{name}": (0, 1) for name in ("ceil_mode", "count_include_pad", "keepdims", "transA", "transB")},
}
"""All values of facts that have few."""
_FEW: Final = 4
"""How many probe ids a condition or a row quotes."""


@dataclass(frozen=True)
class Result:
    """A probe and the vendor's answer.

    Attributes:
        id, op_type, domain, since, core, facts: the probe's.
        claimed, compiled, ran, numerics: the four answers; None where not measured.
        effect: None for a probe that was taken, else what happened.
        says: the vendor's words.
        realized_as: the vendor's ops.
        precision: at which precision it executed, "" where not known.
    """

    id: str
    op_type: str
    domain: str
    since: int
    core: bool
    facts: Mapping[str, Fact]
    claimed: bool | None = None
    compiled: bool | None = None
    ran: bool | None = None
    numerics: Literal["pass", "fail"] | None = None
    effect: Effect | None = None
    says: str = ""
    realized_as: tuple[str, ...] = ()
    precision: str = ""

    @property
    def label(self) -> str:
        """What is special about the probe, without operator and version."""
        return self.id.partition("/")[2]


def rows(results: Iterable[Result]) -> list[Row]:
    """All rows that the results support, sorted by operator and version."""
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        grouped.setdefault((result.domain, result.op_type), []).append(result)
    return [_row(run) for _, group in sorted(grouped.items()) for run in runs(group)]


def runs(group: Sequence[Result]) -> list[list[Result]]:
    """Cut one operator's results into runs of neighboring versions whose shared cases got the same answers."""
    found: list[list[Result]] = []
    for version in sorted({result.since for result in group}):
        here = [result for result in group if result.since == version]
        answers = {result.label: result.effect is None for result in here}
        before = {result.label: result.effect is None for result in found[-1]} if found else {}
        shared = answers.keys() & before.keys()
        if shared and all(answers[label] == before[label] for label in shared):
            found[-1] += here
        else:
            found.append(here)
    return found


def _row(results: Sequence[Result]) -> Row:
    refused = [result for result in results if result.effect is not None]
    taken = _telling([result for result in results if result.effect is None], refused)
    first = results[0]
    since = (min(result.since for result in results), max(result.since for result in results))
    if not taken:
        plainest = next((result for result in refused if result.core), refused[0])
        return Row(
            op_type=first.op_type,
            domain=first.domain,
            since=since,
            status="unsupported",
            verdict=_verdict(refused),
            effect=plainest.effect,
            says=plainest.says,
            probes=_quoted([plainest, *refused]),
            measured=len(results),
        )
    conditions, doubtful = _conditions(taken, refused)
    base = next((result for result in taken if result.core), taken[0])
    return Row(
        op_type=first.op_type,
        domain=first.domain,
        since=since,
        status=_status(base),
        verdict=_verdict(taken),
        precision=Counter(result.precision for result in taken).most_common(1)[0][0],
        realized_as=base.realized_as,
        require=tuple(conditions),
        probes=_quoted([base, *taken]),
        measured=len(results),
        doubtful=tuple(result.id for result in doubtful),
    )


def _telling(taken: Sequence[Result], refused: Sequence[Result]) -> list[Result]:
    """Taken probes without those that no fact tells from a refused one: luck there promises nothing elsewhere.

    Core cases stay, since an operator's base form may fail at a size that no fact tells; and one of the operator tests,
    with its odd values, says nothing against an ordinary form when it is merely rejected.
    """
    against = [result for result in refused if result.effect != "rejected" or not result.label.startswith("suite:")]

    def alike(a: Facts, b: Facts) -> bool:
        return all(a[name] == b[name] for name in a.keys() & b.keys())

    return [result for result in taken if result.core or not any(alike(result.facts, other.facts) for other in against)]


def _conditions(taken: Sequence[Result], refused: Sequence[Result]) -> tuple[list[Condition], list[Result]]:
    names = sorted({name for result in (*taken, *refused) for name in result.facts})
    limits: dict[str, Is] = {}
    for name in names:
        seen = {result.facts[name] for result in taken if name in result.facts} - {UNKNOWN}
        if seen and not _everything(name, seen):
            limits[name] = Is.model_validate({"fact": name, "in": sorted(seen, key=lambda v: (str(type(v)), str(v)))})
    broken = {
        result.id: [name for name, must in limits.items() if must.holds(result.facts) is False] for result in refused
    }
    conditions = []
    for name, must in limits.items():
        # A probe that breaks this limit alone shows what the limit is for; one that breaks several may show another.
        guilty = [result for result in refused if broken[result.id] == [name]]
        guilty = guilty or [result for result in refused if name in broken[result.id]]
        conditions.append(_condition(must, guilty))
    left = [result for result in refused if not broken[result.id]]
    combinations, doubtful = _combinations(taken, left)
    return conditions + combinations, doubtful


def _combinations(taken: Sequence[Result], left: Sequence[Result]) -> tuple[list[Condition], list[Result]]:
    found: list[Condition] = []
    doubtful: list[Result] = []
    waiting = list(left)
    while waiting:
        probe = waiting[0]
        values = _separate(probe, taken, waiting)
        if values is None:
            doubtful.append(waiting.pop(0))
            continue
        parts = [{"fact": name, "in": [value]} for name, value in values.items()]
        forbidden = All.model_validate({"all": parts})
        guilty = [
            result for result in waiting if forbidden.holds(result.facts) and values.keys() <= result.facts.keys()
        ]
        found.append(_condition(Not.model_validate({"not": forbidden}), guilty))
        waiting = [result for result in waiting if result not in guilty]
    return found, doubtful


def _separate(probe: Result, taken: Sequence[Result], others: Sequence[Result]) -> dict[str, Fact] | None:
    """The fewest values of a refused probe, greedily, that no taken probe has together; None where there are none."""
    chosen: dict[str, Fact] = {}
    rivals = list(taken)
    while rivals:

        def left(name: str, rivals: Sequence[Result] = rivals) -> tuple[int, int, str]:
            value = probe.facts[name]
            alike = sum(1 for other in others if name in other.facts and other.facts[name] == value)
            return sum(_has(rival, name, value) for rival in rivals), -alike, name

        best = min((left(name) for name in probe.facts if name not in chosen), default=None)
        if best is None or best[0] == len(rivals):
            return None
        chosen[best[2]] = probe.facts[best[2]]
        rivals = [rival for rival in rivals if _has(rival, best[2], probe.facts[best[2]])]
    for name in list(chosen):  # a value chosen early may be needless now
        rest = {other: value for other, value in chosen.items() if other != name}
        if rest and not any(all(_has(rival, other, value) for other, value in rest.items()) for rival in taken):
            chosen = rest
    return chosen


def _has(result: Result, name: str, value: Fact) -> bool:
    # a version that lacks the fact is no evidence that the value matters
    return name not in result.facts or result.facts[name] == value


def _everything(name: str, seen: set[Fact]) -> bool:
    """Whether the values seen are all that there are, or show that the value of an open fact does not matter."""
    if {True, False} <= {value for value in seen if isinstance(value, bool)} or {"default", "other"} <= seen:
        return True
    return name in _DOMAINS and set(_DOMAINS[name]) <= seen


def _condition(must: Is | Not, guilty: Sequence[Result]) -> Condition:
    if not guilty:
        return Condition(must=must, effect="unmeasured")
    # The worst that happened is what a user must know first.
    effects = [result.effect for result in guilty]
    worst: Effect = next(
        effect for effect in ("wrong result", "crash", "hang", "rejected", "unmeasured") if effect in effects
    )
    says = next((result.says for result in guilty if result.effect == worst and result.says), "")
    return Condition(must=must, effect=worst, says=says, probes=_quoted(guilty))


def _quoted(results: Sequence[Result]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(result.id for result in results))[:_FEW]


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
