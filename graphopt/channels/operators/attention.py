"""Attention as one operator: heads, grouped queries, and sizes of a head."""

from __future__ import annotations

import math

import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import Axis, ChannelGraph
from graphopt.channels.operators.common import ORDER, flag, present, value_of
from graphopt.channels.registry import relate, repair


@relate("Attention")
def attention(node: ir.Node, graph: ChannelGraph) -> None:
    """Query head i reads key head i // (query heads / key heads); queries and keys share the size of a head."""
    q, k, v, y = node.inputs[0], node.inputs[1], node.inputs[2], node.outputs[0]
    assert q is not None
    assert k is not None
    assert v is not None
    packed = len(graph.shape(q)) == 3
    heads = flag(node, "q_num_heads") if packed else graph.shape(q)[1]
    kept = flag(node, "kv_num_heads") if packed else graph.shape(k)[1]
    size, size_v = (graph.shape(one)[-1] // (kept if packed else 1) for one in (k, v))
    head, head_kv = graph.inner(node, "heads", heads), graph.inner(node, "key heads", kept)
    entry, entry_v = graph.inner(node, "head size", size), graph.inner(node, "value size", size_v)
    graph.product(head, [head_kv, graph.inner(node, "queries", heads // kept)])
    for value, of, inside in ((q, head, entry), (k, head_kv, entry), (v, head_kv, entry_v), (y, head, entry_v)):
        _heads(graph, value, of, inside)
    for index, inside in ((4, entry), (5, entry_v)):
        past = value_of(node, index)
        if past is not None:
            _heads(graph, past, head_kv, inside)
    made: tuple[tuple[Axis, Axis | None], ...] = ((head_kv, entry), (head_kv, entry_v), (head, None))
    for out, (of, size_of) in zip(node.outputs[1:], made, strict=False):
        if out in graph.shapes:
            _heads(graph, out, of, size_of)
    _mask(graph, value_of(node, 3), head)


def _mask(graph: ChannelGraph, mask: ir.Value | None, head: Axis) -> None:
    if mask is None:
        return
    shape = graph.shape(mask)
    for axis in range(len(shape)):
        if len(shape) == 4 and axis == 1 and shape[1] == head.size:
            graph.same(graph.axis(mask, 1), head)
        else:
            graph.pin(graph.axis(mask, axis), ORDER)


def _heads(graph: ChannelGraph, value: ir.Value, heads: Axis, inside: Axis | None) -> None:
    rank = len(graph.shape(value))
    if rank == 3 and inside is not None:
        graph.product(graph.axis(value, 2), [heads, inside])
        graph.pin(graph.axis(value, 1), ORDER)
        return
    graph.same(graph.axis(value, 1), heads)
    graph.pin(graph.axis(value, 2), ORDER)
    if inside is not None:
        graph.same(graph.axis(value, 3), inside)
    else:
        graph.pin(graph.axis(value, 3), ORDER)


@repair("Attention")
def head_counts(node: ir.Node, cut: Cut) -> None:
    """The heads that are left; the scale stays what the whole head had."""
    for name, inner in (("q_num_heads", "heads"), ("kv_num_heads", "key heads")):
        left = cut.left(node, inner)
        if left is not None and name in node.attributes:
            cut.set(node, name, left)
    size = cut.graph.find(node, "head size")
    if size is not None and cut.changed(size) and "scale" not in node.attributes:
        cut.set(node, "scale", 1 / math.sqrt(size.size))


@relate("RotaryEmbedding")
def rotary(node: ir.Node, graph: ChannelGraph) -> None:
    """Entries of a head turn in pairs, so its size stays; heads can leave."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    shape = graph.shape(x)
    graph.pin_all(present(node.inputs[1:]), "it holds the angles of a rotation")
    heads = flag(node, "num_heads") if len(shape) == 3 else shape[1]
    head = graph.inner(node, "heads", heads)
    entry = graph.inner(node, "head size", shape[-1] // (heads if len(shape) == 3 else 1))
    graph.pin(entry, "its entries turn in pairs")
    _heads(graph, x, head, entry)
    _heads(graph, y, head, entry)


@repair("RotaryEmbedding")
def rotary_heads(node: ir.Node, cut: Cut) -> None:
    """The heads that are left."""
    left = cut.left(node, "heads")
    if left is not None and flag(node, "num_heads"):
        cut.set(node, "num_heads", left)
