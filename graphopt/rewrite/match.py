"""The matcher: does a pattern hold at a node? Depth first with backtracking over swapped inputs and alternatives.

It keeps no state between matches. A match that fails knows the first condition that failed on its most successful
attempt, and at which node: that is what `run --explain` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, readers
from graphopt.ir.schema import attribute
from graphopt.ir.validate import describe
from graphopt.rewrite.pattern import Const, Either, Op, Optional, Output, Pattern, Var, names


class Match:
    """What a pattern's names stand for at one place of a graph.

    `m.x` is the value of a variable, the array of a constant, the node of an operator with `as_`, the value of an
    attribute, or None where an optional part is missing. `m.value("w")` is the value behind a constant.
    """

    def __init__(self, bound: dict[str, Any], nodes: dict[Op, ir.Node], roots: Sequence[ir.Node]) -> None:
        self._bound, self._by_pattern = bound, nodes
        self.roots = tuple(roots)
        """The nodes whose outputs are replaced."""

    def __getattr__(self, name: str) -> Any:
        try:
            held = self._bound[name]
        except KeyError:
            raise AttributeError(f"the pattern has no name {name!r}") from None
        if isinstance(held, _Constant):
            return held.tensor.numpy()
        return held

    def __contains__(self, name: str) -> bool:
        return self._bound.get(name) is not None

    def value(self, name: str) -> ir.Value:
        """The value behind a name, also where `m.name` is its array."""
        held = self._bound[name]
        return held.value if isinstance(held, _Constant) else held

    def node(self, op: Op) -> ir.Node:
        """The node that an operator of the pattern matched."""
        return self._by_pattern[op]

    @property
    def root(self) -> ir.Node:
        """The node at which the pattern is anchored."""
        return self.roots[0]

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """All matched nodes, the root first."""
        return tuple(dict.fromkeys((*self.roots, *self._by_pattern.values())))


class _Constant:
    __slots__ = ("tensor", "value")

    def __init__(self, value: ir.Value, tensor: ir.TensorProtocol) -> None:
        self.value, self.tensor = value, tensor


Goals = tuple[Pattern, "ir.Value | None", "Goals"] | None
"""A linked list of what is still to be matched; alternatives share its tail."""
Guard = tuple[str, Callable[[Match], "bool | str"]]


class Matcher:
    """One attempt to match roots of a pattern at a node. Use it once."""

    def __init__(
        self, roots: Sequence[Op], outputs: Sequence[tuple[Op, int]], guards: Sequence[Guard], explain: bool = False
    ) -> None:
        self._roots, self._outputs, self._guards, self._explain = roots, outputs, guards, explain
        self._bound: dict[str, Any] = {}
        self._nodes: dict[Op, ir.Node] = {}
        self._trail: list[tuple[dict[Any, Any], Any]] = []
        self._found: Match | None = None
        self._best = -1
        self.failure: tuple[ir.Node, str] | None = None
        """Where the most successful attempt failed and why; only filled when asked to explain."""

    def match(self, node: ir.Node) -> Match | None:
        """The match with the first root at `node`, or None."""
        self._graph = node.graph
        return self._found if self._at(self._roots[0], node, None) else None

    def _fail(self, node: ir.Node | None, reason: str, *parts: object) -> bool:
        """Note why an attempt failed; nearly all do, so the words are put together only where somebody asked."""
        if self._explain and len(self._trail) > self._best and node is not None:
            words = [" or ".join(part) if isinstance(part, tuple) else part for part in parts]
            self._best, self.failure = len(self._trail), (node, reason.format(*words))
        return False

    def _bind(self, table: dict[Any, Any], key: Any, thing: Any) -> None:
        table[key] = thing
        self._trail.append((table, key))

    def _undo(self, length: int) -> None:
        while len(self._trail) > length:
            table, key = self._trail.pop()
            del table[key]

    def _solve(self, goals: Goals, reader: ir.Node | None) -> bool:
        while goals is not None:
            pattern, value, goals = goals
            if isinstance(pattern, Op):
                return self._producer(pattern, 0, value, goals, reader)
            if isinstance(pattern, Output):
                return self._producer(pattern.op, pattern.index, value, goals, reader)
            if isinstance(pattern, Optional):
                if value is not None:
                    goals = (pattern.inner, value, goals)
                    continue
                if not all(self._name(name, None) for name in names(pattern.inner)):
                    return self._fail(reader, "an optional input is missing here and present elsewhere")
            elif isinstance(pattern, Either):
                return self._any(((option, value, goals) for option in pattern.options), reader)
            elif value is None:
                return self._fail(reader, "an input is missing")
            elif isinstance(pattern, Const):
                if not self._constant(pattern, value, reader):
                    return False
            elif isinstance(pattern, Var):
                if pattern.where is not None and not pattern.where(value):
                    return self._fail(reader, "the condition on {} does not hold", pattern.name or "a value")
                if not self._name(pattern.name, value):
                    return self._fail(reader, "{!r} is not the value that {} stands for", value.name, pattern.name)
        return self._finish()

    def _any(self, alternatives: Any, reader: ir.Node | None) -> bool:
        mark = len(self._trail)
        for goals in alternatives:
            if self._solve(goals, reader):
                return True
            self._undo(mark)
        return False

    def _name(self, name: str | None, thing: Any) -> bool:
        if name is None:
            return True
        if name in self._bound:
            held = self._bound[name]
            return (held.value if isinstance(held, _Constant) else held) is (
                thing.value if isinstance(thing, _Constant) else thing
            )
        self._bind(self._bound, name, thing)
        return True

    def _constant(self, pattern: Const, value: ir.Value, reader: ir.Node | None) -> bool:
        tensor = constant(value)
        if tensor is None:
            return self._fail(reader, "{!r} is not a constant", value.name)
        if pattern.equals is not None or pattern.where is not None:
            if tensor.size > pattern.largest or tensor.dtype == ir.DataType.STRING:
                return self._fail(reader, "{!r} is too large to look into", value.name)
            array = tensor.numpy()
            if pattern.equals is not None and not _equals(array, pattern.equals):
                return self._fail(reader, "{!r} is not {}", value.name, pattern.equals)
            if pattern.where is not None and not pattern.where(array):
                return self._fail(reader, "the condition on {} does not hold", pattern.name or "a constant")
        if not self._name(pattern.name, _Constant(value, tensor)):
            return self._fail(reader, "{!r} is not the constant that {} stands for", value.name, pattern.name)
        return True

    def _producer(self, op: Op, index: int, value: ir.Value | None, goals: Goals, reader: ir.Node | None) -> bool:
        node = value.producer() if value is not None else None
        if value is None or node is None:
            name = value.name if value is not None else None
            return self._fail(reader, "{!r} is not made by {}", name, op.types)
        if value.index() != index:
            return self._fail(node, "output {} is read where the pattern reads output {}", value.index(), index)
        return self._at(op, node, goals)

    def _at(self, op: Op, node: ir.Node, goals: Goals) -> bool:
        known = self._nodes.get(op)
        if known is not None:
            return self._solve(goals, node) if known is node else self._fail(node, "another node matched here before")
        if node.op_type not in op.types or node.domain != op.domain:
            return self._fail(node, "is {}, not {}", node.op_type, op.types)
        if node.graph is not self._graph:
            return self._fail(node, "lies in another graph than the root")
        if any(held.is_ref() for held in node.attributes.data.values()):
            return self._fail(node, "takes an attribute from the call of its function")
        for name, expected in op.attributes.items():
            found = attribute(node, name)
            if expected.where is not None and not expected.where(found):
                return self._fail(node, "attribute {} is {}", name, str(found))
            if not self._name(expected.name, found):
                return self._fail(node, "attribute {} differs from the one matched before", name)
        if op.where is not None and not op.where(node):
            return self._fail(node, "the condition on the node does not hold")
        self._bind(self._nodes, op, node)
        if not self._name(op.name, node):
            return self._fail(node, "is not the node that {} stands for", op.name)
        return self._inputs(op, node, goals)

    def _inputs(self, op: Op, node: ir.Node, goals: Goals) -> bool:
        given: Sequence[ir.Value | None] = node.inputs
        wanted = len(op.inputs)
        while len(given) > wanted and op.rest is None and given[-1] is None:
            given = given[:-1]
        if len(given) > wanted and op.rest is None:
            return self._fail(node, "has {} inputs, the pattern {}", len(given), wanted)
        if op.rest is not None and not self._name(op.rest.name, list(given[wanted:])):
            return self._fail(node, "the further inputs differ from those matched before")
        values = [given[i] if i < len(given) else None for i in range(wanted)]

        def with_order(order: Sequence[ir.Value | None]) -> Goals:
            chain = goals
            for index in range(wanted - 1, -1, -1):
                chain = (op.inputs[index], order[index], chain)
            return chain

        if op.commutative:
            orders = [o for o in (values, values[::-1]) if all(map(_plausible, op.inputs, o))]
            if not orders:
                return self._fail(node, "neither order of its inputs fits the pattern")
            if len(orders) == 1:
                return self._solve(with_order(orders[0]), node)
            return self._any(map(with_order, orders), node)
        return self._solve(with_order(values), node)

    def _finish(self) -> bool:
        for root in self._roots:
            if root not in self._nodes:
                return self._next_root(root)
        roots = [self._nodes[root] for root in self._roots]
        for op, index in self._outputs:
            if index >= len(self._nodes[op].outputs):
                return self._fail(self._nodes[op], "has no output {}", str(index))
        matched = set(self._nodes.values())
        for op, node in self._nodes.items():
            if op.shared:
                continue
            for index, value in enumerate(node.outputs):
                if (op, index) in self._outputs:
                    continue
                if value.is_graph_output():
                    return self._fail(node, "its output {!r} is an output of the graph", value.name)
                reader = next((user for user in readers(value) if user not in matched), None)
                if reader is not None:
                    return self._fail(node, "{!r} is also read by {}", value.name, describe(reader))
        found = Match(self._bound, self._nodes, roots)
        for reason, guard in self._guards:
            verdict = guard(found)
            if verdict is not True:
                return self._fail(roots[0], "{}", verdict if isinstance(verdict, str) else f"does not hold: {reason}")
        self._found = found
        return True

    def _next_root(self, root: Op) -> bool:
        """A further root reads a value that is bound already: try the nodes that read it."""
        for index, pattern in enumerate(root.inputs):
            value = self._value_of(pattern)
            if value is None:
                continue
            mark = len(self._trail)
            for user in value.consumers():
                if user in self._nodes.values() or index >= len(user.inputs):
                    continue
                if self._at(root, user, None):
                    return True
                self._undo(mark)
            return False
        raise TypeError("each further root of a pattern must read a value that the first root binds")

    def _value_of(self, pattern: Pattern) -> ir.Value | None:
        if isinstance(pattern, Var | Const) and pattern.name:
            held = self._bound.get(pattern.name)
            return held.value if isinstance(held, _Constant) else held
        op, index = (pattern.op, pattern.index) if isinstance(pattern, Output) else (pattern, 0)
        node = self._nodes.get(op) if isinstance(op, Op) else None
        return node.outputs[index] if node is not None else None


def _equals(array: np.ndarray, wanted: float | int) -> bool:
    """All elements are `wanted`, the sign of zero included; an empty array equals nothing."""
    if array.size == 0 or array.dtype == object:
        return False
    wide = array.astype(np.float64)
    return bool((wide == wanted).all() and (wanted != 0 or not np.signbit(wide).any()))


def _plausible(pattern: Pattern, value: ir.Value | None) -> bool:
    """A cheap look at one input."""
    if isinstance(pattern, Optional | Either):
        return True
    if value is None:
        return False
    if isinstance(pattern, Output):
        pattern = pattern.op
    if isinstance(pattern, Op):
        node = value.producer()
        return node is not None and node.op_type in pattern.types
    if isinstance(pattern, Const):
        return constant(value) is not None
    return True
