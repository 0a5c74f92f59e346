"""What exporters compute of shapes: integers of rank 0 and 1, picked, joined, cast and compared."""

from __future__ import annotations

from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.sweep_words import DTYPES, form, integers

_ARITHMETIC: Final = ("Add", "Sub", "Mul", "Div", "Mod", "Equal", "Greater", "Less", "Max", "Min")
_NUMBER: Final = Arg((), "int64", kind="positive")
_LIST: Final = Arg((4,), "int64", kind="positive")
_ONE: Final = Arg((1,), "int64", kind="positive")
_TWO: Final = Arg((), "int64", True, values=(2,))


def extents(op_type: str) -> list[Case]:
    """The cases of an operator on integers that stand for sizes; empty for one that exporters do not so use."""
    if op_type in _ARITHMETIC:
        return [
            _case(op_type, "number", _NUMBER, _TWO),
            _case(op_type, "numbers", _NUMBER, _NUMBER),
            _case(op_type, "list,number", _LIST, _TWO),
            _case(op_type, "list", _LIST, _LIST, core=True),
        ]
    return [*_CASES.get(op_type, []), *(_parts() if op_type == "Shape" else [])]


def _parts() -> list[Case]:
    """A part of a shape, as PyTorch asks for the size of one axis."""
    image = Arg((1, 4, 6, 6))
    return [_case("Shape", "end=2", image, end=2), _case("Shape", "start=2,end=3", image, start=2, end=3)]


def _case(op: str, label: str, *args: Arg | None, **attributes: Any) -> Case:
    return form(op, f"extent={label}", *args, **attributes)


_CODES: Final = {"float32": 1, "int32": 6, "int64": 7}
_CASES: Final[dict[str, list[Case]]] = {
    "Gather": [
        _case("Gather", "number", _LIST, Arg((), "int64", True, values=(1,)), axis=0),
        _case("Gather", "list", _LIST, Arg((1,), "int64", True, values=(1,)), axis=0),
        _case("Gather", "computed", _LIST, Arg((), "int64", values=(1,)), axis=0),
    ],
    "Unsqueeze": [_case("Unsqueeze", "number", _NUMBER, integers("axes", 0))],
    "Squeeze": [_case("Squeeze", "one", _ONE, integers("axes", 0))],
    "Reshape": [_case("Reshape", "number", _NUMBER, integers("", 1)), _case("Reshape", "one", _ONE, integers("", 1))],
    "Concat": [
        _case("Concat", "ones", _ONE, _ONE, axis=0),
        _case("Concat", "constant", _ONE, Arg((1,), "int64", True, values=(-1,)), axis=0),
    ],
    "Slice": [
        _case("Slice", "list", _LIST, integers("starts", 0), integers("ends", 2), integers("axes", 0)),
        _case("Slice", "list,int32", _LIST, *(Arg((1,), "int32", True, values=(value,)) for value in (0, 2, 0))),
    ],
    "Cast": [
        _case("Cast", f"{name},{a}-to-{b}", Arg(shape, a, kind="positive"), to=_CODES[b])
        for name, shape in (("number", ()), ("list", (4,)))
        for a, b in (("int64", "float32"), ("float32", "int64"), ("int64", "int32"), ("int32", "int64"))
    ],
    "Where": [_case("Where", "list", Arg((4,), "bool"), _LIST, _LIST)],
    "ReduceProd": [_case("ReduceProd", "list", _LIST, integers("axes", 0), keepdims=0)],
    "ReduceSum": [_case("ReduceSum", "list", _LIST, integers("axes", 0), keepdims=0)],
    "Identity": [_case("Identity", "list", _LIST), _case("Identity", "number", _NUMBER)],
    "Neg": [_case("Neg", "number", _NUMBER)],
    **{
        op: [
            _case(op, f"of-{dtype},rank={len(shape)}", Arg(shape, dtype))
            for dtype in DTYPES
            for shape in ((2, 3), (4,))
        ]
        for op in ("Shape", "Size")
    },
    "Expand": [_case("Expand", "number", _NUMBER, integers("", 4))],
    "Tile": [_case("Tile", "list", _ONE, integers("", 4))],
    "Split": [_case("Split", "list", _LIST, integers("split", 2, 2), outputs=2, axis=0)],
}  # fmt: skip
