"""Write out com.microsoft's normalizations of sums, which onnxruntime's optimizer makes.

    x, skip, bias ─ SkipLayerNormalization(γ, β) ─┬─ y      becomes      x ─ Add(skip) ─ Add(bias) ─┬─ LayerNorm. ─ y
                                                  └─ sum                                            └─ sum

SkipSimplifiedLayerNormalization likewise with RMSNormalization, and EmbedLayerNormalization with the sum of words,
positions and segments. Normalizations that the opset lacks are written out as well. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.normalize import inverse_root, layer_norm, mean, rms_norm
from graphopt_passes.legalize.scaled_dot_product import length

DOMAIN = "com.microsoft"
_EPSILON = 1e-12
_NAMES = {
    "SkipLayerNormalization": "skip-layer-norm",
    "SkipSimplifiedLayerNormalization": "skip-rms-norm",
    "EmbedLayerNormalization": "embed-layer-norm",
}
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def _wanted(value):
    return is_read(value) or value.is_graph_output()


def _inputs(m, count):
    return [*m.inputs, *[None] * (count - len(m.inputs))]


def _epsilon(m):
    found = attribute(m.norm, "epsilon")
    return _EPSILON if found is None else float(found)


def _rules(op_type, counts, replace, example, condition):
    """A rule for each number of outputs that a node may have."""
    for outputs in counts:
        one = _rule(op_type, outputs, condition)
        one.replace(replace)
        one.example(lambda g, outputs=outputs: example(g, outputs))
        yield one


def _rule(op_type, outputs, condition):
    def pattern(p):
        made = p.op(
            op_type, p.rest("inputs"), as_="norm", domain=DOMAIN, where=lambda node: len(node.outputs) == outputs
        )
        return tuple(made[index] for index in range(outputs))

    one = Rule(f"write-out-{_NAMES[op_type]}-{outputs}", "rounding", pattern)
    one.require("it is of a type and a form that can be written out")(condition)
    return one


def _typed(m):
    return m.inputs[0].dtype in _TYPES


def _skip(op, m):
    simple = m.norm.op_type == "SkipSimplifiedLayerNormalization"
    x, skip, gamma, beta, bias = [*_inputs(m, 4)[:3], None, _inputs(m, 4)[3]] if simple else _inputs(m, 5)
    dtype, epsilon = x.dtype, _epsilon(m)
    total = op.Add(x, skip) if bias is None else op.Add(op.Add(x, skip), bias)
    y = rms_norm(op, total, gamma, epsilon, dtype) if simple else layer_norm(op, total, gamma, beta, epsilon, dtype)
    found = [y, y, y, total]
    outputs = m.norm.outputs
    if any(map(_wanted, outputs[1:3])):
        middle = mean(op, total)
        away = total if simple else op.Sub(total, middle)
        found[1], found[2] = middle, inverse_root(op, mean(op, op.Mul(away, away)), epsilon, dtype)
    return found[: len(outputs)]


def _skip_example(g, outputs, op_type):
    shape = g.shape(least=3, most=3)
    weights = {"SkipLayerNormalization": 3}.get(op_type, 2)
    given = [g.constant(g.normal(shape[-1])) for _ in range(g.integer(1, weights))]
    made = g.op(op_type, *(g.input(shape) for _ in range(2)), *given, outputs=outputs, domain=DOMAIN, epsilon=1e-3)
    for number, one in enumerate([made] if outputs == 1 else made):
        if number in (0, 3):
            g.output(one, 3)


def _embeds(m):
    ids, segments, _, _, table, *_ = _inputs(m, 9)
    if (segments is None) != (table is None) or len(dims_of(ids) or ()) != 2:
        return "segments come without a table, or the ids are not [batch, positions]"
    asked = len(m.norm.outputs) > 1 and _wanted(m.norm.outputs[1])
    return "the index of the mask has no mask" if asked and _inputs(m, 9)[7] is None else True


def _embed(op, m):
    ids, segments, words, places, table, gamma, beta, mask, where = _inputs(m, 9)
    dtype = words.dtype
    total = op.Gather(words, ids, axis=0)
    if where is None:
        size = dims_of(ids)[1].number
        end = (
            np.array([size], np.int64) if size is not None else op.Reshape(length(op, ids, 1), np.array([1], np.int64))
        )
        there = op.Slice(places, np.array([0], np.int64), end, np.array([0], np.int64))
    else:
        there = op.Gather(places, where, axis=0)
    total = op.Add(total, there)
    if segments is not None:
        total = op.Add(total, op.Gather(table, segments, axis=0))
    y = layer_norm(op, total, gamma, beta, _epsilon(m), dtype)
    found = [y, y, total]
    if len(m.norm.outputs) > 1 and _wanted(m.norm.outputs[1]):
        found[1] = reduce(op, "ReduceSum", mask, [1], keepdims=False)
    return found[: len(m.norm.outputs)]


def _embed_example(g, outputs):
    batch, positions, width = (g.integer(1, 3) for _ in range(3))
    ids = [g.constant(np.full((batch, positions), g.integer(0, 3), np.int32)) for _ in range(2)]
    tables = [g.constant(g.normal(4, width)) for _ in range(3)]
    segments = (ids[1], tables[2]) if g.flag() else (None, None)
    weights = [g.constant(g.normal(width)) for _ in range(2)]
    shown = g.input([batch, positions, width])
    made = g.EmbedLayerNormalization(
        ids[0], segments[0], tables[0], tables[1], segments[1], *weights, outputs=outputs, domain=DOMAIN
    )
    g.output(g.Add(made[0], shown), 3)


class DecomposeSkipLayerNorm(Substitution):
    """Write com.microsoft's Skip- and EmbedLayerNormalization as Add and normalization."""

    name = "decompose-skip-layer-norm"
    rules = (
        *(
            one
            for op_type in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
            for one in _rules(
                op_type, (1, 2, 3, 4), _skip, lambda g, n, kind=op_type: _skip_example(g, n, kind), _typed
            )
        ),
        *_rules("EmbedLayerNormalization", (2, 3), _embed, _embed_example, _embeds),
    )
