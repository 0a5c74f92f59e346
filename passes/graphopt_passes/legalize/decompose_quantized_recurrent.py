"""Write com.microsoft's DynamicQuantizeLSTM as an LSTM whose weights are dequantized.

    x ─ DynamicQuantizeLSTM(w, r, sw, zw, sr, zr) ─ y      becomes      x ─ LSTM((w − zw)·sw, (r − zr)·sr) ─ y

Its weights are [directions, inputs, 4·hidden], those of LSTM the other way round. The original rounds what goes into
each product to 256 codes over its range in that run and step, which the LSTM does not: it is nearer to the layer
before quantization, and as far from the original as those roundings are: on 1500 layers of the example 39 dB at worst
and 69 dB in the middle, without a bias 28 and 54 dB. Fidelity: rounding, of numbers of eight bits.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, static_shape
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.quantized import lazy

_CONTRIB = "com.microsoft"
_FLOAT = int(ir.DataType.FLOAT)


def _weights(op, quantized, scale, zero):
    """Weights as LSTM has them, in float32."""
    shape, sizes = static_shape(quantized), static_shape(scale)
    if shape is None or sizes is None or len(shape) != 3:
        raise op.decline("the sizes of its weights are not known")
    # one scale for a direction, or one for each column of it
    wide = [shape[0], 1, 1 if len(sizes) < 2 else shape[2]]
    tensors = [constant(one) for one in (quantized, scale, zero)]
    if None not in tensors:
        return op.constant(lazy([shape[0], shape[2], shape[1]], lambda: _dequantized(*tensors, wide)))
    target = np.array(wide, np.int64)
    codes = op.Sub(op.Cast(quantized, to=_FLOAT), op.Reshape(op.Cast(zero, to=_FLOAT), target))
    return op.Transpose(op.Mul(codes, op.Reshape(scale, target)), perm=[0, 2, 1])


def _dequantized(quantized, scale, zero, wide):
    numbers, factor, offset = (one.numpy().astype(np.float32) for one in (quantized, scale, zero))
    return ((numbers - offset.reshape(wide)) * factor.reshape(wide)).transpose(0, 2, 1)


def _replace(op, m):
    w, r = _weights(op, m.w, m.sw, m.zw), _weights(op, m.r, m.sr, m.zr)
    made = op.LSTM(m.x, w, r, m.b, m.lengths, m.h, m.c, m.p, outputs=len(m.layer.outputs), like=m.layer)
    return made if len(m.layer.outputs) > 1 else (made,)


def _rule(outputs):
    def pattern(p):
        rest = [p.optional(one) for one in (p.b, p.lengths, p.h, p.c, p.p)]
        made = p.DynamicQuantizeLSTM(
            p.x, p.w, p.r, *rest, p.sw, p.zw, p.sr, p.zr, as_="layer", domain=_CONTRIB,
            where=lambda node: len(node.outputs) == outputs,
        )  # fmt: skip
        return tuple(made[index] for index in range(outputs))

    one = Rule(f"dequantize-lstm-{outputs}", "rounding", pattern)
    one.replace(_replace)
    one.example(lambda g: _example(g, outputs))
    return one


def _example(g, outputs):
    steps, batch, width, hidden = g.integer(1, 3), g.integer(1, 3), *(g.integer(2, 4) for _ in range(2))
    direction = g.pick(["forward", "reverse", "bidirectional"])
    count, by_column = 2 if direction == "bidirectional" else 1, g.flag()
    kind = g.pick([np.int8, np.uint8])
    x = g.Tanh(g.input([steps, batch, width], static=True, finite=True))
    weights, grids = [], []
    for rows in (width, hidden):
        middle = 0 if kind is np.int8 else 128
        weights.append(g.constant((np.clip(g.normal(count, rows, 4 * hidden) * 40, -127, 127) + middle).astype(kind)))
        wide = (count, 4 * hidden) if by_column else (count,)
        grids += [g.constant(g.positive(*wide) * np.float32(0.01)), g.constant(np.full(wide, middle, kind))]
    # without a bias a sum may cancel, and then little but the rounding to codes is left of it
    bias = g.constant(g.positive(count, 8 * hidden))
    states = [g.constant(np.tanh(g.normal(count, batch, hidden))) if g.flag() else None for _ in range(2)]
    made = g.DynamicQuantizeLSTM(
        x, *weights, bias, None, *states, None, *grids, outputs=outputs, domain=_CONTRIB, direction=direction,
        hidden_size=hidden,
    )  # fmt: skip
    for one, rank in zip([made] if outputs == 1 else made, (4, 3, 3), strict=False):
        g.output(one, rank)


class DecomposeQuantizedRecurrent(Substitution):
    """Write DynamicQuantizeLSTM as LSTM with dequantized weights."""

    name = "decompose-quantized-recurrent"
    rules = (_rule(1), _rule(2), _rule(3))
