"""How much each layer costs when it alone is quantized.

one at a time   the noise at the outputs of the model, from running it with one layer changed: exact, a run a layer
trace           tr(Δ H Δᵀ) / tr(W H Wᵀ), the noise at the layer's own output that rounding its weight makes, from
                moments alone (layer-wise, after HAWQ's Ω, arXiv:2011.10680): nothing is run, what follows is not seen
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Layer, Moment, Samples
from graphopt.calibrate.sweep import begun, loaded, prepared
from graphopt.errors import UserError
from graphopt.ir import constant
from graphopt.ir.edit import Names, add_constant
from graphopt.quantize.grid import Grid, store
from graphopt.quantize.methods.rounding import output_error

Change = Callable[[ir.Model], None]
"""Makes one layer of a copy of the model behave as if it were quantized."""


def one_at_a_time(
    model: ir.Model,
    changes: Mapping[str, Change],
    samples: Samples,
    *,
    most: int = 4,
    tell: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Noise at the model's floating-point outputs that each change makes by itself.

    Args:
        model: the float model.
        changes: by a name of the caller's.
        samples: the inputs, by name.
        most: how many of the samples are used.
        tell: progress, changes done and changes in all.

    Returns:
        Σ‖y - ŷ‖² / Σ‖y‖², the mean over outputs, by name; -10·log10 of it is an SQNR in dB.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: the model does not run on a sample.
    """
    few = [sample for sample, _ in zip(begun(samples), range(most), strict=False)]
    if not few:
        raise UserError("there is no sample to measure sensitivity on: give --calibration at least one")
    noises: dict[str, float] = {}
    with prepared(model) as copy:
        runner = loaded(copy)
        wanted = [runner.run(sample) for sample in few]
        for number, (name, change) in enumerate(changes.items()):
            changed = copy.clone()
            change(changed)
            other = loaded(changed)
            noises[name] = _noise(wanted, [other.run(sample) for sample in few])
            if tell is not None:
                tell(number + 1, len(changes))
    return noises


def _noise(wanted: list[dict[str, np.ndarray]], got: list[dict[str, np.ndarray]]) -> float:
    shares = []
    for name in wanted[0]:
        if wanted[0][name].dtype.kind != "f":
            continue
        signal = sum(float(np.square(one[name].astype(np.float64)).sum()) for one in wanted)
        noise = sum(
            float(np.square(one[name].astype(np.float64) - other[name]).sum())
            for one, other in zip(wanted, got, strict=True)
        )
        shares.append(noise / max(signal, 1e-300) if math.isfinite(noise) else math.inf)
    return sum(shares) / len(shares) if shares else 0.0


def as_if_quantized(name: str, weights: np.ndarray | None, grid: Grid | None) -> Change:
    """A change that rounds one layer's weight and what it reads.

    Args:
        name: of the layer, which is that of its output.
        weights: what the codes of the weight stand for; None leaves it as it is.
        grid: of what the layer reads, with one scale and 8 bits; None leaves it in float.
    """

    def change(model: ir.Model) -> None:
        node = next(node for node in model.graph if node.outputs and node.outputs[0].name == name)
        names = Names(model)
        if weights is not None:
            old = constant(node.inputs[1])
            assert old is not None
            array = weights.astype(old.dtype.numpy())
            node.replace_input_with(1, add_constant(model.graph, array, names.fresh("rounded")))
        if grid is not None:
            node.replace_input_with(0, _through_codes(model, node, grid, names))

    return change


def _through_codes(model: ir.Model, node: ir.Node, grid: Grid, names: Names) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    scale = add_constant(model.graph, np.asarray(grid.scale, np.float32), names.fresh("scale"))
    zero = add_constant(model.graph, store(np.asarray(grid.zero), grid.codes), names.fresh("zero"))
    coded = ir.node("QuantizeLinear", [value, scale, zero], name=names.fresh("quantize"))
    back = ir.node("DequantizeLinear", [coded.outputs[0], scale, zero], name=names.fresh("dequantize"))
    for made in (coded, back):
        made.outputs[0].name = names.fresh("codes")
        model.graph.insert_before(node, made)
    return back.outputs[0]


def trace_noise(layer: Layer, weight: np.ndarray, rounded: np.ndarray, moment: Moment) -> float:
    """Noise over signal at a layer's output that rounding its weight makes.

    Args:
        layer: the layer.
        weight: as it was.
        rounded: what its codes stand for.
        moment: of what it reads.
    """
    whole = np.asarray(moment.split(layer.matrix(np.asarray(weight, np.float32))), np.float32)
    delta = whole - np.asarray(moment.split(layer.matrix(np.asarray(rounded, np.float32))), np.float32)
    signal = float(output_error(whole, moment.h).sum())
    return float(output_error(delta, moment.h).sum()) / max(signal, 1e-300)
