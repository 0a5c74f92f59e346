"""PP-OCR's text classifier and detector, end to end, in the vendor's runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt_backends.tflite.backend import TFLiteBackend


def page(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A white page with dark strokes in rows, normalized to [-1, 1]: the detector finds text in it."""
    rng, page = np.random.default_rng(seed), np.ones(shape, np.float32)
    for top in range(12, shape[2] - 24, 48):
        for left in range(16, shape[3] - 24, 12):
            height, width = rng.integers(10, 22), rng.integers(2, 8)
            page[:, :, top : top + height, left : left + width] = -1 + 0.2 * rng.random()
    return page


@pytest.mark.parametrize(("name", "shape"), [("cls", (1, 3, 48, 192)), ("det", (1, 3, 320, 320))])
def test_a_demo_model_answers_in_litert_as_in_onnxruntime(name, shape, demo, reference, sqnr, tmp_path):
    path = demo(name)
    backend = TFLiteBackend()
    compiled = backend.compile(path, tmp_path / "model.tflite")
    assert (compiled.status, compiled.issues) == ("ok", ())
    assert compiled.detail["operators"]["TRANSPOSE"] == 1
    samples = [{"x": page(shape, seed)} for seed in range(2)]
    result = backend.execute(compiled, path, samples)
    assert result.status == "ok", result.reason
    for sample, found in zip(samples, result.samples, strict=True):
        for name, expected in reference(onnx.load(path), sample).items():
            assert sqnr(expected, found[name]) >= 80
