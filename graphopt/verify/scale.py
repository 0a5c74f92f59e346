"""The natural scale of an output: what an error in it is to be measured against where the output itself may vanish.

A detector's probabilities are all near zero on a picture without anything in it. There a runtime that is off by a
thousandth is hundreds of times off relative to the output, and still right.
"""

from __future__ import annotations

import onnx_ir as ir

_BOUNDED = {"Sigmoid": 1.0, "HardSigmoid": 1.0, "Softmax": 1.0, "Tanh": 1.0, "Softsign": 1.0}
_MOVES = ("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Cast", "Concat")


def natural_scale(value: ir.Value) -> float | None:
    """The largest magnitude that a value can have by its making, None where it is not bounded.

    Followed through nodes that only move numbers about; the bounds are those of the operators' definitions in the
    ONNX standard.
    """
    waiting, largest = [value], 0.0
    for _ in range(64):
        if not waiting:
            return largest
        node = waiting.pop().producer()
        if node is None or node.domain:
            return None
        if node.op_type in _BOUNDED:
            largest = max(largest, _BOUNDED[node.op_type])
        elif node.op_type in _MOVES:
            moved = node.inputs if node.op_type == "Concat" else node.inputs[:1]
            waiting.extend(v for v in moved if v is not None)
        else:
            return None
    return None
