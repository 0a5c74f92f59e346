"""Run a model on Qualcomm's HTP emulator. Runs in a child process, one for each chip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from graphopt_backends.snpe.session import captured, open_session, read


def run_samples(
    model: str, soc: int, inputs: str, outputs: str, names: Sequence[str], count: int, log: str
) -> list[str]:
    """Run `count` samples and save what comes out.

    Nothing that pip installs executes a `.dlc`. The emulator starts from the ONNX model through the same compiler and
    the same op validation. It is Qualcomm's simulation on x86: silicon may still differ.

    Args:
        model: an ONNX file.
        soc: QNN's `soc_model`.
        inputs: `.npz` with the arrays "SAMPLE.INDEX", where INDEX counts `names`.
        outputs: `.npz` to write, with the arrays "SAMPLE.INDEX", where INDEX counts the result.
        names: the inputs' ONNX names.
        count: number of samples.
        log: file for the vendor's log, which outlives a crash.

    Returns:
        The outputs' ONNX names.
    """
    path = Path(model)
    session = open_session(read(path), soc, folder=path.parent, log=Path(log))
    wanted = [value.name for value in session.get_outputs()]
    taken = {value.name for value in session.get_inputs()}
    results: dict[str, np.ndarray] = {}
    with np.load(inputs) as stored:
        for sample in range(count):
            feed = {name: stored[f"{sample}.{index}"] for index, name in enumerate(names) if name in taken}
            for index, array in enumerate(run(session, feed, Path(log))):
                results[f"{sample}.{index}"] = array
    np.savez(outputs, **results)  # type: ignore[arg-type]  # numpy's stub takes the keywords for allow_pickle
    return wanted


def run(session: ort.InferenceSession, feed: dict[str, Any], log: Path) -> list[np.ndarray]:
    """Run one sample, all outputs; what the emulator prints goes to `log`."""
    settings = ort.RunOptions()
    settings.log_severity_level = 4
    with captured(log):
        return [np.asarray(array) for array in session.run(None, feed, settings)]
