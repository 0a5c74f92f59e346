"""How ill-conditioned is a model inside? Every float that a node makes is moved a little, and the outputs are watched.

`graphopt.verify.noise_floor` moves inputs and weights; a random model may cancel or round what lies between, which no
change of its inputs shows. A rewrite that only rounds differently may move the outputs as far as this does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.fuzz.run import execute
from graphopt.verify import OutputError, compare

_STEPS, _TRIALS = {1: 2.0**-20, 11: 2.0**-20, 10: 2.0**-9}, 4
"""Relative size of the move by element type, some units in the last place; of doubles as of the floats around them."""


def jitter(
    proto: Any,
    samples: Sequence[Mapping[str, np.ndarray]],
    expected: Sequence[Mapping[str, np.ndarray]],
    *,
    reference: bool = False,
) -> list[OutputError]:
    """The worst error of each output in some trials.

    Raises:
        Unrunnable: the moved model does not run.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(proto)
    worst: dict[str, OutputError] = {}
    for trial in range(_TRIALS):
        rng = np.random.default_rng(trial)
        moved = onnx.ModelProto()
        moved.CopyFrom(inferred)
        _move(moved.graph, rng)
        near = [{name: _near(array, rng) for name, array in sample.items()} for sample in samples]
        for error in compare(expected, execute(moved, near, reference=reference)):
            known = worst.get(error.name)
            if known is None or (error.sqnr_db, error.match) < (known.sqnr_db, known.match):
                worst[error.name] = error
    return list(worst.values())


def _move(graph: Any, rng: np.random.Generator) -> None:
    """Put a factor behind every node: it takes over the name of what the node makes, so nothing else changes."""
    import onnx

    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _move(attribute.g, rng)
        graph.node.append(node)
        last = graph.node[-1]
        for index, name in enumerate(node.output):
            step = _STEPS.get(kinds.get(name, 0))
            if step is None or node.op_type == "Constant":
                continue
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kinds[name])
            factor = onnx.numpy_helper.from_array(np.asarray(1 + step * rng.uniform(-1, 1), dtype), f"{name}_by")
            last.output[index] = f"{name}_was"
            graph.node.append(onnx.helper.make_node("Constant", [], [f"{name}_by"], value=factor))
            graph.node.append(onnx.helper.make_node("Mul", [f"{name}_was", f"{name}_by"], [name]))


def _near(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    step = 2.0**-9 if array.itemsize == 2 else 2.0**-20
    return np.asarray(array * (1 + step * rng.uniform(-1, 1, array.shape)), array.dtype)
