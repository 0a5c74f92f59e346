"""Shapes of what a Loop or a Scan carries from turn to turn, proven by induction.

    s[1, 64] ─ Loop( v ─ Gemm ─ Tanh ─ w ) ─ y      v, w and y are [1, 64], since the body makes [1, 64] of [1, 64]

In the first turn the body reads the initial values. If it makes the same shapes again of their shapes, every turn
does, and so do no turns at all. A size that does not come back is dropped from the assumption, and the body is asked
again with what is left, until all of that comes back; what was learnt under an assumption that failed is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from graphopt.ir.content import content, input_of
from graphopt.ir.edit import bodies, nodes_of, opset, shape_of
from graphopt.ir.learn import learn_shape
from graphopt.ir.symbolic import Dim, is_made_up

Walk = Callable[[ir.Graph, set[ir.Value]], int]
"""Infers a graph in which more became known of some values; returns how many shapes are known better than before."""

_Dims = list[int | str | None]
_ASKED = "graphopt.carried"
_SCAN_WITHOUT_BATCH = 9


@dataclass(frozen=True)
class _Carried:
    """One carried value: what it is at first, in the body, at the body's end, and behind the loop."""

    initial: ir.Value
    inner: ir.Value
    end: ir.Value
    result: ir.Value


def learn_carried(node: ir.Node, better: set[ir.Value], walk: Walk) -> int:
    """Learn the shapes inside and behind a Loop or a Scan that follow from those of its initial values.

    Args:
        node: any node; nothing is done with other operators.
        better: receives the outputs of the node of which more is known.
        walk: infers the body.

    Returns:
        How many shapes are known better than before.
    """
    if node.domain or node.op_type not in ("Loop", "Scan"):
        return 0
    body = next(bodies(node), None)
    carried = [] if body is None else _carried(node, body)
    if body is None or _same(_known(node, body), node.meta.get(_ASKED)):
        return 0
    learnt = 0
    assumed = [_dims(one.initial) for one in carried]
    while any(dims is not None for dims in assumed):
        before = _state(body)
        changed = {
            one.inner
            for one, dims in zip(carried, assumed, strict=True)
            if dims is not None and learn_shape(one.inner, dims, derived=True)
        }
        found = len(changed) + walk(body, set(changed))
        held = [_common(dims, _dims(one.end)) for dims, one in zip(assumed, carried, strict=True)]
        if held == assumed:
            learnt = found + _behind([(one.result, dims) for one, dims in zip(carried, held, strict=True)], better)
            break
        _restore(before)
        assumed = held
    if node.op_type == "Loop":
        learnt += _behind(_collected(node, body, len(carried)), better)
    node.meta[_ASKED] = _known(node, body)
    return learnt


def _carried(node: ir.Node, body: ir.Graph) -> list[_Carried]:
    """The carried values; none where the node is not as its operator has to be."""
    if node.op_type == "Loop":
        initial, inner, ends = node.inputs[2:], body.inputs[2:], body.outputs[1:]
    else:
        count = node.attributes.get("num_scan_inputs")
        if count is None or count.is_ref() or opset(node) < _SCAN_WITHOUT_BATCH:
            return []
        states = len(node.inputs) - count.as_int()
        initial, inner, ends = node.inputs[:states], body.inputs[:states], body.outputs
    if len(inner) != len(initial) or min(len(ends), len(node.outputs)) < len(initial):
        return []
    quads = zip(initial, inner, ends, node.outputs, strict=False)
    return [_Carried(start, inside, end, result) for start, inside, end, result in quads if start is not None]


def _dims(value: ir.Value) -> _Dims | None:
    shape = shape_of(value)
    return None if shape is None else [d if isinstance(d, int) else d.value for d in shape]


def _common(assumed: _Dims | None, made: _Dims | None) -> _Dims | None:
    """What is left of an assumption."""
    if assumed is None or made is None or len(assumed) != len(made):
        return None
    return [a if a == b else None for a, b in zip(assumed, made, strict=True)]


def _behind(found: list[tuple[ir.Value, _Dims | None]], better: set[ir.Value]) -> int:
    learnt = {value for value, dims in found if dims is not None and learn_shape(value, dims, derived=True)}
    better.update(learnt)
    return len(learnt)


def _collected(node: ir.Node, body: ir.Graph, count: int) -> list[tuple[ir.Value, _Dims | None]]:
    """What a Loop collects: a result of every turn, where it is known how many turns there are."""
    turns = _turns(node, body)
    if turns is None:
        return []
    found: list[tuple[ir.Value, _Dims | None]] = []
    for value, end in zip(node.outputs[count:], body.outputs[1 + count :], strict=False):
        dims = _dims(end)
        # What inference called a size inside the body is another size in every turn.
        sizes = [] if dims is None else [None if isinstance(d, str) and is_made_up(d) else d for d in dims]
        found.append((value, None if dims is None else [turns, *sizes]))
    return found


def _turns(node: ir.Node, body: ir.Graph) -> int | str | None:
    """How often the body of a Loop runs, None where that depends on more than shapes."""
    limit, goes_on = content(node.inputs[0]), input_of(node, 1)
    number = limit[0] if isinstance(limit, tuple) and len(limit) == 1 else limit
    end = body.outputs[0]
    maker = end.producer()
    handed_on = maker.inputs[0] if maker is not None and maker.op_type == "Identity" and not maker.domain else end
    endless = (goes_on is None or _is_true(goes_on)) and (handed_on is body.inputs[1] or _is_true(end))
    if not isinstance(number, Dim) or not endless or not number.not_negative or number.number == 0:
        return None
    return number.number if number.number is not None else str(number)


def _is_true(value: ir.Value) -> bool:
    held = content(value)
    return held in (Dim.of(1), (Dim.of(1),))


def _known(node: ir.Node, body: ir.Graph) -> list[ir.Shape | None]:
    """What the answer depends on."""
    read = [value for inside in nodes_of(body) for value in inside.inputs]
    return [shape_of(value) for value in (*node.inputs, *body.inputs, *read, *body.outputs)]


def _same(now: list[ir.Shape | None], before: list[ir.Shape | None] | None) -> bool:
    return before is not None and len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))


def _state(body: ir.Graph) -> list[tuple[ir.Value, ir.TypeProtocol | None, ir.Shape | None, dict[str, object]]]:
    """All that inference could write of the values in a body."""
    values = [*body.inputs]
    for node in nodes_of(body):
        values += [*node.outputs, *(value for inner in bodies(node) for value in inner.inputs)]
    return [(value, value.type, value.shape, dict(value.meta.data)) for value in values]


def _restore(state: list[tuple[ir.Value, ir.TypeProtocol | None, ir.Shape | None, dict[str, object]]]) -> None:
    for value, type_, shape, meta in state:
        value.type, value.shape = type_, shape
        value.meta.data.clear()
        value.meta.data.update(meta)
