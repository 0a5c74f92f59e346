"""What an LSTM, GRU or RNN says, a direction at a time. Source of all formulas: ONNX's operator documentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.onnx_node import fixed, integer, operand, real, required, text
from graphopt_backends.tflite.registry import Decline

GATES = {"LSTM": "iofc", "GRU": "zrh", "RNN": "i"}
_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
KNOWN = {"sigmoid": "LOGISTIC", "tanh": "TANH", "relu": "RELU"}


@dataclass(frozen=True)
class Direction:
    """The weights of one direction; gates are those of `GATES`, one after the other.

    Attributes:
        kind: LSTM, GRU or RNN.
        size: H, how many units there are.
        weights: of shape [gates·H, inputs].
        recurrent: of shape [gates·H, H].
        bias: for the input and for the state, of shape [2, gates·H].
        peepholes: of shape [3, H] for the gates i, o and f; None where there are none.
        activations: in the order of the operator's attribute, lower case.
        clip: bound of what goes into the activations, 0 for none.
        couple: whether the forget gate is what the input gate leaves (LSTM).
        late_reset: whether the reset gate is applied after the product with the state (GRU).
        reverse: whether it runs from the last step to the first.
    """

    kind: str
    size: int
    weights: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    peepholes: np.ndarray | None
    activations: tuple[str, ...]
    clip: float
    couple: bool
    late_reset: bool
    reverse: bool

    def gate(self, name: str) -> slice:
        """The rows of a gate."""
        position = GATES[self.kind].index(name)
        return slice(position * self.size, (position + 1) * self.size)


def directions(node: ir.Node, e: Emitter) -> list[Direction]:
    """The directions of a layer.

    Raises:
        Decline: weights are computed at run time, or an activation has no builtin.
    """
    kind, way = node.op_type, text(node, "direction", "forward")
    weights, recurrent = (_array(fixed(node, e, index, name)) for index, name in ((1, "W"), (2, "R")))
    count, size = weights.shape[0], recurrent.shape[2]
    bias = fixed(node, e, 3, "B")
    both = np.zeros((count, 2, weights.shape[1]), np.float32) if bias is None else bias.reshape(count, 2, -1)
    peepholes = fixed(node, e, 7, "P") if kind == "LSTM" else None
    names = _activations(node, count)
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[way]
    return [
        Direction(
            kind, size, weights[index], recurrent[index], both[index],
            None if peepholes is None else peepholes[index].reshape(3, size),
            names[index], real(node, "clip", 0.0), bool(integer(node, "input_forget", 0)),
            bool(integer(node, "linear_before_reset", 0)), reverse[index],
        )
        for index in range(count)
    ]  # fmt: skip


def _array(found: np.ndarray | None) -> np.ndarray:
    if found is None:
        raise Decline("W or R is missing")
    return found


def _activations(node: ir.Node, count: int) -> list[tuple[str, ...]]:
    default, attribute = _DEFAULTS[node.op_type], node.attributes.get("activations")
    names = [name.lower() for name in attribute.as_strings()] if attribute is not None else [*default] * count
    unknown = sorted(set(names) - set(KNOWN))
    if unknown:
        raise Decline(f"the activation {unknown[0]}; LiteRT's loop is written for {', '.join(KNOWN)}")
    per = len(default)
    return [tuple(names[index * per : (index + 1) * per]) for index in range(count)]


def lengths(node: ir.Node, e: Emitter, steps: int) -> ir.Value | None:
    """The input sequence_lens; None where all sequences have all `steps`."""
    value = operand(node, 4)
    array = None if value is None else e.constant(value)
    return None if value is None or (array is not None and (array == steps).all()) else value


def time_major(node: ir.Node, e: Emitter) -> int:
    """The tensor of X as [steps, batch, inputs]."""
    return e.read(required(node, 0), (1, 0, 2) if integer(node, "layout", 0) else (0, 1, 2))
