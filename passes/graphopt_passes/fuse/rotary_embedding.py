"""Make one RotaryEmbedding of the rotation of queries and keys by their position.

    x ─┬─ Slice[:d/2] ────────── Concat ─ Mul(sin) ─ Add ─ y        becomes    x, cos[…, :d/2], sin[…, :d/2]
       ├─ Slice[d/2:] ─ Neg ──────┘                   │                             └ RotaryEmbedding ─ y
       └─ Mul(cos) ───────────────────────────────────┘

(Su et al., arXiv:2104.09864, section 3.4.) x is [batch, heads, positions, d] or [batch, positions, heads, d]. Holds
where both halves of cos and sin are proven the same: constants, or made by elementwise operators from a Concat of
something with itself. A rotation of the first elements only (x[:r], joined with x[r:] afterwards) becomes the attribute
rotary_embedding_dim. RotaryEmbedding is of opset 23: below that nothing fires. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of, infer_shapes
from graphopt.ir.schema import attribute, integers
from graphopt.ir.symbolic import Dim
from graphopt.pipeline import Context, PassResult, RewritePass
from graphopt.rewrite import rule

SINCE = 23
_ONE = Dim.of(1)
_KEEPS = frozenset({"Cos", "Sin", "Cast", "Identity", "Neg", "Unsqueeze", "Squeeze", "Reshape"})
"""Operators that leave two equal halves of the last dimension equal, if the dimension stays."""
_DEEPEST = 12


def _known(m):
    return m.root.graph is not None and m.root.graph.opset_imports.get("", 0) >= SINCE


def _parts(p, x, name):
    """The two parts that the last dimension of x is cut into, by Slices or by a Split."""
    cut = p.Split(x, p.optional(p.value(f"{name}_sizes")), as_=f"{name}_split")
    low = p.Slice(x, p.rest(f"{name}_low"), as_=f"{name}_first")
    high = p.Slice(x, p.rest(f"{name}_high"), as_=f"{name}_second")
    return p.either(low, cut[0]), p.either(high, cut[1])


def _cut_at(m, name, dims):
    """Where `_parts` under this name cuts dimensions, None where it does not cut the last one in two."""
    whole = dims[-1].number
    if f"{name}_split" in m:
        node = m.__getattr__(f"{name}_split")
        sizes = integers(node, "split", 1) or [whole // 2] * 2
        return sizes[0] if attribute(node, "axis") in (-1, len(dims) - 1) and len(sizes) == 2 else None
    if f"{name}_first" not in m or f"{name}_second" not in m:
        return None
    low, high = (_range(m.__getattr__(f"{name}_{part}"), dims) for part in ("first", "second"))
    return low[1] if low and high and low[0] == 0 and high == (low[1], whole) else None


def _range(node, dims):
    """What a Slice takes of the last dimension, None where it takes another one or in steps."""
    starts, ends, axes = (integers(node, name, n) for n, name in enumerate(("starts", "ends", "axes"), 1))
    steps = integers(node, "steps", 4) or [1]
    if not starts or not ends or not axes or len(starts) != 1 or axes[0] not in (-1, len(dims) - 1) or steps != [1]:
        return None
    start, end, _ = slice(starts[0], ends[0]).indices(dims[-1].number)
    return start, end


@rule("rotary-embedding", fidelity="rounding")
def rotate(p):
    first, second = _parts(p, p.x, "half")
    turned = p.Concat(p.Neg(second), first, axis=p.attribute("along", where=lambda axis: axis in (-1, 3)))
    return p.Add(p.Mul(p.x, p.cos), p.Mul(turned, p.sin))


@rotate.require("the model's opset has RotaryEmbedding, and x is float32 or float16")
def _(m):
    return _known(m) and m.x.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)


@rotate.require("the last of 4 dimensions is turned by its halves")
def _(m):
    dims = dims_of(m.x)
    if dims is None or len(dims) != 4 or not dims[3].number or dims[3].number % 2:
        return False
    return _cut_at(m, "half", dims) == dims[3].number // 2


@rotate.require("cos and sin have a row for each position, the same for all heads")
def _(m):
    axis, batch = _angles(m)
    if axis is None:
        return False
    dims = dims_of(m.x)
    return batch == dims[0] or dims[0].number is not None or "the batch is dynamic, and one row of angles is for all"


@rotate.require("both halves of cos and sin are proven the same")
def _(m):
    return all(_doubled(value, _DEEPEST) for value in (m.cos, m.sin))


def _angles(m):
    """(the axis of x with the heads, the batch of the angles); (None, None) where cos and sin fit neither way."""
    dims, cos, sin = dims_of(m.x), dims_of(m.cos), dims_of(m.sin)
    if cos is not None and cos == sin and 2 <= len(cos) <= 4:
        full = (_ONE,) * (4 - len(cos)) + cos
        for heads, positions in ((1, 2), (2, 1)):
            fits = full[heads] == _ONE and full[positions] == dims[positions] and full[3] == dims[3]
            if fits and full[0] in (dims[0], _ONE) and (heads == 1 or dims[2].number):
                return heads, full[0]
    return None, None


def _doubled(value, depth):
    """Whether both halves of the last dimension are the same."""
    tensor = constant(value)
    if tensor is not None:
        low, high = np.split(tensor.numpy(), 2, axis=-1)
        return low.tobytes() == high.tobytes()
    node, dims = value.producer(), dims_of(value)
    if node is None or node.domain or dims is None or not depth:
        return False
    if node.op_type == "Concat":
        last = attribute(node, "axis") in (-1, len(dims) - 1)
        return last and len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]
    if node.op_type in _KEEPS:
        before = dims_of(node.inputs[0])
        return before is not None and before[-1:] == dims[-1:] and _doubled(node.inputs[0], depth - 1)
    if node.op_type == "Mul":
        numbers = [one for one in node.inputs if constant(one) is not None and constant(one).size == 1]
        others = [one for one in node.inputs if one not in numbers]
        return len(numbers) == 1 and _doubled(others[0], depth - 1)
    return False


@rotate.replace
def _(op, m):
    batch, _, _, width = dims_of(m.x)
    axis, rows = _angles(m)
    angles = [_half(op, value, axis, width.number // 2) for value in (m.cos, m.sin)]
    if rows != batch:
        angles = [op.Expand(one, np.array([batch.number, 1, 1], np.int64)) for one in angles]
    if axis == 1:
        return op.RotaryEmbedding(m.x, *angles)
    count = dims_of(m.x)[2].number
    flat = op.Reshape(m.x, np.array([0, 0, count * width.number], np.int64))
    return op.Reshape(
        op.RotaryEmbedding(flat, *angles, num_heads=count), np.array([0, 0, count, width.number], np.int64)
    )


def _half(op, value, axis, half):
    """cos or sin as [batch, positions, half]."""
    tensor, rank = constant(value), len(dims_of(value))
    if tensor is not None:
        array = tensor.numpy()[..., :half]
        full = array.reshape((1,) * (4 - rank) + array.shape)
        return op.constant(full.squeeze(axis))
    cut = op.Slice(value, *(np.array([n], np.int64) for n in (0, half, rank - 1)))
    if rank == 4:
        return op.Squeeze(cut, np.array([axis], np.int64))
    if axis == 2:  # [positions, 1, half]
        return op.Transpose(cut, perm=[1, 0, 2])
    return cut if rank == 3 else op.Unsqueeze(cut, np.array([0], np.int64))


@rule("rotary-embedding-partial", fidelity="exact")
def partial(p):
    first, second = _parts(p, p.x, "part")
    turned = p.RotaryEmbedding(first, p.cos, p.sin, p.optional(p.value("ids")), as_="turned", rotary_embedding_dim=0)
    return p.Concat(turned, second, axis=p.attribute("along", where=lambda axis: axis in (-1, 3)))


@partial.require("the first elements of each head are turned, the others stay")
def _(m):
    dims = dims_of(m.x)
    return dims is not None and len(dims) == 4 and bool(dims[3].number) and bool(_cut_at(m, "part", dims))


@partial.replace
def _(op, m):
    turned = _cut_at(m, "part", dims_of(m.x))
    return op.RotaryEmbedding(m.x, m.cos, m.sin, m.ids, like=m.turned, rotary_embedding_dim=turned)


def _cut(g, x, sizes):
    if g.flag():
        return g.Split(x, g.constant(sizes), axis=3, outputs=2)
    first = g.Slice(x, g.constant([0]), g.constant([sizes[0]]), g.constant([g.pick([3, -1])]))
    return first, g.Slice(x, g.constant([sizes[0]]), g.constant([2**63 - 1]), g.constant([3]), g.constant([1]))


@rotate.example
def _(g):
    g.since(SINCE)
    batch, heads, positions, half = (g.integer(1, 3) for _ in range(4))
    late, held = g.flag(), g.flag()
    x = g.input([batch, positions, heads, 2 * half] if late else [batch, heads, positions, 2 * half], static=True)
    rows = [g.pick([1, batch]), *([positions, 1] if late else [1, positions]), half]

    def angles(function):
        if held:
            one = g.normal(*rows)
            return g.constant(np.concatenate([one, one], -1))
        one = g.input([batch, positions, half], static=True)
        whole = g.Mul(g.op(function, g.Concat(one, one, axis=-1)), g.constant(0.5))
        return g.Unsqueeze(whole, g.constant([2 if late else 1]))

    first, second = _cut(g, x, [half, half])
    turned = g.Concat(g.Neg(second), first, axis=-1)
    g.output(g.Add(g.Mul(x, angles("Cos")), g.Mul(turned, angles("Sin"))))


@partial.example
def _(g):
    g.since(SINCE)
    batch, heads, positions, half = (g.integer(1, 3) for _ in range(4))
    x = g.input([batch, heads, positions, 2 * half + 2], static=True)
    angles = [g.input([batch, positions, half], static=True) for _ in range(2)]
    first, second = _cut(g, x, [2 * half, 2])
    g.output(g.Concat(g.RotaryEmbedding(first, *angles), second, axis=-1))


class FuseRotaryEmbedding(RewritePass):
    """Make RotaryEmbedding (opset 23) of Slice, Neg, Concat, Mul and Add."""

    name = "fuse-rotary-embedding"
    rules = (rotate, partial)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `RewritePass.run`; shapes are proven first, where there is anything to prove them for."""
        if model.graph.opset_imports.get("", 0) < SINCE:
            return PassResult(0, f"RotaryEmbedding is of opset {SINCE}")
        infer_shapes(model)
        return super().run(model, context)
