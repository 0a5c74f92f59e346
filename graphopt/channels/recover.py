"""Bring a pruned model back without labels: each layer in turn is fitted to what the original computed there.

A layer reads what the pruned model gives it, its predecessors already fitted, and shall give what the original gave
(the channels that are left of it). Where its output is added to a shortcut, it makes up for the shortcut's error too
(He et al. 2017, arXiv:1707.06168, section 3.3). A BatchNormalization that is left is fitted channel by channel, which
is its re-estimation; so is the bias of a layer whose weights cannot be fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from graphopt.channels.cut import Cut, store
from graphopt.channels.fit import Sums, fit
from graphopt.channels.layers import Layer, layer_of
from graphopt.channels.operators.common import value_of
from graphopt.channels.segments import Stepper
from graphopt.channels.windows import has_unit_scale, rows
from graphopt.ir.edit import Names, add_constant, constant, readers
from graphopt.verify.types import Array

_ROWS = (2048, 16384)
"""Least and most rows for the equations of a layer; four times its inputs between."""
_WIDEST = 4608
"""Inputs of a group beyond which only the bias is fitted."""
_HELD = 0.25
"""Share of the samples that chooses λ."""

Progress = Callable[[str], None]


def recover(
    original: ir.Model,
    pruned: ir.Model,
    cut: Cut,
    samples: Sequence[Mapping[str, Array]],
    tell: Progress = lambda name: None,
) -> int:
    """Fit the layers of a pruned model to the original.

    Args:
        original: as it was; left as it is.
        pruned: of the same main nodes by name, changed in place.
        cut: the removal that made it.
        samples: inputs by name, at least one.
        tell: told the node that is fitted.

    Returns:
        How many layers were fitted.
    """
    theirs = {value.name: value for node in original.graph for value in node.outputs}
    work = [node for node in pruned.graph if _is_fitted(node) and node.outputs[0].name in theirs]
    if not work or not samples:
        return 0
    targets = [theirs[node.outputs[0].name] for node in work]
    left = Stepper(original, samples)
    right = Stepper(pruned, samples)
    names = Names(pruned)
    count = 0
    for node, target in zip(work, targets, strict=True):
        producer = target.producer()
        assert producer is not None
        left.run_to(producer, through=True)
        right.run_to(node)
        if not left.has(target) or not right.has(_first(node)):
            continue
        wanted = _targets(node, target, left, right, cut, theirs)
        tell(node.name or node.op_type)
        if node.op_type == "BatchNormalization":
            count += _fit_norm(pruned, node, right.values(_first(node)), wanted, names)
        else:
            layer = layer_of(node)
            assert layer is not None
            count += _fit_layer(pruned, layer, right.values(layer.x), wanted, names)
    return count


def _is_fitted(node: ir.Node) -> bool:
    if node.op_type == "BatchNormalization":
        return not node.domain and all(constant(value) is not None for value in node.inputs[1:])
    layer = layer_of(node)
    if layer is None or layer.y.dtype not in (ir.DataType.FLOAT, None):
        return False
    return has_unit_scale(layer) and sum(1 for _ in readers(layer.weight)) == 1


def _first(node: ir.Node) -> ir.Value:
    if node.op_type == "BatchNormalization":
        value = node.inputs[0]
        assert value is not None
        return value
    layer = layer_of(node)
    assert layer is not None
    return layer.x


def _targets(
    node: ir.Node, target: ir.Value, left: Stepper, right: Stepper, cut: Cut, theirs: Mapping[str | None, ir.Value]
) -> list[Array]:
    """What a node shall give: what is left of the original's, and what its shortcut lacks."""
    out = node.outputs[0]
    wanted = [cut.sliced(out, array) for array in left.values(target)]
    behind = list(readers(out))
    if len(behind) != 1 or behind[0].op_type != "Add" or out.is_graph_output():
        return wanted
    other = next((value for value in behind[0].inputs if value is not out), None)
    twin = theirs.get(other.name) if other is not None else None
    if other is None or twin is None or not right.has(other) or not left.has(twin):
        return wanted
    lacks = zip(left.values(twin), right.values(other), strict=True)
    corrected = [array + cut.sliced(other, before) - now for array, (before, now) in zip(wanted, lacks, strict=True)]
    return corrected if all(a.shape == b.shape for a, b in zip(corrected, wanted, strict=True)) else wanted


def _split(samples: int) -> int:
    """How many of the samples are for fitting; the others choose λ."""
    return samples - math.floor(_HELD * samples)


def _fit_layer(model: ir.Model, layer: Layer, given: list[Array], wanted: list[Array], names: Names) -> bool:
    groups, outs, ins, taps = layer.matrix().shape
    bias = _bias(layer)
    if bias is None and layer.node.op_type != "MatMul":
        return False
    old = None if bias is None or layer.node.op_type == "MatMul" else bias
    if layer.node.op_type == "ConvTranspose" or ins * taps > _WIDEST:
        return False
    total = int(np.clip(4 * ins * taps, *_ROWS))
    train, held = (Sums(groups, outs, ins * taps) for _ in range(2))
    border = _split(len(given))
    for number, (x, y) in enumerate(zip(given, wanted, strict=True)):
        taken = rows(layer, x, y, -(-total // len(given)), np.random.default_rng(number))
        if all(np.isfinite(one).all() for one in taken):
            (train if number < border else held).add(*taken)
    if not train.count:
        return False
    weight = layer.matrix().reshape(groups, outs, ins * taps)
    new, shift = fit(train, held, weight, None if old is None else old.reshape(groups, outs))
    if new is weight and shift is old:
        return False
    _store(model, layer, new.reshape(groups, outs, ins, taps), shift, names)
    return True


def _bias(layer: Layer) -> Array | None:
    """The bias of a layer as a vector, zeros where it has none; None where it is no constant vector."""
    value = value_of(layer.node, 2) if layer.node.op_type != "MatMul" else None
    width = layer.shape[layer.outs]
    if layer.node.op_type == "ConvTranspose":
        width *= layer.groups
    if value is None:
        return np.zeros(width)
    tensor = constant(value)
    if tensor is None or tensor.size != width or sum(1 for _ in readers(value)) != 1:
        return None
    return tensor.numpy().astype(np.float64).reshape(-1)


def _store(model: ir.Model, layer: Layer, matrix: Array, bias: Array | None, names: Names) -> None:
    tensor = constant(layer.weight)
    assert tensor is not None
    groups, outs, ins, taps = matrix.shape
    flat = matrix.reshape(groups * outs, ins, taps)
    shape = np.moveaxis(np.empty(tensor.shape.numpy()), (layer.outs, layer.ins), (0, 1)).shape
    array = np.moveaxis(flat.reshape(shape), (0, 1), (layer.outs, layer.ins)).astype(tensor.numpy().dtype)
    _replace(model, layer.node, 1 if layer.weight is layer.node.inputs[1] else 0, array, names)
    if bias is not None:
        _replace(model, layer.node, 2, bias.reshape(-1).astype(array.dtype), names)


def _replace(model: ir.Model, node: ir.Node, index: int, array: Array, names: Names) -> None:
    """Give a constant input another content; one that others read as well stays, and a new one takes its place."""
    old = value_of(node, index)
    if old is not None and sum(1 for _ in readers(old)) == 1:
        tensor = constant(old)
        assert tensor is not None
        store(old, array.reshape(tensor.shape.numpy()))
        return
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    stem = (old.name if old is not None else None) or f"{node.name}_{index}"
    node.replace_input_with(index, add_constant(model.graph, array, names.fresh(stem)))


def _fit_norm(model: ir.Model, node: ir.Node, given: list[Array], wanted: list[Array], names: Names) -> bool:
    """Mean and variance of a BatchNormalization as they are now, and the scale and bias that fit the original best."""
    old = [_vector(value) for value in node.inputs[1:5]]
    scale, _, _, variance = (one.astype(np.float64) for one in old)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    count = np.zeros(len(scale))
    sums = np.zeros((5, len(scale)))
    for x, y in zip(given, wanted, strict=True):
        a, b = (np.moveaxis(one, 1, 0).reshape(len(scale), -1).astype(np.float64) for one in (x, y))
        count += a.shape[1]
        sums += np.stack([one.sum(axis=1) for one in (a, b, a * a, a * b, b * b)])
    x, y, xx, xy, _ = sums / count
    spread = np.maximum(xx - x * x, 0.0)
    prior = scale / np.sqrt(variance + epsilon)
    ridge = 1e-3 * variance + 1e-12
    slope = (xy - x * y + ridge * prior) / (spread + ridge)
    new = (slope * np.sqrt(spread + epsilon), y, x, spread)
    if not all(np.isfinite(one).all() for one in new):
        return False
    for place, (array, before) in enumerate(zip(new, old, strict=True), 1):
        _replace(model, node, place, array.astype(before.dtype), names)
    return True


def _vector(value: ir.Value | None) -> Array:
    tensor = constant(value)
    assert tensor is not None
    return tensor.numpy()
