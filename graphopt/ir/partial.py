"""Partial evaluation of integer tensors: what shape arithmetic computes, element by element, with symbols.

    x[N, 3, H, W] ─ Shape ─ [N, 3, H, W] ─ Gather(0) ─ N ─ Mul(2) ─ 2*N ─ Concat(·, -1) ─ [2*N, -1] ─▶ Reshape

One small function an operator, found by its name in `_EVALUATE`; and for the operators whose output shape is the
content of such a tensor, one in `_SHAPE`.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from graphopt.ir.edit import constant, nodes_of, opset_of, shape_of
from graphopt.ir.learn import learn_shape
from graphopt.ir.symbolic import MADE_UP, Dim, Partial, elementwise, from_shape, numbers, partial_of, product

_LONGEST = 64
"""Elements up to which a tensor may be a shape."""
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)


def propagate(model: ir.Model) -> int:
    """Compute partial values all over the model and the shapes that follow from them.

    Returns:
        How many shapes became known.
    """
    learnt = 0
    for node in nodes_of(model.graph):
        if node.domain or not node.outputs:
            continue
        evaluate = _EVALUATE.get(node.op_type)
        if evaluate is not None and "graphopt.partial" not in node.outputs[0].meta:
            found = evaluate(node)
            if found is not None and _fits(found, node.outputs[0]):
                node.outputs[0].meta["graphopt.partial"] = found
        infer = _SHAPE.get(node.op_type)
        if infer is not None and not _known(node.outputs[0]):
            dims = infer(node)
            if dims is not None:
                learnt += learn_shape(node.outputs[0], [d.number if d.number is not None else str(d) for d in dims])
    return learnt


def _fits(found: Partial, value: ir.Value) -> bool:
    """Whether the type of a value holds the numbers; arithmetic that overflows wraps around and is left alone."""
    half = 1 << (31 if value.dtype == ir.DataType.INT32 else 63)
    items = found if isinstance(found, tuple) else (found,)
    return all(-half <= factor < half for item in items for _, factor in item.terms)


def _known(value: ir.Value) -> bool:
    # A name that inference made up may still turn out to be the arithmetic that it stands for.
    shape = shape_of(value)
    return shape is not None and all(
        isinstance(d, int) or (d.value is not None and not d.value.startswith(MADE_UP)) for d in shape
    )


def content(value: ir.Value | None) -> Partial | None:
    """The content of an integer tensor of rank 0 or 1: a constant, or what was propagated."""
    held = partial_of(value)
    if held is not None or value is None:
        return held
    tensor = constant(value)
    if tensor is None or tensor.dtype not in _INTEGERS or tensor.size > _LONGEST or len(tensor.shape) > 1:
        return None
    array = tensor.numpy()
    return Dim.of(int(array)) if array.ndim == 0 else tuple(Dim.of(int(n)) for n in array)


def _items(value: ir.Value | None) -> tuple[Dim, ...] | None:
    held = content(value)
    return held if isinstance(held, tuple) else None


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _ints(node: ir.Node, name: str, index: int) -> list[int] | None:
    """Integers that older opsets have as an attribute and newer ones as an input."""
    attribute = node.attributes.get(name)
    if attribute is not None and not attribute.is_ref():
        return list(attribute.as_ints())
    return numbers(content(_input(node, index)))


def _shape(node: ir.Node) -> Partial | None:
    shape = shape_of(node.inputs[0])
    dims = None if shape is None else from_shape(shape)
    if dims is None:
        return None
    start, end = node.attributes.get("start"), node.attributes.get("end")
    return dims[start.as_int() if start else None : end.as_int() if end else None]


def _size(node: ir.Node) -> Partial | None:
    shape = shape_of(node.inputs[0])
    dims = None if shape is None else from_shape(shape)
    return None if dims is None else product(dims)


def _same(node: ir.Node) -> Partial | None:
    return content(node.inputs[0])


def _cast(node: ir.Node) -> Partial | None:
    return content(node.inputs[0]) if ir.DataType(node.attributes["to"].as_int()) in _INTEGERS else None


def _gather(node: ir.Node) -> Partial | None:
    data, indices = _items(node.inputs[0]), content(node.inputs[1])
    picked = numbers(indices)
    if data is None or picked is None or not all(-len(data) <= i < len(data) for i in picked):
        return None
    return tuple(data[i] for i in picked) if isinstance(indices, tuple) else data[picked[0]]


def _concat(node: ir.Node) -> Partial | None:
    parts = [_items(value) for value in node.inputs]
    joined = tuple(d for part in parts if part is not None for d in part)
    return None if any(part is None for part in parts) or len(joined) > _LONGEST else joined


def _unsqueeze(node: ir.Node) -> Partial | None:
    held, axes = content(node.inputs[0]), _ints(node, "axes", 1)
    return (held,) if isinstance(held, Dim) and axes in ([0], [-1]) else None


def _squeeze(node: ir.Node) -> Partial | None:
    held = _items(node.inputs[0])
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
    held = _items(node.inputs[0])
    starts, ends = _ints(node, "starts", 1), _ints(node, "ends", 2)
    if held is None or starts is None or ends is None or len(starts) != 1:
        return None
    steps = _ints(node, "steps", 4) if _input(node, 4) is not None else [1]
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
    held = content(node.inputs[0]) or _bools(node.inputs[0])
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


def _bools(value: ir.Value | None) -> Partial | None:
    tensor = constant(value)
    if tensor is None or tensor.dtype != ir.DataType.BOOL or tensor.size > _LONGEST or len(tensor.shape) > 1:
        return None
    array = tensor.numpy()
    return Dim.of(int(array)) if array.ndim == 0 else tuple(Dim.of(int(n)) for n in array)


def _constant_of_shape(node: ir.Node) -> Partial | None:
    length = numbers(content(node.inputs[0]))
    value = node.attributes.get("value")
    tensor = value.as_tensor() if value is not None else None
    if length is None or len(length) > 1 or tensor is None or tensor.dtype not in _INTEGERS:
        return None
    fill = Dim.of(int(tensor.numpy().reshape(-1)[0]))
    return fill if not length else (fill,) * length[0] if length[0] <= _LONGEST else None


def _reduce_prod(node: ir.Node) -> Partial | None:
    held = _items(node.inputs[0])
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
    if step == 0 or abs(limit - start) > _LONGEST * abs(step):
        return None
    return tuple(Dim.of(n) for n in range(start, limit, step))


_EVALUATE: dict[str, Callable[[ir.Node], Partial | None]] = {
    "Shape": _shape, "Size": _size, "Identity": _same, "Cast": _cast, "Gather": _gather, "Concat": _concat,
    "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Reshape": _reshape_content, "Slice": _slice, "Where": _where,
    "Add": _binary, "Sub": _binary, "Mul": _binary, "Div": _binary, "Mod": _binary, "Max": _binary, "Min": _binary,
    "Equal": _binary, "ConstantOfShape": _constant_of_shape, "ReduceProd": _reduce_prod, "Range": _range,
}  # fmt: skip


def _reshape(node: ir.Node) -> tuple[Dim, ...] | None:
    target = _items(node.inputs[1])
    if target is None:
        return None
    given = shape_of(node.inputs[0])
    source = None if given is None else from_shape(given)
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


def _shape_is_content(node: ir.Node) -> tuple[Dim, ...] | None:
    return _items(node.inputs[0])


def _expand(node: ir.Node) -> tuple[Dim, ...] | None:
    target, given = _items(node.inputs[1]), shape_of(node.inputs[0])
    source = None if given is None else from_shape(given)
    if target is None or source is None:
        return None
    rank = max(len(target), len(source))
    one = Dim.of(1)
    a = (one,) * (rank - len(source)) + source
    b = (one,) * (rank - len(target)) + target
    dims = []
    for x, y in zip(a, b, strict=True):
        if y == one or x == y:
            dims.append(x)
        elif x == one or (y.number is None and x.number is not None and x.number == 1):
            dims.append(y)
        elif x.number is not None and x.number > 1:
            dims.append(x)
        else:
            return None
    return tuple(dims)


def _tile(node: ir.Node) -> tuple[Dim, ...] | None:
    repeats, given = _items(node.inputs[1]), shape_of(node.inputs[0])
    source = None if given is None else from_shape(given)
    if repeats is None or source is None or len(repeats) != len(source):
        return None
    return tuple(d * r for d, r in zip(source, repeats, strict=True))


def _range_shape(node: ir.Node) -> tuple[Dim, ...] | None:
    start, limit, step = (content(value) for value in node.inputs)
    if isinstance(start, Dim) and isinstance(limit, Dim) and isinstance(step, Dim):
        span = limit - start
        if step.number == 1 and (span.number is None or span.number >= 0) and all(c > 0 for _, c in span.terms):
            return (span,)
    return None


_OPEN_END = 2**31 - 1
"""Ends of a Slice from which on exporters mean "to the end"."""


def _slice_shape(node: ir.Node) -> tuple[Dim, ...] | None:
    given = shape_of(node.inputs[0])
    dims = None if given is None else from_shape(given)
    starts, ends = _bounds(node, "starts", 1), _bounds(node, "ends", 2)
    if dims is None or starts is None or ends is None:
        return None
    axes = _ints(node, "axes", 3) or list(range(len(starts)))
    steps = _ints(node, "steps", 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    result = list(dims)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = _sliced(dims[axis], start, end, step)
        if size is None:
            return None
        result[axis] = size
    return tuple(result)


def _bounds(node: ir.Node, name: str, index: int) -> tuple[Dim, ...] | None:
    held = node.attributes.get(name)
    return tuple(Dim.of(n) for n in held.as_ints()) if held is not None else _items(_input(node, index))


def _sliced(size: Dim, start: Dim, end: Dim, step: int) -> Dim | None:
    """How many elements a slice takes of an axis, None where that cannot be told."""
    known, first, last = size.number, start.number, end.number
    if known is not None and first is not None and last is not None and step:
        return Dim.of(len(range(known)[first : None if step < 0 and last < -known else last : step]))
    if first == 0 and step == 1 and (end == size or (last is not None and last >= _OPEN_END)):
        return size
    return None


def _resize(node: ir.Node) -> tuple[Dim, ...] | None:
    if opset_of(node.graph) < 11 or _input(node, 3) is None or "axes" in node.attributes:
        return None
    policy = node.attributes.get("keep_aspect_ratio_policy")
    return _items(node.inputs[3]) if policy is None or policy.as_string() == "stretch" else None


_SHAPE: dict[str, Callable[[ir.Node], tuple[Dim, ...] | None]] = {
    "Reshape": _reshape, "ConstantOfShape": _shape_is_content, "Expand": _expand, "Tile": _tile,
    "Range": _range_shape, "Resize": _resize, "Slice": _slice_shape,
}  # fmt: skip
