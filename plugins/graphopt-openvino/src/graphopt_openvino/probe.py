"""OpenVINO's verdict on one small model, for `graphopt probe -b openvino`."""

from __future__ import annotations

from typing import Any

import onnx
import openvino as ov

from graphopt.testing.prober import answer
from graphopt_openvino.runtime import compiled, read, run

_PLUMBING = ("Parameter", "Result", "Constant")


def verdict(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Compile and run one model on the CPU; see `graphopt.testing.prober.answer`."""
    names = [output.name for output in onnx.load(model, load_external_data=False).graph.output]

    def compile_file(path: str) -> tuple[ov.Model, ov.CompiledModel]:
        graph = read(path)
        return graph, compiled(graph, "CPU")

    return answer(
        model, inputs, expected, compile=compile_file, run=lambda made, given: run(made[1], names, given),
        kinds=lambda made: [op.get_type_name() for op in made[0].get_ops() if op.get_type_name() not in _PLUMBING],
    )  # fmt: skip
