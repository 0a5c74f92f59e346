"""Compile a model for one chip. Runs in a child process, one for each chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from graphopt.support.backend import NodeIssue
from graphopt_backends.snpe import diagnose, dlc
from graphopt_backends.snpe.session import PROVIDER, assignment, label, open_session, read, write_dlc


def compile_model(model: str, soc: int, out: str, log: str, context: bool, toolchain: str) -> dict[str, Any]:
    """Compile for the HTP, write `.dlc` and, where asked, the HTP's context binary into the folder `out`.

    The HTP compiles first, with no node allowed on the CPU: only that shows that the chip takes the model. The `.dlc`
    comes out of a second session.

    Args:
        model: an ONNX file.
        soc: QNN's `soc_model`.
        out: an existing folder; receives `model.dlc` and `model.bin`.
        log: file for the vendor's log, which outlives a crash.
        context: whether to write the context binary.
        toolchain: for messages.

    Returns:
        `issues`, empty if and only if the files are complete; `dlc`: what the `.dlc` holds; `onnx_nodes`: how many
        nodes of onnxruntime's optimized graph went to the HTP.
    """
    path, folder = Path(model), Path(out)
    proto = read(path)
    if issues := undefined_dims(proto):
        return _failed(issues)
    entries = {}
    if context:
        wrapper = folder / "context.onnx"
        entries = {
            "ep.context_enable": "1",
            "ep.context_file_path": str(wrapper),
            "ep.context_embed_mode": "0",
        }
    try:
        session = open_session(proto, soc, folder=path.parent, log=Path(log), entries=entries)
    except Exception as error:  # noqa: BLE001 - onnxruntime raises bare RuntimeErrors and its own kinds alike
        return _failed(explain(str(error), proto, soc, folder=path.parent, log=Path(log), toolchain=toolchain))
    placed = assignment(session)
    del session
    if PROVIDER not in placed:
        return _failed([NodeIssue("", "", "onnxruntime folds the whole model away: nothing is left to compile")])
    try:
        files = write_dlc(proto, soc, folder=path.parent, log=Path(log), out=folder / "dlc")
    except Exception as error:  # noqa: BLE001 - as above
        return _failed([NodeIssue("", "", f"the HTP takes the model, but the DLC writer fails: {_line(str(error))}")])
    if len(files) != 1:
        return _failed([NodeIssue("", "", f"QNN cuts the model into {len(files)} parts, and a .dlc holds one")])
    files[0].replace(folder / "model.dlc")
    if context:
        binaries = list(folder.glob("context*.bin"))
        if len(binaries) != 1:
            return _failed([NodeIssue("", "", f"QNN wrote {len(binaries)} context binaries instead of one")])
        binaries[0].replace(folder / "model.bin")
    return {"issues": [], "dlc": describe(folder / "model.dlc"), "onnx_nodes": len(placed[PROVIDER])}


def describe(file: Path) -> dict[str, Any]:
    """What a `.dlc` holds, as plain data; the reason instead where its layout is unknown."""
    try:
        content = dlc.read(file)
    except dlc.DlcError as error:
        return {"unreadable": str(error)}
    histogram: dict[str, int] = {}
    for graph in content.graphs:
        for kind, count in graph.histogram().items():
            histogram[kind] = histogram.get(kind, 0) + count
    return {
        "graphs": len(content.graphs),
        "ops": sum(histogram.values()),
        "op_types": histogram,
        "weight_bytes": content.members.get("model.params.bin", 0),
        "converter": f"QAIRT {content.converter}",
    }


def undefined_dims(proto: onnx.ModelProto) -> list[NodeIssue]:
    """One issue that names every input dimension without a value; QNN takes static shapes only."""
    weights = {weight.name for weight in proto.graph.initializer}
    loose, flags = [], []
    for value in proto.graph.input:
        kind = value.type.tensor_type
        if value.name in weights or not value.type.HasField("tensor_type"):
            continue
        dims = [_spelled(dim) for dim in kind.shape.dim]
        if not kind.HasField("shape"):
            loose.append(f"{value.name} (no shape)")
            flags.append(f"--dim {value.name}=1x3x224x224")
        elif not all(dim.isdigit() for dim in dims):
            loose.append(f"{value.name} [{', '.join(dims)}]")
            fixed = (dim if dim.isdigit() else "224" if axis else "1" for axis, dim in enumerate(dims))
            flags.append(f"--dim {value.name}={'x'.join(fixed)}")
    if not loose:
        return []
    reason = f"QNN takes static shapes only; open: {'; '.join(loose)}: fix them with `--dim`, as in `{' '.join(flags)}`"
    return [NodeIssue("", "", reason)]


def _spelled(dim: onnx.TensorShapeProto.Dimension) -> str:
    # Some exporters write -1 for "unknown"; 0 is a static, empty dimension.
    return str(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or "?"


def explain(
    message: str, proto: onnx.ModelProto, soc: int, *, folder: Path, log: Path, toolchain: str
) -> list[NodeIssue]:
    """Say why a session that allows no fallback did not open, from onnxruntime's message and QNN's log."""
    nodes = {label(node): node.op_type for node in proto.graph.node}
    if issue := diagnose.load_error(message, toolchain, nodes):
        return [issue]
    if issues := diagnose.refusals(log, nodes):
        return issues
    if "assigned to the default CPU EP" in message and (issues := _left_on_cpu(proto, soc, folder, log, nodes)):
        return issues
    return [diagnose.last_node(log, nodes, _line(f"{message} {diagnose.last_words(log)}"))]


def _left_on_cpu(proto: onnx.ModelProto, soc: int, folder: Path, log: Path, nodes: dict[str, str]) -> list[NodeIssue]:
    # QNN also drops partitions that it finds not worth it and gives no reason: onnxruntime knows which nodes those are.
    try:
        placed = assignment(open_session(proto, soc, folder=folder, log=log, fallback=True))
    except Exception as error:  # noqa: BLE001 - a second failure is no better explained than the first
        return [NodeIssue("", "", _line(str(error)))]
    reason = "QNN leaves it on the CPU and gives no reason"
    return [
        diagnose.locate(name, op_type, reason, nodes)
        for provider, members in placed.items()
        if provider != PROVIDER
        for name, op_type in members
    ]


def _failed(issues: Sequence[NodeIssue]) -> dict[str, Any]:
    return {"issues": [dataclasses.asdict(issue) for issue in issues]}


def _line(text: str) -> str:
    return " ".join(text.split())[:600]
