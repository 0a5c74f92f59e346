"""Every registered rule fires on the graphs of its examples and keeps its fidelity. A new rule is found by itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphopt.rewrite import Rule
from graphopt.testing import RuleFailure, check_rule, registered_rules
from graphopt.testing.rules import RegisteredRule

OPSETS = (13, 17, 21)


@pytest.mark.parametrize("registered", list(registered_rules()), ids=str)
@given(source=st.randoms(use_true_random=False), opset=st.sampled_from(OPSETS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_rule_fires_on_its_examples_and_keeps_its_fidelity(
    registered: RegisteredRule, source: random.Random, opset: int
) -> None:
    check_rule(registered.rule, source, opset)


def broken(fidelity: Any = "exact") -> Rule:
    rule = Rule("double", fidelity, lambda p: p.Add(p.x, p.x))

    @rule.example
    def _(g: Any) -> None:
        x = g.input([2, 3])
        g.output(g.Add(x, x))

    return rule


def test_the_check_refuses_a_rule_without_an_example() -> None:
    rule = Rule("bare", "exact", lambda p: p.Add(p.x, p.x))
    with pytest.raises(RuleFailure, match=r"bare has no example: add one with @bare.example"):
        check_rule(rule, random.Random(0))


@pytest.mark.parametrize("fidelity", ["exact", "rounding"])
def test_the_check_refuses_a_rule_that_breaks_its_promise(fidelity: str) -> None:
    rule = broken(fidelity)
    rule.replace(lambda op, m: op.Mul(m.x, m.x))
    with pytest.raises(RuleFailure, match="does not keep its fidelity"):
        check_rule(rule, random.Random(0))


def test_the_check_tells_the_signs_of_zero_and_nan_apart_for_exact_rules() -> None:
    rule = Rule("no-op", "exact", lambda p: p.Add(p.x, p.constant("zero", where=lambda c: not c.any())))
    rule.replace(lambda op, m: op.Identity(m.x))  # -0 + 0 is +0

    @rule.example
    def _(g: Any) -> None:
        g.output(g.Add(g.input([64]), g.constant([0.0])))

    with pytest.raises(RuleFailure, match="does not keep its fidelity"):
        check_rule(rule, random.Random(0))


def test_the_check_refuses_a_rule_that_does_not_fire() -> None:
    rule = broken()
    rule.replace(lambda op, m: op.Mul(m.x, 2.0))
    rule.require("never")(lambda m: False)
    with pytest.raises(RuleFailure, match=r"does not fire on its example.*does not hold: never"):
        check_rule(rule, random.Random(0))


def test_a_rule_that_keeps_its_promise_passes() -> None:
    rule = broken()
    rule.replace(lambda op, m: op.Mul(m.x, 2.0))
    check_rule(rule, random.Random(0))
