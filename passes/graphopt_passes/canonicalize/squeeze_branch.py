"""The If that an exporter writes for a Squeeze of an axis that may have any size.

    x ─ Shape ─ Gather(d) ─ Equal(1) ─ If <then: Squeeze(x, d); else: x> ─ y[as many dimensions as after a Squeeze]

Where what reads y takes no other rank, a run in which the axis is longer fails, with the If and with a Squeeze alone.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt.ir.schema import attribute, integers


def squeezes(node: ir.Node, then: ir.Graph, other: ir.Graph) -> bool:
    """Whether an If is such a one and its result is known to have the rank that the Squeeze gives."""
    work = [n for body in (then, other) for n in body if n.op_type not in ("Constant", "Identity")]
    if len(then.outputs) != 1 or len(work) != 1:
        return False
    squeeze, passed = work[0], other.outputs[0]
    if squeeze.op_type != "Squeeze" or squeeze.domain or then.outputs[0] is not squeeze.outputs[0]:
        return False
    x, axes, producer = squeeze.inputs[0], integers(squeeze, "axes", 1), passed.producer()
    if producer is not None and producer.op_type == "Identity" and not producer.domain and producer.graph is other:
        passed = producer.inputs[0]  # type: ignore[assignment]
    before, after = shape_of(x), shape_of(node.outputs[0])
    if passed is not x or axes is None or len(axes) != 1 or before is None or after is None:
        return False
    return len(after) == len(before) - 1 and _asks_for_one(node.inputs[0], x, axes[0] % len(before), len(before))


def _asks_for_one(condition: ir.Value | None, x: ir.Value, axis: int, rank: int) -> bool:
    equal = _maker(condition, "Equal")
    if equal is None:
        return False
    for asked, wanted in (equal.inputs, equal.inputs[::-1]):
        one = constant(wanted)
        if one is not None and one.size == 1 and int(one.numpy().reshape(-1)[0]) == 1:
            return _is_size(asked, x, axis, rank)
    return False


def _is_size(value: ir.Value | None, x: ir.Value, axis: int, rank: int) -> bool:
    """Whether a value is the size of an axis of x: a Gather of its Shape, or a Shape of that axis alone."""
    node = _maker(value, "Squeeze") or _maker(value, "Unsqueeze")
    if node is not None:
        value = node.inputs[0]
    gather = _maker(value, "Gather")
    shape = _maker(gather.inputs[0] if gather is not None else value, "Shape")
    if shape is None or shape.inputs[0] is not x:
        return False
    start, end = attribute(shape, "start") or 0, attribute(shape, "end")
    axes = list(range(rank))[start:end]
    if gather is None:
        return axes == [axis]
    index = constant(gather.inputs[1])
    if index is None or index.size != 1 or attribute(gather, "axis") not in (0, -1):
        return False
    place = int(index.numpy().reshape(-1)[0])
    return -len(axes) <= place < len(axes) and axes[place] == axis


def _maker(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type and not node.domain else None
