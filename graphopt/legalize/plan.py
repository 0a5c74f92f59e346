"""The cheapest way from a node to what a backend takes: a chain of rules, searched on copies of the node.

A node that the table takes costs what the backend says of its multiply-accumulates, bytes and dispatch. For one that
it does not take, every rule that matches is tried on a copy; what the rule makes is planned in turn. A chain that
comes back to a node like one it began with is a circle and counts as no way.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx_ir as ir

from graphopt.ir.edit import bodies, constant
from graphopt.legalize.isolate import isolate
from graphopt.rewrite import Rule
from graphopt.rewrite.apply import Rewriter
from graphopt.support.attributes import dims_of
from graphopt.support.backend import Costs
from graphopt.support.check import diagnose
from graphopt.support.table import Table
from graphopt.support.work import macs, moved_bytes

_DEEPEST: Final = 12
"""Rules in a row beyond which a chain is given up."""
_READ: Final = 256
"""Elements up to which a constant's content makes nodes different."""


@dataclass(frozen=True)
class Tried:
    """A rule that was looked at and what came of it.

    Attributes:
        rule: its name.
        reason: why it is no way.
        kinds: how many operators it is for.
        reach: how far it got: 0 where it does not match, 1 where it declined, 2 where what it makes is no better.
    """

    rule: str
    reason: str
    kinds: int = 1
    reach: int = 0


@dataclass(frozen=True)
class Plan:
    """What to do with a node.

    Attributes:
        rule: the rule to apply to it; None where it is legal, or nothing helps.
        cost: of the best legal form, infinite where nothing helps.
        reasons: why it is not legal as it is; empty where it is.
        tried: the rules that were looked at in vain.
    """

    rule: Rule | None
    cost: float
    reasons: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()

    @property
    def hopeless(self) -> bool:
        """Whether no chain of rules ends in legal nodes."""
        return math.isinf(self.cost)


class Planner:
    """Plans nodes of one model for one table, and remembers the plans of nodes that are alike.

    Args:
        table: the backend's.
        rules: what may be used.
        costs: the backend's weights.
        opsets: the model's opset versions by domain.
    """

    def __init__(self, table: Table, rules: Iterable[Rule], costs: Costs, opsets: Mapping[str, int]) -> None:
        self._table, self._costs, self._opsets = table, costs, dict(opsets)
        self._rules: dict[tuple[str, str], list[Rule]] = {}
        for rule in rules:
            for op_type in rule.roots[0].types:
                self._rules.setdefault((rule.roots[0].domain, op_type), []).append(rule)
        self._plans: dict[Hashable, Plan] = {}
        self._open: list[Hashable] = []
        self._circle = _DEEPEST
        """The lowest place of an open node that some chain came back to since it was last set."""

    def plan(self, node: ir.Node) -> Plan:
        """The cheapest way to make a node legal."""
        reasons = tuple(finding.reason for finding in diagnose(node, self._table, self._opsets))
        if not reasons:
            return Plan(None, self._cost(node))
        key = _key(node)
        if key in self._plans:
            return self._plans[key]
        if key in self._open:
            self._circle = min(self._circle, self._open.index(key))
            return Plan(None, math.inf, reasons, (Tried("", "the chain comes back to where it began"),))
        if len(self._open) >= _DEEPEST:
            self._circle = 0
            return Plan(None, math.inf, reasons, (Tried("", f"the chain is longer than {_DEEPEST} rules"),))
        place, before = len(self._open), self._circle
        self._circle = _DEEPEST
        self._open.append(key)
        plan = self._search(node, reasons)
        self._open.pop()
        # what failed only because a node above it was open may succeed elsewhere
        if not plan.hopeless or self._circle >= place:
            self._plans[key] = plan
        self._circle = min(before, self._circle if self._circle < place else _DEEPEST)
        return plan

    def _search(self, node: ir.Node, reasons: tuple[str, ...]) -> Plan:
        best, chosen = math.inf, None
        tried: list[Tried] = []
        for rule in self._rules.get((node.domain, node.op_type), ()):
            answer = self._try(node, rule)
            if isinstance(answer, Tried):
                tried.append(answer)
            elif answer < best:
                best, chosen = answer, rule
        return Plan(chosen, best, reasons, tuple(tried))

    def _try(self, node: ir.Node, rule: Rule) -> float | Tried:
        """What it costs to apply a rule and legalize what it makes, or why that is no way."""
        kinds = len(rule.roots[0].types)
        if any(True for _ in bodies(node)):
            return Tried(rule.name, "it has a body, which no rule is tried on", kinds)
        model, copy = isolate(node, self._opsets, rule.depth - 1)
        match = rule.match(copy)
        if match is None:
            why = rule.why_not(copy)
            return Tried(rule.name, why[1] if why is not None else "it does not match", kinds)
        rewriter = Rewriter(model)
        applied = rewriter.apply(rule, match)
        if applied is None:
            return Tried(rule.name, rewriter.declined, kinds, reach=1)
        total = 0.0
        for made in applied.made:
            if made.graph is None or made.op_type == "Identity" or _foldable(made):
                continue
            plan = self.plan(made)
            if plan.hopeless:
                reason = f"it makes {made.op_type}, which is not taken either: {_last(plan)}"
                return Tried(rule.name, reason, kinds, reach=2)
            total += plan.cost
        return total

    def _cost(self, node: ir.Node) -> float:
        return self._costs.mac * (macs(node) or 0) + self._costs.byte * moved_bytes(node) + self._costs.node


def _last(plan: Plan) -> str:
    return plan.reasons[0] if plan.reasons else "no rule helps"


def _foldable(node: ir.Node) -> bool:
    return bool(node.inputs) and all(value is None or constant(value) is not None for value in node.inputs)


def _key(node: ir.Node) -> Hashable:
    """Nodes with equal keys have equal plans: operator, attributes, dtypes, shapes, small constants, neighbors."""
    return (
        node.domain,
        node.op_type,
        tuple(sorted((name, _content(attribute)) for name, attribute in node.attributes.items())),
        tuple(_told(value) for value in node.inputs),
        tuple((_told(value), tuple(use.node.op_type for use in value.uses())) for value in node.outputs),
    )


def _content(attribute: ir.Attr) -> Hashable:
    value: Any = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        return (value.dtype.name, tuple(value.shape.numpy()), value.tobytes() if value.size <= _READ else id(value))
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else repr(value)


def _told(value: ir.Value | None) -> Hashable:
    if value is None:
        return None
    tensor = constant(value)
    content: Hashable = None
    if tensor is not None:
        small = tensor.size <= _READ and tensor.dtype != ir.DataType.STRING
        content = tensor.tobytes() if small else id(tensor)
    maker = value.producer()
    above = (maker.domain, maker.op_type) if maker is not None else None
    return (value.dtype, dims_of(value), content, above)
