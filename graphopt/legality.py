"""What the backends' tables say of a model; no vendor's package is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt.errors import GraphoptError, PluginError, UserError
from graphopt.ir import count_nodes, infer_shapes
from graphopt.ir.validate import describe
from graphopt.pipeline import make_backend
from graphopt.report.model import BackendCheck, Check, CheckedModel, Finding, Partition, Segment, Support
from graphopt.source import Source
from graphopt.support.backend import Backend
from graphopt.support.partition import Segment as Piece
from graphopt.support.work import macs
from graphopt.verify import check_dims
from graphopt.verify.dims import OPEN

if TYPE_CHECKING:
    import onnx

    from graphopt.support.table import Table


def check(
    model: str | Path | bytes | onnx.ModelProto | ir.Model,
    backends: Sequence[str | Backend],
    *,
    dims: Mapping[str, int | tuple[int, ...]] | None = None,
    toolchain: str | None = None,
) -> Check:
    """Hold a model against the support tables of backends; no vendor's package is needed.

    Args:
        model: a path, the bytes of a file, or a model in memory, which is not changed.
        backends: names, or backends.
        dims: sizes of dynamic dimensions by name, or whole shapes by input name.
        toolchain: the toolchain whose table to use, by its whole name or words of it, as "2.7.0" or "gpu-delegate";
            the measured one in use where None.

    Raises:
        UserError: the model, a name or the version is wrong.
    """
    from graphopt.support.check import check as hold
    from graphopt.support.foresight import Views

    source = Source(model)
    loaded = source.fresh()
    _fix(loaded, dict(dims or {}))
    infer_shapes(loaded)
    views = Views(loaded)
    found: dict[str, BackendCheck] = {}
    for one in backends:
        backend = make_backend(one) if isinstance(one, str) else one
        table = _table(backend) if toolchain is None else _table_of(backend, toolchain)
        answer = hold(views, table, _table_of(backend, table.after) if table.after else None)
        found[backend.name] = BackendCheck(
            toolchain=answer.toolchain, documented=answer.documented, nodes=answer.nodes, supported=answer.supported,
            segments=answer.segments,
            unsupported=tuple(Finding(**f.as_json()) for f in answer.findings), macs=answer.macs,
            supported_macs=answer.supported_macs, crossing_bytes=answer.crossing_bytes,
        )  # fmt: skip
    return Check(model=CheckedModel(path=source.name, nodes=count_nodes(loaded)), backends=found)


def support_of(
    model: ir.Model,
    target: Backend | None,
    dims: dict[str, int | tuple[int, ...]],
    advice: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Support, Partition] | None:
    """What the backend's table says of a model; the model is not changed but for inferred shapes.

    Args:
        model: the model.
        target: the backend; None has no table.
        dims: sizes of dynamic dimensions.
        advice: what passes say of nodes, in place of the general remedy.

    Returns:
        How much the target takes, and the pieces that a fallback would make; None without a table.
    """
    if target is None:
        return None
    from graphopt.support.check import check as hold

    looked_at = model
    if dims:
        looked_at = model.clone()
        _fix(looked_at, dims)
    infer_shapes(looked_at)
    answer = hold(looked_at, _table(target))
    support = Support(
        nodes=answer.nodes, supported=answer.supported,
        unsupported=tuple(
            Finding(**{**f.as_json(), "remedy": advice.get(f.node, f.remedy)}) for f in answer.findings
        ),
    )  # fmt: skip
    return support, Partition(
        segments=tuple(map(_segment, answer.partition.segments)), crossing_bytes=answer.crossing_bytes
    )


def _segment(piece: Piece) -> Segment:
    return Segment(
        supported=piece.supported, nodes=len(piece.nodes), first=describe(piece.nodes[0]),
        last=describe(piece.nodes[-1]), macs=sum(macs(node) or 0 for node in piece.nodes),
    )  # fmt: skip


def _fix(model: ir.Model, dims: dict[str, int | tuple[int, ...]]) -> None:
    """Write the user's sizes into the inputs."""
    check_dims(model, dims)
    for value in model.graph.inputs:
        given = dims.get(value.name or "")
        if isinstance(given, tuple):
            value.shape = ir.Shape(given)
        elif value.shape is not None and not value.is_initializer():
            value.shape = ir.Shape([_fixed(dim, dims) for dim in value.shape])


def _fixed(dim: int | ir.SymbolicDim, dims: Mapping[str, int | tuple[int, ...]]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    size = dims.get(dim.value or "?")
    size = None if size == OPEN else size
    return size if isinstance(size, int) else dim.value


def _table(backend: Backend) -> Table:
    try:
        return backend.table()
    except GraphoptError:
        raise
    except Exception as error:
        raise PluginError(f"the table of {backend.name} cannot be read: {type(error).__name__}: {error}") from error


def _table_of(backend: Backend, toolchain: str) -> Table:
    tables, wanted = backend.tables(), toolchain.lower()
    named = [table for table in tables if f" {wanted} " in f" {table.toolchain.lower()} "]
    if len(named) == 1:
        return named[0]
    known = ", ".join(table.toolchain for table in named or tables)
    what = "several tables" if named else "no table"
    raise UserError(f"there is {what} of {backend.name} for {toolchain!r}: name {known}, or a word of it")
