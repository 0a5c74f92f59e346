"""Write out the turns of a Loop that is known to run a few times.

    x ─ Loop(3) <h ─ f ─ h'> ─ y                  becomes      x ─ f ─ f ─ f ─ y
    x ─ Loop(2) <h ─ f ─ (h', scanned s)> ─ S     becomes      x ─ f ─ f,  each s ─ Unsqueeze ─┐
                                                                           each s ─ Unsqueeze ─ Concat ─ S

The number of turns is given, or the condition depends on nothing but the counter and constants. A Loop stays where the
graph would grow beyond the limit, and where its body draws random numbers: a random operator with a seed goes on
from turn to turn. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import adopt_opsets, bodies, constant, is_read, nodes_of, opset, owners, static_shape
from graphopt.ir.evaluate import is_random
from graphopt.ir.symbolic import numbers, partial_of
from graphopt_passes.canonicalize.splice import Splicer, Values
from graphopt_passes.canonicalize.trip_count import trip_count
from graphopt_passes.canonicalize.unroll import Unroll

AXES_ARE_INPUTS = 13
"""First opset where Squeeze and Unsqueeze have their axes as an input."""


class UnrollLoops(Unroll):
    """Write out the turns of Loops that run a known, small number of times."""

    name = "unroll-loops"
    kind = "Loops"

    def unroll(self, model: ir.Model) -> int:
        """See `unroll_loops`."""
        return unroll_loops(model, self.name, self.options.nodes)


def unroll_loops(model: ir.Model, made_by: str, limit: int, *, shrink: bool = False) -> int:
    """Unroll every Loop that may be; returns how many went. Shapes must have been inferred.

    Args:
        limit: nodes that one Loop may become.
        shrink: only those that run at most once or that depend on constants alone, so that the graph gets smaller.
    """
    found: list[tuple[ir.Node, int]] = []
    for owner in owners(model):
        _search(owner, limit, shrink, found)
    if found:
        splicer = Splicer(model, made_by)
        for loop, turns in found:
            _unroll(splicer, loop, turns)
        adopt_opsets(model)
    return len(found)


def _search(graph: ir.Graph, limit: int, shrink: bool, found: list[tuple[ir.Node, int]]) -> None:
    """Collect the Loops to unroll; what is inside of them is looked at when it has come out."""
    for node in graph:
        turns = _turns(node, limit, shrink) if node.op_type == "Loop" and not node.domain else None
        if turns is not None:
            found.append((node, turns))
        else:
            for body in bodies(node):
                _search(body, limit, shrink, found)


def _turns(loop: ir.Node, limit: int, shrink: bool) -> int | None:
    body = loop.attributes["body"].as_graph()
    if any(v is None for v in loop.inputs[2:]):
        return None
    size = max(1, sum(n.op_type != "Constant" for n in nodes_of(body)))
    if any(is_random(n) for n in nodes_of(body)):
        return None
    most = 1 if shrink and not closed(loop, body) else limit // size
    turns = trip_count(loop, most)
    return None if turns is None or turns > most or _scanned_shapes(loop, turns) is None else turns


def closed(node: ir.Node, body: ir.Graph) -> bool:
    """Whether a node with a body reads constants alone, so that folding can compute it once it is unrolled."""
    inside = {v for n in nodes_of(body) for v in n.outputs} | set(body.inputs) | set(body.initializers.values())
    inside |= {v for n in nodes_of(body) for b in n.attributes.values() if b.type == ir.AttributeType.GRAPH
               for v in (*b.value.inputs, *b.value.initializers.values())}  # fmt: skip
    read = {v for n in nodes_of(body) for v in n.inputs} | set(body.outputs) | set(node.inputs)
    fixed = (v is None or v in inside or constant(v) is not None or numbers(partial_of(v)) is not None for v in read)
    return all(fixed)


def _scanned_shapes(loop: ir.Node, turns: int) -> list[tuple[int, ...]] | None:
    """Shapes of what a Loop that never runs would have scanned, None where one is not known."""
    body = loop.attributes["body"].as_graph()
    carried = len(loop.inputs) - 2
    found = []
    for value, out in zip(body.outputs[1 + carried :], loop.outputs[carried:], strict=True):
        shape = static_shape(value)
        if turns == 0 and (is_read(out) or out.is_graph_output()) and (shape is None or value.dtype is None):
            return None
        found.append(shape or ())
    return found


def _unroll(splicer: Splicer, loop: ir.Node, turns: int) -> None:
    body = loop.attributes["body"].as_graph()
    stem = loop.name or "Loop"
    state: list[ir.Value | None] = list(loop.inputs[2:])
    scanned: list[list[ir.Value]] = [[] for _ in body.outputs[1 + len(state) :]]
    true = splicer.constant(ir.tensor(np.array(True)), loop, f"{stem}_go") if _reads(body, 1) else None
    for turn in range(turns):
        values: Values = dict(zip(body.inputs[2:], state, strict=True))
        values[body.inputs[1]] = true
        if _reads(body, 0):
            values[body.inputs[0]] = splicer.constant(ir.tensor(np.array(turn, np.int64)), loop, f"{stem}_turn")
        made = splicer.copy(body, loop, values, alone=turns == 1)
        state = made[1 : 1 + len(state)]
        for held, value in zip(scanned, made[1 + len(state) :], strict=True):
            assert value is not None
            held.append(value)
    shapes = _scanned_shapes(loop, turns) or []
    outs = loop.outputs[len(state) :]
    for values_of, shape, out, inner in zip(scanned, shapes, outs, body.outputs[1 + len(state) :], strict=True):
        if not is_read(out) and not out.is_graph_output():
            state.append(None)
        elif values_of:
            state.append(stack(splicer, loop, values_of, 0, stem))
        else:
            assert inner.dtype is not None
            state.append(splicer.constant(ir.tensor(np.zeros((0, *shape), inner.dtype.numpy())), loop, f"{stem}_none"))
    splicer.replace(loop, state)


def _reads(body: ir.Graph, index: int) -> bool:
    return is_read(body.inputs[index]) or body.inputs[index] in body.outputs


def stack(splicer: Splicer, at: ir.Node, values: list[ir.Value], axis: int, stem: str) -> ir.Value:
    """Values of one shape, joined along a new axis."""
    if opset(at) >= AXES_ARE_INPUTS:
        axes = splicer.constant(ir.tensor(np.array([axis], np.int64)), at, f"{stem}_axes")
        parts = [splicer.node(at, "Unsqueeze", [v, axes], stem)[0] for v in values]
    else:
        held = [ir.AttrInt64s("axes", [axis])]
        parts = [splicer.node(at, "Unsqueeze", [v], stem, attributes=held)[0] for v in values]
    for part, value in zip(parts, values, strict=True):
        part.type = value.type
    if len(parts) == 1:
        return parts[0]
    joined = splicer.node(at, "Concat", parts, stem, attributes=[ir.AttrInt64("axis", axis)])[0]
    joined.type = values[0].type
    return joined
