"""Write out the turns of a Scan over axes of known, small size.

    x[3, 8] ─ Scan <h, row ─ f ─ (h', out)> ─ (H, Y)      becomes      x ─ Gather(0) ─ f ─ Unsqueeze ─┐
                                                                       x ─ Gather(1) ─ f ─ Unsqueeze ─┤
                                                                       x ─ Gather(2) ─ f ─ Unsqueeze ─ Concat ─ Y

Several scanned inputs, axes and directions are honored; in opset 8, where the first axis of everything is a batch, each
element of the batch is written out by itself. Fidelity: exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import adopt_opsets, bodies, nodes_of, opset, owners, shape_of
from graphopt.ir.evaluate import is_random
from graphopt.ir.schema import attribute
from graphopt_passes.canonicalize.splice import Splicer
from graphopt_passes.canonicalize.unroll import Unroll
from graphopt_passes.canonicalize.unroll_loops import closed, stack

_BATCHED = 8
"""The opset whose Scan has a batch axis."""


class UnrollScans(Unroll):
    """Write out the turns of Scans over axes of known, small size."""

    name = "unroll-scans"
    kind = "Scans"

    def unroll(self, model: ir.Model) -> int:
        """See `unroll_scans`."""
        return unroll_scans(model, self.name, self.options.nodes)


def unroll_scans(model: ir.Model, made_by: str, limit: int, *, shrink: bool = False) -> int:
    """Unroll every Scan that may be; returns how many went. Shapes must have been inferred.

    Args:
        limit: nodes that one Scan may become.
        shrink: only those that run once or that depend on constants alone, so that the graph gets smaller.
    """
    found: list[_Plan] = []
    for owner in owners(model):
        _search(owner, limit, shrink, found)
    if found:
        splicer = Splicer(model, made_by)
        for plan in found:
            _unroll(splicer, plan)
        adopt_opsets(model)
    return len(found)


@dataclass
class _Plan:
    """A Scan to unroll: sizes, and how its inputs and outputs lie."""

    scan: ir.Node
    body: ir.Graph
    batch: int | None
    length: int
    states: list[ir.Value]
    inputs: list[ir.Value]
    axes: list[int]
    reversed_inputs: list[int]
    output_axes: list[int]
    reversed_outputs: list[int]


def _search(graph: ir.Graph, limit: int, shrink: bool, found: list[_Plan]) -> None:
    for node in graph:
        plan = _plan(node, limit, shrink) if node.op_type == "Scan" and not node.domain else None
        if plan is not None:
            found.append(plan)
        else:
            for body in bodies(node):
                _search(body, limit, shrink, found)


def _plan(scan: ir.Node, limit: int, shrink: bool) -> _Plan | None:
    body, batched = scan.attributes["body"].as_graph(), opset(scan) == _BATCHED
    given = list(scan.inputs[1:] if batched else scan.inputs)
    if (batched and scan.inputs[0] is not None) or any(is_random(n) for n in nodes_of(body)):
        return None
    values = [v for v in given if v is not None]
    scanned = int(attribute(scan, "num_scan_inputs"))
    states, inputs = values[: len(values) - scanned], values[len(values) - scanned :]
    shapes = [shape_of(v) for v in inputs]
    ranks = [len(s) for s in shapes if s is not None]
    if len(values) < len(given) or not inputs or len(ranks) < len(inputs):
        return None
    outs = len(body.outputs) - len(states)
    axes = (
        [1] * scanned
        if batched
        else [a % r for a, r in zip(_ints(scan, "scan_input_axes", scanned), ranks, strict=True)]
    )
    sizes = {s[axis] for s, axis in zip(shapes, axes, strict=True) if s is not None}
    lengths = [d for d in sizes if isinstance(d, int)]
    batch = shapes[0][0] if batched and shapes[0] is not None else None
    if not lengths or lengths[0] < 1 or (batched and (not isinstance(batch, int) or batch < 1)):
        return None
    size = max(1, sum(n.op_type != "Constant" for n in nodes_of(body)))
    turns = lengths[0] * (batch if isinstance(batch, int) else 1)
    if turns * size > limit or (shrink and turns > 1 and not closed(scan, body)):
        return None
    return _Plan(
        scan, body, batch if isinstance(batch, int) else None, lengths[0], states, inputs, axes,
        _ints(scan, "directions" if batched else "scan_input_directions", scanned),
        [0] * outs if batched else _ints(scan, "scan_output_axes", outs),
        [0] * outs if batched else _ints(scan, "scan_output_directions", outs),
    )  # fmt: skip


def _ints(node: ir.Node, name: str, count: int) -> list[int]:
    held: Any = attribute(node, name)
    return [int(n) for n in held] if held else [0] * count


def _unroll(splicer: Splicer, plan: _Plan) -> None:
    scan, stem = plan.scan, plan.scan.name or "Scan"
    if plan.batch is None:
        splicer.replace(scan, _turns(splicer, plan, plan.states, plan.inputs, plan.axes))
        return
    rows = []
    for row in range(plan.batch):
        states = [_pick(splicer, scan, value, row, 0) for value in plan.states]
        inputs = [_pick(splicer, scan, value, row, 0) for value in plan.inputs]
        rows.append(_turns(splicer, plan, states, inputs, [0] * len(inputs)))
    splicer.replace(scan, [stack(splicer, scan, list(column), 0, stem) for column in zip(*rows, strict=True)])


def _turns(
    splicer: Splicer, plan: _Plan, states: list[ir.Value], inputs: list[ir.Value], axes: list[int]
) -> list[ir.Value]:
    """All turns of one element of the batch; returns the final states and what was scanned."""
    body, scan = plan.body, plan.scan
    scanned: list[list[ir.Value]] = [[] for _ in body.outputs[len(states) :]]
    for turn in range(plan.length):
        slices = [
            _pick(splicer, scan, value, plan.length - 1 - turn if backwards else turn, axis)
            for value, axis, backwards in zip(inputs, axes, plan.reversed_inputs, strict=True)
        ]
        made = splicer.copy(body, scan, dict(zip(body.inputs, [*states, *slices], strict=True)))
        states = [v for v in made[: len(states)] if v is not None]
        for held, value in zip(scanned, made[len(states) :], strict=True):
            assert value is not None
            held.append(value)
    stacked = []
    for values, axis, backwards, inner in zip(
        scanned, plan.output_axes, plan.reversed_outputs, body.outputs[len(states) :], strict=True
    ):
        shape = shape_of(inner)
        place = axis if axis >= 0 or shape is None else axis + len(shape) + 1
        stacked.append(stack(splicer, scan, values[::-1] if backwards else values, place, scan.name or "Scan"))
    return [*states, *stacked]


def _pick(splicer: Splicer, at: ir.Node, value: ir.Value, index: int, axis: int) -> ir.Value:
    """The slice of a value at an index, without that axis."""
    stem = at.name or "Scan"
    place = splicer.constant(ir.tensor(np.array(index, np.int64)), at, f"{stem}_index")
    picked = splicer.node(at, "Gather", [value, place], stem, attributes=[ir.AttrInt64("axis", axis)])[0]
    picked.type = value.type
    return picked
