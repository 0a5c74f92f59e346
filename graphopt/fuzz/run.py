"""Executing random models: by onnxruntime, or in this process by onnx.reference where that has no kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.verify.execute import ExecutionFailed, Runner, flatten

_ABSENT = (
    "NOT_IMPLEMENTED", "not implemented", "is not a registered function", "Could not find an implementation",
    "is under development", "(layout == 1) are not supported",
)  # fmt: skip


class Unrunnable(GraphoptError):
    """A model that neither oracle runs."""


class NoKernel(Unrunnable):
    """A model with an operator that onnxruntime has no kernel for."""


def execute(
    proto: Any, samples: Sequence[Mapping[str, np.ndarray]], *, reference: bool = False
) -> list[dict[str, np.ndarray]]:
    """Run a ModelProto and return the outputs of each sample by name.

    Args:
        proto: the model.
        samples: its inputs.
        reference: by onnx.reference, for what onnxruntime has no kernel for.

    Raises:
        NoKernel: onnxruntime lacks an operator.
        Unrunnable: it cannot be run.
    """
    if reference:
        return _reference(proto, samples)
    data = proto.SerializeToString()
    try:
        if b"training_mode" in data:
            # onnxruntime writes the running mean of a BatchNormalization over its initializer, for the next run to see
            return [dict(Runner(data, threads=1).run(sample)) for sample in samples]
        runner = Runner(data, threads=1)
        return [dict(runner.run(sample)) for sample in samples]
    except ExecutionFailed as error:
        words = f"{error.reason} {error.__cause__}"
        raise (NoKernel if any(one in words for one in _ABSENT) else Unrunnable)(error.reason) from None


def _reference(proto: Any, samples: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    from onnx.reference import ReferenceEvaluator

    from graphopt.support.oracle import OPERATORS

    results = []
    try:
        evaluator = ReferenceEvaluator(proto, new_ops=list(OPERATORS))
        for sample in samples:
            with np.errstate(all="ignore"):
                values: list[Any] = evaluator.run(None, dict(sample))
            pairs = zip(evaluator.output_names, values, strict=True)
            results.append(dict(item for name, value in pairs for item in flatten(name, value)))
    except Exception as error:  # noqa: BLE001 (its kernels raise anything at all; the model is then not one to use)
        raise Unrunnable(f"onnx.reference: {error}") from None
    return results
