"""Write RotaryEmbedding out, for backends that lack it.

    x ─ Split ─ x₁, x₂          y = Concat(x₁·cos − x₂·sin, x₁·sin + x₂·cos)

with every other element as x₁ where it is interleaved, and the elements beyond rotary_embedding_dim left as they are:
the definition in the ONNX standard, opset 23, and of com.microsoft. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.scaled_dot_product import positions

SINCE = 23
MICROSOFT = "com.microsoft"


@rule("write-out-rotary-embedding", fidelity="rounding")
def standard(p):
    return p.RotaryEmbedding(p.x, p.cos, p.sin, p.optional(p.ids), as_="turned")


@rule("write-out-rotary-embedding-microsoft", fidelity="rounding")
def microsoft(p):
    return p.RotaryEmbedding(p.x, p.ids, p.cos, p.sin, as_="turned", domain=MICROSOFT)


def _width(m):
    """The width of a head, None where it is not known."""
    dims = dims_of(m.x)
    if dims is None or dims[-1].number is None or len(dims) not in (3, 4):
        return None
    if len(dims) == 4:
        return dims[-1].number
    if attribute(m.turned, "num_heads"):
        return dims[-1].number // attribute(m.turned, "num_heads")
    cos = dims_of(m.cos)
    return 2 * cos[-1].number if cos is not None and cos[-1].number else None


@standard.require("the width of a head is known")
def _(m):
    return _width(m) is not None


@microsoft.require("the width of a head and the shape of the positions are known")
def _(m):
    return _width(m) is not None and dims_of(m.ids) is not None and not attribute(m.turned, "is_packed_batching")


@standard.replace
def _(op, m):
    return _turned(op, m, m.ids, batched=True)


@microsoft.replace
def _(op, m):
    ids, batched = m.ids, len(dims_of(m.ids)) == 2
    if not batched:  # one number, where the first position stands
        axis = len(dims_of(m.x)) - 2
        ids = op.Add(positions(op, m.x, axis, dims_of(m.x)[axis].number), ids)
    return _turned(op, m, ids, batched)


def _turned(op, m, ids, batched):
    rank, width = len(dims_of(m.x)), _width(m)
    turned = attribute(m.turned, "rotary_embedding_dim") or width
    x, heads = m.x, 1
    if rank == 3:
        heads = 2
        x = op.Reshape(x, np.array([0, 0, dims_of(x)[2].number // width, width], np.int64))
    cos, sin = (_angles(op, value, ids, heads - (not batched)) for value in (m.cos, m.sin))
    first, second, rest = _parts(op, x, turned, width, attribute(m.turned, "interleaved"))
    real = op.Sub(op.Mul(first, cos), op.Mul(second, sin))
    imaginary = op.Add(op.Mul(first, sin), op.Mul(second, cos))
    if attribute(m.turned, "interleaved"):
        pairs = op.Concat(*(_unsqueeze(op, one, 4) for one in (real, imaginary)), axis=4)
        parts = [op.Reshape(pairs, np.array([0, 0, 0, turned], np.int64))]
    else:
        parts = [real, imaginary]
    parts += [rest] if rest is not None else []
    y = parts[0] if len(parts) == 1 else op.Concat(*parts, axis=3)
    return op.Reshape(y, np.array([0, 0, dims_of(m.x)[2].number], np.int64)) if rank == 3 else y


def _angles(op, value, ids, axis):
    """cos or sin of each position, with an axis for the heads; none where it would be the first."""
    rows = value if ids is None else op.Gather(value, ids, axis=0)
    return _unsqueeze(op, rows, axis) if axis else rows


def _unsqueeze(op, value, axis):
    return op.Unsqueeze(value, np.array([axis], np.int64)) if op.opset >= 13 else op.Unsqueeze(value, axes=[axis])


def _parts(op, x, turned, width, interleaved):
    """The two sides of the rotation, and what is left over (None where nothing is)."""
    if not interleaved:
        sizes = [turned // 2] * 2 + ([width - turned] if width > turned else [])
        named = {} if op.opset >= 13 else {"split": sizes}
        given = [np.array(sizes, np.int64)] if op.opset >= 13 else []
        first, second, *rest = op.Split(x, *given, axis=3, outputs=len(sizes), **named)
        return first, second, rest[0] if rest else None
    first, second = (_slice(op, x, start, turned, 2) for start in (0, 1))
    return first, second, _slice(op, x, turned, width, 1) if width > turned else None


def _slice(op, x, start, end, step):
    return op.Slice(x, *(np.array([n], np.int64) for n in (start, end, 3, step)))


def _case(g, domain):
    batch, heads, length, half = (g.integer(1, 3) for _ in range(4))
    width = 2 * half + (2 if g.flag() else 0)
    flat = g.flag()
    x = g.input([batch, length, heads * width] if flat else [batch, heads, length, width], static=True)
    options = {"interleaved": int(g.flag())}
    if flat or domain:
        options["num_heads"] = heads
    if width > 2 * half:
        options["rotary_embedding_dim"] = 2 * half
    ids = g.constant(np.array([[g.integer(0, 4) for _ in range(length)] for _ in range(batch)], np.int64))
    if domain:
        ids = ids if g.flag() else g.constant(np.array([g.integer(0, 1)], np.int64))
        tables = [g.constant(g.normal(5, half)) for _ in range(2)]
        return g.RotaryEmbedding(x, ids, *tables, domain=domain, **options), 3 if flat else 4
    if g.flag():
        return g.RotaryEmbedding(x, *(g.input([5, half], static=True) for _ in range(2)), ids, **options)
    return g.RotaryEmbedding(x, *(g.input([batch, length, half], static=True) for _ in range(2)), **options)


@standard.example
def _(g):
    g.since(SINCE)
    g.output(_case(g, ""))


@microsoft.example
def _(g):
    g.output(*_case(g, MICROSOFT))


class DecomposeRotaryEmbedding(Substitution):
    """Write RotaryEmbedding as Split, Mul, Sub, Add and Concat."""

    name = "decompose-rotary-embedding"
    rules = (standard, microsoft)
