"""Operators that move elements and compute nothing: reshaping, permuting, joining, cutting, repeating, padding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ai_edge_litert.schema_py_generated import MirrorPadMode

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.onnx_node import (
    axis_of,
    bound,
    fixed,
    integer,
    integers,
    is_used,
    required,
    setting,
    text,
)
from graphopt_backends.tflite.registry import WIDEN, Decline, lowering
from graphopt_backends.tflite.regroup import regroup, side_by_side
from graphopt_backends.tflite.window import pad


@lowering("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: ir.Node, e: Emitter) -> None:
    """RESHAPE of what is stored, where the stored order allows it; else of ONNX's order."""
    x, y = required(node, 0), node.outputs[0]
    before, after = e.shape(x), e.shape(y)
    if e.fold_moved(y, x, lambda array: array.reshape(after), lambda scheme: scheme.reshaped(before, after)):
        return None
    for where in e.layouts(x):
        made = regroup(before, after, where)
        if made is not None:
            return e.write(y, e.reshape(e.read(x, where), layout.stored(after, made)), made)
    runs = side_by_side(before, after, e.layout(x))
    if runs is None or runs[1] != e.wishes.get(y):
        return e.write(y, e.reshape(e.read(x), after))
    gathered, made = runs
    return e.write(y, e.reshape(e.read(x, gathered), layout.stored(after, made)), made)


@lowering("Transpose")
def transpose(node: ir.Node, e: Emitter) -> None:
    """A new name for what is stored; a TRANSPOSE is written only where a reader wants another order."""
    x, y = required(node, 0), node.outputs[0]
    perm = integers(node, "perm") or list(reversed(range(e.rank(x))))
    if e.fold_moved(y, x, lambda array: np.transpose(array, perm), lambda scheme: scheme.along(perm)):
        return None
    return e.alias(y, x, lambda where: layout.transposed(where, perm))


@lowering("Identity", "Dropout")
def identity(node: ir.Node, e: Emitter) -> None:
    """A new name for what is stored; the mask of an inactive Dropout keeps everything."""
    x, y = required(node, 0), node.outputs[0]
    if is_used(node, 1):
        e.fold(node.outputs[1], np.ones(e.shape(x), e.dtype(node.outputs[1])))
    training = fixed(node, e, 2, "training_mode") if node.op_type == "Dropout" else None
    if training is not None and training.any():
        raise Decline("training_mode is on")
    if e.fold_moved(y, x, lambda array: array, lambda scheme: scheme):
        return None
    return e.alias(y, x, lambda where: where)


@lowering("Cast")
def cast(node: ir.Node, e: Emitter) -> None:
    """CAST."""
    x, y = required(node, 0), node.outputs[0]
    where = e.layout(x)
    wanted = str(ir.DataType(integer(node, "to", 1)).numpy())
    if e.dtype(x) == wanted:
        return identity(node, e)
    return e.write(y, e.cast(e.read(x, where), wanted), where)


@lowering(f"{WIDEN[0]}::{WIDEN[1]}")
def widen(node: ir.Node, e: Emitter) -> None:
    """A constant of float16, and a DEQUANTIZE where it is read."""
    e.codes[node.outputs[0]] = required(node, 0)


@lowering("Constant")
def constant(node: ir.Node, e: Emitter) -> None:
    """Nothing: constants are written by who reads them."""
    if e.constant(node.outputs[0]) is None:
        raise Decline("this form of Constant is not read")


@lowering("Shape", "Size")
def static_shape(node: ir.Node, e: Emitter) -> None:
    """A constant, as shapes are static."""
    shape = e.shape(required(node, 0))
    if node.op_type == "Size":
        return e.fold(node.outputs[0], np.asarray(np.prod(shape), np.int64))
    start, end = integer(node, "start", 0), integer(node, "end", len(shape))
    return e.fold(node.outputs[0], np.asarray(shape[start:end], np.int64))


@lowering("ConstantOfShape")
def constant_of_shape(node: ir.Node, e: Emitter) -> None:
    """A constant."""
    shape = fixed(node, e, 0, "the shape")
    value = node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
    e.fold(node.outputs[0], np.full([] if shape is None else shape.tolist(), fill.reshape(-1)[0], fill.dtype))


@lowering("Concat")
def concat(node: ir.Node, e: Emitter) -> None:
    """CONCATENATION."""
    values = [value for value in node.inputs if value is not None]
    where = e.common_layout(values)
    chosen = axis_of(integer(node, "axis", 1), len(where))
    if len({(*e.shape(value)[:chosen], *e.shape(value)[chosen + 1 :]) for value in values}) > 1:
        raise Decline(f"the operands differ in other axes than {chosen}")
    axis = where.index(chosen)
    tensors = [e.read(value, where) for value in values]
    made = layout.stored(e.shape(node.outputs[0]), where)
    e.write(node.outputs[0], e.op("CONCATENATION", tensors, made, "ConcatenationOptions", axis=axis), where)


@lowering("Split")
def split(node: ir.Node, e: Emitter) -> None:
    """SPLIT into equal parts, else SPLIT_V."""
    x = required(node, 0)
    where = e.layout(x)
    axis = axis_of(integer(node, "axis", 0), len(where))
    sizes, stored_axis = [e.shape(output)[axis] for output in node.outputs], where.index(axis)
    shapes = [layout.stored(e.shape(output), where) for output in node.outputs]
    data = e.read(x, where)
    if len(set(sizes)) == 1:
        parts = e.op_many("SPLIT", [e.indices(stored_axis), data], shapes, "SplitOptions", numSplits=len(sizes))
    else:
        inputs = [data, e.indices(sizes), e.indices(stored_axis)]
        parts = e.op_many("SPLIT_V", inputs, shapes, "SplitVOptions", numSplits=len(sizes))
    for output, part in zip(node.outputs, parts, strict=True):
        e.write(output, part, where)


@lowering("Slice")
def slice_(node: ir.Node, e: Emitter) -> None:
    """SLICE for steps of 1, else STRIDED_SLICE."""
    x = required(node, 0)
    where, shape = e.layout(x), e.shape(x)
    starts, ends = setting(node, e, "starts", 1), setting(node, e, "ends", 2)
    if starts is None or ends is None:
        raise Decline("starts or ends are missing")
    axes = setting(node, e, "axes", 3) or list(range(len(starts)))
    steps = setting(node, e, "steps", 4) or [1] * len(starts)
    ranges = [range(dim) for dim in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = axis_of(axis, len(shape))
        ranges[axis] = range(*slice(start, end, step).indices(shape[axis]))
    if not all(map(len, ranges)):
        raise Decline("the result has no elements")
    cut, data = [ranges[axis] for axis in where], e.read(x, where)
    made = [len(part) for part in cut]
    begin = e.indices([part.start for part in cut])
    if all(part.step == 1 for part in cut):
        y = e.op("SLICE", [data, begin, e.indices(made)], made, "SliceOptions")
    else:
        # An end of -1 means the last element to LiteRT; the mask means "to the very end" in either direction.
        mask = sum(1 << axis for axis, part in enumerate(cut) if part.stop < 0)
        inputs = [data, begin, e.indices([part.stop for part in cut]), e.indices([part.step for part in cut])]
        y = e.op("STRIDED_SLICE", inputs, made, "StridedSliceOptions", endMask=mask)
    e.write(node.outputs[0], y, where)


@lowering("Expand")
def expand(node: ir.Node, e: Emitter) -> None:
    """BROADCAST_TO."""
    x, y = required(node, 0), node.outputs[0]
    rank = e.rank(y)
    where = e.layout(x) if e.rank(x) == rank else layout.identity(rank)
    data, made = e.broadcastable(x, where), layout.stored(e.shape(y), where)
    e.write(y, e.op("BROADCAST_TO", [data, e.indices(made)], made, "BroadcastToOptions"), where)


@lowering("Tile")
def tile(node: ir.Node, e: Emitter) -> None:
    """TILE."""
    x, repeats = required(node, 0), fixed(node, e, 1, "repeats")
    if repeats is None or len(repeats) != e.rank(x):
        raise Decline("repeats do not fit the input")
    where = e.layout(x)
    counts = [int(repeats[axis]) for axis in where]
    made = layout.stored(e.shape(node.outputs[0]), where)
    e.write(node.outputs[0], e.op("TILE", [e.read(x, where), e.indices(counts)], made, "TileOptions"), where)


@lowering("Pad")
def pad_(node: ir.Node, e: Emitter) -> None:
    """PAD, PADV2 or MIRROR_PAD; edge and wrap by GATHER with constant indices; negative amounts by SLICE first."""
    x, y = required(node, 0), node.outputs[0]
    where, shape, mode = e.layout(x), e.shape(x), text(node, "mode", "constant")
    pads = setting(node, e, "pads", 1) or []
    axes = setting(node, e, "axes", 3)
    named = list(range(len(shape))) if axes is None else [axis_of(axis, len(shape)) for axis in axes]
    amounts = [(0, 0)] * len(shape)
    for position, axis in enumerate(named):
        amounts[axis] = (pads[position], pads[position + len(named)])
    data, stored = e.read(x, where), [amounts[axis] for axis in where]
    data = _crop(e, data, stored)
    stored = [(max(before, 0), max(after, 0)) for before, after in stored]
    if mode == "constant":
        number = bound(node, e, "value", 2)
        return e.write(y, pad(e, data, stored, number or 0), where)
    return e.write(y, _pad_by_index(e, data, stored, mode), where)


def _crop(e: Emitter, x: int, amounts: list[tuple[int, int]]) -> int:
    begin = [max(-before, 0) for before, _ in amounts]
    made = [n + min(before, 0) + min(after, 0) for n, (before, after) in zip(e.shape_of(x), amounts, strict=True)]
    if tuple(made) == e.shape_of(x):
        return x
    if min(made) <= 0:
        raise Decline("the result has no elements")
    return e.op("SLICE", [x, e.indices(begin), e.indices(made)], made, "SliceOptions")


def _pad_by_index(e: Emitter, x: int, amounts: list[tuple[int, int]], mode: str) -> int:
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in modes:
        raise Decline(f"mode {mode!r}")
    padded = [n + before + after for n, (before, after) in zip(e.shape_of(x), amounts, strict=True)]
    fits = all(max(pair) < n for n, pair in zip(e.shape_of(x), amounts, strict=True))
    if mode == "reflect" and fits and len(padded) <= 5:
        paddings = e.array(np.asarray(amounts, np.int32))
        return e.op("MIRROR_PAD", [x, paddings], padded, "MirrorPadOptions", mode=MirrorPadMode.REFLECT)
    for axis, pair in enumerate(amounts):
        if any(pair):
            x = take(e, x, axis, np.pad(np.arange(e.shape_of(x)[axis]), pair, mode=modes[mode]))  # type: ignore[call-overload]
    return x


def take(e: Emitter, x: int, axis: int, indices: np.ndarray) -> int:
    """GATHER with constant indices along a stored axis."""
    shape = e.shape_of(x)
    made = (*shape[:axis], len(indices), *shape[axis + 1 :])
    return e.op("GATHER", [x, e.indices(indices.tolist())], made, "GatherOptions", axis=axis)


@lowering("Gather")
def gather(node: ir.Node, e: Emitter) -> None:
    """GATHER; indices counted from the end, which LiteRT does not know, are brought to the front by FLOOR_MOD."""
    x, chosen, y = required(node, 0), required(node, 1), node.outputs[0]
    where, rank = e.layout(x), e.rank(x)
    axis = axis_of(integer(node, "axis", 0), rank)
    added, dim = e.rank(chosen), e.shape(x)[axis]
    indices = front_indices(e, chosen, dim)
    after: list[int] = []
    for stored in where:
        if stored == axis:
            after += range(axis, axis + added)
        else:
            after.append(stored if stored < axis else stored + added - 1)
    made = layout.stored(e.shape(y), tuple(after))
    stored_axis = where.index(axis)
    e.write(y, e.op("GATHER", [e.read(x, where), indices], made, "GatherOptions", axis=stored_axis), tuple(after))


def front_indices(e: Emitter, value: ir.Value, dim: int) -> int:
    """Indices into an axis of length `dim`, counted from the front."""
    array = e.constant(value)
    if array is not None:
        if array.size and not (-dim <= array.min() and array.max() < dim):
            raise Decline(f"an index is outside of an axis of length {dim}")
        return e.array(np.where(array < 0, array + dim, array).astype(np.int32))
    tensor = e.read(value)
    return e.binary("FLOOR_MOD", tensor, e.scalar(dim, tensor))


@lowering("GatherND")
def gather_nd(node: ir.Node, e: Emitter) -> None:
    """GATHER_ND; for indices counted from the end see `gather`."""
    x, chosen, y = required(node, 0), required(node, 1), node.outputs[0]
    if integer(node, "batch_dims", 0):
        raise Decline("batch_dims; LiteRT's GATHER_ND has none")
    array, dims = e.constant(chosen), np.asarray(e.shape(x)[: e.shape(chosen)[-1]])
    if array is not None:
        places = e.array(np.where(array < 0, array + dims, array).astype(np.int32))
    else:
        tensor = e.read(chosen)
        places = e.binary("FLOOR_MOD", tensor, e.array(dims.astype(e.dtype_of(tensor))))
    e.write(y, e.op("GATHER_ND", [e.read(x), places], e.shape(y), "GatherNdOptions"))


@lowering("DepthToSpace", "SpaceToDepth")
def blocks(node: ir.Node, e: Emitter) -> None:
    """DEPTH_TO_SPACE and SPACE_TO_DEPTH, which keep ONNX's DCR order; CRD by another order of channels."""
    x, y, size = required(node, 0), node.outputs[0], integer(node, "blocksize", 1)
    where: Layout = layout.channels_last(4)
    made, crd = layout.stored(e.shape(y), where), text(node, "mode", "DCR") == "CRD"
    # Of C·s² channels, CRD has number c·s² + k where DCR has k·C + c.
    places = np.arange(e.shape(x if node.op_type == "DepthToSpace" else y)[1])
    if node.op_type == "DepthToSpace":
        source = e.read(x, where)
        source = _channels(e, source, places.reshape(-1, size**2).T) if crd else source
        return e.write(y, e.op("DEPTH_TO_SPACE", [source], made, "DepthToSpaceOptions", blockSize=size), where)
    result = e.op("SPACE_TO_DEPTH", [e.read(x, where)], made, "SpaceToDepthOptions", blockSize=size)
    return e.write(y, _channels(e, result, places.reshape(size**2, -1).T) if crd else result, where)


def _channels(e: Emitter, tensor: int, places: np.ndarray) -> int:
    """An image whose channels are taken from these places."""
    shape = e.shape_of(tensor)
    return e.op("GATHER", [tensor, e.indices(places.reshape(-1).tolist())], shape, "GatherOptions", axis=len(shape) - 1)


@lowering("ReverseSequence")
def reverse_sequence(node: ir.Node, e: Emitter) -> None:
    """REVERSE_SEQUENCE."""
    x, lengths = required(node, 0), required(node, 1)
    rank = e.rank(x)
    batch, time = axis_of(integer(node, "batch_axis", 1), rank), axis_of(integer(node, "time_axis", 0), rank)
    inputs, shape = [e.read(x), e.read(lengths)], e.shape(x)
    y = e.op("REVERSE_SEQUENCE", inputs, shape, "ReverseSequenceOptions", seqDim=time, batchDim=batch)
    e.write(node.outputs[0], y)
