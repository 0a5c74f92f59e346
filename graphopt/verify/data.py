"""The user's own inputs, from files, one sample after the other: memory does not grow with their number.

x.npz          one sample: an array for each input, by its name (that of a single-input model may be unnamed)
x.npy          a model with one input: one sample, or a stack of them, either along a new first axis or along the
               batch axis, as many examples a sample as the model's batch holds
folder/        .npz and .npy files, or images, also in folders below, in the order of their names
x.png …        a model with one image input, see `graphopt.verify.images`
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from graphopt.errors import UserError
from graphopt.verify.dims import Dims, concrete_shapes, fixed, is_batch, real_inputs
from graphopt.verify.images import SUFFIXES, Layout, image_samples
from graphopt.verify.metrics import is_float
from graphopt.verify.types import Array, Sample

_UNREADABLE = (  # what numpy and zipfile raise of files that are broken or of a kind that they lack
    ValueError, OSError, EOFError, KeyError, NotImplementedError, OverflowError, RecursionError, RuntimeError,
    SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
PICKLE = b"\x80"  # how every pickle of protocol 2 and later begins

_ARRAYS = {".npz", ".npy"}


def load(
    path: str | Path,
    model: ir.Model,
    *,
    dims: Dims | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: Layout | None = None,
) -> list[Sample]:
    """Read all samples into memory; the arguments and errors are those of `iterate`."""
    return list(iterate(path, model, dims=dims, mean=mean, std=std, layout=layout))


def iterate(
    path: str | Path,
    model: ir.Model,
    *,
    dims: Dims | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: Layout | None = None,
) -> Iterator[Sample]:
    """Read samples one by one, each checked against the model's signature.

    Args:
        path: a file or a folder, see the module.
        model: the model they are for.
        dims: as for `generate`; decides the size of images and the batch that an .npy is cut into.
        mean: of images, one for each channel, for pixels in [0, 1].
        std: of images, likewise.
        layout: of images, "nchw" or "nhwc"; by default read off the input's shape.

    Raises:
        UserError: nothing is there, a file is not what its name says, or an array does not fit the model.
    """
    path = Path(path)
    files = _files(path)
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    if images and len(images) < len(files):
        raise UserError(f"{path} holds both images and arrays: keep them in folders of their own")
    if images:
        return image_samples(images, model, concrete_shapes(model, dims), mean=mean, std=std, layout=layout)
    if mean is not None or std is not None or layout is not None:
        raise UserError(f"--mean, --std and --layout are for images, but {path} holds arrays: leave them out")
    return (sample for file in files for sample in _array_samples(file, model, dims))


def check_sample(sample: Sample, model: ir.Model, file: Path) -> None:
    """Raise UserError where a sample does not fit the model's signature."""
    values = {value.name or "": value for value in model.graph.inputs}
    missing = [value.name for value in real_inputs(model) if value.name not in sample]
    if missing:
        raise UserError(f"{file} lacks the input {missing[0]!r}: it has {', '.join(sample) or 'nothing'}")
    sizes: dict[str, int] = {}
    for name, array in sample.items():
        if name not in values:
            raise UserError(f"{file} holds {name!r}, which is no input of the model: it wants {', '.join(values)}")
        _check_array(array, values[name], sizes, file)


def _files(path: Path) -> list[Path]:
    known = _ARRAYS | SUFFIXES
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file())
        if not files:
            raise UserError(f"{path} holds no .npz, .npy or image file: put the samples there")
        return files
    if not path.is_file():
        raise UserError(f"{path} does not exist: give a file or a folder of samples")
    if path.suffix.lower() not in known:
        raise UserError(f"{path} is no .npz, .npy or image file: save the samples as one of these")
    return [path]


def _array_samples(file: Path, model: ir.Model, dims: Dims | None) -> Iterator[Sample]:
    stored = _read(file)
    samples = iter([stored]) if isinstance(stored, dict) else _cut(stored, file, model, dims)
    for sample in samples:
        named = _named(sample, model)
        check_sample(named, model, file)
        yield named


def _read(file: Path) -> Sample | Array:
    """Arrays by input name from an .npz, or the array of an .npy, mapped into memory."""
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        with stored:
            return {name: stored[name] for name in stored.files}
    except _UNREADABLE as error:
        if "Object arrays" in str(error) or "Python objects" in str(error) or file.read_bytes()[:1] == PICKLE:
            raise UserError(f"{file} holds Python objects, which are not loaded: save plain arrays") from None
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{file} cannot be read as {file.suffix}: {words}") from error


def _cut(array: Array, file: Path, model: ir.Model, dims: Dims | None) -> Iterator[Sample]:
    values = real_inputs(model)
    if len(values) != 1:
        names = ", ".join(value.name or "" for value in values)
        raise UserError(f"{file} is one array but the model has {len(values)} inputs: save an .npz with {names}")
    value = values[0]
    name, rank = value.name or "", len(value.shape) if value.shape is not None else array.ndim
    if array.size == 0:
        raise UserError(f"{file} is empty: give it at least one sample")
    if array.ndim == rank + 1:
        yield from ({name: np.array(part)} for part in array)
        return
    if array.ndim != rank or rank == 0 or value.shape is None or not is_batch(value, 0):
        yield {name: np.array(array)}
        return
    batch = concrete_shapes(model, dims)[name][0] or 1
    if len(array) % batch:
        raise UserError(f"{file} holds {len(array)} examples, not a multiple of the model's batch of {batch}")
    for start in range(0, len(array), batch):
        yield {name: np.array(array[start : start + batch])}


def _check_array(array: Array, value: ir.Value, sizes: dict[str, int], file: Path) -> None:
    where = f"{file}: the input {value.name!r}"
    if value.dtype is not None and not _same_type(array, value.dtype):
        wanted = "strings" if value.dtype.is_string() else value.dtype.numpy().name
        raise UserError(f"{where} has type {array.dtype.name}, the model wants {wanted}: convert it before saving")
    if value.shape is not None:
        fits = array.ndim == len(value.shape) and all(
            fixed(value, axis) in (None, size) for axis, size in enumerate(array.shape)
        )
        if not fits:
            raise UserError(f"{where} has shape {array.shape}, the model wants {value.shape}: reshape it before saving")
        for size, dim in zip(array.shape, value.shape, strict=True):
            symbol = dim.value if isinstance(dim, ir.SymbolicDim) else None
            if symbol and symbol != "?" and sizes.setdefault(symbol, size) != size:
                raise UserError(f"{where} has {symbol}={size}, another input {sizes[symbol]}: they must agree")
    if array.size == 0 and not (value.shape is not None and 0 in value.shape.dims):
        raise UserError(f"{where} is empty: give it at least one element")
    if is_float(array.dtype) and bool(np.isnan(array).any()):
        raise UserError(f"{where} holds NaN, for which no output can be judged: remove it")


def _same_type(array: Array, dtype: ir.DataType) -> bool:
    return array.dtype.kind in "OUS" if dtype.is_string() else array.dtype == dtype.numpy()


def _named(sample: Sample, model: ir.Model) -> Sample:
    """A sample as the model wants it: its one array under the one name, types restored that numpy's files forget."""
    values = real_inputs(model)
    if len(values) == 1 and list(sample) == ["arr_0"]:
        sample = {values[0].name or "": sample["arr_0"]}
    types = {value.name: value.dtype for value in model.graph.inputs if value.dtype is not None}
    return {name: _restored(array, types.get(name)) for name, array in sample.items()}


def _restored(array: Array, dtype: ir.DataType | None) -> Array:
    if dtype is None or dtype.is_string():
        return array.astype(object) if array.dtype.kind == "U" else array
    # A bfloat16 array comes back from a file as two raw bytes an element.
    raw = array.dtype.kind == "V" and array.dtype.names is None and array.dtype.itemsize == dtype.numpy().itemsize
    return array.view(dtype.numpy()) if raw else array
