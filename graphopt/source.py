"""Where a run's model comes from: fresh copies of it, and the facts of a model file that reports show."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir import count_nodes, load, to_bytes
from graphopt.ir.external import tensors
from graphopt.ir.io import INLINE_LIMIT, weight_bytes
from graphopt.report.model import FileFacts


class Source:
    """Where the model comes from: gives fresh copies of it."""

    def __init__(self, model: Any) -> None:
        held = getattr(model, "model", None)
        self._model = held if isinstance(held, ir.Model) else model  # what torch.onnx.export returns holds one
        self.name = str(model) if isinstance(model, str | Path) else ""

    def fresh(self) -> ir.Model:
        if isinstance(self._model, ir.Model):
            copy: ir.Model = self._model.clone()
            for key, value in self._model.meta.items():
                copy.meta[key] = value
            _protect_weights(copy)
            return copy
        return load(self._model)

    def facts(self, model: ir.Model, hashes: bool = True) -> FileFacts:
        if self.name:
            return file_facts(model, Path(self.name), self.name, hashes)
        data = to_bytes(model) if weight_bytes(model) <= INLINE_LIMIT else b""
        return replace(_counts(model, ""), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _protect_weights(copy: ir.Model) -> None:
    """A copy shares its weights with the user's model: what writes into them in place shall fail, not succeed."""
    for graph in copy.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.Tensor) and isinstance(tensor.raw, np.ndarray):
                view = tensor.raw.view()
                view.flags.writeable = False
                value.const_value = ir.Tensor(
                    view, tensor.dtype, shape=tensor.shape, name=tensor.name, doc_string=tensor.doc_string,
                    metadata_props=dict(tensor.metadata_props),
                )  # fmt: skip


def _counts(model: ir.Model, path: str) -> FileFacts:
    parameters = sum(t.size for holder, t in tensors(model) if isinstance(holder, ir.Value))
    parameters += sum(
        t.size for holder, t in tensors(model) if isinstance(holder, ir.Attr) and holder.name in ("value", "values")
    )
    return FileFacts(
        path=path, sha256="", opset=model.opset_imports.get("", 0), nodes=count_nodes(model), parameters=parameters,
        bytes=0,
    )  # fmt: skip


def file_facts(model: ir.Model, file: Path, shown: str, hashes: bool = True) -> FileFacts:
    """Facts of a file; bytes include its external data, the hash is of the .onnx file alone, or left out."""
    digest = ""
    if hashes:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
    places = {t.path for _, t in tensors(model) if isinstance(t, ir.ExternalTensor)}
    outside = sum(Path(place).stat().st_size for place in places if Path(place).exists())
    return replace(_counts(model, shown), sha256=digest, bytes=file.stat().st_size + outside)
