"""The first oracle: onnxruntime on the CPU, with every optimization of its own switched off.

Its optimizers are part of what is under test elsewhere (the basic ones are wrong on Pad followed by MaxPool), so none
of them may run here: no graph rewriting, no weight prepacking, deterministic kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError
from graphopt.ir.io import to_proto
from graphopt.verify.endless import endless_loops
from graphopt.verify.types import Array, Sample

Source: TypeAlias = "ir.Model | bytes | str | Path"

INLINE_BYTES = 1 << 30  # protobuf stops at 2 GiB, and a model in bytes is held three times while it loads
THREADS = 4
SECONDS = 600.0
"""What one sample may take."""

_BORROWED = {  # element types that numpy lacks, so onnxruntime hands over their bits only
    ir.DataType[name].value: ir.DataType[name].numpy()
    for name in ("BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ")
}
_NODES = (  # the spellings in which it names a node, the surest first
    re.compile(r"while running \S+ node\. Name:'([^']+)'"),
    re.compile(r"node with name '([^']+)'"),
    re.compile(r"node name: ([^,)]+)"),
    re.compile(r"[Nn]ode ?[:(]\s*([^\s()]+)"),
)
_PLACE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ .*?\)(?: const)? (?=[A-Z])")
"""What onnxruntime puts before its words: the kind of error, and the place in its sources."""

_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate memory|bad allocation")


class ExecutionFailed(GraphoptError):
    """A model could not be loaded or run by an oracle.

    Attributes:
        reason: what the runtime said, on one line.
        node: the node it named, or None.
    """

    def __init__(self, reason: str, node: str | None = None) -> None:
        self.reason, self.node = reason, node
        super().__init__(f"the model cannot be executed{f' at node {node!r}' if node else ''}: {reason}")


class TooMuch(ExecutionFailed):
    """A model takes more time or memory than there is; another oracle would do no better."""


class Runner:
    """A model loaded once, to be run on many samples.

    Args:
        model: a model in memory, its serialized bytes, or its file.
        threads: threads inside an operator, by default as many as this process may use and at most 4.
        seconds: what one sample may take.

    Raises:
        TooMuch: it holds a loop that never ends, or does not fit into memory.
        ExecutionFailed: onnxruntime has no kernel for an operator or finds the model invalid.
    """

    def __init__(self, model: Source, *, threads: int | None = None, seconds: float = SECONDS) -> None:
        import onnxruntime as ort

        endless = next(endless_loops(model), None) if isinstance(model, ir.Model) else None
        if endless is not None:
            raise TooMuch("the loop never ends", endless)
        self._seconds = seconds

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.use_deterministic_compute = True
        options.intra_op_num_threads = threads or min(len(os.sched_getaffinity(0)), THREADS)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is in the exception; the log would mix with the user's output
        with serialized(model) as source, _failures():
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        boundary = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._bits = any(re.search(r"bfloat16|float8", value.type) for value in boundary)

    def run(self, sample: Mapping[str, Array]) -> Sample:
        """Run one sample and return its outputs by name.

        A sequence becomes one array an element, named "output[0]", "output[1]", …; a map likewise by its keys. An
        optional output that is empty is left out.

        Raises:
            ExecutionFailed: an operator failed on these inputs.
            TooMuch: it took too long, or ran out of memory.
        """
        names = [output.name for output in self._session.get_outputs()]
        with _failures():
            values = self._in_time(lambda settings: self._ask(names, sample, settings))
        return dict(item for name, value in zip(names, values, strict=True) for item in flatten(name, value))

    def _in_time(self, work: Callable[[Any], list[Any]]) -> list[Any]:
        """Do the work in a thread that is told to end, between two nodes, at Ctrl-C or when its time is over."""
        import onnxruntime as ort

        settings = ort.RunOptions()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(work, settings)
            try:
                return answer.result(self._seconds)
            except TimeoutError:
                raise TooMuch(f"no answer in {self._seconds:.0f} s") from None
            finally:
                settings.terminate = True

    def _ask(self, names: list[str], sample: Mapping[str, Array], settings: Any) -> list[Any]:
        if self._bits:
            return self._run_bits(names, sample, settings)
        answers: list[Any] = self._session.run(names, dict(sample), settings)
        return answers

    def _run_bits(self, names: list[str], sample: Mapping[str, Array], settings: Any) -> list[Array]:
        """Run a model with types that numpy lacks at its boundary: they cross it as bits."""
        import onnxruntime as ort

        feeds, kept = {}, []
        for name, array in sample.items():
            code = next((code for code, dtype in _BORROWED.items() if array.dtype == dtype), None)
            if code is None:
                feeds[name] = ort.OrtValue.ortvalue_from_numpy(array)
                continue
            kept.append(np.asarray(array, order="C").view(np.uint16 if array.itemsize == 2 else np.uint8))
            feeds[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(kept[-1], code)  # shares the memory
        return [_array(value) for value in self._session.run_with_ort_values(names, feeds, settings)]


def run(model: Source, samples: Iterable[Mapping[str, Array]], *, threads: int | None = None) -> list[Sample]:
    """Execute a model on samples with onnxruntime and return the outputs of each by name.

    Raises:
        ExecutionFailed: the model cannot be loaded, or cannot be run on one of the samples.
    """
    runner = Runner(model, threads=threads)
    return [runner.run(sample) for sample in samples]


@contextlib.contextmanager
def serialized(model: Source) -> Iterator[bytes | str]:
    """What onnxruntime loads a model from: its bytes, or its file.

    A model whose weights are large or lie in other files is written to a temporary file with the weights beside it,
    which the runtime maps into memory: they are streamed to disk once and never all held in memory.
    """
    if isinstance(model, bytes):
        yield model
    elif not isinstance(model, ir.Model):
        yield str(model)
    elif _fits_inline(model):
        yield to_proto(model).SerializeToString()
    else:
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            path = Path(folder, "model.onnx")
            ir.save(model, path, external_data="weights.bin")
            yield str(path)


def flatten(name: str, value: Any) -> list[tuple[str, Array]]:
    """Spread a runtime's output over named arrays: a tensor is itself, a sequence or a map is its elements."""
    if value is None:
        return []
    if isinstance(value, list):
        return [item for place, part in enumerate(value) for item in flatten(f"{name}[{place}]", part)]
    if isinstance(value, dict):
        return [item for key in sorted(value) for item in flatten(f"{name}[{key}]", value[key])]
    return [(name, np.asarray(value))]


def _fits_inline(model: ir.Model) -> bool:
    values = (value for graph in model.graphs() for value in graph.initializers.values())
    tensors = [value.const_value for value in values if value.const_value is not None]
    external = any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)
    return not external and sum(tensor.nbytes for tensor in tensors) < INLINE_BYTES


def _array(value: Any) -> Array:
    kind = value.element_type()
    if kind not in _BORROWED:
        array: Array = value.numpy()
        return array
    dtype, shape = _BORROWED[kind], value.shape()
    # The bits are copied out at once: the runtime frees them with the value.
    raw = ctypes.string_at(value.data_ptr(), int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(shape).copy()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    kinds = (
        states.EPFail, states.Fail, states.InvalidArgument, states.InvalidGraph, states.InvalidProtobuf,
        states.NoModel, states.NoSuchFile, states.NotImplemented, states.RuntimeException, RuntimeError, ValueError,
    )  # fmt: skip
    try:
        yield
    except MemoryError:
        raise TooMuch("not enough memory") from None
    except kinds as error:
        reason = _PLACE.sub("", " ".join(str(error).split()))
        names = next((found for pattern in _NODES if (found := pattern.findall(reason))), [])
        kind = TooMuch if _MEMORY.search(reason) else ExecutionFailed
        raise kind(reason, names[-1] if names else None) from error  # the last is the innermost
