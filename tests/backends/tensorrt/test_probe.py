"""TensorRT-RTX's verdict on one small model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.support.child import call
from graphopt_backends.tensorrt.backend import TensorRTBackend

Save = Callable[..., Path]
Probe = Callable[..., dict[str, Any]]


@pytest.fixture
def probe(backend: TensorRTBackend, tmp_path: Path) -> Probe:
    """Ask for a verdict in a child process, as the harness does."""

    def probe(model: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        np.savez(tmp_path / "inputs.npz", **inputs)
        np.savez(tmp_path / "expected.npz")
        names = {"model": model, "inputs": tmp_path / "inputs.npz", "expected": tmp_path / "expected.npz"}
        verdict: dict[str, Any] = call(backend.prober, {key: str(path) for key, path in names.items()}, timeout=60)
        return verdict

    return probe


def test_a_supported_op_is_claimed_and_built_and_never_said_to_have_run(probe: Probe, save: Save) -> None:
    model = save("g (float[1, 4] x) => (float[1, 4] y) { y = Tanh(x) }")
    assert probe(model, {"x": np.zeros((1, 4), np.float32)}) == {
        "claimed": True, "compiled": True, "ran": None, "numerics": None, "error": "", "realized_as": ["ACTIVATION"],
        "artifact": True,
    }  # fmt: skip


def test_a_claim_without_a_build_is_no_support(probe: Probe, save: Save) -> None:
    model = save("g (float[1, 4, 4] x, float[1, 1, 4] s) => (int64[n, 3] y) { y = NonMaxSuppression(x, s) }")
    verdict = probe(model, {"x": np.zeros((1, 4, 4), np.float32), "s": np.zeros((1, 1, 4), np.float32)})
    assert (verdict["claimed"], verdict["compiled"], verdict["artifact"]) == (True, False, False)
    assert verdict["error"]
    assert "\n" not in verdict["error"]


def test_a_refused_op_has_its_reason(probe: Probe, save: Save) -> None:
    verdict = probe(save("g (float[1, 4, 4] x) => (float[1] y) { y = Det(x) }"), {"x": np.zeros((1, 4, 4), np.float32)})
    assert (verdict["claimed"], verdict["compiled"]) == (False, False)
    assert "no support" in verdict["error"]


def test_an_input_that_holds_a_shape_takes_its_value_from_the_example(probe: Probe, save: Save) -> None:
    model = save("g (float[2, 6] x, int64[2] s) => (float[a, b] y) { y = Reshape(x, s) }")
    verdict = probe(model, {"x": np.zeros((2, 6), np.float32), "s": np.array([3, 4], np.int64)})
    assert (verdict["claimed"], verdict["compiled"]) == (True, True)
