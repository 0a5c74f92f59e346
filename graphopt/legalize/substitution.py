"""What may replace what: rules that a pass offers to the legalizer, found in the registry."""

from __future__ import annotations

from collections import Counter, deque

import onnx_ir as ir

from graphopt.errors import PluginError
from graphopt.ir.edit import nodes_of, owners
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import PASSES, Context, PassResult, RewritePass
from graphopt.rewrite import Rewrite, Rule
from graphopt.rewrite.apply import Rewriter
from graphopt.support.case import qualified


class Substitution(RewritePass):
    """A pass whose rules the legalizer may use wherever a backend lacks what they match.

    Each rule's pattern ends in the operator that it gets rid of. Register a subclass under `graphopt.passes`, as any
    pass. Run by itself it replaces every node that it can, legal or not, and then what that made; but no rule twice in
    a row of replacements, since two rules may well offer the way from one form to another and back.
    """

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Replace each node of the model, and what that made, by every rule at most once.

        Shapes and types are proven first, as `legalize` does for all.
        """
        infer_shapes(model)
        log: list[Rewrite] = []
        rewriter = Rewriter(model, self.name)
        waiting = deque((node, self.rules) for owner in owners(model) for node in nodes_of(owner))
        while waiting:
            node, rules = waiting.popleft()
            for rule in rules:
                match = rule.match(node) if node.graph is not None else None
                applied = rewriter.apply(rule, match) if match is not None else None
                if applied is not None:
                    log.append(applied.record)
                    left = [other for other in rules if other is not rule]
                    waiting.extend((made, left) for made in applied.made)
                    break
        rewriter.finish()
        counts = Counter(one.rule for one in log)
        return PassResult(
            len(log), ", ".join(f"{name} {count}" for name, count in sorted(counts.items())), log=tuple(log)
        )


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
    return [qualified(root.domain, one) for root in rule.roots for one in root.types]
