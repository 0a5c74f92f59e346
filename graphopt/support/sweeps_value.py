"""What to try of operators that pick, convert, limit, quantize or recur; see `graphopt.support.sweeps`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.sweep_words import IMAGE, PLAIN, RANKS, SHAPES, data_cases, dtypes, form


def _gather(op: str) -> list[Case]:
    def pick(label: str, shape: tuple[int, ...], index: tuple[int, ...], **more: Any) -> Case:
        constant = more.pop("constant", True)
        indices = Arg(index, more.pop("dtype", "int64"), constant, "index")
        return form(op, label, Arg(shape), indices, **more)

    table, data = (10, 6), (2, 4, 6)
    base = pick("base", data, (2, 4, 3) if op == "GatherElements" else (3,), axis=2, core=True)
    if op == "GatherElements":
        return [
            base,
            pick("axis=1", data, (2, 2, 6), axis=1),
            pick("computed", data, (2, 4, 3), axis=2, constant=False),
            form(op, "first=constant", Arg(data, constant=True), Arg((2, 4, 3), "int64", kind="index"), axis=2),
            *data_cases(base),
        ]
    ranks = [pick(f"rank={len(s)}", s, (2,), axis=-1) for s in SHAPES]
    embedding = Case(
        op, "embedding", (Arg(table, constant=True), Arg((1, 5), "int64", kind="index")), {"axis": 0}, core=True
    )
    return [
        base,
        embedding,
        embedding.but("embedding,int32", args=(Arg(table, constant=True), Arg((1, 5), "int32", kind="index"))),
        *(pick(f"axis={axis}", data, (2,), axis=axis) for axis in (0, 1)),
        pick("axis=inner", (2, 4, 6, 6), (2,), axis=2),
        *(pick(f"rank={len(s)},axis=0", (2, *s[1:]), (2,), axis=0) for s in SHAPES),
        pick("scalar", data, (), axis=1, core=True),
        pick("matrix", data, (2, 3), axis=1),
        pick("cube", data, (2, 3, 2), axis=0),
        pick("many", (6, 4), (1, 2, 2, 3), axis=0),
        pick("int32", data, (3,), axis=2, dtype="int32").but("indices=int32"),
        pick("computed", data, (3,), axis=2, constant=False),
        *ranks,
        *data_cases(base),
    ]


def _cast() -> list[Case]:
    codes = {
        "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
        "float64": 11, "uint32": 12, "uint64": 13,
    }  # fmt: skip
    hubs, wide = {"float32", "int32"}, {"int64", "bool", "uint32"}
    pairs = [(a, b) for a in codes for b in codes if hubs & {a, b} or {a, b} <= wide]
    core = {("float32", "int64"), ("int64", "float32"), ("float32", "float32")}
    found = [
        form("Cast", f"{a}-to-{b}", Arg(IMAGE.shape, a, kind="positive"), to=codes[b], core=(a, b) in core)
        for a, b in pairs
    ]
    ranks = [form("Cast", f"rank={len(s)}", Arg(s, "int32"), to=1) for s in RANKS]
    return [*found, *ranks, *form("Cast", "", Arg(IMAGE.shape, "int32"), to=1).symbolic()]


def _clip() -> list[Case]:
    low, high = (Arg((), "float32", True, values=(v,), attribute=a) for v, a in ((-0.5, "min"), (0.8, "max")))
    base = form("Clip", "base", IMAGE, low, high, core=True)
    six = Arg((), "float32", True, values=(6.0,), attribute="max")
    zero = Arg((), "float32", True, values=(0.0,), attribute="min")
    return [
        base,
        form("Clip", "relu6", IMAGE, zero, six, core=True),
        form("Clip", "min", IMAGE, low, core=True),
        form("Clip", "max", IMAGE, None, high),
        form("Clip", "computed", IMAGE, Arg((), values=(-0.5,)), Arg((), values=(0.8,))),
        *(form("Clip", f"rank={len(s)}", Arg(s), low, high) for s in RANKS),
        *(
            form("Clip", dtype, Arg(IMAGE.shape, dtype), *(Arg((), dtype, True, values=(v,)) for v in (0, 2)))
            for dtype in ("float16", "float64", "int8", "uint8", "int32", "int64")
        ),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def _prelu() -> list[Case]:
    def slope(label: str, shape: tuple[int, ...], constant: bool = True, x: Arg = IMAGE, **more: Any) -> Case:
        return form("PRelu", label, x, Arg(shape, x.dtype, constant), **more)

    base = slope("base", (4, 1, 1), core=True)
    shapes = {"shared": (1,), "full": (1, 4, 6, 6), "trailing": (6,), "one-sided": (1, 4, 6, 1)}
    return [
        base,
        *(slope(name, shape) for name, shape in shapes.items()),
        slope("computed", (4, 1, 1), False),
        *(slope(f"rank={len(s)}", (1,), x=Arg(s)) for s in SHAPES),
        *(slope(f"rank={len(s)},channel", (s[1], *[1] * (len(s) - 2)), x=Arg(s)) for s in SHAPES[1:]),
        *(slope(d, (4, 1, 1), x=Arg(IMAGE.shape, d)) for d in ("float16", "float64", "int32")),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def _where() -> list[Case]:
    def choose(
        label: str,
        *shapes: tuple[int, ...],
        dtype: str = "float32",
        constant: bool = False,
        core: bool = False,
    ) -> Case:
        condition, first, second = shapes
        args = (Arg(condition, "bool"), Arg(first, dtype), Arg(second, dtype, constant))
        return form("Where", label, *args, core=core)

    x = IMAGE.shape
    base = choose("base", x, x, x, core=True)
    return [
        base,
        choose("constant", x, x, x, constant=True),
        choose("scalar", x, x, (), constant=True, core=True),
        choose("one-sided", (1, 1, 6, 6), x, (), constant=True),
        choose("channel", x, x, (1, 4, 1, 1), constant=True),
        choose("trailing", x, x, (6, 6)),
        choose("condition,one-sided", (1, 4, 6, 1), x, x),
        choose("mutual", (1, 4, 6, 1), (1, 1, 6, 6), ()),
        choose("scalars", x, (), (), constant=True),
        *(choose(f"rank={len(s)}", s, s, s) for s in RANKS),
        *(choose(dtype, x, x, x, dtype=dtype) for dtype in ("float16", "int32", "int64", "bool")),
        *base.symbolic(),
    ]


def _arg(op: str) -> list[Case]:
    base = form(op, "base", IMAGE, axis=-1, core=True)
    changes: tuple[dict[str, Any], ...] = (
        {"axis": 1},
        {"axis": 0},
        {"axis": 2},
        {"keepdims": 0},
        {"select_last_index": 1},
    )
    return [
        base,
        *(
            base.but(",".join(f"{k}={v}" for k, v in change.items()), attributes={"axis": -1, **change})
            for change in changes
        ),
        *(form(op, f"rank={len(s)}", Arg(s), axis=-1) for s in SHAPES),
        *data_cases(base)[:-2],
    ]


def _quantize(op: str) -> list[Case]:
    def scaled(
        label: str, dtype: str, zero: int = 0, channels: int = 0, x: tuple[int, ...] = IMAGE.shape, **more: Any
    ) -> Case:
        shape = (channels,) if channels else ()
        # 1/16 keeps the values here inside every dtype, so that leaving a pair out is no more than a rounding
        scale = Arg(shape, constant=True, values=tuple(1 / 16 for _ in range(channels or 1)))
        point = Arg(shape, dtype, True, values=(zero,) * (channels or 1))
        data = Arg(x, "float32" if op == "QuantizeLinear" else dtype, kind="positive")
        paired = more.pop("paired", False)
        return replace(form(op, label, data, scale, point, **more), paired=paired)

    base = scaled("base", "uint8", core=True)
    return [
        base,
        scaled("int8", "int8"),
        scaled("zero=3", "uint8", 3),
        scaled("int8,zero=3", "int8", 3),
        scaled("int16", "int16", core=True),
        scaled("uint16", "uint16", core=True),
        *([scaled("int32", "int32")] if op == "DequantizeLinear" else []),
        scaled("channel", "int8", channels=4, axis=1),
        *(scaled(f"rank={len(s)}", "uint8", x=s) for s in SHAPES),
        *base.symbolic(),
        *(
            scaled(f"pair,{label},rank={len(s)}", dtype, zero, paired=True, x=s)
            for dtype, zero, label in (("uint8", 0, "uint8"), ("int8", 0, "int8"), ("uint8", 3, "uint8,zero=3"))
            for s in SHAPES
        ),
        scaled("pair,uint16", "uint16", 7, paired=True, core=True),
        scaled("pair,int16", "int16", paired=True, core=True),
        scaled("pair,channel", "int8", channels=4, axis=1, paired=True),
        scaled("", "int8", paired=True).but("pair,dynamic", dynamic="batch"),
    ]


def _topk() -> list[Case]:
    # of two equal values either may be the greater: with ties an answer would hang on the values drawn
    image = replace(IMAGE, kind="distinct")
    k = Arg((1,), "int64", True, values=(2,))
    base = form("TopK", "base", image, k, outputs=2, axis=-1, core=True)
    changes: tuple[dict[str, Any], ...] = ({"axis": 1}, {"axis": 2}, {"largest": 0}, {"sorted": 0})
    return [
        base,
        form("TopK", "version-1", image, outputs=2, axis=-1, k=2, core=True),
        form("TopK", "k=computed", image, Arg((1,), "int64", values=(2,)), outputs=2, axis=-1),
        *(form("TopK", f"rank={len(s)}", Arg(s, kind="distinct"), k, outputs=2, axis=-1) for s in SHAPES),
        *(base.but(",".join(f"{n}={v}" for n, v in c.items()), attributes={"axis": -1, **c}) for c in changes),
        *data_cases(base)[:-2],
    ]


def _recurrent(op: str) -> list[Case]:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]

    def made(label: str, directions: int = 1, core: bool = False, steps: int = 3, **attributes: Any) -> Case:
        weights = [Arg((directions, gates * 4, n), constant=True, kind="unit") for n in (6, 4)]
        bias = Arg((directions, 2 * gates * 4), constant=True, kind="unit")
        return form(op, label, Arg((steps, 1, 6)), *weights, bias, core=core, hidden_size=4, **attributes)

    base = made("base", core=True)
    both = made("direction=bidirectional", 2, direction="bidirectional")
    states = [Arg((1, 1, 4), kind="unit")] * (2 if op == "LSTM" else 1)
    return [
        base,
        both,
        made("direction=reverse", direction="reverse"),
        base.but("no-bias", args=base.args[:3]),
        base.but("outputs=2", outputs=2),
        *([base.but("outputs=3", outputs=3)] if op == "LSTM" else []),
        base.but("state", args=(*base.args, None, *states)),
        base.but("state=constant", args=(*base.args, None, *(replace(state, constant=True) for state in states))),
        base.but("batch=2", args=(Arg((3, 2, 6)), *base.args[1:])),
        *dtypes(base, tuple(range(len(base.args)))),
        *base.symbolic(),
        made("steps=12", steps=12),
        *([made("steps=12,linear", steps=12, linear_before_reset=1)] if op == "GRU" else []),
        *([made("linear_before_reset=1", linear_before_reset=1)] if op == "GRU" else []),
        *(
            [both.but("bidirectional,linear", attributes={**both.attributes, "linear_before_reset": 1})]
            if op == "GRU"
            else []
        ),
    ]


SWEEPS: Final[dict[str, Callable[[], list[Case]]]] = {
    "Gather": partial(_gather, "Gather"),
    "GatherElements": partial(_gather, "GatherElements"),
    "Cast": _cast,
    "Clip": _clip,
    "PRelu": _prelu,
    "Where": _where,
    "ArgMax": partial(_arg, "ArgMax"),
    "ArgMin": partial(_arg, "ArgMin"),
    "QuantizeLinear": partial(_quantize, "QuantizeLinear"),
    "DequantizeLinear": partial(_quantize, "DequantizeLinear"),
    "TopK": _topk,
    "LSTM": partial(_recurrent, "LSTM"),
    "GRU": partial(_recurrent, "GRU"),
    "RNN": partial(_recurrent, "RNN"),
}
