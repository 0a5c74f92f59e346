"""Apply one rule at one match: the new nodes take their place, names and provenance, and what nobody reads goes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import onnx_ir as ir

from graphopt.errors import PassError
from graphopt.ir.edit import (
    Names,
    bodies,
    can_take_over,
    constant,
    inherit,
    is_read,
    mark,
    nodes_of,
    owners,
    readers,
    redirect,
    static_shape,
)
from graphopt.ir.infer import infer_node
from graphopt.ir.validate import describe
from graphopt.rewrite.match import Match
from graphopt.rewrite.rule import Builder, Declined, Rule

_FEW = 8
"""Readers up to which a value may be an inner value of a pattern."""


@dataclass(frozen=True)
class Rewrite:
    """One application of a rule: its name, the nodes that went and the nodes that came, by name."""

    rule: str
    removed: tuple[str, ...]
    made: tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """What an application did.

    Attributes:
        record: for the log.
        made: the new nodes.
        touched: these, and the nodes whose surroundings changed.
    """

    record: Rewrite
    made: tuple[ir.Node, ...]
    touched: tuple[ir.Node, ...]


class Rewriter:
    """Applies rules to one model, in place.

    Args:
        model: the model.
        made_by: name of the pass, stamped on new nodes.
    """

    def __init__(self, model: ir.Model, made_by: str = "") -> None:
        self.model, self.made_by = model, made_by
        self.declined = ""
        """Why the last replacement declined."""
        self._unordered: dict[ir.Graph, None] = {}
        for owner in owners(model):
            if owner is not model.graph:
                _tag_function(owner)

    @functools.cached_property
    def names(self) -> Names:
        """Fresh names for what replacements make; most passes find nothing to replace and never ask."""
        return Names(self.model)

    def finish(self) -> None:
        """Sort the graphs in which a rule with several roots made nodes."""
        for graph in self._unordered:
            graph.sort()

    def apply(self, rule: Rule, match: Match) -> Applied | None:
        """Put a rule's replacement in the place of its match; None where it declines, which is noted.

        Raises:
            PassError: the replacement is malformed; names the rule.
        """
        builder = Builder(match, self.names, self.made_by)
        assert rule.replacement is not None
        try:
            answer = rule.replacement(builder, match)
            new = self._values(rule, answer)
            old = [match.node(op).outputs[index] for op, index in rule.outputs]
            self._accept(old, new, builder)
        except Declined as declined:
            builder.discard()
            self.declined = str(declined)
            return None
        except Exception:
            builder.discard()
            raise
        return self._commit(rule, match, builder, old, new)

    def _values(self, rule: Rule, answer: object) -> list[ir.Value]:
        given = list(answer) if isinstance(answer, tuple | list) else [answer]
        values = [v for v in given if isinstance(v, ir.Value)]
        if len(values) != len(given) or len(values) != len(rule.outputs):
            raise PassError(f"the replacement of rule {rule.name} must return {len(rule.outputs)} value(s)")
        return values

    def _accept(self, old: Sequence[ir.Value], new: Sequence[ir.Value], builder: Builder) -> None:
        """Give a graph output whose place no value can take an Identity; refuse what would only move one about."""
        made = set(builder.nodes)
        for before, after in zip(old, new, strict=True):
            if before is after:
                raise Declined("the replacement is what was there")
            takes = after.producer() in made or can_take_over(before, after)
            if before.is_graph_output() and not takes:
                producer = before.producer()
                if producer is not None and producer.op_type == "Identity" and not producer.domain:
                    raise Declined("the graph output needs this Identity")

    def _commit(
        self, rule: Rule, match: Match, builder: Builder, old: Sequence[ir.Value], new: Sequence[ir.Value]
    ) -> Applied:
        root = match.root
        graph = root.graph
        assert graph is not None
        made = set(builder.nodes)
        new = list(new)
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            taken = any(after is v for v in new[:index])
            if before.is_graph_output() and (
                taken or (after.producer() not in made and not can_take_over(before, after))
            ):
                new[index] = builder.op("Identity", after)
        made = set(builder.nodes)
        self._place(builder, root, graph)
        stem = describe(root).removeprefix("-> ")
        for node in builder.nodes:
            if node.domain:
                self._import(node.domain, graph)
            alike = builder.like[node].name if node in builder.like else None
            node.name = self.names.fresh(alike or f"{stem}_{node.op_type}")
            for value in node.outputs:
                value.name = self.names.fresh(f"{stem}_{node.op_type}_out")
        graph.insert_before(root, builder.nodes)
        if len(rule.roots) > 1:
            self._unordered[graph] = None
        mark(builder.nodes, f"{self.made_by}/{rule.name}" if self.made_by else rule.name, match.nodes)
        # what nobody reads may have any value in its place, of another shape
        heirs = [
            (before, after) for before, after in zip(old, new, strict=True)
            if after.producer() in made and (is_read(before) or before.is_graph_output())
        ]  # fmt: skip
        inherited = {after for _, after in heirs}
        for before, after in heirs:
            inherit(before, after)
        for node in builder.nodes:
            if not all(v in inherited and v.type is not None and static_shape(v) is not None for v in node.outputs):
                infer_node(node)
        woken: list[ir.Node] = list(builder.nodes)
        for before, after in zip(old, new, strict=True):
            name = before.name
            woken.extend(readers(before))
            redirect(before, after)
            if name and after.producer() in made and after.name != name and not after.is_graph_output():
                before.name, after.name = None, name
        removed = self._erase(match.nodes, woken)
        for node, model in builder.like.items():
            if model in removed and model.name:
                node.name = model.name
        record = Rewrite(rule.name, tuple(describe(n) for n in removed), tuple(describe(n) for n in builder.nodes))
        return Applied(record, tuple(builder.nodes), tuple(n for n in woken if n.graph is not None))

    def _place(self, builder: Builder, root: ir.Node, graph: ir.Graph) -> None:
        in_function = graph.meta.get("graphopt.function")
        for value in builder.constants:
            assert value.const_value is not None
            if in_function:
                tensor, value.const_value = value.const_value, None
                node = ir.Node("", "Constant", [], [ir.AttrTensor("value", tensor)], outputs=[value], name=value.name)
                graph.insert_before(root, node)
            else:
                self.model.graph.register_initializer(value)

    def _import(self, domain: str, graph: ir.Graph) -> None:
        """Import an operator set that a replacement uses where the graph's owner does not; functions have their own."""
        in_function = graph.meta.get("graphopt.function")
        for owner in (graph, *owners(self.model)) if in_function else (graph, self.model.graph):
            owner.opset_imports.setdefault(domain, 1)

    def _erase(self, nodes: Sequence[ir.Node], woken: list[ir.Node]) -> list[ir.Node]:
        """Take away matched nodes that nobody reads any more, and what only they needed.

        What still reads a value that lost a reader goes to `woken`: an inner value of a pattern may have become free.
        """
        removed: list[ir.Node] = []
        waiting = list(nodes)
        while waiting:
            node = waiting.pop(0)
            if node.graph is None or any(v.is_graph_output() or is_read(v) for v in node.outputs):
                continue
            reads = [v for v in (*node.inputs, *_captured(node)) if v is not None]
            for body in bodies(node):
                _detach(body)
            node.graph.remove(node, safe=True)
            removed.append(node)
            for value in dict.fromkeys(reads):
                producer = value.producer()
                if producer is not None:
                    waiting.append(producer)
                    few = list(islice(readers(value), _FEW + 1))
                    if len(few) <= _FEW:
                        woken.extend(few)
                elif constant(value) is not None and not is_read(value) and not value.is_graph_output():
                    assert value.graph is not None
                    value.graph.initializers.pop(value.name)  # type: ignore[arg-type]
        return removed


def _tag_function(graph: ir.Graph) -> None:
    graph.meta["graphopt.function"] = True
    for node in nodes_of(graph):
        for body in bodies(node):
            body.meta["graphopt.function"] = True


def _captured(node: ir.Node) -> list[ir.Value]:
    """Values from around it that the bodies of a node read."""
    found: list[ir.Value] = []
    for body in bodies(node):
        inside = {v for n in nodes_of(body) for v in n.outputs}
        for inner in nodes_of(body):
            found.extend(v for v in inner.inputs if v is not None and v not in inside)
    return found


def _detach(body: ir.Graph) -> None:
    for node in list(nodes_of(body)):
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
