"""The tables that ship speak of every operator that ONNX has, and of those that onnxruntime's tools write."""

from __future__ import annotations

from importlib import resources

import onnx
import pytest

from graphopt.support.case import OPSETS, since
from graphopt.support.sweeps import operators
from graphopt.support.table import Table, load

BACKENDS = ("tflite", "tensorrt", "snpe")


@pytest.fixture(params=BACKENDS)
def table(request: pytest.FixtureRequest) -> Table:
    with resources.as_file(resources.files(f"graphopt_backends.{request.param}") / "table.json") as file:
        return load(file)


def test_every_operator_of_onnx_has_a_measured_row_at_every_version(table: Table) -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    missing = []
    for name in sorted(names):
        for version in sorted({since(name, opset) for opset in OPSETS} - {None}, key=str):
            assert version is not None
            rows = [row for row in table.by_op.get(("", name), []) if row.since[0] <= version <= row.since[1]]
            # withdrawn before any vendor or oracle had it: no model can have one
            if not rows and (name, version) != ("Scatter", 11):
                missing.append(f"{name}-{version}")
    assert missing == []


def test_what_onnxruntime_writes_has_a_measured_row(table: Table) -> None:
    contributed = [name for name in operators() if "::" in name]
    assert len(contributed) > 50
    assert [name for name in contributed if tuple(name.split("::")) not in table.by_op] == []


def test_every_row_names_the_probes_that_it_comes_from(table: Table) -> None:
    assert table.execution
    assert table.rows
    for row in table.rows:
        assert row.status != "documented"
        assert row.probes, f"{row.op_type}-{row.since}"
        assert row.measured >= len(row.probes)
