"""What the SNPE tests share: the backend, models in ONNX's text format, and PP-OCR where its wheel is importable."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

from graphopt_backends.snpe.backend import SnpeBackend

_DEMO = {
    "cls": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", [1, 3, 48, 192]),
    "det": ("ch_PP-OCRv4_det_infer.onnx", [1, 3, 480, 640]),
}


@pytest.fixture(scope="session")
def backend() -> SnpeBackend:
    backend = SnpeBackend()
    if backend.toolchain() is None:
        pytest.skip("onnxruntime-qnn is not installed")
    return backend


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a model given as text, `save("g (float[2] x) => (float[2] y) { y = Relu(x) }")`."""

    def save(graph: str, *, opset: int = 17, ir_version: int = 9, domain: str = "") -> Path:
        imports = f'"": {opset}' + (f', "{domain}": 1' if domain else "")
        model = onnx.parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{imports}]>\n{graph}")
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return save


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """PP-OCR's "cls" or "det" with its input's shape fixed and constants folded."""

    def demo(name: str) -> Path:
        import onnxsim

        package = importlib.util.find_spec("rapidocr_onnxruntime")
        if package is None or not package.submodule_search_locations:
            pytest.skip("PP-OCR's models come with rapidocr_onnxruntime, which is not importable")
        file, shape = _DEMO[name]
        model = onnx.load(Path(package.submodule_search_locations[0], "models", file))
        for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
        del model.graph.value_info[:]
        folded, _ = onnxsim.simplify(model)
        path = tmp_path_factory.mktemp("demo") / f"{name}.onnx"
        onnx.save(folded, path)
        return path

    return demo
