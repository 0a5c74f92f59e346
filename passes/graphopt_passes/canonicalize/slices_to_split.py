"""Make one Split out of Slices that divide a value.

    x[56] ┬ Slice(0:3) ─ y                   x[56] ─ Split(3, 53) ┬ y
          └ Slice(3:56) ─ z      becomes                          └ z

Holds where the Slices take each element once, along one axis of known size, in steps of one. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, bodies, inherit, mark, nodes_of, opset_of, redirect
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import Rewrite
from graphopt_passes.canonicalize.merge_slices import cuts, size_of, taken
from graphopt_passes.movement.rewriter import drop_constant

SINCE_INPUTS = 13
"""Opset from which the sizes of a Split are an input."""


class SlicesToSplit(Pass):
    """Make one Split out of Slices that divide a value."""

    name = "slices-to-split"
    fidelity = "exact"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Look at every value that Slices read."""
        infer_shapes(model)
        log = divide(model, self.name)
        return PassResult(len(log), log=tuple(log))


def divide(model: ir.Model, made_by: str) -> list[Rewrite]:
    """Collect the Slices of the main graph and its bodies, value by value and axis by axis."""
    names: Names | None = None
    log = []
    for graph in [model.graph, *(body for node in nodes_of(model.graph) for body in bodies(node))]:
        found: dict[tuple[ir.Value, int], dict[int, list[tuple[range, ir.Node]]]] = {}
        for node in graph:
            piece = _piece(node) if node.op_type == "Slice" and not node.domain else None
            if piece is not None and node.inputs[0] is not None:
                axis, positions = piece
                of_value = found.setdefault((node.inputs[0], axis), {})
                of_value.setdefault(positions.start, []).append((positions, node))
        for (value, axis), pieces in found.items():
            row = _row(pieces, size_of(value, axis))
            if row is not None:
                names = names or Names(model)
                log.append(_replace(model, graph, axis, row, names, made_by))
    return log


def _piece(node: ir.Node) -> tuple[int, range] | None:
    """The one axis that a Slice cuts, and the positions that it takes, in steps of one."""
    by_axis = cuts(node)
    if by_axis is None or len(by_axis) != 1:
        return None
    [(axis, cut)] = by_axis.items()
    size = size_of(node.inputs[0], axis)
    positions = None if size is None else taken(cut, size)
    return (axis, positions) if positions and (positions.step == 1 or len(positions) == 1) else None


def _row(pieces: dict[int, list[tuple[range, ir.Node]]], size: int | None) -> list[tuple[int, list[ir.Node]]] | None:
    """The pieces from the first element to the last with their Slices, None where they leave or share elements."""
    row, begin = [], 0
    while begin in pieces:
        lengths = {len(positions) for positions, _ in pieces[begin]}
        if len(lengths) != 1:
            return None
        row.append((length := lengths.pop(), [node for _, node in pieces[begin]]))
        begin += length
    return row if begin == size and len(row) == len(pieces) > 1 else None


def _replace(
    model: ir.Model, graph: ir.Graph, axis: int, row: list[tuple[int, list[ir.Node]]],
    names: Names, made_by: str,
) -> Rewrite:  # fmt: skip
    sizes, slices = [size for size, _ in row], [node for _, nodes in row for node in nodes]
    value = slices[0].inputs[0]  # a Split made just before may have taken the place of what it was
    assert value is not None
    attributes = [ir.AttrInt64("axis", axis)]
    inputs = [value]
    if opset_of(graph) < SINCE_INPUTS:
        attributes.append(ir.AttrInt64s("split", sizes))
    else:
        inputs.append(add_constant(model.graph, np.array(sizes, np.int64), names.fresh(f"{value.name}_sizes")))
    split = ir.Node("", "Split", inputs, attributes, num_outputs=len(row), name=names.fresh(f"{value.name}_Split"))
    producer = value.producer()
    if producer is not None and producer.graph is graph:
        graph.insert_after(producer, split)
    else:
        graph.insert_before(graph[0], split)
    mark([split], made_by, slices)
    removed = tuple(node.name or node.op_type for node in slices)
    for output, (_, nodes) in zip(split.outputs, row, strict=True):
        output.name = names.fresh(f"{split.name}_out")
        output.type = value.type
        for node in nodes:
            _hand_over(node, output, names)
    return Rewrite("slices-to-split", removed, (split.name or "Split",))


def _hand_over(node: ir.Node, output: ir.Value, names: Names) -> None:
    old, graph = node.outputs[0], node.graph
    assert graph is not None
    inherit(old, output)
    if not redirect(old, output):
        # Two outputs of the graph are the same piece: the second takes it from an Identity.
        copy = ir.Node("", "Identity", [output], name=names.fresh(f"{node.name}_Identity"))
        copy.outputs[0].name = names.fresh(f"{node.name}_out")
        graph.insert_before(node, copy)
        redirect(old, copy.outputs[0])
    constants = [v for v in node.inputs[1:] if v is not None]
    graph.remove(node, safe=True)
    for value in constants:
        drop_constant(value)
