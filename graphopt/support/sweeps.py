"""What to try of each operator: a base form, and from it one change at a time.

Read the tables at the end of each part: a line an operator. One change at a time keeps a sweep small and its answers
readable; combinations that are known to interact are listed by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from graphopt.support.case import MAIN_OPSET, Arg, Case, alike, checked, since, versions
from graphopt.support.sweep_extents import extents
from graphopt.support.sweep_words import (
    PLAIN,
    RANKS,
    SHAPES,
    STORED,
    WEIGHTED,
    Attributes,
    changed,
    computed,
    dtypes,
    integers,
    quantized_with_constant,
)

IMAGE: Final = (1, 4, 8, 8)


def cases(name: str) -> list[Case]:
    """All cases of an operator, by its qualified name, labels unique; empty for an operator that no sweep knows."""
    if name not in _SWEEPS:
        return []
    found = [*_SWEEPS[name](), *extents(name)]
    base = found[0]
    more = [*_flipped(base), *_folded(base), *_typed(base)]
    labels = {case.label for case in found}
    return list({case.label: case for case in (*found, *(case for case in more if case.label not in labels))}.values())


def _folded(base: Case) -> list[Case]:
    """The base on nothing but constants: a compiler has to fold it, or to compute it at each run."""
    if base.domain or base.op_type in STORED:
        return []
    args = tuple(arg if arg is None else replace(arg, constant=True) for arg in base.args)
    return [replace(base, label="folded", args=args, core=True)]


def _typed(base: Case) -> list[Case]:
    """The base in the other dtypes of its first floating-point argument, and of those that share it by the schema."""
    first = next((i for i, arg in enumerate(base.args) if arg is not None and arg.dtype == "float32"), None)
    if first is None or base.paired or not checked(base):
        return []
    opset = MAIN_OPSET if since(base.op_type, MAIN_OPSET) else versions(base.op_type)[0]
    others = alike(base.op_type, opset, len(base.args), first)
    return list(dtypes(base, [first, *(index for index in others if index != first)]))


def _flipped(base: Case) -> Iterator[Case]:
    """The base with one input constant that was computed, or the other way round.

    Not for onnxruntime's own operators: some read parameters that are not constant without asking whether they are.
    """
    if base.domain:
        return
    for index, arg in enumerate(base.args):
        others = [other for place, other in enumerate(base.args) if place != index and other is not None]
        if arg is not None and any(not other.constant for other in others):
            args = (*base.args[:index], replace(arg, constant=not arg.constant), *base.args[index + 1 :])
            yield base.but(f"flipped={index}", args=args)
    if any(arg is not None and not arg.constant for arg in base.args) and len(base.args) > 1:
        swapped = tuple(arg and replace(arg, constant=not arg.constant, attribute="") for arg in base.args)
        if not all(arg is None or arg.constant for arg in swapped):
            yield base.but("swapped", args=swapped)


def operators() -> list[str]:
    """Every operator that a sweep knows."""
    return sorted(_SWEEPS)


def _unary(op: str, kind: str = "normal", changes: Sequence[Attributes] = (), dtype: str = "float32") -> list[Case]:
    base = Case(op, "base", (Arg(SHAPES[3], dtype, kind=kind),), core=True)
    ranks = [base.but(f"rank={len(shape)}", args=(Arg(shape, dtype, kind=kind),)) for shape in RANKS]
    quantized = [] if dtype == "bool" or op in _STEPS else base.qdq(*PLAIN)
    return [base, *ranks, *dtypes(base), *changed(base, *changes), *base.symbolic(), *quantized]


def _binary(op: str, kind: str = "normal", dtype: str = "float32", changes: Sequence[Attributes] = ()) -> list[Case]:
    def pair(label: str, a: tuple[int, ...], b: tuple[int, ...], constant: bool = False, **more: Any) -> Case:
        first = Arg(a, dtype, kind="positive" if op == "Pow" else "normal")
        return Case(op, label, (first, Arg(b, dtype, constant, kind)), **more)

    big = SHAPES[3]
    base = pair("base", big, big, core=True)
    forms = {"scalar": (), "one": (1,), "channel": (1, 4, 1, 1), "trailing": (6, 6), "one-sided": (1, 4, 6, 1)}
    return [
        base,
        pair("constant", big, big, True, core=True),
        *(pair(f"rank={len(shape)}", shape, shape) for shape in RANKS),
        *(pair(f"{name},constant", big, form, True, core=name == "channel") for name, form in forms.items()),
        *(pair(name, big, form) for name, form in forms.items()),
        pair("mutual", (1, 4, 6, 1), (1, 1, 6, 6)),
        base.but(
            "first=constant",
            args=(Arg(big, dtype, True, "positive" if op == "Pow" else kind), Arg(big, dtype, kind=kind)),
        ),
        *dtypes(base, (0, 1)),
        *changed(base, *changes),
        *base.symbolic(),
        *([] if dtype == "bool" or op in _STEPS else base.qdq(*PLAIN)),
        *([] if dtype == "bool" or op in _STEPS else quantized_with_constant(pair("", big, big, True))),
    ]


def _variadic(op: str, attributes: Attributes, changes: Sequence[Attributes] = ()) -> list[Case]:
    def many(label: str, *shapes: tuple[int, ...], constant: bool = False, **more: Any) -> Case:
        args = tuple(Arg(shape, constant=constant and index > 0) for index, shape in enumerate(shapes))
        return Case(op, label, args, {**attributes, **more.pop("changed", {})}, **more)

    base = many("base", SHAPES[3], SHAPES[3], core=True)
    last = [{"axis": len(shape) - 1} if "axis" in attributes else {} for shape in RANKS]
    found = [
        base,
        many("single", SHAPES[3]),
        many("three", *[SHAPES[3]] * 3),
        many("constant", SHAPES[3], SHAPES[3], constant=True),
        *(many(f"rank={len(s)}", s, s, changed=more) for s, more in zip(RANKS, last, strict=True)),
        *dtypes(base, (0, 1)),
        *changed(base, *changes),
        *base.symbolic(),
        *base.qdq(*PLAIN),
        *quantized_with_constant(many("", SHAPES[3], SHAPES[3], constant=True)),
    ]
    if "axis" not in attributes:
        forms = {"scalar": (), "channel": (1, 4, 1, 1), "trailing": (6, 6), "one-sided": (1, 4, 6, 1)}
        found += [many(name, SHAPES[3], shape) for name, shape in forms.items()]
        found += [many(f"{name},constant", SHAPES[3], shape, constant=True) for name, shape in forms.items()]
        found.append(many("mutual", (1, 4, 6, 1), (1, 1, 6, 6)))
    return found


def _reduce(op: str, kind: str = "normal") -> list[Case]:
    def over(label: str, shape: tuple[int, ...], axes: tuple[int, ...] | None, **more: Any) -> Case:
        given = integers("axes", *axes or ())
        extra = () if axes is None else (given if more.pop("constant", True) else computed(given),)
        return Case(op, label, (Arg(shape, kind=kind), *extra), **more)

    base = over("base", IMAGE, (2, 3), core=True)
    return [
        base,
        over("all", IMAGE, None),
        over("axes=last", IMAGE, (-1,), core=True),
        over("axes=channel", IMAGE, (1,)),
        over("axes=1x3", IMAGE, (1, 3)),
        over("axes=2", IMAGE, (2,)),
        over("axes=0", (2, 4, 6), (0,)),
        over("axes=computed", IMAGE, (2, 3), constant=False, core=True),
        over("keepdims=0", IMAGE, (2, 3), attributes={"keepdims": 0}, core=True),
        *(over(f"rank={len(shape)}", shape, (-1,)) for shape in SHAPES),
        over("noop_with_empty_axes=1", IMAGE, None, attributes={"noop_with_empty_axes": 1}, core=True),
        over("noop_with_empty_axes=1,axes", IMAGE, (2, 3), attributes={"noop_with_empty_axes": 1}, core=True),
        *dtypes(base),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def _axis(op: str, changes: Sequence[Attributes] = ()) -> list[Case]:
    # no axis of size 1: over that, the answer is the same whatever the vendor does
    base = Case(op, "base", (Arg((2, 4, 6, 6)),), {"axis": -1}, core=True)
    return [
        base,
        *changed(base, {"axis": 1}, {"axis": 0}, {"axis": 2}, *changes),
        *(base.but(f"rank={len(shape)}", args=(Arg(shape),)) for shape in SHAPES),
        *dtypes(base),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def _matmul() -> list[Case]:
    def product(label: str, a: tuple[int, ...], b: tuple[int, ...], constant: bool = True, **more: Any) -> Case:
        return Case("MatMul", label, (Arg(a), Arg(b, constant=constant)), **more)

    base = product("base", (3, 6), (6, 4), core=True)
    return [
        base,
        *(product(f"rank={len(s) + 2}", (*s, 3, 6), (6, 4)) for s in ((2,), (1, 2), (1, 2, 2))),
        product("computed", (3, 6), (6, 4), False, core=True),
        *(product(f"rank={len(s) + 2},computed", (*s, 3, 6), (*s, 6, 4), False) for s in ((2,), (1, 2), (1, 2, 2))),
        product("batch,constant", (2, 3, 6), (2, 6, 4)),
        product("batch,broadcast", (2, 2, 3, 6), (1, 2, 6, 4), False),
        product("vector", (6,), (6, 4)),
        product("by-vector", (3, 6), (6,)),
        base.but("first=constant", args=(Arg((3, 6), constant=True), Arg((6, 4)))),
        *dtypes(base, (0, 1)),
        *base.symbolic(),
        *base.qdq(*WEIGHTED),
    ]


def _gemm() -> list[Case]:
    def product(label: str, bias: Arg | None, transposed: bool = True, **attributes: Any) -> Case:
        weights = Arg((5, 6) if transposed else (6, 5), constant=True)
        return Case("Gemm", label, (Arg((3, 6)), weights, bias), {"transB": int(transposed), **attributes}, core=True)

    bias = Arg((5,), constant=True)
    base = product("base", bias)
    return [
        base,
        product("transB=0", bias, False),
        product("no-bias", None),
        product("alpha", bias, alpha=0.5).but("alpha=0.5"),
        product("beta", bias, beta=0.5).but("beta=0.5"),
        product("bias=1x5", Arg((1, 5), constant=True)).but("bias=1x5"),
        product("bias=scalar", Arg((), constant=True)).but("bias=scalar"),
        product("bias=3x5", Arg((3, 5), constant=True)).but("bias=3x5"),
        base.but("computed", args=(Arg((3, 6)), Arg((5, 6)), bias)),
        base.but("bias=computed", args=(*base.args[:2], Arg((5,)))),
        base.but("transA=1", args=(Arg((6, 3)), *base.args[1:]), attributes={"transA": 1, "transB": 1}),
        *dtypes(base, (0, 1, 2)),
        *base.symbolic(),
        *base.qdq(*WEIGHTED),
    ]


Sweep = Callable[[], list[Case]]


def _table() -> dict[str, Sweep]:
    from graphopt.support import (
        sweeps_integer,
        sweeps_microsoft,
        sweeps_rare,
        sweeps_shape,
        sweeps_value,
        sweeps_window,
    )

    table: dict[str, Sweep] = {}
    for kind, ops in _UNARY.items():
        table |= {op: partial(_unary, op, kind, _CHANGES.get(op, ())) for op in ops.split()}
    for (kind, dtype), ops in _BINARY.items():
        table |= {op: partial(_binary, op, kind, dtype) for op in ops.split()}
    for family, ops in _FAMILIES.items():
        table |= {op: partial(family, op) for op in ops.split()}
    table |= {
        "Not": partial(_unary, "Not", dtype="bool"),
        "MatMul": _matmul,
        "Gemm": _gemm,
        "Concat": partial(_variadic, "Concat", {"axis": 1}, [{"axis": 0}, {"axis": 2}, {"axis": -1}]),
        **{op: partial(_variadic, op, {}) for op in ("Max", "Min", "Sum", "Mean")},
        **{op: partial(_reduce, op, "positive") for op in ("ReduceLogSum", "ReduceLogSumExp")},
        "ReduceProd": partial(_reduce, "ReduceProd", "near one"),
    }
    for part in (sweeps_window, sweeps_shape, sweeps_value, sweeps_rare, sweeps_integer, sweeps_microsoft):
        table |= part.SWEEPS
    return table


_STEPS: Final = (
    *("Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
)
"""Not continuous: one step of quantization may change their answer altogether, so the QDQ form tells nothing."""
_UNARY: Final = {
    "normal": "Abs Neg Relu Sigmoid Tanh Exp Erf HardSwish HardSigmoid LeakyRelu Elu Selu Celu Gelu Mish Softplus "
    "Softsign ThresholdedRelu Floor Ceil Round Sign Sin Cos Atan Sinh Cosh Asinh Identity Shrink IsNaN IsInf Swish",
    "positive": "Sqrt Log Reciprocal",
    "unit": "Asin Acos Atanh Tan",
}
_BINARY: Final = {
    ("normal", "float32"): "Add Sub Mul Equal Greater GreaterOrEqual Less LessOrEqual",
    ("positive", "float32"): "Div Pow",
    ("normal", "bool"): "And Or Xor",
}
_CHANGES: Final[dict[str, list[Attributes]]] = {
    "HardSigmoid": [{"alpha": 1 / 6}, {"beta": 0.3}],
    "LeakyRelu": [{"alpha": 0.1}],
    "Elu": [{"alpha": 0.5}],
    "Celu": [{"alpha": 0.5}],
    "Selu": [{"alpha": 1.5}, {"gamma": 1.1}],
    "Gelu": [{"approximate": "tanh"}],
    "Swish": [{"alpha": 0.5}],
    "ThresholdedRelu": [{"alpha": 0.5}],
    "Shrink": [{"lambd": 0.3}, {"bias": 0.2}],
}
_FAMILIES: Final[dict[Callable[[str], list[Case]], str]] = {
    _reduce: "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare",
    _axis: "Softmax LogSoftmax Hardmax",
}
_SWEEPS: Final = _table()
