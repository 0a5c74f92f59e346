"""What to try of operators that few models have; see `graphopt.support.sweeps`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.sweep_words import IMAGE, PLAIN, SHAPES, Attributes, changed, computed, data_cases, dtypes, form


def number(value: float, dtype: str = "int64", constant: bool = True, attribute: str = "") -> Arg:
    """A scalar argument."""
    return Arg((), dtype, constant, values=(value,), attribute=attribute)


def _dropout() -> list[Case]:
    ratio = Arg((), "float32", True, values=(0.5,), attribute="ratio")
    base = form("Dropout", "base", IMAGE, ratio, core=True)
    return [
        base,
        form("Dropout", "default", IMAGE, core=True),
        form("Dropout", "mask", IMAGE, ratio, outputs=2),
        form("Dropout", "training=false", IMAGE, ratio, number(0, "bool")),
        *(form("Dropout", f"rank={len(s)}", Arg(s), ratio) for s in SHAPES),
        *base.symbolic(),
    ]


def _mod() -> list[Case]:
    def made(label: str, dtype: str, constant: bool = False, core: bool = False, **more: Any) -> Case:
        return form("Mod", label, Arg(SHAPES[3], dtype), Arg(SHAPES[3], dtype, constant, "positive"), core=core, **more)

    base = made("base", "int64", core=True)
    kinds = [made(dtype, dtype) for dtype in ("int32", "int8", "uint8")]
    floats = [made(f"{dtype},fmod=1", dtype, fmod=1) for dtype in ("float32", "float16", "int64")]
    return [base, made("constant", "int64", True), *kinds, *floats, *base.symbolic()]


def _bitwise(op: str) -> list[Case]:
    more: Attributes = {"direction": "LEFT"} if op == "BitShift" else {}
    first = "uint32" if op == "BitShift" else "int32"

    def made(label: str, dtype: str, shape: tuple[int, ...] = SHAPES[3], **extra: Any) -> Case:
        args = [Arg(shape, dtype, kind="positive")]
        return form(op, label, *args * (1 if op == "BitwiseNot" else 2), **{**more, **extra})

    base = made("base", first, core=True)
    kinds = [made(dtype, dtype) for dtype in ("uint8", "uint16", "uint64")]
    signed = [] if op == "BitShift" else [made(dtype, dtype) for dtype in ("int8", "int64")]
    turned = changed(base, {"direction": "RIGHT"}) if op == "BitShift" else []
    return [base, *kinds, *signed, *turned, *(made(f"rank={len(s)}", first, s) for s in SHAPES[:3]), *base.symbolic()]


def _scatter(op: str) -> list[Case]:
    data = (4, 5, 6)
    index, updates = ((2, 1), (2, 5, 6)) if op == "ScatterND" else ((2, 5, 6), (2, 5, 6))
    # unlike indices, so that the order of the updates is nothing to depend on
    places = (0, 2) if op == "ScatterND" else tuple(row for row in (0, 2) for _ in range(30))

    axis: Attributes = {} if op == "ScatterND" else {"axis": 0}

    def made(label: str, constant: bool, fixed: bool, dtype: str = "float32", **more: Any) -> Case:
        args = (Arg(data, dtype), Arg(index, "int64", constant, values=places), Arg(updates, dtype, fixed))
        return form(op, label, *args, **{**axis, **more})

    base = made("base", True, False, core=True)
    return [
        base,
        made("updates=constant", True, True),
        made("computed", False, False),
        *(made(dtype, True, False, dtype) for dtype in ("float16", "int32", "int64", "bool")),
        *(made(f"reduction={word}", True, False, reduction=word, core=True) for word in ("add", "mul")),
        *(made(f"reduction={word}", True, False, reduction=word) for word in ("max", "min")),
        *base.symbolic(),
    ]


def _gather_nd() -> list[Case]:
    whole = Arg((2, 4, 6, 6))

    def made(label: str, index: tuple[int, ...], constant: bool = True, x: Arg = whole, **more: Any) -> Case:
        return form("GatherND", label, x, Arg(index, "int64", constant, "index"), **more)

    base = made("base", (3, 2), core=True)
    return [
        base,
        made("computed", (3, 2), False),
        made("whole", (3, 4)),
        *(made(f"indices={rank}", (1,) * (rank - 2) + (3, 2)) for rank in (4, 5)),
        made("rank=2", (3, 1), x=Arg((3, 6))),
        made("batch_dims=1", (2, 3, 1), batch_dims=1, core=True),
        *data_cases(base),
    ]


def _cum(op: str) -> list[Case]:
    base = form(op, "base", Arg((2, 4, 6)), number(1), core=True)
    return [
        base,
        *changed(base, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}),
        form(op, "axis=last", Arg((2, 4, 6)), number(-1)),
        form(op, "axis=first", Arg((2, 4, 6)), number(0, "int32")),
        form(op, "computed", Arg((2, 4, 6)), number(1, constant=False)),
        *(form(op, f"rank={len(s)}", Arg(s), number(len(s) - 1)) for s in SHAPES),
        *data_cases(base)[:-2],
    ]


def _one_hot() -> list[Case]:
    def made(label: str, shape: tuple[int, ...], dtype: str = "int64", constant: bool = True, **more: Any) -> Case:
        values = Arg((2,), "float32", True, values=(0, 1))
        depth = Arg((1,), dtype, constant, values=(4,)) if more.pop("vector", False) else number(4, dtype, constant)
        return form("OneHot", label, Arg(shape, dtype, kind="index"), depth, values, **more)

    base = made("base", (3,), core=True)
    return [
        base,
        made("depth=vector", (3,), vector=True),
        made("int32", (3,), "int32"),
        made("rank=2", (2, 3)),
        made("rank=3", (1, 2, 3)),
        made("axis=0", (2, 3), axis=0),
        made("axis=1", (2, 3), axis=1),
        made("computed", (3,), constant=False),
        *base.symbolic(),
    ]


def _range() -> list[Case]:
    def made(label: str, dtype: str, fixed: tuple[bool, bool, bool], **more: Any) -> Case:
        args = (number(value, dtype, constant) for value, constant in zip((0, 6, 1), fixed, strict=True))
        return form("Range", label, *args, **more)

    return [
        made("base", "int64", (True, False, True), core=True),
        made("float32", "float32", (True, False, True)),
        made("int32", "int32", (True, False, True)),
        made("start=computed", "int64", (False, True, True)),
        made("computed", "int64", (False, False, False)),
    ]


def _constant_of_shape() -> list[Case]:
    import onnx

    def filled(dtype: int, value: float) -> Attributes:
        return {"value": onnx.helper.make_tensor("v", dtype, [1], [value])}

    shape = Arg((2,), "int64", values=(2, 3))
    op, kind = "ConstantOfShape", onnx.TensorProto
    return [
        form(op, "base", shape, core=True),
        form(op, "float32", shape, **filled(kind.FLOAT, 0.5)),
        form(op, "int64", shape, **filled(kind.INT64, 1)),
        form(op, "bool", shape, **filled(kind.BOOL, 1)),
        form(op, "rank=1", Arg((1,), "int64", values=(4,))),
        form(op, "rank=4", Arg((4,), "int64", values=(1, 2, 3, 4))),
        form(op, "rank=0", Arg((0,), "int64")),
        form(op, "rank=0,folded", Arg((0,), "int64", True)),
    ]


def _trilu() -> list[Case]:
    base = form("Trilu", "base", Arg((3, 6)), core=True)
    return [
        base,
        *changed(base, {"upper": 0}),
        form("Trilu", "k=1", Arg((3, 6)), number(1)),
        form("Trilu", "k=-1,upper=0", Arg((3, 6)), number(-1), upper=0),
        form("Trilu", "k=computed", Arg((3, 6)), number(1, constant=False)),
        *(form("Trilu", f"rank={len(s)}", Arg(s)) for s in SHAPES[2:4]),
        *data_cases(base)[:-2],
    ]


def _grid_sample() -> list[Case]:
    def made(label: str, constant: bool = False, rank: int = 4, **more: Any) -> Case:
        sizes = (4,) * (rank - 2)
        return form(
            "GridSample", label, Arg((1, 2, *sizes)), Arg((1, *sizes, rank - 2), constant=constant, kind="unit"), **more
        )

    found = [made("base", core=True), made("constant", True), made("rank=5", rank=5)]
    # a mode was renamed at version 20, so both names are tried; each version takes its own
    for mode in ("bilinear", "linear", "nearest", "bicubic", "cubic"):
        for corners in (0, 1):
            core = mode in ("linear", "bilinear")
            found.append(made(f"{mode},align={corners}", mode=mode, align_corners=corners, core=core))
    for padding in ("border", "reflection"):
        found.append(made(f"padding_mode={padding}", padding_mode=padding))
        found.append(made(f"padding_mode={padding},nearest", padding_mode=padding, mode="nearest"))
    return [*found, *found[0].symbolic()]


def _einsum() -> list[Case]:
    equations = {
        "ij,jk->ik": ((3, 4), (4, 5)),
        "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
        "bhid,bhjd->bhij": ((1, 2, 3, 4), (1, 2, 5, 4)),
        "bhij,bhjd->bhid": ((1, 2, 3, 5), (1, 2, 5, 4)),
        "bijd,bkjd->bjik": ((1, 3, 2, 4), (1, 5, 2, 4)),
        "i,j->ij": ((3,), (4,)),
        "ij->ji": ((3, 4),),
        "ij->i": ((3, 4),),
        "ii->i": ((3, 3),),
        "bn,anw->baw": ((2, 3), (4, 3, 5)),
    }
    found = []
    for equation, shapes in equations.items():
        args = [Arg(shape) for shape in shapes]
        found.append(form("Einsum", equation, *args, core=equation == "ij,jk->ik", equation=equation))
        if len(args) == 2:
            fixed = Arg(shapes[1], constant=True)
            found.append(form("Einsum", f"{equation},constant", args[0], fixed, equation=equation))
    return [*found, *found[0].symbolic()]


def _upsample() -> list[Case]:
    scales = Arg((4,), "float32", True, values=(1.0, 1.0, 2.0, 2.0), attribute="scales")
    base = form("Upsample", "base", IMAGE, scales, core=True, mode="nearest")
    third = Arg((4,), "float32", True, values=(1.0, 1.0, 3.0, 3.0), attribute="scales")
    return [
        base,
        form("Upsample", "linear", IMAGE, scales, core=True, mode="linear"),
        form("Upsample", "three", IMAGE, third, mode="nearest"),
        form("Upsample", "computed", IMAGE, computed(scales), mode="nearest"),
        *base.symbolic(),
    ]


def _windowed(op: str) -> list[Case]:
    base = form(op, "base", Arg((1, 4, 8, 8)), core=True, kernel_shape=[2, 2], strides=[2, 2])
    changes: Sequence[Attributes] = (
        {"p": 1},
        {"p": 3},
        {"pads": [1, 1, 1, 1]},
        {"pads": [0, 0, 1, 1]},
        {"auto_pad": "SAME_UPPER"},
        {"kernel_shape": [1, 1]},
        {"kernel_shape": [5, 5]},
    )
    rank = form(op, "rank=3", Arg((1, 4, 8)), kernel_shape=[2], strides=[2])
    return [base, rank, *changed(base, *changes), *dtypes(base), *base.symbolic()]


def _local(op: str) -> list[Case]:
    base = form(op, "base", Arg((1, 6, 5, 5)), core=True, size=3)
    return [base, *changed(base, {"size": 5}, {"alpha": 0.001}, {"beta": 0.5}, {"bias": 2.0}), *base.symbolic()]


def _unit(op: str) -> list[Case]:
    base = form(op, "base", Arg((1, 4, 6, 6)), core=True, axis=1)
    return [
        base,
        *changed(base, {"p": 1}, {"axis": -1}, {"axis": 0}),
        *(form(op, f"rank={len(s)}", Arg(s), axis=-1) for s in SHAPES),
        *base.symbolic(),
    ]


def _grouped() -> list[Case]:
    def made(label: str, x: tuple[int, ...], channels: int = 4, **more: Any) -> Case:
        args = (Arg((channels,), constant=True, kind="positive"), Arg((channels,), constant=True))
        return form("GroupNormalization", label, Arg(x), *args, num_groups=2, **more)

    base = made("base", IMAGE.shape, core=True)
    ranks = [made(f"rank={len(s)}", s) for s in ((2, 4, 6), (1, 4, 3, 4, 4))]
    # until version 21 scale and bias were one a group
    return [base, made("a-group", IMAGE.shape, 2, core=True), *ranks, *base.symbolic(), *base.qdq(*PLAIN)]


def _signal() -> list[Case]:
    import onnx

    step, length = number(4), number(8)
    window = Arg((8,), constant=True, kind="positive")
    signal = Arg((1, 24, 1))
    found = [
        form("STFT", "base", signal, step, window, core=True, onesided=1),
        form("STFT", "onesided=0", signal, step, window, onesided=0),
        form("STFT", "no-window", signal, step, None, length, onesided=1),
    ]
    mel = (number(4), number(16), number(8000), number(0.0, "float32"), number(4000.0, "float32"))
    found.append(form("MelWeightMatrix", "base", *mel[:3], number(100.0, "float32", False), mel[4], core=True))
    for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        found.append(form(op, "base", number(8, constant=False), core=True))
        found.append(form(op, "float16", number(8, constant=False), output_datatype=onnx.TensorProto.FLOAT16))
    return found


def _single(op: str) -> list[Case]:
    return [case for case in _signal() if case.op_type == op]


def _aligned_rois() -> list[Case]:
    def made(label: str, fixed: bool = False, core: bool = False, **more: Any) -> Case:
        rois = Arg((2, 4), constant=fixed, values=(0, 0, 4, 4, 1, 1, 5, 5))
        batch = Arg((2,), "int64", True, values=(0, 0))
        sizes = {"output_height": 2, "output_width": 2, "sampling_ratio": 2}
        return form("RoiAlign", label, Arg((1, 2, 6, 6)), rois, batch, core=core, **{**sizes, **more})

    base = made("base", core=True)
    changes: list[Attributes] = [
        {"coordinate_transformation_mode": "output_half_pixel"},
        {"mode": "max"},
        {"sampling_ratio": 0},
        {"spatial_scale": 0.5},
    ]
    return [base, made("rois=constant", True), *changed(base, *changes), *base.symbolic()]


def _pooled_rois() -> list[Case]:
    rois = Arg((1, 5), constant=True, values=(0, 0, 0, 4, 4))
    more: Attributes = {"pooled_shape": [2, 2]}
    return [
        form("MaxRoiPool", "base", Arg((1, 2, 6, 6)), rois, core=True, **more),
        form("MaxRoiPool", "computed", Arg((1, 2, 6, 6)), computed(rois), **more),
    ]


def _mean_variance() -> list[Case]:
    base = form("MeanVarianceNormalization", "base", Arg((2, 4, 6, 6)), core=True, axes=[0, 2, 3])
    return [base, *changed(base, {"axes": [2, 3]}, {"axes": [1, 2, 3]}), *base.symbolic()]


def _non_zero() -> list[Case]:
    base = form("NonZero", "base", Arg((3, 6)), core=True)
    kinds = [form("NonZero", dtype, Arg((3, 6), dtype)) for dtype in ("bool", "int32", "int64")]
    return [base, *kinds, *(form("NonZero", f"rank={len(s)}", Arg(s)) for s in SHAPES[:4]), *base.symbolic()]


def _suppression() -> list[Case]:
    corners = (0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11)
    boxes = Arg((1, 3, 4), values=corners)
    scores = Arg((1, 1, 3), values=(0.9, 0.75, 0.6))
    limits = (number(3), number(0.5, "float32"), number(0.0, "float32"))
    return [
        form("NonMaxSuppression", "base", boxes, scores, Arg((1,), "int64", True, values=(3,)),
             Arg((1,), "float32", True, values=(0.5,)), Arg((1,), "float32", True, values=(0.0,)), core=True),
        form("NonMaxSuppression", "scalars", boxes, scores, *limits),
        form("NonMaxSuppression", "no-threshold", boxes, scores, *limits[:2]),
        form("NonMaxSuppression", "center_point_box=1", boxes, scores, *limits, center_point_box=1),
    ]  # fmt: skip


def _cast_like() -> list[Case]:
    def made(label: str, a: str, b: str, constant: bool = True, **more: Any) -> Case:
        return form("CastLike", label, Arg((2, 3), a, kind="positive"), Arg((1,), b, constant), **more)

    return [
        made("base", "float32", "int32", core=True),
        made("same", "float32", "float32", core=True),
        made("from-int64", "int64", "float32"),
        made("to-float16", "float32", "float16"),
        made("computed", "int64", "float32", False),
    ]


SWEEPS: Final[dict[str, Callable[[], list[Case]]]] = {
    "Dropout": _dropout,
    "Mod": _mod,
    **{op: partial(_bitwise, op) for op in ("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")},
    "ScatterND": partial(_scatter, "ScatterND"),
    "ScatterElements": partial(_scatter, "ScatterElements"),
    "Scatter": partial(_scatter, "Scatter"),
    "GatherND": _gather_nd,
    "CumSum": partial(_cum, "CumSum"),
    "CumProd": partial(_cum, "CumProd"),
    "OneHot": _one_hot,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Trilu": _trilu,
    "GridSample": _grid_sample,
    "Einsum": _einsum,
    "Upsample": _upsample,
    "LpPool": partial(_windowed, "LpPool"),
    "LRN": partial(_local, "LRN"),
    "LpNormalization": partial(_unit, "LpNormalization"),
    "GroupNormalization": _grouped,
    "MaxRoiPool": _pooled_rois,
    "RoiAlign": _aligned_rois,
    "MeanVarianceNormalization": _mean_variance,
    "NonZero": _non_zero,
    "NonMaxSuppression": _suppression,
    "CastLike": _cast_like,
    **{op: partial(_single, op) for op in ("STFT", "MelWeightMatrix", "HannWindow", "HammingWindow", "BlackmanWindow")},
}
