"""PP-OCR's text classifier and detector, end to end, in the vendor's runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt_backends.tflite.backend import TFLiteBackend

DEMO = {
    "cls": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 192)),
    "det": ("ch_PP-OCRv4_det_infer.onnx", (1, 3, 480, 640)),
}


def page(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A white page with dark strokes in rows, normalized to [-1, 1]: the detector finds text in it."""
    rng, page = np.random.default_rng(seed), np.ones(shape, np.float32)
    for top in range(12, shape[2] - 24, 48):
        for left in range(16, shape[3] - 24, 12):
            height, width = rng.integers(10, 22), rng.integers(2, 8)
            page[:, :, top : top + height, left : left + width] = -1 + 0.2 * rng.random()
    return page


@pytest.fixture(scope="module", params=list(DEMO))
def demo(request, tmp_path_factory) -> tuple[Path, tuple[int, ...]]:
    import onnxsim

    package = importlib.util.find_spec("rapidocr_onnxruntime")
    if package is None or not package.submodule_search_locations:
        pytest.skip("PP-OCR's models come with rapidocr_onnxruntime, which is not importable")
    file, shape = DEMO[request.param]
    model = onnx.load(Path(package.submodule_search_locations[0], "models", file))
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    folded, _ = onnxsim.simplify(model)
    path = tmp_path_factory.mktemp("demo") / "model.onnx"
    onnx.save(folded, path)
    return path, shape


def test_a_demo_model_answers_in_litert_as_in_onnxruntime(demo, reference, sqnr):
    path, shape = demo
    backend = TFLiteBackend()
    compiled = backend.compile(path, path.with_suffix(".tflite"))
    assert (compiled.status, compiled.issues) == ("ok", ())
    assert compiled.detail["operators"]["TRANSPOSE"] == 1
    samples = [{"x": page(shape, seed)} for seed in range(2)]
    result = backend.execute(compiled, path, samples)
    assert result.status == "ok", result.reason
    for sample, found in zip(samples, result.samples, strict=True):
        for name, expected in reference(onnx.load(path), sample).items():
            assert sqnr(expected, found[name]) >= 80
