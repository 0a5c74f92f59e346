"""What runs in the child process of an execution: LiteRT's interpreter, by the signature's ONNX names."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt_backends.tflite import samples
from graphopt_backends.tflite.flatbuffer import SIGNATURE

if TYPE_CHECKING:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter


def run_model(artifact: str, inputs_npz: str, outputs_npz: str, threads: int = 1) -> dict[str, Any]:
    """Run the .tflite file `artifact` on the samples in `inputs_npz` and write its answers to `outputs_npz`.

    Returns:
        {"milliseconds": [one a sample], "operators": int, "xnnpack": int (how many of them XNNPACK took)}
    """
    interpreter = open_file(Path(artifact).read_bytes(), threads)
    answers, milliseconds = [], []
    for sample in samples.load(Path(inputs_npz)):
        start = time.perf_counter()
        answers.append(run(interpreter, sample))
        milliseconds.append(1000 * (time.perf_counter() - start))
    samples.save(Path(outputs_npz), answers)
    taken, total = xnnpack_share(interpreter)
    return {"milliseconds": milliseconds, "operators": total, "xnnpack": taken}


def open_file(content: bytes, threads: int = 1) -> Interpreter:
    """An interpreter with LiteRT's default delegate (XNNPACK) that is ready to run."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def run(interpreter: Interpreter, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run one sample; arrays go in and come out by their ONNX names."""
    answer: dict[str, np.ndarray] = interpreter.get_signature_runner(SIGNATURE)(**sample)
    return answer


def xnnpack_share(interpreter: Interpreter) -> tuple[int, int]:
    """How many operators XNNPACK took, and how many there are."""
    operators = interpreter._get_ops_details()
    delegates = [operator for operator in operators if operator["op_name"] == "DELEGATE"]
    plain = [operator for operator in operators if operator["op_name"] != "DELEGATE"]
    producers = {int(output): position for position, node in enumerate(plain) for output in node["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        taken |= _between(plain, producers, delegate["inputs"], delegate["outputs"])
    return len(taken), len(plain)


def _between(
    operators: Sequence[Mapping[str, Any]], producers: Mapping[int, int], inputs: Sequence[int], outputs: Sequence[int]
) -> set[int]:
    """The operators from which `outputs` follow, back to `inputs`."""
    edge, found, stack = {int(tensor) for tensor in inputs}, set(), [int(tensor) for tensor in outputs]
    while stack:
        tensor = stack.pop()
        position = producers.get(tensor)
        if tensor in edge or position is None or position in found:
            continue
        found.add(position)
        stack += [int(operand) for operand in operators[position]["inputs"]]
    return found
