"""Weights outside the .onnx file: kept inside the model's folder, streamed, cloned where the file system can.

A tensor of this kind is a place in a file. It is read when a pass asks for its content and written by copying from
file to file, so a model larger than memory goes through as long as nothing touches all of it.
"""

from __future__ import annotations

import errno
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir

from graphopt.errors import ModelError
from graphopt.ir.edit import bodies, nodes_of, owners
from graphopt.ir.files import atomic

Tell = Callable[[int, int], None]
"""Told how many bytes are written, and how many there are."""

_EXTERNAL_FROM = 1024
"""Tensors below this many bytes stay inside the .onnx file even when the others leave it."""
_ALIGN = 4096
_CANNOT_CLONE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_CHUNK = 1 << 24


def tensors(model: ir.Model) -> Iterator[tuple[ir.Value | ir.Attr, ir.TensorProtocol]]:
    """Every stored tensor with what holds it: initializers of all graphs, then tensors in attributes."""
    held: list[tuple[ir.Attr, ir.TensorProtocol]] = []
    for owner in owners(model):
        yield from _initializers(owner)
        for node in nodes_of(owner):
            for attribute in node.attributes.data.values():
                if attribute.is_ref():
                    continue
                kind = attribute.type
                if kind is ir.AttributeType.TENSOR:
                    held.append((attribute, attribute.value))
                elif kind is ir.AttributeType.TENSORS:
                    held.extend((attribute, tensor) for tensor in attribute.value)
            for body in bodies(node):
                yield from _initializers(body)
    yield from held


def _initializers(graph: ir.Graph) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value, value.const_value


def contain(model: ir.Model, file: Path | None) -> None:
    """Check every external tensor before anything reads it, and tie it to the model's folder.

    Raises:
        ModelError: external data are outside the model's folder, missing, or too short.
    """
    folder = file.resolve().parent if file is not None else None
    places: dict[str, tuple[Path, int]] = {}
    for _, tensor in tensors(model):
        if not isinstance(tensor, ir.ExternalTensor):
            continue
        name, location = tensor.name, str(tensor.location)
        if folder is None:
            raise ModelError(f"the weights of {name!r} are external ({location}): load the model by its path")
        if location not in places:
            places[location] = _inside(folder, location, name, file)
        _, size = places[location]
        offset, length = tensor.offset or 0, tensor.length
        if not tensor.shape.is_static():
            raise ModelError(f"external data of {name!r} has no fixed shape", file=file)
        if offset < 0 or (length is not None and length < tensor.nbytes) or offset + tensor.nbytes > size:
            raise ModelError(
                f"external data of {name!r} needs {tensor.nbytes} bytes at {offset} of {location}, "
                f"which has {size}", file=file,
            )  # fmt: skip
        tensor.base_dir = str(folder)


def _inside(folder: Path, location: str, name: str | None, file: Path | None) -> tuple[Path, int]:
    """The file that a location means and its size, where it lies in the model's folder."""
    if os.path.isabs(location) or "\0" in location:
        raise ModelError(f"external data of {name!r} has an absolute path ({location})", file=file)
    try:
        path = (folder / location).resolve()
        inside, there = path.is_relative_to(folder), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"external data of {name!r} cannot be read: {words}", file=file) from None
    if not inside:
        raise ModelError(f"external data of {name!r} lies outside the model's folder ({location})", file=file)
    if not there:
        raise ModelError(f"external data of {name!r} is missing ({location})", file=file)
    return path, path.stat().st_size


def blocks(tensor: ir.TensorProtocol) -> Iterator[bytes]:
    """The content of a tensor in pieces; of an external one, no more than a piece is ever in memory."""
    if tensor.dtype == ir.DataType.STRING:
        yield repr(tensor.numpy().reshape(-1).tolist()).encode()
        return
    if not isinstance(tensor, ir.ExternalTensor):
        yield tensor.tobytes()
        return
    # Straight from the file: the pages of a memory map would stay resident.
    with open(tensor.path, "rb", buffering=0) as source:
        yield from _read(source.fileno(), tensor.offset or 0, tensor.nbytes)


def _read(source: int, offset: int, count: int) -> Iterator[bytes]:
    while count:
        block = os.pread(source, min(count, _CHUNK), offset)
        if not block:
            raise OSError("the external data end too early")
        yield block
        offset, count = offset + len(block), count - len(block)


@dataclass
class DataFile:
    """External data that were written.

    Attributes:
        path: the file.
        places: offset and length of each tensor in it, by the tensor's identity.
    """

    path: Path
    places: dict[int, tuple[int, int]] = field(default_factory=dict)


def data_files(path: Path) -> set[Path]:
    """Files with external data that were written beside a model of this path."""
    ours = re.compile(re.escape(path.stem) + r"\.[0-9a-f]{8}\.data")
    return {path.with_name(other.name) for other in path.parent.iterdir() if ours.fullmatch(other.name)}


def write_data(model: ir.Model, path: Path, tell: Tell | None = None) -> DataFile:
    """Write every large tensor into one file beside `path`, named after its content; shared tensors are written once.

    Args:
        model: not changed.
        path: of the model's file.
        tell: told now and then how far it is.
    """
    large = {id(t): t for _, t in tensors(model) if t.dtype != ir.DataType.STRING and t.nbytes >= _EXTERNAL_FROM}
    total, digest = sum(t.nbytes for t in large.values()), 0
    made = DataFile(path)
    with atomic(path) as staged, _Sources() as sources:
        for key, tensor in large.items():
            staged.out.write(b"\0" * (-staged.out.tell() % _ALIGN))
            made.places[key] = staged.out.tell(), tensor.nbytes
            if isinstance(tensor, ir.ExternalTensor):
                digest = _copy(sources.open(tensor.path), staged.out, tensor.offset or 0, tensor.nbytes, digest)
            else:
                content = tensor.tobytes()
                digest = zlib.crc32(content, digest)
                staged.out.write(content)
            if tell is not None:
                tell(staged.out.tell(), total)
        staged.path = made.path = path.with_name(f"{path.stem}.{digest:08x}.data")
    return made


class _Sources:
    """Files that are open for reading, each once, until the block ends."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def __enter__(self) -> _Sources:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._open.values():
            os.close(handle)

    def open(self, path: str) -> int:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._open[path]


def _copy(source: int, out: BinaryIO, offset: int, count: int, digest: int) -> int:
    """Copy from file to file and go on with the checksum over the content."""
    cloned = _clone(source, out, offset, count)
    for block in _read(source, offset, count):
        digest = zlib.crc32(block, digest)
        if not cloned:
            out.write(block)
    if cloned:
        out.seek(count, os.SEEK_CUR)
    return digest


def _clone(source: int, out: BinaryIO, offset: int, count: int) -> bool:
    """Let the kernel copy, which shares the blocks where the file system can; False where it cannot copy at all."""
    out.flush()
    start, done = out.tell(), 0
    try:
        while done < count:
            step = os.copy_file_range(source, out.fileno(), count - done, offset + done, start + done)
            if not step:
                return False
            done += step
    except OSError as error:
        if error.errno in _CANNOT_CLONE:
            return False
        raise
    return True


@contextmanager
def relocated(model: ir.Model, data: DataFile | None) -> Iterator[None]:
    """While the block runs, large tensors are references into `data`; without data, all tensors are inline."""
    changed: list[tuple[ir.Value, ir.TensorProtocol]] = []
    attributes: list[tuple[ir.Attr, ir.TensorProtocol]] = []
    try:
        for holder, tensor in list(tensors(model)):
            if data is not None and id(tensor) in data.places:
                offset, length = data.places[id(tensor)]
                shape = ir.Shape(tensor.shape.numpy())
                new: ir.TensorProtocol = ir.ExternalTensor(
                    data.path.name, offset, length, tensor.dtype, shape=shape, name=tensor.name or "",
                    doc_string=tensor.doc_string, base_dir=str(data.path.parent.resolve()),
                )  # fmt: skip
            elif data is None and isinstance(tensor, ir.ExternalTensor):
                new = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name, doc_string=tensor.doc_string)
            else:
                continue
            if isinstance(holder, ir.Value):
                changed.append((holder, tensor))
                holder.const_value = new
            elif holder.type == ir.AttributeType.TENSOR:
                attributes.append((holder, tensor))
                holder._value = new  # an Attr has no public setter; it is put back below
        yield
    finally:
        for value, tensor in changed:
            value.const_value = tensor
        for attribute, tensor in attributes:
            attribute._value = tensor
