"""Write the linear and support vector models of ai.onnx.ml out by matrix products.

    LinearRegressor(x)      becomes      x · coefficientsᵀ + intercepts, then the post-transform
    LinearClassifier(x)     becomes      the same, and labels[ArgMax]
    SVMRegressor(x)         becomes      K(x, vectors) · coefficients + rho

K is the kernel (ai.onnx.ml, SVMRegressor): x · v, (γ x · v + c)ᵈ, tanh(γ x · v + c), or exp(−γ Σ(x − v)²), which is
taken of differences, since |x|² − 2 x · v + |v|² cancels. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import is_read, shape_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.class_scores import DOMAIN, as_float, labelled, transformed


@rule("linear-regressor", fidelity="rounding")
def regressor(p):
    return p.op("LinearRegressor", p.x, domain=DOMAIN)


@rule("linear-classifier", fidelity="rounding")
def classifier(p):
    one = p.op("LinearClassifier", p.x, domain=DOMAIN)
    return one[0], one[1]


@rule("support-vector-regressor", fidelity="rounding")
def support(p):
    return p.op("SVMRegressor", p.x, domain=DOMAIN)


for _one in (regressor, classifier, support):

    @_one.require("it has samples along axis 0 and features along axis 1, of a known number")
    def _(m):
        shape = shape_of(m.x)
        return shape is not None and len(shape) == 2 and isinstance(shape[1], int)


def _linear(op, m, targets: int):
    """x · coefficientsᵀ + intercepts."""
    features = int(shape_of(m.x)[1])
    weights = np.array(attribute(m.root, "coefficients"), np.float32)
    if weights.size != targets * features:
        raise op.decline(f"it has {weights.size} coefficients for {features} features and {targets} results")
    product = op.MatMul(as_float(op, m.x), weights.reshape(targets, features).T)
    intercepts = attribute(m.root, "intercepts")
    return op.Add(product, np.array(intercepts, np.float32)) if intercepts else product


@regressor.replace
def _(op, m):
    return transformed(op, _linear(op, m, attribute(m.root, "targets") or 1), attribute(m.root, "post_transform"))


@classifier.require("its labels are integers, or nobody reads them: there are no strings on a device")
def _(m):
    labels = m.root.outputs[0]
    return bool(attribute(m.root, "classlabels_ints")) or not (is_read(labels) or labels.is_graph_output())


@classifier.replace
def _(op, m):
    labels = attribute(m.root, "classlabels_ints")
    count = len(labels or attribute(m.root, "classlabels_strings"))
    if count < 2 or len(attribute(m.root, "intercepts") or range(count)) != count:
        raise op.decline("it has fewer rows of coefficients than labels: what its scores are is open")
    scores = _linear(op, m, count)
    label = labelled(op, scores, np.array(labels or range(count), np.int64))
    return label, transformed(op, scores, attribute(m.root, "post_transform"))


@support.require("it does not tell outliers")
def _(m):
    return not attribute(m.root, "one_class")


@support.replace
def _(op, m):
    features = int(shape_of(m.x)[1])
    weights = np.array(attribute(m.root, "coefficients"), np.float32).reshape(-1, 1)
    rho = np.array(attribute(m.root, "rho"), np.float32)
    x = as_float(op, m.x)
    if attribute(m.root, "n_supports"):
        vectors = np.array(attribute(m.root, "support_vectors"), np.float32).reshape(-1, features)
        x = _kernel(
            op, x, vectors, attribute(m.root, "kernel_type"), *(attribute(m.root, "kernel_params") or (0, 0, 3))
        )
    return transformed(op, op.Add(op.MatMul(x, weights), rho[:1]), attribute(m.root, "post_transform"))


def _kernel(op, x, vectors, kind, gamma, shift, degree):
    """[samples, vectors]."""
    if kind == "RBF":
        column = op.Unsqueeze(x, np.array([1])) if op.opset >= 13 else op.Unsqueeze(x, axes=[1])
        away = op.Sub(column, vectors[np.newaxis])
        return op.Exp(op.Mul(reduce(op, "ReduceSumSquare", away, [2], keepdims=False), np.float32(-gamma)))
    product = op.MatMul(x, vectors.T)
    if kind == "LINEAR":
        return product
    scaled = op.Add(op.Mul(product, np.float32(gamma)), np.float32(shift))
    return op.Tanh(scaled) if kind == "SIGMOID" else op.Pow(scaled, np.float32(degree))


def _samples(g):
    return g.input([g.integer(1, 4), 3], static=True, finite=True)


@regressor.example
def _(g):
    targets = g.integer(1, 3)
    options = {"intercepts": g.normal(targets).tolist()} if g.flag() else {}
    weights = g.normal(3 * targets).tolist()
    made = g.op("LinearRegressor", _samples(g), domain=DOMAIN, coefficients=weights, targets=targets, **options)
    g.output(made, rank=2)


@classifier.example
def _(g):
    count = g.integer(2, 4)
    labels, scores = g.op(
        "LinearClassifier", _samples(g), outputs=2, domain=DOMAIN, coefficients=g.normal(3 * count).tolist(),
        intercepts=g.normal(count).tolist(), classlabels_ints=[5 * at for at in range(count)],
        post_transform=g.pick(["NONE", "LOGISTIC", "SOFTMAX"]),
    )  # fmt: skip
    g.output(labels)
    g.output(scores)


@support.example
def _(g):
    count = g.integer(1, 4)
    options = {"coefficients": g.normal(count).tolist(), "rho": g.normal(1).tolist(), "n_supports": count}
    options |= {"support_vectors": g.normal(3 * count).tolist(), "kernel_params": [0.3, 0.5, 2.0]}
    kind = g.pick(["LINEAR", "POLY", "RBF", "SIGMOID"])
    x = g.Tanh(_samples(g))
    g.output(g.op("SVMRegressor", x, domain=DOMAIN, kernel_type=kind, **options), rank=2)


class DecomposeLinearModels(Substitution):
    """Write linear and support vector models out by matrix products."""

    name = "decompose-linear-models"
    rules = (regressor, classifier, support)
