"""Ranks that values must have for the graph to run at all, learnt from the operators that read them.

    If ─ h[?] ─ Unsqueeze(0) ─ LSTM          an LSTM takes three dimensions, so h has two

An exporter that could not tell whether a Squeeze does anything writes an If whose branches differ in rank, and then
asks for the rank of what came out. Every node of a graph runs whenever the graph does, so in a run that succeeds a
value has the rank that its readers in the same graph insist on. Nothing is said of values around a body, which may be
there in runs where the body is not reached. A run that breaks the requirement fails at the same node as before.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from graphopt.ir.edit import bodies, nodes_of, owners, set_shape, shape_of
from graphopt.ir.schema import attribute, integers

Ranks = dict[ir.Value, frozenset[int]]
"""Ranks that values of unknown rank may have."""

_RNN = {0: 3, 1: 3, 2: 3, 3: 2, 5: 3, 6: 3}
_INSIST: dict[str, dict[int, int]] = {
    "LSTM": _RNN, "GRU": _RNN, "RNN": _RNN, "Gemm": {0: 2, 1: 2},
    "DepthToSpace": {0: 4}, "SpaceToDepth": {0: 4}, "MaxRoiPool": {0: 4, 1: 2}, "RoiAlign": {0: 4, 1: 2},
    "NonMaxSuppression": {0: 3, 1: 3},
}  # fmt: skip
"""Ranks that operators insist on, by input."""
_KEEP = frozenset({
    "Identity", "Cast", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish", "Softplus",
    "Softsign", "Neg", "Abs", "Exp", "Log", "Sqrt", "Erf", "Floor", "Ceil", "Round", "Sign", "Reciprocal", "Not",
    "Softmax", "LogSoftmax", "Clip", "Dropout", "Gelu", "Mish", "Slice", "Pad", "BatchNormalization",
    "InstanceNormalization", "LayerNormalization", "Transpose",
})  # fmt: skip
"""Operators whose first output has the rank of their first input."""


def learn_ranks(model: ir.Model) -> int:
    """Record ranks that follow from what reads a value; returns how many were not known."""
    learnt = 0
    for owner in owners(model):
        found = _learn(owner)
        learnt += found
        if found:
            # What was computed from sizes that had no better name than a made-up one may be told now.
            for node in nodes_of(owner):
                for value in node.outputs:
                    value.meta.pop("graphopt.partial", None)
    return learnt


def _learn(graph: ir.Graph) -> int:
    learnt = sum(_learn(body) for node in graph for body in bodies(node))
    if not any(shape_of(v) is None for node in graph if _undecided(node) for v in node.outputs):
        return learnt
    possible = _possible(graph, {})
    for value, rank in _needed(graph, possible).items():
        if shape_of(value) is None and rank in possible.get(value, {rank}) and isinstance(value.type, ir.TensorType):
            set_shape(value, ir.Shape([None] * rank))
            learnt += 1
    return learnt


def _undecided(node: ir.Node) -> bool:
    return node.op_type == "If" and not node.domain


def _possible(graph: ir.Graph, known: Ranks) -> Ranks:
    """Ranks that the branches of Ifs leave open, carried forward."""
    for node in graph:
        if node.domain or not node.outputs or shape_of(node.outputs[0]) is not None:
            continue
        if _undecided(node):
            branches = list(bodies(node))
            for body in branches:
                _possible(body, known)
            for index, value in enumerate(node.outputs):
                ranks = [_ranks(body.outputs[index], known) for body in branches]
                if all(r is not None for r in ranks):
                    known[value] = frozenset().union(*(r for r in ranks if r is not None))
            continue
        change, given = _change(node), _ranks(node.inputs[0], known) if node.inputs else None
        if change is not None and given is not None:
            known[node.outputs[0]] = frozenset(rank + change for rank in given)
    return known


def _ranks(value: ir.Value | None, known: Ranks) -> frozenset[int] | None:
    shape = shape_of(value)
    return frozenset([len(shape)]) if shape is not None else known.get(value) if value is not None else None


def _change(node: ir.Node) -> int | None:
    """How many more dimensions the first output has than the first input, None where that cannot be told."""
    if node.op_type in _KEEP:
        return 0
    if node.op_type in ("Squeeze", "Unsqueeze"):
        axes = integers(node, "axes", 1)
        return None if axes is None else len(set(axes)) * (1 if node.op_type == "Unsqueeze" else -1)
    return None


def _needed(graph: ir.Graph, possible: Ranks) -> dict[ir.Value, int]:
    """The rank that each value of a graph needs, found from its end; nodes that nothing needs do not count."""
    needed: dict[ir.Value, int] = {}
    live = set(graph.outputs)
    own = {value for node in graph for value in node.outputs}
    for node in reversed(graph):
        if not any(value in live for value in node.outputs):
            continue
        live.update(v for v in node.inputs if v is not None)
        live.update(v for body in bodies(node) for n in nodes_of(body) for v in n.inputs if v is not None)
        live.update(v for body in bodies(node) for v in body.outputs)
        for value, rank in _demands(node, needed, possible):
            if value in own:
                needed.setdefault(value, rank)
    return needed


def _demands(node: ir.Node, needed: dict[ir.Value, int], possible: Ranks) -> Iterator[tuple[ir.Value, int]]:
    """The ranks that a node needs its inputs to have, for its own sake and for what reads it."""
    if node.domain:
        return
    for index, rank in _insisted(node).items():
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None:
            yield value, rank
    yield from _passed_on(node, needed, possible)


def _passed_on(node: ir.Node, needed: dict[ir.Value, int], possible: Ranks) -> Iterator[tuple[ir.Value, int]]:
    """What follows for the inputs of a node from what is needed of its outputs."""
    if _undecided(node):
        yield from _through(node, needed, possible)
        return
    rank, change = _need(node.outputs[0], needed), _change(node)
    if rank is not None and change is not None and node.inputs[0] is not None:
        yield node.inputs[0], rank - change


def _insisted(node: ir.Node) -> dict[int, int]:
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return {0: len(attribute(node, "perm") or ())}
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = shape_of(node.inputs[1])
        return {} if weight is None else {0: len(weight)}
    if node.op_type in ("MaxPool", "AveragePool", "LpPool"):
        kernel = attribute(node, "kernel_shape")
        return {0: len(kernel) + 2} if kernel else {}
    return _INSIST.get(node.op_type, {})


def _need(value: ir.Value, needed: dict[ir.Value, int]) -> int | None:
    shape = shape_of(value)
    return len(shape) if shape is not None else needed.get(value)


def _through(node: ir.Node, needed: dict[ir.Value, int], possible: Ranks) -> Iterator[tuple[ir.Value, int]]:
    """Where one branch of an If cannot give the ranks that are needed, the other one runs, and needs what it needs."""
    ranks = {index: _need(value, needed) for index, value in enumerate(node.outputs)}
    able = []
    for body in bodies(node):
        found = [(_ranks(body.outputs[i], possible), rank) for i, rank in ranks.items() if rank is not None]
        if all(open_ is None or rank in open_ for open_, rank in found):
            able.append(body)
    if len(able) != 1:
        return
    inner = {able[0].outputs[i]: rank for i, rank in ranks.items() if rank is not None}
    for inside in reversed(able[0]):
        for value, rank in () if inside.domain else _passed_on(inside, inner, possible):
            inner.setdefault(value, rank)
    own = {value for n in able[0] for value in n.outputs}
    yield from ((value, rank) for value, rank in inner.items() if value not in own)
