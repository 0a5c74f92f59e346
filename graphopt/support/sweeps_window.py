"""What to try of operators that slide a window, pool or normalize; see `graphopt.support.sweeps`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.sweep_words import PLAIN, SHAPES, WEIGHTED, Attributes, changed, dtypes

IMAGE: Final = (1, 4, 8, 8)


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
        made("1x1", IMAGE, (4, 4, 1, 1), 4, core=True),
        made("5x5", IMAGE, (4, 4, 5, 5), 4),
        made("1x7", IMAGE, (4, 4, 1, 7), 4),
        made(
            "7x7,pads", IMAGE, (4, 4, 7, 7), 4, attributes={"kernel_shape": [7, 7], "pads": [3] * 4, "strides": [2, 2]}
        ),
        made("5x5,depthwise", IMAGE, (4, 1, 5, 5), 4, attributes={"kernel_shape": [5, 5], "pads": [2] * 4, "group": 4}),
        made("512x1", (1, 1, 520, 4), (2, 1, 512, 1), 2),
        made("80x80", (1, 1, 81, 81), (2, 1, 80, 80), 2),
        made("rank=3,16", (1, 4, 32), (4, 4, 16), 4, attributes={"kernel_shape": [16], "strides": [8]}),
        made("grouped", IMAGE, two, 4, attributes={**kernel, "group": 2}),
        made("rank=3", (1, 4, 8), (4, 4, 3), 4),
        made("rank=3,depthwise", (1, 4, 8), (4, 1, 3), 4, attributes={"kernel_shape": [3], "group": 4}),
        made("rank=5", (1, 4, 6, 6, 6), (4, 4, 3, 3, 3), 4),
        base.but("batch=2", args=(Arg((2, *IMAGE[1:])), *base.args[1:])),
        base.but("weights=computed", args=(base.args[0], Arg(weights.shape), base.args[2])),
        base.but("bias=computed", args=(*base.args[:2], Arg((4,)))),
        *changed(
            base,
            {"pads": [1, 1, 1, 1]},
            {"pads": [0, 1, 1, 0]},
            {"pads": [2, 2, 2, 2]},
            {"strides": [2, 2]},
            {"strides": [2, 1]},
            {"dilations": [2, 2]},
            {"dilations": [2, 1]},
            {"auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_LOWER"},
            {"auto_pad": "VALID"},
            *([{"output_padding": [1, 1], "strides": [2, 2]}, {"output_shape": [10, 10]}] if transpose else []),
        ),
        *(
            case.but(f"depthwise,{case.label}")
            for case in changed(depthwise, {"pads": [1, 1, 1, 1]}, {"strides": [2, 2]}, {"dilations": [2, 2]})
        ),
        *dtypes(base, (0, 1, 2)),
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
        {"kernel_shape": [1, 1], "strides": [1, 1]},
        {"kernel_shape": [1, 1]},
        {"kernel_shape": [3, 3]},
        {"kernel_shape": [5, 5]},
        {"kernel_shape": [8, 8]},
        {"kernel_shape": [1, 2], "strides": [1, 2]},
        {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2], "strides": [1, 1]},
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
    sides = (24, 48, 96, 112)
    return [
        base,
        *(base.but(f"whole={n}x{n}", args=(Arg((1, 2, n, n)),), attributes={"kernel_shape": [n, n]}) for n in sides),
        base.but("rank=3", args=(Arg((1, 4, 8)),), attributes={"kernel_shape": [2], "strides": [2]}),
        base.but("rank=5", args=(Arg((1, 4, 4, 4, 4)),), attributes={"kernel_shape": [2] * 3, "strides": [2] * 3}),
        *([base.but("indices", outputs=2)] if op == "MaxPool" else []),
        Case(op, "dilations=2x2", base.args, {**base.attributes, "dilations": [2, 2]}, core=average),
        *changed(base, *changes),
        *dtypes(base),
        *base.symbolic(),
        *base.qdq(*PLAIN, WEIGHTED[5], WEIGHTED[7]),
    ]


def _global_pool(op: str) -> list[Case]:
    base = Case(op, "base", (Arg(IMAGE),), core=True)
    ranks = [base.but(f"rank={len(shape)}", args=(Arg(shape),)) for shape in SHAPES[2:5]]
    return [base, *ranks, *dtypes(base), *base.symbolic(), *base.qdq(*PLAIN)]


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
    cube = base.but("scale=cube", args=(Arg((1, 4, 3, 6)), Arg((4, 3, 6), constant=True)), attributes={"axis": 1})
    return [
        base,
        *(base.but(f"rank={len(s)}", args=shaped(s)) for s in ((2, 4), (2, 4, 6), (1, 4, 3, 6, 6))),
        base.but("computed", args=runtime),
        *changed(base, {"epsilon": 1e-3}),
        *([base.but("no-bias", args=base.args[:2]), axis, cube] if op == "LayerNormalization" else []),
        *([base.but("training", attributes={"training_mode": 1}, outputs=3)] if op == "BatchNormalization" else []),
        *dtypes(base, tuple(range(len(base.args)))),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


_FAMILIES: Final[dict[Callable[[str], list[Case]], str]] = {
    _conv: "Conv ConvTranspose",
    _pool: "AveragePool MaxPool",
    _global_pool: "GlobalAveragePool GlobalMaxPool GlobalLpPool",
    _normalize: "BatchNormalization InstanceNormalization LayerNormalization RMSNormalization",
}
SWEEPS: Final[dict[str, Callable[[], list[Case]]]] = {
    op: partial(family, op) for family, ops in _FAMILIES.items() for op in ops.split()
}
