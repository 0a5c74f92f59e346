"""A failure made small: the least model, and the fewest passes, that fail in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.fuzz.draw import Drawn
from graphopt.fuzz.run import Unrunnable, execute
from graphopt.fuzz.trial import Failure, trial
from graphopt.pipeline import Step
from graphopt.reduce import reduce
from graphopt.support.backend import Backend

_SECONDS = 60.0


def shrink(
    drawn: Drawn, steps: Sequence[Step], backend: Backend | None, failure: Failure, seconds: float = _SECONDS
) -> tuple[Drawn, list[Step]]:
    """The smallest model that was found to fail alike, with its inputs, and the passes that it takes.

    Args:
        drawn: the model that fails.
        steps: the recipe that it fails in.
        backend: what the recipe is for.
        failure: how; another one of the same kind and pass counts as the same.
        seconds: wall time for the model.
    """

    def fails(one: Drawn, passes: Sequence[Step]) -> bool:
        return any(found.signature == failure.signature for found in trial(one, passes, backend).failures)

    passes = list(steps)
    size = max(len(passes) // 2, 1)
    while size:
        start = 0
        while start < len(passes):
            fewer = passes[:start] + passes[start + size :]
            if fewer and fails(drawn, fewer):
                passes = fewer
            else:
                start += size
        size //= 2
    recorded = _record(drawn)

    def interesting(model: Any) -> bool:
        smaller = _fed(drawn, model, recorded)
        return smaller is not None and fails(smaller, passes)

    small = reduce(drawn.proto, interesting, seconds=seconds).model
    return _fed(drawn, small, recorded) or drawn, passes


def _record(drawn: Drawn) -> list[Mapping[str, np.ndarray]]:
    """What every value of the model holds, in each sample."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(drawn.proto)
    have = {value.name for value in shown.graph.output}
    names = [name for node in shown.graph.node for name in node.output if name and name not in have]
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    try:
        answers = execute(shown, drawn.samples, reference=drawn.reference)
    except Unrunnable:
        answers = [dict(one) for one in drawn.expected]
    return [{**sample, **answer} for sample, answer in zip(drawn.samples, answers, strict=True)]


def _fed(drawn: Drawn, model: Any, recorded: Sequence[Mapping[str, np.ndarray]]) -> Drawn | None:
    """A smaller model with what its inputs held in the large one; None where it does not run."""
    held = {tensor.name for tensor in model.graph.initializer}
    wanted = [value for value in model.graph.input if value.name not in held]
    if not all(value.name in sample for value in wanted for sample in recorded):
        return None
    samples = tuple({value.name: _cut(sample[value.name], value) for value in wanted} for sample in recorded)
    try:
        expected = tuple(execute(model, samples, reference=drawn.reference))
        return replace(drawn, proto=model, samples=samples, expected=expected)
    except (Unrunnable, GraphoptError):
        return None


def _cut(array: np.ndarray, value: Any) -> np.ndarray:
    """The corner of an array that a declared shape leaves."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) != array.ndim:
        return array
    sizes = (dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
    return np.ascontiguousarray(array[tuple(slice(size) for size in sizes)]).reshape(
        [min(n, d.dim_value) if d.HasField("dim_value") else n for n, d in zip(array.shape, dims, strict=True)]
    )
