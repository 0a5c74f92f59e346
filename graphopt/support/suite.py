"""Probes out of the ONNX operator tests: other people's corner cases, and operators that no sweep knows.

A test is taken when it is one operator of ONNX's own domain on tensors. As exporters do, every input but the first
floating-point one becomes a constant; operators that no sweep knows are also asked with their inputs computed. The
opset is lowered to one that vendors read where the node means the same there, which the reference confirms; operators
that no sweep knows are asked at all their versions.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.support.case import opset_of, since, versions
from graphopt.support.probe import Probe, facts_of, reference
from graphopt.support.sweeps import operators

if TYPE_CHECKING:
    import onnx

LATEST: Final = 22
"""The opset that a test is lowered to where it can be: all vendors' compilers read it."""
_FLOATS: Final = (1, 10, 11, 16)
_SKIPPED: Final = frozenset({
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "Shape", "Size",
})  # fmt: skip
"""Operators whose tests have no one answer, or leave nothing to do at run time: the sweeps ask about these."""
_QUANTIZED: Final = ("QLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger")


@dataclass(frozen=True)
class _Test:
    name: str
    model: onnx.ModelProto
    arrays: dict[str, np.ndarray]

    @property
    def node(self) -> onnx.NodeProto:
        return self.model.graph.node[0]

    @property
    def opset(self) -> int:
        own: int = next(item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx"))
        return own


def suite(ops: Collection[str] | None = None) -> Iterator[Probe]:
    """All probes from the operator tests of the installed onnx package, or those of the operators in `ops`."""
    swept = frozenset(operators())
    for test in _tests(ops):
        for opset in (min(test.opset, LATEST), test.opset):
            first = _asked(test, opset, "exported")
            if first is not None:
                yield first
                if test.node.op_type not in swept:
                    yield from _otherwise(test, opset, first.since)
                break


def _otherwise(test: _Test, opset: int, version: int) -> Iterator[Probe]:
    """The same with other inputs computed, and at other versions."""
    op_type = test.node.op_type
    asked: list[tuple[int | None, str]] = [(opset, "computed"), (opset, "all-computed")]
    asked += [(opset_of(op_type, other), "exported") for other in versions(op_type) if other != version]
    for at, inputs in asked:
        probe = _asked(test, at, inputs) if at is not None else None
        if probe is not None:
            yield probe


def _tests(ops: Collection[str] | None) -> Iterator[_Test]:
    for test in _loaded():
        graph = test.model.graph
        if len(graph.node) != 1 or graph.node[0].domain not in ("", "ai.onnx") or graph.node[0].op_type in _SKIPPED:
            continue
        if ops is None or graph.node[0].op_type in ops:
            arrays = _arrays(test.model, *test.data_sets[0])
            if arrays is not None:
                yield _Test(test.name.removeprefix("test_"), test.model, arrays)


@functools.cache
def _loaded() -> tuple[Any, ...]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind="node"))


def _arrays(model: onnx.ModelProto, inputs: list[Any], outputs: list[Any]) -> dict[str, np.ndarray] | None:
    """Inputs and outputs by name; None where one is no tensor, or holds what asks about values and not about forms."""
    values = [*model.graph.input, *model.graph.output]
    if any(value.type.WhichOneof("value") != "tensor_type" for value in values):
        return None
    found = {}
    for value, item in zip(values, (*inputs, *outputs), strict=False):
        array = _array(item)
        if array is None or array.dtype.kind not in "fiubVU" or not _ordinary(array):
            return None
        found[value.name] = array
    return found if len(found) == len(values) else None


def _array(item: Any) -> np.ndarray | None:
    import onnx

    if isinstance(item, onnx.TensorProto):
        item = onnx.numpy_helper.to_array(item)
    if np.isscalar(item):
        item = np.asarray(item)
    if not isinstance(item, np.ndarray):
        return None
    return item.astype(str) if item.dtype.kind == "O" else item


def _ordinary(array: np.ndarray) -> bool:
    """Whether values are such as any precision holds: with NaN, infinity or 1e4 a test asks about values, not forms."""
    if array.dtype.kind not in "fV":
        return True
    values = array.astype(np.float64)
    return bool(np.isfinite(values).all() and (np.abs(values) < 1e3).all())


def _asked(test: _Test, opset: int, inputs: str) -> Probe | None:
    """A test as a probe at an opset; None where it is no valid model there, means something else, or asks nothing new.

    Args:
        test: the test.
        opset: the opset.
        inputs: which are computed: "exported" for the first floating-point one, "computed" for all of those, or
            "all-computed".
    """
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(test.model)
    run = _fix(proto, test, inputs)
    if run is None or not run.keys() & set(proto.graph.node[0].input):
        return None
    next(item for item in proto.opset_import if item.domain in ("", "ai.onnx")).version = opset
    proto.ir_version = min(proto.ir_version, 10)
    op_type = test.node.op_type
    version = since(op_type, opset)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    expected = {value.name: test.arrays[value.name] for value in proto.graph.output}
    if version is None or (version != since(op_type, test.opset) and not _same(reference(proto, run), expected)):
        return None
    label = f"{op_type}-{version}/suite:{test.name}" + ("" if inputs == "exported" else f",{inputs}")
    return Probe(label, op_type, "", version, False, proto.SerializeToString(), run, expected, facts_of(proto))


def _fix(proto: onnx.ModelProto, test: _Test, inputs: str) -> dict[str, np.ndarray] | None:
    """Turn inputs into initializers, in place, and name the node; run-time inputs, None where none differs."""
    from onnx import numpy_helper

    values = list(proto.graph.input)
    floats = [value for value in values if value.type.tensor_type.elem_type in _FLOATS]
    data = values[:1] if test.node.op_type.startswith(_QUANTIZED) else floats[:1] or values[:1]
    computed = {"exported": data, "computed": floats, "all-computed": values}[inputs]
    fewer = {"exported": [], "computed": data, "all-computed": floats if len(floats) > len(data) else data}[inputs]
    if inputs != "exported" and len(computed) <= len(fewer):
        return None
    del proto.graph.input[:]
    for value in values:
        if value in computed:
            proto.graph.input.append(value)
        else:
            array = test.arrays[value.name]
            stored = array.astype(object) if array.dtype.kind == "U" else array
            proto.graph.initializer.append(numpy_helper.from_array(stored, value.name))
    proto.graph.node[0].name = "op"
    return {value.name: test.arrays[value.name] for value in computed}


def _same(answer: dict[str, np.ndarray] | None, expected: dict[str, np.ndarray]) -> bool:
    if answer is None:
        return False
    for name, right in expected.items():
        given = answer[name]
        if given.shape != right.shape or given.dtype != right.dtype:
            return False
        exact = right.dtype.kind not in "fV"
        if not (np.array_equal(given, right) if exact else _close(given, right)):
            return False
    return True


def _close(given: np.ndarray, right: np.ndarray) -> bool:
    return np.allclose(given.astype(np.float64), right.astype(np.float64), rtol=1e-3, atol=1e-4)
