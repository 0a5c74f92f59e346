"""Partial evaluation of integer tensors: what shape arithmetic computes, element by element, with symbols.

    x[N, 3, H, W] ─ Shape ─ [N, 3, H, W] ─ Gather(0) ─ N ─ Mul(2) ─ 2*N ─ Concat(·, -1) ─ [2*N, -1] ─▶ Reshape

One small function an operator, found by its name in `_EVALUATE`. The shapes that follow from such tensors, and others
that the onnx package leaves open, are in `sizes`; a walk in topological order lets the two feed each other.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from graphopt.ir.content import LONGEST, content, dims_of, input_of, integers_at, items_of
from graphopt.ir.symbolic import Dim, Partial, elementwise, numbers, product

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)
_HIGHEST = 16
"""Degree beyond which a polynomial is no size any more."""
_TYPES = (*_INTEGERS, ir.DataType.BOOL)


def evaluate_partially(node: ir.Node) -> bool:
    """Compute what can be told of the content of a node's outputs; returns whether that is more than before."""
    evaluate = _EVALUATE.get(node.op_type)
    if evaluate is None or node.domain:
        return False
    found = evaluate(node)
    new = False
    for value, one in zip(node.outputs, found if isinstance(found, list) else [found], strict=False):
        if one is not None and _fits(one, value) and value.meta.get("graphopt.partial") != one:
            value.meta["graphopt.partial"] = one
            new = True
    return new


def _fits(found: Partial, value: ir.Value) -> bool:
    """Whether the type of a value holds the numbers; arithmetic that overflows wraps around and is left alone."""
    if value.dtype not in _TYPES:
        return False
    half = 1 << (31 if value.dtype == ir.DataType.INT32 else 63)
    items = found if isinstance(found, tuple) else (found,)
    return all(-half <= factor < half and len(monomial) <= _HIGHEST for i in items for monomial, factor in i.terms)


def _shape(node: ir.Node) -> Partial | None:
    dims = dims_of(node.inputs[0])
    if dims is None:
        return None
    start, end = node.attributes.get("start"), node.attributes.get("end")
    return dims[start.as_int() if start else None : end.as_int() if end else None]


def _size(node: ir.Node) -> Partial | None:
    dims = dims_of(node.inputs[0])
    return None if dims is None else product(dims)


def _same(node: ir.Node) -> Partial | None:
    return content(node.inputs[0])


def _cast(node: ir.Node) -> Partial | None:
    held = content(node.inputs[0])
    if held is None or node.attributes["to"].is_ref():
        return None
    to = ir.DataType(node.attributes["to"].as_int())
    if to == ir.DataType.BOOL:
        known = numbers(held)
        truth = None if known is None else tuple(Dim.of(int(n != 0)) for n in known)
        return truth if truth is None or isinstance(held, tuple) else truth[0]
    return held if to in _INTEGERS else None


def _not(node: ir.Node) -> Partial | None:
    held = content(node.inputs[0])
    known = numbers(held)
    if known is None:
        return None
    return tuple(Dim.of(1 - n) for n in known) if isinstance(held, tuple) else Dim.of(1 - known[0])


def _neg(node: ir.Node) -> Partial | None:
    held = content(node.inputs[0])
    return None if held is None else tuple(-d for d in held) if isinstance(held, tuple) else -held


def _gather(node: ir.Node) -> Partial | None:
    data, indices = items_of(node.inputs[0]), content(node.inputs[1])
    picked = numbers(indices)
    if data is None or picked is None or not all(-len(data) <= i < len(data) for i in picked):
        return None
    return tuple(data[i] for i in picked) if isinstance(indices, tuple) else data[picked[0]]


def _concat(node: ir.Node) -> Partial | None:
    parts = [items_of(value) for value in node.inputs]
    joined = tuple(d for part in parts if part is not None for d in part)
    return None if any(part is None for part in parts) or len(joined) > LONGEST else joined


def _unsqueeze(node: ir.Node) -> Partial | None:
    held, axes = content(node.inputs[0]), integers_at(node, "axes", 1)
    return (held,) if isinstance(held, Dim) and axes in ([0], [-1]) else None


def _squeeze(node: ir.Node) -> Partial | None:
    held = items_of(node.inputs[0])
    return held[0] if held is not None and len(held) == 1 else None


def _reshape_content(node: ir.Node) -> Partial | None:
    held, target = content(node.inputs[0]), numbers(content(node.inputs[1]))
    if held is None or target is None:
        return None
    items = held if isinstance(held, tuple) else (held,)
    if not target:
        return items[0] if len(items) == 1 else None
    return items if len(target) == 1 and target[0] in (-1, len(items)) else None


def _slice(node: ir.Node) -> Partial | None:
    held = items_of(node.inputs[0])
    starts, ends = integers_at(node, "starts", 1), integers_at(node, "ends", 2)
    if held is None or starts is None or ends is None or len(starts) != 1:
        return None
    steps = integers_at(node, "steps", 4) if input_of(node, 4) is not None else [1]
    if not steps or steps[0] == 0:
        return None
    limit = len(held)
    # ONNX clamps a start to the first element, and for negative steps an end to one before it: Python spells that None.
    start = max(starts[0], -limit)
    end = None if steps[0] < 0 and ends[0] < -limit else ends[0]
    return held[start : end : steps[0]]


def _binary(node: ir.Node) -> Partial | None:
    if len(node.inputs) != 2 or "fmod" in node.attributes:
        return None
    a, b = content(node.inputs[0]), content(node.inputs[1])
    if a is None or b is None:
        return None
    if isinstance(a, Dim) and isinstance(b, Dim):
        return elementwise(node.op_type, a, b)
    xs = a if isinstance(a, tuple) else (a,)
    ys = b if isinstance(b, tuple) else (b,)
    count = max(len(xs), len(ys)) if xs and ys else 0
    if len(xs) not in (1, count) or len(ys) not in (1, count):
        return None
    xs, ys = xs * (count if len(xs) == 1 else 1), ys * (count if len(ys) == 1 else 1)
    found = [elementwise(node.op_type, x, y) for x, y in zip(xs, ys, strict=True)]
    return None if any(d is None for d in found) else tuple(d for d in found if d is not None)


def _where(node: ir.Node) -> Partial | None:
    held = content(node.inputs[0])
    condition = numbers(held)
    a, b = content(node.inputs[1]), content(node.inputs[2])
    if condition is None or a is None or b is None:
        return None
    if isinstance(held, Dim) and isinstance(a, Dim) and isinstance(b, Dim):
        return a if condition[0] else b
    xs, ys = (a if isinstance(a, tuple) else (a,)), (b if isinstance(b, tuple) else (b,))
    count = max(len(condition), len(xs), len(ys))
    if any(len(part) not in (1, count) for part in (condition, xs, ys)):
        return None
    return tuple((xs[i % len(xs)] if condition[i % len(condition)] else ys[i % len(ys)]) for i in range(count))


def _constant_of_shape(node: ir.Node) -> Partial | None:
    length = numbers(content(node.inputs[0]))
    value = node.attributes.get("value")
    tensor = value.as_tensor() if value is not None else None
    if length is None or len(length) > 1 or tensor is None or tensor.dtype not in _INTEGERS:
        return None
    fill = Dim.of(int(tensor.numpy().reshape(-1)[0]))
    return fill if not length else (fill,) * length[0] if length[0] <= LONGEST else None


def _reduce_prod(node: ir.Node) -> Partial | None:
    held = items_of(node.inputs[0])
    keep = node.attributes.get("keepdims")
    total = None if held is None else product(held)
    if total is None:
        return None
    return (total,) if keep is None or keep.as_int() else total


def _range(node: ir.Node) -> Partial | None:
    bounds = [numbers(content(value)) for value in node.inputs]
    if any(b is None or len(b) != 1 for b in bounds):
        return None
    start, limit, step = (b[0] for b in bounds if b is not None)
    if step == 0 or abs(limit - start) > LONGEST * abs(step):
        return None
    return tuple(Dim.of(n) for n in range(start, limit, step))


def _reduce_sum(node: ir.Node) -> Partial | None:
    held, keep = items_of(node.inputs[0]), node.attributes.get("keepdims")
    if held is None or (node.attributes.get("noop_with_empty_axes") is not None and input_of(node, 1) is None):
        return None
    total = sum(held, Dim.of(0))
    return (total,) if keep is None or keep.as_int() else total


def _expand(node: ir.Node) -> Partial | None:
    held, target = content(node.inputs[0]), integers_at(node, "", 1)
    if held is None or target is None or len(target) > 1:
        return None
    items = held if isinstance(held, tuple) else (held,)
    if not target:
        return held
    length = target[0] if len(items) == 1 else len(items)
    return items * (length // len(items)) if items and 0 <= length <= LONGEST else None


def _split(node: ir.Node) -> list[Partial] | None:
    held, lengths = items_of(node.inputs[0]), integers_at(node, "split", 1)
    if held is None or lengths is None or sum(lengths) != len(held) or len(lengths) != len(node.outputs):
        return None
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [held[end - length : end] for end, length in zip(ends, lengths, strict=True)]


_EVALUATE: dict[str, Callable[[ir.Node], Partial | list[Partial] | None]] = {
    "Shape": _shape, "Size": _size, "Identity": _same, "Cast": _cast, "Gather": _gather, "Concat": _concat,
    "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Reshape": _reshape_content, "Slice": _slice, "Where": _where,
    "Add": _binary, "Sub": _binary, "Mul": _binary, "Div": _binary, "Mod": _binary, "Max": _binary, "Min": _binary,
    "Equal": _binary, "Less": _binary, "LessOrEqual": _binary, "Greater": _binary, "GreaterOrEqual": _binary,
    "And": _binary, "Or": _binary, "Not": _not, "Neg": _neg, "ConstantOfShape": _constant_of_shape,
    "ReduceProd": _reduce_prod, "ReduceSum": _reduce_sum, "Range": _range, "Expand": _expand, "Split": _split,
}  # fmt: skip
