"""What the example brings does what it says; graphopt's conformance kit runs beside these tests."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from graphopt_example.commands import count

import graphopt


@pytest.fixture
def model() -> onnx.ModelProto:
    """|-x|, and its rectified sum."""
    return onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[2] x) => (float[2] y) { a = Neg(x) b = Abs(a) c = Cos(b) y = Relu(c) }""")


def test_the_rule_takes_the_negation_away(model: onnx.ModelProto) -> None:
    result = graphopt.optimize(model, recipe='[[pass]]\nname = "absolute-of-negative"')
    assert [node.op_type for node in result.model.graph] == ["Abs", "Cos", "Relu"]
    assert result.report.verification.status == "passed"


def test_the_pass_writes_as_many_words_as_asked_for(model: onnx.ModelProto) -> None:
    result = graphopt.optimize(model, recipe='[[pass]]\nname = "describe-nodes"\nwords = "short"')
    assert [node.doc_string for node in result.model.graph][:2] == ["Neg of 1", "Abs of 1"]
    with pytest.raises(graphopt.UserError, match="describe-nodes, option words"):
        graphopt.optimize(model, recipe='[[pass]]\nname = "describe-nodes"\nwords = "none"')


def test_the_table_refuses_what_it_does_not_have(model: onnx.ModelProto) -> None:
    found = graphopt.check(model, ["example-npu"]).backends["example-npu"]
    assert [finding.op_type for finding in found.unsupported] == ["Neg", "Cos"]
    with pytest.raises(graphopt.UserError, match="known by its table alone"):
        graphopt.optimize(model, backend="example-npu")


def test_the_command_counts(model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "m.onnx")
    done = CliRunner().invoke(count, [str(tmp_path / "m.onnx")])
    assert sorted(line.split()[1] for line in done.output.splitlines()) == ["Abs", "Cos", "Neg", "Relu"]
