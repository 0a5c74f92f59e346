"""Forms that exporters write, drawn at random, of operators whose arguments hang together: Conv, Reshape, Slice, …"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from graphopt.support.case import Arg, Case
from graphopt.support.draw import Draw, Shape
from graphopt.support.sweep_words import integers

RECURRENT: Final = ("LSTM", "GRU", "RNN")
"""Operators whose sizes all hang together, and whose sweep has forms that take a compiler minutes: only drawn whole."""


def _unary(op: str, d: Draw) -> Case:
    domains = {"positive": ("Sqrt", "Log", "Reciprocal"), "unit": ("Asin", "Acos", "Atanh", "Tan")}
    kind = next((name for name, ops in domains.items() if op in ops), "normal")
    arg = Arg(d.shape(), "bool" if op == "Not" else "float32", kind=kind)
    return Case(op, "", (arg,), {name: d.one(*values) for name, values in _FLOATS.get(op, {}).items() if d.chance(0.7)})


def _binary(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(0))
    small = d.fewer(shape)
    dtype = "bool" if op in ("And", "Or", "Xor") else "float32"
    first = Arg(shape, dtype, kind="positive" if op == "Pow" else "normal")
    second = Arg(small, dtype, d.chance(0.5), "positive" if op in ("Div", "Pow", "Mod") else "normal")
    if d.chance(0.2):
        first, second = Arg(small, dtype, second.constant, first.kind), Arg(shape, dtype, False, second.kind)
    return Case(op, "", (first, second))


def _variadic(op: str, d: Draw) -> Case:
    shape = d.shape()
    rest = [Arg(d.fewer(shape), constant=d.chance(0.2)) for _ in range(d.one(0, 1, 1, 2))]
    return Case(op, "", (Arg(shape), *rest))


def _concat(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1))
    axis = d.axis(len(shape))
    sizes = [d.size() for _ in range(d.one(1, 2, 2, 2, 3, 4))]
    parts = [tuple(s if a == axis % len(shape) else n for a, n in enumerate(shape)) for s in sizes]
    return Case(op, "", tuple(Arg(p, constant=i > 0 and d.chance(0.15)) for i, p in enumerate(parts)), {"axis": axis})


def _window(d: Draw, spatial: int, *, pads: bool = True) -> dict[str, Any]:
    """Attributes of a sliding window, as frameworks write them: mostly the same in all directions."""
    kernel = [d.one(1, 2, 3, 3, 3, 5)] * spatial
    if d.chance(0.15):
        kernel = [d.one(1, 2, 3, 5) for _ in range(spatial)]
    more: dict[str, Any] = {"kernel_shape": kernel, "strides": [d.one(1, 1, 2)] * spatial}
    if d.chance(0.1):
        more["strides"] = [d.one(1, 2, 3) for _ in range(spatial)]
    if pads and d.chance(0.2):
        more["auto_pad"] = d.one("SAME_UPPER", "SAME_LOWER", "VALID")
    elif pads and d.chance(0.6):
        half = [d.one(k // 2, k // 2, k // 2, 0, 1) for k in kernel]
        other = half if d.chance(0.7) else [d.one(0, 1) for _ in kernel]
        more["pads"] = [*half, *other]
    return more


def _conv(op: str, d: Draw) -> Case:
    spatial = d.one(1, 2, 2, 2, 2, 2, 3)
    window = _window(d, spatial)
    if d.chance(0.15):
        window["dilations"] = [d.one(1, 2)] * spatial
    group = d.one(1, 1, 1, 1, 2, "depthwise", "depthwise")
    into, out = d.one(1, 2, 3, 4, 6, 8), d.one(1, 2, 3, 4, 6, 8)
    if group == "depthwise":
        group, out = into, into * d.one(1, 1, 1, 2)
    elif group == 2:
        into, out = into * 2, out * 2
    weights = (into, out // group) if op == "ConvTranspose" else (out, into // group)
    if op == "ConvTranspose" and d.chance(0.2):
        window |= {"output_padding": [1] * spatial, "strides": [2] * spatial}
    x = Arg((d.one(1, 1, 1, 2), into, *(d.rng.randint(5, 9 if spatial < 3 else 6) for _ in range(spatial))))
    args = [x, Arg((*weights, *window["kernel_shape"]), constant=True)]
    if d.chance(0.6):
        args.append(Arg((out,), constant=True))
    return Case(op, "", tuple(args), {**window, **({"group": group} if group != 1 or d.chance(0.5) else {})})


def _pool(op: str, d: Draw) -> Case:
    spatial = d.one(1, 2, 2, 2, 2, 3)
    window = _window(d, spatial)
    if d.chance(0.2):
        window["ceil_mode"] = 1
    if op == "AveragePool" and d.chance(0.3):
        window["count_include_pad"] = 1
    if op == "LpPool" and d.chance(0.5):
        window["p"] = d.one(1, 2, 3)
    if d.chance(0.05):
        window["dilations"] = [2] * spatial
    if "pads" in window:
        # a window on nothing but padding has no greatest element
        window["pads"] = [
            min(pad, size - 1) for pad, size in zip(window["pads"], 2 * window["kernel_shape"], strict=True)
        ]
    image = [d.rng.randint(max(4, size), 9 if spatial < 3 else 6) for size in window["kernel_shape"]]
    x = Arg((d.one(1, 1, 2), d.one(1, 2, 3, 4, 8), *image))
    return Case(op, "", (x,), window, outputs=2 if op == "MaxPool" and d.chance(0.06) else 1)


def _global(op: str, d: Draw) -> Case:
    return Case(op, "", (Arg(d.shape(d.one(3, 4, 4, 4, 5))),))


def _normalize(op: str, d: Draw) -> Case:
    layer = op in ("LayerNormalization", "RMSNormalization")
    shape = d.shape(d.rank(2, 5))
    axis = -1 if not layer or d.chance(0.7) else d.axis(len(shape))
    group = d.one(1, 2)
    if op == "GroupNormalization":
        shape = (shape[0], group * shape[1], *shape[2:])
    inner = shape[axis % len(shape) :] if layer else (shape[1],)
    constant = not d.chance(0.1)
    count = {"BatchNormalization": 4, "RMSNormalization": 1}.get(op, 1 if layer and d.chance(0.2) else 2)
    extra = tuple(Arg(inner, constant=constant, kind="positive" if i in (0, 3) else "normal") for i in range(count))
    own = {"axis": axis} if layer else {"num_groups": group} if op == "GroupNormalization" else {}
    more = {"epsilon": d.one(1e-5, 1e-6, 1e-3)} if d.chance(0.6) else {}
    return Case(op, "", (Arg(shape), *extra), {**own, **more})


def _reduce(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1, 6))
    axes = d.axes(len(shape))
    if d.chance(0.4):
        axes = [axis - len(shape) for axis in axes]
    more = {"keepdims": d.one(0, 1)} if d.chance(0.8) else {}
    given = () if d.chance(0.12) else (integers("axes", *axes),)
    kind = "positive" if "Log" in op else "near one" if op == "ReduceProd" else "normal"
    return Case(op, "", (Arg(shape, kind=kind), *given), more)


def _axis(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1))
    more: dict[str, Any] = {"axis": d.axis(len(shape))} if d.chance(0.9) else {}
    if op.startswith("Arg"):
        more |= {"keepdims": d.one(0, 1), **({"select_last_index": 1} if d.chance(0.1) else {})}
    # no axis of size 1: over that, the answer is the same whatever the vendor does
    return Case(op, "", (Arg(tuple(max(size, 2) for size in shape)),), more)


def _topk(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1, 5))
    axis = d.axis(len(shape))
    more = {"largest": 0} if d.chance(0.15) else {"sorted": 0} if d.chance(0.05) else {}
    count = integers("k", d.rng.randint(1, shape[axis]))
    return Case(op, "", (Arg(shape, kind="distinct"), count), {"axis": axis, **more}, outputs=2)


def _matmul(op: str, d: Draw) -> Case:
    n, k, m = (d.size() for _ in range(3))
    batch = d.shape(d.one(0, 0, 1, 1, 2, 2, 3))
    constant = d.chance(0.5)
    other: Shape = () if constant and d.chance(0.8) else batch if d.chance(0.7) else tuple(d.one(s, 1) for s in batch)
    return Case(op, "", (Arg((*batch, n, k)), Arg((*other, k, m), constant=constant)))


def _gemm(op: str, d: Draw) -> Case:
    n, k, m = (d.size() for _ in range(3))
    across, down = d.one(0, 0, 0, 0, 1), d.one(0, 1, 1)
    args = [Arg((k, n) if across else (n, k)), Arg((m, k) if down else (k, m), constant=not d.chance(0.12))]
    if d.chance(0.75):
        args.append(Arg(d.one((m,), (m,), (m,), (1, m), (n, m), ()), constant=not d.chance(0.1)))
    more: dict[str, Any] = {"transB": down} | ({"transA": across} if across else {})
    more |= {name: d.one(1.0, 0.5) for name in ("alpha", "beta") if d.chance(0.25)}
    return Case(op, "", tuple(args), more)


def _reshape(op: str, d: Draw) -> Case:
    shape = d.shape()
    to = d.factors(math.prod(shape), d.rank(1))
    if d.chance(0.5):
        to[d.rng.randrange(len(to))] = -1
    if d.chance(0.3) and to[0] != -1 and -1 in to:
        to[0] = 0
    return Case(op, "", (Arg(shape), integers("shape", *to)))


def _flatten(op: str, d: Draw) -> Case:
    shape = d.shape()
    return Case(op, "", (Arg(shape),), {"axis": d.rng.randint(-len(shape), len(shape))} if d.chance(0.6) else {})


def _squeeze(op: str, d: Draw) -> Case:
    shape = list(d.shape(d.rank(1, 5 if op == "Unsqueeze" else 6)))
    rank = len(shape) if op == "Squeeze" else len(shape) + d.one(1, 1, 1, 2)
    axes = sorted(d.rng.sample(range(rank), min(rank, d.one(1, 1, 1, 2) if op == "Squeeze" else rank - len(shape))))
    for axis in axes if op == "Squeeze" else []:
        shape[axis] = 1
    given = [axis - rank for axis in axes] if d.chance(0.4) else axes
    return Case(op, "", (Arg(tuple(shape)), integers("axes", *given)))


def _transpose(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(2))
    perm = list(range(len(shape)))
    if d.chance(0.3):
        perm[-2:] = perm[:-3:-1]
    else:
        d.rng.shuffle(perm)
    return Case(op, "", (Arg(shape),), {"perm": perm} if d.chance(0.95) else {})


def _slice(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1, 6))
    axes = sorted(d.rng.sample(range(len(shape)), min(len(shape), d.one(1, 1, 1, 2))))
    starts, ends, steps = [], [], []
    for axis in axes:
        start = d.rng.randrange(shape[axis])
        back = d.chance(0.06)
        starts.append(-1 if back else d.one(start, start - shape[axis]))
        ends.append(-1000 if back else d.one(2**31 - 1, 2**63 - 1, d.rng.randint(start % shape[axis] + 1, shape[axis])))
        steps.append(-1 if back else d.one(1, 1, 1, 2))
    given = [axis - len(shape) for axis in axes] if d.chance(0.3) else axes
    tail = [integers("", *steps)] if set(steps) != {1} or d.chance(0.4) else []
    args = [integers("starts", *starts), integers("ends", *ends), integers("axes", *given), *tail]
    if d.chance(0.2) and max(ends) < 2**31:
        args = [replace(arg, dtype="int32") for arg in args]
    return Case(op, "", (Arg(shape), *args))


def _split(op: str, d: Draw) -> Case:
    shape = list(d.shape(d.rank(1)))
    axis, parts = d.axis(len(shape)), d.one(2, 2, 3)
    if d.chance(0.5):
        shape[axis] = parts * d.one(1, 2, 3)
        more = {"num_outputs": parts} if d.chance(0.2) else {}
        return Case(op, "", (Arg(tuple(shape)),), {"axis": axis, **more}, parts)
    shape[axis] = max(shape[axis], parts)
    return Case(op, "", (Arg(tuple(shape)), integers("split", *d.split(shape[axis], parts))), {"axis": axis}, parts)


def _pad(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1))
    mode = d.one("constant", "constant", "constant", "reflect", "edge")
    rank = len(shape)
    wanted = d.axes(rank)
    pads = [d.one(0, 1, 1, 2) if axis % rank in wanted else 0 for axis in range(2 * rank)]
    if mode == "reflect":
        pads = [min(pad, shape[axis % rank] - 1) for axis, pad in enumerate(pads)]
    value = (Arg((), constant=True, values=(d.one(0.0, 0.0, 0.5),), attribute="value"),) if mode == "constant" else ()
    return Case(op, "", (Arg(shape), integers("pads", *pads), *(value if d.chance(0.7) else ())), {"mode": mode})


def _resize(op: str, d: Draw) -> Case:
    shape = (1, d.one(1, 3, 4), *(d.rng.randint(3, 8) for _ in range(d.one(1, 2, 2, 2, 2, 2, 3))))
    spatial = len(shape) - 2
    mode = d.one("nearest", "nearest", "linear", "linear", "cubic")
    where = d.one("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    more = {"mode": mode, "coordinate_transformation_mode": where}
    if mode == "nearest":
        more["nearest_mode"] = d.one("floor", "floor", "round_prefer_floor", "ceil", "round_prefer_ceil")
    if d.chance(0.4):
        sizes = [d.one(size * 2, size * 2, size + 3, size, (size + 1) // 2) for size in shape[2:]]
        return Case(op, "", (Arg(shape), None, None, integers("", *shape[:2], *sizes)), more)
    ratio = d.one(2.0, 2.0, 2.0, 3.0, 4.0, 1.5, 0.5, 0.7, 1.0)
    scales = Arg((len(shape),), constant=True, values=(1.0, 1.0, *(ratio for _ in range(spatial))))
    roi = Arg((0,), constant=True) if d.chance(0.2) else None
    return Case(op, "", (Arg(shape), roi, scales), more)


def _gather(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(1, 5))
    axis = d.axis(len(shape))
    indices = Arg(d.shape(d.one(0, 1, 1, 2)), d.one("int64", "int64", "int64", "int32"), d.chance(0.7), "index")
    shape = tuple(max(size, 2) if a == axis % len(shape) else size for a, size in enumerate(shape))
    return Case(op, "", (Arg(shape, constant=not indices.constant and d.chance(0.6)), indices), {"axis": axis})


def _expand(op: str, d: Draw) -> Case:
    shape = d.shape()
    if op == "Tile":
        return Case(op, "", (Arg(shape), integers("", *(d.one(1, 1, 2, 3) for _ in shape))))
    return Case(op, "", (Arg(d.fewer(shape)), integers("", *(d.one(size, size, size, 1) for size in shape))))


def _where(op: str, d: Draw) -> Case:
    shape = d.shape()
    sizes = [shape if d.chance(0.6) else d.fewer(shape) for _ in range(3)]
    args = (Arg(sizes[0], "bool"), Arg(sizes[1], constant=d.chance(0.15)), Arg(sizes[2], constant=d.chance(0.4)))
    return Case(op, "", args)


def _prelu(op: str, d: Draw) -> Case:
    shape = d.shape(d.rank(2, 5))
    slope = d.one((shape[1], *([1] * (len(shape) - 2))), (1,), d.fewer(shape))
    return Case(op, "", (Arg(shape), Arg(slope, constant=not d.chance(0.1))))


def _clip(op: str, d: Draw) -> Case:
    low, high = d.one((0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), (-0.5, 0.8))
    bounds = [Arg((), constant=True, values=(v,), attribute=a) for v, a in ((low, "min"), (high, "max"))]
    return Case(op, "", (Arg(d.shape()), *(bound if d.chance(0.85) else None for bound in bounds)))


def _cast(op: str, d: Draw) -> Case:
    codes = (1, 2, 3, 6, 7, 9, 10, 11)
    source = d.one("float32", "float32", "int64", "int32", "bool", "float16", "uint8", "int8")
    return Case(op, "", (Arg(d.shape(), source, kind="positive"),), {"to": d.one(1, 1, 1, 7, 6, *codes)})


def _blocks(op: str, d: Draw) -> Case:
    block, n, c, h, w = d.one(2, 2, 3), d.one(1, 1, 2), *(d.rng.randint(1, 4) for _ in range(3))
    deep = op == "DepthToSpace"
    shape = (n, c * block * block, h, w) if deep else (n, c, h * block, w * block)
    return Case(op, "", (Arg(shape),), {"blocksize": block, **({"mode": d.one("DCR", "CRD")} if deep else {})})


def _recurrent(op: str, d: Draw) -> Case:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    both, batch, features, hidden = d.chance(0.25), d.one(1, 1, 2), d.one(2, 3, 6), d.one(2, 3, 4)
    steps, directions = d.rng.randint(1, 3), 2 if both else 1
    more: dict[str, Any] = {"hidden_size": hidden}
    if both or d.chance(0.2):
        more["direction"] = "bidirectional" if both else "reverse"
    if op == "GRU" and (both or d.chance(0.7)):
        more["linear_before_reset"] = 1  # as PyTorch has it; the other kind takes a compiler minutes unless it is small
    elif op == "GRU":
        steps = 1
    weights = [Arg((directions, gates * hidden, n), constant=True, kind="unit") for n in (features, hidden)]
    bias = Arg((directions, 2 * gates * hidden), constant=True, kind="unit") if d.chance(0.8) else None
    state = Arg((directions, batch, hidden), constant=d.chance(0.5), kind="unit")
    states = [None, *[state] * (2 if op == "LSTM" else 1)] if d.chance(0.4) else []
    args = (Arg((steps, batch, features)), *weights, bias, *states)
    return Case(op, "", args, more, outputs=d.one(1, 1, 2, 3 if op == "LSTM" else 2))


Form = Callable[[str, Draw], Case]


def _table(families: Sequence[tuple[Form, str]]) -> dict[str, Form]:
    return {op: form for form, ops in families for op in ops.split()}


_FLOATS: Final[Mapping[str, Mapping[str, Sequence[Any]]]] = {
    "LeakyRelu": {"alpha": (0.01, 0.1, 0.2)},
    "Elu": {"alpha": (1.0, 0.5)},
    "Celu": {"alpha": (1.0, 0.5)},
    "HardSigmoid": {"alpha": (0.2, 1 / 6), "beta": (0.5, 0.3)},
    "Gelu": {"approximate": ("none", "tanh")},
    "ThresholdedRelu": {"alpha": (1.0, 0.5)},
    "Shrink": {"lambd": (0.5, 0.3), "bias": (0.0, 0.2)},
}
FORMS: Final[Mapping[str, Form]] = _table((
    (_unary, "Abs Neg Relu Sigmoid Tanh Exp Erf HardSwish HardSigmoid LeakyRelu Elu Selu Celu Gelu Mish Softplus"),
    (_unary, "Softsign ThresholdedRelu Floor Ceil Round Sign Sin Cos Atan Sinh Cosh Asinh Identity Shrink IsNaN IsInf"),
    (_unary, "Sqrt Log Reciprocal Asin Acos Atanh Tan Not"),
    (_binary, "Add Sub Mul Div Pow Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor"),
    (_variadic, "Max Min Sum Mean"),
    (_concat, "Concat"),
    (_conv, "Conv ConvTranspose"),
    (_pool, "AveragePool MaxPool LpPool"),
    (_global, "GlobalAveragePool GlobalMaxPool"),
    (_normalize, "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization"),
    (_reduce, "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceProd"),
    (_reduce, "ReduceLogSumExp"),
    (_axis, "Softmax LogSoftmax Hardmax ArgMax ArgMin"),
    (_topk, "TopK"),
    (_matmul, "MatMul"),
    (_gemm, "Gemm"),
    (_reshape, "Reshape"),
    (_flatten, "Flatten"),
    (_squeeze, "Squeeze Unsqueeze"),
    (_transpose, "Transpose"),
    (_slice, "Slice"),
    (_split, "Split"),
    (_pad, "Pad"),
    (_resize, "Resize"),
    (_gather, "Gather"),
    (_expand, "Expand Tile"),
    (_where, "Where"),
    (_prelu, "PRelu"),
    (_clip, "Clip"),
    (_cast, "Cast"),
    (_blocks, "DepthToSpace SpaceToDepth"),
    (_recurrent, " ".join(RECURRENT)),
))  # fmt: skip
"""The forms by operator."""
