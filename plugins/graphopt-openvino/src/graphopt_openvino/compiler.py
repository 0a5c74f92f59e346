"""What a child process does for the backend: compile to OpenVINO's IR, and run it."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov

from graphopt_openvino.runtime import compiled, core, read, run


def compile_model(model: str, out: str, device: str, half: bool, blob: bool) -> dict[str, Any]:
    """Have a device take a model, and write it as `out` (.xml) with its weights beside it (.bin).

    Args:
        model: an ONNX file.
        out: the .xml file.
        device: what must take it, as "CPU".
        half: store weights as float16.
        blob: write what the device made of it as well, beside `out` (.blob): it loads at once, on that device only.

    Returns:
        `refused`: OpenVINO's words, "" where it took the model; `operators`: how many the IR has.
    """
    try:
        graph = read(model)
        ready = compiled(graph, device)
    except RuntimeError as error:
        return {"refused": " ".join(str(error).split())}
    ov.save_model(graph, out, compress_to_fp16=half)
    if blob:
        with open(out.removesuffix(".xml") + ".blob", "wb") as file:
            file.write(ready.export_model().getvalue())
    return {"refused": "", "operators": len(graph.get_ops())}


def run_samples(artifact: str, device: str, names: list[str], inputs: list[str], outputs: list[str]) -> str:
    """Run the IR, not the ONNX file, on samples.

    Args:
        artifact: the .xml file.
        device: where to run.
        names: of the outputs in the order of the ONNX file.
        inputs: a .npz for each sample.
        outputs: where to write the .npz of its answers, by position.

    Returns:
        The device's full name.
    """
    ready = compiled(read(artifact), device)
    for given, wanted in zip(inputs, outputs, strict=True):
        with np.load(given) as stored:
            answers = run(ready, names, dict(stored))
        np.savez(wanted, *[answers[name] for name in names])
    return str(core().get_property(device, "FULL_DEVICE_NAME"))
