"""Probes out of the ONNX operator tests: other people's corner cases, and operators that no sweep knows.

A test is taken when it is one operator of ONNX's own domain on plain tensors. As exporters do, every input but the
first floating-point one becomes a constant. The opset is lowered to the latest that is probed where the node means the
same there.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.support.case import OPSETS
from graphopt.support.probe import Probe, facts_of

if TYPE_CHECKING:
    import onnx

_FLOATS: Final = (1, 10, 11, 16)
_RANDOM: Final = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def suite(ops: Collection[str] | None = None) -> Iterator[Probe]:
    """All probes from the operator tests of the installed onnx package, or those of the operators in `ops`."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        graph = test.model.graph
        if len(graph.node) != 1 or graph.node[0].domain not in ("", "ai.onnx") or graph.node[0].op_type in _RANDOM:
            continue
        if ops is None or graph.node[0].op_type in ops:
            probe = _probe(test.name, test.model, *test.data_sets[0])
            if probe is not None:
                yield probe


def _probe(name: str, model: onnx.ModelProto, inputs: list[Any], outputs: list[Any]) -> Probe | None:
    import onnx

    values = [*model.graph.input, *model.graph.output]
    if any(value.type.WhichOneof("value") != "tensor_type" for value in values):
        return None
    arrays = [_array(item) for item in (*inputs, *outputs)]
    if len(arrays) != len(values) or any(array is None or array.dtype.kind not in "fiubV" for array in arrays):
        return None
    if any(not _ordinary(array) for array in arrays):
        return None
    named = {value.name: array for value, array in zip(values, arrays, strict=True) if array is not None}
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    _fix(proto, named)
    lowered = _lowered(proto)
    if lowered is None:
        return None
    op, since = lowered
    run = {value.name: named[value.name] for value in proto.graph.input}
    expected = {value.name: named[value.name] for value in proto.graph.output}
    label = f"{op}-{since}/suite:{name.removeprefix('test_')}"
    return Probe(label, op, "", since, False, proto.SerializeToString(), run, expected, facts_of(proto))


def _array(item: Any) -> np.ndarray | None:
    import onnx

    if isinstance(item, onnx.TensorProto):
        item = onnx.numpy_helper.to_array(item)
    return item if isinstance(item, np.ndarray) else np.asarray(item) if np.isscalar(item) else None


def _ordinary(array: np.ndarray | None) -> bool:
    """Whether values are such as any precision holds: with NaN, infinity or 1e4 a test asks about values, not forms."""
    if array is None or array.dtype.kind not in "fV":
        return True
    values = array.astype(np.float64)
    return bool(np.isfinite(values).all() and (np.abs(values) < 1e3).all())


def _fix(proto: onnx.ModelProto, named: dict[str, np.ndarray]) -> None:
    """Turn every input but the first floating-point one into an initializer, and name the node."""
    from onnx import numpy_helper

    inputs = list(proto.graph.input)
    data = next(
        (value for value in inputs if value.type.tensor_type.elem_type in _FLOATS), inputs[0] if inputs else None
    )
    del proto.graph.input[:]
    for value in inputs:
        if value is data:
            proto.graph.input.append(value)
        else:
            proto.graph.initializer.append(numpy_helper.from_array(named[value.name], value.name))
    proto.graph.node[0].name = "op"


def _lowered(proto: onnx.ModelProto) -> tuple[str, int] | None:
    """Lower opset and IR version in place; operator and since_version, None where the latest probed opset lacks it."""
    import onnx

    node = proto.graph.node[0]
    own = next(item for item in proto.opset_import if item.domain in ("", "ai.onnx"))
    own.version = min(own.version, OPSETS[-1])
    proto.ir_version = min(proto.ir_version, 10)
    try:
        onnx.checker.check_model(proto, full_check=True)
        since: int = onnx.defs.get_schema(node.op_type, own.version).since_version
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, onnx.defs.SchemaError):
        return None
    return node.op_type, since
