"""Hold a table against its vendor on probes that did not make it: how often the two agree, operator by operator.

The probes are random (`generate`), their ids and seeds disjoint from those that a table is inferred from. The report
lies beside the table as validation.json.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from graphopt.errors import MissingExtraError, UserError
from graphopt.support.backend import Backend
from graphopt.support.case import qualified
from graphopt.support.generate import generate
from graphopt.support.harness import sweep
from graphopt.support.infer import Result
from graphopt.support.probe import Probe
from graphopt.support.sweeps import operators

if TYPE_CHECKING:
    from graphopt.support.table import Table

SCHEMA: Final = "graphopt.validation/1"
SEED: Final = "fresh"
"""Seed of the probes that a table is held against; no table is inferred from them, and nobody has looked at them."""
_EXAMPLES: Final = 5
_Answer = Literal["taken", "rejected", "wrong result", "crash", "hang", "unmeasured", "documented"]


@dataclass(frozen=True)
class Judged:
    """A probe, what the vendor did, and what the table says.

    Attributes:
        result: the vendor's answer.
        supported: whether the table takes every node of the probe's model.
        reason: the table's reason where it does not.
    """

    result: Result
    supported: bool
    reason: str = ""

    @property
    def taken(self) -> bool:
        """Whether the vendor took the probe: claimed, compiled, ran and right, as far as each is known."""
        return self.result.effect is None

    @property
    def agrees(self) -> bool:
        """Whether vendor and table say the same."""
        return self.taken == self.supported


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Disagreement(_Data):
    """A probe that table and vendor judge differently: the vendor's answer and words, and the table's reason."""

    probe: str
    vendor: _Answer
    says: str = ""
    table: str


class Score(_Data):
    """How a table did on one operator, or on all.

    Attributes:
        operator: as in "Conv" or "com.microsoft::Gelu"; "" for all together.
        probes: how many were judged.
        agree: on how many table and vendor say the same.
        supported: how many the table takes.
        taken: how many the vendor takes.
        both: how many both take.
        disagreements: some of those on which they differ.
    """

    operator: str = ""
    probes: int
    agree: int
    supported: int
    taken: int
    both: int
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def agreement(self) -> float:
        """Share of the probes on which they say the same; 1 without probes."""
        return self.agree / self.probes if self.probes else 1.0

    @property
    def precision(self) -> float:
        """Of the probes that the table takes, the share that the vendor takes; 1 where the table takes none."""
        return self.both / self.supported if self.supported else 1.0

    @property
    def recall(self) -> float:
        """Of the probes that the vendor takes, the share that the table takes; 1 where the vendor takes none."""
        return self.both / self.taken if self.taken else 1.0


class Validation(_Data):
    """A table held against its vendor.

    Attributes:
        backend, toolchain: the table's.
        date: day of the table's measurement.
        seed: of the random probes.
        operators: a score an operator, sorted.
    """

    schema_version: Literal["graphopt.validation/1"] = Field(default=SCHEMA, alias="schema")
    backend: str
    toolchain: str
    date: str
    seed: str
    operators: tuple[Score, ...] = ()

    @property
    def total(self) -> Score:
        """The score of all operators together, without disagreements."""
        fields = ("probes", "agree", "supported", "taken", "both")
        return Score(**{name: sum(getattr(score, name) for score in self.operators) for name in fields})

    def text(self) -> str:
        """The report as deterministic JSON text, a line a score and a line a disagreement."""
        head = {
            "schema": self.schema_version, "backend": self.backend, "toolchain": self.toolchain,
            "date": self.date, "seed": self.seed, "total": _figures(self.total),
        }  # fmt: skip
        lines = [f" {_json(name)}: {_json(value)}" for name, value in head.items()]
        scores = ",\n".join(map(_score, self.operators))
        return "{\n" + ",\n".join(lines) + ',\n "operators": [\n' + scores + "\n ]\n}\n"

    def dump(self, path: str | os.PathLike[str]) -> None:
        """Write the report, whole or not at all."""
        file = Path(path)
        handle, part = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(self.text())
        Path(part).chmod(0o644)
        Path(part).replace(file)


def validate(
    backend: Backend,
    folder: Path,
    *,
    count: int = 20,
    ops: Sequence[str] | None = None,
    seed: str = SEED,
    table: Table | None = None,
    jobs: int = 1,
    limit: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Hold a table against the installed toolchain on random probes: the whole of `graphopt probe --validate N`.

    Args:
        backend: whose vendor to ask.
        folder: where the journal lies; a run that was interrupted goes on there.
        count: probes an operator.
        ops: operators; all that the sweeps know where None.
        seed: of the random probes.
        table: what to hold against the vendor; the backend's own where None.
        jobs: how many child processes run at the same time.
        limit: seconds that one probe may take.
        progress: told how many probes are answered, of how many.

    Raises:
        MissingExtraError: the vendor's package is not installed.
        UserError: the table is of another toolchain than the one installed, an operator has no sweep, or the backend
            has no prober.
    """
    table = backend.table() if table is None else table
    toolchain = backend.toolchain()
    if toolchain is None:
        raise MissingExtraError(backend.title, backend.extra)
    if not backend.prober:
        raise UserError(f"the backend {backend.name} has no prober: set `prober` in its class to validate its table")
    if table.toolchain != toolchain:
        raise UserError(
            f"the table is of {table.toolchain} but {toolchain} is installed: install that, or measure anew with "
            f"`graphopt probe -b {backend.name}`"
        )
    if unknown := sorted(set(ops or ()) - set(operators())):
        raise UserError(f"no sweep knows {', '.join(unknown)}: is it spelled as in ONNX, with its capitals?")
    asked = [probe for op in (operators() if ops is None else ops) for probe in generate(op, count, seed)]
    journal = folder / f"{backend.name}.{seed}.jsonl"
    results = sweep(asked, backend.prober, journal, toolchain=toolchain, jobs=jobs, limit=limit, progress=progress)
    judged = judge(asked, results, table)
    return Validation(
        backend=backend.name,
        toolchain=toolchain,
        date=table.date,
        seed=seed,
        operators=scores(judged),
    )


def judge(probes: Iterable[Probe], results: Iterable[Result], table: Table) -> list[Judged]:
    """What the table says of each probe that was answered, as `graphopt check` says it of the probe's model."""
    answers = {result.id: result for result in results}
    return [_judged(probe, answers[probe.id], table) for probe in probes if probe.id in answers]


def scores(judged: Iterable[Judged]) -> tuple[Score, ...]:
    """A score an operator, sorted by operator; the disagreements in the order of the probes."""
    grouped: dict[str, list[Judged]] = {}
    for item in judged:
        grouped.setdefault(qualified(item.result.domain, item.result.op_type), []).append(item)
    return tuple(_scored(name, group) for name, group in sorted(grouped.items()))


def _judged(probe: Probe, result: Result, table: Table) -> Judged:
    import onnx
    import onnx_ir as ir

    from graphopt.ir.infer import infer_shapes
    from graphopt.support.check import check

    model = ir.from_proto(onnx.load_from_string(probe.model))
    infer_shapes(model)
    said = check(model, table)
    return Judged(result, said.ok, said.findings[0].reason if said.findings else "")


def _scored(name: str, group: Sequence[Judged]) -> Score:
    return Score(
        operator=name,
        probes=len(group),
        agree=sum(item.agrees for item in group),
        supported=sum(item.supported for item in group),
        taken=sum(item.taken for item in group),
        both=sum(item.taken and item.supported for item in group),
        disagreements=tuple(
            Disagreement(
                probe=item.result.id,
                vendor=item.result.effect or "taken",
                says=item.result.says if item.result.effect else "",
                table=item.reason or "supported",
            )
            for item in group
            if not item.agrees
        )[:_EXAMPLES],
    )


def _figures(score: Score) -> dict[str, Any]:
    named = {name: getattr(score, name) for name in ("probes", "agree", "supported", "taken", "both")}
    return named | {name: round(getattr(score, name), 4) for name in ("agreement", "precision", "recall")}


def _score(score: Score) -> str:
    head = _json({"op": score.operator, **_figures(score)})[1:-1]
    if not score.disagreements:
        return f"  {{{head}}}"
    data = (item.model_dump(mode="json", exclude_defaults=True) for item in score.disagreements)
    return f'  {{{head}, "disagreements": [\n' + ",\n".join(f"    {_json(item)}" for item in data) + "]}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
