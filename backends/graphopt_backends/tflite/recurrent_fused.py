"""UNIDIRECTIONAL_SEQUENCE_LSTM and _RNN: a whole layer in one operator, where that computes what ONNX's layer does.

Their states are variable tensors, which LiteRT keeps from one run to the next, as a streaming model wants them. ONNX's
layers start anew each time. So the state is written before the operator reads it: a variable may be any operator's
result, and LiteRT runs operators in the order of their data.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType

from graphopt_backends.tflite.recurrent import Direction
from graphopt_backends.tflite.writer import Writer

_FUSED = {"tanh": ActivationFunctionType.TANH, "relu": ActivationFunctionType.RELU}


def fits(way: Direction) -> bool:
    """Whether a builtin computes exactly this."""
    if way.clip:
        return False
    if way.kind == "RNN":
        return way.activations[0] in _FUSED
    return way.kind == "LSTM" and way.activations == ("sigmoid", "tanh", "tanh") and not way.couple


def layer(w: Writer, way: Direction, x: int, states: list[int], wants_cell: bool) -> tuple[int, list[int]]:
    """Write one direction of a layer.

    Args:
        w: where to write.
        way: the direction, of a kind that `fits`.
        x: of shape [steps, batch, inputs].
        states: what it starts from, each of shape [batch, H]: h, and c of an LSTM.
        wants_cell: whether somebody reads the last c.

    Returns:
        All h, of shape [steps, batch, H], and the last states.
    """
    steps, batch, _ = w.shape_of(x)
    held = [_variable(w, state) for state in states]
    made = w.flat.tensor((steps, batch, way.size), "float32")
    bias = way.bias.sum(0)
    if way.kind == "RNN":
        inputs = [x, w.array(way.weights), w.array(way.recurrent), w.array(bias), *held]
        w.emit(
            "UNIDIRECTIONAL_SEQUENCE_RNN", inputs, [made], "SequenceRNNOptions",
            timeMajor=True, fusedActivationFunction=_FUSED[way.activations[0]],
        )  # fmt: skip
    else:
        gates = [way.gate(name) for name in "ifco"]
        peepholes = [-1] * 3 if way.peepholes is None else [w.array(way.peepholes[row]) for row in (0, 2, 1)]
        inputs = [
            x, *(w.array(way.weights[gate]) for gate in gates), *(w.array(way.recurrent[gate]) for gate in gates),
            *peepholes, *(w.array(bias[gate]) for gate in gates), -1, -1, *held, -1, -1, -1, -1,
        ]  # fmt: skip
        w.emit(
            "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [made], "UnidirectionalSequenceLSTMOptions",
            timeMajor=True, fusedActivationFunction=ActivationFunctionType.TANH,
        )  # fmt: skip
    cut = [w.indices([steps - 1, 0, 0]), w.indices([1, batch, way.size])]
    last = w.reshape(w.op("SLICE", [made, *cut], (1, batch, way.size), "SliceOptions"), (batch, way.size))
    if way.kind == "RNN" or not wants_cell:
        return made, [last, *states[1:]]
    # The choice is always the same; that it needs the layer's result makes LiteRT read the variable after the layer.
    always = w.array(np.ones((batch, way.size), np.bool_))
    return made, [last, w.op("SELECT_V2", [always, held[1], last], (batch, way.size), dtype="float32")]


def _variable(w: Writer, state: int) -> int:
    shape = w.shape_of(state)
    held = w.flat.tensor(shape, "float32", name="state", variable=True)
    return w.emit("RESHAPE", [state, w.indices(shape)], [held], "ReshapeOptions", newShape=list(shape))[0]
