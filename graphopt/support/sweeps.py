"""What to try of each operator: a base form, and from it one change at a time.

Read the tables at the end of each part: a line an operator. One change at a time keeps a sweep small and its answers
readable; combinations that are known to interact are listed by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from graphopt.support.case import MAIN_OPSET, Arg, Case, allowed, since, versions
from graphopt.support.sweep_words import DTYPES, PLAIN, SHAPES, WEIGHTED, computed, integers

IMAGE: Final = (1, 4, 8, 8)

Attributes = dict[str, Any]


def cases(op_type: str) -> list[Case]:
    """All cases of an operator, labels unique; empty for an operator that no sweep knows."""
    if op_type not in _SWEEPS:
        return []
    return list({case.label: case for case in _SWEEPS[op_type]()}.values())


def operators() -> list[str]:
    """Every operator that a sweep knows."""
    return sorted(_SWEEPS)


def _dtypes(base: Case, indices: Sequence[int] = (0,)) -> Iterator[Case]:
    """The base in every other dtype that the schema allows, for the arguments that share it."""
    opset = MAIN_OPSET if since(base.op_type, MAIN_OPSET) else versions(base.op_type)[0]
    for dtype in allowed(base.op_type, opset, DTYPES, indices[0]):
        if (first := base.args[indices[0]]) is not None and dtype != first.dtype:
            args = tuple(
                Arg(arg.shape, dtype, arg.constant, arg.kind) if arg is not None and index in indices else arg
                for index, arg in enumerate(base.args)
            )
            yield base.but(dtype, args=args)


def _attributes(base: Case, changes: Sequence[Attributes]) -> Iterator[Case]:
    for change in changes:
        label = ",".join(f"{key}={_short(value)}" for key, value in change.items())
        yield base.but(label, attributes={**base.attributes, **change})


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _unary(op: str, kind: str = "normal", changes: Sequence[Attributes] = (), dtype: str = "float32") -> list[Case]:
    base = Case(op, "base", (Arg(SHAPES[3], dtype, kind=kind),), core=True)
    ranks = [base.but(f"rank={len(shape)}", args=(Arg(shape, dtype, kind=kind),)) for shape in SHAPES]
    quantized = [] if dtype == "bool" or op in _STEPS else base.qdq(*PLAIN)
    return [base, *ranks, *_dtypes(base), *_attributes(base, changes), *base.symbolic(), *quantized]


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
        *(pair(f"rank={len(shape)}", shape, shape) for shape in SHAPES),
        *(pair(f"{name},constant", big, form, True, core=name == "channel") for name, form in forms.items()),
        *(pair(name, big, form) for name, form in forms.items()),
        pair("mutual", (1, 4, 6, 1), (1, 1, 6, 6)),
        base.but(
            "first=constant",
            args=(Arg(big, dtype, True, "positive" if op == "Pow" else kind), Arg(big, dtype, kind=kind)),
        ),
        *_dtypes(base, (0, 1)),
        *_attributes(base, changes),
        *base.symbolic(),
        *([] if dtype == "bool" or op in _STEPS else base.qdq(*PLAIN)),
    ]


def _variadic(op: str, attributes: Attributes, changes: Sequence[Attributes] = ()) -> list[Case]:
    def many(label: str, *shapes: tuple[int, ...], constant: bool = False, **more: Any) -> Case:
        args = tuple(Arg(shape, constant=constant and index > 0) for index, shape in enumerate(shapes))
        return Case(op, label, args, {**attributes, **more.pop("changed", {})}, **more)

    base = many("base", SHAPES[3], SHAPES[3], core=True)
    last = [{"axis": len(shape) - 1} if "axis" in attributes else {} for shape in SHAPES]
    found = [
        base,
        many("single", SHAPES[3]),
        many("three", *[SHAPES[3]] * 3),
        many("constant", SHAPES[3], SHAPES[3], constant=True),
        *(many(f"rank={len(s)}", s, s, changed=more) for s, more in zip(SHAPES, last, strict=True)),
        *_dtypes(base, (0, 1)),
        *_attributes(base, changes),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]
    if "axis" not in attributes:
        found += [many("scalar", SHAPES[3], ()), many("channel", SHAPES[3], (1, 4, 1, 1))]
    return found


def _conv(op: str) -> list[Case]:
    transpose = op == "ConvTranspose"

    def made(label: str, x: tuple[int, ...], w: tuple[int, ...], bias: int = 0, **more: Any) -> Case:
        more.setdefault("attributes", {"kernel_shape": list(w[2:])})
        args = (Arg(x), Arg(w, constant=True), *([Arg((bias,), constant=True)] if bias else []))
        return Case(op, label, args, **more)

    base = made("base", IMAGE, (4, 4, 3, 3), 4, core=True)
    kernel = {"kernel_shape": [3, 3]}
    depthwise = made("depthwise", IMAGE, (4, 1, 3, 3), 4, attributes={**kernel, "group": 4}, core=True)
    two = (4, 2, 3, 3)
    weights = base.args[1]
    assert weights is not None
    return [
        base,
        depthwise,
        made("no-bias", IMAGE, (4, 4, 3, 3), core=True),
        made("1x1", IMAGE, (4, 4, 1, 1), 4),
        made("grouped", IMAGE, two, 4, attributes={**kernel, "group": 2}),
        made("rank=3", (1, 4, 8), (4, 4, 3), 4),
        made("rank=3,depthwise", (1, 4, 8), (4, 1, 3), 4, attributes={"kernel_shape": [3], "group": 4}),
        made("rank=5", (1, 4, 6, 6, 6), (4, 4, 3, 3, 3), 4),
        base.but("batch=2", args=(Arg((2, *IMAGE[1:])), *base.args[1:])),
        base.but("weights=computed", args=(base.args[0], Arg(weights.shape), base.args[2])),
        base.but("bias=computed", args=(*base.args[:2], Arg((4,)))),
        *_attributes(
            base,
            [
                {"pads": [1, 1, 1, 1]},
                {"pads": [0, 1, 1, 0]},
                {"strides": [2, 2]},
                {"strides": [2, 1]},
                {"dilations": [2, 2]},
                {"dilations": [2, 1]},
                {"auto_pad": "SAME_UPPER"},
                {"auto_pad": "SAME_LOWER"},
                {"auto_pad": "VALID"},
                *([{"output_padding": [1, 1], "strides": [2, 2]}, {"output_shape": [10, 10]}] if transpose else []),
            ],
        ),
        *(
            case.but(f"depthwise,{case.label}")
            for case in _attributes(depthwise, [{"pads": [1, 1, 1, 1]}, {"strides": [2, 2]}, {"dilations": [2, 2]}])
        ),
        *_dtypes(base, (0, 1, 2)),
        *base.symbolic(),
        *base.qdq(*WEIGHTED),
        *(depthwise.but(f"depthwise,{form.label}", quantized=form) for form in WEIGHTED),
    ]


def _pool(op: str) -> list[Case]:
    base = Case(op, "base", (Arg(IMAGE),), {"kernel_shape": [2, 2], "strides": [2, 2]}, core=True)
    average = op == "AveragePool"
    changes: list[Attributes] = [
        {"strides": [1, 1]},
        {"strides": [2, 1]},
        {"kernel_shape": [3, 3]},
        {"kernel_shape": [3, 3], "ceil_mode": 1},
        {"ceil_mode": 1},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
    ]
    if average:
        padded = {"kernel_shape": [3, 3], "count_include_pad": 1}
        changes += [{**padded, "pads": [1, 1, 1, 1]}, {**padded, "pads": [0, 0, 1, 1]}, {"count_include_pad": 1}]
    return [
        base,
        base.but("rank=3", args=(Arg((1, 4, 8)),), attributes={"kernel_shape": [2], "strides": [2]}),
        base.but("rank=5", args=(Arg((1, 4, 4, 4, 4)),), attributes={"kernel_shape": [2] * 3, "strides": [2] * 3}),
        *([base.but("indices", outputs=2)] if op == "MaxPool" else []),
        Case(op, "dilations=2x2", base.args, {**base.attributes, "dilations": [2, 2]}, core=average),
        *_attributes(base, changes),
        *_dtypes(base),
        *base.symbolic(),
        *base.qdq(*PLAIN, WEIGHTED[5], WEIGHTED[7]),
    ]


def _global_pool(op: str) -> list[Case]:
    base = Case(op, "base", (Arg(IMAGE),), core=True)
    ranks = [base.but(f"rank={len(shape)}", args=(Arg(shape),)) for shape in SHAPES[2:5]]
    return [base, *ranks, *_dtypes(base), *base.symbolic(), *base.qdq(*PLAIN)]


def _normalize(op: str) -> list[Case]:
    positive, plain = Arg((4,), constant=True, kind="positive"), Arg((4,), constant=True)
    layer = op in ("LayerNormalization", "RMSNormalization")
    extra = {"BatchNormalization": (plain, plain, positive), "RMSNormalization": ()}.get(op, (plain,))

    def shaped(shape: tuple[int, ...]) -> tuple[Arg | None, ...]:
        return (Arg((*shape[:1], *shape[2:], 4) if layer else shape), positive, *extra)

    attributes = {"axis": -1} if layer else {"num_groups": 2} if op == "GroupNormalization" else {}
    base = Case(op, "base", shaped(IMAGE), attributes, core=True)
    runtime = tuple(Arg(arg.shape, kind=arg.kind) for arg in base.args if arg is not None)
    axis = base.but("axis=2", args=(Arg((1, 4, 8)), Arg((4, 8), constant=True)), attributes={"axis": 1})
    return [
        base,
        *(base.but(f"rank={len(s)}", args=shaped(s)) for s in ((2, 4), (2, 4, 6), (1, 4, 3, 6, 6))),
        base.but("computed", args=runtime),
        *_attributes(base, [{"epsilon": 1e-3}]),
        *([base.but("no-bias", args=base.args[:2]), axis] if op == "LayerNormalization" else []),
        *([base.but("training", attributes={"training_mode": 1}, outputs=3)] if op == "BatchNormalization" else []),
        *_dtypes(base, tuple(range(len(base.args)))),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


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
        over("axes=computed", IMAGE, (2, 3), constant=False, core=True),
        over("keepdims=0", IMAGE, (2, 3), attributes={"keepdims": 0}, core=True),
        *(over(f"rank={len(shape)}", shape, (-1,)) for shape in SHAPES),
        over("noop_with_empty_axes=1", IMAGE, None, attributes={"noop_with_empty_axes": 1}, core=True),
        *_dtypes(base),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def _axis(op: str, changes: Sequence[Attributes] = ()) -> list[Case]:
    # no axis of size 1: over that, the answer is the same whatever the vendor does
    base = Case(op, "base", (Arg((2, 4, 6, 6)),), {"axis": -1}, core=True)
    return [
        base,
        *_attributes(base, [{"axis": 1}, {"axis": 0}, {"axis": 2}, *changes]),
        *(base.but(f"rank={len(shape)}", args=(Arg(shape),)) for shape in SHAPES),
        *_dtypes(base),
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
        *_dtypes(base, (0, 1)),
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
        *_dtypes(base, (0, 1, 2)),
        *base.symbolic(),
        *base.qdq(*WEIGHTED),
    ]


Sweep = Callable[[], list[Case]]


def _table() -> dict[str, Sweep]:
    from graphopt.support import sweeps_shape, sweeps_value

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
        **{op: partial(_reduce, op, "positive") for op in ("ReduceLogSum", "ReduceLogSumExp", "ReduceProd")},
    }
    return table | sweeps_shape.SWEEPS | sweeps_value.SWEEPS


_STEPS: Final = (
    *("Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
)
"""Not continuous: one step of quantization may change their answer altogether, so the QDQ form tells nothing."""
_UNARY: Final = {
    "normal": "Abs Neg Relu Sigmoid Tanh Exp Erf HardSwish HardSigmoid LeakyRelu Elu Selu Celu Gelu Mish Softplus "
    "Softsign ThresholdedRelu Floor Ceil Round Sign Sin Cos Atan Sinh Cosh Asinh Identity Shrink IsNaN IsInf",
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
    "ThresholdedRelu": [{"alpha": 0.5}],
    "Shrink": [{"lambd": 0.3}, {"bias": 0.2}],
}
_FAMILIES: Final[dict[Callable[[str], list[Case]], str]] = {
    _conv: "Conv ConvTranspose",
    _pool: "AveragePool MaxPool",
    _global_pool: "GlobalAveragePool GlobalMaxPool",
    _normalize: "BatchNormalization InstanceNormalization LayerNormalization",
    _reduce: "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare",
    _axis: "Softmax LogSoftmax Hardmax",
}
_SWEEPS: Final = _table()
