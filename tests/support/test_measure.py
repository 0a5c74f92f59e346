"""From a backend to its table, through the same door as `graphopt probe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from graphopt.errors import MissingExtraError, UserError
from graphopt.support.backend import Backend, CompileResult, ExecutionResult
from graphopt.support.measure import difference, measure
from graphopt.support.table import Row, Table, dump, load


class OnnxRuntime(Backend):
    """onnxruntime's CPU provider as a backend; only what is needed to measure it."""

    name, title, suffix, extra = "toy", "ONNX Runtime", ".onnx", "toy"
    prober = "probers:onnxruntime_cpu"
    installed: str | None = f"onnxruntime {onnxruntime.__version__}"

    def table(self) -> Table:
        return Table(backend=self.name, toolchain=self.installed or "", date="2026-01-02")

    def recipe(self) -> str:
        return ""

    def toolchain(self) -> str | None:
        return self.installed

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        return CompileResult("failed", self.installed or "")

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        return ExecutionResult("unavailable")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_a_measured_table_is_the_same_when_it_is_measured_again(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = measure(OnnxRuntime(), tmp_path, ops=["Sign"], rounds=0, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1][0] == seen[-1][1] > 10
    dump(first, tmp_path / "table.json")
    again = measure(OnnxRuntime(), tmp_path / "elsewhere", ops=["Sign"], rounds=0)
    assert difference(load(tmp_path / "table.json"), again) == []
    assert again.rows == first.rows
    assert {row.status for row in first.rows} == {"native", "folded"}


def test_rows_of_operators_that_are_not_measured_now_stay(tmp_path: Path) -> None:
    kept = Row(op_type="Abs", since=(6, 13), status="native")
    old = (
        OnnxRuntime()
        .table()
        .model_copy(update={"rows": (kept, Row(op_type="Not", since=(1, 1), status="unsupported"))})
    )
    new = measure(OnnxRuntime(), tmp_path, ops=["Not"], old=old, rounds=0)
    assert [(row.op_type, row.status) for row in new.rows] == [("Abs", "native"), ("Not", "native")]
    other = old.model_copy(update={"toolchain": "onnxruntime 0.1"})
    again = measure(OnnxRuntime(), tmp_path, ops=["Not"], old=other, rounds=0)
    assert {row.op_type for row in again.rows} == {"Not"}


def test_what_cannot_be_measured_is_said_clearly(tmp_path: Path) -> None:
    absent, silent = OnnxRuntime(), OnnxRuntime()
    absent.installed = None
    silent.prober = ""  # type: ignore[misc]
    with pytest.raises(MissingExtraError, match=r"graphopt\[toy\]"):
        measure(absent, tmp_path)
    with pytest.raises(UserError, match="no prober"):
        measure(silent, tmp_path)
    with pytest.raises(UserError, match="no probe asks about Frobnicate"):
        measure(OnnxRuntime(), tmp_path, ops=["Frobnicate"])
