"""Make com.microsoft's SkipLayerNormalization of a residual sum and the normalization after it, for onnxruntime.

    x ─┐                                            x ─┐
    r ─┴ Add ─┬─ LayerNormalization(γ, β) ─ y       r ─┴ SkipLayerNormalization(γ, β) ─┬─ y
              └─ s                       becomes                                       └─ s

and SkipSimplifiedLayerNormalization of RMSNormalization (opset 23). A bias that was added to x goes in as well, unless
x is a product of matrices (see `contrib_gelu`). Holds over the last axis of tensors with 2 or 3 axes and one shape.

A pass of its own and not part of `fuse-contrib-ops`: onnxruntime makes the operator itself where that pays on the CPU;
its kernels for GPUs may see that differently. Fidelity: rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.ir.infer import dims_of, infer_shapes
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Rule
from graphopt_passes.fuse.contrib_gelu import is_product

DOMAIN = "com.microsoft"
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_FORMS = {
    "LayerNormalization": ("skip-layer-norm", "SkipLayerNormalization", 17),
    "RMSNormalization": ("skip-rms-norm", "SkipSimplifiedLayerNormalization", 23),
}
"""For each normalization: the name of its rules, the operator it becomes, and its first opset."""


def _norm(p, op_type, total):
    weights = [p.constant("gamma")] + ([p.optional(p.constant("beta"))] if op_type == "LayerNormalization" else [])
    return p.op(
        op_type, total, *weights, axis=p.attribute("axis"), epsilon=p.attribute("epsilon"), where=_has_one_output
    )


def _has_one_output(node):
    return not any(value.is_graph_output() or is_read(value) for value in node.outputs[1:])


def _fits(m):
    x, weight = dims_of(m.x), m.value("gamma")
    if x is None or x != dims_of(m.r) or len(x) not in (2, 3) or m.axis not in (-1, len(x) - 1):
        return "both summands have the same 2 or 3 axes, and the last is normalized"
    if dims_of(weight) != x[-1:] or m.x.dtype != weight.dtype or m.x.dtype not in _TYPES:
        return "the scale is one vector of the same type, float32 or float16"
    return m.epsilon >= 0 or "its epsilon is not negative"


def _skip(op, m, op_type, outputs):
    weights = [m.value(name) for name in ("gamma", "beta") if name in m]
    return op.op(op_type, m.x, m.r, *weights, domain=DOMAIN, outputs=outputs, epsilon=float(m.epsilon))


def _alone(op_type):
    """The rule for a sum that only the normalization reads."""
    name, made, _ = _FORMS[op_type]
    one = Rule(name, "rounding", lambda p: _norm(p, op_type, p.Add(p.x, p.r)))
    one.require("it is a residual sum and its normalization")(_fits)
    one.replace(lambda op, m: _skip(op, m, made, 1))
    one.example(lambda g: _example(g, op_type, shared=False))
    return one


def _shared(op_type):
    """The rule for a sum that others read as well, as the next residual sum does."""
    name, made, _ = _FORMS[op_type]

    def pattern(p):
        total = p.Add(p.x, p.r)
        return _norm(p, op_type, total), total

    one = Rule(f"{name}-and-sum", "rounding", pattern)
    one.require("it is a residual sum and its normalization")(_fits)

    @one.replace
    def _(op, m):
        y, _, _, total = _skip(op, m, made, 4)
        return y, total

    one.example(lambda g: _example(g, op_type, shared=True))
    return one


def _biased(op_type):
    """The rule that takes a bias in; the first version of both operators has it as the last input."""
    name, made, _ = _FORMS[op_type]
    weights = 3 if op_type == "LayerNormalization" else 2

    def pattern(p):
        given = [p.r, p.gamma, p.optional(p.beta)][:weights]
        return p.op(made, p.Add(p.x, p.constant("bias")), *given, domain=DOMAIN, as_="skip", where=_has_one_output)

    one = Rule(f"{name}-bias", "rounding", pattern)
    one.require("the bias is one vector as long as the last axis")(_is_bias)
    one.require("the bias is not that of a product, which onnxruntime adds for nothing")(lambda m: not is_product(m.x))

    @one.replace
    def _(op, m):
        given = [m.r, m.gamma] + ([m.beta] if weights == 3 else [])
        return op.op(made, m.x, *given, m.value("bias"), domain=DOMAIN, like=m.skip)

    one.example(lambda g: _bias_example(g, made, weights))
    return one


def _is_bias(m):
    return dims_of(m.value("bias")) == dims_of(m.gamma) and len(dims_of(m.gamma) or ()) == 1


def _example(g, op_type, shared):
    g.since(_FORMS[op_type][2])
    shape = g.shape(least=2, most=3)
    x, r = (g.input(shape, static=True) for _ in range(2))
    weights = [g.constant(g.normal(shape[-1])) for _ in range(g.integer(1, 2 if op_type[0] == "L" else 1))]
    total = g.Add(x, r)
    g.output(g.op(op_type, total, *weights, axis=-1, epsilon=1e-3))
    if shared:
        g.output(g.Tanh(total))


def _bias_example(g, op_type, weights):
    shape = g.shape(least=3, most=3)
    x, r = (g.input(shape, static=True) for _ in range(2))
    given = [g.constant(g.normal(shape[-1])) for _ in range(weights - 1)]
    biased = g.Add(x, g.constant(g.normal(shape[-1])))
    g.output(g.op(op_type, biased, r, *given, domain=DOMAIN, epsilon=1e-3), 3)


RULES = tuple(make(op_type) for op_type in _FORMS for make in (_alone, _shared, _biased))


class FuseSkipLayerNorm(RewritePass):
    """Make SkipLayerNormalization of com.microsoft of Add and LayerNormalization: slower on CPUs, for GPUs to try."""

    name = "fuse-skip-layer-norm"
    rules = RULES

    def run(self, model, context):
        """See `RewritePass.run`; shapes are proven first."""
        infer_shapes(model)
        return super().run(model, context)
