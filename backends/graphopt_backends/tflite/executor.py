"""What runs in the child process of an execution: LiteRT's interpreter, by the signature's ONNX names."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt_backends.tflite import samples
from graphopt_backends.tflite.flatbuffer import SIGNATURE

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


def run_model(
    artifact: str,
    inputs_npz: str,
    outputs_npz: str,
    threads: int = 1,
    stored_axes: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Run the .tflite file `artifact` on the samples in `inputs_npz` and write its answers to `outputs_npz`.

    Args:
        artifact: the file.
        inputs_npz: samples with ONNX's order of axes.
        outputs_npz: receives the answers, in the same order of axes.
        threads: for the interpreter.
        stored_axes: inputs and outputs whose axes the file has in another order: which of ONNX's it stores where.

    Returns:
        {"milliseconds": [one a sample], "operators": int, "xnnpack": int (how many of them XNNPACK took)}
    """
    interpreter = open_file(Path(artifact), threads)
    answers, milliseconds = [], []
    for sample in samples.load(Path(inputs_npz)):
        given = {name: _in_order(array, stored_axes.get(name)) for name, array in sample.items()}
        start = time.perf_counter()
        answer = run(interpreter, given)
        answers.append({name: _in_order(array, _back(stored_axes.get(name))) for name, array in answer.items()})
        milliseconds.append(1000 * (time.perf_counter() - start))
    samples.save(Path(outputs_npz), answers)
    taken, total, _ = xnnpack_share(interpreter)
    return {"milliseconds": milliseconds, "operators": total, "xnnpack": taken}


def _in_order(array: np.ndarray, axes: Sequence[int] | None) -> np.ndarray:
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))


def _back(axes: Sequence[int] | None) -> list[int] | None:
    return None if axes is None else [list(axes).index(axis) for axis in range(len(axes))]


def open_file(file: bytes | Path, threads: int = 1) -> Interpreter:
    """An interpreter with LiteRT's default delegate (XNNPACK) that is ready to run, of a file or its content."""
    from ai_edge_litert.interpreter import Interpreter

    given = {"model_path": str(file)} if isinstance(file, Path) else {"model_content": file}
    interpreter = Interpreter(**given, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def run(interpreter: Interpreter, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run one sample; arrays go in and come out by their ONNX names."""
    answer: dict[str, np.ndarray] = interpreter.get_signature_runner(SIGNATURE)(**sample)
    return answer


def xnnpack_share(interpreter: Interpreter) -> tuple[int, int, dict[str, int]]:
    """How many operators of the main graph XNNPACK took, how many there are, and by builtin those that it left."""
    operators = interpreter._get_ops_details()
    delegates = [operator for operator in operators if operator["op_name"] == "DELEGATE"]
    plain = [operator for operator in operators if operator["op_name"] != "DELEGATE"]
    producers = {int(output): position for position, node in enumerate(plain) for output in node["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        taken |= _between(plain, producers, delegate["inputs"], delegate["outputs"])
    left = Counter(operator["op_name"] for position, operator in enumerate(plain) if position not in taken)
    return len(taken), len(plain), dict(left.most_common())


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
