"""`SnpeBackend.execute`: HTP emulation with the chip's own precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from graphopt_backends.snpe.backend import SnpeBackend

Save = Callable[..., Path]


def _onnxruntime(model: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ort.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, feed)


def test_ppocr_cls_agrees_with_onnxruntime_within_the_tolerance(
    backend: SnpeBackend, demo: Callable[[str], Path], tmp_path: Path
) -> None:
    model, x = demo("cls"), np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 192)).astype(np.float32)
    result = backend.execute(backend.compile(model, tmp_path / "m.dlc"), model, [{"x": x}])
    assert (result.status, result.reason) == ("ok", "")
    [got], [want] = result.samples[0].values(), _onnxruntime(model, {"x": x})
    sqnr = 10 * np.log10(np.sum(want.astype(np.float64) ** 2) / np.sum((want.astype(np.float64) - got) ** 2))
    assert sqnr > backend.tolerance_db


def test_floats_are_computed_in_fp16_as_on_the_chip(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[1, 64] x) => (float[1, 64] y) { y = Softmax<axis = -1>(x) }")
    samples = [{"x": np.random.default_rng(seed).standard_normal((1, 64)).astype(np.float32)} for seed in range(2)]
    result = backend.execute(backend.compile(model, tmp_path / "m.dlc"), model, samples)
    assert "soc_model 57" in result.runtime
    for sample, feed in zip(result.samples, samples, strict=True):
        want = _onnxruntime(model, feed)[0]
        error = np.abs(sample["y"] - want).max() / want.max()
        assert 1e-5 < error < 5e-3  # fp32 would stay below 1e-6


def test_the_target_decides_which_chip_is_emulated(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[1, 64] x) => (float[1, 64] y) { y = Softmax<axis = -1>(x) }")
    compiled = backend.compile(model, tmp_path / "m.dlc", targets=["sm8350"])
    result = backend.execute(compiled, model, [{"x": np.ones((1, 64), np.float32)}])
    assert "SM8350" in result.runtime
    assert "fp32" in result.runtime  # this chip has no fp16, and the emulator hides that


def test_a_crash_of_the_emulator_is_a_result(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    pool = 'y = AveragePool<kernel_shape = [2, 2], auto_pad = "SAME_UPPER">(x)'
    model = save(f"g (float[1, 3, 32, 32] x) => (float[1, 3, 32, 32] y) {{ {pool} }}")
    compiled = backend.compile(model, tmp_path / "m.dlc")
    result = backend.execute(compiled, model, [{"x": np.ones((1, 3, 32, 32), np.float32)}])
    assert result.status == "failed"
    assert "SIGSEGV" in result.reason
    assert result.samples == ()


def test_a_missing_input_is_a_failure_with_its_reason(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }")
    result = backend.execute(backend.compile(model, tmp_path / "m.dlc"), model, [{"z": np.ones((1, 4), np.float32)}])
    assert result.status == "failed"
    assert "x" in result.reason


def test_a_hard_swish_is_right_only_with_the_hard_sigmoid_first(
    backend: SnpeBackend, save: Save, tmp_path: Path
) -> None:
    """Why the recipe has `hard-sigmoid-first`: when QNN computes both orders rightly, the pass can go."""
    x = np.random.default_rng(0).standard_normal((1, 8, 16, 16)).astype(np.float32) * 4
    sqnr = []
    for factors in ("a, x", "x, a"):
        body = f"a = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul({factors})"
        model = save(f"g (float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y) {{ {body} }}", opset=14)
        result = backend.execute(backend.compile(model, tmp_path / "m.dlc"), model, [{"x": x}])
        want = _onnxruntime(model, {"x": x})[0].astype(np.float64)
        sqnr.append(10 * np.log10(np.sum(want**2) / np.sum((want - result.samples[0]["y"]) ** 2)))
    assert sqnr[0] > 60
    assert sqnr[1] < 0


def test_two_rolls_are_right_only_by_slices(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    """Why the recipe has `roll-by-slices`: when QNN computes both forms rightly, the pass can go."""
    x = np.random.default_rng(0).standard_normal((1, 56, 56, 48)).astype(np.float32)
    want = np.roll(x, (-3, -3), (1, 2)).astype(np.float64)
    ends = {"o": 0, "i": 3, "e": 56, "h": 1, "w": 2}
    given = f"<int64[2] s = {{3, 53}}, {', '.join(f'int64[1] {name} = {{{end}}}' for name, end in ends.items())}>"
    splits = (
        "a, b = Split<axis = 1>(x, s) z = Concat<axis = 1>(b, a) "
        "c, d = Split<axis = 2>(z, s) y = Concat<axis = 2>(d, c)"
    )
    slices = (
        "a = Slice(x, o, i, h) b = Slice(x, i, e, h) z = Concat<axis = 1>(b, a) "
        "c = Slice(z, o, i, w) d = Slice(z, i, e, w) y = Concat<axis = 2>(d, c)"
    )
    sqnr = []
    for body in (slices, splits):
        model = save(f"g (float[1, 56, 56, 48] x) => (float[1, 56, 56, 48] y) {given} {{ {body} }}", opset=14)
        result = backend.execute(backend.compile(model, tmp_path / "m.dlc"), model, [{"x": x}])
        sqnr.append(10 * np.log10(np.sum(want**2) / np.sum((want - result.samples[0]["y"]) ** 2)))
    assert sqnr[0] > 60
    assert sqnr[1] < 10
