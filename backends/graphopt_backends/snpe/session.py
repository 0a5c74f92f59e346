"""Open a model on Qualcomm's HTP emulator through onnxruntime.

For a child process only: the vendor's code may crash. QNN keeps the first `soc_model` of a process for all later
sessions, so one process serves one chip.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import onnxruntime_qnn as qnn

PROVIDER = "QNNExecutionProvider"
_VERBOSE, _FATAL = 0, 4


@functools.cache
def devices() -> list[Any]:
    """Load the QNN library into onnxruntime, once a process, and return its devices.

    QNN takes over the level of the default logger at this moment, so the first call belongs inside `captured`.
    """
    ort.register_execution_provider_library(PROVIDER, qnn.get_library_path())
    return [device for device in ort.get_ep_devices() if device.ep_name == PROVIDER]


@contextlib.contextmanager
def captured(log: Path) -> Iterator[None]:
    """Append what native code writes to standard output and error to `log`, at the most talkative level."""
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as out:
        try:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            ort.set_default_logger_severity(_VERBOSE)
            yield
        finally:
            ort.set_default_logger_severity(_FATAL)
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)


def read(model: Path) -> onnx.ModelProto:
    """Read a model without its external data and give each nameless node its first output's name.

    QNN's log speaks of nodes by name only. Sessions opened from the result look up external data by `folder`.
    """
    proto = onnx.load(model, load_external_data=False)
    for node in proto.graph.node:
        if not node.name:
            node.name = label(node)
    return proto


def label(node: onnx.NodeProto) -> str:
    """The name of a node, or where it has none the name of its first output."""
    return str(node.name or next((name for name in node.output if name), ""))


def open_session(
    proto: onnx.ModelProto,
    soc: int,
    *,
    folder: Path,
    log: Path,
    fallback: bool = False,
    options: Mapping[str, str] | None = None,
    entries: Mapping[str, str] | None = None,
) -> ort.InferenceSession:
    """Compile a model for one chip.

    Args:
        proto: what `read` returned.
        soc: QNN's `soc_model`. Always set: without it floats are computed in fp32.
        folder: where the model's external data lies.
        log: receives onnxruntime's and QNN's verbose log.
        fallback: whether nodes that QNN refuses may go to the CPU.
        options: further options of the QNN provider.
        entries: further entries of the session's configuration.

    Raises:
        Exception: whatever onnxruntime raises; with `fallback` off also for a single node that QNN refuses.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = _VERBOSE
    for key, value in {
        "session.disable_cpu_ep_fallback": "0" if fallback else "1",
        "session.record_ep_graph_assignment_info": "1",
        "session.model_external_initializers_file_folder_path": str(folder),
        **(entries or {}),
    }.items():
        settings.add_session_config_entry(key, value)
    provider = {"backend_path": qnn.get_qnn_htp_path(), "soc_model": str(soc), **(options or {})}
    with captured(log):
        settings.add_provider_for_devices(devices(), provider)
        # enable_fallback: onnxruntime's Python wrapper otherwise retries on the CPU and says nothing.
        return ort.InferenceSession(proto.SerializeToString(), settings, enable_fallback=0)


def write_dlc(proto: onnx.ModelProto, soc: int, *, folder: Path, log: Path, out: Path) -> list[Path]:
    """Have QNN's IR backend write the model as `.dlc`, one file a partition, into the new folder `out`.

    The session is not good for anything else: QNN hands the graph to the writer instead of to the HTP, so a `.dlc`
    says nothing about whether the HTP compiles the model.
    """
    out.mkdir()
    library = Path(qnn.LIB_DIR_FULL_PATH, "libQnnIr.so")
    options = {"dump_qnn_ir_dlc": "1", "dump_qnn_ir_dlc_dir": str(out), "qnn_ir_backend_path": str(library)}
    open_session(proto, soc, folder=folder, log=log, options=options)
    return sorted(out.glob("*.dlc"))


def assignment(session: ort.InferenceSession) -> dict[str, list[tuple[str, str]]]:
    """Read from onnxruntime which provider runs what: (node name, op type) by provider, in its optimized graph."""
    placed: dict[str, list[tuple[str, str]]] = {}
    for part in session.get_provider_graph_assignment_info():
        placed.setdefault(part.ep_name, []).extend((node.name, node.op_type) for node in part.get_nodes())
    return placed
