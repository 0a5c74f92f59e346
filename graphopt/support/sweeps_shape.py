"""What to try of operators that move, cut, pad or resize; see `graphopt.support.sweeps`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.sweep_words import IMAGE, PLAIN, RANKS, SHAPES, computed, data_cases, form, integers


def _reshape() -> list[Case]:
    base = form("Reshape", "base", IMAGE, integers("", 1, 4, 36), core=True)
    targets = {
        "rank=1": (144,),
        "rank=2": (4, 36),
        "rank=4": (1, 2, 12, 6),
        "rank=5": (1, 2, 2, 6, 6),
        "rank=6": (1, 2, 2, 2, 3, 6),
    }
    return [
        base,
        *(form("Reshape", f"to-{name}", IMAGE, integers("", *to)) for name, to in targets.items()),
        form("Reshape", "minus-one", IMAGE, integers("", 0, -1), core=True),
        *(form("Reshape", f"rank={len(shape)}", Arg(shape), integers("", -1)) for shape in RANKS),
        form("Reshape", "to-scalar", Arg((1, 1)), Arg((0,), "int64", True)),
        form("Reshape", "computed", IMAGE, computed(integers("", 1, 4, 36))),
        form("Reshape", "allowzero=1", IMAGE, integers("", 1, 4, 36), allowzero=1),
        *data_cases(base),
    ]


def _flatten() -> list[Case]:
    base = form("Flatten", "base", IMAGE, core=True)
    axes = [form("Flatten", f"axis={axis}", IMAGE, axis=axis) for axis in (0, 2, 3, 4)]
    return [base, *axes, *(form("Flatten", f"rank={len(s)}", Arg(s)) for s in SHAPES), *data_cases(base)]


def _squeeze() -> list[Case]:
    base = form("Squeeze", "base", Arg((1, 4, 1, 6)), integers("axes", 2), core=True)
    shapes = ((1, 6), (3, 1, 6), (1, 4, 3, 1, 6), (1, 2, 2, 3, 1, 5))
    return [
        base,
        form("Squeeze", "all", Arg((1, 4, 1, 6))),
        form("Squeeze", "two", Arg((1, 4, 1, 6)), integers("axes", 0, 2)),
        *(form("Squeeze", f"rank={len(s)}", Arg(s), integers("axes", max(0, len(s) - 2))) for s in shapes),
        form("Squeeze", "computed", Arg((1, 4, 1, 6)), computed(integers("", 2))),
        *data_cases(base),
    ]


def _unsqueeze() -> list[Case]:
    base = form("Unsqueeze", "base", Arg((2, 3, 6)), integers("axes", 1), core=True)
    return [
        base,
        form("Unsqueeze", "two", Arg((2, 3, 6)), integers("axes", 0, 2)),
        *(form("Unsqueeze", f"rank={len(s)}", Arg(s), integers("axes", 0)) for s in RANKS[:6]),
        form("Unsqueeze", "computed", Arg((2, 3, 6)), computed(integers("", 1))),
        *data_cases(base),
    ]


def _transpose() -> list[Case]:
    base = form("Transpose", "base", IMAGE, perm=[0, 2, 3, 1], core=True)
    ranks = [form("Transpose", f"rank={len(s)}", Arg(s), perm=list(range(len(s)))[::-1]) for s in SHAPES]
    return [
        base,
        form("Transpose", "default", IMAGE),
        form("Transpose", "swap", IMAGE, perm=[0, 1, 3, 2]),
        *ranks,
        *data_cases(base),
    ]


def _slice() -> list[Case]:
    def cut(label: str, shape: tuple[int, ...], *parts: tuple[int, ...], core: bool = False) -> Case:
        names = ("starts", "ends", "axes", "")
        return form(
            "Slice", label, Arg(shape), *(integers(n, *p) for n, p in zip(names, parts, strict=False)), core=core
        )

    base = cut("base", IMAGE.shape, (1,), (5,), (2,), core=True)
    steps = cut("steps=2", IMAGE.shape, (0,), (6,), (3,), (2,))
    return [
        base,
        steps,
        cut("steps=-1", IMAGE.shape, (-1,), (-99,), (3,), (-1,)),
        cut("two", IMAGE.shape, (1, 0), (5, 3), (2, 3)),
        cut("channel", IMAGE.shape, (1,), (3,), (1,)),
        cut("no-axes", IMAGE.shape, (0, 1), (1, 3)),
        *(cut(f"rank={len(s)}", s, (1,), (3,), (len(s) - 1,)) for s in SHAPES),
        steps.but("computed", args=(IMAGE, *(computed(a) for a in steps.args[1:] if a is not None))),
        *data_cases(base),
    ]


def _split() -> list[Case]:
    base = form("Split", "base", IMAGE, integers("split", 2, 2), outputs=2, axis=1, core=True)
    ranks = [
        form("Split", f"rank={len(s)}", Arg(s), integers("split", 1, s[-1] - 1), outputs=2, axis=-1) for s in SHAPES
    ]
    return [
        base,
        *(
            form("Split", f"axis={a}", IMAGE, integers("split", 1, (1, 4, 6, 6)[a] - 1), outputs=2, axis=a)
            for a in (2, 3)
        ),
        form("Split", "axis=0", Arg((2, 4, 6, 6)), integers("split", 1, 1), outputs=2, axis=0),
        form("Split", "even", IMAGE, outputs=2, axis=1),
        form("Split", "num_outputs", IMAGE, outputs=2, axis=1, num_outputs=2, core=True),
        form("Split", "computed", IMAGE, computed(integers("", 2, 2)), outputs=2, axis=1),
        *ranks,
        *data_cases(base),
    ]


def _pad() -> list[Case]:
    zero = Arg((), "float32", True, values=(0.0,), attribute="value")
    half = Arg((), "float32", True, values=(0.5,), attribute="value")
    pads = integers("pads", 0, 0, 1, 1, 0, 0, 1, 1)
    base = form("Pad", "base", IMAGE, pads, zero, core=True)
    ranks = [form("Pad", f"rank={len(s)}", Arg(s), integers("pads", *[0] * (2 * len(s) - 1), 1), zero) for s in SHAPES]
    axes = form("Pad", "axes", IMAGE, integers("pads", 1, 1), zero, integers("", 3), core=True)
    return [
        base,
        *(form("Pad", f"mode={mode}", IMAGE, pads, mode=mode) for mode in ("constant", "reflect", "edge")),
        form("Pad", "mode=wrap", IMAGE, pads, mode="wrap", core=True),
        form("Pad", "value=0.5", IMAGE, pads, half),
        form("Pad", "channel", IMAGE, integers("pads", 0, 1, 0, 0, 0, 1, 0, 0), zero),
        form("Pad", "computed", IMAGE, computed(pads), zero),
        axes,
        *ranks,
        base.but("float16", args=(Arg(IMAGE.shape, "float16"), pads)),
        base.but("float64", args=(Arg(IMAGE.shape, "float64"), pads)),
        base.but("int32", args=(Arg(IMAGE.shape, "int32"), pads)),
        base.but("int64", args=(Arg(IMAGE.shape, "int64"), pads)),
        *base.symbolic(),
        *base.but("", args=(IMAGE, pads)).qdq(*PLAIN),
    ]


def _resize() -> list[Case]:
    def to(label: str, *scales: float, size: tuple[int, ...] = (), x: Arg = IMAGE, **attributes: Any) -> Case:
        core = attributes.pop("core", False)
        if size:
            return form("Resize", label, x, None, None, integers("", *size), core=core, **attributes)
        factors = Arg((len(scales),), "float32", True, values=scales)
        return form("Resize", label, x, None, factors, core=core, **attributes)

    near: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    base = to("base", 1, 1, 2, 2, **near, core=True)
    modes = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    rounds = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    scaled = {
        "up2": (1, 1, 2, 2),
        "up3": (1, 1, 3, 3),
        "up1.5": (1, 1, 1.5, 1.5),
        "half": (1, 1, 0.5, 0.5),
        "down": (1, 1, 0.7, 0.7),
    }
    found = [base, to("sizes", size=(1, 4, 12, 12), **near), to("sizes=9", size=(1, 4, 9, 9), **near)]
    for name, factors in scaled.items():
        for mode in modes:
            for rounding in rounds if name == "up2" or mode == "half_pixel" else ("floor",):
                more = {**near, "coordinate_transformation_mode": mode, "nearest_mode": rounding}
                found.append(to(f"nearest,{mode},{rounding},{name}", *factors, **more))
            found.append(to(f"linear,{mode},{name}", *factors, mode="linear", coordinate_transformation_mode=mode))
    old = Arg((4,), "float32", True, values=(1, 1, 2, 2))
    return [
        *found,
        to("cubic", 1, 1, 2, 2, mode="cubic"),
        to("nothing", 1, 1, 1, 1, **near),
        to("nothing,sizes", size=IMAGE.shape, **near),
        to("linear,nothing,sizes", size=IMAGE.shape, mode="linear"),
        form("Resize", "sizes=computed", IMAGE, None, None, Arg((4,), "int64", values=(1, 4, 12, 12)), **near),
        to("linear,antialias", 1, 1, 0.5, 0.5, mode="linear", antialias=1, core=True),
        to("rank=3", 1, 1, 2, x=Arg((1, 4, 6)), **near),
        to("rank=5", 1, 1, 2, 2, 2, x=Arg((1, 2, 3, 4, 4)), **near),
        form("Resize", "version-10", IMAGE, old, mode="nearest", core=True),
        form("Resize", "empty-roi", IMAGE, Arg((0,), constant=True), old, core=True, **near),
        base.but("computed", args=(IMAGE, None, Arg((4,), "float32", values=(1, 1, 2, 2)))),
        *data_cases(base),
    ]


def _blocks(op: str) -> list[Case]:
    x = Arg((1, 8, 4, 4))
    base = form(op, "base", x, blocksize=2, core=True)
    return [
        base,
        *([form(op, "mode=CRD", x, blocksize=2, mode="CRD")] if op == "DepthToSpace" else []),
        *data_cases(base),
    ]


def _repeat(op: str) -> list[Case]:
    value = (1, 1, 2, 2) if op == "Tile" else (1, 4, 6, 6)
    source = IMAGE if op == "Tile" else Arg((1, 4, 1, 1))
    base = form(op, "base", source, integers("", *value), core=True)
    return [
        base,
        form(op, "computed", source, computed(integers("", *value))),
        *(
            form(
                op,
                f"rank={len(s)}",
                Arg(s if op == "Tile" else (*s[:-1], 1)),
                integers("", *([1] * (len(s) - 1) + [2] if op == "Tile" else s)),
            )
            for s in SHAPES
        ),
        *([form(op, "grow", Arg((6,)), integers("", 1, 4, 6, 6))] if op == "Expand" else []),
        *data_cases(base),
    ]


def _shape(op: str) -> list[Case]:
    base = form(op, "base", IMAGE, core=True)
    ranks = [form(op, f"rank={len(s)}", Arg(s)) for s in RANKS]
    return [base, *ranks, *([form(op, "start=1", IMAGE, start=1)] if op == "Shape" else []), *base.symbolic()]


SWEEPS: Final[dict[str, Callable[[], list[Case]]]] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Resize": _resize,
    "DepthToSpace": partial(_blocks, "DepthToSpace"),
    "SpaceToDepth": partial(_blocks, "SpaceToDepth"),
    "Tile": partial(_repeat, "Tile"),
    "Expand": partial(_repeat, "Expand"),
    "Shape": partial(_shape, "Shape"),
    "Size": partial(_shape, "Size"),
}
