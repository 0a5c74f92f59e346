"""Facts of nodes that some vendors take as part of a larger form only.

    Erf                  "gelu", "gelu, constant first", "gelu with other constants" or "none"
    Reshape, Transpose   "reordered" for Reshape → Transpose → Reshape that nothing else reads, "reordered around a unit
                         axis" where an axis of size 1 stays in its place, "reshaped twice" for Reshape → Reshape,
                         or "none"

A Gelu is x · ½ · (1 + Erf(x / √2)), with its products in any order; its constant is first in Erf(1/√2 · x). Windows
that attention works in, pixel shuffles and grouped channels are reordered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from graphopt.ir.edit import constant, readers, static_shape

if TYPE_CHECKING:
    import onnx_ir as ir

PATTERNS: Final = {
    "Erf": ("none", "gelu", "gelu, constant first", "gelu with other constants"),
    "Reshape": ("none", "reshaped twice", "reordered", "reordered around a unit axis"),
    "Transpose": ("none", "reordered", "reordered around a unit axis"),
}
"""All values of the fact "pattern", by operator."""
_CLOSE: Final = 2e-3
"""Relative error of constants: exporters write √2 with as few as four digits, and half precision has three."""


def pattern(node: ir.Node) -> str:
    """The form that a node of `PATTERNS` is part of."""
    if node.op_type == "Erf":
        return _gelu(node)
    return _reordered(node)


def _gelu(erf: ir.Node) -> str:
    inner = _producer(erf.inputs[0], ("Mul", "Div"))
    plus = _reader(erf.outputs[0], ("Add",))
    if inner is None or plus is None:
        return "none"
    scales = [(x, number) for x, number in _scaled(inner) if inner.op_type == "Mul" or x is inner.inputs[0]]
    ones = [number for _, number in _scaled(plus)]
    for x, scale in scales:
        for half in _halves(plus, x) if x is not None and ones else ():
            right = 1 / math.sqrt(2) if inner.op_type == "Mul" else math.sqrt(2)
            exact = all(math.isclose(a, b, rel_tol=_CLOSE) for a, b in ((scale, right), (ones[0], 1.0), (half, 0.5)))
            known = "gelu" if x is inner.inputs[0] else "gelu, constant first"
            return known if exact else "gelu with other constants"
    return "none"


def _halves(plus: ir.Node, x: ir.Value) -> Iterator[float]:
    """The constants that the product of x, a constant and 1 + Erf has, in whatever order it is made."""
    first = _reader(plus.outputs[0], ("Mul",))
    if first is None:
        return
    other = _other(first, plus.outputs[0])
    early = _producer(other, ("Mul",))
    if early is not None:  # x · ½, then the rest
        yield from (number for value, number in _scaled(early) if value is x)
    second = _reader(first.outputs[0], ("Mul",))
    if second is None:
        return
    if other is x:
        yield from (number for _, number in _scaled(second))
    elif _other(second, first.outputs[0]) is x:
        yield from (number for _, number in _scaled(first))


def _reordered(node: ir.Node) -> str:
    if node.op_type == "Transpose":
        first, last = _producer(node.inputs[0], ("Reshape",)), _reader(node.outputs[0], ("Reshape",))
        middle = node
    else:
        after = _reader(node.outputs[0], ("Reshape", "Transpose"))
        before = _producer(node.inputs[0], ("Reshape", "Transpose"))
        if "Reshape" in (_type(after), _type(before)):
            return "reshaped twice"
        known = after if after is not None else before
        if known is None:
            return "none"
        middle, first = known, node if after is not None else _producer(known.inputs[0], ("Reshape",))
        last = _reader(known.outputs[0], ("Reshape",)) if after is not None else node
    if first is None or last is None or first.outputs[0].is_graph_output() or len(list(first.outputs[0].uses())) != 1:
        return "none"
    shape, order = static_shape(middle.outputs[0]), middle.attributes.get("perm")
    known_order = list(order.as_ints()) if order is not None and not order.is_ref() else []
    stays = shape is not None and any(shape[axis] == 1 and axis == old for axis, old in enumerate(known_order))
    return "reordered around a unit axis" if stays else "reordered"


def _type(node: ir.Node | None) -> str:
    return "" if node is None else node.op_type


def _producer(value: ir.Value | None, kinds: tuple[str, ...]) -> ir.Node | None:
    """The node that makes a value for one reader alone, where it is of one of the kinds."""
    node = None if value is None else value.producer()
    if value is None or node is None or node.op_type not in kinds or node.domain or value.is_graph_output():
        return None
    return node if len(list(value.uses())) == 1 else None


def _reader(value: ir.Value, kinds: tuple[str, ...]) -> ir.Node | None:
    """The only node that reads a value, where it is of one of the kinds."""
    found = list(readers(value))
    if len(found) != 1 or value.is_graph_output() or found[0].op_type not in kinds or found[0].domain:
        return None
    return found[0]


def _scaled(node: ir.Node) -> Iterator[tuple[ir.Value | None, float]]:
    """The operands of a node of two, one of which is a constant number: the other one, and the number."""
    for index, value in enumerate(node.inputs[:2]):
        tensor = constant(value)
        if tensor is not None and tensor.size == 1:
            yield node.inputs[1 - index], float(tensor.numpy().reshape(-1)[0])


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]
