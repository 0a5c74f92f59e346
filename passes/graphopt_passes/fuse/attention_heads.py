"""Take the Reshapes and Transposes that split and join heads into Attention, which does both itself.

    x ─ Reshape[0, 0, h, d] ─ Transpose(0, 2, 1, 3) ─ q ┐
    …                                               k, v ─ Attention ─ Transpose(0, 2, 1, 3) ─ y

becomes, with 3-D inputs,

    x ─ Reshape[0, 0, h·d] ─ Attention(q_num_heads=h, kv_num_heads=h) ─ Reshape[0, 0, h, d] ─ y

and the Reshapes cancel against those before and after. A RotaryEmbedding between goes along; q, k and v that are cut
out of one transposed tensor (x ─ Reshape[b, s, 3, h, d] ─ Transpose(2, 0, 3, 1, 4) ─ Split, as of timm) are cut out of
x by one Split instead. Fidelity: rounding.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from graphopt.ir.edit import constant, is_read, readers
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute, integers
from graphopt.ir.symbolic import Dim
from graphopt.rewrite import rule

SINCE = 23
HEADS_LAST = [0, 2, 1, 3]
_PACKED = [2, 0, 3, 1, 4]


def _attention(p, where):
    return p.Attention(p.q, p.k, p.v, p.rest("more"), as_="attention", where=where)


def _alone(node):
    return not any(_used(node, index) for index in range(1, len(node.outputs)))


def _caching(node):
    return len(node.outputs) == 3


def _used(node, index):
    value = node.outputs[index]
    return is_read(value) or value.is_graph_output()


@rule("attention-heads", fidelity="rounding")
def heads(p):
    return p.Transpose(_attention(p, _alone), perm=HEADS_LAST)


@rule("attention-heads-cache", fidelity="rounding")
def heads_cache(p):
    made = _attention(p, _caching)
    return p.Transpose(made, perm=HEADS_LAST), made[1], made[2]


def _replace(op, m):
    q, k, v = (dims_of(value) for value in (m.q, m.k, m.v))
    if q is None or k is None or v is None or len(q) != 4:
        raise op.decline("the shapes of queries, keys and values are not known")
    if not q[0] == k[0] == v[0]:
        raise op.decline("queries, keys and values have different batches")
    counts = [dim.number for dim in (q[1], k[1], v[3], q[3])]
    if not all(counts):
        raise op.decline("the number of heads or their width is dynamic")
    many, few, width, _ = counts
    inputs = unpacked(op, (m.q, m.k, m.v)) or [merged(op, value) for value in (m.q, m.k, m.v)]
    made = op.Attention(
        *inputs, *m.more, outputs=len(m.attention.outputs), like=m.attention, q_num_heads=many, kv_num_heads=few
    )
    y, *present = made if isinstance(made, tuple | list) else (made,)
    joined = op.Reshape(y, np.array([0, 0, many, width], np.int64))
    return joined if len(m.roots) == 1 else (joined, *present)


def merged(op, value):
    """[batch, heads, positions, width] as [batch, positions, heads·width]."""
    node = value.producer()
    _, count, _, width = dims_of(value)
    if node is not None and not node.domain:
        if node.op_type == "RotaryEmbedding" and _read_once(value):
            return op.RotaryEmbedding(merged(op, node.inputs[0]), *node.inputs[1:], like=node, num_heads=count.number)
        if node.op_type == "Transpose" and _order(node) == HEADS_LAST:
            return op.Reshape(node.inputs[0], np.array([0, 0, count.number * width.number], np.int64))
    raise op.decline(f"{value.name!r} is not transposed from one head after the other")


def _order(node):
    return list(attribute(node, "perm") or ())


def _read_once(value):
    return not value.is_graph_output() and len(list(islice(readers(value), 2))) == 1


def unpacked(op, values):
    """q, k and v as thirds of the tensor before its Transpose, None where they are not cut out of one."""
    picked = [_picked(value) for value in values]
    if None in picked or len({id(source) for source, _ in picked}) > 1 or {n for _, n in picked} != {0, 1, 2}:
        return None
    node = picked[0][0].producer()
    if node is None or node.op_type != "Transpose" or node.domain or _order(node) != _PACKED:
        return None
    _, heads, _, width = dims_of(values[0])
    size = heads.number * width.number
    flat = op.Reshape(node.inputs[0], np.array([0, 0, 3 * size], np.int64))
    parts = op.Split(flat, np.array([size] * 3, np.int64), axis=2, outputs=3)
    return [parts[number] for _, number in picked]


def _picked(value):
    """(source, i) where a value is source[i] and the source has three such parts, else None."""
    dims, node = dims_of(value), value.producer()
    if node is None or node.domain or dims is None:
        return None
    if node.op_type == "Gather":
        index = constant(node.inputs[1])
        source, number = node.inputs[0], int(index.numpy()) if index is not None and not index.shape.rank() else None
        along = attribute(node, "axis")
    elif node.op_type in ("Squeeze", "Reshape"):
        cut = node.inputs[0].producer()
        if dims_of(node.inputs[0]) != (Dim.of(1), *dims) or cut is None or cut.domain:
            return None
        source, number, along = cut.inputs[0], *_cut(cut, node.inputs[0].index())
    else:
        return None
    if number is None or along != 0 or dims_of(source) != (Dim.of(3), *dims):
        return None
    return source, number % 3


def _cut(node, output):
    """(i, axis) where the output of a Split or Slice is the single element i along an axis, else (None, None)."""
    if node.op_type == "Split":
        return output, attribute(node, "axis")
    if node.op_type != "Slice":
        return None, None
    starts, ends, axes = (integers(node, name, n) for n, name in enumerate(("starts", "ends", "axes"), 1))
    if not starts or not ends or axes is None or not len(starts) == len(ends) == len(axes) == 1:
        return None, None
    return starts[0], axes[0]


for one in (heads, heads_cache):
    one.replace(_replace)


def _split_heads(g, batch, positions, count, width):
    """An input [batch, positions, count·width], and its heads side by side."""
    x = g.input([batch, positions, count * width], static=True)
    return g.Transpose(g.Reshape(x, g.constant([0, 0, count, width])), perm=HEADS_LAST)


@heads.example
def _(g):
    g.since(SINCE)
    batch, groups, size, queries, keys, width = (g.integer(1, 3) for _ in range(6))
    q = _split_heads(g, batch, queries, groups * size, width)
    k, v = (_split_heads(g, batch, keys, groups, width) for _ in range(2))
    if g.flag():
        angles = [g.input([batch, queries, width], static=True) for _ in range(2)]
        q = _split_heads(g, batch, queries, groups * size, 2 * width)
        q, k = g.RotaryEmbedding(q, *angles), _split_heads(g, batch, keys, groups, 2 * width)
    mask = [g.constant(g.normal(queries, keys))] if g.flag() else []
    joined = g.Transpose(g.Attention(q, k, v, *mask, scale=0.5), perm=HEADS_LAST)
    g.output(g.Reshape(joined, g.constant([0, 0, -1])) if g.flag() else joined)


@heads.example
def _(g):
    g.since(SINCE)
    batch, positions, count, width = (g.integer(1, 3) for _ in range(4))
    x = g.Reshape(g.input([batch, positions, 3 * count * width], static=True), g.constant([0, 0, 3, count, width]))
    packed = g.Transpose(x, perm=_PACKED)
    form = g.integer(0, 2)
    if form == 0:
        parts = [g.Gather(packed, g.constant(np.array(n)), axis=0) for n in (0, 1, 2)]
    else:
        cut = g.Split(packed, g.constant([1, 1, 1]), axis=0, outputs=3)
        if form == 2:
            cut = [g.Slice(packed, *(g.constant([n]) for n in (part, part + 1, 0))) for part in range(3)]
        parts = [g.Squeeze(part, g.constant([0])) for part in cut]
    g.output(g.Transpose(g.Attention(*parts), perm=HEADS_LAST))


@heads_cache.example
def _(g):
    g.since(SINCE)
    batch, count, queries, before, width = (g.integer(1, 3) for _ in range(5))
    q, k, v = (_split_heads(g, batch, queries, count, width) for _ in range(3))
    past = [g.input([batch, count, before, width], static=True) for _ in range(2)]
    y, keys, values = g.Attention(q, k, v, None, *past, outputs=3)
    g.output(g.Transpose(y, perm=HEADS_LAST))
    g.output(keys)
    g.output(values)


RULES = (heads, heads_cache)
