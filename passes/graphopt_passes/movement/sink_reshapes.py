"""Move Reshapes through what does not mind how leading axes are grouped, wherever that leaves fewer nodes.

    x[64, 8] ─ Reshape(4, 16, 8) ─ Gelu ─ Reshape(64, 8) ─ Gemm ─ y      becomes      x[64, 8] ─ Gelu ─ Gemm ─ y

Regions of elementwise operators, MatMuls with a matrix, normalizations, Softmax and the like along trailing axes are
computed in the shape that needs the fewest Reshapes at their borders, which is a minimum cut (see `movement.region`).
A MatMul with a bias counts as a node less where its input is a matrix, since it is a Gemm there. Squeeze, Unsqueeze
and Flatten are Reshapes. Fidelity: rounding (a runtime may add up products of matrices in another order).
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import nodes_of, readers
from graphopt.ir.infer import dims_of, infer_shapes
from graphopt.ir.symbolic import product
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.movement.region import Sides
from graphopt_passes.movement.reshaped import MOVES, Dims, Reshaped, biased_matmul, relation
from graphopt_passes.movement.sink import Seeds, sink


class SinkReshapes(Pass):
    """Move Reshapes through what does not mind how leading axes are grouped, wherever that leaves fewer nodes."""

    name = "sink-reshapes"
    fidelity = "rounding"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Try each shape that a Reshape of the graph goes to or comes from, and matrices around biased MatMuls."""
        if not any(node.op_type in (*MOVES, "MatMul") for node in nodes_of(model.graph)):
            return PassResult(0)
        infer_shapes(model)
        changed, saved = sink(model, self.name, _seeds)
        return PassResult(changed, f"{saved} nodes in {changed} regions" if changed else "")


def _seeds(graph: ir.Graph) -> Seeds:
    found: dict[tuple[Dims, Dims], tuple[Sides, list[tuple[ir.Node, int]]]] = {}

    def seed(before: Dims, after: Dims, node: ir.Node | None, side: int) -> None:
        """Begin at a node whose values are like `before` on side 0, or like `after` on side 1."""
        if (after, before) in found:
            before, after, side = after, before, 1 - side
        if (before, after) not in found:
            found[before, after] = Sides(Reshaped(before, after)), []
        if node is not None:
            found[before, after][1].append((node, side))

    for node in graph:
        if node.op_type in MOVES and not node.domain:
            given, made = dims_of(node.inputs[0]), dims_of(node.outputs[0])
            if given is None or made is None or given == made:
                continue
            before, after = relation(given, made)
            for user in readers(node.outputs[0]):
                seed(before, after, user, 1)
            seed(before, after, node.inputs[0].producer() if node.inputs[0] is not None else None, 0)
        elif biased_matmul(node) is not None:
            dims = dims_of(node.outputs[0])
            rows = None if dims is None else product(dims[:-1])
            if dims is not None and rows is not None and len(dims) > 2:
                seed(dims[:-1], (rows,), node, 0)
    return list(found.values())
