"""Make a whole model legal: plan each node, apply what was planned, plan what that made."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import onnx_ir as ir

from graphopt.ir.edit import nodes_of
from graphopt.ir.validate import describe
from graphopt.legalize.plan import Plan, Planner
from graphopt.rewrite import Rewrite, Rule
from graphopt.rewrite.apply import Rewriter
from graphopt.support.backend import Costs
from graphopt.support.table import Table


@dataclass
class Legalized:
    """What legalization did.

    Attributes:
        rewrites: rule by rule.
        illegal: nodes that stayed illegal, by name, with the plan that found no way.
        words: for nodes that no rule is known for, by name, what to do instead.
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
        """For each node that stayed illegal, by name: what was tried and why it was no way."""
        return {node: _told(plan, self.words.get(node, _UNKNOWN)) for node, plan in self.illegal.items()}

    def refuse(self, node: ir.Node, plan: Plan, words: Mapping[str, str]) -> None:
        """Note a node that stays illegal."""
        name = describe(node).removeprefix("-> ")
        self.illegal[name] = plan
        told = words.get(node.op_type) if node.domain in ("", "ai.onnx", "ai.onnx.ml") else None
        if told is not None:
            self.words[name] = told


_UNKNOWN = "no rule is known that replaces it: change the model there, or register a substitution"


def _told(plan: Plan, words: str) -> str:
    if not plan.tried:
        return words
    return "legalize found no way: " + "; ".join(f"{one.rule}: {one.reason}" for one in plan.tried)


def legalize(
    model: ir.Model,
    table: Table,
    rules: Sequence[Rule],
    costs: Costs,
    made_by: str = "",
    words: Mapping[str, str] = MappingProxyType({}),
) -> Legalized:
    """Replace what a backend does not take by what it takes, wherever a chain of rules leads there.

    Args:
        model: changed in place; its shapes must have been inferred. Functions are left alone.
        table: the backend's.
        rules: what may be used; see `substitutions`.
        costs: the backend's weights.
        made_by: name of the pass, stamped on new nodes.
        words: for operators that nothing replaces, what to do instead.
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
