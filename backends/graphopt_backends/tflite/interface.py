"""In which order of axes the images at the interface of a file are stored, where the user chooses one.

    x[N, C, H, W] ─ Conv ─ Relu ─ y        nhwc: both are stored as [N, H, W, C], which is how CONV_2D has them

What is an image, and which of its axes holds the channels, follows from the operators that know: convolutions, poolings
and their kin. It is carried through operators that keep the axes as they are, and through Transposes.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.onnx_node import integers
from graphopt_backends.tflite.wishes import IMAGES, IN_ORDER

_CHANNELS = 1


def orders(graph: ir.Graph, io_layout: str) -> dict[ir.Value, Layout]:
    """The layouts of inputs and outputs that are images; others are missing, as all are with io_layout "keep"."""
    if io_layout == "keep":
        return {}
    axes = {**_of_results(graph), **_of_inputs(graph)}
    ends = dict.fromkeys((*graph.inputs, *graph.outputs))
    return {value: _order(len(value.shape or ()), axes[value], io_layout) for value in ends if value in axes}


def _order(rank: int, channels: int, io_layout: str) -> Layout:
    others = [axis for axis in range(rank) if axis != channels]
    return (*others, channels) if io_layout == "nhwc" else (others[0], channels, *others[1:])


def _of_results(graph: ir.Graph) -> dict[ir.Value, int]:
    """The axis of the channels of what images become."""
    found: dict[ir.Value, int] = {}
    for node in graph:
        axis: int | None = _CHANNELS if _is_image(node.outputs) and node.op_type in IMAGES else None
        known = [found[value] for value in node.inputs if value in found]
        if axis is None and known and _keeps_axes(node):
            axis = _permutation(node, known[0])
        if axis is not None:
            found.update(dict.fromkeys(node.outputs, axis))
    return found


def _of_inputs(graph: ir.Graph) -> dict[ir.Value, int]:
    """The axis of the channels of what images are made of."""
    found: dict[ir.Value, int] = {}
    for node in reversed(graph):
        if node.op_type in IMAGES and not node.domain:
            if _is_image(node.inputs[:1]) and node.inputs[0] is not None:
                found[node.inputs[0]] = _CHANNELS
        elif node.outputs and node.outputs[0] in found and _keeps_axes(node):
            after = found[node.outputs[0]]
            perm = integers(node, "perm") if node.op_type == "Transpose" else None
            axis = after if node.op_type != "Transpose" else perm[after] if perm else None
            for value in node.inputs:
                if value is not None and axis is not None and _is_image([value]):
                    found.setdefault(value, axis)
    return found


def _is_image(values: Iterable[ir.Value | None]) -> bool:
    shapes = [static_shape(value) for value in values]
    return bool(shapes) and all(shape is not None and len(shape) > 2 for shape in shapes[:1])


def _keeps_axes(node: ir.Node) -> bool:
    ranks = {len(shape) for value in (*node.inputs[:1], *node.outputs) if (shape := static_shape(value)) is not None}
    return not node.domain and node.op_type not in IN_ORDER and node.op_type != "Reshape" and len(ranks) == 1


def _permutation(node: ir.Node, axis: int) -> int | None:
    if node.op_type != "Transpose":
        return axis
    perm = integers(node, "perm")
    return perm.index(axis) if perm else None
