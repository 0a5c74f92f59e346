"""Move Transposes through what does not mind the order of axes, wherever that leaves fewer of them.

    x ─ Transpose(0, 2, 3, 1) ─ Relu ─ Concat(-1) ─ Transpose(0, 3, 1, 2) ─ y      becomes      x ─ Relu ─ Concat(1) ─ y

Regions of elementwise operators, Concat, Split, Slice, Pad, Softmax and reductions are computed in the order of axes
that needs the fewest Transposes at their borders, which is a minimum cut (see `movement.region`). Other readers, graph
outputs and constants are accounted for; nothing changes where the number would stay as it is.
Fidelity: rounding (Softmax and reductions may add up in another order; all else is exact).
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import nodes_of, readers
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.movement.permuted import Permuted, inverse, permutation_of
from graphopt_passes.movement.region import Sides
from graphopt_passes.movement.sink import Seeds, sink


class SinkTransposes(Pass):
    """Move Transposes through what does not mind the order of axes, wherever that leaves fewer of them."""

    name = "sink-transposes"
    fidelity = "rounding"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Try each order of axes that a Transpose of the graph goes to or comes from."""
        if not any(node.op_type == "Transpose" for node in nodes_of(model.graph)):
            return PassResult(0)
        infer_shapes(model)
        changed, saved = sink(model, self.name, _seeds)
        return PassResult(changed, f"{saved} transposes in {changed} regions" if changed else "")


def _seeds(graph: ir.Graph) -> Seeds:
    found: dict[tuple[int, ...], tuple[Sides, list[tuple[ir.Node, int]]]] = {}
    for node in graph:
        perm = permutation_of(node)
        if perm is None:
            continue
        order = min(perm, inverse(perm))
        if order not in found:
            found[order] = Sides(Permuted(order)), []
        # On side 1 lies what such a Transpose makes, and what its inverse reads.
        after = int(perm == order)
        starts = found[order][1]
        starts.extend((user, after) for user in readers(node.outputs[0]))
        producer = node.inputs[0].producer() if node.inputs[0] is not None else None
        if producer is not None:
            starts.append((producer, 1 - after))
    return list(found.values())
