"""Write out layers of com.microsoft that onnxruntime's optimizer for diffusion models and exporters make.

    x[N, H, W, C] ─ GroupNorm(γ, β) ─ y          becomes      x ─ Transpose ─ GroupNormalization ─ Transpose ─ y,
                                                              y · Sigmoid(y) with activation 1
    x, skip, bias ─ SkipGroupNorm(γ, β) ─┬─ y    becomes      x ─ Add(skip) ─ Add(bias) ─┬─ GroupNorm(γ, β) ─ y
                                         └─ sum                                          └─ sum
    x, bias, skip ─ BiasAdd ─ y                  becomes      x + bias + skip
    x, bias ─ BiasSplitGelu ─ y                  becomes      a · Gelu(b) of the halves a, b of x + bias
    a[M, K], b[N, K] ─ CDist ─ y[M, N]           becomes      Σ (a - b)², or its root
    x ─ ExpandDims(axis) ─ y                     becomes      x ─ Unsqueeze(axis) ─ y

(onnxruntime, ContribOperators.md.) Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import size_of, slice_by
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.scalars import is_float, number, rank_of

DOMAIN = "com.microsoft"
_GELU_SINCE = 20
_EPSILON = 1e-5
_MOST = 1 << 24
"""Elements of differences up to which distances are taken from them."""


def _given(m, name, default):
    held = attribute(m.root, name)
    return default if held is None else held


@rule("write-out-group-norm-microsoft", fidelity="rounding")
def group_norm(p):
    return p.GroupNorm(p.x, p.gamma, p.beta, domain=DOMAIN)


@group_norm.require("it is floating point, and its shape is known")
def _(m):
    return is_float(m.x) and static_shape(m.x) is not None and rank_of(m.x) > 2


@group_norm.replace
def _(op, m):
    rank, groups = rank_of(m.x), _given(m, "groups", 1)
    last = bool(_given(m, "channels_last", 1))
    x = op.Transpose(m.x, perm=[0, rank - 1, *range(1, rank - 1)]) if last else m.x
    sizes = static_shape(m.x)
    channels = sizes[-1] if last else sizes[1]
    shape = (sizes[0], channels, *sizes[1:-1]) if last else sizes
    dtype = m.x.dtype.numpy()
    # each group is an instance of its own; weights are in single precision whatever the data is in
    grouped = op.Reshape(x, np.array([sizes[0], groups, -1], np.int64))
    normal = op.InstanceNormalization(
        grouped, np.ones(groups, dtype), np.zeros(groups, dtype), epsilon=float(_given(m, "epsilon", _EPSILON))
    )
    spread = np.array([channels, *[1] * (rank - 2)], np.int64)
    gamma, beta = (op.Reshape(_typed(op, m, one), spread) for one in (m.gamma, m.beta))
    y = op.Add(op.Mul(op.Reshape(normal, np.array(shape, np.int64)), gamma), beta)
    y = op.Mul(y, op.Sigmoid(y)) if _given(m, "activation", 0) else y
    return op.Transpose(y, perm=[0, *range(2, rank), 1]) if last else y


def _typed(op, m, value):
    return value if value.dtype == m.x.dtype else op.Cast(value, to=int(m.x.dtype))


def _skipping(outputs: int) -> Rule:
    def pattern(p):
        node = p.SkipGroupNorm(
            p.x, p.gamma, p.beta, p.skip, p.optional(p.bias), domain=DOMAIN,
            where=lambda node: len(node.outputs) == outputs,
        )  # fmt: skip
        return tuple(node[index] for index in range(outputs))

    one = Rule(f"sum-before-group-norm-{outputs}", "rounding", pattern)

    @one.require("it is floating point, and what it adds has the rank of its input")
    def _(m):
        return is_float(m.x) and rank_of(m.x) is not None and rank_of(m.skip) == rank_of(m.x)

    @one.replace
    def _(op, m):
        total = op.Add(m.x, m.skip)
        total = total if m.bias is None else op.Add(total, m.bias)
        return [op.GroupNorm(total, m.gamma, m.beta, domain=DOMAIN, like=m.root), total][:outputs]

    @one.example
    def _(g):
        shape, weights, options = _image(g)
        given = [g.input(shape, static=True, finite=True), *weights, g.input(shape, static=True, finite=True)]
        bias = [g.constant(g.normal(shape[-1]))] if g.flag() else []
        made = g.SkipGroupNorm(*given, *bias, outputs=outputs, **options)
        for value in [made] if outputs == 1 else made:
            g.output(value, len(shape))

    return one


@rule("add-twice", fidelity="rounding")
def bias_add(p):
    return p.BiasAdd(p.x, p.bias, p.skip, domain=DOMAIN)


bias_add.replace(lambda op, m: op.Add(op.Add(m.x, m.bias), m.skip))


@rule("half-by-gelu-of-half", fidelity="rounding")
def split_gelu(p):
    return p.BiasSplitGelu(p.x, p.bias, domain=DOMAIN)


@split_gelu.require("it is floating point, and its last size is known")
def _(m):
    return is_float(m.x) and bool(rank_of(m.x)) and size_of(m.x, rank_of(m.x) - 1) is not None


@split_gelu.replace
def _(op, m):
    axis = rank_of(m.x) - 1
    size = size_of(m.x, axis)
    total = op.Add(m.x, m.bias)
    left, right = (slice_by(op, total, {axis: cut}) for cut in ((0, size // 2, 1), (size // 2, size, 1)))
    if op.opset >= _GELU_SINCE:
        return op.Mul(left, op.Gelu(right))
    part = op.Add(op.Erf(op.Mul(right, number(m.x, math.sqrt(0.5)))), number(m.x, 1))
    return op.Mul(left, op.Mul(op.Mul(right, part), number(m.x, 0.5)))


@rule("sum-of-squared-differences", fidelity="rounding")
def distances(p):
    return p.CDist(p.a, p.b, domain=DOMAIN)


@distances.require("it is floating point, and the differences are not too many")
def _(m):
    a, b = static_shape(m.a), static_shape(m.b)
    return is_float(m.a) and a is not None and b is not None and math.prod(a) * b[0] <= _MOST


@distances.replace
def _(op, m):
    difference = op.Sub(squeeze(op, m.a, [1], "Unsqueeze"), squeeze(op, m.b, [0], "Unsqueeze"))
    total = reduce(op, "ReduceSum", op.Mul(difference, difference), [2], keepdims=False)
    return op.Sqrt(total) if _given(m, "metric", "sqeuclidean") == "euclidean" else total


@rule("unsqueeze-instead", fidelity="exact")
def expand_dims(p):
    return p.ExpandDims(p.x, p.constant("axis"), domain=DOMAIN)


@expand_dims.replace
def _(op, m):
    return squeeze(op, m.x, [int(m.axis.reshape(-1)[0])], "Unsqueeze")


def _image(g):
    channels = g.pick([2, 4])
    shape = [g.integer(1, 2), g.integer(3, 4), g.integer(2, 4), channels]
    weights = [g.constant(g.positive(channels)), g.constant(g.normal(channels))]
    return shape, weights, {"groups": g.pick([1, 2]), "activation": g.integer(0, 1), "domain": DOMAIN}


@group_norm.example
def _(g):
    shape, weights, options = _image(g)
    g.output(g.GroupNorm(g.input(shape, static=True, finite=True), *weights, **options), 4)


@bias_add.example
def _(g):
    shape = g.shape(least=3, most=3)
    x, skip = g.input(shape, static=True), g.input(shape, static=True)
    g.output(g.BiasAdd(x, g.constant(g.normal(shape[-1])), skip, domain=DOMAIN), 3)


@split_gelu.example
def _(g):
    shape = [*g.shape(least=2, most=2), 2 * g.integer(1, 4)]
    # far below zero 1 + erf(x) has no digits left
    x = g.Tanh(g.input(shape, static=True, finite=True))
    g.output(g.BiasSplitGelu(x, g.constant(g.normal(shape[-1])), domain=DOMAIN), 3)


@distances.example
def _(g):
    size, metric = g.integer(2, 5), {"metric": g.pick(["euclidean", "sqeuclidean"])}
    a, b = (g.input([g.integer(1, 4), size], static=True, finite=True) for _ in range(2))
    g.output(g.CDist(a, b, domain=DOMAIN, **metric), 2)


@expand_dims.example
def _(g):
    shape = g.shape()
    axis = g.constant(np.array(g.integer(-len(shape) - 1, len(shape)), np.int32))
    g.output(g.ExpandDims(g.input(shape), axis, domain=DOMAIN), len(shape) + 1)


class DecomposeContribLayers(Substitution):
    """Write com.microsoft's group normalization, biases, distances and ExpandDims out."""

    name = "decompose-contrib-layers"
    rules = (distances, expand_dims, bias_add, split_gelu, group_norm, _skipping(1), _skipping(2))
