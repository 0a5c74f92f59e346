"""What substitutions make: something that some backend takes, or that another substitution takes on."""

from __future__ import annotations

from graphopt.legalize import substitutions
from graphopt.legalize.substitution import consumes
from graphopt.pipeline import BACKENDS, make_backend
from graphopt.testing.products import never_legal, products


def test_every_substitution_is_loadable() -> None:
    assert substitutions()[1] == []


def test_what_a_substitution_makes_is_legal_somewhere_or_consumed_by_another() -> None:
    tables = [make_backend(entry.name).table() for entry in BACKENDS.entries()]
    offered, _ = substitutions()
    consumed = {name for _, rule in offered for name in consumes(rule)}
    useless = {rule.name: lost for _, rule in offered if (lost := set(never_legal(rule, tables)) - consumed)}
    assert useless == {}


def test_products_are_seen_on_examples() -> None:
    rules = {rule.name: rule for _, rule in substitutions()[0]}
    assert products(rules["write-out-hard-swish"]) == ["HardSigmoid", "Mul"]
