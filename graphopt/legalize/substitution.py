"""What may replace what: rules that a pass offers to the legalizer, found in the registry."""

from __future__ import annotations

from graphopt.errors import PluginError
from graphopt.pipeline import PASSES, RewritePass
from graphopt.rewrite import Rule


class Substitution(RewritePass):
    """A pass whose rules the legalizer may use wherever a backend lacks what they match.

    Each rule's pattern ends in the operator that it gets rid of. Register a subclass under `graphopt.passes`, as any
    pass; run by itself it applies its rules everywhere, legal or not.
    """


def substitutions() -> tuple[list[tuple[str, Rule]], list[str]]:
    """All rules that registered substitutions offer.

    Returns:
        Pairs of a pass's name and a rule, in order of their names; and what could not be loaded, one sentence each.
    """
    found: list[tuple[str, Rule]] = []
    problems: list[str] = []
    for entry in PASSES.entries():
        try:
            loaded = entry.load()
        except PluginError as error:
            problems.append(str(error))
            continue
        if issubclass(loaded, Substitution):
            found += [(entry.name, rule) for rule in loaded.rules]
    return found, problems


def consumes(rule: Rule) -> list[str]:
    """Operators that a rule gets rid of."""
    return [f"{root.domain}::{one}" if root.domain else one for root in rule.roots for one in root.types]
