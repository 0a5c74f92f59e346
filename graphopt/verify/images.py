"""Image files as a model's input: resized, scaled to [0, 1], normalized and laid out as the input wants them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.errors import MissingExtraError, UserError
from graphopt.verify.dims import channel_axis, real_inputs
from graphopt.verify.types import Array, Sample

Layout: TypeAlias = Literal["nchw", "nhwc"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def image_samples(
    files: Sequence[Path],
    model: ir.Model,
    shapes: dict[str, tuple[int, ...]],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: Layout | None = None,
) -> Iterator[Sample]:
    """Read images for a model with one input of rank 4, as (pixel / 255 - mean) / std; uint8 inputs get raw pixels.

    Args:
        files: the images; as many at a time as the batch holds, the last batch filled up with its last image.
        model: the model.
        shapes: the concrete shape of its inputs; the images are resized to it (bilinear, aspect ratio not kept).
        mean: for each channel or for all, for pixels in [0, 1]; 0 by default.
        std: likewise; 1 by default.
        layout: "nchw" or "nhwc"; by default the axis that looks like channels tells.

    Raises:
        UserError: the model has no such input, the numbers do not fit its channels, or a file is no image.
        MissingExtraError: Pillow is not installed.
    """
    values = real_inputs(model)
    name = values[0].name or "" if values else ""
    if len(values) != 1 or len(shapes[name]) != 4:
        raise UserError("images need a model with one input of four axes: give the samples as .npz files")
    dtype, shape = values[0].dtype, shapes[name]
    if dtype is None or not (dtype.is_floating_point() or dtype == ir.DataType.UINT8):
        raise UserError(f"images cannot be fed to the input {name!r} of type {dtype}: give the samples as .npz files")
    if layout not in (None, "nchw", "nhwc"):
        raise UserError(f"--layout {layout!r} is unknown: use nchw or nhwc")
    last = layout == "nhwc" if layout else channel_axis(shape) == 3
    channels, size = (shape[3], (shape[2], shape[1])) if last else (shape[1], (shape[3], shape[2]))
    if channels not in MODES:
        raise UserError(f"an image has 1, 3 or 4 channels, the input {name!r} has {channels}: set --layout")
    if dtype == ir.DataType.UINT8 and (mean is not None or std is not None):
        raise UserError(f"the input {name!r} takes raw pixels of type uint8: leave out --mean and --std")
    shift, scale = _per_channel("mean", mean, channels, 0.0), _per_channel("std", std, channels, 1.0)
    if np.abs(shift).max() > 1:
        raise UserError("--mean is for pixels in [0, 1]: divide it and --std by 255")
    if scale.min() <= 0:
        raise UserError("--std must be positive")

    def prepare(file: Path) -> Array:
        pixels = _pixels(file, MODES[channels], size)
        if dtype != ir.DataType.UINT8:
            pixels = ((pixels.astype(np.float32) / 255 - shift) / scale).astype(dtype.numpy())
        return pixels if last else pixels.transpose(2, 0, 1)

    return _batched(files, prepare, name, max(shape[0], 1))


def _batched(files: Sequence[Path], prepare: Callable[[Path], Array], name: str, batch: int) -> Iterator[Sample]:
    remaining = iter(files)
    while group := list(itertools.islice(remaining, batch)):
        group += group[-1:] * (batch - len(group))
        yield {name: np.stack([prepare(file) for file in group])}


def _per_channel(option: str, given: Sequence[float] | None, channels: int, default: float) -> Array:
    numbers = np.asarray([default] if given is None else given, np.float32).ravel()
    if numbers.size not in (1, channels):
        raise UserError(f"--{option} has {numbers.size} numbers, the input has {channels} channels: give one for each")
    return numbers


def _pixels(file: Path, mode: str, size: tuple[int, int]) -> Array:
    """The pixels of a file as uint8 of shape (height, width, channels); `size` is (width, height)."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingExtraError("Pillow", "images") from None
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert(mode)
            array = np.asarray(upright.resize(size, Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as an image: {error}") from error
    return array.reshape(size[1], size[0], -1)
