"""Rewriting: patterns that read like graphs, rules that declare what they keep, a driver that touches what changes.

The pattern language: `pattern` · matching and its reasons: `match` · rules: `rule` · the worklist: `driver`
"""

from graphopt.rewrite.driver import NearMiss, Outcome, Rewrite, apply_rules
from graphopt.rewrite.match import Match
from graphopt.rewrite.pattern import PatternBuilder
from graphopt.rewrite.rule import Builder, Fidelity, Rule, rule

__all__ = [
    "Builder", "Fidelity", "Match", "NearMiss", "Outcome", "PatternBuilder", "Rewrite", "Rule", "apply_rules", "rule",
]  # fmt: skip
