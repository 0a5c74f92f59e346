"""How far do a model's outputs move when everything in it moves by one unit in the last place?

A rewrite that reassociates sums changes numbers by about that much, so it may move the outputs by about as much as
this, and no verdict can be finer. A network that rounds, compares or divides by almost nothing moves far; calling its
rewrites wrong for that would be a false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from graphopt.verify.execute import Runner, run
from graphopt.verify.metrics import OutputError, compare, is_float, unit_roundoff
from graphopt.verify.types import Array, Sample

WEIGHT_BYTES = 64 << 20
TRIALS = 2

_CODED, _CODE_ROUNDOFF = ("DynamicQuantizeLSTM",), 2.0**-9
"""Operators that round their operands to 256 codes over their range, and half such a code."""

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


def noise_floor(
    model: ir.Model,
    samples: Sequence[Mapping[str, Array]],
    *,
    expected: Sequence[Sample] | None = None,
    seed: int = 0,
    roundoff: float | None = None,
) -> list[OutputError]:
    """Measure the error that one unit in the last place of float inputs and weights makes in the outputs.

    Args:
        model: the model; it is not changed.
        samples: its inputs.
        expected: its outputs on them, computed here where they are not given.
        seed: of the random directions.
        roundoff: relative size of the step where it is not one unit in the last place, as 2⁻¹¹ for what rounding to
            float16 does to a float32 model.

    Returns:
        For each output the worst record of some trials. Weights are perturbed smallest first, up to 64 MiB of them,
        which reaches every layer (its bias, its norm) without a second copy of a large model.

    Raises:
        ExecutionFailed: onnxruntime cannot run the model.
    """
    expected = run(model, samples) if expected is None else expected
    rng = np.random.default_rng(seed)
    worst: dict[str, OutputError] = {}
    for _ in range(TRIALS):
        runner = Runner(_perturbed(model, rng, roundoff))
        moved = [
            runner.run({name: nudge(array, rng, roundoff) for name, array in sample.items()}) for sample in samples
        ]
        for error in compare(expected, moved):
            known = worst.get(error.name)
            if known is None or (error.sqnr_db, error.match) < (known.sqnr_db, known.match):
                worst[error.name] = error
    return list(worst.values())


def precision(model: ir.Model) -> float:
    """The unit roundoff of the coarsest type that the model computes in, that of float32 at least.

    Of an operator that takes floats and rounds them to 256 codes inside, half a code counts.
    """
    coded = any(node.op_type in _CODED and node.domain == "com.microsoft" for node in model.graph.all_nodes())
    types = {value.dtype for node in model.graph.all_nodes() for value in node.outputs}
    types |= {
        ir.DataType(node.attributes["to"].as_int())
        for node in model.graph.all_nodes()
        if node.op_type == "Cast" and "to" in node.attributes
    }
    types |= {
        attribute.as_tensor().dtype
        for node in model.graph.all_nodes()
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref()
    }
    types |= {value.dtype for graph in model.graphs() for value in (*graph.inputs, *graph.initializers.values())}
    wanted = [ir.DataType.FLOAT16, ir.DataType.BFLOAT16]
    return max(
        [_CODE_ROUNDOFF if coded else 2.0**-24, *(unit_roundoff(kind.numpy()) for kind in wanted if kind in types)]
    )


def nudge(array: Array, rng: np.random.Generator, roundoff: float | None = None) -> Array:
    """Move each float of an array by one unit in its last place, up or down at random; zeros stay what they are.

    With `roundoff` the step is as large as that share of the number instead, where that is more.
    """
    kind = _BITS.get(array.itemsize)
    if kind is None or not is_float(array.dtype) or array.dtype.kind == "c":
        return array
    # The integers behind the floats are ordered like their magnitudes, so ±1 there is the neighboring float.
    far = 1 if roundoff is None else max(1, round(roundoff / unit_roundoff(array.dtype)))
    steps = rng.choice(np.array([-far, far], kind), array.shape)
    moved = (np.asarray(array, order="C").view(kind) + steps).view(array.dtype)
    with np.errstate(over="ignore"):
        keep = (array == 0) | ~np.isfinite(array) | ~np.isfinite(moved)
    return np.where(keep, array, moved)


def _perturbed(model: ir.Model, rng: np.random.Generator, roundoff: float | None) -> ir.Model:
    copy = model.clone()
    weights = [
        value
        for graph in copy.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
        and value.const_value.dtype.is_floating_point()
        # The smallest step in a scale or a range changes the shape of what comes out.
        and not any(node.op_type in ("Resize", "Upsample", "Range") for node, _ in value.uses())
    ]
    budget = WEIGHT_BYTES
    for value in sorted(weights, key=lambda v: v.const_value.nbytes if v.const_value is not None else 0):
        tensor = value.const_value
        if tensor is None or (budget := budget - tensor.nbytes) < 0:
            break
        value.const_value = ir.tensor(nudge(tensor.numpy(), rng, roundoff), dtype=tensor.dtype, name=tensor.name)
    return copy
