"""Compute an operator in another element type where a backend has no kernel for the tensor's own.

    x[int8] ─ Mul ─ y              becomes      x ─ Cast(int32) ─ Mul ─ Cast(int8) ─ y
    x[float16] ─ Exp ─ y           becomes      x ─ Cast(float) ─ Exp ─ Cast(float16) ─ y

int8, uint8, int16 and uint16 are computed as int32, uint32 as int64, booleans are compared and chosen as int32: exact,
since a Cast back to fewer bits keeps the low ones (ONNX, Cast), on which alone sums, differences and products of a
smaller type depend; those of uint32 are right in int32, too. float16, bfloat16 and double are computed as float.
int64 stays: that its numbers are small would have to be proven.
Fidelity: exact for small integers and booleans, rounding for the others.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt.rewrite.rule import Fidelity
from graphopt_passes.legalize.recast import changed, computed_as

_T = ir.DataType
_COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Abs", "Neg", "Sign", "Relu", "Clip", "Where")
_BITS = ("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
_WRAPPING = ("Add", "Sub", "Mul", "Equal", "Where", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
_REDUCTIONS = ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ArgMax", "ArgMin")
_FUNCTIONS = (
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "CumSum", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mean", "Mish", "PRelu", "Pow",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceSumSquare", "Round",
    "Selu", "Shrink", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sum", "SwiGLU", "Swish", "Tan",
    "Tanh", "ThresholdedRelu",
)  # fmt: skip
_LAYERS = (
    "Attention", "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DeformConv", "DepthToSpace", "Det",
    "Einsum", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample", "GroupNormalization",
    "Hardmax", "InstanceNormalization", "LRN", "LayerNormalization", "LogSoftmax", "LpNormalization", "LpPool",
    "MatMul", "MaxPool", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss", "RMSNormalization", "Resize",
    "RoiAlign", "RotaryEmbedding", "Softmax", "SoftmaxCrossEntropyLoss", "SpaceToDepth",
)  # fmt: skip
_SMALL = (_T.INT8, _T.UINT8, _T.INT16, _T.UINT16)
FLOAT_OPERATORS = (*_ARITHMETIC, *_COMPARISONS, *_REDUCTIONS, *_FUNCTIONS, *_LAYERS)
"""Operators whose schema admits float wherever it admits another floating-point type."""


def _in(
    name: str, types: tuple[str, ...], narrow: tuple[_T, ...], wide: _T, fidelity: Fidelity, *, wraps: bool = False
) -> Rule:
    one = rule(name, fidelity=fidelity)(lambda p: p.op(types, p.rest("inputs")))

    @one.require("only its first output is read")
    def _(m):
        return not any(is_read(value) or value.is_graph_output() for value in m.root.outputs[1:])

    @one.require("it computes in one of its types")
    def _(m):
        if computed_as(m.root, narrow) is not None:
            return True
        return f"none of its inputs is {' or '.join(one.name.lower() for one in narrow)}"

    @one.replace
    def _(op, m):
        return changed(op, m.root, computed_as(m.root, narrow), wide, wraps=wraps)[0]

    return one


small = _in("small-integers-in-int32", (*_ARITHMETIC, *_COMPARISONS, *_BITS, *_REDUCTIONS), _SMALL, _T.INT32, "exact")
turned = _in("complement-in-int32", ("BitwiseNot",), (_T.INT8, _T.INT16), _T.INT32, "exact")
boolean = _in("bool-in-int32", ("Equal", "Where"), (_T.BOOL,), _T.INT32, "exact")
ordered = _in("uint32-in-int64", (*_ARITHMETIC, *_COMPARISONS, *_REDUCTIONS), (_T.UINT32,), _T.INT64, "exact")
wrapping = _in("uint32-in-int32", _WRAPPING, (_T.UINT32,), _T.INT32, "exact", wraps=True)
half = _in("float16-in-float", FLOAT_OPERATORS, (_T.FLOAT16, _T.BFLOAT16), _T.FLOAT, "rounding")
double = _in("double-in-float", FLOAT_OPERATORS, (_T.DOUBLE,), _T.FLOAT, "rounding")


def _operands(g, dtype: int):
    shape = g.shape()
    return g.input(shape, dtype), g.input(shape, dtype)


@small.example
def _(g):
    g.since(14)
    a, b = _operands(g, g.pick([2, 3, 4, 5]))
    g.output(g.op(g.pick(["Add", "Sub", "Mul"]), a, b))


@small.example
def _(g):
    dtype, kind = g.pick([(2, np.uint8), (3, np.int8)])
    x = g.input(g.shape(), dtype)
    g.output(g.Clip(x, g.constant(np.array(3, kind)), g.constant(np.array(70, kind))))


@small.example
def _(g):
    a, b = _operands(g, g.pick([2, 3]))
    g.output(g.op(g.pick(["Max", "Min"]), a, b))


@turned.example
def _(g):
    g.since(18)
    g.output(g.BitwiseNot(g.input(g.shape(), g.pick([3, 5]))))


@boolean.example
def _(g):
    shape = g.shape()
    a, b = (g.Greater(g.input(shape), g.constant(0.0)) for _ in range(2))
    g.output(g.Equal(a, b) if g.flag() else g.Where(g.Less(g.input(shape), g.constant(0.0)), a, b))


@ordered.example
def _(g):
    # not Max: onnxruntime compares only the low halves of int64 there
    x = g.input(g.shape(), 12)
    g.output(g.Div(x, g.constant(np.array(g.integer(1, 9), np.uint32))))


@wrapping.example
def _(g):
    a, b = _operands(g, 12)
    g.output(g.op(g.pick(["Add", "Sub", "Mul"]), a, b))


@half.example
def _(g):
    x = g.Tanh(g.input(g.shape(), 10))
    g.output(g.op(g.pick(["Sin", "Sigmoid", "Exp", "Neg"]), x))


@double.example
def _(g):
    x = g.Tanh(g.input(g.shape(), g.DOUBLE))
    g.output(g.op(g.pick(["Sin", "Sigmoid", "Exp", "Abs"]), x))


class ComputeInWiderType(Substitution):
    """Compute in int32 or float what has a type that the backend lacks."""

    name = "compute-in-wider-type"
    rules = (small, turned, boolean, ordered, wrapping, half, double)
