"""Which node of one model is which of the other, and which stand for which.

From the surest to the weakest sign, each node once:

    1. equal digests: the same computation of the inputs, whatever the names
    2. the same name and operator, of nodes that no pass made
    3. provenance: a node that graphopt's passes made names the nodes it stands for
    4. the same name and operator, then the same name of an output and operator
    5. neighbors: the same operator beside nodes that are paired, see `graphopt.diff.neighbors`

What is left has gone or has come. A group of nodes that went is tied to those that came in its place: where the same
values leave both, or where a reader that was paired now reads from a node that stands beside them. Linear in the
graphs, but for dictionaries.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from graphopt.diff.digest import attributes, digests, tensor_digest
from graphopt.diff.neighbors import spread
from graphopt.ir.edit import FROM_KEY, constant, readers, sources_of
from graphopt.ir.validate import describe

_NOTHING = ("Identity", "Dropout")
"""Operators that leave without a trace: no neighbor takes anything over from them."""


@dataclass
class Matching:
    """How the nodes of two models correspond.

    Attributes:
        equal: pairs with the same digest.
        paired: pairs that are the same node, with something changed at it or before it.
        rewritten: nodes of the first that others of the second stand for; at least one on each side.
        removed: nodes of the first that nothing stands for.
        added: nodes of the second that stand for nothing.
    """

    equal: list[tuple[ir.Node, ir.Node]] = field(default_factory=list)
    paired: list[tuple[ir.Node, ir.Node]] = field(default_factory=list)
    rewritten: list[tuple[list[ir.Node], list[ir.Node]]] = field(default_factory=list)
    removed: list[ir.Node] = field(default_factory=list)
    added: list[ir.Node] = field(default_factory=list)


def match(first: ir.Model, second: ir.Model) -> Matching:
    """Pair the nodes of two models; constants are no nodes here."""
    theirs = {value.name: value for value in second.graph.inputs}
    entrances = [(value, theirs[value.name]) for value in first.graph.inputs if value.name in theirs]
    return _Matcher(digests(first), digests(second), entrances).match()


class _Matcher:
    def __init__(
        self,
        first: dict[ir.Node, bytes],
        second: dict[ir.Node, bytes],
        entrances: list[tuple[ir.Value, ir.Value]],
    ) -> None:
        self.first, self.second, self.entrances = first, second, entrances
        self.place = {node: place for side in (first, second) for place, node in enumerate(side)}
        self.partner: dict[ir.Node, ir.Node] = {}
        self.stands: list[tuple[list[ir.Node], list[ir.Node]]] = []
        self.settled: set[ir.Node] = set()

    def match(self) -> Matching:
        self._by_digest()
        self._by_key(lambda node: None if FROM_KEY in node.metadata_props else _name(node))
        self._by_provenance()
        self._by_key(_name)
        self._by_key(lambda node: next(((v.name, node.op_type) for v in node.outputs if v.name), None))
        self._by_neighbors()
        self._absorb(self._by_boundary())
        found = Matching(rewritten=self.stands)
        for a in self.first:
            if a in self.partner:
                b = self.partner[a]
                (found.equal if self.first[a] == self.second[b] else found.paired).append((a, b))
        found.removed = self._left(self.first)
        found.added = self._left(self.second)
        return found

    def _pair(self, a: ir.Node, b: ir.Node) -> None:
        self.partner[a], self.partner[b] = b, a
        self.settled.update((a, b))

    def _left(self, side: Iterable[ir.Node]) -> list[ir.Node]:
        return [node for node in side if node not in self.settled]

    def _by_digest(self) -> None:
        offered: dict[bytes, dict[str, list[ir.Node]]] = defaultdict(lambda: defaultdict(list))
        for b, digest in self.second.items():
            offered[digest][b.name or ""].append(b)
        waiting = []
        for a, digest in self.first.items():
            same = offered[digest].get(a.name or "") if digest in offered else None
            if same:
                self._pair(a, same.pop(0))
            elif digest in offered:
                waiting.append(a)
        left = {digest: deque(b for group in names.values() for b in group) for digest, names in offered.items()}
        for a in waiting:
            if left[self.first[a]]:
                self._pair(a, left[self.first[a]].popleft())

    def _by_provenance(self) -> None:
        """Nodes that say what they stand for; those with a source in common are one group."""
        origin: dict[str, list[ir.Node]] = defaultdict(list)
        for a in self._left(self.first):
            for name in sources_of(a):
                origin[name].append(a)
        groups = _Groups()
        for b in self._left(self.second):
            if FROM_KEY in b.metadata_props:
                for name in sources_of(b):
                    for a in origin.get(name, ()):
                        groups.join(a, b)
        for members in groups.all():
            sides = [a for a in members if a in self.first], [b for b in members if b in self.second]
            if len(sides[0]) == len(sides[1]) == 1 and sides[0][0].op_type == sides[1][0].op_type:
                self._pair(sides[0][0], sides[1][0])
            else:
                self._stand(*sides)

    def _stand(self, before: list[ir.Node], after: list[ir.Node]) -> None:
        self.stands.append((sorted(before, key=self.place.__getitem__), sorted(after, key=self.place.__getitem__)))
        self.settled.update((*before, *after))

    def _by_key(self, key: Callable[[ir.Node], Hashable | None]) -> None:
        sides: list[dict[Hashable, list[ir.Node]]] = [defaultdict(list), defaultdict(list)]
        for nodes, side in zip((self.first, self.second), sides, strict=True):
            for node in self._left(nodes):
                if (found := key(node)) is not None:
                    side[found].append(node)
        for found, group in sides[0].items():
            other = sides[1].get(found, [])
            if len(group) == len(other) == 1:
                self._pair(group[0], other[0])

    def _by_neighbors(self) -> None:
        pairs = [(a, b) for a, b in self.partner.items() if a in self.first]
        spread(pairs, self.entrances, lambda node: node in self.place and node not in self.settled, self._pair)

    def _by_boundary(self) -> list[list[ir.Node]]:
        """Regions that went and that came, tied where a value of the same name leaves both, or their readers pair."""
        before, after = _regions(self._left(self.first)), _regions(self._left(self.second))
        made = {value.name: region for region in after for node in region for value in node.outputs if value.name}
        of_node = {node: index for index, region in enumerate(after) for node in region}
        groups, lonely = _Groups(), []
        for region in before:
            tied = False
            for node in region:
                for value in node.outputs:
                    others = [made[value.name][0]] if value.name in made else []
                    others += [m for m in self._now_read(value) if m in of_node]
                    for other in others:
                        groups.join(region[0], other)
                        tied = True
            if not tied:
                lonely.append(region)
        head = {region[0]: region for region in before}
        for members in groups.all():
            olds = [node for member in members if member in head for node in head[member]]
            places = {of_node[member] for member in members if member in of_node}
            self._stand(olds, [node for place in sorted(places) for node in after[place]])
        return lonely

    def _now_read(self, value: ir.Value) -> list[ir.Node]:
        """Nodes of the second model that make what the partners of a value's readers read in its place."""
        found = []
        for use in value.uses():
            partner = self.partner.get(use.node)
            theirs = partner.inputs[use.idx] if partner is not None and use.idx < len(partner.inputs) else None
            maker = theirs.producer() if theirs is not None else None
            if maker is not None:
                found.append(maker)
        return found

    def _absorb(self, lonely: list[list[ir.Node]]) -> None:
        """Regions that went into a neighbor, which is changed itself: what they read from, or what reads from them."""
        groups = _Groups()
        for region in lonely:
            if all(node.op_type in _NOTHING for node in region):
                continue
            inside = set(region)
            fed = {m for n in region for v in n.inputs if v is not None and (m := v.producer()) and m not in inside}
            for node in region:
                for value in node.outputs:
                    for maker in self._now_read(value):
                        a = self.partner.get(maker)
                        if a in fed and a is not None and _changed(a, maker):
                            groups.join(a, region[0])
                    for reader in readers(value):
                        b = self.partner.get(reader)
                        if b is not None and _changed(reader, b):
                            groups.join(reader, region[0])
        heads = {region[0]: region for region in lonely}
        for members in groups.all():
            before = [node for member in members for node in heads.get(member, [member])]
            after = [self.partner.pop(member) for member in members if member in self.partner]
            for member in members:
                self.partner.pop(member, None)
            for node in after:
                self.partner.pop(node, None)
            self._stand(before, after)


def _changed(a: ir.Node, b: ir.Node) -> bool:
    """Whether a pair differs at the node itself: in attributes, constants, or how many inputs it has."""
    if len(a.inputs) != len(b.inputs) or attributes(a) != attributes(b):
        return True
    for mine, theirs in zip(a.inputs, b.inputs, strict=True):
        one, other = constant(mine), constant(theirs)
        if (one is None) != (other is None):
            return True
        if one is not None and other is not None and tensor_digest(one) != tensor_digest(other):
            return True
    return False


def _name(node: ir.Node) -> Hashable | None:
    return (node.name, node.domain, node.op_type) if node.name else None


def _regions(nodes: list[ir.Node]) -> list[list[ir.Node]]:
    """Nodes that feed each other, together; in the order of the first of each."""
    inside, groups = set(nodes), _Groups()
    for node in nodes:
        groups.join(node, node)
        for value in node.inputs:
            maker = value.producer() if value is not None else None
            if maker is not None and maker in inside:
                groups.join(maker, node)
    return groups.all()


class _Groups:
    """Sets that grow together (union-find); they come out in the order in which their members came in."""

    def __init__(self) -> None:
        self._parent: dict[ir.Node, ir.Node] = {}

    def join(self, a: ir.Node, b: ir.Node) -> None:
        self._parent[self._root(a)] = self._root(b)

    def _root(self, node: ir.Node) -> ir.Node:
        self._parent.setdefault(node, node)
        while self._parent[node] is not node:
            self._parent[node] = node = self._parent[self._parent[node]]
        return node

    def all(self) -> list[list[ir.Node]]:
        found: dict[ir.Node, list[ir.Node]] = {}
        for node in list(self._parent):
            found.setdefault(self._root(node), []).append(node)
        return list(found.values())


def names(nodes: Iterable[ir.Node]) -> tuple[str, ...]:
    """What nodes are called."""
    return tuple(describe(node) for node in nodes)
