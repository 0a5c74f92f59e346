"""Write Attention out, for backends that lack it.

    q ┐                                     q ─ Mul(scale) ─ MatMul ─ Add(mask) ─ Softmax ─ MatMul ─ y
    k ┼ Attention ─ y       becomes         k ─ Transpose ──────┘                              │
    v ┘                                     v ─────────────────────────────────────────────────┘

The definition in the ONNX standard, opset 23 to 25: 3-D inputs are split into heads and joined again, past keys and
values are prepended, groups of heads share keys and values, conditions (is_causal, a boolean mask, nonpad_kv_seqlen,
windows) become one mask, and a query without any key answers 0. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.scaled_dot_product import (
    LEAST,
    Mask,
    Steps,
    attend,
    join_heads,
    length,
    positions,
    split_heads,
)
from graphopt_passes.parts import pad

SINCE = 23
_NAMES = ("q", "k", "v", "mask", "past_k", "past_v", "nonpad")
_SHORT = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_WIDER = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
"""Precisions of Softmax that matter to short types; to others its result is rounded as it would be without."""
_OUTPUTS = (1, 3, 4)
"""How many outputs a node may have: present keys and values come together."""


def _inputs(m):
    given = [*m.inputs, *[None] * (len(_NAMES) - len(m.inputs))]
    return dict(zip(_NAMES, given, strict=True))


def _size(value, axis):
    """The size of an axis where it is a known number."""
    dims = dims_of(value)
    return dims[axis].number if dims is not None else None


def _heads(m, name, value, rank):
    return attribute(m.attention, name) if rank == 3 else _size(value, 1)


def _fits(m):
    of = _inputs(m)
    rank = len(dims_of(of["q"]) or ())
    if rank not in (3, 4) or any(len(dims_of(of[name]) or ()) != rank for name in ("k", "v")):
        return "the ranks of queries, keys and values are not known"
    if len({of[name].dtype for name in ("q", "k", "v")}) > 1 or of["q"].dtype not in LEAST:
        return "queries, keys and values are not of one floating-point type"
    heads, groups = _heads(m, "q_num_heads", of["q"], rank), _heads(m, "kv_num_heads", of["k"], rank)
    if not heads or not groups or heads % groups:
        return "the number of heads is dynamic"
    if not _size(of["q"], -1):
        return "the width of a head is dynamic"
    keys, masked = _keys(of, rank), None if of["mask"] is None else _size(of["mask"], -1)
    if of["mask"] is None or masked == keys or (masked == 1 and of["nonpad"] is None):
        return True
    known = masked is not None and keys is not None and masked < keys
    return known or (masked is None and of["nonpad"] is None) or "the mask may be shorter than the keys"


def _keys(of, rank):
    """How many keys there are with those of the past, None where that is dynamic."""
    sizes = [_size(of["k"], -2)] + ([_size(of["past_k"], 2)] if of["past_k"] is not None else [])
    return None if None in sizes else sum(sizes)


def _mask(op, of, node, queries, keys):
    """The Mask of an Attention."""
    given = _whole_mask(op, of)
    mask = Mask(infinite=len(node.outputs) > 3 and attribute(node, "qk_matmul_output_mode") == 2)
    if given is not None and of["mask"].dtype == ir.DataType.BOOL:
        mask.allowed, mask.may_be_empty = [given], True
    elif given is not None:
        mask.added = given
    left, right = (attribute(node, f"{side}_window_size") for side in ("left", "right"))
    causal, last = attribute(node, "is_causal"), of["nonpad"]
    if not causal and last is None and left in (None, -1) and right in (None, -1):
        return mask
    row, column = queries(), keys()
    column = column if isinstance(column, np.ndarray) else op.Unsqueeze(column, np.array([0], np.int64))
    row = row[:, None] if isinstance(row, np.ndarray) else op.Unsqueeze(row, np.array([1], np.int64))
    if last is not None:
        last = op.Reshape(last, np.array([-1, 1, 1, 1], np.int64))
        mask.allowed.append(op.Less(column, last))
        row = op.Add(row, op.Sub(last, _count(op, of["q"], row)))
        mask.may_be_empty = True
    elif of["past_k"] is not None:
        before = _size(of["past_k"], 2)
        row = _add(op, row, length(op, of["past_k"], 2) if before is None else before)
    if causal:
        mask.allowed.append(_at_most(op, column, row))
    if left not in (None, -1):
        mask.allowed.append(_at_most(op, _add(op, row, -left), column))
        mask.may_be_empty = True
    if right not in (None, -1):
        mask.allowed.append(_at_most(op, column, _add(op, row, right)))
    return mask


def _whole_mask(op, of):
    """The mask; one that is shorter than the keys shuts out those that it does not speak of."""
    given, size = of["mask"], None if of["mask"] is None else _size(of["mask"], -1)
    keys = _keys(of, len(dims_of(of["q"])))
    if size is None or keys is None or size >= keys or (size == 1 and of["nonpad"] is None):
        return given
    rank = len(dims_of(given))
    boolean = given.dtype == ir.DataType.BOOL
    fill, kind = (False, np.bool_) if boolean else (LEAST[given.dtype], given.dtype.numpy())
    return pad(op, given, [0] * rank, [0] * (rank - 1) + [keys - size], fill, dtype=kind)


def _count(op, q, row):
    """How many queries there are."""
    return np.array(row.shape[0], np.int64) if isinstance(row, np.ndarray) else length(op, q, -2)


def _add(op, a, b):
    if isinstance(a, np.ndarray) and isinstance(b, int):
        return a + b
    return op.Add(a, b)


def _at_most(op, a, b):
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a <= b
    return op.LessOrEqual(a, b)


def _replace(op, m):
    of, node = _inputs(m), m.attention
    rank = len(dims_of(of["q"]))
    heads, groups = _heads(m, "q_num_heads", of["q"], rank), _heads(m, "kv_num_heads", of["k"], rank)
    q, k, v = of["q"], of["k"], of["v"]
    width, deep = _size(q, -1) // (heads if rank == 3 else 1), (_size(v, -1) or 0) // groups or -1
    if rank == 3:
        q, k, v = split_heads(op, q, heads, width), split_heads(op, k, groups, width), split_heads(op, v, groups, deep)
    if of["past_k"] is not None:
        k, v = op.Concat(of["past_k"], k, axis=2), op.Concat(of["past_v"], v, axis=2)
    scale, precision = attribute(node, "scale"), attribute(node, "softmax_precision")
    mask = _mask(
        op, of, node,
        lambda: positions(op, q, 2, _size(of["q"], -2)),
        lambda: positions(op, k, 2, _keys(of, rank)),
    )  # fmt: skip
    done = attend(
        op, q, k, v, mask, dtype=of["q"].dtype, heads=heads, groups=groups,
        scale=1 / math.sqrt(width) if scale is None else float(scale), softcap=float(attribute(node, "softcap") or 0),
        precision=ir.DataType.FLOAT if precision in _WIDER and of["q"].dtype in _SHORT else None,
    )  # fmt: skip
    hidden = _size(of["v"], -1)
    y = done.answer
    if rank == 3:
        y = join_heads(op, y, None if hidden is None else hidden // groups * heads)
    return (y, k, v, _shown(done, attribute(node, "qk_matmul_output_mode")))[: len(node.outputs)]


def _shown(done: Steps, mode: int | None) -> ir.Value:
    return (done.scores, done.capped, done.biased, done.weights)[mode or 0]


def _rule(outputs):
    """The rule for an Attention of so many outputs."""

    def pattern(p):
        made = p.Attention(p.rest("inputs"), as_="attention", where=lambda node: len(node.outputs) == outputs)
        return tuple(made[index] for index in range(outputs))

    made = Rule(f"write-out-attention-{outputs}", "rounding", pattern)
    made.require("what it is made for is known")(_fits)
    made.replace(_replace)
    made.example(lambda g: _example(g, outputs))
    return made


def _example(g, outputs):
    g.since(SINCE)
    batch, groups, size, queries, keys, width = (g.integer(1, 3) for _ in range(6))
    heads, flat, past = groups * size, g.flag(), g.integer(1, 3) if outputs > 1 else 0
    keys = queries if past else keys  # else onnxruntime's kernel does not follow the standard in is_causal

    kind, causal = g.integer(0, 2), g.flag()
    masked = causal or kind > 0  # onnxruntime's kernel does not look at a key that is shut out, infinite or not

    def part(count, positions):
        shape = [batch, positions, count * width] if flat else [batch, count, positions, width]
        return g.input(shape, static=True, finite=masked)

    q, k, v = part(heads, queries), part(groups, keys), part(groups, keys)
    more = [None]
    everything = [[queries, past + keys], [batch, 1, queries, past + keys], [heads, queries, past + keys]]
    if kind == 1:
        more = [g.constant(g.normal(*g.pick(everything)))]
    elif kind == 2:
        more = [g.input(g.pick(everything), g.BOOL, static=True)]
    if past:
        more += [g.input([batch, groups, past, width], static=True, finite=masked) for _ in range(2)]
    options = {"q_num_heads": heads, "kv_num_heads": groups} if flat else {}
    options |= {"scale": g.pick([0.5, 1.0])} if g.flag() else {}
    options |= {"is_causal": 1} if causal else {}
    options |= {"softcap": 2.0} if g.flag() else {}
    mode = g.integer(0, 1 if causal or kind == 2 else 3)  # it shows the lowest number where the standard has -inf
    made = g.Attention(q, k, v, *more, outputs=outputs, qk_matmul_output_mode=mode, **options)
    for one in [made] if outputs == 1 else made:
        g.output(one)


class DecomposeAttention(Substitution):
    """Write Attention as MatMul, Add, Softmax and MatMul."""

    name = "decompose-attention"
    rules = tuple(_rule(outputs) for outputs in _OUTPUTS)
