"""`graphopt run --set NAME=VALUE`: the input leaves the signature, and what it decides is decided."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.errors import UserError

Here = Callable[..., Any]
TEXT = """<ir_version: 8, opset_import: ["": 17]>
    voice (float[1,4] x, int64 sr) => (float[1,4] y) <int64 fast = {16000}> {
        is_fast = Equal (sr, fast)
        y = If (is_fast) <then_branch = t () => (float[1,4] a) { a = Neg (x) },
                          else_branch = e () => (float[1,4] b) { b = Exp (x) }>
    }"""


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "voice.onnx")
    return tmp_path / "voice.onnx"


@pytest.mark.parametrize(("value", "left"), [("16000", "Neg"), ("8000", "Exp")])
def test_the_branch_is_taken_and_agrees_with_the_original_at_that_value(
    here: Here, voice: Path, value: str, left: str
) -> None:
    answer = here("run", "voice.onnx", "--set", f"sr={value}", "-o", "out.onnx", "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert report["verification"]["status"] == "passed"
    assert report["passes"][0]["name"] == "fix-input-values"
    made = onnx.load(voice.parent / "out.onnx")
    assert [node.op_type for node in made.graph.node] == [left]
    assert [one.name for one in made.graph.input] == ["x"]


def test_a_compiled_file_is_compared_with_the_original_at_that_value(here: Here, voice: Path) -> None:
    answer = here("run", "voice.onnx", "--set", "sr=16000", "-b", "tflite", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["compile"]["execution"]["status"] == "passed"


def test_the_recipe_of_the_report_repeats_it(here: Here, voice: Path) -> None:
    report = json.loads(here("run", "voice.onnx", "--set", "sr=16000", "--opset", "18", "--json").out)
    steps = tomllib.loads(report["recipe"])["pass"]
    names = [step["name"].rpartition(":")[2] for step in steps]
    assert names[:4] == ["fix-input-values", "upgrade-ir", "fix-input-shapes", "convert-opset"]
    (voice.parent / "again.toml").write_text(report["recipe"])
    again = json.loads(here("run", "voice.onnx", "--recipe", "again.toml", "--json").out)
    assert again["verification"]["status"] == "passed"
    assert again["output"]["sha256"] == report["output"]["sha256"]


def test_samples_may_hold_the_input_at_that_value_or_leave_it_out(here: Here, voice: Path) -> None:
    x = np.ones((1, 4), np.float32)
    for extra in ({}, {"sr": np.array(16000)}):
        np.savez(voice.parent / "s.npz", x=x, **extra)
        assert here("run", "voice.onnx", "--set", "sr=16000", "--calibration", "s.npz", "-q").code == 0
    np.savez(voice.parent / "s.npz", x=x, sr=np.array(8000))
    answer = here("run", "voice.onnx", "--set", "sr=16000", "--calibration", "s.npz")
    assert answer.code == 2
    assert "another 'sr'" in answer.err


@pytest.mark.parametrize("wrong", ["rate=1", "sr=loud", "sr=1,2", "sr"])
def test_a_wrong_request_is_one_line(here: Here, voice: Path, wrong: str) -> None:
    answer = here("run", "voice.onnx", "--set", wrong)
    assert answer.code == 2
    assert len(answer.err.strip().splitlines()) == 1


def test_of_an_if_that_hangs_on_an_input_the_remedy_says_so(here: Here, voice: Path) -> None:
    longer = TEXT.replace("Exp (x)", "Concat <axis = 1> (x, x)").replace("float[1,4] b", "float[1,8] b")
    onnx.save(onnx.parser.parse_model(longer.replace("float[1,4] y", "float[1,M] y")), voice)
    report = json.loads(here("run", "voice.onnx", "-b", "snpe", "--no-compile", "--json").out)
    told = [one["remedy"] for one in report["support"]["after"]["unsupported"] if one["op_type"] == "If"]
    assert told == ["what it does hangs on an input: fix it with --set sr=VALUE"]


def test_programs_give_numbers_and_arrays(voice: Path) -> None:
    for value in (16000, np.array(16000), "16000"):
        result = graphopt.optimize(voice, values={"sr": value})
        assert [node.op_type for node in result.model.graph] == ["Neg"]
        assert result.report.verification.status == "passed"
    with pytest.raises(UserError, match="no input 'rate'"):
        graphopt.optimize(voice, values={"rate": 1})


def test_a_pass_of_the_users_own_recipe_is_verified_at_its_value_too(voice: Path) -> None:
    recipe = '[[pass]]\nname = "fix-input-values"\nvalues = "sr=8000"\n'
    result = graphopt.optimize(voice, recipe=recipe)
    assert [value.name for value in result.model.graph.inputs] == ["x"]
    assert result.report.verification.status == "passed"
