"""Write LinearAttention out, step by step or as masked products, for backends that lack it.

    linear         S ← S + kᵀ·v                                  y = scale · q·S
    gated          S ← exp(g)·S + kᵀ·v
    delta          S ← S + β·kᵀ·(v - k·S)
    gated_delta    S ← exp(g)·S + β·kᵀ·(v - k·exp(g)·S)

for each of up to 256 positions, S with [batch, key heads, key width, value width] (ONNX, LinearAttention-27). The first
needs no steps: y = scale · ((q·kᵀ) masked below the diagonal · v + q·S), of any number of positions that is known.
Queries that share a head are rows of one product. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.scaled_dot_product import HEADS_LAST
from graphopt_passes.splits import joined, split_evenly

_SINCE = 27
_MOST_STEPS = 256
_NAMES = ("q", "k", "v", "past", "decay", "beta")
_FLOAT = ir.DataType.FLOAT
_RULES = ("linear", "gated", "delta", "gated_delta")


def _of(m):
    return dict(zip(_NAMES, [*m.inputs, *[None] * (len(_NAMES) - len(m.inputs))], strict=True))


def _update(node):
    given = attribute(node, "update_rule")
    return given.decode() if isinstance(given, bytes) else given or "gated_delta"


@rule("write-out-linear-attention", fidelity="rounding")
def written(p):
    made = p.LinearAttention(p.rest("inputs"), as_="attention")
    return made[0], made[1]


@written.require("what it is made for is known")
def _(m):
    of, node = _of(m), m.attention
    if attribute(node, "state_window"):
        return "it keeps the states of several positions"
    shapes = [static_shape(of[name]) for name in ("q", "k", "v")]
    if any(shape is None or len(shape) != 3 for shape in shapes):
        return "the shapes of queries, keys and values are not known"
    if _update(node) not in _RULES:
        return f"its update rule is {_update(node)}"
    return shapes[0][1] <= _MOST_STEPS or _update(node) == "linear" or f"it has more than {_MOST_STEPS} positions"


@written.replace
def _(op, m):
    of, node = _of(m), m.attention
    dtype = of["q"].dtype
    like = of["past"].dtype if of["past"] is not None else dtype
    wide = {name: value if value is None or value.dtype == _FLOAT else op.Cast(value, to=int(_FLOAT))
            for name, value in of.items()}  # fmt: skip
    heads, groups = attribute(node, "q_num_heads"), attribute(node, "kv_num_heads")
    _, steps, total = static_shape(of["q"])
    width, deep = total // heads, static_shape(of["v"])[2] // groups
    size = (heads, groups, width, deep)
    y, state = (_at_once if _update(node) == "linear" else _by_steps)(op, wide, _update(node), steps, size)
    scale = np.array(attribute(node, "scale") or 1 / math.sqrt(width), np.float32)
    answers = [(op.Mul(y, scale), dtype), (state, like)]
    return tuple(
        value if kind == _FLOAT else op.Cast(value, to=int(kind))
        for value, kind in answers
    )  # fmt: skip


def _shaped(op, value, *shape):
    return op.Reshape(value, np.array([0, *shape], np.int64))


def _at_once(op, of, update, steps, size):
    heads, groups, width, deep = size
    shared = heads // groups
    q = _shaped(op, of["q"], steps, groups, shared * width)
    k, v = _shaped(op, of["k"], steps, groups, width), _shaped(op, of["v"], steps, groups, deep)
    # [batch, groups, positions · queries of a group, width]
    q = _shaped(op, op.Transpose(q, perm=HEADS_LAST), groups, steps * shared, width)
    keys, v = op.Transpose(k, perm=[0, 2, 3, 1]), op.Transpose(v, perm=HEADS_LAST)
    seen = np.repeat(np.tril(np.ones((steps, steps), np.float32)), shared, axis=0)
    y, state = op.MatMul(op.Mul(op.MatMul(q, keys), seen), v), op.MatMul(keys, v)
    if of["past"] is not None:
        y, state = op.Add(y, op.MatMul(q, of["past"])), op.Add(of["past"], state)
    y = op.Transpose(_shaped(op, y, groups, steps, shared * deep), perm=HEADS_LAST)
    return _shaped(op, y, steps, heads * deep), state


def _by_steps(op, of, update, steps, size):
    heads, groups, width, deep = size
    parts = {name: split_evenly(op, of[name], steps, 1) for name in ("q", "k", "v")}
    if "gated" in update:
        parts["decay"] = split_evenly(op, op.Exp(of["decay"]), steps, 1)
    if "delta" in update:
        parts["beta"] = split_evenly(op, of["beta"], steps, 1)
    state, answers = of["past"], []
    for index in range(steps):
        now = {name: pieces[index] for name, pieces in parts.items()}
        row, v = _shaped(op, now["k"], groups, 1, width), _shaped(op, now["v"], groups, 1, deep)
        if "decay" in now and state is not None:
            state = op.Mul(state, _shaped(op, now["decay"], groups, -1, 1))
        if "beta" in now:
            v = v if state is None else op.Sub(v, op.MatMul(row, state))
            v = op.Mul(v, _shaped(op, now["beta"], -1, 1, 1))
        added = op.Mul(_shaped(op, now["k"], groups, width, 1), v)
        state = added if state is None else op.Add(state, added)
        y = op.MatMul(_shaped(op, now["q"], groups, heads // groups, width), state)
        answers.append(_shaped(op, y, 1, heads * deep))
    return joined(op, answers, 1), state


@written.example
def _(g):
    g.since(_SINCE)
    batch, steps, groups, shared, width, deep = (g.integer(1, 3) for _ in range(6))
    update = g.pick(_RULES)

    def part(*shape):
        return g.Tanh(g.input([batch, *shape], static=True, finite=True))

    q, k, v = (part(steps, size) for size in (groups * shared * width, groups * width, groups * deep))
    past = part(groups, width, deep) if g.flag() else None
    decay = part(steps, groups * g.pick([1, width])) if "gated" in update else None
    beta = part(steps, g.pick([1, groups])) if "delta" in update else None
    options = {"update_rule": update} | ({"scale": 0.7} if g.flag() else {})
    made = g.LinearAttention(
        q, k, v, past, decay, beta, outputs=2, q_num_heads=groups * shared, kv_num_heads=groups, **options
    )
    for one in made:
        g.output(one)


class DecomposeLinearAttention(Substitution):
    """Write LinearAttention as products, position by position where it must be."""

    name = "decompose-linear-attention"
    rules = (written,)
