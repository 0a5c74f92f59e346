"""What all sweeps are written with: the shapes and dtypes they try, and short ways to write a case."""

from __future__ import annotations

from typing import Any, Final

from graphopt.support.case import Arg, Case

IMAGE: Final = Arg((1, 4, 6, 6))
SHAPES: Final = ((6,), (3, 6), (2, 3, 6), (1, 4, 6, 6), (1, 4, 3, 6, 6), (1, 2, 2, 3, 4, 5))
DTYPES: Final = ("float16", "float64", "bfloat16", "int8", "uint8", "int32", "int64", "bool")


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
        *(base.but(dtype, args=(Arg(first.shape, dtype), *rest)) for dtype in DTYPES),
        base.but("dynamic", dynamic=True),
        base.but("qdq=uint8:uint8", quantized=("uint8", "uint8", False)),
        base.but("qdq=int8:int8", quantized=("int8", "int8", False)),
    ]


def form(op: str, label: str, *args: Arg | None, outputs: int = 1, core: bool = False, **attributes: Any) -> Case:
    """A case, its attributes as keywords."""
    return Case(op, label, args, attributes, outputs, core)
