"""The shared property test of rules: on every graph that its example makes, a rule fires and keeps its fidelity."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError
from graphopt.ir import infer_shapes, load, to_proto, validate
from graphopt.pipeline import PASSES, Pass, RewritePass
from graphopt.rewrite import Rule, apply_rules
from graphopt.testing.sketch import Sketch
from graphopt.verify import compare, holds, precision, run
from graphopt.verify.execute import ExecutionFailed

SEEDS = 3
"""Inputs tried on each graph; the third has infinities and NaN."""


class RuleFailure(GraphoptError):
    """A rule broke what it declares."""


@dataclass(frozen=True)
class RegisteredRule:
    """A rule and the pass that it belongs to."""

    one: type[RewritePass]
    rule: Rule

    def __str__(self) -> str:
        return f"{self.one.name}/{self.rule.name}"


def registered_rules() -> Iterator[RegisteredRule]:
    """Every rule of every registered pass, in order of their names."""
    for entry in PASSES.entries():
        loaded: type[Pass] = entry.load()
        if issubclass(loaded, RewritePass):
            for rule in loaded.rules:
                yield RegisteredRule(loaded, rule)


def check_rule(rule: Rule, source: random.Random, opset: int = 17) -> None:
    """Make one graph from one of the rule's examples, apply the rule, and compare.

    Raises:
        RuleFailure: the rule has no example, does not fire, breaks the graph, or its fidelity.
    """
    if not rule.examples:
        raise RuleFailure(f"rule {rule.name} has no example: add one with @{rule.name.replace('-', '_')}.example")
    sketch = Sketch(source, opset)
    source.choice(rule.examples)(sketch)
    proto = sketch.model()
    before, after = load(proto), load(proto)
    infer_shapes(after)
    outcome = apply_rules(after, [rule], explain=[rule.name])
    if not outcome.rewrites:
        raise RuleFailure(f"rule {rule.name} does not fire on its example: {outcome.misses}")
    validate(after)
    for seed in range(SEEDS):
        _compare(rule, before, after, sketch.feeds(seed))


def _compare(rule: Rule, before: ir.Model, after: ir.Model, feeds: Mapping[str, np.ndarray]) -> None:
    expected, actual = (_run(model, feeds) for model in (before, after))
    ok, reason = holds(rule.fidelity, compare(expected, actual), roundoff=precision(before))
    if not ok:
        raise RuleFailure(f"rule {rule.name} does not keep its fidelity ({rule.fidelity}): {reason}")


def _run(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    """Execute a graph; by onnx.reference where onnxruntime has no kernel, as for the newest operators."""
    try:
        return run(model, [feeds])
    except ExecutionFailed:
        from onnx.reference import ReferenceEvaluator

        from graphopt.support.oracle import OPERATORS

        evaluator = ReferenceEvaluator(to_proto(model), new_ops=list(OPERATORS))
        with np.errstate(all="ignore"):
            values: list[Any] = evaluator.run(None, dict(feeds))
        return [dict(zip(evaluator.output_names, map(np.asarray, values), strict=True))]
