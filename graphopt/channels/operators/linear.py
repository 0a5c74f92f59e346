"""Products of matrices: MatMul of any rank, Gemm, Einsum, and their integer forms."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.graph import Axis, ChannelGraph
from graphopt.channels.operators.common import align, along, flag, value_of
from graphopt.channels.registry import relate

_MATMUL = {"MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}
_PER_ROW = {"MatMulInteger": (2,), "QLinearMatMul": (1, 2)}
_PER_COLUMN = {"MatMulInteger": (3,), "QLinearMatMul": (4, 5)}


@relate("MatMul", "MatMulInteger", "QLinearMatMul")
def matmul(node: ir.Node, graph: ChannelGraph) -> None:
    """Rows follow the left operand, columns the right one; the inner axis is summed over."""
    left, right = _MATMUL[node.op_type]
    a, b, y = node.inputs[left], node.inputs[right], node.outputs[0]
    assert a is not None
    assert b is not None
    rank_a, rank_b = len(graph.shape(a)), len(graph.shape(b))
    graph.same(graph.axis(a, -1), graph.axis(b, -2 if rank_b > 1 else -1), kind="summed")
    if rank_a > 1:
        graph.same(graph.axis(a, -2), graph.axis(y, -2 if rank_b > 1 else -1))
    if rank_b > 1:
        graph.same(graph.axis(b, -1), graph.axis(y, -1))
    batch = len(graph.shape(y)) - (rank_a > 1) - (rank_b > 1)
    for operand, rank in ((a, rank_a), (b, rank_b)):
        for back in range(1, min(batch, rank - 2) + 1):
            mine, whole = graph.axis(operand, rank - 2 - back), graph.axis(y, batch - back)
            if mine.size == whole.size != 1:
                graph.same(mine, whole)
    for index in _PER_ROW.get(node.op_type, ()):
        along(graph, value_of(node, index), y, -2)
    for index in _PER_COLUMN.get(node.op_type, ()):
        along(graph, value_of(node, index), y, -1)


@relate("Gemm")
def gemm(node: ir.Node, graph: ChannelGraph) -> None:
    """A MatMul of matrices, either transposed, and an addend that is broadcast."""
    a, b, y = node.inputs[0], node.inputs[1], node.outputs[0]
    assert a is not None
    assert b is not None
    trans_a, trans_b = flag(node, "transA"), flag(node, "transB")
    graph.same(graph.axis(a, 1 - trans_a), graph.axis(b, trans_b), kind="summed")
    graph.same(graph.axis(a, trans_a), graph.axis(y, 0))
    graph.same(graph.axis(b, 1 - trans_b), graph.axis(y, 1))
    c = value_of(node, 2)
    if c is not None:
        align(graph, c, y)


@relate("Einsum")
def einsum(node: ir.Node, graph: ChannelGraph) -> None:
    """Axes with the same label are the same axis; "..." stands for axes counted from its last."""
    equation = node.attributes["equation"].as_string().replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        flat = left.replace(",", "").replace(".", "")
        right = ("..." if "..." in left else "") + "".join(sorted(one for one in set(flat) if flat.count(one) == 1))
    first: dict[str, Axis] = {}
    for term, value in zip([*terms, right], [*node.inputs, node.outputs[0]], strict=True):
        assert value is not None
        for label, axis in zip(labels(term, len(graph.shape(value))), range(len(graph.shape(value))), strict=True):
            mine = graph.axis(value, axis)
            if mine.size != 1:
                graph.same(first.setdefault(label, mine), mine)


def labels(term: str, rank: int) -> list[str]:
    """One label an axis; those of "..." are its places counted from the last."""
    before, dots, after = term.partition("...")
    spread = rank - len(before) - len(after) if dots else 0
    return [*before, *(f".{back}" for back in range(spread, 0, -1)), *after]
