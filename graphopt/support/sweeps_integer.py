"""What to try of operators on integers: quantized convolutions and products; see `graphopt.support.sweeps`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.sweep_words import form

_IMAGE: Final = (1, 4, 6, 6)


def point(dtype: str, value: int = 0, channels: int = 0, constant: bool = True) -> Arg:
    """A zero point, or one a channel."""
    return Arg((channels,) if channels else (), dtype, constant, values=(value,) * (channels or 1))


def scale(value: float = 0.0625, channels: int = 0, constant: bool = True) -> Arg:
    """A scale, or one a channel."""
    return Arg((channels,) if channels else (), "float32", constant, values=(value,) * (channels or 1))


def _qlinear_conv() -> list[Case]:
    def made(
        label: str,
        x: str = "uint8",
        w: str = "int8",
        *,
        bias: bool = True,
        channels: int = 0,
        zero: int = 3,
        depthwise: bool = False,
        **attributes: Any,
    ) -> Case:
        weights = Arg((4, 1 if depthwise else 4, 3, 3), w, True)
        data = [Arg(_IMAGE, x, kind="positive"), scale(), point(x, zero)]
        kernel = [weights, scale(0.03125, channels), point(w, 0, channels)]
        out = [scale(0.25), point(x, zero), *([Arg((4,), "int32", True)] if bias else [])]
        if depthwise:
            attributes["group"] = 4
        return form("QLinearConv", label, *data, *kernel, *out, **attributes)

    base = made("base")
    return [
        replace(base, core=True),
        made("no-bias", bias=False),
        made("channel", channels=4),
        made("int8", "int8", zero=0),
        made("int8,channel", "int8", channels=4, zero=0),
        made("uint8-weights", w="uint8"),
        made("zero=0", zero=0),
        made("depthwise", depthwise=True),
        made("depthwise,channel", depthwise=True, channels=4),
        made("pads", pads=[1, 1, 1, 1]),
        made("strides", strides=[2, 2]),
        made("dilations", dilations=[2, 2]),
        made("auto_pad=SAME_UPPER", auto_pad="SAME_UPPER"),
        *base.symbolic(),
    ]


def _qlinear_matmul() -> list[Case]:
    def made(
        label: str,
        a: tuple[int, ...] = (3, 6),
        b: tuple[int, ...] = (6, 4),
        dtypes: tuple[str, str] = ("uint8", "int8"),
        *,
        constant: bool = True,
        channels: int = 0,
        core: bool = False,
    ) -> Case:
        left, right = dtypes
        data = [Arg(a, left, kind="positive"), scale(), point(left)]
        weights = [Arg(b, right, constant), scale(0.03125, channels), point(right, 0, channels)]
        return form("QLinearMatMul", label, *data, *weights, scale(0.25), point(left), core=core)

    base = made("base", core=True)
    return [
        base,
        made("int8", dtypes=("int8", "int8")),
        made("uint8", dtypes=("uint8", "uint8")),
        made("channel", channels=4),
        made("computed", constant=False),
        made("rank=3", (2, 3, 6)),
        made("rank=4", (1, 2, 3, 6)),
        made("rank=3,computed", (2, 3, 6), (2, 6, 4), constant=False),
        *base.symbolic(),
    ]


def _integer_product(op: str) -> list[Case]:
    conv = op == "ConvInteger"
    x, w = (_IMAGE, (4, 4, 3, 3)) if conv else ((3, 6), (6, 4))

    def made(label: str, a: str, b: str, zeros: bool = True, constant: bool = True, **more: Any) -> Case:
        points = (point(a, 2), point(b)) if zeros else ()
        return form(op, label, Arg(x, a, kind="positive"), Arg(w, b, constant), *points, **more)

    base = made("base", "uint8", "uint8", core=True)
    return [
        base,
        made("int8-weights", "uint8", "int8"),
        made("int8", "int8", "int8"),
        made("no-zero-points", "uint8", "uint8", zeros=False),
        made("computed", "uint8", "uint8", constant=False),
        *([made("pads", "uint8", "uint8", pads=[1, 1, 1, 1])] if conv else []),
        *([made("strides", "uint8", "int8", strides=[2, 2])] if conv else []),
        *([form(op, "1x1", Arg(x, "uint8"), Arg((4, 4, 1, 1), "int8", True), point("uint8"))] if conv else []),
        *([] if conv else [form(op, "rank=3", Arg((2, 3, 6), "uint8"), Arg(w, "int8", True), point("uint8"))]),
        *base.symbolic(),
    ]


SWEEPS: Final[dict[str, Callable[[], list[Case]]]] = {
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "ConvInteger": partial(_integer_product, "ConvInteger"),
    "MatMulInteger": partial(_integer_product, "MatMulInteger"),
}
