"""Make a whole model legal: plan each node, apply what was planned, plan what that made."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from graphopt.ir.edit import bodies, nodes_of, static_shape
from graphopt.ir.validate import describe
from graphopt.legalize.plan import Plan, Planner
from graphopt.rewrite import Rewrite, Rule
from graphopt.rewrite.apply import Rewriter
from graphopt.support.backend import Costs
from graphopt.support.table import Table

Words = Callable[[ir.Node], str | None]
"""Tells what to do about a node that nothing replaces, None where it knows nothing."""

_UNKNOWN = "no rule is known that replaces it: change the model there, or register a substitution"
_VAGUE = "the condition on"
"""How a reason begins that says nothing to who has not read the rule."""
_MOST_KINDS, _MOST_TOLD = 10, 3
"""Operators up to which a rule counts as made for each of them, and rules whose words are passed on."""


@dataclass
class Legalized:
    """What legalization did.

    Attributes:
        rewrites: rule by rule.
        illegal: nodes that stayed illegal, by name, with the plan that found no way.
        words: what to do about nodes that no rule was made for, by name; "" where the table knows better.
    """

    rewrites: list[Rewrite] = field(default_factory=list)
    illegal: dict[str, Plan] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Applications by rule."""
        return Counter(one.rule for one in self.rewrites)

    @property
    def advice(self) -> dict[str, str]:
        """For nodes that stayed illegal, by name: what was tried and why it was no way, or what to do instead."""
        told = {node: _told(plan) or self.words.get(node, "") for node, plan in self.illegal.items()}
        return {node: words for node, words in told.items() if words}

    def refuse(self, node: ir.Node, plan: Plan, words: Words) -> None:
        """Note a node that stays illegal."""
        name = describe(node).removeprefix("-> ")
        self.illegal[name] = plan
        told = words(node)
        # Of sizes that are not known the table itself says what to do.
        if told is None and (_is_fixed(node) or any(True for _ in bodies(node))):
            told = _UNKNOWN
        self.words[name] = told or ""


def _is_fixed(node: ir.Node) -> bool:
    return all(static_shape(value) is not None for value in (*node.inputs, *node.outputs) if value is not None)


def _told(plan: Plan) -> str:
    """What the rules that were made for the operator say, or those that got furthest; "" where there are none."""
    ours = [one for one in plan.tried if one.reach or one.kinds <= _MOST_KINDS]
    ours.sort(key=lambda one: (-one.reach, one.reason.startswith(_VAGUE), one.kinds))
    # Rules that differ in a number are one rule in several sizes, and two of the same words say it once.
    first = {one.rule.rstrip("-0123456789"): one for one in reversed(ours)}
    said = {one.reason: one.rule for one in ours if first[one.rule.rstrip("-0123456789")] is one}
    told = [f"{rule}: {reason}" for reason, rule in said.items()][:_MOST_TOLD]
    return f"legalize found no way: {'; '.join(told)}" if told else ""


def legalize(
    model: ir.Model,
    table: Table,
    rules: Sequence[Rule],
    costs: Costs,
    made_by: str = "",
    words: Words = lambda node: None,
) -> Legalized:
    """Replace what a backend does not take by what it takes, wherever a chain of rules leads there.

    Args:
        model: changed in place; its shapes must have been inferred. Functions are left alone.
        table: the backend's.
        rules: what may be used; see `substitutions`.
        costs: the backend's weights.
        made_by: name of the pass, stamped on new nodes.
        words: what to do about nodes that nothing replaces.
    """
    done = Legalized()
    planner = Planner(table, rules, costs, model.graph.opset_imports)
    rewriter = Rewriter(model, made_by)
    waiting = deque(nodes_of(model.graph))
    while waiting:
        node = waiting.popleft()
        if node.graph is None or (node.op_type == "Constant" and not node.domain):
            continue
        plan = planner.plan(node)
        if plan.rule is None:
            if plan.hopeless:
                done.refuse(node, plan, words)
            continue
        match = plan.rule.match(node)
        applied = rewriter.apply(plan.rule, match) if match is not None else None
        if applied is None:
            done.refuse(node, plan, words)
            continue
        done.rewrites.append(applied.record)
        waiting.extendleft(reversed(applied.made))
    rewriter.finish()
    return done
