"""Cross-layer equalization: scale channels between layers so that quantization costs less, the function staying as is.

Within a region (see `regions`) values may be divided by s_c and what reads them multiplied by it. Where the weights of
writers have one step for all channels, s_c = √(v_c / w_c), with v_c the largest weight of row c of the writers and w_c
that of column c of the readers: both become √(v_c w_c) (Nagel et al. 2019, arXiv:1906.04721, eq. 11). This is repeated,
since a layer is the reader of one region and the writer of the next.

Where rows have steps of their own, writers do not mind s. With a_c = max|x_c|, e_c = E[x_c²], W the readers' weights,
and noise of a twelfth of the step squared, quantization adds to what the readers write in proportion to

    activations   (max_c a_c/s_c)² · Σ_c s_c² ‖W_:c‖²             one step for all channels
    weights       Σ_r (max_c |W_rc| s_c)² · Σ_c e_c / s_c²        one step for each row

Tried are s_c = a_c^α: as in SmoothQuant (arXiv:2211.10438, eq. 4, without the weights' part), which no channel's share
of the activations' noise grows under, since a_c^α · max_j a_j^(1-α) ≤ max_j a_j; and where activations stay in float
s_c = a_c^α / w_c^(1-α), whose α AWQ (arXiv:2306.00978) searches for as well. Taken is what adds least, where that is
less than now. A depthwise layer whose rows have steps of their own takes α = 1: it costs nothing.

Measured on MobileNetV2, W8A8: with one scale for each weight 10.9 dB become 13.8, and 14.0 become 16.3 with bias
correction. With a scale for each row it does not pay (17.8 become 16.0 over ranges of least error): leave it out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Layer, Samples, layer_of, observe
from graphopt.ir import constant
from graphopt.ir.edit import Names
from graphopt.quantize.methods.constants import by_channel, replace_constant, rows_of, scale_columns
from graphopt.quantize.methods.regions import Region, regions

Doubles = np.ndarray

_ALPHAS = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0)
_WORTH = 0.95
"""The predicted noise must fall below this share of what it is now: the prediction is no better than that."""
_TURNS = 3
"""Rounds over all regions; more move the factors by less than a percent."""
_WIDEST = 2.0**10
"""Largest ratio between the factors of two channels."""


@dataclass
class Channel:
    """What is known of the channels of a value: largest magnitude and mean square, each (channels,)."""

    largest: Doubles
    energy: Doubles
    count: int = 0


@dataclass(frozen=True)
class Equalized:
    """A region that was scaled.

    Attributes:
        writers: names of the nodes whose rows were divided.
        readers: names of the layers whose columns were multiplied.
        gain: predicted noise before, over that after; where weights have one step, how much narrower ranges became.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    gain: float


def equalize(
    model: ir.Model,
    samples: Samples,
    *,
    per_tensor: Collection[str] = (),
    weights_only: bool = False,
) -> list[Equalized]:
    """Scale channels between layers, in place; outputs of the model change by rounding only.

    Args:
        model: a float model with inferred shapes, batch normalizations folded.
        samples: the inputs, by name.
        per_tensor: types of operators whose weights get one scale for all channels.
        weights_only: activations stay float, so only the weights' noise counts (as AWQ has it).

    Returns:
        What was scaled, in the order of the graph.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: the model does not run on a sample.
    """
    clips = [node.outputs[0].name or "" for node in model.graph if _is_relu_n(node)]
    read: dict[str, int] = dict.fromkeys(clips, 1)
    for region in regions(model, clips):
        read.update({layer.input.name or "": region.axis for layer in region.readers})
    found = channels(model, read, samples)
    unclipped = [name for name in clips if name in found and found[name].largest.max(initial=0) < _bound(model, name)]
    names, done = Names(model), []
    whole = list(regions(model, unclipped))
    coarse = [region for region in whole if any(node.op_type in per_tensor for node in region.writers)]
    gains = dict.fromkeys(range(len(coarse)), 1.0)
    for _ in range(_TURNS):
        for place, region in enumerate(coarse):
            factors, gain = _ranges(region)
            _apply(model, region, factors, names)
            gains[place] *= gain
    done = [_told(region, gains[place]) for place, region in enumerate(coarse)]
    for region in whole:
        chosen = None if region in coarse else _choose(region, found, per_tensor, weights_only)
        if chosen is not None:
            _apply(model, region, chosen[0], names)
            done.append(_told(region, chosen[1]))
    return done


def _told(region: Region, gain: float) -> Equalized:
    writers = tuple(node.name or node.outputs[0].name or "" for node in region.writers)
    return Equalized(writers, tuple(layer.name for layer in region.readers), gain)


def channels(model: ir.Model, axes: Mapping[str, int], samples: Samples) -> dict[str, Channel]:
    """Largest magnitude and mean square of each channel, by value; arguments and errors as of `channel_means`."""
    found: dict[str, Channel] = {}

    def take(name: str, array: np.ndarray, _: int) -> None:
        axis = axes[name] % array.ndim
        rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
        if not np.isfinite(rows).all():
            return
        seen = found.setdefault(name, Channel(np.zeros(len(rows)), np.zeros(len(rows))))
        seen.largest = np.maximum(seen.largest, np.abs(rows).max(1, initial=0))
        kept = seen.count / (seen.count + max(rows.shape[1], 1))
        seen.energy = seen.energy * kept + np.square(rows).mean(1) * (1 - kept)
        seen.count += rows.shape[1]

    observe(model, list(axes), samples, take)
    return found


def _is_relu_n(node: ir.Node) -> bool:
    """Whether a Clip begins at 0 and ends at a constant, as Relu6 does."""
    if node.op_type != "Clip" or len(node.inputs) < 3:
        return False
    low, high = constant(node.inputs[1]), constant(node.inputs[2])
    return low is not None and high is not None and low.numpy().item() == 0 and high.numpy().item() > 0


def _bound(model: ir.Model, name: str) -> float:
    node = next(node for node in model.graph if node.outputs[0].name == name)
    tensor = constant(node.inputs[2])
    return float(tensor.numpy().item()) if tensor is not None else np.inf


def _choose(
    region: Region, found: Mapping[str, Channel], per_tensor: Collection[str], weights_only: bool
) -> tuple[Doubles, float] | None:
    seen = [found[name] for name in dict.fromkeys(layer.input.name or "" for layer in region.readers) if name in found]
    # Behind a pooling the values are others, but the channels are the same.
    if not seen or any(len(one.largest) != region.channels for one in seen):
        return None
    largest = np.max([one.largest for one in seen], axis=0)
    energy = np.max([one.energy for one in seen], axis=0)
    weights = [by_channel(layer) for layer in region.readers]
    columns = np.max([np.abs(weight).max((0, 2)) for weight in weights], axis=0)
    alive = (largest > 0) & (columns > 0)
    if not alive.any():
        return None
    below = columns if weights_only else np.where(alive, 1.0, 0.0)
    free = all(layer.groups == region.channels and layer.node.op_type not in per_tensor for layer in region.readers)
    tried = [_balanced(largest, below, alpha, alive) for alpha in ((1.0,) if free and not weights_only else _ALPHAS)]

    def noise(s: Doubles) -> float:
        passed = s**2 * sum(np.square(weight).sum((0, 2)) for weight in weights)
        total = 0.0 if weights_only else float((largest / s).max() ** 2 * passed.sum())
        for layer, weight in zip(region.readers, weights, strict=True):
            total += _rounding(layer, weight, s, energy, layer.node.op_type in per_tensor)
        return total

    now = noise(np.ones(region.channels))
    noises = [noise(s) for s in tried]
    best = int(np.argmin(noises))
    return (tried[best], now / noises[best]) if noises[best] < _WORTH * now else None


def _ranges(region: Region) -> tuple[Doubles, float]:
    """√(v_c / w_c), and what that does to the product of the largest v and the largest w."""
    layers = [layer for node in region.writers if (layer := layer_of(node)) is not None]
    above = np.max([np.abs(rows_of(layer)).max(1) for layer in layers], axis=0)
    below = np.max([np.abs(by_channel(layer)).max((0, 2)) for layer in region.readers], axis=0)
    factors = _balanced(above, below, 0.5, (above > 0) & (below > 0))
    gain = above.max() * below.max() / max(float((above / factors).max() * (below * factors).max()), 1e-300)
    return factors, float(gain)


def _rounding(layer: Layer, weight: Doubles, s: Doubles, energy: Doubles, one_step: bool) -> float:
    """What rounding a reader's weight adds to its outputs: each row's step squared times the energy that it meets."""
    scaled = np.abs(weight) * s[None, :, None]
    taps = int(weight.shape[2])
    left = energy / s**2
    if layer.groups > 1 and layer.node.op_type == "Conv":
        per_group = region_groups(scaled, layer)
        steps = per_group.max((2, 3))  # (groups, outputs of a group)
        steps = np.full_like(steps, steps.max()) if one_step else steps
        met = left.reshape(layer.groups, 1, -1).sum(-1)
        return taps * float((steps**2 * met).sum())
    steps = scaled.max((1, 2))
    steps = np.full_like(steps, steps.max()) if one_step else steps
    return taps * float((steps**2).sum() * left.sum())


def region_groups(scaled: Doubles, layer: Layer) -> Doubles:
    """Rows (outputs of a group, channels, taps) as (groups, outputs of a group, channels of a group, taps)."""
    outputs, _, taps = scaled.shape
    return scaled.reshape(outputs, layer.groups, -1, taps).swapaxes(0, 1)


def _balanced(above: Doubles, below: Doubles, alpha: float, alive: np.ndarray) -> Doubles:
    """above^α / below^(1-α), with geometric mean 1, within bounds; 1 for channels that are never anything but 0."""
    logs = np.zeros(len(above))
    logs[alive] = alpha * np.log(above[alive]) - (1 - alpha) * np.log(below[alive])
    logs[alive] -= logs[alive].mean()
    return np.exp(np.clip(logs, -np.log(_WIDEST) / 2, np.log(_WIDEST) / 2))


def _apply(model: ir.Model, region: Region, s: Doubles, names: Names) -> None:
    for node in region.writers:
        layer = layer_of(node)
        if layer is not None:
            tensor = constant(layer.weight)
            assert tensor is not None
            matrix = np.asarray(layer.matrix(tensor.numpy()), np.float64)
            parted = (matrix.reshape(-1, matrix.shape[-1]) / s[:, None]).reshape(matrix.shape)
            replace_constant(model, node, 1, layer.stored(parted), names)
            places = [2] if len(node.inputs) > 2 and node.inputs[2] is not None else []
        elif node.op_type == "Add":
            places = [0 if constant(node.inputs[0]) is not None else 1]
        else:
            places = [place for place in (1, 2) if place < len(node.inputs) and node.inputs[place] is not None]
        for place in places:
            tensor = constant(node.inputs[place])
            assert tensor is not None
            array = tensor.numpy()
            replace_constant(model, node, place, (array.reshape(-1) / s).reshape(array.shape), names)
    for layer in region.readers:
        tensor = constant(layer.weight)
        assert tensor is not None
        replace_constant(model, layer.node, 1, scale_columns(layer, tensor.numpy(), s), names)
    for node in region.clips:
        if node.op_type == "Clip":
            _to_relu(node)


def _to_relu(node: ir.Node) -> None:
    """Make a Relu of a Clip in place: its upper bound would have to be another for each channel."""
    node.op_type = "Relu"
    node.resize_inputs(1)
    node.attributes.clear()
