"""Say is_causal where the mask of Attention is constant and shuts out just the keys after each query.

    q, k, v, mask = [[0, -∞], [0, 0]] ─ Attention ─ y      becomes      q, k, v ─ Attention(is_causal=1) ─ y

which saves a matrix as large as the sequence is long, squared. By the standard it is the same; onnxruntime's kernel
does not look at the keys that are shut out, so a key that is infinite no longer makes NaN of the queries before it: a
pass to ask for. Holds for as many queries as keys. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of, infer_shapes
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

SINCE = 23
_SHUT = -6e4
"""A bias up to which a key is shut out, in float16 as well."""
_LARGEST = 1 << 26


@rule("causal-attention", fidelity="rounding")
def causal(p):
    return p.Attention(p.q, p.k, p.v, p.constant("mask"), as_="attention", is_causal=0)


@causal.require("the mask is square, open up to the diagonal and shut after it")
def _(m):
    tensor, q, k = constant(m.value("mask")), dims_of(m.q), dims_of(m.k)
    size = tensor.shape[-1] if len(tensor.shape) > 1 else 0
    if q is None or k is None or q[-2].number != size or k[-2].number != size or size < 2:
        return False
    if tensor.size != size * size or tensor.size > _LARGEST:
        return "the mask differs from head to head, or is too large to look into"
    array = tensor.numpy().reshape(size, size)
    after = np.triu(np.ones((size, size), bool), 1)
    if array.dtype == bool:
        return bool((array == ~after).all())
    return bool((array[~after] == 0).all() and (array[after] <= _SHUT).all())


@causal.replace
def _(op, m):
    return op.Attention(m.q, m.k, m.v, like=m.attention, is_causal=1)


@causal.example
def _(g):
    g.since(SINCE)
    batch, heads, width, size = g.integer(1, 3), g.integer(1, 3), g.integer(1, 3), g.integer(2, 4)
    # Of integers, since a key that is infinite is what this rule does not keep.
    q, k, v = (g.Cast(g.input([batch, heads, size, width], g.INT32, static=True), to=1) for _ in range(3))
    after = np.triu(np.ones((size, size), bool), 1)
    mask = ~after if g.flag() else np.where(after, np.float32(g.pick([-np.inf, -3e38])), np.float32(0))
    g.output(g.Attention(q, k, v, g.constant(mask), scale=0.01))


class FuseCausalMask(RewritePass):
    """Say is_causal in place of a constant mask; a key that is infinite then harms no query before it."""

    name = "fuse-causal-mask"
    rules = (causal,)

    def run(self, model, context):
        """See `RewritePass.run`; shapes are proven first."""
        infer_shapes(model)
        return super().run(model, context)
