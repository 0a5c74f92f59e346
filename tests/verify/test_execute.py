"""The two oracles: what they compute, and what they say when they cannot."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from graphopt.verify import ExecutionFailed, run, run_reference
from graphopt.verify import execute as execute_module

HEADER = '<ir_version: 9, opset_import: ["": 17, "my": 1]>\n'
PAD_POOL = (
    HEADER
    + """
g (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y) <int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float zero = {0}>
{ p = Pad(x, pads, zero) y = MaxPool<kernel_shape = [3, 3]>(p) }
"""
)
HALF = (
    HEADER
    + """
g (float16[2] x) => (float[2] y)
{ one = Constant<value_float = 2.0>() two = Cast<to = 10>(one) z = Mul(x, two) y = Cast<to = 1>(z) }
"""
)


def add(count: int) -> ir.Model:
    """x + w with w an initializer of `count` floats."""
    w = ir.tensor(np.arange(count, dtype=np.float32), name="w")
    x, weight = ir.val("x", ir.DataType.FLOAT, [count]), ir.val("w", const_value=w)
    node = ir.node("Add", [x, weight])
    node.outputs[0].name = "y"
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[weight], opset_imports={"": 17})
    return ir.Model(graph, ir_version=9)


def test_padding_stays_padding_in_front_of_a_max_pool() -> None:
    x = np.full((1, 1, 2, 2), -1, np.float32)
    model = ir.from_onnx_text(PAD_POOL)
    for oracle in (run, run_reference):
        assert oracle(model, [{"x": x}])[0]["y"].tolist() == [[[[0, 0], [0, 0]]]]


def test_the_second_oracle_overflows_in_float16_where_the_first_does_not() -> None:
    model, sample = ir.from_onnx_text(HALF), {"x": np.full(2, 60000, np.float16)}
    assert run_reference(model, [sample])[0]["y"].tolist() == [np.inf, np.inf]
    assert run(model, [sample])[0]["y"].dtype == np.float32


def test_a_model_runs_from_memory_from_bytes_and_from_a_file(tmp_path: Path) -> None:
    model, sample = add(4), {"x": np.ones(4, np.float32)}
    ir.save(model, tmp_path / "m.onnx")
    for source in (model, (tmp_path / "m.onnx").read_bytes(), tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        assert run(source, [sample])[0]["y"].tolist() == [1, 2, 3, 4]


def test_weights_in_another_file_are_found_wherever_it_lies(tmp_path: Path) -> None:
    ir.save(add(1000), tmp_path / "m.onnx", external_data="w.bin")
    model = ir.load(tmp_path / "m.onnx")
    for oracle in (run, run_reference):
        assert oracle(model, [{"x": np.zeros(1000, np.float32)}])[0]["y"][-1] == 999
    assert isinstance(model.graph.initializers["w"].const_value, ir.ExternalTensor)


def test_a_large_model_goes_through_a_file_and_comes_back_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute_module, "INLINE_BYTES", 100)
    model = add(1000)
    before = model.graph.initializers["w"].const_value
    with execute_module.serialized(model) as source:
        assert isinstance(source, str)
    assert run(model, [{"x": np.zeros(1000, np.float32)}])[0]["y"][-1] == 999
    assert model.graph.initializers["w"].const_value is before


def test_types_that_numpy_lacks_cross_the_boundary() -> None:
    model = ir.from_onnx_text(
        HEADER + "g (bfloat16[2] x, bfloat16 s) => (bfloat16[2] y, bfloat16 t) { y = Identity(x) t = Identity(s) }"
    )
    x, s = np.array([1.5, -2], ml_dtypes.bfloat16), np.array(3, ml_dtypes.bfloat16)
    outputs = run(model, [{"x": x, "s": s}])[0]
    assert outputs["y"].dtype == ml_dtypes.bfloat16
    assert outputs["y"].tolist() == [1.5, -2]
    assert outputs["t"].shape == ()


def test_strings_and_sequences_come_out_as_arrays() -> None:
    text = (
        HEADER
        + "g (string[2] x, float[2] z) => (string[2] y, seq(float[1]) s) { y = Identity(x) s = SplitToSequence(z) }"
    )
    outputs = run(ir.from_onnx_text(text), [{"x": np.array(["a", "b"], object), "z": np.float32([1, 2])}])[0]
    assert outputs["y"].tolist() == ["a", "b"]
    assert [outputs[f"s[{place}]"].item() for place in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("graph", "node", "reason"),
    [
        ("(float[2] x) => (float[2] y) { [odd] y = my.Odd(x) }", None, "my:Odd"),
        ("(bfloat16[2] x) => (bfloat16[2] y) { [turn] y = Neg(x) }", "turn", "implementation"),
        ("(float[2] x) => (float[a] y) <int64[1] s = {3}> { [bend] y = Reshape(x, s) }", "bend", "Reshape"),
        ("(float[3] x) => (float[3] y) { y = Neg(x) }", None, "Expected: 3"),
        ("(float[2] z) => (float[2] y) { y = Neg(z) }", None, "missing|Invalid"),
    ],
)
def test_a_failure_names_the_node_and_the_reason(graph: str, node: str | None, reason: str) -> None:
    with pytest.raises(ExecutionFailed, match=reason) as failure:
        run(ir.from_onnx_text(f"{HEADER}g {graph}"), [{"x": np.zeros(2, np.float32)}])
    assert failure.value.node == node


def test_a_file_that_is_no_model_is_a_failure_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExecutionFailed, match="protobuf"):
        run(b"junk", [])
    assert capfd.readouterr() == ("", "")


def test_the_second_oracle_keeps_its_budget() -> None:
    model, sample = add(2), {"x": np.zeros(2, np.float32)}
    with pytest.raises(ExecutionFailed, match="too many"):
        run_reference(model, [sample], nodes=0)
    with pytest.raises(ExecutionFailed, match=r"no answer in 0 s"):
        run_reference(model, [sample], seconds=0.01)


def test_the_second_oracle_says_which_operator_it_lacks() -> None:
    with pytest.raises(ExecutionFailed, match="Odd"):
        run_reference(ir.from_onnx_text(HEADER + "g (float[2] x) => (float[2] y) { y = my.Odd(x) }"), [])
