"""Make com.microsoft's MultiHeadAttention of attention that is written out, for onnxruntime below opset 23.

    x ─ Reshape[0, 0, h, d] ─ Transpose ─ q ┐
                                       k, v ┴ MatMul, Mul, Add(mask), Softmax, MatMul ─ Transpose ─ y

becomes x, … ─ MultiHeadAttention(num_heads=h) ─ Reshape[0, 0, h, d] ─ y, as `attention_heads` does it for Attention.
Its kernel adds the mask as it is, but for the batch and the heads it does not broadcast it. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.infer import dims_of
from graphopt.rewrite import rule
from graphopt_passes.fuse.attention_heads import HEADS_LAST, merged, unpacked
from graphopt_passes.fuse.attention_keys import untransposed
from graphopt_passes.fuse.attention_mask import joined, shape_problem
from graphopt_passes.fuse.dot_products import CONDITIONS, masks_of, scale_of, scores_of, written_out

DOMAIN = "com.microsoft"
_RANK = 4


@rule("multi-head-attention", fidelity="rounding")
def heads(p):
    return p.Transpose(written_out(p), perm=HEADS_LAST)


for reason, condition in CONDITIONS:
    heads.require(reason)(condition)


@heads.require("MultiHeadAttention can do it")
def _(m):
    if m.q.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16) or "cap" in m or "widened" in m:
        return "it has no softcap, and computes in float32 or float16 as a whole"
    q, kt = dims_of(m.q), dims_of(m.kt)
    if len(q) != _RANK or q[1] != kt[1] or not all(dim.number for dim in (q[1], q[3], dims_of(m.v)[3])):
        return "heads and widths are not as many numbers"
    return shape_problem(masks_of(m), scores_of(m)) or True


@heads.replace
def _(op, m):
    scores, masks = scores_of(m), masks_of(m)
    count, width = scores[1].number, dims_of(m.v)[3].number
    kt = m.kt.producer()
    if kt is None or list(kt.attributes.get_ints("perm", [])) != [0, 2, 3, 1]:
        keys = untransposed(op, m.kt, m.root.graph)
        if keys.producer() in op.nodes:
            raise op.decline("the keys are not transposed from one head after the other")
        inputs = unpacked(op, (m.q, keys, m.v)) or [merged(op, value) for value in (m.q, keys, m.v)]
    else:
        flat = op.Reshape(kt.inputs[0], np.array([0, 0, count * dims_of(m.q)[3].number], np.int64))
        inputs = [merged(op, m.q), flat, merged(op, m.v)]
    bias = None
    if masks:
        bias = joined(op, masks, scores, masks)
        missing = _RANK - max(2, *(len(dims_of(mask)) for mask in masks))
        bias = _unsqueezed(op, bias, missing) if missing else bias
    y = op.MultiHeadAttention(*inputs, None, None, bias, num_heads=count, scale=float(scale_of(m)[0]), domain=DOMAIN)
    return op.Reshape(y, np.array([0, 0, count, width], np.int64))


def _unsqueezed(op, value, count):
    axes = list(range(count))
    return op.Unsqueeze(value, np.array(axes, np.int64)) if op.opset >= 13 else op.Unsqueeze(value, axes=axes)


@heads.example
def _(g):
    batch, count, queries, keys, width = (g.integer(1, 3) for _ in range(5))

    def split(length, order):
        x = g.input([batch, length, count * width], static=True)
        return g.Transpose(g.Reshape(x, g.constant([0, 0, count, width])), perm=order)

    scores = g.MatMul(split(queries, HEADS_LAST), split(keys, [0, 2, 3, 1]))
    scores = g.Mul(scores, g.constant(0.5)) if g.flag() else g.Div(scores, g.constant(2.0))
    if g.flag():
        mask = g.pick([[queries, keys], [1, keys], [batch, 1, 1, keys], [count, queries, keys], [keys]])
        scores = g.Add(scores, g.constant(g.normal(*mask)))
    y = g.MatMul(g.Softmax(scores, axis=-1), split(keys, HEADS_LAST))
    g.output(g.Reshape(g.Transpose(y, perm=HEADS_LAST), g.constant([0, 0, -1])))


@heads.example
def _(g):
    batch, length, count, width = (g.integer(1, 3) for _ in range(4))
    x = g.Reshape(g.input([batch, length, 3 * count * width], static=True), g.constant([0, 0, 3, count, width]))
    packed = g.Transpose(x, perm=[2, 0, 3, 1, 4])
    q, k, v = (g.Gather(packed, g.constant(np.array(n)), axis=0) for n in range(3))
    scores = g.MatMul(g.Mul(q, g.constant(0.5)), g.Transpose(k, perm=[0, 1, 3, 2]))
    g.output(g.Transpose(g.MatMul(g.Softmax(scores, axis=-1), v), perm=HEADS_LAST))


RULES = (heads,)
