"""The second oracle: onnx.reference, the specification in numpy. Slow, so it is asked only where the first is doubted.

It runs in a process of its own: some of its kernels take minutes or all the memory, and only a process can be stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from graphopt.parcel import pack, unpack
from graphopt.verify.execute import ExecutionFailed, TooMuch, flatten, run, serialized
from graphopt.verify.types import Array, Sample

NODES, SECONDS = 3000, 60.0


def answers(model: ir.Model, samples: Sequence[Mapping[str, Array]]) -> list[Sample]:
    """The outputs of a model: onnxruntime's, or onnx.reference's where onnxruntime cannot run it.

    A newer opset than it reads and operators that it has no kernel for are what that is for.

    Raises:
        ExecutionFailed: neither can; the words are onnxruntime's.
    """
    try:
        return run(model, samples)
    except TooMuch:
        raise
    except ExecutionFailed as error:
        try:
            return run_reference(model, samples)
        except ExecutionFailed:
            raise error from None


def run_reference(
    model: ir.Model, samples: Sequence[Mapping[str, Array]], *, nodes: int = NODES, seconds: float = SECONDS
) -> list[Sample]:
    """Execute a model on samples with onnx.reference and return the outputs of each by name.

    Args:
        model: the model.
        samples: its inputs.
        nodes: a larger model is refused.
        seconds: wall time for all samples together.

    Raises:
        ExecutionFailed: the model is too large, took too long, or holds an operator that onnx.reference lacks.
    """
    count = sum(1 for _ in model.graph.all_nodes())
    if count > nodes:
        raise ExecutionFailed(f"{count} nodes are too many for onnx.reference, whose limit here is {nodes}")
    with serialized(model) as source, tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        file, job, answer = Path(folder, "model.onnx"), Path(folder, "job"), Path(folder, "answer")
        if isinstance(source, bytes):
            file.write_bytes(source)
        else:
            file = Path(source)
        job.write_bytes(pack(samples))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-m", "graphopt.verify.oracle", *map(str, (file, job, answer))]
        try:
            child = subprocess.run(command, capture_output=True, timeout=seconds, check=False, env=environment)
        except subprocess.TimeoutExpired:
            raise ExecutionFailed(f"onnx.reference gave no answer in {seconds:.0f} s") from None
        if not answer.exists():
            lines = child.stderr.decode(errors="replace").strip().splitlines()
            raise ExecutionFailed(f"onnx.reference: {lines[-1] if lines else f'exit code {child.returncode}'}")
        return unpack(answer.read_bytes())


def _evaluate(source: str, samples: list[dict[str, Array]]) -> list[Sample]:
    import onnx
    import onnx.reference

    evaluator = onnx.reference.ReferenceEvaluator(onnx.load(source))
    results = []
    for sample in samples:
        values: list[Any] = evaluator.run(None, sample)
        pairs = zip(evaluator.output_names, values, strict=True)
        results.append(dict(item for name, value in pairs for item in flatten(name, value)))
    return results


if __name__ == "__main__":
    source, job, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    target.with_suffix(".part").write_bytes(pack(_evaluate(source, unpack(job.read_bytes()))))
    target.with_suffix(".part").replace(target)
