"""The drawing of a graph: what is above is read by what is below, nothing overlaps, and depth costs no width."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from graphopt.report.layout import Layout, layered

EDGES = st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=60)


def rows_of(laid: Layout, widths: list[float]) -> dict[int, list[tuple[float, float]]]:
    """The middle and the width of all that lies in each row, from left to right."""
    found: dict[int, list[tuple[float, float]]] = {}
    for node, width in enumerate(widths):
        found.setdefault(laid.rows[node], []).append((laid.x[node], width))
    return {row: sorted(places) for row, places in found.items()}


@given(EDGES, st.lists(st.floats(10, 200), min_size=25, max_size=25))
def test_readers_lie_below_and_nothing_overlaps(edges: list[tuple[int, int]], widths: list[float]) -> None:
    laid = layered(edges, widths)
    for a, b in edges:
        assert a >= b or laid.rows[a] < laid.rows[b]
    for places in rows_of(laid, widths).values():
        for (x, width), (other, wide) in itertools.pairwise(places):
            assert other - x >= (width + wide) / 2
    assert min((x - width / 2 for x, width in zip(laid.x, widths, strict=True)), default=0) >= -0.1


@given(EDGES)
def test_a_line_runs_through_all_rows_between_its_ends(edges: list[tuple[int, int]]) -> None:
    laid = layered(edges, [50.0] * 25)
    for node, line in enumerate(laid.lines):
        spans = [laid.rows[b] - laid.rows[a] - 1 for a, b in edges if a == node and b > a]
        assert len(line) == max(spans, default=0)


def test_a_chain_is_a_straight_line_however_deep() -> None:
    laid = layered([(i, i + 1) for i in range(2000)], [60.0] * 2001)
    assert laid.rows == list(range(2001))
    assert set(laid.x) == {30.0}


def test_lines_beyond_the_budget_are_left_to_be_drawn_straight() -> None:
    edges = [(i, i + 1) for i in range(200)] + [(0, 200), (1, 4)]
    laid = layered(edges, [60.0] * 201, bends=10)
    assert laid.lines[0] == []
    assert len(laid.lines[1]) == 2


def test_a_deep_graph_of_blocks_does_not_wander_off() -> None:
    edges = []
    for block in range(0, 3000, 3):
        edges += [(block, block + 1), (block + 1, block + 2), (block + 2, block + 3), (block, block + 3)]
    laid = layered(edges, [80.0] * 3001)
    assert max(laid.x) < 1000
