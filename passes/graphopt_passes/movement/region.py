"""A part of a graph that can be computed in either of two layouts, and the cheapest way to do so.

    x ─ Transpose ─ Relu ─ Add ─ Transpose ─ y            x ─ Relu ─ Add ─ y
                            │                  becomes                │
    z ─ Transpose ──────────┘                             z ──────────┘

The two layouts are the sides 0 and 1. A value and what a move between the two makes of it are one tensor in two forms.
Each node is computed on one side; a tensor that is made on one and read on the other costs one move. The assignment
with the fewest moves is a minimum cut (see `cut`), so nothing changes unless their number falls.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import onnx_ir as ir

from graphopt.ir.edit import readers
from graphopt_passes.movement.cut import FOREVER, Network
from graphopt_passes.movement.layout import Flip, Layout


class Sides:
    """Two layouts, each seen from the other, and what they say of nodes, kept for all regions.

    Args:
        layout: side 1 seen from side 0.
    """

    def __init__(self, layout: Layout) -> None:
        self.layouts = layout, layout.reverse()
        self._flips: tuple[dict[ir.Node, Flip | None], dict[ir.Node, Flip | None]] = {}, {}

    def flip(self, node: ir.Node, side: int) -> Flip | None:
        """How a node of one side computes on the other."""
        known = self._flips[side]
        if node not in known:
            known[node] = self.layouts[side].flip(node)
        return known[node]


class Region:
    """The nodes connected to a node that can compute on both sides, also through moves from one to the other.

    Args:
        start: where to begin.
        side: the side of `start` as the graph is.
        sides: the layouts.
    """

    def __init__(self, start: ir.Node, side: int, sides: Sides) -> None:
        self.layouts, self._sides, self.graph = sides.layouts, sides, start.graph
        self.nodes: dict[ir.Node, int] = {}
        """The side of each node as the graph is."""
        self.places: dict[ir.Value, tuple[ir.Value, int]] = {}
        """The tensor that each value is a form of, named by the first of its forms, and the side of the value."""
        self.tensors: dict[ir.Value, list[ir.Value]] = {}
        """The forms of each tensor."""
        self.moves: dict[ir.Node, None] = {}
        """Moves that make one form of a tensor out of another."""
        self.flipped: dict[ir.Node, Flip] = {}
        """What is cheaper on the other side; filled by `solve`."""
        self._grow(start, side)

    def flip(self, node: ir.Node) -> Flip:
        """How a node of the region computes on the other side."""
        found = self._sides.flip(node, self.nodes[node])
        assert found is not None
        return found

    def read_by(self, node: ir.Node) -> Iterator[ir.Value]:
        """The values that a node of the region reads on its own side."""
        for position in self.flip(node).inputs:
            value = node.inputs[position]
            assert value is not None
            yield value

    def is_move(self, node: ir.Node | None) -> bool:
        """Whether a node outside the region only moves elements, so that it can read or make either form."""
        if node is None or node in self.nodes or node.graph is not self.graph:
            return False
        return self.layouts[0].is_move(node)

    def _grow(self, start: ir.Node, side: int) -> None:
        waiting = [(start, side)]
        while waiting:
            node, side = waiting.pop()
            if node in self.nodes or node.graph is not self.graph:
                continue
            flip = self._sides.flip(node, side)
            if flip is None:
                continue
            values = [v for v in (*(node.inputs[p] for p in flip.inputs), *node.outputs) if v is not None]
            placed = [self.places[v][1] for v in values if v in self.places]
            if any(other != side for other in placed):
                continue
            self.nodes[node] = side
            for value in values:
                for form in self._place(value, side):
                    where = self.places[form][1]
                    producer = form.producer()
                    waiting.extend([(producer, where)] if producer is not None else [])
                    waiting.extend((user, where) for user in readers(form))

    def _place(self, value: ir.Value, side: int) -> list[ir.Value]:
        """Find the tensor of a value and all its forms; returns those that are new."""
        if value in self.places:
            return []
        tensor = value
        while True:
            maker = tensor.producer()
            if maker is None or not self.is_move(maker) or not self.layouts[side].begins_there(maker):
                break
            source = maker.inputs[0]
            if source is None or source in self.places:
                break
            tensor, side = source, 1 - side
        self.places[tensor] = tensor, side
        forms = self.tensors[tensor] = [tensor]
        for form in forms:
            side = self.places[form][1]
            for user in readers(form):
                if self.is_move(user) and self.layouts[side].ends_there(user):
                    made = user.outputs[0]
                    if made not in self.places:
                        self.places[made] = tensor, 1 - side
                        self.moves[user] = None
                        forms.append(made)
        return forms

    def solve(self) -> int:
        """Find the cheapest assignment; returns how many nodes it saves, 0 where the graph is best as it is."""
        network = Network()
        now = len(self.moves) + sum(self._demands(network, tensor) for tensor in self.tensors)
        now += sum(self._savings(network, node) for node in self.nodes)
        cost, beside = network.cut()
        if cost < now:
            self.flipped = {
                node: self.flip(node) for node, side in self.nodes.items() if (node in beside) != bool(side)
            }
        return now - cost

    def _demands(self, network: Network, tensor: ir.Value) -> int:
        """Say what it costs to have a tensor in each form; returns what it costs now beyond the moves of the region."""
        side, maker = self.places[tensor][1], tensor.producer()
        form: tuple[Hashable, Hashable] = (0, tensor), (1, tensor)
        now = 0
        if maker in self.nodes:
            network.edge(maker, form[1], 1)
            network.edge(form[0], maker, 1)
        elif self.is_move(maker):
            network.edge(Network.SOURCE, form[1], 1)
            network.edge(form[0], Network.SINK, 1)
            now = 1
        else:
            _edge(network, side, Network.SOURCE, form[1 - side], 1)
        for value in self.tensors[tensor]:
            where = self.places[value][1]
            stays = value.is_graph_output()
            for user in readers(value):
                if user in self.nodes:
                    places = [p for p, v in enumerate(user.inputs) if v is value]
                    inside = [p in self.flip(user).inputs for p in places]
                    if any(inside):
                        network.edge(form[1], user)
                        network.edge(user, form[0])
                    stays = stays or not all(inside)
                elif not self.is_move(user):
                    stays = True
            if stays:
                _edge(network, where, Network.SOURCE, form[where], FOREVER)
        return now

    def _savings(self, network: Network, node: ir.Node) -> int:
        side = self.nodes[node]
        saving, together = self.layouts[side].saving(node)
        if not saving or not all(one in self.nodes for one in together):
            return 0
        group = ("group", node)
        ends = (group, Network.SINK) if saving > 0 else (Network.SOURCE, group)
        _edge(network, side, *ends, abs(saving))
        for one in together:
            _edge(network, side, *((one, group) if saving > 0 else (group, one)), FOREVER)
        return max(0, saving)


def _edge(network: Network, side: int, start: Hashable, end: Hashable, capacity: int) -> None:
    """An edge as seen from side 0; the mirror image of it from side 1."""
    if side:
        mirror = {Network.SOURCE: Network.SINK, Network.SINK: Network.SOURCE}
        start, end = mirror.get(end, end), mirror.get(start, start)
    network.edge(start, end, capacity)
