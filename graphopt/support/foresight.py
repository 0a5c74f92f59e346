"""A model as a toolchain sees it: with or without what can be computed before any input is given.

Exporters write sizes as computations: Shape, Gather, Concat, Reshape. A vendor that computes what depends on constants
and static shapes alone never sees those nodes, and reads their results as constants; another only learns from them
which shapes tensors have; a third learns nothing. A table says which kind its toolchain is (`Reads.foresight`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, bodies, constant, set_shape, shape_of, static_shape
from graphopt.ir.evaluate import Budget, evaluate, foldable, given
from graphopt.ir.infer import infer_shapes

if TYPE_CHECKING:
    from graphopt.support.table import Foresight

_NUMBERS: Final = frozenset(
    ir.DataType[name]
    for name in (
        *("BOOL", "FLOAT", "DOUBLE", "FLOAT16", "STRING"),
        *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    )
)
"""Dtypes whose values onnxruntime hands out; the others are left as they are."""
_BUDGET: Final = Budget(growth=1 << 28, value=1 << 24)
_ROUNDS: Final = 8
_ASKED: Final = frozenset({"Size"})
"""Operators that no front end works out from shapes, though it could: what its table says of them holds."""


@dataclass(frozen=True)
class View:
    """A model as a toolchain sees it.

    Attributes:
        model: has the same nodes in the same order as every other view.
        ahead: those of them that are computed before the toolchain looks at the rest.
    """

    model: ir.Model
    ahead: frozenset[ir.Node] = frozenset()


class Views:
    """The views of one model, each made when it is first asked for.

    Args:
        model: shapes and dtypes inferred as far as they can be; it is not changed. Functions are inlined.
    """

    def __init__(self, model: ir.Model) -> None:
        self._plain = _inlined(model)

    def view(self, foresight: Foresight) -> View:
        """The model as a toolchain of this kind sees it."""
        if foresight == "none":
            return self._as_it_is
        return self._sized if foresight == "sizes" else self._folded

    @functools.cached_property
    def _as_it_is(self) -> View:
        return View(self._plain)

    @functools.cached_property
    def _folded(self) -> View:
        if not any(foldable(graph, _BUDGET, skip=_ASKED) for graph in _graphs(self._plain.graph)):
            return View(self._plain, frozenset(_unread(self._plain.graph)))
        model = self._plain.clone()
        for _ in range(_ROUNDS):
            if not sum(_fold(graph, model) for graph in _graphs(model.graph)) or _static(model):
                break
            infer_shapes(model)
        return View(model, frozenset(_unread(model.graph)))

    @functools.cached_property
    def _sized(self) -> View:
        if self._folded.model is self._plain:
            return self._as_it_is
        model = self._plain.clone()
        for mine, known in zip(_nodes(model.graph), _nodes(self._folded.model.graph), strict=True):
            for value, better in zip(mine.outputs, known.outputs, strict=True):
                shape = shape_of(better)
                if shape is not None:
                    set_shape(value, shape)
                value.type = value.type or better.type
        return View(model)


def _inlined(model: ir.Model) -> ir.Model:
    if not model.functions:
        return model
    from onnx_ir.passes.common import InlinePass

    try:
        inlined = InlinePass()(model.clone()).model
    except ValueError:
        return model  # a function follows other versions of operators than the model: it is judged as a call
    infer_shapes(inlined)  # a function's body has no shapes until it stands where it is called
    return inlined


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    yield graph
    for node in graph:
        for body in bodies(node):
            yield from _graphs(body)


def _nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    for one in _graphs(graph):
        yield from one


def _static(model: ir.Model) -> bool:
    """Whether all is known that a further inference could tell."""
    made = (value for node in _nodes(model.graph) for value in node.outputs if value.name)
    return all(value.dtype is not None and static_shape(value) is not None for value in made)


def _fold(graph: ir.Graph, model: ir.Model) -> int:
    """Let readers of what can be computed read a constant; the nodes that made it stay, unread."""
    wanted = [
        value for value in _with_what_makes(foldable(graph, _BUDGET, skip=_ASKED), graph) if value.dtype in _NUMBERS
    ]
    found = evaluate(wanted, model.graph.opset_imports).arrays if wanted else {}
    names = Names(model) if found else None
    for value, content in found.items():
        assert names is not None
        known = add_constant(model.graph, content, names.fresh(f"{value.name}_folded"))
        value.replace_all_uses_with(known)
    return len(found) + sum(_choose(node) for node in graph if node.op_type == "If")


def _with_what_makes(ends: list[ir.Value], graph: ir.Graph) -> list[ir.Value]:
    """The values that can be computed, and those that they are computed from, so that each node reads constants."""
    needed = {value for value in ends if value.uses()}
    for node in reversed(list(graph)) if needed else ():
        if needed.isdisjoint(node.outputs):
            continue
        # a node that only asks for a shape is computed without its input
        asks = given(node.outputs[0]) is not None
        needed.update(
            value
            for value in node.inputs
            if value is not None
            and value.producer() is not None
            and constant(value) is None
            and (not asks or given(value) is not None)
        )
    return [value for node in graph for value in node.outputs if value in needed and value.uses()]


def _taken(node: ir.Node) -> ir.Graph | None:
    """The branch of an If whose condition is known, which a toolchain that computes ahead puts in its place."""
    condition = constant(node.inputs[0])
    if condition is None:
        return None
    return node.attributes["then_branch" if condition.numpy().reshape(-1)[0] else "else_branch"].as_graph()


def _choose(node: ir.Node) -> bool:
    """Let the outputs of an If have the shapes of the branch that is taken; whether that is news."""
    branch, news = _taken(node), False
    for outer, inner in zip(node.outputs, branch.outputs, strict=True) if branch is not None else ():
        shape = shape_of(inner)
        if shape is not None and shape_of(outer) != shape:
            news = True
            set_shape(outer, shape)
            outer.shape = shape
        outer.type = outer.type or inner.type
    return news


def _unread(graph: ir.Graph) -> set[ir.Node]:
    """Nodes that no output of the graph depends on, and branches that are never taken, with all that is in them.

    An If whose condition is known is gone as well: the branch that is taken stands in its place.
    """
    dead: set[ir.Node] = set()
    for node in reversed(list(graph)):
        taken = _taken(node) if node.op_type == "If" else None
        unread = all(
            not value.is_graph_output() and all(use.node in dead for use in value.uses()) for value in node.outputs
        )
        if unread or taken is not None:
            dead.add(node)
        for body in bodies(node):
            dead.update(_nodes(body) if unread or (taken is not None and body is not taken) else _unread(body))
    return dead
