"""Tree ensembles of ai.onnx.ml, in whichever form an opset writes them, as matrices.

With D[n, i] = 1 where sample n fulfills the condition of inner node i, a leaf is reached where all of its ancestors on
the true side are fulfilled and none on the false side: where D · paths = wanted, paths being +1 for the former and −1
for the latter and wanted the number of the former. (Nakandala et al., A Tensor Compiler for Unified Machine Learning
Prediction Serving, OSDI 2020, section 4.1, the GEMM strategy.)
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.errors import ModelError
from graphopt.ir.schema import attribute

LEAF = "LEAF"
MEMBER = "BRANCH_MEMBER"
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", MEMBER)
"""TreeEnsemble-5 numbers its modes in this order."""
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


@dataclass
class Tree:
    """One tree.

    Attributes:
        conditions: of inner nodes: feature, mode, threshold, whether NaN fulfills it, members.
        leaves: the (inner node, side) pairs on the way to each leaf.
        weights: the (target, weight) pairs of each leaf.
    """

    conditions: list[tuple[int, str, float, bool, tuple[float, ...]]] = field(default_factory=list)
    leaves: list[list[tuple[int, bool]]] = field(default_factory=list)
    weights: list[list[tuple[int, float]]] = field(default_factory=list)

    def paths(self, inner: int, leaves: int) -> tuple[np.ndarray, np.ndarray]:
        """paths [inner, leaves] and wanted [1, leaves], padded to those sizes with leaves that nothing reaches."""
        found = np.zeros((inner, leaves), np.float32)
        wanted = np.full((1, leaves), inner + 1, np.float32)
        for leaf, way in enumerate(self.leaves):
            wanted[0, leaf] = sum(side for _, side in way)
            for node, side in way:
                found[node, leaf] = 1 if side else -1
        return found, wanted

    def outcome(self, leaves: int, targets: int) -> np.ndarray:
        """Weights [leaves, targets]."""
        found = np.zeros((leaves, targets), np.float32)
        for leaf, weights in enumerate(self.weights):
            for target, weight in weights:
                found[leaf, target] += np.float32(weight)
        return found


@dataclass(frozen=True)
class _Nodes:
    """Nodes of all trees, by number: what a branch asks, where it leads, what a leaf weighs."""

    conditions: dict[Any, tuple[int, str, float, bool, tuple[float, ...]]]
    true: dict[Any, Any]
    false: dict[Any, Any]
    weights: dict[Any, list[tuple[int, float]]]


def classic(node: ir.Node, kind: str) -> list[Tree]:
    """The trees of a TreeEnsembleRegressor (kind "target") or TreeEnsembleClassifier (kind "class")."""
    trees, ids = attribute(node, "nodes_treeids"), attribute(node, "nodes_nodeids")
    modes = attribute(node, "nodes_modes")
    values = _numbers(node, "nodes_values")
    missing = attribute(node, "nodes_missing_value_tracks_true") or [0] * len(ids)
    features = attribute(node, "nodes_featureids")
    keys = list(zip(trees, ids, strict=True))
    nodes = _Nodes({}, {}, {}, defaultdict(list))
    left, right = attribute(node, "nodes_truenodeids"), attribute(node, "nodes_falsenodeids")
    for at, key in enumerate(keys):
        if modes[at] != LEAF:
            nodes.conditions[key] = (features[at], modes[at], float(values[at]), bool(missing[at]), ())
            nodes.true[key], nodes.false[key] = (key[0], left[at]), (key[0], right[at])
    weighed = zip(attribute(node, f"{kind}_treeids"), attribute(node, f"{kind}_nodeids"), strict=True)
    for key, target, weight in zip(
        weighed, attribute(node, f"{kind}_ids"), _numbers(node, f"{kind}_weights"), strict=True
    ):
        nodes.weights[key].append((target, float(weight)))
    roots = {key[0]: key for key in reversed(keys)}  # a tree begins with the first node that is listed of it
    return [_tree(nodes, roots[tree]) for tree in dict.fromkeys(trees)]


def modern(node: ir.Node) -> list[Tree]:
    """The trees of a TreeEnsemble (ai.onnx.ml 5), whose leaves are numbered apart from its branches."""
    modes = [_MODES[mode] for mode in attribute(node, "nodes_modes").numpy().reshape(-1)]
    splits = attribute(node, "nodes_splits").numpy().reshape(-1)
    features = attribute(node, "nodes_featureids")
    missing = attribute(node, "nodes_missing_value_tracks_true") or [0] * len(modes)
    sets = iter(_sets(node))
    nodes = _Nodes({}, {}, {}, {})
    sides = (
        (nodes.true, "nodes_truenodeids", "nodes_trueleafs"),
        (nodes.false, "nodes_falsenodeids", "nodes_falseleafs"),
    )
    for at, mode in enumerate(modes):
        members = next(sets) if mode == MEMBER else ()
        nodes.conditions[at] = (features[at], mode, float(splits[at]), bool(missing[at]), members)
        for table, ids, leafs in sides:
            child = attribute(node, ids)[at]
            table[at] = ("leaf", child) if attribute(node, leafs)[at] else child
    weights = attribute(node, "leaf_weights").numpy().reshape(-1)
    for leaf, (target, weight) in enumerate(zip(attribute(node, "leaf_targetids"), weights, strict=True)):
        nodes.weights["leaf", leaf] = [(target, float(weight))]
    return [_tree(nodes, root) for root in attribute(node, "tree_roots")]


def _tree(nodes: _Nodes, root: Any) -> Tree:
    tree = Tree()
    waiting: list[tuple[Any, list[tuple[int, bool]]]] = [(root, [])]
    while waiting:
        key, way = waiting.pop()
        if key not in nodes.conditions:
            tree.leaves.append(way)
            tree.weights.append(list(nodes.weights.get(key, ())))
            continue
        index = len(tree.conditions)
        tree.conditions.append(nodes.conditions[key])
        waiting.append((nodes.false[key], [*way, (index, False)]))
        waiting.append((nodes.true[key], [*way, (index, True)]))
        if len(way) > len(nodes.conditions):
            raise ModelError("a tree ensemble has a node that is below itself")
    return tree


def _sets(node: ir.Node) -> list[tuple[float, ...]]:
    held = attribute(node, "membership_values")
    sets: list[tuple[float, ...]] = []
    current: list[float] = []
    for value in held.numpy().reshape(-1) if held is not None else ():
        if np.isnan(value):
            sets.append(tuple(current))
            current = []
        else:
            current.append(float(value))
    return sets


def _numbers(node: ir.Node, name: str) -> Any:
    held = attribute(node, f"{name}_as_tensor")
    return attribute(node, name) if held is None else held.numpy().reshape(-1)
