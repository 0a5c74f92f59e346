"""Recurrent layers: one builtin where it computes what ONNX's layer does, else a loop; a direction at a time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import recurrent_fused, recurrent_loop
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import integer, is_used, operand
from graphopt_backends.tflite.recurrent import Direction, directions, lengths, time_major
from graphopt_backends.tflite.registry import lowering


@lowering("LSTM", "GRU", "RNN")
def recurrent(node: ir.Node, e: Emitter) -> None:
    """Y is stored as steps, batch, directions, units: the order in which what follows joins the directions."""
    require_float(node, e)
    ways = directions(node, e)
    x, last = time_major(node, e), integer(node, "layout", 0)
    steps, batch, _ = e.shape_of(x)
    limit = lengths(node, e, steps)
    ends = None if limit is None else e.cast(e.read(limit), "int32")
    rows, finals = [], []
    for index, way in enumerate(ways):
        states = [_state(node, e, 5, index, way, batch)]
        if way.kind == "LSTM":
            states.append(_state(node, e, 6, index, way, batch))
        data = _turn(e, x, ends) if way.reverse else x
        if ends is None and recurrent_fused.fits(way):
            made, final = recurrent_fused.layer(e, way, data, states, is_used(node, 2))
        else:
            made, final = recurrent_loop.layer(e, way, data, states, ends)
        rows.append(e.reshape(_turn(e, made, ends) if way.reverse else made, (steps, batch, 1, way.size)))
        finals.append([e.reshape(state, (1, batch, way.size)) for state in final])
    if is_used(node, 0):
        e.write(node.outputs[0], _join(e, rows, 2), (1, 0, 2, 3) if last else (0, 2, 1, 3))
    for position in range(len(finals[0])):
        if is_used(node, position + 1):
            state = _join(e, [final[position] for final in finals], 0)
            e.write(node.outputs[position + 1], state, (1, 0, 2) if last else (0, 1, 2))


def _state(node: ir.Node, e: Emitter, index: int, position: int, way: Direction, batch: int) -> int:
    """What a direction starts from, of shape [batch, H]."""
    value = operand(node, index)
    if value is None:
        return e.array(np.zeros((batch, way.size), np.float32))
    array = e.constant(value)
    layout = (1, 0, 2) if integer(node, "layout", 0) else (0, 1, 2)
    if array is not None:
        return e.array(np.ascontiguousarray(np.transpose(array, layout)[position]))
    whole, made = e.read(value, layout), (1, batch, way.size)
    part = e.op("SLICE", [whole, e.indices([position, 0, 0]), e.indices(made)], made, "SliceOptions")
    return e.reshape(part, made[1:])


def _turn(e: Emitter, x: int, ends: int | None) -> int:
    """[steps, batch, …] with the steps in reverse order, those of each sequence among themselves."""
    if ends is None:
        return e.op("REVERSE_V2", [x, e.indices([0])], e.shape_of(x))
    return e.op("REVERSE_SEQUENCE", [x, ends], e.shape_of(x), "ReverseSequenceOptions", seqDim=0, batchDim=1)


def _join(e: Emitter, parts: list[int], axis: int) -> int:
    if len(parts) == 1:
        return parts[0]
    made = list(e.shape_of(parts[0]))
    made[axis] = len(parts)
    return e.op("CONCATENATION", parts, made, "ConcatenationOptions", axis=axis)
