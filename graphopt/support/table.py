"""The op-support table: what a vendor's toolchain was measured to take, row by row, with the evidence.

A table is one JSON file a backend and toolchain. A row says under which conditions one operator, in a range of its
versions, is taken; each condition names the probes that established it (see `graphopt.support.infer`).
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graphopt.errors import UserError
from graphopt.support.predicate import Predicate

SCHEMA: Final = "graphopt.support/1"
Status = Literal["native", "emulated", "folded", "fallback", "unsupported", "documented"]
Effect = Literal["rejected", "wrong result", "crash", "hang", "unmeasured", "documented"]
Evidence = Literal["measured", "documented"]
Foresight = Literal["none", "sizes", "constants"]

ABOUT: Final = (
    "What this toolchain was measured to do with each operator. A node is supported when a row for its domain, "
    "operator and since_version has every condition hold.",
    "evidence: measured from the toolchain itself, or documented: taken from what the vendor has written, under "
    "source; then nothing was run.",
    "reads: what the toolchain takes of a model as a whole: versions of the format, and its foresight. constants: it "
    "computes ahead what depends on constants and static shapes alone, so that such nodes never count and their "
    "results are constants; sizes: it only learns from them which shapes tensors have; none: not even that.",
    "require: conditions on facts of a node (see graphopt/support/facts.py). A fact that the node's version lacks puts "
    "no condition on it; an unknown fact never counts as holding.",
    "effect: what the vendor did in the probes that broke the condition. unmeasured: no probe went there, so nothing "
    "is promised. documented: the vendor's words rule it out.",
    "probes: what established it. On a row: probes that were taken. On a condition: probes that were refused.",
    "verdict: four separate answers, null where not measured: claimed by the vendor's partitioner or parser, compiled, "
    "ran, numerically right.",
    "status: native; emulated (the toolchain decomposes it); folded (taken where all its inputs are constants, which "
    "the toolchain computes ahead of time; the other rows are of nodes that compute something at run time); fallback "
    "(runs, outside the accelerator); unsupported; documented (from the vendor's words, never measured).",
    "Conditions are measured one at a time around a base form of each operator and taken to be independent, except "
    "where a row forbids a combination. doubtful: refused probes that no condition explains.",
)


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Verdict(_Data):
    """The vendor's four answers for what a row takes; None is not measured."""

    claimed: bool | None = None
    compiled: bool | None = None
    ran: bool | None = None
    numerics: Literal["pass", "fail"] | None = None


class Condition(_Data):
    """One thing that must hold, what happens otherwise, and who says so.

    Attributes:
        must: the predicate.
        effect: what the vendor did where it does not hold.
        says: the vendor's words, on one line.
        probes: ids of the refused probes; empty where the effect is "unmeasured".
        remedy: what makes a node legal, where a row knows better than the general advice.
    """

    must: Predicate
    effect: Effect = "rejected"
    says: str = ""
    probes: tuple[str, ...] = ()
    remedy: str = ""


class Row(_Data):
    """Support of one operator over a range of its versions.

    Attributes:
        op_type, domain: the operator; the domain of ONNX itself is "".
        since: first and last `since_version` that the row speaks of, both included.
        status: how the toolchain realizes it.
        verdict: the four answers for the probes that were taken (for an unsupported row: that were refused).
        precision: precision at which it executes for float32 input, "" where not known.
        realized_as: the vendor's ops for the base form.
        require: conditions, all of which must hold.
        effect, says: for an unsupported row, what the vendor did and its words.
        probes: the probes behind the row; for an unsupported row, those that were refused.
        measured: how many probes were taken into account.
        doubtful: refused probes that no condition explains.
        source: of a documented row, where it says so.
        note: of a documented row, what it says besides, in words that no condition can hold.
    """

    op_type: str
    domain: str = ""
    since: tuple[int, int]
    status: Status
    verdict: Verdict = Verdict()
    precision: str = ""
    realized_as: tuple[str, ...] = ()
    require: tuple[Condition, ...] = ()
    effect: Effect | None = None
    says: str = ""
    probes: tuple[str, ...] = ()
    measured: int = 0
    doubtful: tuple[str, ...] = ()
    source: str = ""
    note: str = ""


class Reads(_Data):
    """What a toolchain takes of a model as a whole, whatever the operators.

    Attributes:
        opset: oldest and newest opset of ONNX that it reads; None where all that were probed are read.
        ir_version: the same of the file format's version.
        foresight: what it works out before it looks at nodes (see `graphopt.support.foresight`).
        says: its words where it does not read a model.
        probes: of models that it does not read.
    """

    opset: tuple[int, int] | None = None
    ir_version: tuple[int, int] | None = None
    foresight: Foresight = "none"
    says: str = ""
    probes: tuple[str, ...] = ()


class Table(_Data):
    """All rows of one backend and toolchain.

    Attributes:
        backend: name of the backend.
        toolchain: distribution and version, as in "ai-edge-litert 2.3.0".
        evidence: whether the toolchain was measured, or its documentation read.
        source: where the documentation is; rows may name a nearer one.
        after: the toolchain whose table must take a node, too, "" where there is none: a delegate is handed only what
            the converter before it has written.
        reads: what it takes of a model as a whole.
        date: day of the measurement, ISO 8601.
        host: machine and Python it was measured on.
        execution: what "ran" means here, as "LiteRT CPU" or "compiled ahead of time, not executed".
    """

    schema_version: Literal["graphopt.support/1"] = Field(default=SCHEMA, alias="schema")
    about: tuple[str, ...] = ABOUT
    backend: str
    toolchain: str
    evidence: Evidence = "measured"
    source: str = ""
    after: str = ""
    date: str
    host: str = ""
    execution: str = ""
    reads: Reads = Reads()
    rows: tuple[Row, ...] = ()

    @functools.cached_property
    def by_op(self) -> dict[tuple[str, str], list[Row]]:
        """Rows by (domain, op_type)."""
        index: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            index.setdefault((row.domain, row.op_type), []).append(row)
        return index


def load(path: str | os.PathLike[str]) -> Table:
    """Read a table; a file that has not changed is parsed once in a process.

    Raises:
        UserError: the file is missing, is not JSON, or does not follow the schema.
    """
    file = Path(path)
    try:
        stamp = file.stat().st_mtime_ns
    except OSError as error:
        raise UserError(
            f"{file}: the support table cannot be read ({error.strerror}): run `graphopt probe`, which measures one"
        ) from None
    return _load(file, stamp)


@functools.lru_cache(maxsize=16)
def _load(file: Path, stamp: int) -> Table:
    try:
        return Table.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"{file}: not a {SCHEMA} table, {where}: {first['msg']}; measure it anew with `graphopt probe`"
        ) from None


def dump(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table, whole or not at all: rows sorted, a line a row head and a line a condition, so that diffs read."""
    file = Path(path)
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text(table))
    Path(part).chmod(0o644)
    Path(part).replace(file)


def text(table: Table) -> str:
    """The table as deterministic JSON text; what is at its default is left out of rows."""
    head = table.model_dump(mode="json", by_alias=True, exclude={"rows", "about"})
    lines = [f" {_json(key)}: {_json(value)}" for key, value in head.items()]
    lines.append(' "about": [\n' + ",\n".join(f"  {_json(line)}" for line in table.about) + "\n ]")
    rows = sorted(table.rows, key=lambda row: (row.domain, row.op_type, row.since))
    lines.append(' "rows": [\n' + ",\n".join(map(_row, rows)) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _row(row: Row) -> str:
    data = row.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    conditions = data.pop("require", [])
    named = {key: data.pop(key) for key in ("probes", "doubtful") if key in data}
    parts = [_json(data)[1:-1], *(_json({key: value})[1:-1] for key, value in named.items())]
    if conditions:
        parts.append('"require": [\n' + ",\n".join(f"    {_json(item)}" for item in conditions) + "]")
    return "  {" + ",\n   ".join(parts) + "}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
