"""Write out the steps of an LSTM, GRU or RNN of known length, for backends that lack it.

    x[T,N,I] ─ LSTM(W, R, B) ─ Y      becomes      x ─ MatMul(Wᵀ) ─ Add(b) ─ Split ─┬─ z₀ ─────── cell ─ h₀
                                                                                    ├─ z₁ + h₀Rᵀ ─ cell ─ h₁
                                                                                    └─ z₂ + h₁Rᵀ ─ cell ─ h₂ …

The inputs of all steps are multiplied at once, and all steps share their weights. Forward and reverse, with every
activation, clip, input_forget, peepholes, linear_before_reset, sequence_lens and first states, of layout 0;
`decompose-recurrent` leads there from two directions and layout 1. Equations: ONNX operators LSTM, GRU and RNN, and
onnxruntime for what they leave open (`clip` bounds what the gates read, not the cell). Fidelity: rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt.rewrite.rule import Builder
from graphopt_passes.legalize.cells import Cell, State, cell_of
from graphopt_passes.legalize.recurrent import given, numbers_known, read_or, rule_for_each, text, wanted
from graphopt_passes.legalize.recurrent_example import example
from graphopt_passes.parts import reshape, unsqueeze
from graphopt_passes.scalars import is_float
from graphopt_passes.splits import joined, split_evenly

_MOST_STEPS = 512
"""Steps beyond which the vendors' compilers take minutes: each is a dozen nodes."""
_WHERE_SINCE = 9
Mask = bool | np.ndarray | ir.Value


def _may_unroll(m: Any) -> bool | str:
    node = m.root
    x, dims = given(node)["x"], dims_of(given(node)["x"])
    if dims is None or len(dims) != 3:
        return "the shape of its input is not known"
    if attribute(node, "layout") or text(node, "direction") == "bidirectional":
        return "it has two directions, or the batch comes first"
    steps = dims[0].number
    if steps is None or steps < 1:
        return "the number of its steps is not known: fix it by --dim"
    if steps > _MOST_STEPS:
        return f"it takes {steps} steps, and up to {_MOST_STEPS} are written out"
    if dims[2].number is None or static_shape(given(node)["r"]) is None or x is None or not is_float(x):
        return "the sizes of its weights are not known"
    return numbers_known(node)


def _unroll(op: Builder, m: Any, *, half: bool) -> list[ir.Value]:
    node, inputs = m.root, given(m.root)
    cell = cell_of(op, node, half=half)
    dims = dims_of(inputs["x"])
    assert dims is not None
    assert inputs["x"] is not None
    steps, width = dims[0].number, dims[2].number
    assert steps is not None
    assert width is not None
    rows = cell.project(reshape(op, inputs["x"], [-1, width]))
    taken = split_evenly(op, rows, steps, axis=0)
    state = State(*(None if one is None else reshape(op, one, [-1, cell.hidden]) for one in (inputs["h"], inputs["c"])))
    order = range(steps)[::-1] if text(node, "direction") == "reverse" else range(steps)
    seen: dict[int, ir.Value | None] = {}
    for step, mask in zip(order, _masks(op, inputs["lengths"], order), strict=True):
        after = state if mask is False else _one_step(op, cell, taken[step], state, mask)
        seen[step] = None if mask is False else after.shown
        state = State(after.h, after.c)
    if all(shown is None for shown in seen.values()):
        raise op.decline("all its sequences are empty")
    return _answers(op, node, cell, [seen[step] for step in range(steps)], state)


def _one_step(op: Builder, cell: Cell, z: ir.Value, state: State, mask: Mask) -> State:
    """The state after a step; where a sequence has ended it stays, and zero is shown."""
    after = cell.step(z, state)
    if mask is True:
        return State(after.h, after.c, after.h)
    if op.opset < _WHERE_SINCE:
        raise op.decline(f"its sequences differ in length, and Where is of opset {_WHERE_SINCE}: convert-opset")
    zero = cell.number(0.0)
    assert after.h is not None

    def chosen(new: ir.Value | None, old: ir.Value | None) -> ir.Value | None:
        return None if new is None else op.Where(mask, new, zero if old is None else old)

    shown = op.Where(mask, after.h, zero)
    return State(shown if state.h is None else chosen(after.h, state.h), chosen(after.c, state.c), shown)


def _masks(op: Builder, lengths: ir.Value | None, order: range) -> Iterator[Mask]:
    """For each step, whether sequences still go on: all of them, none, or of shape [N, 1] where they differ."""
    known = constant(lengths)
    column = None if lengths is None or known is not None else unsqueeze(op, lengths, [1])
    for step in order:
        if lengths is None:
            yield True
        elif known is not None:
            live = known.numpy() > step
            yield live[:, None] if live.any() and not live.all() else bool(live.all())
        else:
            assert lengths.dtype is not None
            yield op.Greater(column, np.array(step, lengths.dtype.numpy()))


def _answers(op: Builder, node: ir.Node, cell: Cell, seen: list[ir.Value | None], state: State) -> list[ir.Value]:
    """The outputs Y of [T, 1, N, H], Y_h and Y_c of [1, N, H]."""
    found: list[ir.Value | None] = [None] * len(node.outputs)
    if wanted(node.outputs[0]):
        last = next(one for one in seen if one is not None)
        if any(one is None for one in seen):
            nothing = op.Mul(last, cell.number(0.0))
            seen = [nothing if one is None else one for one in seen]
        rows = joined(op, [one for one in seen if one is not None], axis=0)
        found[0] = reshape(op, rows, [len(seen), 1, -1, cell.hidden])
    for index, final in enumerate((state.h, state.c), start=1):
        if index < len(node.outputs) and wanted(node.outputs[index]):
            assert final is not None
            found[index] = reshape(op, final, [1, -1, cell.hidden])
    return read_or(given(node)["x"], found)


def unrolling(name: str, *, half: bool) -> Iterator[Rule]:
    """Rules that write out the steps, in the plain form or in that for fp16; see `cells`."""
    for rule, kind, outputs in rule_for_each(name):
        rule.require("its length is known, and not too large")(_may_unroll)
        rule.replace(functools.partial(_unroll, half=half))
        rule.example(functools.partial(example, kind=kind, outputs=outputs))
        yield rule


class UnrollRecurrent(Substitution):
    """Write out the steps of LSTM, GRU and RNN."""

    name = "unroll-recurrent"
    rules = tuple(unrolling("unroll", half=False))
