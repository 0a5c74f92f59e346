"""The walk that lets shapes and the content of shape tensors feed each other, once through a model.

What the onnx package found in its walk is taken as it is; a node is inferred again only where more is known of one of
its inputs than when that was found.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from graphopt.ir.carried import learn_carried
from graphopt.ir.content import dims_of
from graphopt.ir.edit import bodies, shape_of
from graphopt.ir.infer_node import infer_node
from graphopt.ir.learn import learn_shape
from graphopt.ir.partial import evaluate_partially
from graphopt.ir.sizes import Sizes, output_sizes
from graphopt.ir.symbolic import is_made_up, partial_of

_LONGEST_NAME = 200


def propagate(model: ir.Model, better: Iterable[ir.Value] = ()) -> int:
    """Compute the content of shape tensors all over the model, and the shapes that follow.

    Args:
        model: the shapes of its values become known better.
        better: values of which more is known than when their readers were inferred.

    Returns:
        How many shapes are known better than before.
    """
    return _walk(model.graph, set(better))


def _walk(graph: ir.Graph, better: set[ir.Value]) -> int:
    """One walk; `better` are the values of which more is known than before."""
    learnt = 0
    for node in graph:
        learnt += learn_carried(node, better, _walk)
        for body in bodies(node):
            learnt += _walk(body, better)
        if not node.outputs:
            continue
        learnt += _shapes(node, better)
        if evaluate_partially(node):
            better.update(node.outputs)
    return learnt


def _shapes(node: ir.Node, better: set[ir.Value]) -> int:
    if node.op_type == "If" and not node.domain:
        return _join(node, better)
    first = node.outputs[0]
    sizes = None if _final(first) else output_sizes(node)
    if sizes is not None and learn_shape(first, _as_list(sizes), derived=True):
        better.add(first)
        return 1
    if sizes is None and (_untyped(node) or any(value in better for value in node.inputs)) and not _all_final(node):
        before = [shape_of(value) for value in node.outputs]
        infer_node(node, derived=True)
        changed = [v for v, old in zip(node.outputs, before, strict=True) if shape_of(v) is not old]
        better.update(changed)
        return len(changed)
    return 0


def _untyped(node: ir.Node) -> bool:
    """Whether the onnx package said nothing of a result whose input is known."""
    source = node.inputs[0] if node.inputs else None
    return node.outputs[0].type is None and source is not None and source.type is not None


def _all_final(node: ir.Node) -> bool:
    return all(map(_final, node.outputs))


def _join(node: ir.Node, better: set[ir.Value]) -> int:
    """What both branches of an If say of its outputs."""
    branches, learnt = list(bodies(node)), 0
    if len(branches) != 2 or any(len(body.outputs) != len(node.outputs) for body in branches):
        return 0
    for index, value in enumerate(node.outputs):
        ends = [body.outputs[index] for body in branches]
        contents = [partial_of(end) for end in ends]
        if contents[0] is not None and all(one == contents[0] for one in contents):
            value.meta["graphopt.partial"] = contents[0]
        shapes = [dims_of(end) for end in ends]
        if shapes[0] is not None and all(shape == shapes[0] for shape in shapes):
            changed = learn_shape(value, _as_list(shapes[0]), derived=True)
            learnt += changed
            better.update([value] if changed else [])
    return learnt


def _final(value: ir.Value) -> bool:
    """Whether no more can be learnt: every size is a number or made of the user's names alone."""
    shape = shape_of(value)
    return shape is not None and all(
        isinstance(d, int) or (d.value is not None and not is_made_up(d.value)) for d in shape
    )


def _as_list(sizes: Sizes) -> list[int | str | None]:
    names = [str(d) for d in sizes]
    # What has grown so long that nobody would recognize it stays what the onnx package calls it.
    return [
        d.number if d.number is not None else name if len(name) <= _LONGEST_NAME else None
        for d, name in zip(sizes, names, strict=True)
    ]
