"""Each peer as its own documentation has it: python adapter.py TOOL MODEL.onnx CALIBRATION_FOLDER OUT.onnx.

All get the same: 8 bits for weights, a scale for each channel, and activations, from the same samples. Models of an
opset before 13 are converted by the onnx package first, since QuantizeLinear knows no axis there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Sample = dict[str, np.ndarray]


def samples(folder: Path) -> Iterator[Sample]:
    """The calibration samples, one by one."""
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as stored:
            yield dict(stored)


def converted(source: Path, folder: Path) -> Path:
    """The model itself, or a copy of opset 17 where it is of one before 13."""
    import onnx
    from onnx import version_converter

    model = onnx.load(source)
    if next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")) >= 13:
        return source
    inputs = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:  # the converter wants every initializer to be an input of such models
        if tensor.name not in inputs:
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    made = version_converter.convert_version(model, 17)
    stored = {tensor.name for tensor in made.graph.initializer}
    kept = [value for value in made.graph.input if value.name not in stored]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    made.ir_version = max(made.ir_version, 8)
    onnx.save(made, folder / "converted.onnx")
    return folder / "converted.onnx"


def onnxruntime(source: Path, calibration: Path, target: Path, method: str = "MinMax") -> None:
    """onnxruntime.quantization.quantize_static, after its own preprocessing, for each channel, int8 and int8."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = samples(calibration)

        def get_next(self) -> Sample | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready.onnx")
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )  # fmt: skip


def onnxruntime_percentile(source: Path, calibration: Path, target: Path) -> None:
    """The same with percentiles, which keeps all activations of all samples."""
    onnxruntime(source, calibration, target, "Percentile")


def onnxsim(source: Path, calibration: Path, target: Path) -> None:
    """onnxsim.quantize_static after onnxsim.simplify, for each channel."""
    import onnx
    import onnxsim as tool

    model, _ = tool.simplify(onnx.load(source))
    onnx.save(tool.quantize_static(model, calibration_data=list(samples(calibration)), per_channel=True), target)


def nncf(source: Path, calibration: Path, target: Path) -> None:
    """nncf.quantize with its defaults, which correct biases."""
    import nncf as tool
    import onnx

    given = list(samples(calibration))
    onnx.save(tool.quantize(onnx.load(source), tool.Dataset(given), subset_size=len(given)), target)


def aimet(source: Path, calibration: Path, target: Path) -> None:
    """AIMET-ONNX: a simulation of 8 bits whose encodings are computed on the samples, written as QDQ."""
    import onnx
    from aimet_onnx.quantsim import QuantizationSimModel

    sim = QuantizationSimModel(onnx.load(source), config_file="htp_v73")

    def forward(session: object) -> None:
        for sample in samples(calibration):
            session.run(None, sample)  # type: ignore[attr-defined]

    sim.compute_encodings(forward)
    onnx.save(sim.to_onnx_qdq(), target)


TOOLS: dict[str, Callable[[Path, Path, Path], None]] = {
    "onnxruntime": onnxruntime, "onnxruntime-percentile": onnxruntime_percentile, "onnxsim": onnxsim, "nncf": nncf,
    "aimet": aimet,
}  # fmt: skip


if __name__ == "__main__":
    tool, model, folder, out = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as scratch:
        TOOLS[tool](converted(Path(model), Path(scratch)), Path(folder), Path(out))
