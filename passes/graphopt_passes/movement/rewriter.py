"""Writes the nodes of a region anew on the side where they are cheaper, with moves where forms are missing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import onnx_ir as ir

from graphopt.ir.edit import (
    Names,
    add_constant,
    attribute,
    bodies,
    constant,
    is_read,
    mark,
    readers,
    redirect,
    set_shape,
    shape_of,
)
from graphopt_passes.movement.layout import Step
from graphopt_passes.movement.region import Region


class Rewriter:
    """Rewrites region after region.

    Args:
        model: gets the constants.
        made_by: name of the pass, for provenance.
    """

    def __init__(self, model: ir.Model, made_by: str) -> None:
        self._model, self._made_by = model, made_by
        self.touched: dict[ir.Graph, None] = {}
        """Graphs whose nodes are no longer in order."""

    @cached_property
    def _names(self) -> Names:
        return Names(self._model)

    def apply(self, region: Region) -> None:
        """Compute the nodes of `region.flipped` on their other side, with moves where that is needed."""
        assert region.graph is not None
        self._region = region
        self._forms: dict[tuple[ir.Value, int], ir.Value] = {}
        self._replaced: dict[ir.Value, ir.Value] = {}
        self._made: dict[ir.Node, ir.Node] = {}
        self.touched[region.graph] = None
        order = list(self._ordered())
        for node in order:
            self._flip(node)
        for tensor in (*region.tensors, *region.tensors):
            # Twice: what the first round makes may read a form that it has served already.
            self._serve(tensor)
        makers = [tensor.producer() for tensor in region.tensors]
        for old in (*reversed(order), *reversed(region.moves), *makers):
            if old in region.flipped or region.is_move(old):
                assert old is not None
                drop(old)
        for old, new in self._made.items():
            if old.graph is None and old.name:
                new.name = old.name

    def _ordered(self) -> Iterator[ir.Node]:
        """The flipped nodes, each after those that it reads, also through moves."""
        done: dict[ir.Node, bool] = {}
        for start in self._region.flipped:
            waiting = [start]
            while waiting:
                node = waiting[-1]
                if node not in done:
                    done[node] = False
                    waiting.extend(n for n in self._before(node) if n not in done)
                    continue
                waiting.pop()
                if not done[node]:
                    done[node] = True
                    yield node

    def _before(self, node: ir.Node) -> Iterator[ir.Node]:
        for value in self._region.read_by(node):
            maker = self._region.places[value][0].producer()
            if self._region.is_move(maker):
                assert maker is not None
                place = self._region.places.get(maker.inputs[0])  # type: ignore[arg-type]
                maker = place[0].producer() if place is not None else None
            if maker in self._region.flipped:
                assert maker is not None
                yield maker

    def _flip(self, node: ir.Node) -> None:
        flip, side = self._region.flipped[node], self._region.nodes[node]
        inputs = list(node.inputs)
        for position in flip.inputs:
            value = inputs[position]
            assert value is not None
            inputs[position] = self._form(self._region.places[value][0], 1 - side, node)
        for position, array in flip.constants.items():
            inputs += [None] * (position + 1 - len(inputs))
            inputs[position] = add_constant(self._model.graph, array.copy(), self._names.fresh(f"{_stem(node)}_const"))
        attributes = {**node.attributes, **{name: attribute(name, value) for name, value in flip.attributes.items()}}
        made = ir.Node(
            node.domain, node.op_type, inputs, list(attributes.values()), num_outputs=len(node.outputs),
            doc_string=node.doc_string, metadata_props=dict(node.metadata_props),
        )  # fmt: skip
        self._insert(made, node)
        self._made[node] = made
        for old, new in zip(node.outputs, made.outputs, strict=True):
            self._describe(new, old, side, 1 - side)
            self._forms[old, 1 - side] = new

    def _made_on(self, tensor: ir.Value) -> int:
        """The side on which a tensor is made now."""
        side = self._region.places[tensor][1]
        return 1 - side if tensor.producer() in self._region.flipped else side

    def _form(self, tensor: ir.Value, side: int, at: ir.Node) -> ir.Value:
        """A tensor as it is on one side."""
        if (tensor, side) not in self._forms:
            self._forms[tensor, side] = self._make_form(tensor, side, at)
        form = self._forms[tensor, side]
        while form in self._replaced:
            form = self._replaced[form]
        return form

    def _make_form(self, tensor: ir.Value, side: int, at: ir.Node) -> ir.Value:
        made_on, before = self._made_on(tensor), self._region.places[tensor][1]
        if side == made_on:
            return tensor
        maker = tensor.producer()
        if maker not in self._region.flipped:
            existing = (u for u in readers(tensor) if u in self._region.moves)
            found = next((u.outputs[0] for u in existing if self._region.places[u.outputs[0]] == (tensor, side)), None)
            if found is not None:
                return found
        layout = self._region.layouts[before]
        if self._region.is_move(maker):
            assert maker is not None
            source, there = self._source(maker, before)
            step = layout.between(maker, source_there=there, result_there=True)
        else:
            source, step = self._form(tensor, made_on, at), layout.convert(tensor, there=side != before)
        if step is None:
            return source
        new = self._step(step, source, at)
        self._describe(new, tensor, before, side)
        return new

    def _source(self, move: ir.Node, side: int) -> tuple[ir.Value, bool]:
        """What a move reads as it is made now, and whether that is not on the side of the layout that describes it."""
        source = move.inputs[0]
        assert source is not None
        place = self._region.places.get(source)
        if place is None or place[0].producer() not in self._region.flipped or place[1] != side:
            return source, False
        made_on = self._made_on(place[0])
        return self._form(place[0], made_on, move), made_on != side

    def _serve(self, tensor: ir.Value) -> None:
        """Give what still reads a form, and does not flip, what it needs."""
        made_on = self._made_on(tensor)
        for value in self._region.tensors[tensor]:
            side = self._region.places[value][1]
            users = list(dict.fromkeys(readers(value)))
            kept = value is tensor and made_on == side
            stays = value.is_graph_output()
            for user in users:
                if user in self._region.nodes:
                    stays = stays or user not in self._region.flipped or not self._reads_only_there(user, value)
                elif not self._region.is_move(user):
                    stays = True
                elif user not in self._region.moves and not kept:
                    self._reroute(user, tensor, side, made_on)
            if stays and not kept:
                form = self._form(tensor, side, self._place_for(tensor, users))
                if form is not value:
                    self._redirect(value, form)

    def _place_for(self, tensor: ir.Value, users: list[ir.Node]) -> ir.Node:
        made = self._forms.get((tensor, self._made_on(tensor)), tensor).producer()
        if made is not None and made.graph is self._region.graph:
            return made
        return users[0]

    def _reads_only_there(self, user: ir.Node, value: ir.Value) -> bool:
        inputs = self._region.flipped[user].inputs
        return all(p in inputs for p, v in enumerate(user.inputs) if v is value)

    def _reroute(self, move: ir.Node, tensor: ir.Value, side: int, made_on: int) -> None:
        """Let a move that is none of the region's read the form in which the tensor is made."""
        form = self._form(tensor, made_on, move)
        step = self._region.layouts[side].between(move, source_there=made_on != side, result_there=False)
        result = move.outputs[0]
        new = form if step is None else self._step(step, form, move)
        if step is not None:
            self._describe(new, result, 0, 0)
        self._redirect(result, new)
        drop(move)

    def _redirect(self, old: ir.Value, new: ir.Value) -> None:
        if not redirect(old, new):
            producer = old.producer()
            assert producer is not None
            new = self._step(Step("Identity"), new, producer)
            redirect(old, new)
        self._replaced[old] = new

    def _step(self, step: Step, source: ir.Value, at: ir.Node) -> ir.Value:
        inputs: list[ir.Value | None] = [source]
        if step.array is not None:
            inputs.append(add_constant(self._model.graph, step.array, self._names.fresh(f"{_stem(at)}_shape")))
        node = ir.Node("", step.op_type, inputs, [attribute(name, value) for name, value in step.attributes.items()])
        self._insert(node, at)
        return node.outputs[0]

    def _insert(self, node: ir.Node, at: ir.Node) -> None:
        """Put a node into the graph, in no order, and say which node it stands for."""
        assert at.graph is not None
        node.name = self._names.fresh(f"{_stem(at)}_{node.op_type}")
        for value in node.outputs:
            value.name = self._names.fresh(f"{node.name}_out")
        mark([node], self._made_by, [at])
        at.graph.insert_before(at, node)

    def _describe(self, new: ir.Value, old: ir.Value, before: int, after: int) -> None:
        new.type = old.type
        shape = shape_of(old) if before == after else self._region.layouts[before].shape_there(old)
        if shape is not None:
            set_shape(new, shape)


def _stem(node: ir.Node) -> str:
    return node.name or node.op_type


def drop(node: ir.Node) -> None:
    """Take away a node that nothing reads, and then what was for it alone."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node.graph is None or any(is_read(v) or v.is_graph_output() for v in node.outputs) or any(bodies(node)):
            continue
        reads = dict.fromkeys(v for v in node.inputs if v is not None)
        node.graph.remove(node, safe=True)
        for value in reads:
            producer = value.producer()
            if producer is not None:
                waiting.append(producer)
            drop_constant(value)


def drop_constant(value: ir.Value) -> None:
    """Forget an initializer that nothing reads any more."""
    if constant(value) is None or is_read(value) or value.is_graph_output() or not value.is_initializer():
        return
    if value.graph is not None:
        value.graph.initializers.pop(value.name)  # type: ignore[arg-type]
