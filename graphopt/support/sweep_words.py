"""What all sweeps are written with: the shapes and dtypes they try, and short ways to write a case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from graphopt.support.case import MAIN_OPSET, Arg, Case, Quantization, allowed, since, versions

Attributes = dict[str, Any]

IMAGE: Final = Arg((1, 4, 6, 6))
SHAPES: Final = ((6,), (3, 6), (2, 3, 6), (1, 4, 6, 6), (1, 4, 3, 6, 6), (1, 2, 2, 3, 4, 5))
RANKS: Final = ((), *SHAPES)
"""Those, and a scalar."""
DTYPES: Final = ("float16", "float64", "bfloat16", "int8", "uint8", "int32", "int64", "bool")
PLAIN: Final = (Quantization("uint8", "uint8"), Quantization("int8", "int8"))
"""Quantized forms of an operator without weights."""
WEIGHTED: Final = (
    *PLAIN,
    Quantization("int8", "int8", per_channel=True),
    Quantization("int8", "int8", bias="float32"),
    Quantization("int8", "int8", per_channel=True, bias="float32"),
    Quantization("uint8", "int8"),
    Quantization("uint8", "int8", per_channel=True),
    Quantization("uint16", "int8"),
    Quantization("uint16", "int8", per_channel=True),
)
"""Quantized forms of an operator with weights."""


STORED: Final = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul")
"""Operators of which the data are computed and nothing else: a constant is stored quantized, and scales are known."""


def integers(attribute: str, *values: int) -> Arg:
    """A constant list of integers, which older versions have as the attribute of that name ("" for none)."""
    return Arg((len(values),), "int64", True, values=values, attribute=attribute)


def computed(arg: Arg) -> Arg:
    """The same argument as a run-time input."""
    return Arg(arg.shape, arg.dtype, False, values=arg.values)


def data_cases(base: Case) -> list[Case]:
    """The base with its data in other dtypes, a symbolic axis, and quantized."""
    first, rest = base.args[0], base.args[1:]
    assert first is not None
    return [
        *(base.but(dtype, args=(replace(first, dtype=dtype), *rest)) for dtype in DTYPES),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def quantized_with_constant(base: Case) -> list[Case]:
    """Quantized forms of a case whose second input is constant."""
    return [base.but(f"constant,{form.label}", quantized=form) for form in PLAIN]


def form(op: str, label: str, *args: Arg | None, outputs: int = 1, core: bool = False, **attributes: Any) -> Case:
    """A case, its attributes as keywords."""
    return Case(op, label, args, attributes, outputs, core)


def dtypes(base: Case, indices: Sequence[int] = (0,)) -> Iterator[Case]:
    """The base in every other dtype that the schema allows, for the arguments that share it."""
    opset = MAIN_OPSET if since(base.op_type, MAIN_OPSET) else versions(base.op_type)[0]
    for dtype in allowed(base.op_type, opset, DTYPES, indices[0]):
        if (first := base.args[indices[0]]) is not None and dtype != first.dtype:
            args = tuple(
                Arg(arg.shape, dtype, arg.constant, arg.kind) if arg is not None and index in indices else arg
                for index, arg in enumerate(base.args)
            )
            yield base.but(dtype, args=args)


def changed(base: Case, *changes: Attributes) -> list[Case]:
    """The base with some attributes set, once for each change; they are its label."""
    return [
        base.but(
            ",".join(f"{key}={_short(value)}" for key, value in change.items()),
            attributes={**base.attributes, **change},
        )
        for change in changes
    ]


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
