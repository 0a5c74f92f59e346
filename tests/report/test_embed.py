"""What the page's script is given: positions that exist, sources by name, and texts once."""

from __future__ import annotations

import json
from dataclasses import replace

from graphopt.report.drawing import Drawing
from graphopt.report.embed import embed
from graphopt.report.model import Finding, Layer, Report, Rewrite, Support, SupportChange


def test_a_node_knows_its_sources_and_the_pass_that_made_it(report: Report, drawing: Drawing) -> None:
    data = embed(report, drawing)
    text = data["texts"].__getitem__
    assert data["after"]["from"] == [[0, 1], [2]]
    assert text(data["passes"][data["after"]["by"][0]]) == "fuse-conv-bn/conv-bn"
    assert data["after"]["by"][1] == -1


def test_what_is_gone_is_marked_with_the_pass_that_took_it(report: Report, drawing: Drawing) -> None:
    log = (Rewrite(rule="fold", removed=("Shape_12",)),)
    folded = replace(report, passes=(replace(report.passes[0], log=log), *report.passes[1:]))
    data = embed(folded, drawing)
    assert data["before"]["gone"] == [0, 0, 0, 1]
    assert data["texts"][data["passes"][data["before"]["by"][3]]] == "fold-constants/fold"


def test_verdicts_and_measurements_lie_at_their_nodes(report: Report, drawing: Drawing) -> None:
    finding = Finding(node="Shape_12", op_type="Shape", reason="no", evidence="seen", remedy="fold it")
    support = SupportChange(before=Support(nodes=4, supported=3, unsupported=(finding, finding)))
    layers = (Layer(node="Relu_0", op_type="Relu", metrics={"sqnr_db": 41.0, "other": None}),)
    data = embed(replace(report, support=support, layers=layers), drawing)
    assert data["before"]["verdict"] == [[], [], [], [0, 0]]
    assert [data["texts"][at] for at in data["before"]["findings"][0]] == ["no", "seen", "fold it"]
    assert data["after"]["layers"] == {1: {"sqnr_db": 41.0}}


def test_every_position_exists_and_every_text_stands_once(report: Report, drawing: Drawing) -> None:
    data = json.loads(json.dumps(embed(report, drawing), allow_nan=False))
    assert len(set(data["texts"])) == len(data["texts"])
    for graph in (data["before"], data["after"]):
        drawn = len(graph["inputs"]) + len(graph["name"]) + len(graph["outputs"])
        assert len(graph["row"]) == len(graph["x"]) == len(graph["width"]) == drawn
        assert all(0 <= end < drawn for end in graph["edges"])
        assert all(value < len(graph["values"]) for values in (*graph["reads"], *graph["writes"]) for value in values)


def test_an_input_leads_to_its_readers_and_an_output_comes_from_its_maker(report: Report, drawing: Drawing) -> None:
    edges = embed(report, drawing)["after"]["edges"]
    assert list(zip(edges[::2], edges[1::2], strict=True)) == [(0, 1), (1, 2), (2, 3)]
