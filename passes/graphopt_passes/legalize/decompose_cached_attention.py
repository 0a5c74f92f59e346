"""Write out com.microsoft's GroupQueryAttention with a past, as a decoder reads one token after the other.

    k, past ─ GroupQueryAttention(last) ─ present      becomes      present = Where(slot is new, k at its slot, past)

and the attention over all slots, where slots behind the query's are shut out. The tokens before are last + 1 - queries,
for each sequence by itself; the slots are as many as the past has, or as the total length says where that is more, as
onnxruntime makes them. Several new tokens are put in place by a product with ones and zeros. Quantized caches, sinks
and a total length that is computed at run time stay as they are. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.decompose_grouped_query_attention import DOMAIN, TYPES, inputs_of, rotated
from graphopt_passes.legalize.scaled_dot_product import Mask, attend, join_heads, split_heads
from graphopt_passes.parts import pad, unsqueeze
from graphopt_passes.splits import split

_INT32 = int(ir.DataType.INT32)
_SINCE = 13


@rule("write-out-cached-attention", fidelity="rounding")
def cached(p):
    made = p.GroupQueryAttention(p.rest("inputs"), as_="attention", domain=DOMAIN)
    return made[0], made[1], made[2]


@cached.require("it has a past of its own type, a total length that is constant, and static shapes")
def _(m):
    of = inputs_of(m)
    if of["past_k"] is None or any(m.inputs[len(of) :]) or constant(of["total"]) is None:
        return "it has no past, inputs that ONNX has no words for, or a total length that is computed at run time"
    shapes = [static_shape(of[name]) for name in ("q", "past_k")]
    fits = None not in shapes and len(shapes[0]) == 3 and len(shapes[1]) == 4
    return fits and of["q"].dtype in TYPES and of["past_k"].dtype == of["q"].dtype


@cached.require("it is causal, without sinks and a smooth Softmax, and turns halves")
def _(m):
    node = m.attention
    plain = attribute(node, "causal") != 0 and not attribute(node, "smooth_softmax") and len(node.outputs) == 3
    return plain and not attribute(node, "rotary_interleaved") and not attribute(node, "sliding_window_cache")


@cached.replace
def _(op, m):
    if op.opset < _SINCE:
        raise op.decline(f"comparisons of integers that it needs are from opset {_SINCE} on")
    of, node = inputs_of(m), m.attention
    heads, groups = attribute(node, "num_heads"), attribute(node, "kv_num_heads")
    queries, (held, width) = static_shape(of["q"])[1], static_shape(of["past_k"])[2:]
    slots = max(held, int(constant(of["total"]).numpy().reshape(())))
    flat = [of["q"], of["k"], of["v"]]
    if of["k"] is None:
        flat = split(op, of["q"], [heads * width, groups * width, groups * width], 2)
    q, k, v = (split_heads(op, one, count, width) for one, count in zip(flat, (heads, groups, groups), strict=True))
    last = of["last"] if of["last"].dtype == ir.DataType.INT32 else op.Cast(of["last"], to=_INT32)
    start = op.Add(op.Reshape(last, np.array([-1, 1, 1, 1], np.int64)), np.array(1 - queries, np.int32))
    if attribute(node, "do_rotary"):
        q, k = _turned(op, of, q, k, start, queries, width)
    keys, values = (_written(op, *one, start, queries, slots) for one in ((of["past_k"], k), (of["past_v"], v)))
    row = op.Add(start, np.arange(queries, dtype=np.int32).reshape(1, 1, -1, 1))
    column = np.arange(slots, dtype=np.int32)
    mask = Mask([op.LessOrEqual(op.constant(column), row)], of["added"], finite=True)
    window = attribute(node, "local_window_size")
    if window not in (None, -1):
        mask.allowed.append(op.Greater(op.constant(column), op.Sub(row, np.array(window, np.int32))))
    done = attend(
        op, q, keys, values, mask, dtype=of["q"].dtype, heads=heads, groups=groups,
        scale=float(attribute(node, "scale") or 1 / math.sqrt(width)),
        softcap=float(attribute(node, "softcap") or 0),
    )  # fmt: skip
    return join_heads(op, done.answer, heads * width), keys, values


def _written(op, past, new, start, queries, slots):
    """The past with new positions in their slots; of all [batch, groups, slots, width]."""
    shape = static_shape(past)
    kind = past.dtype.numpy()
    held = pad(op, past, [0] * 4, [0, 0, slots - shape[2], 0], dtype=kind)
    slot = op.constant(np.arange(slots, dtype=np.int32).reshape(1, 1, -1, 1))
    if queries == 1:
        return op.Where(op.Equal(slot, start), new, held)
    at = op.Add(start, np.arange(queries, dtype=np.int32).reshape(1, 1, 1, -1))
    chosen = op.MatMul(op.Cast(op.Equal(slot, at), to=int(past.dtype)), new)
    end = op.Add(start, np.array(queries, np.int32))
    return op.Where(op.And(op.GreaterOrEqual(slot, start), op.Less(slot, end)), chosen, held)


def _turned(op, of, q, k, start, queries, width):
    """Queries and keys rotated by the angles of their places."""
    places = of["ids"]
    if places is None:
        begins = op.Reshape(start, np.array([-1, 1], np.int64))
        places = op.Add(begins, np.arange(queries, dtype=np.int32).reshape(1, -1))
    angles = [unsqueeze(op, op.Gather(of[name], places, axis=0), [1]) for name in ("cos", "sin")]
    turned = 2 * static_shape(of["cos"])[1]
    return [rotated(op, one, *angles, turned, width) for one in (q, k)]


@cached.example
def _(g):
    batch, groups, shared, held, half = (g.integer(1, 3) for _ in range(5))
    queries, width, heads = 1 if batch > 1 else g.integer(1, 2), 16 * half, groups * shared
    buffer = g.flag()
    total = held if buffer and held >= queries else held + queries
    # Of integers, since a NaN does not stay where it was.
    q, k, v, *past = (
        g.Mul(g.Cast(g.input(shape, g.INT32, static=True), to=1), g.constant(0.1))
        for shape in (
            *([batch, queries, count * width] for count in (heads, groups, groups)), *[[batch, groups, held, width]] * 2
        )
    )  # fmt: skip
    last, count = g.constant(np.full(batch, total - 1, np.int32)), g.constant(np.array(total, np.int32))
    tables, options = [None, None], {}
    if g.flag():
        tables, options = [g.constant(g.normal(total + 2, width // 2)) for _ in range(2)], {"do_rotary": 1}
    options |= {"local_window_size": 2} if g.flag() else {}
    made = g.GroupQueryAttention(
        q, k, v, *past, last, count, *tables, num_heads=heads, kv_num_heads=groups, outputs=3, domain=DOMAIN, **options
    )
    for one, rank in zip(made, (3, 4, 4), strict=True):
        g.output(one, rank)


class DecomposeCachedAttention(Substitution):
    """Write com.microsoft's GroupQueryAttention with a past as Where, MatMul, Softmax and MatMul."""

    name = "decompose-cached-attention"
    rules = (cached,)
