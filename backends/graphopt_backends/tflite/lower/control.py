"""Control flow that is left at run time: If as IF, Loop and Scan as WHILE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.flatbuffer import Graph
from graphopt_backends.tflite.onnx_node import axis_of, integer, integers, operand, required
from graphopt_backends.tflite.registry import Decline, lowering
from graphopt_backends.tflite.subgraph import body_of, captured, enter, fill, leave
from graphopt_backends.tflite.writer import Writer


@lowering("If")
def if_(node: ir.Node, e: Emitter) -> None:
    """IF, whose branches give results of the same shapes."""
    branches = [body_of(node, name) for name in ("then_branch", "else_branch")]
    outer = captured(e, branches)
    tensors = [e.read(value) for value in outer]
    graphs = []
    for name, branch in zip(("then", "else"), branches, strict=True):
        inner = enter(e, name, outer, [e.shape_of(tensor) for tensor in tensors])
        fill(inner, branch)
        inner.flat.outputs = leave(inner, branch.outputs)
        inner.flat.prune()
        graphs.append(inner.flat)
    then, other = ([graph.tensors[tensor] for tensor in graph.outputs] for graph in graphs)
    for output, a, b in zip(node.outputs, then, other, strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise Decline(f"{output.name!r} is {a.dtype}{list(a.shape)} in one branch, {b.dtype}{list(b.shape)} else")
    made = [e.flat.tensor(tensor.shape, tensor.dtype) for tensor in then]
    condition = e.reshape(e.read(required(node, 0)), ())
    fields = {"thenSubgraphIndex": graphs[0], "elseSubgraphIndex": graphs[1]}
    for output, tensor in zip(
        node.outputs, e.emit("IF", [condition, *tensors], made, "IfOptions", graphs=fields), strict=True
    ):
        e.write(output, tensor)


@dataclass
class _Turn:
    """What a turn of a loop works on.

    Attributes:
        e: the emitter of the body.
        step: tensor of the number of the turn, int32 and of rank 0.
        carried: tensors of what goes from turn to turn, as this turn finds it.
        whole: tensors that stay the same.
    """

    e: Emitter
    step: int
    carried: list[int]
    whole: list[int] = field(default_factory=list)


def _while(
    e: Emitter,
    carried: Sequence[int],
    outer: Sequence[ir.Value],
    whole: Sequence[int],
    turn: Callable[[_Turn], list[int]],
    proceed: Callable[[Writer, int, list[int], list[int]], int],
) -> list[int]:
    """Write a WHILE.

    Args:
        e: the emitter of the graph around it.
        carried: tensors that go in first.
        outer: values from around that the body reads.
        whole: tensors that it reads, too.
        turn: writes the body; what is carried on.
        proceed: writes whether there is another turn, from its number, what is carried, and `whole`.

    Returns:
        What is carried at the end.
    """
    fixed = [e.read(value) for value in outer]
    inputs = [e.indices(0), *carried, *whole, *fixed]
    shapes = [e.shape_of(tensor) for tensor in inputs]
    body, test = e.nested(Graph("body")), Writer(Graph("condition"))
    for writer in (body, test):
        writer.origin = e.origin
        writer.flat.inputs = [
            writer.flat.tensor(shape, e.dtype_of(tensor)) for shape, tensor in zip(shapes, inputs, strict=True)
        ]
    split = 1 + len(carried)
    places = body.flat.inputs
    for value, tensor in zip(outer, places[split + len(whole) :], strict=True):
        body.write(value, tensor)
    after = turn(_Turn(body, places[0], places[1:split], places[split : split + len(whole)]))
    for before, now in zip(carried, after, strict=True):
        if (e.shape_of(before), e.dtype_of(before)) != (body.shape_of(now), body.dtype_of(now)):
            shapes_of = f"{list(e.shape_of(before))} becomes {list(body.shape_of(now))}"
            raise Decline(f"what it carries changes its shape from turn to turn: {shapes_of}")
    body.flat.outputs = _distinct(body, [body.binary("ADD", places[0], body.indices(1)), *after, *places[split:]])
    body.flat.prune()
    places = test.flat.inputs
    test.flat.outputs = [proceed(test, places[0], places[1:split], places[split : split + len(whole)])]
    results = [e.flat.tensor(shape, e.dtype_of(tensor)) for shape, tensor in zip(shapes, inputs, strict=True)]
    fields = {"condSubgraphIndex": test.flat, "bodySubgraphIndex": body.flat}
    return e.emit("WHILE", inputs, results, "WhileOptions", graphs=fields)[1:split]


def _distinct(body: Emitter, tensors: Sequence[int]) -> list[int]:
    """`tensors`, where one that comes twice or is a constant is copied; an input may go out again at its own place."""
    found: list[int] = []
    for position, tensor in enumerate(tensors):
        moved = tensor in body.flat.inputs and body.flat.inputs.index(tensor) != position
        copied = moved or tensor in found or body.flat.tensors[tensor].data is not None
        found.append(body.copy(tensor) if copied else tensor)
    return found


def _row(e: Emitter, made: int, row: int, place: int) -> int:
    """`made` with `row` written at index `place` of its first axis."""
    starts = [place] + [e.indices(0)] * (len(e.shape_of(made)) - 1)
    start = e.op("PACK", starts, (len(starts),), "PackOptions", valuesCount=len(starts))
    update = e.copy(row, (1, *e.shape_of(row)))
    return e.op("DYNAMIC_UPDATE_SLICE", [made, update, start], e.shape_of(made))


def _table(e: Emitter, value: ir.Value, length: int) -> int:
    """Zeros for `length` results of the shape of `value`."""
    return e.array(np.zeros((length, *e.shape(value)), e.dtype(value)))


@lowering("Loop")
def loop(node: ir.Node, e: Emitter) -> None:
    """WHILE; results that are collected need a number of turns that is known."""
    body, limit, start = body_of(node, "body"), operand(node, 0), operand(node, 1)
    states = [required(node, index) for index in range(2, len(node.inputs))]
    collected = body.outputs[1 + len(states) :]
    count = None if limit is None else e.constant(limit)
    stops = not _always(start, body, e)
    if collected and (count is None or stops):
        raise Decline("it collects results, and how many turns it takes is not known before it runs")
    tables = [] if count is None else [_table(e, value, int(count.item())) for value in collected]
    first = e.array(np.asarray(True)) if start is None else e.reshape(e.read(start), ())
    whole = [] if limit is None else [e.cast(e.reshape(e.read(limit), ()), "int32")]

    def turn(now: _Turn) -> list[int]:
        b = now.e
        b.write(body.inputs[0], b.reshape(b.cast(now.step, b.dtype(body.inputs[0])), _given(body.inputs[0], ())))
        b.write(body.inputs[1], b.reshape(now.carried[0], _given(body.inputs[1], ())))
        for value, tensor in zip(body.inputs[2:], now.carried[1:], strict=False):
            _enter(b, value, tensor)
        fill(b, body)
        results = [b.read(value) for value in body.outputs]
        old = now.carried[1 + len(states) :]
        rows = [_row(b, table, row, now.step) for table, row in zip(old, results[1 + len(states) :], strict=True)]
        return [b.reshape(results[0], ()), *results[1 : 1 + len(states)], *rows]

    def proceed(w: Writer, step: int, carried: list[int], bound: list[int]) -> int:
        more = w.copy(carried[0]) if not bound else w.binary("LESS", step, bound[0], dtype="bool")
        return w.binary("LOGICAL_AND", more, carried[0]) if bound and stops else more

    carried = [first, *(e.read(value) for value in states), *tables]
    ends = _while(e, carried, captured(e, [body]), whole, turn, proceed)[1:]
    for output, tensor in zip(node.outputs, ends, strict=True):
        e.write(output, tensor)


def _given(value: ir.Value, default: tuple[int, ...]) -> tuple[int, ...]:
    if value.shape is None or not value.shape.is_static():
        return default
    return tuple(int(dim) for dim in value.shape)  # type: ignore[arg-type]


def _enter(b: Emitter, value: ir.Value, tensor: int) -> None:
    """Say that `tensor` holds an input of the body, whose shape the body may not know."""
    if value.shape is None or not value.shape.is_static():
        value.shape = ir.Shape(b.shape_of(tensor))
    b.write(value, tensor)


def _always(start: ir.Value | None, body: ir.Graph, e: Emitter) -> bool:
    """Whether the condition holds at first and in every turn."""
    array = None if start is None else e.constant(start)
    if start is not None and (array is None or not array.all()):
        return False
    condition = body.outputs[0]
    for _ in range(len(body)):
        made = condition.producer()
        if made is None or made.op_type not in ("Identity", "Cast") or made.inputs[0] is None:
            break
        condition = made.inputs[0]
    known = e.constant(condition)
    return condition is body.inputs[1] or (known is not None and bool(known.all()))


@lowering("Scan")
def scan(node: ir.Node, e: Emitter) -> None:
    """WHILE over the elements of the scanned inputs, the same number of each."""
    if e.opset < 9:
        raise Decline("Scan of opset 8, which has a batch; convert the model to opset 9 or later")
    body, inputs = body_of(node, "body"), [required(node, index) for index in range(len(node.inputs))]
    read = integer(node, "num_scan_inputs", 1)
    states, scanned = inputs[: len(inputs) - read], inputs[len(inputs) - read :]
    axes = [
        axis_of(axis, e.rank(value)) for axis, value in zip(_each(node, "scan_input_axes", read), scanned, strict=True)
    ]
    backward, made = _each(node, "scan_input_directions", read), body.outputs[len(states) :]
    length = e.shape(scanned[0])[axes[0]]
    tables = [_table(e, value, length) for value in made]
    outgoing = _each(node, "scan_output_directions", len(made))

    def turn(now: _Turn) -> list[int]:
        b = now.e
        places = [now.step, b.binary("SUB", b.indices(length - 1), now.step)]
        for value, tensor in zip(body.inputs, now.carried[: len(states)], strict=False):
            _enter(b, value, tensor)
        rows = zip(body.inputs[len(states) :], now.whole, axes, backward, strict=True)
        for value, tensor, axis, turned in rows:
            shape = tuple(dim for position, dim in enumerate(b.shape_of(tensor)) if position != axis)
            _enter(b, value, b.op("GATHER", [tensor, places[turned]], shape, "GatherOptions", axis=axis))
        fill(b, body)
        results = [b.read(value) for value in body.outputs]
        old = zip(now.carried[len(states) :], results[len(states) :], outgoing, strict=True)
        return [*results[: len(states)], *(_row(b, table, row, places[turned]) for table, row, turned in old)]

    def proceed(w: Writer, step: int, carried: list[int], whole: list[int]) -> int:
        return w.binary("LESS", step, w.indices(length), dtype="bool")

    whole = [e.read(value) for value in scanned]
    carried = [*(e.read(value) for value in states), *tables]
    ends = _while(e, carried, captured(e, [body]), whole, turn, proceed)
    for output, tensor in zip(node.outputs, ends[: len(states)], strict=False):
        e.write(output, tensor)
    results = zip(
        node.outputs[len(states) :], ends[len(states) :], _each(node, "scan_output_axes", len(made)), strict=True
    )
    for output, tensor, axis in results:
        rank = len(e.shape_of(tensor))
        place = axis_of(axis, rank)
        e.write(output, tensor, (place, *(other for other in range(rank) if other != place)))


def _each(node: ir.Node, name: str, count: int) -> list[int]:
    return integers(node, name) or [0] * count
