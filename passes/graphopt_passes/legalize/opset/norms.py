"""Normalizations and Dropout: training modes, masks, and what has one element a group or a channel."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt_passes.legalize.opset.change import Change, integers
from graphopt_passes.legalize.opset.moves import Adapter


def batch_norm_9_up(change: Change) -> None:
    """Statistics for each channel are all that is left."""
    if not change.attribute("spatial") and change.rank() != 2:
        change.refuse("it normalizes each activation by itself (spatial = 0)")
    change.set(spatial=None)


def batch_norm_14_up(change: Change) -> None:
    """Only inference, which has one output, means the same."""
    if any(change.needed(i) for i in range(1, len(change.node.outputs))):
        change.refuse("it is in training mode, which opset 14 defines anew")
    change.node.resize_outputs(1)


def batch_norm_14_down(change: Change) -> None:
    """As upwards."""
    if change.attribute("training_mode") or any(change.needed(i) for i in range(1, len(change.node.outputs))):
        change.refuse("it is in training mode, which older opsets define in another way")
    change.set(training_mode=None)
    change.node.resize_outputs(1)


def group_norm_21_up(change: Change) -> None:
    """Scale and bias of opset 18 have one element a group, those of opset 21 one a channel."""
    shape, groups = change.shape(), int(change.attribute("num_groups"))
    channels = None if shape is None or len(shape) < 2 else shape[1]
    if not isinstance(channels, int):
        change.refuse("how many channels it has is not known")
    for index in (1, 2):
        value = change.input(index)
        assert value is not None
        tensor = constant(value)
        if tensor is not None:
            change.set_input(index, np.repeat(tensor.numpy(), channels // groups))
            continue
        column = change.make("Reshape", value, integers([groups, 1]))
        spread = change.make("Expand", column, integers([groups, channels // groups]))
        change.set_input(index, change.make("Reshape", spread, integers([channels])))


def group_norm_21_down(change: Change) -> None:
    """GroupNormalization with one scale a channel, by its definition (Wu and He, arXiv:1803.08494, section 3).

    x ─ Reshape(0, groups, -1) ─ InstanceNormalization ─ Reshape(shape of x) ─ Mul(scale) ─ Add(bias) ─ y
    """
    x, rank, dtype = change.input(0), change.rank(), change.dtype()
    groups, wide = int(change.attribute("num_groups")), ir.DataType.FLOAT
    stash = ir.DataType(change.attribute("stash_type") or int(wide))
    if stash == wide and dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        x = change.make("Cast", x, to=int(wide))
    else:
        stash = dtype
    kind = stash.numpy()
    grouped = change.make("Reshape", x, integers([0, groups, -1]))
    normal = change.make(
        "InstanceNormalization", grouped, np.ones(groups, kind), np.zeros(groups, kind),
        epsilon=float(change.attribute("epsilon")),
    )  # fmt: skip
    back = change.make("Reshape", normal, change.make("Shape", change.input(0)))
    if stash != dtype:
        back = change.make("Cast", back, to=int(dtype))
    column = integers([-1] + [1] * (rank - 2))
    scale, bias = (change.make("Reshape", change.input(index), column) for index in (1, 2))
    change.replace(change.make("Add", change.make("Mul", back, scale), bias))


def mask_is_bool(change: Change) -> None:
    """Dropout's mask became boolean."""
    if change.needed(1):
        kind = change.dtype()
        change.add_after(1, "Cast", to=int(kind))
        change.node.outputs[1].type = ir.TensorType(ir.DataType.BOOL)


def mask_is_data(change: Change) -> None:
    """Dropout's mask had the type of the data."""
    if change.needed(1):
        kind = change.dtype()
        change.add_after(1, "Cast", to=int(ir.DataType.BOOL))
        change.node.outputs[1].type = ir.TensorType(kind)


UP: dict[tuple[str, int], Adapter] = {
    ("BatchNormalization", 9): batch_norm_9_up, ("BatchNormalization", 14): batch_norm_14_up,
    ("GroupNormalization", 21): group_norm_21_up, ("Dropout", 10): mask_is_bool,
}  # fmt: skip
DOWN: dict[tuple[str, int], Adapter] = {
    ("BatchNormalization", 14): batch_norm_14_down, ("Dropout", 10): mask_is_data,
    ("GroupNormalization", 21): group_norm_21_down,
}  # fmt: skip
