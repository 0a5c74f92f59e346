"""Load and save: lossless, lazy weights, contained in the model's folder, atomic.

A model larger than memory's half still loads: external data stay memory-mapped until a pass touches them, and are
streamed when they are written again.
"""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt.errors import ModelError, UserError
from graphopt.ir.edit import adopt_opsets, owners
from graphopt.ir.external import Tell, contain, data_files, relocated, tensors, write_data
from graphopt.ir.files import atomic
from graphopt.ir.proto import DEFAULT_DOMAINS, graphs, refuse_ambiguous
from graphopt.ir.validate import validate

if TYPE_CHECKING:
    import onnx

INLINE_LIMIT = 1_800_000_000
"""Bytes of weights that still go inside the .onnx file; protobuf ends at 2 GiB."""


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keys of external data that nobody knows, which nobody reads
            model = ir.serde.deserialize_model(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        missing = isinstance(_root(error), NotImplementedError)
        what = "cannot be taken in" if missing else "is not a valid model"
        why = _first_line(error).partition(" Please contribute")[0]
        raise ModelError(f"{what}: {why}", file=file) from None
    _keep_what_the_ir_drops(proto, model)
    contain(model, file)
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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a format is new
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


def to_light_proto(model: ir.Model, most: int = 0) -> onnx.ModelProto:
    """The ModelProto without the content of initializers of more than `most` bytes: external, and nowhere.

    For tools that look at structure and shapes alone: no weight is copied.
    """
    held = [
        (holder, tensor) for holder, tensor in tensors(model)
        if isinstance(holder, ir.Value) and tensor.nbytes > most and tensor.dtype != ir.DataType.STRING
    ]  # fmt: skip
    try:
        for value, tensor in held:
            shape = ir.Shape(tensor.shape.numpy())
            value.const_value = ir.ExternalTensor("-", 0, 0, tensor.dtype, shape=shape, name=value.name or "")
        return to_proto(model)
    finally:
        for value, tensor in held:
            value.const_value = tensor


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
    with relocated(model, None):
        return bytes(to_proto(model).SerializeToString(deterministic=True))


def save(model: ir.Model, path: str | os.PathLike[str], *, tell: Tell | None = None) -> None:
    """Write a model so that the old file or the new one is there, never half of one.

    Weights stay external when they were, and leave the file when there are more than `INLINE_LIMIT` bytes of them:
    then they go to STEM.HASH.data beside it. The hash is of their content, so a file that an older model still
    refers to is never overwritten.

    Args:
        model: not changed.
        path: where to.
        tell: told now and then how many bytes of external weights are written, and how many there are.

    Raises:
        UserError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    held = [tensor for _, tensor in tensors(model)]
    outside = [t for t in held if isinstance(t, ir.ExternalTensor)]
    try:
        if not outside and sum(t.nbytes for t in held) <= INLINE_LIMIT:
            with atomic(path) as staged:
                staged.out.write(to_proto(model).SerializeToString(deterministic=True))
            return
        old = data_files(path)
        data = write_data(model, path, tell)
        try:
            with relocated(model, data), atomic(path) as staged:
                staged.out.write(to_proto(model).SerializeToString(deterministic=True))
        except BaseException:
            if data.path not in old:
                data.path.unlink(missing_ok=True)
            raise
        # The model itself may still read from an old file of its own: that one stays.
        needed = {Path(t.path).resolve() for t in outside}
        for stale in old - {data.path}:
            if stale.resolve() not in needed:
                stale.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
