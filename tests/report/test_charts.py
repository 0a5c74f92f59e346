"""Lengths and first answers: what the page draws without a script."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphopt.report import charts
from graphopt.report.drawing import Drawing, Graph, Node
from graphopt.report.model import Histogram, Layer, Partition, Report, Segment, Speed, Verification
from graphopt.report.tiles import stages, tiles


def test_a_ranking_names_the_largest_and_sums_the_rest() -> None:
    nodes = tuple(Node(name=f"n{i}", op_type="Conv", macs=i) for i in range(40))
    ranking = charts.ranking(Graph(nodes=nodes, values=()), "macs")
    assert [row.name for row in ranking.rows[:2]] == ["n39", "n38"]
    assert (len(ranking.rows), ranking.others, ranking.rest) == (30, 9, sum(range(10)))
    assert ranking.rows[0].length == 100
    assert ranking.rows[0].share == pytest.approx(100 * 39 / sum(range(40)))


def test_a_ranking_of_nothing_is_empty(drawing: Drawing) -> None:
    nodes = (Node(name="a", op_type="Relu"),)
    assert charts.ranking(Graph(nodes=nodes, values=()), "macs").rows == ()


@pytest.mark.parametrize(
    "told", [3, "x", [3], [{"layer": "a"}], [{"layer": "a", "kind": "c", "before": 8, "after": 6}]]
)
def test_what_was_pruned_is_drawn_only_where_a_pass_told_it_whole(report: Report, told: object) -> None:
    passes = (replace(report.passes[0], metrics={"removed": told}),)
    whole = isinstance(told, list) and isinstance(told[0], dict) and "kind" in told[0]
    assert [(row["kept"], row["gone"]) for row in charts.removed(passes)] == ([(75.0, 25.0)] if whole else [])


def test_a_histogram_is_an_outline_with_the_range_that_has_codes() -> None:
    one = Histogram(name="w", kind="weights", low=-2.0, high=2.0, counts=(0, 4, 2, 0), codes=(-1.0, 9.0))
    assert charts.outline(one, 40, 10) == "M0 10V10.0h10.00V0.0h10.00V5.0h10.00V10.0h10.00V10Z"
    assert charts.coded(one, 40) == (10.0, 40.0)
    assert charts.coded(replace(one, codes=None)) is None


def test_the_partition_is_shown_where_there_is_one(report: Report) -> None:
    on, off = (Segment(supported=one, nodes=3, first="a", last="b") for one in (True, False))

    def with_pieces(*segments: Segment) -> Report:
        return replace(report, partition=Partition(segments=segments, crossing_bytes=4))

    assert charts.pieces(with_pieces(on)) == []
    assert [length for _, length in charts.pieces(with_pieces(on, off))] == [50.0, 50.0]


def test_layers_come_worst_first_and_those_without_a_number_last() -> None:
    layers = [Layer(node=name, op_type="Conv", metrics={"sqnr_db": value}) for name, value in
              (("a", 40.0), ("b", None), ("c", -3.0))]  # fmt: skip
    assert [layer.node for layer in charts.worst_first(layers)] == ["c", "a", "b"]


def answer(report: Report, question: str) -> tuple[str, str]:
    return next((tile.figure, tile.tone) for tile in tiles(report) if tile.question.startswith(question))


def test_the_first_answers_of_a_good_run(report: Report) -> None:
    assert answer(report, "Runs on") == ("Yes", "good")
    assert answer(report, "Smaller") == ("−4.4 %", "good")
    assert answer(report, "Less work") == ("−20 %", "good")
    assert answer(report, "How exact") == ("132.2 dB", "good")
    timed = replace(report, speed=Speed(original_ms=12.0, optimized_ms=5.0, runtime="LiteRT CPU"))
    assert answer(timed, "Faster") == ("2.40×", "good")
    assert [stage.name for stage in stages(report)] == [
        "Optimized model against the original", "Compiled model against the original",
    ]  # fmt: skip


def test_an_output_next_to_nothing_is_told_by_its_error_and_not_by_decibels(report: Report) -> None:
    (output,) = report.verification.outputs
    small = replace(output, max_abs_error=4.5e-5, sqnr_db=1.0)
    assert answer(replace(report, verification=replace(report.verification, outputs=(small,))), "How exact") == (
        "Off by 4.5e−05", "plain",
    )  # fmt: skip


def test_the_first_answers_of_a_bad_run_say_what_now(report: Report, rejected: Report) -> None:
    assert answer(rejected, "Runs on") == ("No", "bad")
    table_only = replace(rejected, compile=replace(rejected.compile, status="skipped"))
    tile = tiles(table_only)[0]
    assert (tile.figure, tile.remedy) == ("Not wholly", "cut the model before it and run the rest on the host")
    wrong = replace(report, verification=Verification(status="failed", detail="'y' moved by 3"))
    assert answer(wrong, "How exact") == ("Wrong", "bad")
