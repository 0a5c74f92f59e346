"""Probes of a toolchain as a whole: which versions of the format it reads, and what it works out ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphopt.support.probe import Probe, finish
from graphopt.support.result import Result
from graphopt.support.table import Reads

if TYPE_CHECKING:
    import onnx

    from graphopt.support.table import Foresight

OPSETS: Final = range(7, 29)
IR_VERSIONS: Final = range(3, 15)
_PLAIN_OPSET, _PLAIN_IR = 13, 8
_SHAPE: Final = (1, 4, 6, 6)
# What each of these reads must be a constant to most vendors, so a computed one shows whether it was computed ahead …
_CONSTANTS: Final[Mapping[str, tuple[int, ...]]] = {
    "ReduceSum": (1,), "Pad": (0, 0, 1, 1, 0, 0, 1, 1), "Tile": (1, 2, 1, 1), "TopK": (3,),
}  # fmt: skip
# … and here the shape of the result hangs on it.
_SIZES: Final[Mapping[str, tuple[int, ...]]] = {"Squeeze": (0,), "Split": (1, 3)}
_WAYS: Final = ("given", "from constants", "from a shape")


def whole_probes() -> Iterator[Probe]:
    """A Relu at every opset and every version of the file format, and operators whose second input is computed."""
    for opset in OPSETS:
        yield from _made(f"model/opset={opset}", _model([_node("Relu", ["x"])], opset=opset))
    for version in IR_VERSIONS:
        yield from _made(f"model/ir_version={version}", _model([_node("Relu", ["x"])], ir_version=version))
    for op_type, numbers in {**_CONSTANTS, **_SIZES}.items():
        for way in _WAYS:
            yield from _made(f"model/{op_type} {way}", _computed(op_type, numbers, way))


def reads(results: Sequence[Result]) -> Reads:
    """What the answers to `whole_probes` amount to."""
    taken = {result.id: result.effect is None for result in results}
    spans = [_span("opset", OPSETS, taken), _span("ir_version", IR_VERSIONS, taken)]
    beyond = [result for result in results if "=" in result.id and result.effect is not None]
    return Reads(
        opset=spans[0],
        ir_version=spans[1],
        foresight=_foresight(taken),
        says=beyond[-1].says if beyond else "",
        probes=tuple(result.id for result in beyond),
    )


def _span(name: str, tried: range, taken: Mapping[str, bool]) -> tuple[int, int] | None:
    fine = [version for version in tried if taken.get(f"model/{name}={version}")]
    asked = [version for version in tried if f"model/{name}={version}" in taken]
    return (min(fine), max(fine)) if fine and fine != asked else None


def _foresight(taken: Mapping[str, bool]) -> Foresight:
    def all_of(operators: Mapping[str, tuple[int, ...]]) -> bool:
        telling = [op_type for op_type in operators if taken.get(f"model/{op_type} given")]
        asked = [taken.get(f"model/{op_type} {way}", False) for op_type in telling for way in _WAYS[1:]]
        return bool(asked) and all(asked)

    if not all_of(_SIZES):
        return "none"
    return "constants" if all_of(_CONSTANTS) else "sizes"


def _computed(op_type: str, numbers: tuple[int, ...], way: str) -> onnx.ModelProto:
    """The operator, with its second input given, made of two constants, or of a constant and the shape of x."""
    more: dict[str, Any] = {"axis": 1} if op_type == "Split" else {}
    op = _node(op_type, ["x", "numbers"], ["r", "rest"] if op_type in ("TopK", "Split") else ["r"], **more)
    after = _node("Neg", ["r"], name="after")
    if way == "given":
        return _model([op, after], {"numbers": np.array(numbers)})
    if way == "from constants":
        stored = {"a": np.array(numbers) - 3, "b": np.full(len(numbers), 3)}
        return _model([_node("Add", ["a", "b"], ["numbers"], name="sum"), op, after], stored)
    before = [
        _node("Shape", ["x"], ["shape"], name="shape"),
        _node("Gather", ["shape", "place"], ["size"], name="size"),
        _node("Add", ["size", "a"], ["numbers"], name="sum"),
    ]
    return _model([*before, op, after], {"a": np.array(numbers) - _SHAPE[1], "place": np.array([1])})


def _node(
    op_type: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), *, name: str = "op", **more: Any
) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(op_type, inputs, outputs, name=name, **more)


def _model(
    nodes: Sequence[onnx.NodeProto],
    stored: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = _PLAIN_OPSET,
    ir_version: int = _PLAIN_IR,
) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)
    y = helper.make_empty_tensor_value_info("y")
    weights = [numpy_helper.from_array(array.astype(np.int64), name) for name, array in (stored or {}).items()]
    graph = helper.make_graph(list(nodes), "model", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def _made(name: str, model: onnx.ModelProto) -> Iterator[Probe]:
    inputs = {"x": np.linspace(-2, 2, int(np.prod(_SHAPE)), dtype=np.float32).reshape(_SHAPE)}
    probe = finish(name, 1, model, inputs, core=True)
    if probe is not None:
        yield probe
