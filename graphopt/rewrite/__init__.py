"""Rewriting: patterns that read like graphs, rules that declare what they keep, a driver that touches what changes.

The pattern language: `pattern` · matching and its reasons: `match` · rules: `rule` · one application: `apply` ·
the worklist: `driver`
"""

from graphopt.rewrite.apply import Rewrite
from graphopt.rewrite.driver import NearMiss, Outcome, apply_rules
from graphopt.rewrite.match import Match
from graphopt.rewrite.pattern import PatternBuilder
from graphopt.rewrite.rule import Builder, Fidelity, Rule, rule

__all__ = [
    "Builder", "Fidelity", "Match", "NearMiss", "Outcome", "PatternBuilder", "Rewrite", "Rule", "apply_rules", "rule",
]  # fmt: skip
