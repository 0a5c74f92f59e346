"""Tables of toolchains that cannot run here, out of what their vendors have written.

A backend's folder may hold `documented.toml`: an entry for each toolchain, with its source and the file of its facts. A
file of facts is a CSV with a line an operator; what it says of several toolchains stands in a column each. Nothing is
concluded beyond it, and check says of every verdict that it was read, not measured.

    op_type      the ONNX operator, or instead of it
    builtin      what a measured table realizes operators as: an operator is taken where all its builtins are
    versions     first and last since_version, as "1-13"; where empty, those of the entry's opsets
    layers       names of other lines, as "layer:Conv2d", all of which must be taken
    condition    "fact=value|value", several with "; " between them
    note         the vendor's restriction in words, where no fact can express it
    dtypes       of input 0, in the vendor's words
    any other    a toolchain's column: "Y" where it takes the operator
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from graphopt.errors import UserError
from graphopt.support.conditions import all_values
from graphopt.support.predicate import Fact, Is
from graphopt.support.schemas import operator
from graphopt.support.table import Condition, Reads, Row, Table, Verdict

_DTYPES: Final = {
    "FP32": "float32", "FP16": "float16", "BF16": "bfloat16", "FP8": "float8e4m3fn", "INT4": "int4", "INT8": "int8",
    "UINT8": "uint8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
}  # fmt: skip
_WORDS: Final[Mapping[str, Fact]] = {"true": True, "false": False}
_LAYOUT: Final = "TRANSPOSE"

Line = Mapping[str, str]


def documented(folder: Path, measured: Table) -> dict[str, Table]:
    """The documented tables of a backend.

    Args:
        folder: the backend's, with `documented.toml` in it.
        measured: its measured table: which builtins operators become, and what a delegate comes after.

    Returns:
        Tables by the names of their files.

    Raises:
        UserError: a file of facts lacks a column, or a condition cannot be read.
    """
    found = {}
    for entry in tomllib.loads((folder / "documented.toml").read_text(encoding="utf-8"))["toolchain"]:
        with (folder / entry["facts"]).open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        if not lines or entry["column"] not in lines[0]:
            raise UserError(f"{folder / entry['facts']}: there is no column {entry['column']!r}: name it in the TOML")
        delegate = "builtin" in lines[0]
        rows = _of_builtins(lines, entry, measured) if delegate else _of_operators(lines, entry)
        found[entry["file"]] = Table(
            backend=measured.backend,
            toolchain=entry["name"],
            evidence="documented",
            source=entry["source"],
            after=measured.toolchain if delegate else "",
            date=entry["read"],
            execution="documented, not run",
            reads=Reads.model_validate(entry.get("reads", {})),
            rows=tuple(rows),
        )
    return found


def _of_operators(lines: Sequence[Line], entry: Mapping[str, Any]) -> Iterator[Row]:
    column = entry["column"]
    taken = {line["op_type"]: line[column] == "Y" for line in lines}
    for line in lines:
        span = _versions(line, entry.get("opset"))
        if span is None or ":" in line["op_type"]:
            continue
        layers = [name for name in line.get("layers", "").split() if name]
        missing = [name for name in layers if not taken.get(name)]
        yes = not missing if layers else taken[line["op_type"]]
        words = f"it becomes {', '.join(missing)}, which {entry['name']} does not list" if missing else ""
        yield _row(line["op_type"], span, yes, line, entry, words.replace("layer:", ""))


def _versions(line: Line, opset: Sequence[int] | None) -> tuple[int, int] | None:
    """The first and last version that a line speaks of; None for an operator that the opsets do not have."""
    if line.get("versions"):
        first, _, last = line["versions"].partition("-")
        return int(first), int(last or first)
    schemas = [operator("", line["op_type"], version) for version in range(opset[0], opset[1] + 1)] if opset else []
    known = [schema.since for schema in schemas if schema is not None]
    return (min(known), max(known)) if known else None


def _of_builtins(lines: Sequence[Line], entry: Mapping[str, Any], measured: Table) -> Iterator[Row]:
    by_builtin = {line["builtin"]: line for line in lines}
    for row in measured.rows:
        if row.status in ("unsupported", "folded"):
            continue
        needed = sorted(set(row.realized_as) - {_LAYOUT}) or sorted(set(row.realized_as))
        missing = [name for name in needed if by_builtin.get(name, {}).get(entry["column"]) != "Y"]
        notes = [by_builtin[name]["note"] for name in needed if by_builtin.get(name, {}).get("note")]
        words = f"it becomes {', '.join(missing)}, which {entry['name']} does not list" if missing else ""
        line = {"condition": "", "note": " ".join(notes) if entry.get("notes") else ""}
        yield _row(row.op_type, row.since, not missing, line, entry, words, domain=row.domain, made=tuple(needed))


def _row(
    op_type: str,
    since: tuple[int, int],
    yes: bool,
    line: Line,
    entry: Mapping[str, Any],
    words: str,
    *,
    domain: str = "",
    made: tuple[str, ...] = (),
) -> Row:
    if not yes:
        return Row(
            op_type=op_type, domain=domain, since=since, status="unsupported", effect="documented",
            says=words or line.get("note", ""), realized_as=made,
        )  # fmt: skip
    given = [line.get("condition", ""), entry.get("condition", "")]
    conditions = [_condition(text) for texts in given for text in texts.split("; ") if text]
    dtypes = [name.strip() for name in line.get("dtypes", "").split(",") if name.strip()]
    if dtypes:
        conditions.insert(0, _must("input.0.dtype", [_DTYPES[name] for name in dtypes]))
    return Row(
        op_type=op_type, domain=domain, since=since, status="documented", verdict=Verdict(claimed=True),
        require=tuple(conditions), note=line.get("note", ""), realized_as=made,
    )  # fmt: skip


def _condition(text: str) -> Condition:
    fact, _, values = text.partition("=")
    if not values:
        raise UserError(f"the condition {text!r} cannot be read: write it as fact=value|value")
    return _must(fact.strip(), [_value(fact.strip(), word) for word in values.split("|")])


def _must(fact: str, values: Sequence[Fact]) -> Condition:
    return Condition(must=Is.model_validate({"fact": fact, "in": values}), effect="documented")


def _value(fact: str, word: str) -> Fact:
    if word in all_values(fact):  # a word that is a digit, as "1" for dilations that are all one
        return word
    return _WORDS.get(word, int(word) if word.lstrip("-").isdigit() else word)
