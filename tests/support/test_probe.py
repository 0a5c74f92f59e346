"""Probes are valid, repeatable questions whose answers an oracle knows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest

from graphopt.support.case import versions
from graphopt.support.probe import Probe, probes
from graphopt.support.suite import suite
from graphopt.support.sweeps import cases, operators
from graphopt.support.written import WRITTEN, written

SOME = ["Conv", "Clip", "Squeeze", "Resize", "ReduceMean", "Cast"]


@pytest.fixture(scope="module")
def some() -> list[Probe]:
    return list(probes(SOME))


def test_every_operator_of_the_sweeps_has_probes_with_unique_ids() -> None:
    found = list(probes())
    assert {probe.operator for probe in found} == set(operators())
    assert len({probe.id for probe in found}) == len(found)


def test_probes_are_valid_and_the_same_each_time(some: list[Probe]) -> None:
    for probe in some:
        onnx.checker.check_model(onnx.load_from_string(probe.model), full_check=True)
    assert [probe.digest for probe in some] == [probe.digest for probe in probes(SOME)]


def test_parameters_follow_the_operators_version(some: list[Probe]) -> None:
    by_id = {probe.id: probe for probe in some}
    old, new = by_id["Clip-6/base"], by_id["Clip-13/base"]
    assert len(onnx.load_from_string(old.model).graph.node[0].attribute) == 2
    assert new.facts["input.1.constant"] is True
    np.testing.assert_allclose(next(iter(old.expected.values())).max(), 0.8, rtol=1e-6)


def test_core_cases_are_asked_at_every_version(some: list[Probe]) -> None:
    for op_type in ("Conv", "Cast"):
        assert {probe.since for probe in some if probe.op_type == op_type} == set(versions(op_type))


def test_quantized_probes_differ_from_the_float_answer_by_no_more_than_their_steps(some: list[Probe]) -> None:
    by_id = {probe.id: probe for probe in some}
    for name in ("qdq=uint8:int8", "qdq=uint8:int8:channel"):
        probe = by_id[f"Conv-11/{name}"]
        assert probe.facts["qdq.activation"] == "uint8"
        assert probe.facts["qdq.weight"] == "int8"
        assert probe.facts["qdq.per_channel"] is name.endswith("channel")
        assert len(np.unique(next(iter(probe.expected.values())))) <= 256


def test_files_of_a_probe_hold_it_whole(some: list[Probe], tmp_path: Path) -> None:
    probe = some[0]
    files = probe.write(tmp_path / "p")
    assert Path(files["model"]).read_bytes() == probe.model
    with np.load(files["expected"]) as stored:
        assert all(np.array_equal(stored[name], array) for name, array in probe.expected.items())
    assert files.keys() == {"model", "inputs", "expected"}


def test_labels_of_an_operator_do_not_repeat_what_is_asked() -> None:
    labels = [case.label for op_type in operators() for case in cases(op_type)]
    assert all(label and "/" not in label for label in labels)


def test_every_operator_that_onnx_has_is_asked_about() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    rest = names - set(operators()) - set(WRITTEN)
    assert {name for name in rest if next(suite({name}), None) is None} == set()


def test_operators_of_onnxruntime_are_answered_by_it() -> None:
    found = {probe.id: probe for probe in probes(["com.microsoft::Gelu", "com.microsoft::MatMulNBits"])}
    probe = found["com.microsoft::Gelu-1/base"]
    (x,), (y,) = probe.inputs.values(), probe.expected.values()
    right = [v * 0.5 * (1 + math.erf(v / 2**0.5)) for v in x.ravel()]
    np.testing.assert_allclose(y.ravel(), right, atol=1e-5)
    assert found["com.microsoft::MatMulNBits-1/zero-points"].facts["input.3.present"] is True


def test_an_operator_without_an_implementation_is_answered_by_its_formula() -> None:
    (probe,) = (p for p in probes(["com.microsoft::NhwcConv"]) if p.id.endswith("/pads"))
    model = onnx.load_from_string(probe.model)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    node = onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1])
    (x,), (y,) = probe.inputs.values(), probe.expected.values()
    moved = {"x": np.moveaxis(x, -1, 1), "w": np.moveaxis(weights["x1"], -1, 1), "b": weights["x2"]}
    (right,) = onnx.reference.ReferenceEvaluator(node).run(None, moved)
    np.testing.assert_allclose(y, np.moveaxis(right, 1, -1), atol=1e-5)


def test_a_loop_and_a_sequence_are_asked_about_with_tensors_at_the_door() -> None:
    found = {probe.id: probe for probe in written({"Loop", "SequenceAt", "RandomNormal"})}
    loop = found["Loop-16/trips=computed"]
    assert (loop.facts["input.0.constant"], loop.facts["input.1.constant"]) == (False, True)
    np.testing.assert_allclose(
        next(iter(found["Loop-16/base"].expected.values())), 8 * next(iter(found["Loop-16/base"].inputs.values()))
    )
    for probe in found.values():
        assert all(array.dtype.kind in "fib" for array in (*probe.inputs.values(), *probe.expected.values()))
    # its distribution has no width, so there is one right answer
    normal = found["RandomNormal-22/base"]
    np.testing.assert_allclose(*(next(iter(d.values())) * k for d, k in ((normal.expected, 1), (normal.inputs, 2))),
                               atol=1e-3)  # fmt: skip


def test_an_operator_that_no_sweep_knows_is_asked_at_all_its_versions() -> None:
    found = list(suite({"SoftmaxCrossEntropyLoss"}))
    assert {probe.since for probe in found} == {12, 13}
    labels = [{p.id.partition("/")[2] for p in found if p.since == since} for since in (12, 13)]
    assert labels[0]
    assert labels[0] <= labels[1]


def test_a_string_is_a_valid_question() -> None:
    found = list(suite({"StringConcat"}))
    assert found
    assert all(array.dtype.kind == "U" for probe in found for array in probe.inputs.values())


def test_the_operator_tests_bring_their_own_answers() -> None:
    found = {probe.id: probe for probe in suite({"AveragePool", "Add"})}
    probe = found["Add-14/suite:add"]
    # the second operand has become a constant, as an exporter writes it
    assert probe.facts["input.1.constant"] is True
    assert len(probe.inputs) == 1
    assert any("same_upper" in name for name in found)
