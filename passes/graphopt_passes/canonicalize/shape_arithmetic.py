"""Compute sizes the short way.

    x[N, S, 8] ─ Shape ─┬ Gather(0) ─ Unsqueeze ─ Concat ─ [N, S]      becomes      x ─ Shape(0 to 2) ─ [N, S]
                        └ Gather(1) ─ Unsqueeze ───┘

    Where([no, yes], [7, 1], Concat(N, 5)) ─ [N, 1]                    becomes      Concat(N, 1) ─ [N, 1]

Inference tells the content of integer tensors in numbers and symbols. What it finds to be a run of sizes of one tensor
is taken from there: by Shape with a start and an end, from opset 15, else by a Slice of a Shape that is there already.
What is numbers and sizes that have been computed before is put together by one Concat. The number of nodes never
grows, and falls as soon as a step of the old way has no other reader. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.content import dims_of
from graphopt.ir.edit import (
    Names,
    add_constant,
    bodies,
    constant,
    mark,
    opset_of,
    readers,
    redirect,
    set_shape,
)
from graphopt.ir.symbolic import partial_of
from graphopt.ir.validate import describe
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import Rewrite
from graphopt_passes.canonicalize.eliminate_dead_code import sweep
from graphopt_passes.canonicalize.known_sizes import Items, Known, Run, vector_of


class SimplifyShapeArithmetic(Pass):
    """Compute sizes the short way: as a range of one tensor's shape, or as one Concat."""

    name = "simplify-shape-arithmetic"
    fidelity = "exact"

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Walk every graph once, in order."""
        log = shorten(model)
        return PassResult(len(log), f"{len(log)} values" if log else "", log=tuple(log))


def shorten(model: ir.Model) -> list[Rewrite]:
    """Compute sizes the short way in the main graph and its bodies; returns what was replaced."""
    walk = _Walk(model)
    known = Known(opset_of(model.graph))
    for value in model.graph.inputs:
        known.input(value)
    walk.visit(model.graph, known)
    if walk.log:
        sweep(model.graph)
    return walk.log


Part = ir.Value | Run | list[int]


class _Walk:
    def __init__(self, model: ir.Model) -> None:
        self.main, self.names = model.graph, Names(model)
        self.log: list[Rewrite] = []

    def visit(self, graph: ir.Graph, known: Known) -> None:
        for node in graph:
            for body in bodies(node):
                self.visit(body, Known(known.opset, known))
            items = vector_of(node.outputs[0]) if len(node.outputs) == 1 else None
            if items is None:
                continue
            parts = None
            if any(item.number is None for item in items) and not node.outputs[0].is_graph_output():
                parts = _shorter(node, items, known)
            if parts is None:
                known.learn(node)
            else:
                self.replace(node, parts, known)

    def replace(self, node: ir.Node, parts: list[Part], known: Known) -> None:
        """Put what makes the parts in the place of a node."""
        old, made = node.outputs[0], []
        values = [self.value(part, node, made, known) for part in parts]
        if len(values) > 1:
            joined = ir.Node("", "Concat", values, [ir.AttrInt64("axis", 0)])
            self.insert(joined, node, None, partial_of(old), made)
        new = made[-1].outputs[0]
        mark(made, SimplifyShapeArithmetic.name, [node])
        redirect(old, new)
        assert node.graph is not None
        node.graph.remove(node, safe=True)
        for one in made:
            known.learn(one)
        self.log.append(Rewrite("shape-arithmetic", (describe(node),), tuple(describe(n) for n in made)))

    def value(self, part: Part, node: ir.Node, made: list[ir.Node], known: Known) -> ir.Value:
        """The value that a part is, with the node that makes it where there is none."""
        if isinstance(part, ir.Value):
            return part
        if isinstance(part, list):
            return add_constant(self.main, np.array(part, np.int64), self.names.fresh(f"{node.outputs[0].name}_sizes"))
        source, start, end = part.anchor.value, part.start, part.start + len(part.items)
        if known.ranges or part.anchor.after is None:
            whole = len(dims_of(source) or ()) == len(part.items)
            ends = {} if whole else {"start": start, "end": end}
            fresh = ir.Node("", "Shape", [source], [ir.AttrInt64(name, n) for name, n in ends.items()])
        else:
            indices = self.value(list(range(start, end)), node, made, known)
            fresh = ir.Node("", "Gather", [source, indices], [ir.AttrInt64("axis", 0)])
        self.insert(fresh, node, part.anchor.after, part.items, made)
        return fresh.outputs[0]

    def insert(self, fresh: ir.Node, node: ir.Node, after: ir.Node | None, items: object, made: list[ir.Node]) -> None:
        graph, value = node.graph, fresh.outputs[0]
        assert graph is not None
        fresh.name = self.names.fresh(f"{describe(node).removeprefix('-> ')}_{fresh.op_type}")
        value.name = self.names.fresh(f"{node.outputs[0].name}_{fresh.op_type}")
        value.type = ir.TensorType(ir.DataType.INT64)
        value.meta["graphopt.partial"] = items
        set_shape(value, ir.Shape([len(items) if isinstance(items, tuple) else None]))
        if after is not None and after.graph is graph:
            graph.insert_after(after, fresh)
        else:
            graph.insert_before(node, fresh)
        made.append(fresh)


def _shorter(node: ir.Node, items: Items, known: Known) -> list[Part] | None:
    """Parts that make the same content in a shorter way, None where there is none."""
    run = known.wholes.get(items) or known.run_of(items)
    if run is not None:
        return None if _is_direct(node, run, known.ranges) else [run]
    parts = _parts(items, known)
    if parts is None or len(parts) == 1 or (node.op_type == "Concat" and len(parts) >= _groups(node)):
        return None
    fresh = sum(isinstance(part, Run) for part in parts)
    freed = sum(_dies(value, node) for value in dict.fromkeys(node.inputs) if value is not None)
    return parts if fresh < freed else None


def _parts(items: Items, known: Known) -> list[Part] | None:
    """The content piece by piece: constants, what has been computed before, and sizes of anchors."""
    parts: list[Part] = []
    at = 0
    while at < len(items):
        end = at + 1
        if items[at].number is not None:
            while end < len(items) and items[end].number is not None:
                end += 1
            parts.append([int(d.number) for d in items[at:end] if d.number is not None])
        else:
            while end < len(items) and known.run_of(items[at : end + 1]) is not None:
                end += 1
            there = known.vector(items[at:end])
            part = known.run_of(items[at:end]) if there is None else there
            if part is None:
                return None
            parts.append(part)
        at = end
    return parts


def _is_direct(node: ir.Node, run: Run, ranges: bool) -> bool:
    """Whether a node takes sizes as directly as can be: of an input of the model where that has them."""
    if node.op_type == "Shape":
        return run.anchor.after is not None or node.inputs[0] is run.anchor.value
    if ranges or run.anchor.after is None:
        return False
    source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    return node.op_type in ("Gather", "Slice") and source is not None and source.op_type == "Shape"


def _dies(value: ir.Value, reader: ir.Node) -> bool:
    """Whether a value is computed for one reader alone."""
    return value.producer() is not None and constant(value) is None and all(user is reader for user in readers(value))


def _groups(node: ir.Node) -> int:
    """Inputs of a Concat, constants in a row as one."""
    kinds = [constant(value) is not None for value in node.inputs]
    return sum(not (kind and index and kinds[index - 1]) for index, kind in enumerate(kinds))
