"""Why a toolchain does not read a model as a whole."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from graphopt.support.check import check
from graphopt.support.table import Reads, Row, Table


def answer(opset: int, ir_version: int) -> list[tuple[str, str]]:
    x = ir.Value(name="x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.Node("", "Relu", [x], name="relu")
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = "y", ir.Shape([2]), x.type
    graph = ir.Graph([x], list(node.outputs), nodes=[node], opset_imports={"": opset}, name="g")
    table = Table(
        backend="toy", toolchain="toy 1.0", date="2026-01-02",
        reads=Reads(opset=(9, 21), ir_version=(3, 10), probes=("model/opset=22", "model/ir_version=11")),
        rows=(Row(op_type="Relu", since=(1, 14), status="native"),),
    )  # fmt: skip
    found = check(ir.Model(graph, ir_version=ir_version), table)
    assert found.ok == (not found.findings)
    assert found.supported == found.nodes == 1
    assert all("toy 1.0" in finding.evidence for finding in found.findings)
    return [(finding.reason, finding.remedy) for finding in found.findings]


def test_a_model_within_the_versions_is_read() -> None:
    assert answer(21, 10) == []


@pytest.mark.parametrize(("opset", "near"), [(22, 21), (25, 21), (8, 9)])
def test_a_model_of_another_opset_is_refused_with_the_nearest_that_is_read(opset: int, near: int) -> None:
    ((reason, remedy),) = answer(opset, 10)
    assert reason == f"the opset of ONNX must be between 9 and 21, found {opset}"
    assert f"to opset {near}" in remedy


def test_a_file_of_a_newer_format_is_refused() -> None:
    ((reason, remedy),) = answer(21, 11)
    assert reason == "the IR version of the file must be between 3 and 10, found 11"
    assert "IR version 10" in remedy
