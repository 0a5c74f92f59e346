"""Leave out the first state of an LSTM, GRU or RNN where it is zero, which is what it is when it is left out.

    [2, N, 64] ─ ConstantOfShape(0) ─ Slice ─ initial_h ─┐
                                             x, W, R, B ─ LSTM ─ y      becomes      x, W, R, B ─ LSTM ─ y

The zeros may have been reshaped, sliced, expanded or picked from on their way. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, nodes_of, owners
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.eliminate_dead_code import sweep

_MOVES = frozenset({
    "Identity", "Cast", "Reshape", "Slice", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Gather", "Flatten",
    "Split",
})  # fmt: skip
"""Operators whose output holds nothing that their first input does not."""
_LAYERS = ("LSTM", "GRU", "RNN")
_LARGEST = 1 << 16
_DEEPEST = 32
_STATES = (5, 6)
"""Inputs of LSTM, GRU and RNN that are states."""


def is_zero(value: ir.Value | None) -> bool:
    """Whether every element of a value is +0."""
    for _ in range(_DEEPEST):
        if value is None:
            return False
        tensor = constant(value)
        if tensor is not None:
            return tensor.size <= _LARGEST and _zeros(tensor)
        node = value.producer()
        if node is None or node.domain:
            return False
        if node.op_type == "ConstantOfShape":
            fill = node.attributes.get("value")
            return fill is None or (not fill.is_ref() and _zeros(fill.as_tensor()))
        if node.op_type not in _MOVES:
            return False
        value = node.inputs[0]
    return False


def _zeros(tensor: ir.TensorProtocol) -> bool:
    if tensor.dtype == ir.DataType.STRING:
        return False
    array = tensor.numpy()
    return not array.any() and not np.signbit(array.astype(np.float32)).any()


class DropZeroState(Pass):
    """Leave out first states of LSTM, GRU and RNN that are zero."""

    name = "drop-zero-state"
    fidelity = "exact"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Look at every recurrent layer."""
        count = drop_zero_states(model)
        if count:
            for owner in owners(model):
                sweep(owner)
        return PassResult(count, f"{count} states" if count else "")


def drop_zero_states(model: ir.Model) -> int:
    """Leave out every zero state; returns how many went."""
    count = 0
    for owner in owners(model):
        for node in nodes_of(owner):
            if node.op_type not in _LAYERS or node.domain:
                continue
            for index in _STATES:
                if index < len(node.inputs) and is_zero(node.inputs[index]):
                    node.replace_input_with(index, None)
                    count += 1
            while node.inputs and node.inputs[-1] is None:
                node.resize_inputs(len(node.inputs) - 1)
    return count
