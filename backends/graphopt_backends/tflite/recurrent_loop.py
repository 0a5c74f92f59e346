"""A recurrent layer as a WHILE: any cell, any number of steps, and a file that does not grow with them.

What a step adds for the input is computed for all steps at once before the loop. A step then takes one row of that,
multiplies the state, and writes its row of the result. LiteRT copies what a loop carries at each turn, so a turn takes
several steps where that is much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt_backends.tflite.flatbuffer import Graph
from graphopt_backends.tflite.recurrent import KNOWN, Direction
from graphopt_backends.tflite.writer import Writer

_MUCH, _STEPS = 2 << 20, 16
"""Bytes that a loop carries from which on a turn takes several steps, and how many.

Measured for GRUs on one core: 2,000 steps of 128 units take 670 ms one at a time and 155 ms by 16; but 100 steps of
256 units take 4 ms one at a time and 13 ms by 16, as each copy of the weights is fetched anew.
"""


def layer(w: Writer, way: Direction, x: int, states: list[int], lengths: int | None) -> tuple[int, list[int]]:
    """Write one direction of a layer.

    Args:
        w: where to write.
        way: the direction.
        x: of shape [steps, batch, inputs].
        states: what it starts from, each of shape [batch, H]: h, and c of an LSTM.
        lengths: of shape [batch] and int32, how many steps of each sequence count; None for all.

    Returns:
        All h, of shape [steps, batch, H], zero behind the end of a sequence, and the last states.
    """
    steps, batch, _ = w.shape_of(x)
    rows = way.weights.shape[0]
    flat = [x, w.array(way.weights), w.array(_ahead(way))]
    terms = w.op("FULLY_CONNECTED", flat, (steps, batch, rows), "FullyConnectedOptions", keepNumDims=True)
    made = w.array(np.zeros((steps, batch, way.size), np.float32))
    limit = [] if lengths is None else [w.reshape(lengths, (batch, 1))]
    each = _STEPS if 4 * steps * batch * (rows + way.size) > _MUCH else 1
    turns, rest = divmod(steps, each)
    carried = [w.indices(0), terms, made, *states, *limit]
    if turns > 1:
        graphs = {
            "condSubgraphIndex": _condition(w, carried, turns * each),
            "bodySubgraphIndex": _body(w, way, carried, len(states), each),
        }
        results = [w.flat.tensor(w.shape_of(tensor), w.dtype_of(tensor)) for tensor in carried]
        carried = w.emit("WHILE", carried, results, "WhileOptions", graphs=graphs)
    else:
        rest = steps
    for _ in range(rest):
        carried = _step(w, way, carried, len(states))
    return carried[2], carried[3 : 3 + len(states)]


def _ahead(way: Direction) -> np.ndarray:
    """The bias that can be added before the loop; that of a late reset gate is multiplied first."""
    bias = way.bias.sum(0)
    if way.kind == "GRU" and way.late_reset:
        bias[way.gate("h")] = way.bias[0][way.gate("h")]
    return np.asarray(bias, np.float32)


def _inner(w: Writer, carried: Sequence[int], name: str) -> Writer:
    inner = Writer(Graph(name))
    inner.origin = w.origin
    inner.flat.inputs = [inner.flat.tensor(w.shape_of(tensor), w.dtype_of(tensor)) for tensor in carried]
    return inner


def _condition(w: Writer, carried: Sequence[int], steps: int) -> Graph:
    inner = _inner(w, carried, "condition")
    step = inner.flat.inputs[0]
    inner.flat.outputs = [inner.binary("LESS", step, inner.indices(steps), dtype="bool")]
    return inner.flat


def _body(w: Writer, way: Direction, carried: Sequence[int], states: int, each: int) -> Graph:
    inner = _inner(w, carried, "steps")
    now = list(inner.flat.inputs)
    for _ in range(each):
        now = _step(inner, way, now, states)
    inner.flat.outputs = now
    return inner.flat


def _step(w: Writer, way: Direction, carried: Sequence[int], count: int) -> list[int]:
    step, terms, made, *others = carried
    states, limit = others[:count], others[count:]
    _, batch, rows = w.shape_of(terms)
    term = w.op("GATHER", [terms, step], (batch, rows), "GatherOptions", axis=0)
    after = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[way.kind](w, way, term, states)
    row = after[0]
    if limit:
        runs = w.binary("LESS", step, limit[0], dtype="bool")
        after = [w.elementwise("SELECT_V2", [runs, new, old]) for new, old in zip(after, states, strict=True)]
        row = w.elementwise("SELECT_V2", [runs, row, w.scalar(0.0, row)])
    place = w.op("PACK", [step, w.indices(0), w.indices(0)], (3,), "PackOptions", valuesCount=3)
    update = w.copy(row, (1, *w.shape_of(row)))
    made = w.op("DYNAMIC_UPDATE_SLICE", [made, update, place], w.shape_of(made))
    return [w.binary("ADD", step, w.indices(1)), terms, made, *after, *limit]


def _product(w: Writer, state: int, weights: np.ndarray, bias: np.ndarray | None = None) -> int:
    shift = np.zeros(weights.shape[0], np.float32) if bias is None else bias
    inputs = [state, w.array(np.ascontiguousarray(weights)), w.array(shift)]
    made = (w.shape_of(state)[0], weights.shape[0])
    return w.op("FULLY_CONNECTED", inputs, made, "FullyConnectedOptions")


def _gate(w: Writer, way: Direction, gates: int, name: str) -> int:
    rows = way.gate(name)
    made = (w.shape_of(gates)[0], way.size)
    return w.op("SLICE", [gates, w.indices([0, rows.start]), w.indices(made)], made, "SliceOptions")


def _activate(w: Writer, way: Direction, x: int, position: int) -> int:
    if way.clip:
        x = w.binary("MINIMUM", w.binary("MAXIMUM", x, w.scalar(-way.clip, x)), w.scalar(way.clip, x))
    return w.unary(KNOWN[way.activations[position]], x)


def _rnn(w: Writer, way: Direction, term: int, states: Sequence[int]) -> list[int]:
    """h = f(Wx + b + Rh)."""
    return [_activate(w, way, w.binary("ADD", term, _product(w, states[0], way.recurrent)), 0)]


def _gru(w: Writer, way: Direction, term: int, states: Sequence[int]) -> list[int]:
    """h = (1 - z)·g + z·h, with g from r·h or, for a late reset, from r·(Rh + b)."""
    (h,), inner = states, way.gate("h")
    parts = {name: _gate(w, way, term, name) for name in "zrh"}
    if way.late_reset:
        bias = np.zeros(way.recurrent.shape[0], np.float32)
        bias[inner] = way.bias[1][inner]
        product = _product(w, h, way.recurrent, bias)
        turned = {name: _gate(w, way, product, name) for name in "zrh"}
    else:
        product = _product(w, h, way.recurrent[: inner.start])
        turned = {name: _gate(w, way, product, name) for name in "zr"}
    update, reset = (_activate(w, way, w.binary("ADD", parts[name], turned[name]), 0) for name in "zr")
    if way.late_reset:
        addend = w.binary("MUL", reset, turned["h"])
    else:
        addend = _product(w, w.binary("MUL", reset, h), way.recurrent[inner])
    fresh = _activate(w, way, w.binary("ADD", parts["h"], addend), 1)
    return [w.binary("ADD", fresh, w.binary("MUL", update, w.binary("SUB", h, fresh)))]


def _lstm(w: Writer, way: Direction, term: int, states: Sequence[int]) -> list[int]:
    """c = f·c + i·g and h = o·tanh(c), with peepholes from c to the gates."""
    h, c = states
    total = w.binary("ADD", term, _product(w, h, way.recurrent))
    gates = {name: _gate(w, way, total, name) for name in "iofc"}

    def seen(name: str, row: int, cell: int) -> int:
        if way.peepholes is None:
            return gates[name]
        return w.binary("ADD", gates[name], w.binary("MUL", cell, w.array(way.peepholes[row])))

    allow = _activate(w, way, seen("i", 0, c), 0)
    if way.couple:
        keep = w.binary("SUB", w.scalar(1.0, allow), allow)
    else:
        keep = _activate(w, way, seen("f", 2, c), 0)
    fresh = _activate(w, way, gates["c"], 1)
    cell = w.binary("ADD", w.binary("MUL", keep, c), w.binary("MUL", allow, fresh))
    show = _activate(w, way, seen("o", 1, cell), 0)
    # The clip bounds what goes into the gates, and not the cell.
    return [w.binary("MUL", show, w.unary(KNOWN[way.activations[2]], cell)), cell]
