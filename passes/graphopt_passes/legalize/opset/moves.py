"""Attributes that became inputs, and back: Squeeze's axes, Slice's bounds, Clip's limits and their like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from graphopt_passes.legalize.opset.change import Change

Adapter = Callable[[Change], None]


@dataclass(frozen=True)
class Move:
    """An attribute that became an input: its name, the place of the input, and how the input holds it.

    `form` is "ints" or "floats" (one-dimensional), "int" or "float" (a scalar), "one" (an integer as a tensor of one
    element) or "data" (a scalar of the type of the first input).
    """

    name: str
    index: int
    form: str


_AXES = (Move("axes", 1, "ints"),)
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
MOVES: dict[tuple[str, int], tuple[Move, ...]] = {
    ("Clip", 11): (Move("min", 1, "data"), Move("max", 2, "data")),
    ("DFT", 20): (Move("axis", 2, "int"),),
    ("Dropout", 12): (Move("ratio", 1, "float"),),
    ("Pad", 11): (Move("pads", 1, "ints"), Move("value", 2, "data")),
    ("ReduceSum", 13): _AXES,
    ("Slice", 10): (Move("starts", 1, "ints"), Move("ends", 2, "ints"), Move("axes", 3, "ints")),
    ("Split", 13): (Move("split", 1, "ints"),),
    ("Squeeze", 13): _AXES,
    ("TopK", 10): (Move("k", 1, "one"),),
    ("Unsqueeze", 13): _AXES,
    ("Upsample", 9): (Move("scales", 1, "floats"),),
    **{(f"Reduce{kind}", 18): _AXES for kind in _REDUCTIONS},
}


def to_inputs(change: Change) -> None:
    """Make inputs of attributes; what the attribute meant where it was left out is what the input means left out."""
    for move in MOVES[change.node.op_type, change.version]:
        held = change.node.attributes.get(move.name)
        if held is None:
            continue
        value = change.attribute(move.name)
        change.set(**{move.name: None})
        change.set_input(move.index, _array(change, move, value))


def _array(change: Change, move: Move, value: Any) -> np.ndarray:
    if move.form == "ints":
        return np.array(value, np.int64).reshape(-1)
    if move.form == "floats":
        return np.array(value, np.float32).reshape(-1)
    if move.form == "one":
        return np.array([value], np.int64)
    if move.form == "int":
        return np.array(value, np.int64)
    return np.array(value, np.float32 if move.form == "float" else change.dtype().numpy())


def to_attributes(change: Change) -> None:
    """Make attributes of inputs, which have to be constants."""
    found: dict[str, Any] = {}
    moves = MOVES[change.node.op_type, change.version]
    for move in moves:
        array = change.content(move.index)
        if array is not None:
            found[move.name] = _plain(change, move, array)
    for move in sorted(moves, key=lambda m: -m.index):
        change.set_input(move.index, None)
    change.set(**found)


def _plain(change: Change, move: Move, array: np.ndarray) -> Any:
    if move.form in ("ints", "one", "int"):
        numbers = [int(n) for n in array.reshape(-1)]
        return numbers if move.form == "ints" else numbers[0]
    if move.form == "floats":
        return [float(n) for n in array.reshape(-1)]
    number = array.reshape(-1)[0]
    held = np.float32(number)
    same = held == number or (held != held and number != number)
    if (array.dtype.kind != "f" and array.dtype != ml_dtypes.bfloat16) or not same:
        change.refuse(f"{move.name} = {number} cannot be written as an attribute, which is a float32")
    return float(held)


def clip_up(change: Change) -> None:
    """Clip's limits: left out they were those of a float32, and are those of the type."""
    dtype = change.dtype()
    if dtype != ir.DataType.FLOAT:
        for name in ("min", "max"):
            change.set(**{name: change.attribute(name)})
    with np.errstate(over="ignore"):
        to_inputs(change)


def clip_down(change: Change) -> None:
    """Clip's limits back."""
    dtype = change.dtype()
    to_attributes(change)
    if dtype == ir.DataType.DOUBLE and not {"min", "max"} <= change.node.attributes.keys():
        change.refuse("a limit that it leaves out is that of a double, which cannot be written as an attribute")
    if dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        limits = {"min": float(dtype.min), "max": float(dtype.max)}
        change.set(**{name: limit for name, limit in limits.items() if name not in change.node.attributes})
    low, high = change.attribute("min"), change.attribute("max")
    if low is not None and high is not None and low > high:
        change.refuse("its limits cross, which older opsets leave undefined")


def pad_up(change: Change) -> None:
    """Pad's amounts and value; a value that no mode uses, or that is the default, is left out."""
    value = np.float32(change.attribute("value"))
    if change.attribute("mode") != "constant" or (value == 0 and not np.signbit(value)):
        change.set(value=None)
    to_inputs(change)


def dropout_up(change: Change) -> None:
    """Dropout's ratio. Before opset 12 it is for inference, where the ratio means nothing."""
    _no_mask(change)
    change.set(ratio=None)


def _no_mask(change: Change) -> None:
    if change.needed(1):
        change.refuse("its mask is read, and before opset 12 nothing says what that holds in inference")


def dropout_down(change: Change) -> None:
    """Dropout in inference alone."""
    _no_mask(change)
    training = change.content(2)
    if training is not None and bool(training.reshape(-1)[0]):
        change.refuse("it is in training mode")
    change.set_input(2, None)
    change.set(seed=None)
    to_attributes(change)


def slice_down(change: Change) -> None:
    """Slice without steps."""
    steps = change.content(4)
    if steps is not None and (steps != 1).any():
        change.refuse("it has steps")
    change.set_input(4, None)
    to_attributes(change)


def reduce_down(change: Change) -> None:
    """A reduction over given axes, or over all of them."""
    axes = change.input(1)
    empty = axes is None or (axes.shape is not None and list(axes.shape) == [0])
    if empty and change.attribute("noop_with_empty_axes"):
        if change.node.op_type not in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
            change.refuse("it reduces over no axis (noop_with_empty_axes)")
        change.replace(change.make("Identity", change.input(0)))
        return
    change.set(noop_with_empty_axes=None)
    if empty:
        change.set_input(1, None)
    to_attributes(change)


def reduce_up(change: Change) -> None:
    """A reduction's axes; none at all means all, as before."""
    if "axes" in change.node.attributes and not change.attribute("axes"):
        change.set(axes=None)
    to_inputs(change)


def dft_up(change: Change) -> None:
    """DFT's axis, whose default was 1 and is -2."""
    change.set(axis=change.attribute("axis"))
    to_inputs(change)


def dft_down(change: Change) -> None:
    """DFT's axis back."""
    axis = change.content(2)
    to_attributes(change)
    change.set(axis=-2 if axis is None else int(axis.reshape(-1)[0]))


_SPECIAL_UP: dict[str, Adapter] = {"Clip": clip_up, "Pad": pad_up, "Dropout": dropout_up, "DFT": dft_up}
_SPECIAL_DOWN: dict[str, Adapter] = {
    "Clip": clip_down, "Dropout": dropout_down, "Slice": slice_down, "DFT": dft_down,
}  # fmt: skip
UP: dict[tuple[str, int], Adapter] = {
    key: reduce_up if key[0].startswith("Reduce") else _SPECIAL_UP.get(key[0], to_inputs) for key in MOVES
}
DOWN: dict[tuple[str, int], Adapter] = {
    key: reduce_down if key[0].startswith("Reduce") else _SPECIAL_DOWN.get(key[0], to_attributes) for key in MOVES
}
