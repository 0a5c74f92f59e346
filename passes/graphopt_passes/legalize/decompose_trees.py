"""Write tree ensembles of ai.onnx.ml out by comparisons and matrix products.

    TreeEnsembleRegressor(x)      becomes      Σ over trees of (D · paths = wanted) · weights, then the post-transform
    TreeEnsemble(x)                            with D = (x[features] ≤ thresholds), see `trees`
    TreeEnsembleClassifier(x)     becomes      the same and labels[ArgMax of the scores]

Every product but the last is of numbers 0 and ±1, so the leaf that is reached is exact even in float16; what is rounded
there are features and thresholds. A classifier of two classes with weights for one of them has the scores and labels
that onnxruntime gives them, since the standard leaves them open. String labels remain only where nobody reads them.
Fidelity: rounding (weights are summed in another order).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import is_read, shape_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.class_scores import DOMAIN, as_float, labelled, transformed
from graphopt_passes.legalize.trees import AGGREGATES, MEMBER, TRANSFORMS, Tree, classic, modern

_LARGEST = 1 << 24
"""Elements of the padded path matrices beyond which they are not made."""
_OR_EQUAL_SINCE = 12


@rule("tree-regressor", fidelity="rounding")
def regressor(p):
    return p.op("TreeEnsembleRegressor", p.x, domain=DOMAIN)


@rule("tree-ensemble", fidelity="rounding")
def ensemble(p):
    return p.op("TreeEnsemble", p.x, domain=DOMAIN)


@rule("tree-classifier", fidelity="rounding")
def classifier(p):
    one = p.op("TreeEnsembleClassifier", p.x, domain=DOMAIN)
    return one[0], one[1]


for _one in (regressor, ensemble, classifier):

    @_one.require("it has samples along axis 0 and features along axis 1")
    def _(m):
        shape = shape_of(m.x)
        return shape is not None and len(shape) == 2


@classifier.require("its labels are integers, or nobody reads them: there are no strings on a device")
def _(m):
    labels = m.root.outputs[0]
    return bool(attribute(m.root, "classlabels_int64s")) or not (is_read(labels) or labels.is_graph_output())


@regressor.replace
def _(op, m):
    node = m.root
    how = attribute(node, "aggregate_function")
    scores = _scores(op, m.x, classic(node, "target"), attribute(node, "n_targets"), how)
    base = attribute(node, "base_values")
    if base:
        scores = op.Add(scores, np.array(base, np.float32))
    return transformed(op, scores, attribute(node, "post_transform"))


@ensemble.replace
def _(op, m):
    how = AGGREGATES[attribute(m.root, "aggregate_function")]
    scores = _scores(op, m.x, modern(m.root), attribute(m.root, "n_targets"), how)
    result = transformed(op, scores, TRANSFORMS[attribute(m.root, "post_transform")])
    return result if m.x.dtype == ir.DataType.FLOAT else op.Cast(result, to=int(m.x.dtype))


@classifier.replace
def _(op, m):
    node = m.root
    labels = attribute(node, "classlabels_int64s")
    count = len(labels or attribute(node, "classlabels_strings"))
    names = np.array(labels or range(count), np.int64)
    scores = _scores(op, m.x, classic(node, "class"), count, "SUM")
    base, transform = list(attribute(node, "base_values") or ()), attribute(node, "post_transform")
    ids = set(attribute(node, "class_ids"))
    if count == 2:
        return _of_two(op, scores, ids, base, transform, names, _positive(node))
    if count < 2:
        raise op.decline("it has one class: what its label is is open")
    if base:
        scores = op.Add(scores, np.array(base, np.float32))
    return labelled(op, scores, names), transformed(op, scores, transform)


def _positive(node: ir.Node) -> bool:
    weights = attribute(node, "class_weights")
    return weights is not None and all(weight >= 0 for weight in weights)


def _of_two(op, scores, ids, base, transform, names, positive):
    """Labels and scores of two classes, mostly with weights for one, as onnxruntime has them."""
    if len(base) > 1 or (base and ids != {0}):
        raise op.decline("it has two classes and base values: what its scores are is open")
    if len(ids) == 2:
        if list(names) != [0, 1]:
            raise op.decline("it has two classes and weights for both: what its labels are is open")
        positive = False
    score = op.Gather(scores, np.array([0 if ids == {0} else 1]), axis=1)
    if base:
        score = op.Add(score, np.array(base, np.float32))
    chosen = op.Greater(score, np.float32(0.5 if positive else 0))
    label = op.Squeeze(op.Where(chosen, names[1], names[0]), *_axes(op), **_axes_attribute(op))
    if ids != {0}:
        return label, transformed(op, scores, transform)
    if transform == "LOGISTIC":
        return label, op.Sigmoid(op.Concat(op.Neg(score), score, axis=1))
    return label, op.Concat(op.Sub(np.float32(1), score) if positive else op.Neg(score), score, axis=1)


def _axes(op):
    return [np.array([1])] if op.opset >= 13 else []


def _axes_attribute(op):
    return {} if op.opset >= 13 else {"axes": [1]}


def _scores(op, x, trees: list[Tree], targets: int, how: str):
    """[samples, targets]: what the leaves that are reached weigh together."""
    inner = max(1, max(len(tree.conditions) for tree in trees))
    leaves = max(len(tree.leaves) for tree in trees)
    if len(trees) * inner * max(leaves, targets) > _LARGEST:
        raise op.decline(f"its {len(trees)} trees of up to {leaves} leaves would take too large matrices")
    x = as_float(op, x)
    nothing = (0, trees[0].conditions[0][1] if trees[0].conditions else "BRANCH_LEQ", 0.0, False, ())
    conditions = [one for tree in trees for one in (*tree.conditions, *[nothing] * (inner - len(tree.conditions)))]
    met = _conditions(op, x, conditions)
    met = op.Transpose(op.Reshape(met, np.array([-1, len(trees), inner])), perm=[1, 0, 2])
    paths, wanted = zip(*(tree.paths(inner, leaves) for tree in trees), strict=True)
    reached = op.Greater(op.MatMul(met, np.stack(paths)), np.stack(wanted) - np.float32(0.5))
    weights = np.stack([tree.outcome(leaves, targets) for tree in trees])
    each = op.MatMul(op.Cast(reached, to=int(ir.DataType.FLOAT)), weights)
    kind = {"MIN": "ReduceMin", "MAX": "ReduceMax", "AVERAGE": "ReduceMean"}.get(how, "ReduceSum")
    return reduce(op, kind, each, [0], keepdims=False)


def _conditions(op, x, conditions):
    """[samples, conditions] as 0 and 1."""
    modes = sorted({mode for _, mode, *_ in conditions})
    order: list[int] = []
    parts = []
    for mode in modes:
        at = [index for index, one in enumerate(conditions) if one[1] == mode]
        order += at
        parts.append(op.Cast(_of_mode(op, x, mode, [conditions[index] for index in at]), to=int(ir.DataType.FLOAT)))
    if len(parts) == 1:
        return parts[0]
    back = np.argsort(np.array(order))
    return op.Gather(op.Concat(*parts, axis=1), back, axis=1)


def _of_mode(op, x, mode, conditions):
    values = op.Gather(x, np.array([feature for feature, *_ in conditions]), axis=1)
    limits = np.array([[limit for _, _, limit, *_ in conditions]], np.float32)
    if mode == MEMBER:
        met = _members(op, x, conditions)
    elif mode in ("BRANCH_EQ", "BRANCH_NEQ"):
        met = op.Equal(values, limits)
        met = op.Not(met) if mode == "BRANCH_NEQ" else met
    elif mode in ("BRANCH_LT", "BRANCH_GT"):
        met = op.op("Less" if mode == "BRANCH_LT" else "Greater", values, limits)
    elif op.opset >= _OR_EQUAL_SINCE:
        met = op.op("LessOrEqual" if mode == "BRANCH_LEQ" else "GreaterOrEqual", values, limits)
    else:
        met = op.Or(op.op("Less" if mode == "BRANCH_LEQ" else "Greater", values, limits), op.Equal(values, limits))
    missing = np.array([[tracks for *_, tracks, _ in conditions]])
    return op.Or(met, op.And(op.IsNaN(values), missing)) if missing.any() else met


def _members(op, x, conditions):
    """Whether a feature is one of several numbers: the sum over those that it equals."""
    features = np.array([feature for feature, *_, members in conditions for _ in members])
    numbers = np.array([[number for *_, members in conditions for number in members]], np.float32)
    belongs = np.zeros((numbers.size, len(conditions)), np.float32)
    start = 0
    for index, (*_, members) in enumerate(conditions):
        belongs[start : start + len(members), index] = 1
        start += len(members)
    equal = op.Cast(op.Equal(op.Gather(x, features, axis=1), numbers), to=int(ir.DataType.FLOAT))
    return op.Greater(op.MatMul(equal, belongs), np.float32(0.5))


def _grown(g, kind, targets, modes, low=-1.0):
    """Attributes of an ensemble of random trees over three features, in the form of operator sets before 5."""
    rows = []
    weights = []

    def grow(tree, depth):
        index = len(nodes)
        nodes.append(None)
        if depth and (g.flag() or not index):
            condition = (g.integer(0, 2), g.pick(modes), g.integer(-2, 2) / 2)
            nodes[index] = (tree, index, *condition, grow(tree, depth - 1), grow(tree, depth - 1))
        else:
            nodes[index] = (tree, index, 0, "LEAF", 0.0, 0, 0)
            # onnxruntime adds base values only to targets that a leaf weighs, so each leaf weighs all
            weighed = targets if kind == "target" else [g.pick(targets)]
            weights.extend((tree, index, target, g.integer(int(low * 8), 8) / 8) for target in weighed)
        return index

    for tree in range(g.integer(1, 3)):
        nodes = []
        grow(tree, g.integer(0, 3))
        rows += nodes
    names = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    found = {f"nodes_{name}": list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    if g.flag():
        found["nodes_missing_value_tracks_true"] = [g.integer(0, 1) for _ in rows]
    heads = ("treeids", "nodeids", "ids", "weights")
    found |= {f"{kind}_{name}": list(column) for name, column in zip(heads, zip(*weights, strict=True), strict=True)}
    return found


_CLASSIC_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def _modes(g):
    return g.pick([["BRANCH_LEQ"], ["BRANCH_LT"], _CLASSIC_MODES])


@regressor.example
def _(g):
    g.since(3, DOMAIN)
    targets = g.integer(1, 3)
    options = _grown(g, "target", list(range(targets)), _modes(g)) | {"n_targets": targets}
    options |= {"aggregate_function": g.pick(["SUM", "AVERAGE"]), "post_transform": "NONE"}
    if g.flag():
        options["base_values"] = [0.5] * targets
    x = g.input([g.integer(1, 4), 3], g.pick([g.FLOAT, g.FLOAT, g.DOUBLE]))
    g.output(g.op("TreeEnsembleRegressor", x, domain=DOMAIN, **options))


@classifier.example
def _(g):
    g.since(3, DOMAIN)
    count = g.integer(2, 4)
    low = g.pick([0.0, -1.0])
    targets = g.pick([[0], [1]]) if count == 2 else list(range(count))
    options = _grown(g, "class", targets, _modes(g), low) | {"classlabels_int64s": [3 * at for at in range(count)]}
    options["post_transform"] = g.pick(["NONE", "LOGISTIC", "SOFTMAX"])
    if count > 2 or (targets == [0] and g.flag()):
        options["base_values"] = [0.125] * (1 if count == 2 else count)
    for part in g.op("TreeEnsembleClassifier", g.input([g.integer(1, 4), 3]), outputs=2, domain=DOMAIN, **options):
        g.output(part)


@ensemble.example
def _(g):
    g.since(5, DOMAIN)
    targets = g.integer(1, 2)
    branches, leaves = g.integer(1, 3), 0
    columns = {name: [] for name in ("featureids", "truenodeids", "trueleafs", "falsenodeids", "falseleafs")}
    for at in range(branches):  # a chain: the true side ends, the false side goes on
        last = at == branches - 1
        row = (g.integer(0, 2), leaves, 1, leaves + 1 if last else at + 1, int(last))
        leaves += 1 + last
        for column, entry in zip(columns.values(), row, strict=True):
            column.append(entry)
    modes = np.array([g.integer(0, 6) for _ in range(branches)], np.uint8)
    members = [g.integer(-1, 1), float("nan")] * int((modes == 6).sum())
    options = {f"nodes_{name}": column for name, column in columns.items()} | {
        "n_targets": targets, "tree_roots": [0], "aggregate_function": 1, "post_transform": 0,
        "nodes_modes": _tensor(modes), "nodes_splits": _tensor(np.float32([g.integer(-2, 2) for _ in modes])),
        "leaf_targetids": [g.integer(0, targets - 1) for _ in range(leaves)],
        "leaf_weights": _tensor(g.normal(leaves)),
    }  # fmt: skip
    if members:
        options["membership_values"] = _tensor(np.float32(members))
    # onnxruntime takes the whole part of a number for it where it looks for members
    x = g.Floor(g.input([g.integer(1, 4), 3], finite=True))
    g.output(g.op("TreeEnsemble", x, domain=DOMAIN, **options))


def _tensor(array):
    return ir.serde.serialize_tensor(ir.Tensor(array))


class DecomposeTrees(Substitution):
    """Write tree ensembles out by comparisons and matrix products."""

    name = "decompose-trees"
    rules = (regressor, ensemble, classifier)
