"""Put zeros between the elements of a kernel, for backends that do not dilate.

    x ─ Conv(W, dilations d) ─ y      becomes      x ─ Conv(W with d − 1 zeros between elements) ─ y

and the same for ConvTranspose. Holds for numbers: zero times infinity is none. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.decompose_conv_transpose import transpose_example
from graphopt_passes.scalars import is_float


def _several(dilations) -> bool:
    return dilations is not None and max(dilations) > 1


def _pattern(op_type):
    return lambda p: p.op(
        op_type, p.x, p.constant("w"), p.optional(p.b), dilations=p.attribute("steps", where=_several)
    )  # fmt: skip


conv = rule("dilate-conv-kernel", fidelity="rounding")(_pattern("Conv"))
transposed = rule("dilate-conv-transpose-kernel", fidelity="rounding")(_pattern("ConvTranspose"))

for one in (conv, transposed):
    one.require("it is floating point")(lambda m: is_float(m.x))


def spread(kernel: np.ndarray, steps) -> np.ndarray:
    """A kernel [outputs, inputs, …] with steps − 1 zeros between the elements of each spatial axis."""
    sizes = [step * (size - 1) + 1 for step, size in zip(steps, kernel.shape[2:], strict=True)]
    found = np.zeros((*kernel.shape[:2], *sizes), kernel.dtype)
    found[(slice(None), slice(None), *(slice(None, None, step) for step in steps))] = kernel
    return found


def _dilated(op, m):
    kernel = spread(m.w, m.steps)
    return op.op(
        m.root.op_type, m.x, kernel, m.b, like=m.root, dilations=None, kernel_shape=list(kernel.shape[2:])
    )  # fmt: skip


@conv.replace
def _(op, m):
    return _dilated(op, m)


@transposed.replace
def _(op, m):
    return _dilated(op, m)


@conv.example
def _(g):
    rank, groups, a, b = g.integer(1, 3), g.pick([1, 1, 2]), g.integer(1, 2), g.integer(1, 2)
    kernel = [g.integer(1, 3) for _ in range(rank)]
    x = g.input([g.integer(1, 2), groups * a, *(g.integer(5, 7) for _ in range(rank))], finite=True)
    bias = [g.constant(g.normal(groups * b))] if g.flag() else []
    options = {"group": groups, "strides": [g.integer(1, 2) for _ in range(rank)]}
    options["dilations"] = [2, *(g.integer(1, 2) for _ in range(rank - 1))]
    options["pads"] = [g.integer(0, 2) for _ in range(2 * rank)]
    g.output(g.Conv(x, g.constant(g.normal(groups * b, a, *kernel)), *bias, **options), rank + 2)


@transposed.example
def _(g):
    transpose_example(g, dilated=True, known=False)


class DecomposeDilations(Substitution):
    """Put zeros between the elements of kernels of Conv and ConvTranspose."""

    name = "decompose-dilations"
    rules = (conv, transposed)
