"""Hold a model against a support table: which nodes the toolchain takes, and of the others why not, says who, what now.

Nothing of a vendor is needed here; the table is what the vendor said when it was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphopt.ir.edit import bodies
from graphopt.ir.infer import infer_shapes
from graphopt.support.facts import facts
from graphopt.support.macs import macs
from graphopt.support.partition import Partition, partition
from graphopt.support.predicate import UNKNOWN, Facts, Is, found, name_of
from graphopt.support.remedy import remedy
from graphopt.support.schemas import operator
from graphopt.support.table import Condition, Row, Table

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
        effect: the vendor's behavior: "rejected", "wrong result", "crash", "hang" or "unmeasured".
    """

    node: str
    op_type: str
    reason: str
    evidence: str
    remedy: str
    effect: str

    def as_json(self) -> dict[str, str]:
        """The finding in the words of graphopt.check/1."""
        return {name: getattr(self, name) for name in ("node", "op_type", "reason", "evidence", "remedy")}


@dataclass(frozen=True)
class CheckResult:
    """What a table says of a model.

    Attributes:
        backend, toolchain: the table's.
        nodes: how many nodes there are, those in bodies and functions included, Constant nodes not.
        supported: how many of them the toolchain takes.
        findings: at least one for each node that it does not take, in the order of the graph.
        macs: multiply-accumulates in all, of nodes with static shapes.
        supported_macs: those in supported nodes.
        partition: what a fallback would make of the main graph.
    """

    backend: str
    toolchain: str
    nodes: int
    supported: int
    findings: tuple[Finding, ...]
    macs: int
    supported_macs: int
    partition: Partition = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether every node is supported."""
        return self.supported == self.nodes

    @property
    def segments(self) -> int:
        """Into how many pieces a fallback would cut the main graph; 1 where all of it is supported."""
        return len(self.partition.segments)

    @property
    def crossing_bytes(self) -> int:
        """Bytes that would cross between the target and the fallback at each inference."""
        return self.partition.crossing_bytes

    def as_json(self) -> dict[str, Any]:
        """The value for this backend in graphopt.check/1."""
        return {
            "toolchain": self.toolchain,
            "nodes": self.nodes,
            "supported": self.supported,
            "macs": self.macs,
            "supported_macs": self.supported_macs,
            "segments": self.segments,
            "crossing_bytes": self.crossing_bytes,
            "crossing_unsized": self.partition.unsized,
            "unsupported": [finding.as_json() for finding in self.findings],
        }


def check(model: ir.Model, table: Table) -> CheckResult:
    """Hold a model against a table.

    Args:
        model: the model, with shapes and dtypes inferred as far as they can be; it is not changed. Functions are
            looked into where they are called.
        table: the backend's table.

    Returns:
        Counts, one finding or more for each unsupported node, and the partition that a fallback would make.
    """
    model = _inlined(model)
    findings: dict[ir.Node, list[Finding]] = {}
    nodes = supported = total = covered = 0
    for node in every(model.graph):
        nodes += 1
        wrong = diagnose(node, table, model.graph.opset_imports)
        count = macs(node) or 0
        total += count
        if wrong:
            findings[node] = wrong
        else:
            supported += 1
            covered += count
    main = [node for node in model.graph if not _is_constant(node)]
    off = [node for node in main if node in findings or any(inner in findings for inner in _inside(node))]
    return CheckResult(
        backend=table.backend,
        toolchain=table.toolchain,
        nodes=nodes,
        supported=supported,
        findings=tuple(finding for group in findings.values() for finding in group),
        macs=total,
        supported_macs=covered,
        partition=partition(main, off),
    )


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
    ask = f"measure it with `graphopt probe -b {table.backend} --op {node.op_type}`"

    def one(reason: str, evidence: str, advice: str, effect: str) -> Finding:
        return Finding(name, node.op_type, reason, evidence, advice, effect)

    if not rows or schema is None:
        reason = f"no probe of {told} has been measured"
        if schema is None:
            reason = f"{told} is not an operator that ONNX defines at this opset"
            ask = "replace it by ONNX operators, or register a pass that does"
        return [one(reason, f"none in the table of {table.toolchain}", ask, "unmeasured")]
    here = [row for row in rows if row.since[0] <= schema.since <= row.since[1]]
    if not here:
        spans = ", ".join(f"{row.since[0]} to {row.since[1]}" for row in rows)
        reason = f"version {schema.since} of {told} has not been measured, only versions {spans}"
        return [
            one(reason, f"none in the table of {table.toolchain}", f"convert the model's opset, or {ask}", "unmeasured")
        ]
    known = facts(node, schema)
    # A row is one cell of what is supported: the node needs one that takes it, and hears of the nearest otherwise.
    answers = [_broken(row, known) for row in here]
    nearest = min(range(len(here)), key=lambda index: len(answers[index]) + 100 * (here[index].status == "unsupported"))
    row = here[nearest]
    if row.status == "unsupported":
        evidence = _evidence(row.effect or "rejected", row.says, row.probes, table)
        return [
            one(
                f"{told} is not supported in any form measured",
                evidence,
                remedy(node.op_type),
                row.effect or "rejected",
            )
        ]
    return [
        one(
            _reason(condition, known, node),
            _evidence_of(condition, table),
            condition.remedy or remedy(node.op_type, condition.must, known),
            condition.effect,
        )
        for condition in answers[nearest]
    ]


def every(graph: ir.Graph) -> Iterator[ir.Node]:
    """All nodes of a graph and of the bodies in it, without Constant nodes, which hold data and compute nothing."""
    for node in graph:
        if not _is_constant(node):
            yield node
            for body in bodies(node):
                yield from every(body)


def _inside(node: ir.Node) -> Iterator[ir.Node]:
    for body in bodies(node):
        yield from every(body)


def _is_constant(node: ir.Node) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")


def _inlined(model: ir.Model) -> ir.Model:
    if not model.functions:
        return model
    from onnx_ir.passes.common import InlinePass

    inlined = InlinePass()(model.clone()).model
    infer_shapes(inlined)  # a function's body has no shapes until it stands where it is called
    return inlined


def _broken(row: Row, known: Facts) -> list[Condition]:
    return [condition for condition in row.require if condition.must.holds(known) is not True]


def _reason(condition: Condition, known: Facts, node: ir.Node) -> str:
    must = condition.must
    unknown = [name for name in must.facts() if known.get(name) == UNKNOWN]
    if unknown:
        return f"{name_of(unknown[0])} is not known{_of(unknown[0], node)}: {must.sentence()}"
    note = " (no probe has gone there)" if condition.effect == "unmeasured" and isinstance(must, Is) else ""
    return f"{must.sentence()}, {found(must, known)}{note}"


def _of(fact: str, node: ir.Node) -> str:
    parts = fact.split(".")
    value = node.inputs[int(parts[1])] if parts[0] == "input" and int(parts[1]) < len(node.inputs) else None
    return f" ({value.name})" if value is not None else ""


def _evidence_of(condition: Condition, table: Table) -> str:
    return _evidence(condition.effect, condition.says, condition.probes, table)


def _evidence(effect: str, says: str, probes: Sequence[str], table: Table) -> str:
    if effect == "unmeasured":
        return f"not probed on {table.toolchain}"
    words = f", “{says}”" if says else ""
    return f"{effect} by {table.toolchain} in {', '.join(probes[:2])}{words}"
