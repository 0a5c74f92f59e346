"""Write QuantizeLinear and DequantizeLinear out in arithmetic, for backends that lack their types, axes or blocks.

    x ─ QuantizeLinear(s, z) ─ q        becomes      q = Cast(Clip(Round(x / s) + z, least, largest))
    q ─ DequantizeLinear(s, z) ─ x      becomes      x = (Cast(q) - z) · s
    x ─ QuantizeLinear ─ DequantizeLinear(s, z) ─ y      becomes      y = (Clip(Round(x / s) + z, …) - z) · s

Round takes halves to the even neighbor, as the standard wants. What was quantized just before is dequantized without
the detour over integers. A constant is dequantized at once. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.quantized import CAST_SINCE, RANGES, before_cast, divided, multiplied
from graphopt_passes.scalars import is_float

_T = ir.DataType
_DOMAINS = ("", "com.microsoft")
_WORDS = {"": "", "com.microsoft": "-contrib"}
_AXIS = 1
_TO_FLOAT = (*RANGES, _T.INT32)


def _axis(node):
    given = attribute(node, "axis")
    return _AXIS if given is None else given


def _kind(node):
    """The type that a QuantizeLinear makes."""
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return node.inputs[2].dtype
    return _T(attribute(node, "output_dtype") or _T.UINT8)


def _quantizable(m):
    node = m.quantize
    x, scale = node.inputs[:2]
    if not (is_float(x) or x.dtype == _T.INT32) or not is_float(scale):
        return "it does not quantize floating-point numbers"
    kind = _kind(node)
    if kind is None:
        return "the type of its zero point is not known"
    return kind in RANGES or f"its result is {kind.name.lower()}, which is no integer"


def _clipped(op, node):
    x, scale, zero = (*node.inputs, None)[:3]
    return divided(op, x, scale, zero, _kind(node), _axis(node), attribute(node, "block_size") or 0)


def _quantize(domain):
    made = Rule(
        f"write-out-quantize{_WORDS[domain]}", "rounding",
        lambda p: p.op("QuantizeLinear", p.rest("inputs"), as_="quantize", domain=domain),
    )  # fmt: skip
    made.require("its types are numbers")(_quantizable)

    @made.replace
    def _(op, m):
        kind = _kind(m.quantize)
        if op.opset < CAST_SINCE.get(kind, 1):
            raise op.decline(f"Cast knows {kind.name.lower()} from opset {CAST_SINCE[kind]} on")
        return op.Cast(_clipped(op, m.quantize), to=int(kind))

    made.example(lambda g: _quantize_example(g, domain))
    return made


def scaled(op, node, x, like):
    """x, which has the shape of `like`, as a DequantizeLinear would take it."""
    scale, zero = (*node.inputs[1:], None)[:2]
    made = multiplied(op, x, scale, zero, _axis(node), attribute(node, "block_size") or 0, like)
    wanted = attribute(node, "output_dtype") or int(scale.dtype)
    return made if wanted == int(_T.FLOAT) else op.Cast(made, to=wanted)


def _dequantizable(m):
    return is_float(m.dequantize.inputs[1]) or "its scale is not floating point"


def _dequantize(domain):
    made = Rule(
        f"write-out-dequantize{_WORDS[domain]}", "rounding",
        lambda p: p.op("DequantizeLinear", p.rest("inputs"), as_="dequantize", domain=domain),
    )  # fmt: skip
    made.require("its scale is floating point")(_dequantizable)

    @made.require("it reads integers")
    def _(m):
        x = m.dequantize.inputs[0]
        return x.dtype in _TO_FLOAT or (f"it reads {x.dtype.name.lower()}" if x.dtype else "its type is not known")

    made.replace(lambda op, m: scaled(op, m.dequantize, *[m.dequantize.inputs[0]] * 2))
    made.example(lambda g: _dequantize_example(g, domain))
    return made


def _pair(domain):
    def pattern(p):
        quantized = p.op("QuantizeLinear", p.rest("read"), as_="quantize", domain=domain, shared=True)
        return p.op("DequantizeLinear", quantized, p.rest("inputs"), as_="dequantize", domain=domain)

    made = Rule(f"fake-quantize{_WORDS[domain]}", "rounding", pattern)
    made.require("its types are numbers")(_quantizable)
    made.require("its scale is floating point")(_dequantizable)
    made.replace(lambda op, m: scaled(op, m.dequantize, _clipped(op, m.quantize), m.quantize.inputs[0]))

    @made.example
    def _(g):
        x, scale, zero, options = _random(g)
        q = g.op("QuantizeLinear", x, scale, zero, domain=domain, **options)
        g.output(g.op("DequantizeLinear", q, scale, zero, domain=domain, **options), 3)

    return made


def _written(domain):
    def pattern(p):
        # as deep as DynamicQuantizeLinear written out, whose zero point is rounded, too
        offset = p.either(p.Clip(p.Round(p.z, shared=True), p.least, p.most, shared=True), p.value())
        total = p.either(p.Round(p.x, shared=True), p.Add(p.Round(p.x, shared=True), offset, shared=True))
        cast = p.Cast(p.Clip(total, p.low, p.high, shared=True), shared=True)
        return p.op("DequantizeLinear", cast, p.rest("inputs"), as_="dequantize", domain=domain)

    made = Rule(f"dequantize-rounded{_WORDS[domain]}", "rounding", pattern)
    made.require("its scale is floating point")(_dequantizable)

    @made.require("whole numbers within the integer's range are cast")
    def _(m):
        return before_cast(m.dequantize.inputs[0]) is not None

    @made.replace
    def _(op, m):
        x = m.dequantize.inputs[0]
        return scaled(op, m.dequantize, before_cast(x), x)

    @made.example
    def _(g):
        x = g.Round(g.input(g.shape(), finite=True))
        x = g.Add(x, g.constant(np.float32(g.integer(0, 9)))) if g.flag() else x
        x = g.Clip(x, g.constant(np.float32(0)), g.constant(np.float32(255)))
        zero = g.constant(np.array(g.integer(0, 9), np.uint8))
        g.output(g.op("DequantizeLinear", g.Cast(x, to=2), g.constant(g.positive()), zero, domain=domain), 1)

    return made


def _random(g):
    shape = g.shape(2, 4)
    kind = g.pick([np.uint8, np.int8])
    wide = [] if g.flag() else [shape[1]]
    scale = g.constant(g.positive(*wide) * np.float32(0.37))
    zero = g.constant(np.full(wide, g.integer(0, 100), kind))
    return g.input(shape, finite=True, static=True), scale, zero, ({"axis": 1} if wide else {})


def _quantize_example(g, domain):
    x, scale, zero, options = _random(g)
    g.output(g.Cast(g.op("QuantizeLinear", x, scale, zero, domain=domain, **options), to=g.FLOAT), 3)


def _dequantize_example(g, domain):
    shape = g.shape(2, 4)
    dtype, kind = g.pick([(2, np.uint8), (3, np.int8)])
    wide = [] if g.flag() else [shape[1]]
    scale, zero = g.constant(g.positive(*wide)), g.constant(np.full(wide, g.integer(0, 100), kind))
    g.output(
        g.op("DequantizeLinear", g.input(shape, dtype), scale, zero, domain=domain, **({"axis": 1} if wide else {})), 3
    )


class DecomposeQuantize(Substitution):
    """Write QuantizeLinear and DequantizeLinear as divisions, sums, products and Round."""

    name = "decompose-quantize"
    rules = tuple(make(domain) for domain in _DOMAINS for make in (_written, _pair, _dequantize, _quantize))
