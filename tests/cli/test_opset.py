"""`graphopt run --opset N`: the conversion comes first, is in the recipe, and no is an answer."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

Here = Callable[..., Any]


def test_the_model_is_written_at_that_opset(here: Here, small: Path) -> None:
    for version in (11, 21):
        answer = here("run", str(small), "--opset", str(version), "-o", "out.onnx", "--json")
        assert answer.code == 0, answer.err
        report = json.loads(answer.out)
        assert report["output"]["opset"] == version
        assert report["verification"]["status"] == "passed"
        assert onnx.load(small.parent / "out.onnx").opset_import[0].version == version


def test_the_recipe_of_the_report_has_it_behind_what_mends_the_inputs(here: Here, small: Path) -> None:
    report = json.loads(here("run", str(small), "--opset", "13", "--json").out)
    steps = tomllib.loads(report["recipe"])["pass"]
    names = [step["name"].rpartition(":")[2] for step in steps]
    assert names[:4] == ["upgrade-ir", "fix-input-shapes", "convert-opset", "canonicalize"]
    assert steps[2]["target"] == 13


def test_it_comes_alone_with_only(here: Here, small: Path) -> None:
    report = json.loads(here("run", str(small), "--only", "--opset", "13", "--json").out)
    assert [record["name"] for record in report["passes"]] == ["convert-opset"]


def test_a_node_in_the_way_is_named_and_the_answer_is_no(here: Here, tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        g (float[3, 3] x) => (float[3, 3] y) { y = Trilu (x) }""")
    proto.graph.node[0].name = "half of it"
    onnx.save(proto, tmp_path / "m.onnx")
    answer = here("run", "m.onnx", "--opset", "12", "-o", "out.onnx")
    assert answer.code == 1
    assert "half of it (Trilu): opset 13 does not have Trilu" in " ".join(answer.out.split())
    assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == 17


def test_an_opset_that_there_are_no_adapters_for_is_a_wrong_request(here: Here, small: Path) -> None:
    answer = here("run", str(small), "--opset", "4", "-o", "out.onnx")
    assert answer.code == 2
    assert "from 7 to 28" in answer.err
    assert not (small.parent / "out.onnx").exists()
