"""Partitions have no cycles, one side a segment, and as few segments as stages allow."""

from __future__ import annotations

import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir.edit import set_shape
from graphopt.support.partition import Partition, partition, reads

Links = list[list[int]]


def graph(links: Links) -> list[ir.Node]:
    """Nodes whose inputs are the outputs of earlier nodes, float32[2,3] all."""
    source = ir.Value(name="x", shape=ir.Shape([2, 3]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes: list[ir.Node] = []
    for index, makers in enumerate(links):
        inputs = [nodes[maker].outputs[0] for maker in makers] or [source]
        node = ir.Node("", "Sum", inputs, name=f"n{index}")
        node.outputs[0].dtype = ir.DataType.FLOAT
        set_shape(node.outputs[0], ir.Shape([2, 3]))
        nodes.append(node)
    return nodes


def _links(size: int) -> st.SearchStrategy[Links]:
    makers = [st.lists(st.integers(0, max(i - 1, 0)), max_size=2 if i else 0, unique=True) for i in range(size)]
    return st.tuples(*makers).map(list)


dags = st.integers(1, 14).flatmap(_links)


@given(dags, st.sets(st.integers(0, 13)))
def test_segments_are_whole_one_sided_and_ordered(links: Links, off: set[int]) -> None:
    nodes = graph(links)
    out = {node for index, node in enumerate(nodes) if index in off}
    answer = partition(nodes, out)
    assert sorted(node.name or "" for s in answer.segments for node in s.nodes) == sorted(n.name or "" for n in nodes)
    place = {node: index for index, segment in enumerate(answer.segments) for node in segment.nodes}
    assert all(segment.supported != (node in out) for segment in answer.segments for node in segment.nodes)
    # what a segment reads was made in it or before it, so no two segments wait for each other
    assert all(place[maker] <= place[n] for n in nodes for v in reads(n) if (maker := v.producer()) in place)
    assert len(answer.segments) <= _changes(nodes, out) + 2


def _changes(nodes: list[ir.Node], out: set[ir.Node]) -> int:
    """The most changes of side on any path, which no schedule can avoid."""
    worst: dict[ir.Node, int] = {}
    for node in nodes:
        makers = [maker for value in reads(node) if (maker := value.producer()) in worst]
        worst[node] = max((worst[maker] + ((maker in out) != (node in out)) for maker in makers), default=0)
    return max(worst.values())


def cut(links: Links, *off: int) -> Partition:
    nodes = graph(links)
    return partition(nodes, {nodes[index] for index in off})


def test_a_node_in_the_middle_cuts_a_chain_into_three() -> None:
    answer = cut([[], [0], [1]], 1)
    assert [segment.supported for segment in answer.segments] == [True, False, True]
    assert answer.crossing_bytes == 2 * 24


def test_a_node_beside_the_main_path_costs_no_more_than_its_wait() -> None:
    # n0 off the target feeds n2; n1 needs nothing: both can run after it, in one piece
    assert len(cut([[], [], [0, 1]], 0).segments) == 2


def test_a_value_read_twice_crosses_once_and_an_unsized_one_is_counted_apart() -> None:
    nodes = graph([[], [0], [0]])
    answer = partition(nodes, {nodes[1], nodes[2]})
    assert (len(answer.crossing), answer.crossing_bytes, answer.unsized) == (1, 24, 0)
    set_shape(nodes[0].outputs[0], ir.Shape(["N", 3]))
    answer = partition(nodes, {nodes[1], nodes[2]})
    assert (answer.crossing_bytes, answer.unsized) == (0, 1)
