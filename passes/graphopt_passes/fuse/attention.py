"""Make one Attention of scaled dot products, their Softmax and the weighted sum.

    q ─ MatMul ─ Mul(1/√d) ─ Add(mask) ─ Softmax ─ MatMul ─ y      becomes      q, k, v, mask ─ Attention ─ y
    k ─ Transpose ┘                            v ──┘

(Vaswani et al., arXiv:1706.03762, section 3.2.1; `dot_products` says which forms.) tanh(s/c)·c before the mask becomes
the attribute softcap. Keys and values that are repeated for groups of heads (Ainslie et al., arXiv:2305.13245) are
given once. Then `attention_heads` takes the heads' Reshapes and Transposes into the operator, and `attention_cache`
the Concats with past keys and values.

PyTorch replaces weights that are NaN by 0, for queries whose keys are all shut out; Attention answers 0 there itself,
but keeps a NaN that comes from q or k. So `fuse-guarded-attention`, to run before this, is a pass to ask for.

Attention is of opset 23: below that nothing fires, see `--opset`. The standard asks for as many batches and heads in q,
k and v as the shapes prove. onnxruntime 1.31 does not run the fused form on empty batches or sequences, which its
kernel refuses. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.infer import dims_of, infer_shapes
from graphopt.pipeline import Context, PassResult, RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse import attention_cache, attention_heads
from graphopt_passes.fuse.attention_keys import once_each, untransposed
from graphopt_passes.fuse.attention_mask import hand_over, shape_problem, type_problem, value_problem
from graphopt_passes.fuse.dot_products import CONDITIONS, masks_of, scale_of, scores_of, written_out

SINCE = 23


@rule("attention", fidelity="rounding")
def attend(p):
    return written_out(p)


@rule("attention-guarded", fidelity="rounding")
def attend_guarded(p):
    return written_out(p, guarded=True)


def _known(m):
    return m.root.graph is not None and m.root.graph.opset_imports.get("", 0) >= SINCE


def _reads_mask(m):
    masks, dtype = masks_of(m), m.q.dtype or ir.DataType.UNDEFINED
    return type_problem(dtype) or shape_problem(masks, scores_of(m)) or "nothing" in m or value_problem(masks) or True


def _replace(op, m):
    scores = scores_of(m)
    scale, softcap = scale_of(m)
    mask = hand_over(op, masks_of(m), scores)
    k, v = untransposed(op, m.kt, m.root.graph), m.v
    once = [once_each(value, heads=scores[1]) for value in (k, v)] if len(scores) == 4 else [None, None]
    if None not in once and dims_of(once[0])[1] == dims_of(once[1])[1]:
        k, v = once
    more = {"q_num_heads": 1, "kv_num_heads": 1} if len(scores) == 3 else {}
    return op.Attention(
        m.q, k, v, mask, scale=float(scale), softcap=softcap or None,
        softmax_precision=int(ir.DataType.FLOAT) if "widened" in m else None, **more,
    )  # fmt: skip


for one in (attend, attend_guarded):
    one.require("the model's opset has Attention")(_known)
    for reason, condition in CONDITIONS:
        one.require(reason)(condition)
    one.require("Attention reads the mask as an addition to the scores does")(_reads_mask)
    one.replace(_replace)


@attend.example
def _(g):
    g.since(SINCE)
    batch, heads, queries, keys, width = (g.integer(1, 3) for _ in range(5))
    lead = [batch, heads] if g.flag() else [batch]
    q, k = g.input([*lead, queries, width], static=True), g.input([*lead, keys, width], static=True)
    v = g.input([*lead, keys, g.integer(1, 3)], static=True)
    rank = len(lead) + 2
    kt = g.Transpose(k, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = g.Mul(g.MatMul(q, kt), g.constant(g.pick([0.5, 0.25])))
    if g.flag():
        scores = g.Mul(g.Tanh(g.Div(scores, g.constant(5.0))), g.constant(5.0))
    if g.flag():
        mask = g.pick([[keys], [queries, keys], [1, keys], [*lead, 1, keys], [*lead[:-1], 1, queries, keys]])
        scores = g.Add(scores, g.constant(g.normal(*mask)))
    g.output(g.MatMul(g.Softmax(scores, axis=-1), v))


@attend.example
def _(g):
    g.since(SINCE)
    batch, groups, size, keys, width = (g.integer(1, 3) for _ in range(5))
    q = g.input([batch, groups * size, keys, width], static=True)

    def repeated():
        one = g.Unsqueeze(g.input([batch, groups, keys, width], static=True), g.constant([2]))
        many = g.Expand(one, g.constant([batch, groups, size, keys, width]))
        return g.Reshape(many, g.constant([batch, groups * size, keys, width]))

    kt, v = g.Transpose(repeated(), perm=[0, 1, 3, 2]), repeated()
    scores = g.Div(g.MatMul(q, kt), g.constant(2.0))
    if g.flag():
        scores = g.Add(scores, g.constant(np.triu(np.full((keys, keys), g.pick([-3e38, -np.inf]), np.float32), 1)))
    g.output(g.MatMul(g.Softmax(scores, axis=3), v))


@attend_guarded.example
def _(g):
    g.since(SINCE)
    batch, heads, queries, keys, width = (g.integer(1, 3) for _ in range(5))
    # Of integers, since a NaN in q or k is what this rule does not keep.
    q, k, v = (g.Cast(g.input([batch, heads, n, width], g.INT32, static=True), to=1) for n in (queries, keys, keys))
    scores = g.Mul(g.MatMul(q, g.Transpose(k, perm=[0, 1, 3, 2])), g.constant(0.125))
    open_ = g.input([batch, 1, queries, keys], g.BOOL, static=True)
    soft = g.Softmax(g.Add(scores, g.Where(open_, g.constant(0.0), g.constant(-np.inf))), axis=-1)
    g.output(g.MatMul(g.Where(g.IsNaN(soft), g.constant(0.0), soft), v))


class FuseAttention(RewritePass):
    """Make Attention (opset 23) of MatMul, Softmax and MatMul, with its mask, heads, groups and cache."""

    name = "fuse-attention"
    rules = (attend, *attention_cache.RULES, *attention_heads.RULES)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `RewritePass.run`; shapes are proven first, where there is anything to prove them for."""
        if model.graph.opset_imports.get("", 0) < SINCE:
            return PassResult(0, f"Attention is of opset {SINCE}")
        infer_shapes(model)
        return super().run(model, context)


class FuseGuardedAttention(FuseAttention):
    """As fuse-attention, where weights that are NaN are replaced by 0: then a NaN in q or k is kept, which was 0."""

    name = "fuse-guarded-attention"
    rules = (attend_guarded,)
