"""Load and save: lossless, lazy weights, contained in the model's folder, atomic.

A model larger than memory's half still loads: external data stay memory-mapped until a pass touches them, and are
streamed when they are written again.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import onnx_ir as ir

from graphopt.errors import ModelError, UserError
from graphopt.ir.edit import adopt_opsets, nodes_of, owners
from graphopt.ir.proto import DEFAULT_DOMAINS, graphs, refuse_ambiguous
from graphopt.ir.validate import validate

if TYPE_CHECKING:
    import onnx

INLINE_LIMIT = 1_800_000_000
"""Bytes of weights that still go inside the .onnx file; protobuf ends at 2 GiB."""
_EXTERNAL_FROM = 1024
"""Tensors below this many bytes stay inside the .onnx file even when the others leave it."""
_ALIGN = 4096
_CHUNK = 1 << 24


def load(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> ir.Model:
    """Read an ONNX model.

    Args:
        source: a path, the bytes of a model file, or a ModelProto. External data must lie in the folder of the path
            (symbolic links followed); a model given as bytes or ModelProto can only carry its weights itself.

    Raises:
        ModelError: the file is missing, empty, truncated or not ONNX; a node reads a value that nothing makes; the
            graph has a cycle; external data are outside the model's folder, missing, or too short.
    """
    import onnx

    file: Path | None = None
    if isinstance(source, onnx.ModelProto):
        # onnx_ir writes names into the tensors that it is given.
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
    elif isinstance(source, bytes):
        proto = _parse(source, None)
    else:
        file = Path(source)
        try:
            if stat.S_ISDIR(file.stat().st_mode):
                raise ModelError("is a folder, not a model file", file=file)
            proto = _parse(file.read_bytes(), file)
        except OSError as error:
            raise ModelError(f"cannot be read: {(error.strerror or str(error)).lower()}", file=file) from None
    if not proto.HasField("graph"):
        raise ModelError("holds no graph: it is not an ONNX model, or is truncated", file=file)
    if not proto.opset_import and proto.ir_version >= 3:
        raise ModelError("imports no opset: it is not an ONNX model, or is truncated", file=file)
    refuse_ambiguous(proto, file)
    try:
        model = ir.serde.deserialize_model(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        missing = isinstance(_root(error), NotImplementedError)
        what = "cannot be taken in" if missing else "is not a valid model"
        raise ModelError(f"{what}: {_first_line(error)}", file=file) from None
    _keep_what_the_ir_drops(proto, model)
    _contain_external_data(model, file)
    validate(model, file=file, sort=True)
    adopt_opsets(model)
    return model


def _parse(data: bytes, file: Path | None) -> onnx.ModelProto:
    import onnx
    from google.protobuf import json_format, text_format
    from google.protobuf.message import DecodeError

    if not data:
        raise ModelError("is empty", file=file)
    kind = {".json": "json", ".onnxjson": "json", ".textproto": "textproto", ".onnxtxt": "onnxtxt"}
    try:
        if file is not None and file.suffix in kind:
            return onnx.load_model_from_string(data, format=kind[file.suffix])
        return onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, onnx.parser.ParseError, json_format.Error, text_format.Error) as error:
        raise ModelError(f"is not an ONNX model, or is truncated ({_first_line(error)})", file=file) from None


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    error = _root(error)
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _keep_what_the_ir_drops(proto: onnx.ModelProto, model: ir.Model) -> None:
    # Parts of a ModelProto that onnx_ir has no place for; they come back out of `to_proto` as they went in.
    model.meta["graphopt.training_info"] = list(proto.training_info)
    described: set[str] = set()
    for graph in graphs(proto):
        inits = {t.name for t in graph.initializer}
        described.update(v.name for v in graph.value_info if v.name in inits)
    model.meta["graphopt.described"] = described
    for _, tensor in tensors(model):
        if isinstance(tensor, ir.serde.TensorProtoTensor) and tensor.metadata_props:
            # onnx_ir writes what it read (cached by now) a second time beside the original.
            del tensor.raw.metadata_props[:]
    for owner in owners(model):
        for name in DEFAULT_DOMAINS:
            if name in owner.opset_imports:
                owner.opset_imports[""] = owner.opset_imports.pop(name)


def tensors(model: ir.Model) -> Iterator[tuple[ir.Value | ir.Attr, ir.TensorProtocol]]:
    """Every stored tensor with what holds it: initializers of all graphs, then tensors in attributes."""
    for owner in owners(model):
        for graph in (owner, *owner.subgraphs()):
            for value in graph.initializers.values():
                if value.const_value is not None:
                    yield value, value.const_value
    for owner in owners(model):
        for node in nodes_of(owner):
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield attribute, attribute.value
                elif attribute.type == ir.AttributeType.TENSORS and not attribute.is_ref():
                    for tensor in attribute.value:
                        yield attribute, tensor


def _contain_external_data(model: ir.Model, file: Path | None) -> None:
    """Check every external tensor before anything reads it, and tie it to the model's folder."""
    folder = file.resolve().parent if file is not None else None
    sizes: dict[Path, int] = {}
    for _, tensor in tensors(model):
        if not isinstance(tensor, ir.ExternalTensor):
            continue
        name, location = tensor.name, str(tensor.location)
        if folder is None:
            raise ModelError(f"the weights of {name!r} are external ({location}): load the model by its path")
        if os.path.isabs(location) or "\0" in location:
            raise ModelError(f"external data of {name!r} has an absolute path ({location})", file=file)
        try:
            path = (folder / location).resolve()
            inside, there = path.is_relative_to(folder), path.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, a loop of links
            raise ModelError(f"external data of {name!r} cannot be read: {_first_line(error)}", file=file) from None
        if not inside:
            raise ModelError(f"external data of {name!r} lies outside the model's folder ({location})", file=file)
        if not there:
            raise ModelError(f"external data of {name!r} is missing ({location})", file=file)
        if path not in sizes:
            sizes[path] = path.stat().st_size
        offset, length = tensor.offset or 0, tensor.length
        if not tensor.shape.is_static():
            raise ModelError(f"external data of {name!r} has no fixed shape", file=file)
        if offset < 0 or (length is not None and length < tensor.nbytes) or offset + tensor.nbytes > sizes[path]:
            raise ModelError(
                f"external data of {name!r} needs {tensor.nbytes} bytes at {offset} of {location}, "
                f"which has {sizes[path]}", file=file,
            )  # fmt: skip
        tensor.base_dir = str(folder)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The ModelProto of a model, external tensors by reference; the model is not changed.

    Raises:
        ModelError: a part of it cannot be written: a text that is not UTF-8.
    """
    try:
        proto = ir.serde.serialize_model(model)
    except ir.serde.SerdeError as error:
        raise ModelError(f"cannot be written: {_first_line(error)}") from None
    proto.training_info.extend(model.meta.get("graphopt.training_info", ()))
    # onnx_ir describes every initializer a second time; only those that the file described itself stay.
    described = model.meta.get("graphopt.described", ())
    for graph in graphs(proto):
        again = {t.name for t in graph.initializer}.difference(described)
        kept = [v for v in graph.value_info if v.name not in again]
        if len(kept) < len(graph.value_info):
            del graph.value_info[:]
            graph.value_info.extend(kept)
    return proto


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all stored tensors."""
    return sum(tensor.nbytes for _, tensor in tensors(model))


def to_bytes(model: ir.Model) -> bytes:
    """A model file in memory, weights inside.

    Raises:
        ModelError: more than `INLINE_LIMIT` bytes of weights; save it to a path instead.
    """
    if weight_bytes(model) > INLINE_LIMIT:
        raise ModelError("has more weights than one protobuf message can carry: write it to a path")
    with _relocated(model, None):
        return bytes(to_proto(model).SerializeToString(deterministic=True))


def save(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write a model so that the old file or the new one is on disk, never half of one.

    Weights stay external when they were, and leave the file when there are more than `INLINE_LIMIT` bytes of them:
    then they go to STEM.HASH.data beside it. The hash is of their content, so a file that an older model still
    refers to is never overwritten.

    Raises:
        UserError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    held = list(tensors(model))
    external = any(isinstance(t, ir.ExternalTensor) for _, t in held) or sum(t.nbytes for _, t in held) > INLINE_LIMIT
    try:
        if not external:
            with atomic(path) as out:
                out.write(to_proto(model).SerializeToString(deterministic=True))
            return
        old = _data_files(path)
        data = _write_data(model, path)
        try:
            with _relocated(model, data), atomic(path) as out:
                out.write(to_proto(model).SerializeToString(deterministic=True))
        except BaseException:
            if data.path not in old:
                data.path.unlink(missing_ok=True)
            raise
        # The model itself may still read from an old file of its own: that one stays.
        needed = {Path(t.path).resolve() for _, t in held if isinstance(t, ir.ExternalTensor)}
        for stale in old - {data.path}:
            if stale.resolve() not in needed:
                stale.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; rename it to `path` when the block ends well."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or ".")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class _DataFile:
    def __init__(self, path: Path, places: dict[int, tuple[int, int]]) -> None:
        self.path, self.places = path, places


def _data_files(path: Path) -> set[Path]:
    ours = re.compile(re.escape(path.stem) + r"\.[0-9a-f]{8}\.data")
    return {path.with_name(other.name) for other in path.parent.iterdir() if ours.fullmatch(other.name)}


def _write_data(model: ir.Model, path: Path) -> _DataFile:
    """Stream every large tensor into one file named after its content; shared tensors are written once."""
    digest = hashlib.blake2b(digest_size=4)
    places: dict[int, tuple[int, int]] = {}
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or ".")
    try:
        with os.fdopen(handle, "wb") as out:
            position = 0
            for _, tensor in tensors(model):
                if id(tensor) in places or not _goes_outside(tensor):
                    continue
                gap = -position % _ALIGN
                out.write(b"\0" * gap)
                position += gap
                places[id(tensor)] = (position, tensor.nbytes)
                for block in _blocks(tensor):
                    digest.update(block)
                    out.write(block)
                    position += len(block)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(name, 0o666 & ~_umask())
        final = path.with_name(f"{path.stem}.{digest.hexdigest()}.data")
        os.replace(name, final)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return _DataFile(final, places)


def _goes_outside(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype != ir.DataType.STRING and tensor.nbytes >= _EXTERNAL_FROM


def _blocks(tensor: ir.TensorProtocol) -> Iterator[bytes]:
    if isinstance(tensor, ir.ExternalTensor):
        # Straight from the file: the pages of a memory map would stay resident.
        with open(tensor.path, "rb") as source:
            source.seek(tensor.offset or 0)
            left = tensor.nbytes
            while left:
                block = source.read(min(left, _CHUNK))
                left -= len(block)
                yield block
    else:
        yield tensor.tobytes()


@contextmanager
def _relocated(model: ir.Model, data: _DataFile | None) -> Iterator[None]:
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
