"""Why a toolchain does not take a node, or a model as a whole: what fails, what was found, who says so, what now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graphopt.support.facts import facts, folds
from graphopt.support.predicate import Facts, Is, found
from graphopt.support.remedy import DIM, remedy
from graphopt.support.schemas import operator
from graphopt.support.table import Condition, Effect, Evidence, Row, Table

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Finding:
    """One reason why a node is not supported.

    Attributes:
        node: its name; that of its first output where it has none.
        op_type: its operator.
        reason: which condition failed and what was found, one sentence.
        evidence: what the vendor did, the probes that show it and the toolchain.
        remedy: what would make the node legal.
        effect: the vendor's behavior, one of `graphopt.support.table.Effect`.
    """

    node: str
    op_type: str
    reason: str
    evidence: str
    remedy: str
    effect: Effect

    def as_json(self) -> dict[str, str]:
        """The finding in the words of graphopt.check/1."""
        return {name: getattr(self, name) for name in ("node", "op_type", "reason", "evidence", "remedy")}


_REFUSED: Final[dict[Evidence, Effect]] = {"measured": "rejected", "documented": "documented"}
_SAVE_AS: Final = {
    "opset": "convert the model to opset {}, as `onnx.version_converter.convert_version` does",
    "ir_version": "save it with IR version {}: set `ir_version` of the model",
}


def unread(model: ir.Model, table: Table) -> list[Finding]:
    """Why the toolchain does not read a model as a whole: versions of the format that it does not know."""
    opset = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx"))
    asked = (
        ("opset", "the opset of ONNX", opset, table.reads.opset),
        ("ir_version", "the IR version of the file", model.ir_version, table.reads.ir_version),
    )
    found = []
    for name, what, version, span in asked:
        if span is None or version is None or span[0] <= version <= span[1]:
            continue
        reason = f"{what} must be between {span[0]} and {span[1]}, found {version}"
        probes = [probe for probe in table.reads.probes if name in probe]
        evidence = _evidence(_REFUSED[table.evidence], "", probes, table)
        advice = _SAVE_AS[name].format(min(max(version, span[0]), span[1]))
        found.append(Finding("", "", reason, evidence, advice, _REFUSED[table.evidence]))
    return found


def diagnose(node: ir.Node, table: Table, opsets: dict[str, int]) -> list[Finding]:
    """Why a node is not supported, one finding a broken condition; empty where it is.

    Args:
        node: the node.
        table: the backend's table.
        opsets: the model's opset version by domain.
    """
    name = node.name or next((value.name for value in node.outputs if value.name), None) or ""
    domain = "" if node.domain == "ai.onnx" else node.domain
    told = f"{domain}::{node.op_type}" if domain else node.op_type
    schema = operator(domain, node.op_type, opsets.get(domain, opsets.get("ai.onnx", 1) if not domain else 1))
    rows = table.by_op.get((domain, node.op_type), [])

    def one(reason: str, evidence: str, advice: str, effect: Effect) -> list[Finding]:
        return [Finding(name, node.op_type, reason, evidence, advice, effect)]

    if schema is None:
        reason = f"{told} is not an operator that ONNX defines at this opset"
        advice = "replace it by ONNX operators, or register a pass that does"
        return one(reason, f"none in the table of {table.toolchain}", advice, "unmeasured")
    here = [row for row in rows if row.since[0] <= schema.since <= row.since[1]]
    if not here:
        measured = table.evidence == "measured"
        reason = f"no probe of {told} has been measured" if measured else f"{told} has not been documented"
        if rows:
            spans = ", ".join(f"{row.since[0]} to {row.since[1]}" for row in rows)
            reason = f"version {schema.since} of {told} has not been {table.evidence}, only versions {spans}"
        ask = f"measure it with `graphopt probe -b {table.backend} --op {told}`" if measured else remedy(told)
        advice = f"convert the model's opset, or {ask}" if rows else ask
        return one(reason, f"none in the table of {table.toolchain}", advice, "unmeasured")
    known = facts(node, schema)
    # A toolchain computes a node on constants ahead of time, whatever its target can do: rows of its own speak of it.
    here = [row for row in here if (row.status == "folded") is folds(node.op_type, known)] or here
    # A row is one cell of what is supported: the node needs one that takes it, and hears of the nearest otherwise.
    answers = [_broken(row, known) for row in here]
    nearest = min(range(len(here)), key=lambda index: len(answers[index]) + 100 * (here[index].status == "unsupported"))
    row = here[nearest]
    if row.status == "unsupported":
        effect = row.effect or "rejected"
        evidence = _evidence(effect, row.says, row.probes, table, row)
        return one(f"{told} is not supported in any form {table.evidence}", evidence, remedy(told), effect)
    unknown = [condition for condition in answers[nearest] if condition.must.holds(known) is None]
    if unknown and len(unknown) == len(answers[nearest]):
        reason, advice = _untold(node)
        needs = "; ".join(condition.must.sentence() for condition in unknown)
        return one(reason, f"{table.toolchain} takes it only so: {needs}", advice, "unmeasured")
    return [
        Finding(
            name,
            node.op_type,
            _reason(condition, known),
            _evidence(condition.effect, condition.says, condition.probes, table, row),
            condition.remedy or remedy(told, condition.must, known),
            condition.effect,
        )
        for condition in answers[nearest]
        if condition not in unknown
    ]


def _broken(row: Row, known: Facts) -> list[Condition]:
    return [condition for condition in row.require if condition.must.holds(known) is not True]


def _reason(condition: Condition, known: Facts) -> str:
    must = condition.must
    note = " (no probe has gone there)" if condition.effect == "unmeasured" and isinstance(must, Is) else ""
    return f"{must.sentence()}, {found(must, known)}{note}"


def _untold(node: ir.Node) -> tuple[str, str]:
    """Why too little is known of a node to judge it, and what would tell more: where the ignorance starts."""
    value = _unknown(node.inputs)
    maker = node
    while value is not None and (behind := value.producer()) is not None:
        maker, value = behind, _unknown(behind.inputs)
    if value is not None:
        return f"the shape or dtype of the input {value.name!r} is not known", f"declare it, or give it with {DIM}"
    if maker is node:
        return "too little of it is known to tell", f"give the sizes with {DIM}, or run shape inference"
    told = f"{maker.domain}::{maker.op_type}" if maker.domain not in ("", "ai.onnx") else maker.op_type
    where = maker.name or next((output.name for output in maker.outputs if output.name), "")
    return f"nothing tells the shapes that {told} {where!r} makes, on which it depends", (
        f"declare what {told} makes in the model, or replace it by operators whose shapes can be inferred"
    )


def _unknown(values: Iterable[ir.Value | None]) -> ir.Value | None:
    """The first value whose dtype or rank is not known."""
    return next((value for value in values if value is not None and (value.dtype is None or value.shape is None)), None)


def _evidence(effect: Effect, says: str, probes: Sequence[str], table: Table, row: Row | None = None) -> str:
    words = f", “{says}”" if says else ""
    if table.evidence == "documented":
        source = (row.source if row is not None else "") or table.source
        return f"documented for {table.toolchain}, not measured{words}: {source}"
    if effect == "unmeasured":
        return f"not probed on {table.toolchain}"
    return f"{effect} by {table.toolchain} in {', '.join(probes[:2])}{words}"
