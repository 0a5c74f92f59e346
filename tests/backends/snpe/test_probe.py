"""The verdict on one small model, and the tolerance it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.support.child import call
from graphopt_backends.snpe.backend import SnpeBackend

Save = Callable[..., Path]
Probe = Callable[..., dict[str, Any]]


@pytest.fixture
def probe(backend: SnpeBackend, tmp_path: Path) -> Probe:
    """Ask for a verdict in a child process, as the harness does."""

    def probe(model: Path, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, Any]:
        np.savez(tmp_path / "inputs.npz", **inputs)
        np.savez(tmp_path / "expected.npz", **expected)
        names = {"model": model, "inputs": tmp_path / "inputs.npz", "expected": tmp_path / "expected.npz"}
        verdict: dict[str, Any] = call(backend.prober, {key: str(path) for key, path in names.items()}, timeout=60)
        return verdict

    return probe


def test_a_supported_op_is_claimed_compiled_run_and_right(probe: Probe, save: Save) -> None:
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
    model = save("g (float[1, 8] x) => (float[1, 8] y) { y = Tanh(x) }")
    verdict = probe(model, {"x": x}, {"y": np.tanh(x)})
    assert verdict.pop("realized_as") == ["Neuron"]
    assert verdict == {
        "claimed": True, "compiled": True, "ran": True, "numerics": "pass", "error": "", "artifact": True,
    }  # fmt: skip


def test_a_wrong_result_is_seen(probe: Probe, save: Save) -> None:
    x = np.ones((1, 8), np.float32)
    model = save("g (float[1, 8] x) => (float[1, 8] y) { y = Relu(x) }")
    verdict = probe(model, {"x": x}, {"y": x * 1.05})
    assert (verdict["ran"], verdict["numerics"]) == (True, "fail")
    assert verdict["error"].startswith("y: error 0.05")


def test_an_unclaimed_op_has_its_reason_on_one_line(probe: Probe, save: Save) -> None:
    model = save("g (float[1, 4, 4] x) => (float[1] y) { y = Det(x) }")
    verdict = probe(model, {"x": np.zeros((1, 4, 4), np.float32)}, {"y": np.zeros(1, np.float32)})
    assert (verdict["claimed"], verdict["compiled"], verdict["ran"]) == (False, False, None)
    assert "not supported" in verdict["error"]
    assert "\n" not in verdict["error"]


def test_a_file_that_onnxruntime_does_not_read_is_neither_claimed_nor_refused(probe: Probe, save: Save) -> None:
    model = save("g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }", ir_version=14)
    verdict = probe(model, {"x": np.zeros((1, 4), np.float32)}, {"y": np.zeros((1, 4), np.float32)})
    assert verdict["claimed"] is None
    assert "IR version 14" in verdict["error"]
