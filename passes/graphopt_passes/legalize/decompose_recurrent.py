"""Say an LSTM, GRU or RNN by simpler ones: batch second, one direction.

    x ─ LSTM <layout 1> ─ y             becomes      x ─ Transpose ─ LSTM <layout 0> ─ Transpose ─ y

    x ─ LSTM <bidirectional> ─ y        becomes      x ─┬─ LSTM <forward> ─┐
                                                        └─ LSTM <reverse> ─┴─ Concat ─ y

Fidelity: rounding (a layer of another form may be computed in another order).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt.rewrite.rule import Builder
from graphopt_passes.legalize.recurrent import (
    activations,
    given,
    numbers_known,
    read_or,
    rule_for_each,
    spelled,
    text,
    wanted,
)
from graphopt_passes.legalize.recurrent_example import example
from graphopt_passes.splits import split_evenly

_LAYOUT_SINCE = 14
_LENGTHS = 4
_ORDERS = ([2, 0, 1, 3], [1, 0, 2], [1, 0, 2])
"""What leads from layout 0 to layout 1, for Y, Y_h and Y_c."""


def _batch_second(op: Builder, m: Any) -> list[ir.Value]:
    node = m.root
    inputs = list(node.inputs)
    for index, name in enumerate(given(node)):
        if name in ("x", "h", "c") and index < len(inputs) and inputs[index] is not None:
            inputs[index] = op.Transpose(inputs[index], perm=[1, 0, 2])
    made = op.op(node.op_type, *inputs, like=node, outputs=len(node.outputs), layout=None)
    values = [made] if len(node.outputs) == 1 else made
    turned = [
        op.Transpose(one, perm=order) if wanted(old) else None
        for one, old, order in zip(values, node.outputs, _ORDERS, strict=False)
    ]
    return read_or(inputs[0], turned)


def _one_by_one(op: Builder, m: Any) -> list[ir.Value]:
    node = m.root
    inputs = list(node.inputs)
    halves = [
        [one] * 2 if one is None or index in (0, _LENGTHS) else _halved(op, one) for index, one in enumerate(inputs)
    ]
    chosen = activations(node)
    middle = len(chosen) // 2
    kept = {name: attribute(node, name) for name in node.attributes}
    both = []
    for side, way, words in ((0, "forward", chosen[:middle]), (1, "reverse", chosen[middle:])):
        options = {**kept, **spelled(words), "direction": way}
        made = op.op(node.op_type, *[half[side] for half in halves], outputs=len(node.outputs), **options)
        both.append([made] if len(node.outputs) == 1 else made)
    joined = [
        op.Concat(*pair, axis=1 if index == 0 else 0) if wanted(node.outputs[index]) else None
        for index, pair in enumerate(zip(*both, strict=True))
    ]
    return read_or(node.inputs[0], joined)


def _halved(op: Builder, value: ir.Value) -> list[ir.Value | np.ndarray]:
    tensor = constant(value)
    if tensor is None:
        return list(split_evenly(op, value, 2, axis=0))
    array = tensor.numpy()
    return [np.ascontiguousarray(array[:1]), np.ascontiguousarray(array[1:])]


def _is_batch_first(m: Any) -> bool:
    return bool(attribute(m.root, "layout"))


def _has_two(m: Any) -> bool:
    node = m.root
    return text(node, "direction") == "bidirectional" and not attribute(node, "layout") and numbers_known(node)


def _batch_first_example(g: Any, kind: str, outputs: int) -> None:
    g.since(_LAYOUT_SINCE)
    batch, width, hidden = (g.integer(1, 3) for _ in range(3))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * hidden
    # onnxruntime has no layer with the batch first, and onnx.reference is right about GRU and RNN with one step alone
    x = g.Tanh(g.input([batch, 1, width], static=True, finite=True))
    weights = [g.constant(g.normal(1, gates, size)) for size in (width, hidden)]
    made = g.op(kind, x, *weights, outputs=outputs, hidden_size=hidden, layout=1)
    for one in [made] if outputs == 1 else made[:1]:
        g.output(one)


def _rules(
    name: str, holds: Callable[[Any], bool], reason: str, replace: Any, sketched: Callable[..., None]
) -> Iterator[Rule]:
    for rule, kind, outputs in rule_for_each(name):
        rule.require(reason)(holds)
        rule.replace(replace)
        rule.example(functools.partial(sketched, kind=kind, outputs=outputs))
        yield rule


class DecomposeRecurrent(Substitution):
    """Lead LSTM, GRU and RNN to one direction and the batch second."""

    name = "decompose-recurrent"
    rules = (
        *_rules("batch-second", _is_batch_first, "its batch comes first", _batch_second, _batch_first_example),
        *_rules(
            "one-by-one", _has_two, "it has two directions and the batch second, and its activations are known",
            _one_by_one, functools.partial(example, directions=2),
        ),
    )  # fmt: skip
