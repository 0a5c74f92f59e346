"""A probe: a one-operator model with inputs and the outputs it must give, to put a yes-or-no question to a vendor."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.support.case import Case, model, opset_of, versions
from graphopt.support.predicate import Fact
from graphopt.support.sweeps import cases, operators

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Probe:
    """A question to a vendor's toolchain.

    Attributes:
        id: stable and readable: operator, version and what is special, as "AveragePool-11/ceil_mode=1".
        op_type, domain, since: the operator asked about.
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
    """All probes of the operators that the sweeps know, or of those named in `ops`.

    A case that is no valid model at a version, or that no oracle can answer, asks nothing and is left out.
    """
    for op_type in operators() if ops is None else ops:
        for index, version in enumerate(versions(op_type)):
            for case in cases(op_type):
                if index == 0 or case.core:
                    probe = build(case, version)
                    if probe is not None:
                        yield probe


def build(case: Case, version: int) -> Probe | None:
    """Bind a case to a version of its operator; None where that makes no valid model that an oracle can answer."""
    import onnx
    from onnx import shape_inference

    name = f"{case.op_type}-{version}/{case.label}"
    # 16-bit quantization came with opset 21
    opset = opset_of(case.op_type, version, 21 if case.quantized and "16" in case.quantized.activation else 0)
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
    try:
        expected = reference(proto, inputs)
        if expected is None:
            return None
        _type_outputs(proto, expected, dynamic=bool(case.dynamic))
        onnx.checker.check_model(proto, full_check=True)
        proto = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError):
        return None
    facts = facts_of(proto)
    return Probe(name, case.op_type, "", version, case.core, proto.SerializeToString(), inputs, expected, facts)


def reference(proto: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """What a model must answer: onnxruntime without its optimizations, else onnx.reference; None where neither can."""
    import onnxruntime as ort

    names = [output.name for output in proto.graph.output]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    plain = all(array.dtype.kind in "fiub" for array in inputs.values())
    # In half precision the vendor is held against the exact answer, not against another rounding of it.
    if plain and not any(array.dtype == np.float16 for array in inputs.values()):
        with contextlib.suppress(*_ort_errors(), RuntimeError, ValueError):
            session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
            return dict(zip(names, map(np.asarray, session.run(None, inputs)), strict=True))
    return _by_reference(proto, inputs, names)


@functools.cache
def _ort_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _by_reference(
    proto: onnx.ModelProto, inputs: dict[str, np.ndarray], names: list[str]
) -> dict[str, np.ndarray] | None:
    from onnx.reference import ReferenceEvaluator

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answers = ReferenceEvaluator(proto).run(None, inputs)
    except Exception:  # noqa: BLE001 - an operator that the reference lacks may raise anything; then nothing is asked
        return None
    return {name: np.asarray(answer) for name, answer in zip(names, answers, strict=True)}


def _type_outputs(proto: onnx.ModelProto, expected: dict[str, np.ndarray], *, dynamic: bool) -> None:
    from onnx import helper

    for output in proto.graph.output:
        array = expected[output.name]
        dims: list[Any] = [f"{output.name}_{axis}" for axis in range(array.ndim)] if dynamic else list(array.shape)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind, dims))


def facts_of(proto: onnx.ModelProto) -> dict[str, Fact]:
    """Facts of the node named "op" in the model of a probe."""
    import onnx_ir as ir

    from graphopt.ir.infer import infer_shapes
    from graphopt.support.facts import facts, operator

    model = ir.from_proto(proto)
    infer_shapes(model)
    graph = model.graph
    node = next(node for node in graph if node.name == "op")
    schema = operator(node.domain, node.op_type, graph.opset_imports[""])
    assert schema is not None, "the model of a probe has passed the checker"
    return facts(node, schema)
