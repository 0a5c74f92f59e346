"""What the models of ai.onnx.ml do to samples at their beginning and to scores at their end."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.rewrite.rule import Builder

DOMAIN = "ai.onnx.ml"


def as_float(op: Builder, x: ir.Value) -> ir.Value:
    """Samples of any number type as float, in which these models are computed.

    Raises:
        Declined: they are strings.
    """
    if x.dtype == ir.DataType.FLOAT:
        return x
    if x.dtype is None or x.dtype == ir.DataType.STRING:
        raise op.decline("it reads strings, which no device has: encode them outside the model")
    made: ir.Value = op.Cast(x, to=int(ir.DataType.FLOAT))
    return made


def transformed(op: Builder, scores: ir.Value, how: str | None) -> ir.Value:
    """Scores [samples, classes] after a post-transform (ai.onnx.ml, attribute `post_transform`).

    Raises:
        Declined: it is PROBIT or SOFTMAX_ZERO.
    """
    made: ir.Value
    if how in (None, "NONE"):
        made = scores
    elif how == "LOGISTIC":
        made = op.Sigmoid(scores)
    elif how == "SOFTMAX":
        made = op.Softmax(scores, axis=1)
    else:
        raise op.decline(f"its post-transform is {how}: apply it outside the model")
    return made


def labelled(op: Builder, scores: ir.Value, labels: np.ndarray) -> ir.Value:
    """The label of the highest score [samples, classes], the first of several; looked up in int32 where they fit."""
    best: ir.Value = op.ArgMax(scores, axis=1, keepdims=0)
    narrow = labels.astype(np.int32)
    if np.array_equal(labels, np.arange(len(labels))):
        label = best
    elif np.array_equal(narrow, labels):
        label = op.Cast(op.Gather(narrow, best), to=int(ir.DataType.INT64))
    else:
        label = op.Gather(labels, best)
    return label
