"""Hold a model against a support table: which nodes the toolchain takes, and what a fallback would make of the others.

Nothing of a vendor is needed here; the table is what the vendor said when it was measured.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graphopt.ir.edit import bodies, constant
from graphopt.support.diagnose import Finding as Finding
from graphopt.support.diagnose import diagnose as diagnose
from graphopt.support.diagnose import unread
from graphopt.support.foresight import View, Views
from graphopt.support.free_dims import free_dims
from graphopt.support.partition import Partition, partition
from graphopt.support.remedy import DIM
from graphopt.support.table import Table
from graphopt.support.work import macs

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class CheckResult:
    """What a table says of a model.

    Attributes:
        backend, toolchain: the table's.
        documented: where the table was read, "" where it was measured.
        nodes: how many nodes there are, those in bodies and functions included, Constant nodes not.
        supported: how many of them the toolchain takes.
        findings: at least one for each node that it does not take, in the order of the graph.
        macs: multiply-accumulates in all, of nodes with static shapes.
        supported_macs: those in supported nodes.
        partition: what a fallback would make of the main graph.
    """

    backend: str
    toolchain: str
    documented: str
    nodes: int
    supported: int
    findings: tuple[Finding, ...]
    macs: int
    supported_macs: int
    partition: Partition = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether every node is supported, and the model as a whole is one that the toolchain reads."""
        return not self.findings

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


def check(model: ir.Model | Views, table: Table, after: Table | None = None) -> CheckResult:
    """Hold a model against a table.

    Args:
        model: the model, with shapes and dtypes inferred as far as they can be; it is not changed. Functions are
            looked into where they are called. `Views` of it, where it is held against several tables.
        table: the backend's table.
        after: the table that must take a node first, where `table.after` names one.

    Returns:
        Counts, one finding or more for each unsupported node, and the partition that a fallback would make.
    """
    views = model if isinstance(model, Views) else Views(model)
    seen = views.view((after or table).reads.foresight)
    told = _Told(views, seen, [table] if after is None else [after, table])
    options = free_dims(seen.model) or DIM
    findings: dict[ir.Node, list[Finding]] = {}
    nodes = supported = total = covered = 0
    for place, node in enumerate(every(seen.model.graph)):
        nodes += 1
        wrong = told.of(node, place)
        count = 0 if node in seen.ahead else macs(node) or 0
        total += count
        if wrong:
            findings[node] = wrong
        else:
            supported += 1
            covered += count
    main = [node for node in seen.model.graph if not _is_constant(node) and node not in seen.ahead]
    off = [node for node in main if node in findings or any(inner in findings for inner in _inside(node))]
    return CheckResult(
        backend=table.backend,
        toolchain=table.toolchain,
        documented=table.source if table.evidence == "documented" else "",
        nodes=nodes,
        supported=supported,
        findings=(
            *unread(seen.model, table),
            *(replace(f, remedy=f.remedy.replace(DIM, options)) for group in findings.values() for f in group),
        ),
        macs=total,
        supported_macs=covered,
        partition=partition(main, off),
    )


class _Told:
    """What tables say of the nodes of a view, all of which must take a node."""

    def __init__(self, views: Views, seen: View, tables: Sequence[Table]) -> None:
        self._views, self._seen, self._tables = views, seen, tables

    def of(self, node: ir.Node, place: int) -> list[Finding]:
        """Findings on the node at a place of `every`."""
        ahead = node in self._seen.ahead
        if ahead and not self._on_constants(node):
            return []
        for table in self._tables:
            found = diagnose(node, table, self._seen.model.graph.opset_imports)
            if ahead:  # in general constants are computed; the table knows operators of which that has been refused
                found = [finding for finding in found if finding.effect != "unmeasured"]
            if found:
                return self._explained(found, node, place, table)
        return []

    def _on_constants(self, node: ir.Node) -> bool:
        read = [value for value in node.inputs if value is not None]
        return bool(read) and all(constant(value) is not None for value in read)

    def _explained(self, found: list[Finding], node: ir.Node, place: int, table: Table) -> list[Finding]:
        """The findings that are the node's own: what only comes of a computed size before it is said as such."""
        opsets = self._seen.model.graph.opset_imports
        if table.reads.foresight == "sizes":
            # Such a toolchain decides for each operator what it computes ahead: rows of what is folded tell.
            known, ahead = self._folded
            return diagnose(known[place], table, opsets) if known[place] in ahead else found
        sized = self._sized
        if table.reads.foresight != "none" or sized is None:
            return found
        own = diagnose(sized[place], table, opsets)
        return own or [replace(
            found[0],
            reason="its shapes are only known once the sizes computed before it are folded",
            evidence=f"{table.toolchain} does not work out computed sizes ({found[0].reason})",
            remedy="run the pass `fold-constants` first, as `graphopt run` does",
        )]  # fmt: skip

    @functools.cached_property
    def _folded(self) -> tuple[list[ir.Node], frozenset[ir.Node]]:
        view = self._views.view("constants")
        return list(every(view.model.graph)), view.ahead

    @functools.cached_property
    def _sized(self) -> list[ir.Node] | None:
        model = self._views.view("sizes").model
        return None if model is self._seen.model else list(every(model.graph))


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
