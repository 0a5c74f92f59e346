"""A probe: a one-operator model with inputs and the outputs it must give, to put a yes-or-no question to a vendor."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.support.case import Case, model, opset_of, qualified, versions
from graphopt.support.predicate import Fact
from graphopt.support.sweeps import cases, operators

if TYPE_CHECKING:
    import onnx


BFLOAT_OPSET: Final = 22
"""The opset that let most operators have bfloat16, and that onnxruntime runs a few of them not yet at."""


@dataclass(frozen=True)
class Probe:
    """A question to a vendor's toolchain.

    Attributes:
        id: stable and readable: operator, version and what is special, as "AveragePool-11/ceil_mode=1".
        op_type, domain, since: the operator asked about; the domain of ONNX itself is "".
        core: whether the same case is asked at every version of the operator.
        model: the serialized ONNX model.
        inputs: arrays by input name.
        expected: arrays by output name.
        facts: what `graphopt.support.facts` says of the node.
    """

    id: str
    op_type: str
    domain: str
    since: int
    core: bool
    model: bytes
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    facts: dict[str, Fact]

    @property
    def operator(self) -> str:
        """The operator with its domain, as in "com.microsoft::Gelu"; ONNX's own goes without."""
        return qualified(self.domain, self.op_type)

    @property
    def digest(self) -> str:
        """Identifies the question itself, so that a journal knows when a probe of the same name has changed."""
        state = hashlib.sha256(self.model)
        for name, array in sorted({**self.inputs, **self.expected}.items()):
            state.update(f"{name}{array.dtype}{array.shape}".encode() + array.tobytes())
        return state.hexdigest()[:16]

    def write(self, folder: Path) -> dict[str, str]:
        """Write model.onnx, inputs.npz and expected.npz, and return their paths by the prober's argument names."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"model": folder / "model.onnx", "inputs": folder / "inputs.npz", "expected": folder / "expected.npz"}
        files["model"].write_bytes(self.model)
        np.savez(files["inputs"], **self.inputs)  # type: ignore[arg-type]
        np.savez(files["expected"], **self.expected)  # type: ignore[arg-type]
        return {name: str(file) for name, file in files.items()}


def probes(ops: Sequence[str] | None = None) -> Iterator[Probe]:
    """All probes of the operators that the sweeps know, or of those named in `ops` ("Conv", "com.microsoft::Gelu").

    A case that is no valid model at a version, or that no oracle can answer, asks nothing and is left out.
    """
    for name in operators() if ops is None else ops:
        for index, version in enumerate(versions(name)):
            for case in cases(name):
                if index == 0 or case.core:
                    probe = build(case, version)
                    if probe is not None:
                        yield probe


def build(case: Case, version: int) -> Probe | None:
    """Bind a case to a version of its operator; None where that makes no valid model that an oracle can answer."""
    name = f"{case.operator}-{version}/{case.label}"
    # 16-bit quantization came with opset 21
    opset = opset_of(case.operator, version, 21 if case.quantized and "16" in case.quantized.activation else 0)
    made = model(case, opset, name) if opset is not None else None
    if made is None:
        return None
    proto, inputs = made
    if case.quantized is not None:
        from graphopt.support.quantized import surround

        if not surround(proto, inputs, case.quantized):
            return None
    if case.paired:
        from graphopt.support.quantized import pair

        pair(proto, inputs)
    return finish(name, version, proto, inputs, core=case.core, dynamic=bool(case.dynamic))


def finish(
    name: str,
    version: int,
    proto: onnx.ModelProto,
    inputs: dict[str, np.ndarray],
    *,
    core: bool,
    dynamic: bool = False,
) -> Probe | None:
    """Make a probe of a model: ask the oracles, type its outputs, and read the facts of its node named "op".

    Args:
        name: id of the probe.
        version: since_version of the node's operator.
        proto: the model; it is changed.
        inputs: run-time inputs by name.
        core: whether the same is asked at every version.
        dynamic: whether the sizes of its outputs are symbolic.

    Returns:
        None where that is no valid model, or no oracle can answer.
    """
    import onnx
    from onnx import shape_inference

    node = next(node for node in proto.graph.node if node.name == "op")
    try:
        expected = reference(proto, inputs) or reference(_older(proto), inputs)
        if expected is None:
            return None
        _type_outputs(proto, expected, dynamic=dynamic)
        if not _outlawed(node, proto.opset_import[0].version):
            onnx.checker.check_model(proto, full_check=True)
        proto = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
        _type_interior(proto, inputs, dynamic=dynamic)
    except (onnx.checker.ValidationError, shape_inference.InferenceError):
        return None
    return Probe(
        name, node.op_type, node.domain, version, core, proto.SerializeToString(), inputs, expected, facts_of(proto)
    )


def _older(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same at the opset before `BFLOAT_OPSET`, whose new versions of operators differ in the dtypes they take."""
    import onnx

    old = onnx.ModelProto()
    old.CopyFrom(proto)
    if old.opset_import[0].version == BFLOAT_OPSET:
        old.opset_import[0].version = BFLOAT_OPSET - 1
    return old


def _outlawed(node: onnx.NodeProto, opset: int) -> bool:
    """Whether the checker refuses an operator that models have all the same: withdrawn, or onnxruntime's own."""
    from onnx import defs

    from graphopt.support.schemas import operator

    schema = operator(node.domain, node.op_type, opset)
    return not node.domain and (schema is None or schema.deprecated or not defs.has(node.op_type))


def reference(proto: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """What a model must answer: onnxruntime without its optimizations, else onnx.reference; None where neither can.

    In half precision onnx.reference goes first: a vendor is held against the exact answer, not another rounding of it.
    """
    half = any(array.dtype == np.float16 for array in inputs.values())
    first, second = (_by_reference, _by_runtime) if half else (_by_runtime, _by_reference)
    answers = first(proto, inputs)
    return second(proto, inputs) if answers is None else answers


def _by_runtime(proto: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if any(array.dtype.kind not in "fiubU" for array in inputs.values()):
        return None
    with contextlib.suppress(*_ort_errors(), RuntimeError, ValueError):
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in proto.graph.output]
        return dict(zip(names, map(np.asarray, session.run(None, inputs)), strict=True))
    return None


@functools.cache
def _ort_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _by_reference(proto: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    from onnx.reference import ReferenceEvaluator

    from graphopt.support.oracle import OPERATORS

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answers = ReferenceEvaluator(proto, new_ops=list(OPERATORS)).run(None, inputs)
    except Exception:  # noqa: BLE001 - an operator that the reference lacks may raise anything; then nothing is asked
        return None
    names = [output.name for output in proto.graph.output]
    return {name: np.asarray(answer) for name, answer in zip(names, answers, strict=True)}


def _type_outputs(proto: onnx.ModelProto, expected: dict[str, np.ndarray], *, dynamic: bool) -> None:
    for output in proto.graph.output:
        output.CopyFrom(_typed(output.name, expected[output.name], dynamic=dynamic))


def _type_interior(proto: onnx.ModelProto, inputs: dict[str, np.ndarray], *, dynamic: bool) -> None:
    """Declare what onnx cannot infer, the values of onnxruntime's own operators, as a file of onnxruntime does."""
    import onnx

    known = {value.name for value in (*proto.graph.value_info, *proto.graph.output)}
    names = [name for node in proto.graph.node for name in node.output if name and name not in known]
    if not names:
        return
    asking = onnx.ModelProto()
    asking.CopyFrom(proto)
    asking.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    found = reference(asking, inputs) or {}
    proto.graph.value_info.extend(_typed(name, found[name], dynamic=dynamic) for name in names if name in found)


def _typed(name: str, array: np.ndarray, *, dynamic: bool) -> onnx.ValueInfoProto:
    from onnx import helper

    dims: list[Any] = [f"{name}_{axis}" for axis in range(array.ndim)] if dynamic else list(array.shape)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims)


def facts_of(proto: onnx.ModelProto) -> dict[str, Fact]:
    """Facts of the node named "op" in the model of a probe."""
    import onnx_ir as ir

    from graphopt.ir.infer import infer_shapes
    from graphopt.support.facts import facts
    from graphopt.support.schemas import operator

    model = ir.from_proto(proto)
    infer_shapes(model)
    graph = model.graph
    node = next(node for node in graph if node.name == "op")
    schema = operator(node.domain, node.op_type, graph.opset_imports[node.domain])
    assert schema is not None, f"{node.op_type} has a schema: the probe's model has passed the checker"
    return facts(node, schema)
