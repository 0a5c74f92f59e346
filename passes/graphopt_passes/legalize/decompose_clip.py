"""Write Clip out as Max and Min, for backends that lack it or want its bounds to be constants.

    x ─ Clip(low, high) ─ y      becomes      x ─ Max(low) ─ Min(high) ─ y

Max before Min, since high wins where the bounds cross. A bound that is missing is left out.
The sign of a zero may differ. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.schema import attribute, has_input
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.clip_to_relu6 import INPUT_BOUNDS
from graphopt_passes.legalize.decompose_integer_functions import WIDE
from graphopt_passes.scalars import is_float, number

_BROADCASTING_SINCE = 8


@rule("write-out-clip", fidelity="rounding")
def clip(p):
    return p.Clip(p.x, p.rest("bounds"))


@clip.require("it is floating point, int32 or int64")
def _(m):
    return is_float(m.x) or m.x.dtype in WIDE


@clip.replace
def _(op, m):
    if op.opset < _BROADCASTING_SINCE:
        raise op.decline("Max and Min of this opset take operands of one shape only")
    y = m.x
    for index, (name, kind) in enumerate((("min", "Max"), ("max", "Min")), start=1):
        if op.opset < INPUT_BOUNDS:
            limit = attribute(m.root, name)
            # The defaults of the attributes are the ends of float32, where nothing finite is cut.
            bound = None if limit is None or abs(limit) >= np.finfo(np.float32).max else number(m.x, limit)
        else:
            bound = m.root.inputs[index] if has_input(m.root, index) else None
        y = y if bound is None else op.op(kind, y, bound)
    return op.Identity(y) if y is m.x else y


@clip.example
def _(g):
    dtype, kind = g.pick([(g.FLOAT, np.float32), (g.INT32, np.int32), (g.INT64, np.int64)])
    low, high = g.constant(np.array(-1, kind)), g.constant(np.array(3, kind))
    x = g.Cast(g.input(g.shape(), g.INT32), to=dtype)  # no NaN, of which onnxruntime's Clip makes a bound at times
    g.output(g.Clip(x, *g.pick([(low, high), (low,), (None, high)])))


class DecomposeClip(Substitution):
    """Write Clip out as Max and Min."""

    name = "decompose-clip"
    rules = (clip,)
