"""Write CausalConvWithState out, for backends that lack it.

    x, past ─ CausalConvWithState(w, b) ─┬─ y          becomes      past, x ─ Concat ─┬─ Conv(w, b) ─ y
                                         └─ present                                   └─ Slice(the last ones) ─ present

Without a past, zeros stand in front of x: as the padding of Conv, where nobody asks for the state. An activation
(silu) is Mul(y, Sigmoid(y)) (ONNX, CausalConvWithState-27). Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import is_read, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule

_SINCE = 27


@rule("write-out-causal-conv", fidelity="rounding")
def written(p):
    made = p.CausalConvWithState(p.x, p.w, p.optional(p.b), p.optional(p.past), as_="conv")
    return made[0], made[1]


@written.require("what it is made for is known")
def _(m):
    shape = static_shape(m.w)
    if shape is None or len(shape) != 3:
        return "the shape of its weights is not known"
    return static_shape(m.x) is not None or m.past is not None or "the shape of its input is not known"


@written.replace
def _(op, m):
    channels, _, taps = static_shape(m.w)
    before = taps - 1
    padded = m.x
    if before:
        padded = op.Concat(_zeros(m, before) if m.past is None else m.past, m.x, axis=2)
    state = m.conv.outputs[1]
    alone = m.past is None and not is_read(state) and not state.is_graph_output()
    bias = [] if m.b is None else [m.b]
    pads = [before if alone else 0, 0]
    y = op.Conv(m.x if alone else padded, m.w, *bias, group=channels, pads=pads, kernel_shape=[taps])
    if (attribute(m.conv, "activation") or "none") in ("silu", "swish"):
        y = op.Mul(y, op.Sigmoid(y))
    if before:
        return y, op.Slice(padded, *(np.array([one], np.int64) for one in (-before, np.iinfo(np.int64).max, 2)))
    return y, op.Identity(op.constant(_zeros(m, 0)) if m.past is None else m.past)


def _zeros(m, count):
    batch, channels, _ = static_shape(m.x)
    return np.zeros((batch, channels, count), m.x.dtype.numpy())


@written.example
def _(g):
    g.since(_SINCE)
    batch, channels, count, taps = (g.integer(1, 4) for _ in range(4))
    x = g.input([batch, channels, count], static=True, finite=True)
    bias = g.constant(g.normal(channels)) if g.flag() else None
    past = g.input([batch, channels, taps - 1], static=True, finite=True) if g.flag() and taps > 1 else None
    options = {"activation": g.pick(["silu", "swish", "none"])} if g.flag() else {}
    weights = g.constant(g.normal(channels, 1, taps))
    y, state = g.CausalConvWithState(x, weights, bias, past, outputs=2, **options)
    g.output(y)
    if g.flag():
        g.output(state)


class DecomposeCausalConv(Substitution):
    """Write CausalConvWithState as Concat, Conv and Slice."""

    name = "decompose-causal-conv"
    rules = (written,)
