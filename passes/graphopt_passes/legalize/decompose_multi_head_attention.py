"""Write out com.microsoft's MultiHeadAttention and Attention.

    q, k, v, bias ─ MultiHeadAttention ─ y      becomes      Add(bias), Reshape and Transpose of each, and then
                                                             MatMul ─ Mul ─ Add(mask) ─ Softmax ─ MatMul ─ y
    x ─ Attention(weights, bias) ─ y            becomes      x ─ MatMul(weights) ─ Add(bias) ─ Split, and the same

What is shut out gets mask_filter_value added, as onnxruntime does it. Queries that hold keys and values as well
(5 axes), masks of the form [3·batch + 2] and caches of a fixed size stay as they are. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.scaled_dot_product import LEAST, Mask, attend, join_heads, length, positions, split_heads

DOMAIN = "com.microsoft"
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_FILTER = -10000.0
_INPUTS = {
    "MultiHeadAttention": ("q", "k", "v", "bias", "mask", "added", "past_k", "past_v", "past_length", "beams"),
    "Attention": ("x", "weights", "bias", "mask", "past", "added", "past_length"),
}


def _of(m):
    names = _INPUTS[m.attention.op_type]
    return dict(zip(names, [*m.inputs, *[None] * (len(names) - len(m.inputs))], strict=True))


def _size(value, axis):
    dims = dims_of(value)
    return dims[axis].number if dims is not None else None


def _rank(value):
    return len(dims_of(value) or ())


def _fits_mask(of, batch):
    mask = of["mask"]
    if mask is None or _rank(mask) in (2, 3):
        return True
    return (_rank(mask) == 1 and dims_of(mask)[0] == batch) or "the mask is of a form that says where padding ends"


def _fits_heads(m):
    of = _of(m)
    if any(of[name] is not None for name in ("past_length", "beams")):
        return "the cache has a fixed size"
    if of["k"] is None or of["v"] is None or _rank(of["q"]) != 3 or _rank(of["k"]) not in (3, 4):
        return "keys and values are packed with others, or shapes are not known"
    if _rank(of["k"]) != _rank(of["v"]) or of["q"].dtype not in _TYPES or not _size(of["q"], 2):
        return "types or widths are not known"
    if not all(_size(value, 1 if _rank(value) == 4 else 2) for value in (of["k"], of["v"])):
        return "widths are not known"
    return _fits_mask(of, dims_of(of["q"])[0])


def _fits_packed(m):
    of = _of(m)
    if of["past_length"] is not None or attribute(m.attention, "do_rotary"):
        return "the cache has a fixed size, or positions are rotated"
    if _rank(of["x"]) != 3 or of["x"].dtype not in _TYPES or not _size(of["weights"], 1):
        return "types or widths are not known"
    return _fits_mask(of, dims_of(of["x"])[0])


def _heads(op, m):
    of, count = _of(m), attribute(m.attention, "num_heads")
    parts = [of["q"], of["k"], of["v"]]
    if of["bias"] is not None:
        widths = [_hidden(value, count) for value in parts]
        parts = [
            op.Add(value, bias) if _rank(value) == 3 else value
            for value, bias in zip(parts, _split(op, of["bias"], widths, 0), strict=True)
        ]
    heads = [
        split_heads(op, part, count, _hidden(value, count) // count) if _rank(value) == 3 else part
        for part, value in zip(parts, (of["q"], of["k"], of["v"]), strict=True)
    ]
    y, k, v = _attend(op, m, of, heads, (of["past_k"], of["past_v"]), of["q"], _hidden(of["v"], count))
    return (y, k, v)[: len(m.attention.outputs)]


def _hidden(value, count):
    """The width of all heads together."""
    return _size(value, 2) if _rank(value) == 3 else _size(value, 3) * count


def _packed(op, m):
    of, count = _of(m), attribute(m.attention, "num_heads")
    whole = _size(of["weights"], 1)
    widths = list(attribute(m.attention, "qkv_hidden_sizes") or [whole // 3] * 3)
    product = op.MatMul(of["x"], of["weights"])
    product = product if of["bias"] is None else op.Add(product, of["bias"])
    heads = [
        split_heads(op, part, count, width // count)
        for part, width in zip(_split(op, product, widths, 2), widths, strict=True)
    ]
    past = (None, None)
    if of["past"] is not None:
        past = tuple(op.Gather(of["past"], np.array(index, np.int64), axis=0) for index in (0, 1))
    y, k, v = _attend(op, m, of, heads, past, of["x"], widths[2], past_size=_size(of["past"], 3))
    if len(m.attention.outputs) == 1:
        return y
    return y, op.Concat(*(_unsqueeze(op, one) for one in (k, v)), axis=0)


def _attend(op, m, of, heads, past, query, hidden, past_size=None):
    """The answer, and all keys and values."""
    q, k, v = heads
    count, dtype = attribute(m.attention, "num_heads"), query.dtype
    width = (_size(of["q"], 2) if "q" in of else None) or None
    scale = attribute(m.attention, "scale")
    if not scale:
        total = (
            width
            if width is not None
            else (attribute(m.attention, "qkv_hidden_sizes") or [_size(of["weights"], 1) // 3])[0]
        )
        scale = 1 / math.sqrt(total // count)
    if past[0] is not None:
        k, v = (op.Concat(old, new, axis=2) for old, new in zip(past, (k, v), strict=True))
    added = _mask(op, m, of, q, k, past[0], dtype)
    done = attend(
        op, q, k, v, Mask(added=added, finite=True), dtype=dtype, scale=float(scale), heads=count, groups=count
    )
    return join_heads(op, done.answer, hidden), k, v


def _mask(op, m, of, q, k, past, dtype):
    """Everything that is added to the scores; None where nothing is."""
    low = attribute(m.attention, "mask_filter_value")
    zero, low = (np.array(value, dtype.numpy()) for value in (0, _FILTER if low is None else low))
    terms = [] if of["added"] is None else [of["added"]]
    mask = of["mask"]
    if mask is not None and _rank(mask) == 1:
        open_ = op.Less(op.Cast(positions(op, k, 2, None), to=6), op.Reshape(mask, np.array([-1, 1, 1, 1], np.int64)))
        terms.append(op.Where(open_, zero, low))
    elif mask is not None:
        shape = [0, 1, 1, -1] if _rank(mask) == 2 else None
        open_ = op.Cast(mask, to=9)
        wide = op.Reshape(open_, np.array(shape, np.int64)) if shape else _unsqueeze(op, open_, 1)
        terms.append(op.Where(wide, zero, low))
    if attribute(m.attention, "unidirectional"):
        row, column = positions(op, q, 2, None), positions(op, k, 2, None)
        row = op.Reshape(row, np.array([-1, 1], np.int64))
        if past is not None:
            row = op.Add(row, length(op, past, 2))
        terms.append(op.Where(op.Greater(column, row), np.array(LEAST[dtype], dtype.numpy()), zero))
    total = None
    for one in terms:
        total = one if total is None else op.Add(total, one)
    return total


def _split(op, value, sizes, axis):
    if op.opset >= 13:
        return op.Split(value, np.array(sizes, np.int64), axis=axis, outputs=len(sizes))
    return op.Split(value, axis=axis, split=sizes, outputs=len(sizes))


def _unsqueeze(op, value, axis=0):
    return op.Unsqueeze(value, np.array([axis], np.int64)) if op.opset >= 13 else op.Unsqueeze(value, axes=[axis])


def _rule(op_type, outputs, condition, replace, example):
    def pattern(p):
        made = p.op(
            op_type, p.rest("inputs"), as_="attention", domain=DOMAIN, where=lambda node: len(node.outputs) == outputs
        )
        return tuple(made[index] for index in range(outputs))

    name = {"Attention": "packed-attention"}.get(op_type, "multi-head-attention")
    one = Rule(f"write-out-{name}-{outputs}", "rounding", pattern)
    one.require("it is of a form that can be written out")(condition)
    one.replace(replace)
    one.example(lambda g: example(g, outputs))
    return one


def _heads_example(g, outputs):
    batch, count, queries, keys, width = (g.integer(1, 3) for _ in range(5))
    past = g.integer(1, 2) if outputs > 1 else 0
    hidden = count * width
    whole = g.flag() and not past
    q = g.input([batch, queries, hidden], static=True)
    k, v = (g.input([batch, count, keys, width] if whole else [batch, keys, hidden], static=True) for _ in range(2))
    bias = g.constant(g.normal(3 * hidden)) if g.flag() and not whole else None
    mask = g.constant(np.ones((batch, past + keys), np.int32)) if g.flag() and not whole else None
    added = g.constant(g.normal(g.pick([1, batch]), g.pick([1, count]), queries, past + keys)) if g.flag() else None
    caches = [g.input([batch, count, past, width], static=True) for _ in range(2)] if past else []
    options = {"scale": 0.5} if g.flag() else {}
    made = g.MultiHeadAttention(
        q, k, v, bias, mask, added, *caches, num_heads=count, outputs=outputs, domain=DOMAIN, **options
    )
    for one, rank in zip([made] if outputs == 1 else made, (3, 4, 4), strict=False):
        g.output(one, rank)


def _packed_example(g, outputs):
    batch, count, length_, width = (g.integer(1, 3) for _ in range(4))
    past = g.integer(1, 2) if outputs > 1 else 0
    hidden, inner = count * width, g.integer(1, 4)
    x = g.input([batch, length_, inner], static=True)
    weights, bias = g.constant(g.normal(inner, 3 * hidden)), g.constant(g.normal(3 * hidden))
    masks = [None, g.constant(np.ones((batch, past + length_), np.int32))]
    if not past:
        masks.append(g.constant(np.full(batch, length_, np.int32)))
    cache = [g.input([2, batch, count, past, width], static=True)] if past else []
    made = g.Attention(
        x, weights, bias, g.pick(masks), *cache, num_heads=count, outputs=outputs, domain=DOMAIN,
        unidirectional=int(g.flag()),
    )  # fmt: skip
    for one, rank in zip([made] if outputs == 1 else made, (3, 5), strict=False):
        g.output(one, rank)


class DecomposeMultiHeadAttention(Substitution):
    """Write com.microsoft's MultiHeadAttention and Attention as MatMul, Softmax and MatMul."""

    name = "decompose-multi-head-attention"
    rules = (
        *(_rule("MultiHeadAttention", n, _fits_heads, _heads, _heads_example) for n in (1, 3)),
        *(_rule("Attention", n, _fits_packed, _packed, _packed_example) for n in (1, 2)),
    )
