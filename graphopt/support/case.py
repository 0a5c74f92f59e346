"""One thing to try on a vendor: an operator's arguments and attributes, and the one-operator model made of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSETS: Final = range(7, 29)
"""Opsets whose operator versions are probed."""
MAIN_OPSET: Final = 17
"""The opset at which an operator's full sweep runs; other versions get its core cases."""
MICROSOFT: Final = "com.microsoft"
"""The domain of the operators that onnxruntime's optimizer and quantizer write."""


@dataclass(frozen=True)
class Arg:
    """A tensor argument.

    Attributes:
        shape: its shape.
        dtype: as numpy names it; bfloat16 comes from ml_dtypes.
        constant: whether it is an initializer.
        kind: what its values are like: "normal", "positive", "unit" (inside ±0.9), "near one" (so that a product of
            thousands stays in range), "distinct" (no two alike along any axis, so that an order has no ties) or
            "index" (0 or 1).
        values: the values themselves, where they matter.
        attribute: name of the attribute that older versions of the operator have in its place.
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    constant: bool = False
    kind: str = "normal"
    values: tuple[Any, ...] | None = None
    attribute: str = ""

    def array(self, seed: str) -> np.ndarray:
        """Its values, the same for the same seed."""
        dtype = np_dtype(self.dtype)
        if self.values is not None:
            return np.array(self.values, dtype=dtype).reshape(self.shape)
        rng = np.random.default_rng(zlib.crc32(seed.encode()))
        if self.kind == "index":
            return rng.integers(0, 2, self.shape).astype(dtype)
        if self.dtype == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        if self.kind == "distinct":
            size = max(self.shape, default=1)
            places = sum(np.indices(self.shape), np.zeros(self.shape, np.int64)) % size
            low = 0 if self.dtype.startswith("u") else -(size // 2)
            return (rng.permutation(size) + low)[places].astype(dtype)
        if self.kind == "near one":
            signs = rng.choice([-1, 1] if self.dtype.startswith("int") else [1], self.shape)
            return (signs if "int" in self.dtype else 1 + rng.integers(-4, 5, self.shape) / 64).astype(dtype)
        if "int" in self.dtype:
            low = 1 if self.kind == "positive" else 0 if self.dtype.startswith("u") else -4
            return rng.integers(low, 6, self.shape).astype(dtype)
        if self.kind == "positive":
            values = rng.uniform(0.2, 3.0, self.shape)
        else:
            values = rng.uniform(-0.9, 0.9, self.shape) if self.kind == "unit" else rng.standard_normal(self.shape)
        # On this grid a value is the same in half precision, so Floor or Greater cannot tip over by rounding alone.
        return (np.round(values * 64) / 64).astype(dtype)


@dataclass(frozen=True)
class Quantization:
    """The QuantizeLinear/DequantizeLinear around an operator.

    Attributes:
        activation: dtype of run-time inputs and outputs.
        weight: dtype of the weights of a Conv, Gemm or MatMul.
        per_channel: whether each output channel has a weight scale of its own.
        bias: "int32", or "float32" for a bias that stays as it is.
    """

    activation: str
    weight: str
    per_channel: bool = False
    bias: str = "int32"

    @property
    def label(self) -> str:
        """As in "qdq=uint8:int8:channel"."""
        more = (":channel" if self.per_channel else "") + (":float-bias" if self.bias == "float32" else "")
        return f"qdq={self.activation}:{self.weight}{more}"


@dataclass(frozen=True)
class Case:
    """An operator with arguments and attributes, not yet bound to a version.

    Attributes:
        op_type: the operator.
        label: what is special about it, unique among the operator's cases.
        args: its inputs; None for an input left out.
        attributes: its attributes.
        outputs: how many of its outputs are used.
        core: whether it is also probed at the operator's other versions.
        dynamic: which axes of the first input are symbolic: "", "batch" (axis 0) or "all".
        quantized: what is quantized around it.
        paired: for QuantizeLinear and DequantizeLinear: whether the other one stands after or before it.
        domain: "" for ONNX's own, or `MICROSOFT`.
    """

    op_type: str
    label: str
    args: tuple[Arg | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    core: bool = False
    dynamic: str = ""
    quantized: Quantization | None = None
    paired: bool = False
    domain: str = ""

    @property
    def operator(self) -> str:
        """The operator with its domain, as in "com.microsoft::Gelu"; ONNX's own goes without."""
        return qualified(self.domain, self.op_type)

    def but(self, label: str, **changes: Any) -> Case:
        """The same case with changes; never core."""
        return replace(self, label=label, core=False, **changes)

    def qdq(self, *forms: Quantization) -> list[Case]:
        """The same case in quantized forms."""
        return [self.but(form.label, quantized=form) for form in forms]

    def symbolic(self) -> list[Case]:
        """The same case with its first axis symbolic, and with all of them."""
        return [self.but("dynamic", dynamic="batch"), self.but("dynamic=all", dynamic="all")]


def np_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a name, also of bfloat16 and the 8-bit floats."""
    if name.startswith(("bfloat", "float8", "int4", "uint4")):
        import ml_dtypes

        name = getattr(ml_dtypes, name)
    return np.dtype(name)


def qualified(domain: str, op_type: str) -> str:
    """An operator with its domain, as in "com.microsoft::Gelu"; ONNX's own goes without."""
    return f"{domain}::{op_type}" if domain else op_type


def since(name: str, opset: int) -> int | None:
    """since_version of an operator, by its qualified name, at an opset; None where it does not exist.

    Operators of other domains than ONNX's own have one version only.
    """
    from graphopt.support.schemas import operator

    domain, _, op_type = name.rpartition("::")
    schema = operator(domain, op_type, 1 if domain else opset)
    return schema.since if schema else None


def opset_of(name: str, version: int, least: int = 0) -> int | None:
    """An opset, `least` or later, to probe a version at: the main one where it has that version, else the first.

    None where no such opset has the version.
    """
    fitting = [opset for opset in OPSETS if opset >= least and since(name, opset) == version]
    return MAIN_OPSET if MAIN_OPSET in fitting else min(fitting, default=None)


def versions(name: str) -> list[int]:
    """All since_versions of an operator in the probed opsets, the main one first.

    Versions that ONNX has withdrawn are among them, since models have them all the same, but are never the main one.
    """
    found = dict.fromkeys(version for opset in OPSETS if (version := since(name, opset)) is not None)
    living = [version for version in sorted(found) if not _withdrawn(name, version)]
    usual = since(name, MAIN_OPSET)
    main = usual if usual in living else min(living, default=None)
    return sorted(found, key=lambda version: (version != main, version))


def _withdrawn(name: str, version: int) -> bool:
    from graphopt.support.schemas import operator

    domain, _, op_type = name.rpartition("::")
    schema = operator(domain, op_type, version)
    return schema is not None and schema.deprecated


def checked(case: Case) -> bool:
    """Whether the checker knows the operator: onnxruntime may crash on a malformed one of its own."""
    from onnx import defs

    return not case.domain and bool(defs.has(case.op_type))


def allowed(op_type: str, opset: int, dtypes: Sequence[str], index: int = 0) -> list[str]:
    """Those dtypes that the schema lets input `index` have."""
    from onnx import defs

    schema = defs.get_schema(op_type, opset)
    types = schema.inputs[min(index, len(schema.inputs) - 1)].types
    words = {"float32": "float", "float64": "double"}
    return [dtype for dtype in dtypes if f"tensor({words.get(dtype, dtype)})" in types]


def alike(op_type: str, opset: int, count: int, index: int) -> list[int]:
    """Those of the first `count` inputs whose dtype is by the schema that of input `index`, itself included."""
    from onnx import defs

    inputs = defs.get_schema(op_type, opset).inputs
    kinds = [str(inputs[min(place, len(inputs) - 1)].type_str) for place in range(count)] if inputs else []
    return [place for place, kind in enumerate(kinds) if kind == kinds[index]]


def model(case: Case, opset: int, name: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]] | None:
    """The one-operator model of a case at an opset, with its run-time inputs.

    Returns:
        The model, outputs not yet typed, and its inputs by name; None where that version has no such attribute.
    """
    from onnx import TensorProto, helper, numpy_helper

    from graphopt.support.schemas import operator

    schema = operator(case.domain, case.op_type, 1 if case.domain else opset)
    assert schema is not None, f"ONNX defines {case.operator} at opset {opset}"
    attributes = dict(case.attributes)
    args: list[Arg | None] = []
    for arg in case.args:
        if arg is not None and arg.attribute and arg.attribute in schema.attributes:
            values = list(arg.values or ())
            attributes[arg.attribute] = values if arg.shape else values[0]
        else:
            args.append(arg)
    while args and args[-1] is None:
        args.pop()
    if not attributes.keys() <= schema.attributes.keys() or (len(args) > schema.inputs and not schema.variadic):
        return None
    inputs, initializers, names, run = [], [], [], {}
    for index, arg in enumerate(args):
        if arg is None:
            names.append("")
            continue
        names.append(f"x{index}")
        array = arg.array(f"{name}/{index}")
        if arg.constant:
            initializers.append(numpy_helper.from_array(array, f"x{index}"))
        else:
            dims = _dims(arg.shape, case.dynamic if index == 0 else "")
            inputs.append(
                helper.make_tensor_value_info(f"x{index}", helper.np_dtype_to_tensor_dtype(array.dtype), dims)
            )
            run[f"x{index}"] = array
    outputs = [f"y{index}" for index in range(case.outputs)]
    nodes = [helper.make_node(case.op_type, names, outputs, name="op", domain=case.domain or None, **attributes)]
    if not run or case.op_type in ("Shape", "Size"):
        # nothing is left to do at run time in such a graph, so what is known before meets something that is not
        run["r"] = np.array([2], np.float32)
        inputs.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1]))
        nodes.append(helper.make_node("Cast", [outputs[0]], ["f"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["f", "r"], ["z"]))
        outputs = ["z"]
    graph = helper.make_graph(
        nodes, "probe", inputs, [helper.make_empty_tensor_value_info(output) for output in outputs], initializers
    )
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(case.domain, 1)] if case.domain else [])]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 19 else 10)
    return made, run


def _dims(shape: tuple[int, ...], dynamic: str) -> list[int | str]:
    symbols = {"": 0, "batch": 1, "all": len(shape)}[dynamic]
    return ["N" if axis == 0 else f"D{axis}" for axis in range(len(shape))][:symbols] + list(shape[symbols:])
