"""What to try of the operators that onnxruntime's optimizer and quantizer write; see `graphopt.support.sweeps`.

They are of the domain com.microsoft and have one version each. Sizes are the smallest at which a vendor could tell a
good answer from a bad one. Operators without an implementation for the CPU have no oracle in onnxruntime; the few that
models for other targets have are answered by `graphopt.support.oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from graphopt.support.case import MICROSOFT, Arg, Case
from graphopt.support.sweep_words import IMAGE, PLAIN, SHAPES, form
from graphopt.support.sweeps_integer import SWEEPS as INTEGER
from graphopt.support.sweeps_integer import point, scale

_TOKENS: Final = (1, 4, 8)
"""Batch, length and width of a sequence."""


def _unary(op: str, *, kind: str = "normal", **attributes: Any) -> list[Case]:
    base = form(op, "base", Arg(SHAPES[3], kind=kind), core=True)
    return [
        base,
        *(form(op, f"rank={len(s)}", Arg(s, kind=kind)) for s in SHAPES),
        *([replace(base, label="attributes", attributes=attributes)] if attributes else []),
        base.but("float16", args=(Arg(SHAPES[3], "float16"),)),
        *base.symbolic(),
        *base.qdq(*PLAIN),
    ]


def _biased(op: str) -> list[Case]:
    bias = Arg((8,), constant=True)
    found = [form(op, "base", Arg(_TOKENS), bias, core=True), form(op, "computed", Arg(_TOKENS), Arg((8,)))]
    if op == "FastGelu":
        found += [form(op, "no-bias", Arg(_TOKENS)), form(op, "rank=4,no-bias", IMAGE)]
    return [*found, *found[0].symbolic(), form(op, "float16", Arg(_TOKENS, "float16"), Arg((8,), "float16", True))]


def _conv(op: str) -> list[Case]:
    last = op.startswith("Nhwc")
    x, weights = Arg((1, 6, 6, 4) if last else IMAGE.shape), Arg((4, 3, 3, 4) if last else (4, 4, 3, 3), constant=True)
    bias = Arg((4,), constant=True)

    def made(label: str, *more: Arg | None, core: bool = False, **attributes: Any) -> Case:
        return form(op, label, x, weights, *more, core=core, kernel_shape=[3, 3], **attributes)

    words = ("Relu", "Sigmoid", "Tanh") if op == "FusedConv" else ()
    return [
        made("base", bias, core=True, **({"activation": "Relu"} if words else {})),
        *(made(word, bias, activation=word) for word in words),
        *([made("LeakyRelu", bias, activation="LeakyRelu", activation_params=[0.1])] if words else []),
        *([made("Clip", bias, activation="Clip", activation_params=[0.0, 6.0])] if words else []),
        *([made("sum", bias, Arg((1, 4, 4, 4)), activation="Relu")] if words else []),
        made("pads", bias, pads=[1, 1, 1, 1]),
        made("strides", bias, strides=[2, 2]),
    ]


def _matmul(op: str) -> list[Case]:
    def made(label: str, a: tuple[int, ...], b: tuple[int, ...], constant: bool = True, **more: Any) -> Case:
        return form(op, label, Arg(a), Arg(b, constant=constant), **more)

    base = made("base", (3, 6), (6, 4), core=True)
    return [
        base,
        made("alpha", (3, 6), (6, 4), alpha=0.5),
        made("transA=1", (6, 3), (6, 4), transA=1),
        made("transB=1", (3, 6), (4, 6), transB=1),
        made("computed", (1, 2, 3, 6), (1, 2, 6, 4), False),
        made("computed,transB=1", (1, 2, 3, 6), (1, 2, 4, 6), False, transB=1, alpha=0.5),
        *base.symbolic(),
    ]


def _gemm() -> list[Case]:
    args = (Arg((3, 6)), Arg((5, 6), constant=True), Arg((5,), constant=True))
    return [
        form("FusedGemm", "base", *args, core=True, transB=1, activation="Relu"),
        form("FusedGemm", "no-bias", *args[:2], transB=1, activation="Relu"),
        form("FusedGemm", "Tanh", *args, transB=1, activation="Tanh"),
    ]


def _norm(op: str) -> list[Case]:
    gain, plain = Arg((8,), constant=True, kind="positive"), Arg((8,), constant=True)
    skip = op.startswith("Skip")
    data = (Arg(_TOKENS), *([Arg(_TOKENS)] if skip else []))
    shift = () if "Simplified" in op else (plain,)
    base = form(op, "base", *data, gain, *shift, core=True, epsilon=1e-5)
    found = [base, *base.symbolic()]
    if skip:
        found += [base.but("bias", args=(*base.args, plain)), base.but("sum", outputs=4)]
        found += [base.but("skip=constant", args=(data[0], Arg(_TOKENS, constant=True), gain, *shift))]
    else:
        found += [base.but(f"rank={rank}", args=(Arg((2,) * (rank - 1) + (8,)), gain)) for rank in (2, 4)]
    return [*found, base.but("float16", args=tuple(_half(arg) for arg in base.args))]


def _half(arg: Arg | None) -> Arg | None:
    return None if arg is None else replace(arg, dtype="float16")


def _attention() -> list[Case]:
    weights, bias = Arg((8, 24), constant=True, kind="unit"), Arg((24,), constant=True, kind="unit")
    base = form("Attention", "base", Arg(_TOKENS), weights, bias, core=True, num_heads=2)
    mask = Arg((1, 4), "int32", values=(1, 1, 1, 0))
    return [
        base,
        form("Attention", "mask", Arg(_TOKENS), weights, bias, mask, num_heads=2),
        form("Attention", "unidirectional=1", Arg(_TOKENS), weights, bias, num_heads=2, unidirectional=1),
        *base.symbolic(),
    ]


def _multi_head() -> list[Case]:
    op, x = "MultiHeadAttention", Arg(_TOKENS)
    base = form(op, "base", x, x, x, core=True, num_heads=2)
    cache = Arg((1, 2, 3, 4))
    return [
        base,
        form(op, "bias", x, x, x, Arg((24,), constant=True), num_heads=2),
        form(op, "attention-bias", x, x, x, None, None, Arg((1, 2, 4, 4)), num_heads=2),
        form(op, "cache", x, x, x, None, None, None, cache, cache, outputs=3, num_heads=2),
        *base.symbolic(),
    ]


def _grouped_query() -> list[Case]:
    op, query, key = "GroupQueryAttention", Arg((1, 4, 16)), Arg((1, 4, 8))
    lengths = (Arg((1,), "int32", True, values=(3,)), Arg((), "int32", True, values=(4,)))
    heads: dict[str, Any] = {"num_heads": 2, "kv_num_heads": 1}
    base = form(op, "base", query, key, key, None, None, *lengths, outputs=3, core=True, **heads)
    past = Arg((1, 1, 8, 8))
    cached = (Arg((1,), "int32", values=(4,)), Arg((), "int32", values=(5,)))
    one = (Arg((1, 1, 16)), Arg((1, 1, 8)), Arg((1, 1, 8)))
    # heads of 16, the least that onnxruntime rotates
    wide, old = (Arg((1, 1, 32)), Arg((1, 1, 16)), Arg((1, 1, 16))), Arg((1, 1, 8, 16))
    rotation = (Arg((16, 8), constant=True, kind="unit"), Arg((16, 8), constant=True, kind="unit"))
    return [
        base,
        form(op, "cache", *one, past, past, *cached, outputs=3, **heads),
        form(op, "rotary", *wide, old, old, *cached, *rotation, outputs=3, do_rotary=1, **heads),
    ]


def _rotary() -> list[Case]:
    caches = (Arg((8, 4), constant=True, kind="unit"), Arg((8, 4), constant=True, kind="unit"))
    places = Arg((1, 4), "int64", values=(0, 1, 2, 3))
    x = Arg((1, 2, 4, 8))
    return [
        form("RotaryEmbedding", "base", x, places, *caches, core=True),
        form("RotaryEmbedding", "interleaved=1", x, places, *caches, interleaved=1),
        form("RotaryEmbedding", "constant", x, replace(places, constant=True), *caches),
        form("RotaryEmbedding", "rank=3", Arg((1, 4, 16)), places, *caches, num_heads=2),
    ]


def _embed() -> list[Case]:
    ids = Arg((1, 4), "int32", kind="index")
    tables = tuple(Arg((rows, 8), constant=True) for rows in (10, 8, 2))
    gains = (Arg((8,), constant=True, kind="positive"), Arg((8,), constant=True))
    mask = Arg((1, 4), "int32", values=(1, 1, 1, 0))
    op = "EmbedLayerNormalization"
    return [
        form(op, "base", ids, ids, *tables, *gains, core=True, outputs=2),
        form(op, "mask", ids, ids, *tables, *gains, mask, outputs=2),
        form(op, "no-segments", ids, None, *tables[:2], None, *gains, outputs=2),
    ]


def _nbits() -> list[Case]:
    def made(label: str, bits: int = 4, block: int = 16, zero: bool = False, bias: bool = False, **more: Any) -> Case:
        n, k = 8, 32
        blocks, packed = k // block, block * bits // 8
        weights = Arg((n, blocks, packed), "uint8", True)
        scales = Arg((n * blocks,), constant=True, kind="positive")
        zeros = Arg((n * (blocks * bits // 8),), "uint8", True) if zero else None
        shift = Arg((n,), constant=True) if bias else None
        args = (Arg((3, k)), weights, scales, zeros, None, shift)
        return form("MatMulNBits", label, *args, K=k, N=n, bits=bits, block_size=block, **more)

    base = made("base", core=True)
    return [
        base,
        made("block_size=32", block=32),
        made("bits=8", 8),
        made("zero-points", zero=True),
        made("bias", bias=True),
        made("accuracy_level=4", accuracy_level=4),
        base.but("rank=3", args=(Arg((1, 3, 32)), *base.args[1:])),
        *base.symbolic(),
    ]


def _dynamic_matmul() -> list[Case]:
    op, x = "DynamicQuantizeMatMul", Arg((3, 6))
    weights = (Arg((6, 4), "int8", True), scale())
    return [
        form(op, "base", x, *weights, point("int8"), core=True),
        form(op, "bias", x, *weights, point("int8"), Arg((4,), constant=True)),
        form(op, "channel", x, weights[0], scale(channels=4), point("int8", channels=4)),
        form(op, "rank=3", Arg((1, 3, 6)), *weights, point("int8")),
    ]


def _dynamic_lstm() -> list[Case]:
    weights = [Arg((1, n, 16), "int8", True) for n in (6, 4)]
    bias = Arg((1, 32), constant=True, kind="unit")
    scales = (scale(channels=1), point("int8", channels=1)) * 2
    args = (Arg((5, 1, 6)), *weights, bias, None, None, None, None, *scales)
    return [form("DynamicQuantizeLSTM", "base", *args, core=True, hidden_size=4)]


def _integer_to_float() -> list[Case]:
    op, a, b = "MatMulIntegerToFloat", Arg((3, 6), "uint8"), Arg((6, 4), "int8", True)
    scales, points = (scale(), scale()), (point("uint8", 3), point("int8"))
    bias = Arg((4,), constant=True)
    return [form(op, "base", a, b, *scales, *points, core=True), form(op, "bias", a, b, *scales, *points, bias)]


def _qlinear(op: str, *, attributes: dict[str, Any] | None = None, final: float = 0.25, zero: int = 0) -> list[Case]:
    more = attributes or {}

    def made(label: str, dtype: str, x: tuple[int, ...] = IMAGE.shape, core: bool = False) -> Case:
        quantized = (Arg(x, dtype, kind="positive"), scale(), point(dtype))
        out = (scale(final), point(dtype, zero if dtype == "uint8" else zero - 128 if zero or final < 0.01 else 0))
        return form(op, label, *quantized, *out, core=core, **more)

    base = made("base", "uint8", core=True)
    return [base, made("int8", "int8"), *base.symbolic()]


def _qlinear_two(op: str) -> list[Case]:
    def made(label: str, dtype: str, b: tuple[int, ...] = IMAGE.shape, constant: bool = False, **more: Any) -> Case:
        first = (Arg(IMAGE.shape, dtype, kind="positive"), scale(), point(dtype))
        second = (Arg(b, dtype, constant, kind="positive"), scale(), point(dtype))
        return form(op, label, *first, *second, scale(0.125), point(dtype), **more)

    base = made("base", "uint8", core=True)
    constant = made("constant", "uint8", constant=True)
    return [base, made("int8", "int8"), constant, made("channel", "uint8", (1, 4, 1, 1), True), *base.symbolic()]


def _qlinear_concat() -> list[Case]:
    def made(label: str, dtype: str, axis: int, core: bool = False) -> Case:
        part = (Arg(IMAGE.shape, dtype, kind="positive"), scale(), point(dtype))
        return form("QLinearConcat", label, scale(), point(dtype), *part, *part, core=core, axis=axis)

    return [made("base", "uint8", 1, core=True), made("int8", "int8", 1), made("axis=3", "uint8", 3)]


def _qlinear_where() -> list[Case]:
    part = (Arg(IMAGE.shape, "uint8", kind="positive"), scale(), point("uint8"))
    choice = Arg(IMAGE.shape, "bool")
    return [form("QLinearWhere", "base", choice, *part, *part, scale(), point("uint8"), core=True)]


def _qgemm() -> list[Case]:
    a = (Arg((3, 6), "uint8", kind="positive"), scale(), point("uint8"))
    b = (Arg((5, 6), "int8", True), scale(), point("int8"))
    bias = Arg((5,), "int32", True)
    return [
        form("QGemm", "base", *a, *b, bias, scale(0.25), point("uint8"), core=True, transB=1),
        form("QGemm", "float", *a, *b, bias, transB=1),
        form("QGemm", "no-bias", *a, *b, None, scale(0.25), point("uint8"), transB=1),
    ]


def _qattention() -> list[Case]:
    data, weights = Arg(_TOKENS, "uint8", kind="positive"), Arg((8, 24), "int8", True)
    bias, mask = Arg((24,), constant=True, kind="unit"), Arg((1, 4), "int32", values=(1, 1, 1, 0))
    points = (point("uint8"), point("int8"))
    return [
        form("QAttention", "base", data, weights, bias, scale(), scale(), None, *points, core=True, num_heads=2),
        form("QAttention", "mask", data, weights, bias, scale(), scale(), mask, *points, num_heads=2),
    ]


def _quantize(op: str) -> list[Case]:
    quantizes = op == "QuantizeLinear"

    def made(label: str, dtype: str, **more: Any) -> Case:
        paired = more.pop("paired", False)
        data = Arg(IMAGE.shape, "float32" if quantizes else dtype, kind="positive")
        return replace(form(op, label, data, scale(), point(dtype), **more), paired=paired)

    kinds = ("uint8", "int8", "uint16", "int16")
    return [
        made("base", "uint16", core=True),
        *(made(kind, kind) for kind in kinds),
        *(made(f"pair,{kind}", kind, paired=True) for kind in kinds),
        *([made("int32", "int32")] if not quantizes else []),
    ]


def _others() -> Iterator[Case]:
    yield form("CDist", "base", Arg((3, 4)), Arg((5, 4)), core=True)
    yield form("CDist", "metric=euclidean", Arg((3, 4)), Arg((5, 4)), metric="euclidean")
    yield form("ExpandDims", "base", IMAGE, Arg((), "int32", True, values=(1,)), core=True)
    yield form("Pad", "base", IMAGE, Arg((8,), "int64", True, values=(0, 0, 1, 1, 0, 0, 1, 1)), core=True)
    yield form("Pad", "mode=reflect", IMAGE, Arg((8,), "int64", True, values=(0, 0, 1, 1, 0, 0, 1, 1)), mode="reflect")
    yield form("Unique", "base", Arg((6,), values=(1, 2, 1, 3, 2, 1)), outputs=3, core=True)
    yield form("Inverse", "base", Arg((2, 2), values=(2, 1, 1, 3)), core=True)
    yield form("Inverse", "rank=3", Arg((1, 2, 2), values=(2, 1, 1, 3)))
    for upper in (0, 1):
        yield form("Trilu", f"upper={upper}", Arg((3, 6)), core=upper == 1, upper=upper)
    yield form("Trilu", "k=1", Arg((3, 6)), Arg((), "int64", True, values=(1,)))
    yield form("GridSample", "base", Arg((1, 2, 4, 4)), Arg((1, 3, 3, 2), kind="unit"), core=True)
    yield form("GridSample", "constant", Arg((1, 2, 4, 4)), Arg((1, 3, 3, 2), constant=True, kind="unit"))
    yield form("GatherND", "base", Arg((3, 4)), Arg((2, 1), "int64", True, "index"), core=True)
    start, limit, delta = (Arg((), "int64", True, values=(value,)) for value in (0, 6, 1))
    yield form("Range", "base", start, limit, delta, core=True)
    yield form("Range", "computed", start, replace(limit, constant=False), delta)
    yield form("CropAndResize", "base", Arg((1, 2, 6, 6)), Arg((1, 4), constant=True, values=(0, 0, 0.5, 0.5)),
               Arg((1,), "int32", True, values=(0,)), Arg((2,), "int32", True, values=(3, 3)), core=True)  # fmt: skip
    weights = Arg((2, 2, 3, 3), constant=True)
    yield form("ConvTransposeWithDynamicPads", "base", Arg((1, 2, 4, 4)), weights,
               Arg((4,), "int64", True, values=(0, 0, 0, 0)), core=True, kernel_shape=[3, 3])  # fmt: skip
    yield form("NhwcMaxPool", "base", Arg((1, 6, 6, 4), "uint8"), core=True, kernel_shape=[2, 2], strides=[2, 2])
    yield form("MatMulInteger16", "base", Arg((3, 6), "int16"), Arg((6, 4), "int16", True), core=True)
    yield form("GatherBlockQuantized", "base", Arg((8, 32), "uint8", True), Arg((3,), "int64", kind="index"),
               Arg((8, 2), constant=True, kind="positive"), core=True, bits=8, block_size=16)  # fmt: skip
    gain = Arg((4,), constant=True, kind="positive")
    image = Arg((1, 6, 6, 4))
    yield form("GroupNorm", "base", image, gain, Arg((4,), constant=True), core=True, groups=2, activation=0)
    yield form("BiasAdd", "base", Arg(_TOKENS), Arg((8,), constant=True), Arg(_TOKENS), core=True)
    yield form("BiasSplitGelu", "base", Arg(_TOKENS), Arg((8,), constant=True), core=True)


def _all() -> dict[str, Callable[[], list[Case]]]:
    table: dict[str, Callable[[], list[Case]]] = {
        "Gelu": partial(_unary, "Gelu"),
        "QuickGelu": partial(_unary, "QuickGelu", alpha=1.0),
        "Attention": _attention,
        "MultiHeadAttention": _multi_head,
        "GroupQueryAttention": _grouped_query,
        "RotaryEmbedding": _rotary,
        "EmbedLayerNormalization": _embed,
        "MatMulNBits": _nbits,
        "DynamicQuantizeMatMul": _dynamic_matmul,
        "DynamicQuantizeLSTM": _dynamic_lstm,
        "MatMulIntegerToFloat": _integer_to_float,
        "QLinearConv": INTEGER["QLinearConv"],
        "QLinearConcat": _qlinear_concat,
        "QLinearWhere": _qlinear_where,
        "QLinearSigmoid": partial(_qlinear, "QLinearSigmoid", final=1 / 256),
        "QLinearSoftmax": partial(_qlinear, "QLinearSoftmax", attributes={"axis": -1, "opset": 13}, final=1 / 256),
        "QLinearLeakyRelu": partial(_qlinear, "QLinearLeakyRelu", attributes={"alpha": 0.1}, final=0.0625),
        "QLinearGlobalAveragePool": partial(_qlinear, "QLinearGlobalAveragePool", final=0.0625),
        "QLinearAveragePool": partial(
            _qlinear, "QLinearAveragePool", attributes={"kernel_shape": [2, 2], "strides": [2, 2]}, final=0.0625
        ),
        "QGemm": _qgemm,
        "QAttention": _qattention,
        "FusedGemm": _gemm,
    }
    families: dict[Callable[[str], list[Case]], str] = {
        _biased: "BiasGelu FastGelu",
        _conv: "FusedConv NhwcConv NhwcFusedConv",
        _matmul: "FusedMatMul TransposeMatMul",
        _norm: "SkipLayerNormalization SkipSimplifiedLayerNormalization",
        _qlinear_two: "QLinearAdd QLinearMul",
        _quantize: "QuantizeLinear DequantizeLinear",
    }
    table |= {op: partial(family, op) for family, ops in families.items() for op in ops.split()}
    return table | {op: partial(_of, op) for op in dict.fromkeys(case.op_type for case in _others())}


def _of(op: str) -> list[Case]:
    return [case for case in _others() if case.op_type == op]


def _contributed(cases: Callable[[], list[Case]]) -> list[Case]:
    return [replace(case, domain=MICROSOFT) for case in cases()]


SWEEPS: Final[dict[str, Callable[[], list[Case]]]] = {
    **{f"{MICROSOFT}::{op}": partial(_contributed, cases) for op, cases in _all().items()},
    "SimplifiedLayerNormalization": partial(_norm, "SimplifiedLayerNormalization"),
}
