"""Write what ai.onnx.ml does to features out by operators of the default domain.

    Scaler(x)                   becomes      (x − offset) · scale
    Normalizer(x)               becomes      x / max(x), x / Σ|x| or x / √Σx²; a divisor of zero counts as one
    Imputer(x)                  becomes      Where(x = replaced, imputed, x), with IsNaN where NaN is replaced
    Binarizer(x)                becomes      Cast(x > threshold)
    ArrayFeatureExtractor(x)    becomes      Gather along the last axis
    FeatureVectorizer(x, …)     becomes      Concat along the last axis
    OneHotEncoder(x)            becomes      Cast(x = categories)
    LabelEncoder(x)             becomes      Gather(values, the number of the key that x equals, or of the default)

Strings stay where they are: no device has them. Fidelity: rounding (exact but for Scaler and Normalizer).
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.class_scores import DOMAIN, as_float
from graphopt_passes.legalize.positions import held, reshaped
from graphopt_passes.scalars import is_float, number

_T = ir.DataType
_FLOAT = int(_T.FLOAT)


def _rule(name, op_type, fidelity="exact"):
    return rule(name, fidelity=fidelity)(lambda p: p.op(op_type, p.x, domain=DOMAIN))


scaler = _rule("scale-features", "Scaler", "rounding")
normalizer = _rule("normalize-features", "Normalizer", "rounding")
imputer = _rule("impute-features", "Imputer")
binarizer = _rule("binarize-features", "Binarizer")
one_hot = _rule("one-hot-features", "OneHotEncoder")
encoder = _rule("encode-labels", "LabelEncoder")


@rule("extract-features", fidelity="exact")
def extractor(p):
    return p.op("ArrayFeatureExtractor", p.x, p.index, domain=DOMAIN)


@rule("join-features", fidelity="rounding")
def vectorizer(p):
    return p.op("FeatureVectorizer", p.rest("parts"), domain=DOMAIN)


@scaler.replace
def _(op, m):
    x = as_float(op, m.x)
    offset, scale = (np.array(attribute(m.root, name) or [0 if name == "offset" else 1], np.float32)
                     for name in ("offset", "scale"))  # fmt: skip
    return op.Mul(op.Sub(x, offset), scale)


@normalizer.require("its rank is known")
def _(m):
    return bool(shape_of(m.x))


@normalizer.replace
def _(op, m):
    x, axis = as_float(op, m.x), [len(shape_of(m.x)) - 1]
    how = attribute(m.root, "norm")
    if how == "MAX":
        divisor = reduce(op, "ReduceMax", x, axis)
    else:
        divisor = reduce(op, {"L1": "ReduceL1", "L2": "ReduceL2"}[how], x, axis)
    zero = op.Equal(divisor, np.float32(0))
    return op.Div(x, op.Where(zero, np.float32(1), divisor))


@imputer.require("it is float, with float attributes, or int64")
def _(m):
    return m.x.dtype in (_T.FLOAT, _T.INT64) and attribute(m.root, _imputed(m)) is not None


def _imputed(m) -> str:
    return "imputed_value_floats" if m.x.dtype == _T.FLOAT else "imputed_value_int64s"


@imputer.replace
def _(op, m):
    kind = m.x.dtype.numpy()
    values = np.array(attribute(m.root, _imputed(m)), kind)
    replaced = attribute(m.root, "replaced_value_float" if m.x.dtype == _T.FLOAT else "replaced_value_int64") or 0
    found = op.IsNaN(m.x) if math.isnan(replaced) else op.Equal(m.x, np.array(replaced, kind))
    return op.Where(found, values if values.size > 1 else values.reshape(()), m.x)


@binarizer.require("it is a number")
def _(m):
    return is_float(m.x) or m.x.dtype in (_T.INT32, _T.INT64)


@binarizer.replace
def _(op, m):
    return op.Cast(op.Greater(m.x, number(m.x, attribute(m.root, "threshold"))), to=int(m.x.dtype))


@extractor.require("its rank is known, and it is of numbers")
def _(m):
    return bool(shape_of(m.x)) and m.x.dtype != _T.STRING


@extractor.replace
def _(op, m):
    axis = len(shape_of(m.x)) - 1
    known = held(m.index)
    index = known.reshape(-1) if known is not None else op.Reshape(m.index, np.array([-1]))
    picked = op.Gather(m.x, index, axis=axis)
    return picked if axis else op.Reshape(picked, np.array([1, -1]))


@vectorizer.replace
def _(op, m):
    shapes = [static_shape(part) for part in m.parts]
    sizes = attribute(m.root, "inputdimensions")
    if None in shapes or sizes is None:
        raise op.decline("its inputs must have static shapes: fix them with --dim")
    rows = [(1 if len(shape) == 1 else shape[0], math.prod(shape[1:] if len(shape) > 1 else shape)) for shape in shapes]
    if [row[1] for row in rows] != list(sizes):
        raise op.decline("its inputs do not have the sizes that its attribute says")
    parts = [reshaped(op, as_float(op, part), row) for part, row in zip(m.parts, rows, strict=True)]
    return op.Concat(*parts, axis=1)


@one_hot.require("its categories are integers, and what is of none of them is zeros")
def _(m):
    return bool(attribute(m.root, "cats_int64s")) and bool(attribute(m.root, "zeros")) and m.x.dtype != _T.STRING


@one_hot.require("no category is named twice")
def _(m):
    categories = attribute(m.root, "cats_int64s")
    return len(set(categories)) == len(categories)


@one_hot.require("its rank is known")
def _(m):
    return shape_of(m.x) is not None


@one_hot.replace
def _(op, m):
    x = m.x if m.x.dtype in (_T.INT32, _T.INT64) else op.Cast(m.x, to=int(_T.INT64))
    categories = np.array(attribute(m.root, "cats_int64s"), x.dtype.numpy() if x is m.x else np.int64)
    return op.Cast(op.Equal(_with_last(op, x, len(shape_of(m.x))), categories), to=_FLOAT)


def _with_last(op, x, rank):
    if op.opset >= 13:
        return op.Unsqueeze(x, np.array([rank]))
    return op.Unsqueeze(x, axes=[rank])


def _table(node: ir.Node, side: str) -> np.ndarray | None:
    """Keys or values of a LabelEncoder that are numbers."""
    tensor = attribute(node, f"{side}_tensor")
    if tensor is not None:
        return None if tensor.dtype == _T.STRING else tensor.numpy().reshape(-1)
    for name, kind in (("int64s", np.int64), ("floats", np.float32)):
        given = attribute(node, f"{side}_{name}")
        if given:
            return np.array(given, kind)
    return None


@encoder.require("its keys and values are numbers: no device has strings")
def _(m):
    keys, values = _table(m.root, "keys"), _table(m.root, "values")
    return keys is not None and values is not None and not np.isnan(keys).any()


@encoder.require("no key is named twice")
def _(m):
    keys = _table(m.root, "keys")
    return np.unique(keys).size == keys.size


@encoder.require("its rank is known")
def _(m):
    return shape_of(m.x) is not None


@encoder.replace
def _(op, m):
    keys, values = _table(m.root, "keys"), _table(m.root, "values")
    tensor = attribute(m.root, "default_tensor")
    plain = attribute(m.root, "default_int64" if values.dtype.kind == "i" else "default_float")
    default = (np.array(plain) if tensor is None else tensor.numpy()).reshape(-1).astype(values.dtype)
    numbers = np.arange(1, 1 + len(keys), dtype=np.int32)
    equal = op.Equal(_with_last(op, m.x, len(shape_of(m.x))), keys.astype(m.x.dtype.numpy()))
    place = reduce(op, "ReduceMax", op.Where(equal, numbers, np.int32(0)), [len(shape_of(m.x))], keepdims=False)
    return op.Gather(np.concatenate([default, values]), place, axis=0)


def _features(g, dtype=1):
    return g.input([g.integer(1, 4), 3], dtype)


def _op(g, op_type, *inputs, rank=2, **options):
    g.since(3, DOMAIN)
    g.output(g.op(op_type, *inputs, domain=DOMAIN, **options), rank)


@scaler.example
def _(g):
    size = g.pick([1, 3])
    x = _features(g, g.pick([g.FLOAT, g.INT64]))
    _op(g, "Scaler", x, offset=g.normal(size).tolist(), scale=g.positive(size).tolist())


@normalizer.example
def _(g):
    _op(g, "Normalizer", g.Exp(g.Tanh(_features(g))), norm=g.pick(["MAX", "L1", "L2"]))


@imputer.example
def _(g):
    values = g.normal(g.pick([1, 3])).tolist()
    x = _features(g)
    replaced = g.pick([0.0, float("nan")])
    _op(g, "Imputer", x, imputed_value_floats=values, replaced_value_float=replaced)


@binarizer.example
def _(g):
    _op(g, "Binarizer", _features(g), threshold=g.integer(-1, 1) / 2)


@extractor.example
def _(g):
    shape = [*g.shape(most=2), 3]
    index = g.constant(np.array([g.integer(0, 2) for _ in range(g.integer(1, 3))]))
    _op(g, "ArrayFeatureExtractor", g.input(shape, g.pick([g.FLOAT, g.INT64])), index, rank=max(2, len(shape)))


@vectorizer.example
def _(g):
    rows = g.integer(1, 3)
    sizes = [g.integer(1, 3) for _ in range(g.integer(1, 3))]
    dtype = g.pick([g.FLOAT, g.INT64])
    parts = [g.input([rows, size], dtype, static=True) for size in sizes]
    _op(g, "FeatureVectorizer", *parts, inputdimensions=sizes)


@one_hot.example
def _(g):
    x = g.indices(0, 3, g.shape(least=1, most=2), computed=True, long=True)
    _op(g, "OneHotEncoder", x, cats_int64s=g.permutation(4)[: g.integer(1, 4)], zeros=1)


@encoder.example
def _(g):
    keys = g.permutation(4)[: g.integer(1, 4)]
    values = g.pick([{"values_int64s": [7 * key for key in keys], "default_int64": -5},
                     {"values_floats": [0.5 * key for key in keys], "default_float": 9.0}])  # fmt: skip
    x = g.indices(0, 3, g.shape(least=1, most=2), computed=True, long=True)
    _op(g, "LabelEncoder", x, keys_int64s=keys, **values)


class DecomposeFeatures(Substitution):
    """Write the feature operators of ai.onnx.ml out."""

    name = "decompose-features"
    rules = (scaler, normalizer, imputer, binarizer, extractor, vectorizer, one_hot, encoder)
