"""In which layout the readers of each value would like to have it: one look over the graph, before it is lowered.

x ─ Reshape ─ Transpose ─ Reshape ─ Split ─ Conv        the Conv wants its channels last, and so, seen through what
                                                        has no wish of its own, do all the values before it
"""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt_backends.tflite import layout
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.onnx_node import integers
from graphopt_backends.tflite.regroup import regroup

IMAGES = frozenset({
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "DepthToSpace",
    "SpaceToDepth",
})  # fmt: skip
"""Operators that LiteRT has for images with their channels last."""
IN_ORDER = frozenset({"MatMul", "Gemm", "Gather", "GatherND", "ScatterND", "LSTM", "GRU", "RNN"})
"""Operators that are written in ONNX's order of axes."""


def wishes(graph: ir.Graph) -> dict[ir.Value, Layout]:
    """The layout that most readers with a wish want of a value; values that nobody has a wish for are missing."""
    votes: dict[ir.Value, Counter[Layout]] = {}
    for value in graph.outputs:
        shape = static_shape(value)
        if shape is not None:
            votes.setdefault(value, Counter())[layout.identity(len(shape))] += 1
    found: dict[ir.Value, Layout] = {}
    for node in reversed(graph):
        wanted = None
        for output in node.outputs:
            if output in votes:
                found[output] = votes[output].most_common(1)[0][0]
                wanted = wanted or found[output]
        for read in dict.fromkeys(node.inputs):
            vote = None if read is None else _vote(node, read, wanted)
            if read is not None and vote is not None:
                votes.setdefault(read, Counter())[vote] += 1
    return found


def _vote(node: ir.Node, value: ir.Value, wanted: Layout | None) -> Layout | None:
    """What a node wants of an input, where `wanted` is what is wanted of its own result."""
    shape, after = static_shape(value), static_shape(node.outputs[0])
    if shape is None or after is None:
        return None
    if node.op_type in IMAGES:
        return layout.channels_last(len(shape)) if node.inputs[0] is value else None
    if node.op_type in IN_ORDER:
        return layout.identity(len(shape))
    if wanted is None:
        return None
    if node.op_type == "Transpose":
        perm = integers(node, "perm") or list(reversed(range(len(shape))))
        return tuple(perm[axis] for axis in wanted)
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return regroup(after, shape, wanted)
    return wanted if len(after) == len(shape) else None
