"""Output shapes with symbols, where the onnx package leaves a dimension open.

It calls every size anew that it would have to compute: that of a Reshape to computed numbers, of a sum of two lengths,
of an axis on which N meets M. Here they are polynomials, so that two that are equal can be seen to be equal. One small
function an operator, found by its name in `_SIZES`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import zip_longest

import onnx_ir as ir

from graphopt.ir.content import content, dims_of, input_of, integers_at, items_at, items_of
from graphopt.ir.edit import constant, opset_of
from graphopt.ir.symbolic import Dim, broadcast, maximum, minimum, numbers, product

Sizes = tuple[Dim, ...]
_ONE = Dim.of(1)
_OPEN_END = 2**31 - 1
"""Ends of a Slice from which on exporters mean "to the end"."""


def output_sizes(node: ir.Node) -> Sizes | None:
    """The shape of the first output of a node, None where it is left to the onnx package."""
    infer = None if node.domain else _SIZES.get(node.op_type)
    return None if infer is None else infer(node)


def broadcast_sizes(*shapes: Sizes) -> Sizes:
    """The shape that shapes broadcast to, aligned at their ends."""
    columns = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=_ONE)
    return tuple(reduce(broadcast, column) for column in columns)[::-1]


def _elementwise(node: ir.Node) -> Sizes | None:
    shapes = [dims_of(value) for value in node.inputs]
    if "axis" in node.attributes or "broadcast" in node.attributes:  # before opset 7
        return shapes[0]
    known = [shape for shape in shapes if shape is not None]
    return broadcast_sizes(*known) if known and len(known) == len(shapes) else None


def _matmul(node: ir.Node) -> Sizes | None:
    a, b = dims_of(node.inputs[0]), dims_of(node.inputs[1])
    if a is None or b is None or not a or not b:
        return None
    batch = broadcast_sizes(a[:-2], b[:-2])
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _reshape(node: ir.Node) -> Sizes | None:
    target, source = items_at(node, "shape", 1), dims_of(node.inputs[0])
    if target is None:
        return None
    allow_zero = "allowzero" in node.attributes and node.attributes["allowzero"].as_int()
    dims: list[Dim | None] = []
    for axis, dim in enumerate(target):
        if dim.number == 0 and not allow_zero:
            if source is None or axis >= len(source):
                return None
            dims.append(source[axis])
        else:
            dims.append(None if dim.number == -1 else dim)
    if None not in dims:
        return tuple(d for d in dims if d is not None)
    whole, known = None if source is None else product(source), product(tuple(d for d in dims if d is not None))
    # A Reshape that is valid divides evenly, also where the polynomials do not show it.
    rest = whole.floor_divide(known) if whole is not None and known is not None and known.terms else None
    return None if rest is None else tuple(rest if d is None else d for d in dims)


def _flatten(node: ir.Node) -> Sizes | None:
    source, axis = dims_of(node.inputs[0]), node.attributes.get("axis")
    if source is None or (axis is not None and axis.is_ref()):
        return None
    cut = axis.as_int() if axis is not None else 1
    cut += len(source) if cut < 0 else 0
    a, b = product(source[:cut]), product(source[cut:])
    return None if a is None or b is None else (a, b)


def _shape_is_content(node: ir.Node) -> Sizes | None:
    return items_of(node.inputs[0])


def _expand(node: ir.Node) -> Sizes | None:
    target, source = items_of(node.inputs[1]), dims_of(node.inputs[0])
    return None if target is None or source is None else broadcast_sizes(source, target)


def _tile(node: ir.Node) -> Sizes | None:
    repeats, source = items_of(input_of(node, 1)), dims_of(node.inputs[0])
    if repeats is None or source is None or len(repeats) != len(source):
        return None
    return tuple(d * r for d, r in zip(source, repeats, strict=True))


def _concat(node: ir.Node) -> Sizes | None:
    shapes = [dims_of(value) for value in node.inputs]
    first, axis = shapes[0], node.attributes.get("axis")
    if first is None or axis is None or axis.is_ref() or any(s is None or len(s) != len(first) for s in shapes):
        return None
    at = axis.as_int() % len(first)
    length = sum((s[at] for s in shapes if s is not None), Dim.of(0))
    # The other axes agree, so the one that says most speaks for all.
    best = [min((s[i] for s in shapes if s is not None), key=_openness) for i in range(len(first))]
    return (*best[:at], length, *best[at + 1 :])


def _openness(dim: Dim) -> tuple[bool, int]:
    return dim.number is None, len(str(dim))


def _pad(node: ir.Node) -> Sizes | None:
    source, pads = dims_of(node.inputs[0]), items_at(node, "pads", 1)
    if source is None or pads is None:
        return None
    axes = integers_at(node, "", 3) if input_of(node, 3) is not None else list(range(len(source)))
    if axes is None or len(pads) != 2 * len(axes):
        return None
    dims = list(source)
    for index, axis in enumerate(axes):
        dims[axis] = dims[axis] + pads[index] + pads[index + len(axes)]
    return tuple(dims)


def _range(node: ir.Node) -> Sizes | None:
    start, limit, step = (content(value) for value in node.inputs)
    if isinstance(start, Dim) and isinstance(limit, Dim) and isinstance(step, Dim):
        span = limit - start
        if step.number == 1:
            return (maximum(span, Dim.of(0)),)
    return None


def _slice(node: ir.Node) -> Sizes | None:
    dims, starts, ends = dims_of(node.inputs[0]), items_at(node, "starts", 1), items_at(node, "ends", 2)
    if dims is None or starts is None or ends is None:
        return None
    axes = integers_at(node, "axes", 3) if "axes" in node.attributes or input_of(node, 3) is not None else None
    steps = integers_at(node, "steps", 4) if input_of(node, 4) is not None else [1] * len(starts)
    if axes is None and input_of(node, 3) is not None:
        return None
    axes = list(range(len(starts))) if axes is None else axes
    if steps is None or not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    result = list(dims)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        result[axis] = _sliced(dims[axis], start, end, step)
    return tuple(result)


def _sliced(size: Dim, start: Dim, end: Dim, step: int) -> Dim:
    """How many elements a slice takes of an axis."""
    known, first, last = size.number, start.number, end.number
    if known is not None and first is not None and last is not None:
        return Dim.of(len(range(known)[first : None if step < 0 and last < -known else last : step]))
    if step == 1 and first is not None and last is not None and (last < 0 or last >= _OPEN_END) and first >= 0:
        # From the first to the end, or to so many before it.
        return maximum(size - Dim.of(first - min(last, 0)) if last < 0 else size - Dim.of(first), Dim.of(0))
    if step == 1 and first == 0 and end.not_negative:
        return minimum(size, end)
    return Dim.of(f"slice({size}, {start}, {end}, {step})")


def _resize(node: ir.Node) -> Sizes | None:
    wanted = 3 if opset_of(node.graph) >= 11 else -1
    if "axes" in node.attributes:
        return None
    if wanted > 0 and input_of(node, wanted) is not None:
        policy = node.attributes.get("keep_aspect_ratio_policy")
        return items_of(node.inputs[wanted]) if policy is None or policy.as_string() == "stretch" else None
    source, scales = dims_of(node.inputs[0]), constant(input_of(node, 2 if wanted > 0 else 1))
    if source is None or scales is None or scales.size != len(source):
        return None
    factors = [float(s) for s in scales.numpy().reshape(-1)]
    if any(not s.is_integer() for s in factors) or node.attributes.get("coordinate_transformation_mode") is not None:
        # A crop region changes the size, and a scale that is no integer rounds.
        mode = node.attributes.get("coordinate_transformation_mode")
        if any(not s.is_integer() for s in factors) or (mode is not None and mode.as_string() == "tf_crop_and_resize"):
            return None
    return tuple(d * Dim.of(int(s)) for d, s in zip(source, factors, strict=True))


def _window(node: ir.Node) -> Sizes | None:
    """Convolution and pooling: ⌊(size + pads - dilation·(kernel - 1) - 1) / stride⌋ + 1 on each spatial axis."""
    source = dims_of(node.inputs[0])
    weight = dims_of(node.inputs[1]) if node.op_type == "Conv" else None
    kernel = _list(node, "kernel_shape") or (numbers(weight[2:]) if weight is not None else None)
    if source is None or kernel is None or (node.op_type == "Conv" and weight is None) or len(source) < 3:
        return None
    rank, auto, ceil = len(source) - 2, node.attributes.get("auto_pad"), node.attributes.get("ceil_mode")
    if len(kernel) != rank or (auto is not None and auto.as_string() != "NOTSET") or (ceil is not None and ceil.value):
        return None
    strides, dilations = _list(node, "strides") or [1] * rank, _list(node, "dilations") or [1] * rank
    pads = _list(node, "pads") or [0] * 2 * rank
    channels = weight[0] if weight is not None else source[1]
    spatial = [
        (source[2 + i] + Dim.of(pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1)).floor_divide(
            Dim.of(strides[i])
        )
        + _ONE
        for i in range(rank)
    ]
    return (source[0], channels, *spatial)


def _list(node: ir.Node, name: str) -> list[int] | None:
    held = node.attributes.get(name)
    return None if held is None or held.is_ref() else list(held.as_ints())


_BROADCASTING = (
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "Where", "Max", "Min", "Sum", "Mean", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift",
)  # fmt: skip
_SIZES: dict[str, Callable[[ir.Node], Sizes | None]] = {
    **dict.fromkeys(_BROADCASTING, _elementwise), **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), _window),
    "MatMul": _matmul, "Reshape": _reshape, "Flatten": _flatten, "ConstantOfShape": _shape_is_content,
    "Expand": _expand, "Tile": _tile, "Concat": _concat, "Pad": _pad, "Range": _range, "Slice": _slice,
    "Resize": _resize, "Upsample": _resize,
}  # fmt: skip
