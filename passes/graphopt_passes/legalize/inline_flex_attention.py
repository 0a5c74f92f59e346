"""Write FlexAttention out, with the graphs that it carries in their places.

    q, k, v ─ FlexAttention<score_mod, prob_mod> ─ y      becomes      q ─ MatMul(kᵀ) ─ Mul(scale) ─ score_mod ─ Softmax
                                                                         ─ prob_mod ─ MatMul(v) ─ y

in softmax_precision, float where it is not given and q is not double (ONNX, ai.onnx.preview.FlexAttention-1). Heads of
queries that share keys are rows of one matrix. No runtime has the operator, so this comes before anything else looks
at the model. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import bodies, static_shape
from graphopt.legalize import Substitution
from graphopt.rewrite import rule

_DOMAIN = "ai.onnx.preview"
_T = ir.DataType


@rule("inline-flex-attention", fidelity="rounding")
def flex(p):
    return p.FlexAttention(p.q, p.k, p.v, as_="flex", domain=_DOMAIN)


@flex.require("its shapes are known, and heads of queries share keys evenly")
def _(m):
    shapes = [static_shape(value) for value in (m.q, m.k, m.v)]
    return all(shape is not None and len(shape) == 4 for shape in shapes) and shapes[0][1] % shapes[1][1] == 0


@flex.require("the graphs that it carries have none inside")
def _(m):
    return not any(any(bodies(node)) for body in bodies(m.flex) for node in body)


@flex.replace
def _(op, m):
    dtype, given = m.q.dtype, m.flex.attributes.get("softmax_precision")
    wide = _T(given.value) if given is not None else _T.DOUBLE if dtype == _T.DOUBLE else _T.FLOAT
    batch, heads, queries, width = static_shape(m.q)
    groups, keys = static_shape(m.k)[1:3]
    deep = static_shape(m.v)[3]
    rows = [batch, groups, heads // groups * queries, -1]
    scale = m.flex.attributes.get("scale")
    factor = 1 / math.sqrt(width) if scale is None else float(scale.value)
    product = op.MatMul(_shaped(op, m.q, rows, heads != groups), op.Transpose(m.k, perm=[0, 1, 3, 2]))
    scores = op.Mul(product, np.array(factor, dtype.numpy()))
    scores = _shaped(op, scores, [batch, heads, queries, keys], heads != groups)
    scores = scores if dtype == wide else op.Cast(scores, to=int(wide))
    weights = _pasted(op, m, "prob_mod", op.Softmax(_pasted(op, m, "score_mod", scores), axis=-1))
    weights = weights if dtype == wide else op.Cast(weights, to=int(dtype))
    answer = op.MatMul(_shaped(op, weights, rows, heads != groups), m.v)
    return _shaped(op, answer, [batch, heads, queries, deep], heads != groups)


def _shaped(op, value, shape, needed):
    return op.Reshape(value, np.array(shape, np.int64)) if needed else value


def _pasted(op, m, name, value):
    """What a body makes of a value; the value itself where there is no body."""
    held = m.flex.attributes.get(name)
    if held is None:
        return value
    body = held.as_graph()
    stands = {body.inputs[0]: value}
    stands.update({inner: op.constant(inner.const_value) for inner in body.initializers.values()})
    for node in body:
        inputs = [stands.get(one, one) for one in node.inputs]
        made = op.op(node.op_type, *inputs, domain=node.domain, outputs=len(node.outputs), like=node)
        stands.update(zip(node.outputs, made if len(node.outputs) > 1 else [made], strict=True))
    return stands.get(body.outputs[0], body.outputs[0])


def _body(g, name, kind):
    """A graph that halves what it gets, or takes its hyperbolic tangent."""
    import onnx

    ends = [onnx.helper.make_tensor_value_info(one, g.FLOAT, ["B", "H", "L", "S"]) for one in ("from", "to")]
    half = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "half")
    nodes = {"Mul": ["from", "half"], "Tanh": ["from"]}
    return onnx.helper.make_graph(
        [onnx.helper.make_node(kind, nodes[kind], ["to"])], name, ends[:1], ends[1:], [half] if kind == "Mul" else []
    )


@flex.example
def _(g):
    g.since(26)
    batch, groups, shared, queries, keys, width, deep = (g.integer(1, 3) for _ in range(7))
    q, k, v = (
        g.input(shape, static=True, finite=True)
        for shape in (
            [batch, groups * shared, queries, width],
            [batch, groups, keys, width],
            [batch, groups, keys, deep],
        )
    )
    graphs = {name: _body(g, name, g.pick(["Mul", "Tanh"])) for name in ("score_mod", "prob_mod") if g.flag()}
    options = {"scale": 0.6} if g.flag() else {}
    g.output(g.FlexAttention(q, k, v, domain=_DOMAIN, **graphs, **options), 4)


class InlineFlexAttention(Substitution):
    """Write FlexAttention as MatMul, Softmax and MatMul with its graphs between them."""

    name = "inline-flex-attention"
    rules = (flex,)
