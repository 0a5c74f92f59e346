"""Attention as exporters write it out: a pattern, what its match says, and what must hold of every match.

    q ─ MatMul ─ Mul(1/√d) ─ Add(mask) ─ Softmax ─ MatMul ─ y
    kᵀ ───┘                                 v ──────┘

The scale may stand at q, at k or at their product, as Mul or Div; up to two masks are added; tanh(s/c)·c may stand
before them, and Softmax may compute in float32 between Casts.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.ir.symbolic import Dim

_FLOAT = int(ir.DataType.FLOAT)
_ONE = Dim.of(1)


def _scalar(array: np.ndarray) -> bool:
    return array.size == 1 and array.ndim <= 3


def _times(p, inner, name):
    """A pattern, or that times or over one number."""
    factor, divisor = p.constant(f"{name}_factor", where=_scalar), p.constant(f"{name}_divisor", where=_scalar)
    return p.either(p.Mul(inner, factor), p.Div(inner, divisor), inner)


def _number(m, name):
    """What `_times` under this name multiplies by."""
    factor = float(m.__getattr__(f"{name}_factor").reshape(())) if f"{name}_factor" in m else 1.0
    return factor / float(m.__getattr__(f"{name}_divisor").reshape(())) if f"{name}_divisor" in m else factor


def written_out(p, guarded: bool = False):
    """The pattern; `guarded` where weights that are NaN are replaced by 0."""
    scores = _times(p, p.MatMul(_times(p, p.q, "q"), _times(p, p.kt, "k")), "qk")
    capped = p.either(p.Mul(p.Tanh(_times(p, scores, "squash")), p.constant("cap", where=_scalar)), scores)
    masked = p.either(p.Add(p.Add(capped, p.mask), p.mask2), p.Add(capped, p.mask), capped)
    soft = p.Softmax(p.either(p.Cast(masked, as_="widened", to=_FLOAT), masked), axis=p.attribute("axis"))
    weights = p.either(p.Cast(soft, as_="narrowed"), soft)
    if guarded:
        weights = p.Where(p.IsNaN(weights), p.constant("nothing", equals=0), weights)
    return p.MatMul(weights, p.v)


def masks_of(m):
    """What a match adds to the scores."""
    return [m.value(name) for name in ("mask", "mask2") if name in m]


def scores_of(m):
    """The dimensions of its scores."""
    q, kt = dims_of(m.q), dims_of(m.kt)
    return (*q[:-1], kt[-1])


def scale_of(m):
    """The scale of its scores, and the softcap (0 is none)."""
    scale = _number(m, "q") * _number(m, "k") * _number(m, "qk")
    if "cap" not in m:
        return scale, 0.0
    cap = float(m.cap.reshape(()))
    return scale * _number(m, "squash") * cap, cap


def over_keys(m) -> bool:
    """Whether the Softmax goes over the keys."""
    rank = len(dims_of(m.q) or ())
    return rank in (3, 4) and m.axis in (-1, rank - 1)


def one_type(m) -> bool:
    """Whether Softmax computes in the type of the queries, or in float32 and back."""
    if "widened" not in m and "narrowed" not in m:
        return True
    return "widened" in m and "narrowed" in m and attribute(m.narrowed, "to") == m.q.dtype


def positive(m) -> bool:
    """Whether scale and softcap are."""
    scale, softcap = scale_of(m)
    return math.isfinite(scale) and scale > 0 and softcap >= 0


def fits(m) -> bool | str:
    """Whether queries, keys and values have the same batch, and as many heads or one for all; else why not."""
    q, kt, v, y = (dims_of(value) for value in (m.q, m.kt, m.v, m.root.outputs[0]))
    if q is None or kt is None or v is None or y is None or not len(q) == len(kt) == len(v) == len(y):
        return "not all shapes are known"
    if q[0] != kt[0] or q[0] != v[0] or q[-1] != kt[-2] or kt[-1] != v[-2]:
        return "batch, width or number of keys are not proven the same"
    heads = len(q) == 3 or (kt[1] == v[1] and (kt[1] == q[1] or (kt[1] == _ONE and q[1].number is not None)))
    return heads or "the numbers of heads do not fit"


CONDITIONS = (
    ("the weights are a Softmax over the keys", over_keys),
    ("Softmax computes in the type of the queries, or wider and back", one_type),
    ("scale and softcap are positive", positive),
    ("queries, keys and values have the same batch and fitting heads", fits),
)
"""What must hold of every match: reasons and conditions."""
