"""Write out com.microsoft's GroupQueryAttention of a prompt: what reads its first tokens, without any before them.

    q, k, v ─ GroupQueryAttention ─ y      becomes      Reshape and Transpose of each, rotation of q and k, and then
                                                        MatMul ─ Mul ─ Add(causal mask) ─ Softmax ─ MatMul ─ y

with the keys beyond seqlens_k of each sequence shut out. With a past see
decompose-cached-attention; windows, sinks and quantized caches stay. A NaN in a key or value reaches the queries before
it as well, where the kernel does not look at it. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.scaled_dot_product import Mask, attend, join_heads, positions, split_heads

DOMAIN = "com.microsoft"
TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_NAMES = ("q", "k", "v", "past_k", "past_v", "last", "total", "cos", "sin", "ids", "added")
_INT64 = int(ir.DataType.INT64)


def inputs_of(m):
    """The inputs by name, None where there is none."""
    return dict(zip(_NAMES, [*m.inputs, *[None] * (len(_NAMES) - len(m.inputs))], strict=False))


def _fits(m):
    of, node = inputs_of(m), m.attention
    if of["past_k"] is not None or any(m.inputs[len(_NAMES) :]):
        return "it has a past, or inputs that ONNX has no words for"
    if attribute(node, "local_window_size") not in (None, -1) or attribute(node, "smooth_softmax"):
        return "it has a window or a smooth Softmax"
    if attribute(node, "causal") == 0 or attribute(node, "rotary_interleaved"):
        return "it is not causal, or rotates every other element"
    dims = dims_of(of["q"])
    if dims is None or len(dims) != 3 or dims[2].number is None or of["q"].dtype not in TYPES:
        return "type or shape of the queries are not known"
    if attribute(node, "do_rotary") and (of["ids"] is not None or len(dims_of(of["cos"]) or ()) != 2):
        return "it has positions of its own"
    return True


def _replace(op, m):
    of, node = inputs_of(m), m.attention
    heads, groups = attribute(node, "num_heads"), attribute(node, "kv_num_heads")
    hidden = dims_of(of["q"])[2].number
    width = hidden // (heads + 2 * groups if of["k"] is None else heads)
    flat = [of["q"], of["k"], of["v"]]
    if of["k"] is None:
        sizes = np.array([heads * width, groups * width, groups * width], np.int64)
        flat = op.Split(of["q"], sizes, axis=2, outputs=3)
    q, k, v = (split_heads(op, one, count, width) for one, count in zip(flat, (heads, groups, groups), strict=True))
    size = dims_of(of["q"])[1].number
    places = positions(op, q, 2, size)
    if attribute(node, "do_rotary"):
        angles = [op.Gather(of[name], places, axis=0) for name in ("cos", "sin")]
        q, k = (rotated(op, one, *angles, 2 * dims_of(of["cos"])[1].number, width) for one in (q, k))
    row = places[:, None] if size is not None else op.Unsqueeze(places, np.array([1], np.int64))
    causal = places <= row if size is not None else op.LessOrEqual(places, row)
    end = op.Reshape(op.Cast(of["last"], to=_INT64), np.array([-1, 1, 1, 1], np.int64))
    mask = Mask([causal, op.LessOrEqual(places, end)], of["added"], finite=True)
    scale = attribute(node, "scale") or 1 / math.sqrt(width)
    done = attend(
        op, q, k, v, mask, dtype=of["q"].dtype, scale=float(scale), heads=heads, groups=groups,
        softcap=float(attribute(node, "softcap") or 0),
    )  # fmt: skip
    return (join_heads(op, done.answer, heads * width), k, v)[: len(node.outputs)]


def rotated(op, x, cos, sin, turned, width):
    """x [batch, heads, positions, width] with its first elements turned by [positions, turned / 2] angles."""
    sizes = [turned // 2] * 2 + ([width - turned] if width > turned else [])
    first, second, *rest = op.Split(x, np.array(sizes, np.int64), axis=3, outputs=len(sizes))
    real = op.Sub(op.Mul(first, cos), op.Mul(second, sin))
    imaginary = op.Add(op.Mul(first, sin), op.Mul(second, cos))
    return op.Concat(real, imaginary, *rest, axis=3)


def _rule(outputs):
    def pattern(p):
        made = p.GroupQueryAttention(
            p.rest("inputs"), as_="attention", domain=DOMAIN, where=lambda node: len(node.outputs) == outputs
        )
        return tuple(made[index] for index in range(outputs))

    one = Rule(f"write-out-grouped-query-attention-{outputs}", "rounding", pattern)
    one.require("it reads a prompt, and can be written out")(_fits)
    one.require("the opset has Split with an input")(
        lambda m: m.root.graph is not None and m.root.graph.opset_imports.get("", 0) >= 13
    )
    one.replace(_replace)
    one.example(lambda g: _example(g, outputs))
    return one


def _example(g, outputs):
    batch, groups, size, length, half = (g.integer(1, 3) for _ in range(5))
    heads, width = groups * size, 16 * half
    # Of integers, since a NaN does not stay where it was.
    q, k, v = (
        g.Mul(g.Cast(g.input([batch, length, n * width], g.INT32, static=True), to=1), g.constant(0.1))
        for n in (heads, groups, groups)
    )
    last, total = g.constant(np.full(batch, length - 1, np.int32)), g.constant(np.array(length, np.int32))
    tables, options = [None, None], {}
    if g.flag():
        tables, options = [g.constant(g.normal(length + 2, width // 2)) for _ in range(2)], {"do_rotary": 1}
    made = g.GroupQueryAttention(
        q, k, v, None, None, last, total, *tables, num_heads=heads, kv_num_heads=groups, outputs=outputs,
        domain=DOMAIN, **options,
    )  # fmt: skip
    for one, rank in zip([made] if outputs == 1 else made, (3, 4, 4), strict=False):
        g.output(one, rank)


class DecomposeGroupedQueryAttention(Substitution):
    """Write com.microsoft's GroupQueryAttention of a prompt as MatMul, Softmax and MatMul."""

    name = "decompose-grouped-query-attention"
    rules = (_rule(1), _rule(3))
