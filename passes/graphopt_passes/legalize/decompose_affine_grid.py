"""Make the grid of an affine map by a MatMul.

    θ[N, r, r + 1] ─ AffineGrid(size) ─ y[N, …, r]      becomes      θᵀ ─ MatMul(places [P, r + 1], θᵀ) ─ Reshape ─ y

A row of `places` is a place in the output from −1 to 1, the last axis first, and a 1 (Jaderberg et al.,
arXiv:1506.02025, equation 1); without align_corners, ±1 are the edges of the first and last element and not their
centers. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape, transpose
from graphopt_passes.scalars import is_float


@rule("grid-by-matmul", fidelity="rounding")
def grid(p):
    return p.AffineGrid(p.theta, p.constant("size"))


@grid.require("it is floating point")
def _(m):
    return is_float(m.theta)


@grid.replace
def _(op, m):
    batch, _, *sizes = m.size.tolist()
    if attribute(m.root, "align_corners"):
        ticks = [np.arange(size) * 2 / max(size - 1, 1) - 1 for size in sizes]
    else:
        ticks = [(2 * np.arange(size) + 1) / size - 1 for size in sizes]
    places = np.meshgrid(*ticks, indexing="ij")[::-1]
    rows = np.stack([*places, np.ones(sizes)], axis=-1).reshape(-1, len(sizes) + 1)
    found = op.MatMul(rows.astype(m.theta.dtype.numpy()), transpose(op, m.theta, [0, 2, 1]))
    return reshape(op, found, [batch, *sizes, len(sizes)])


@grid.example
def _(g):
    g.since(20)
    rank, batch = g.integer(2, 3), g.integer(1, 2)
    size = [batch, 1, *(g.integer(2, 4) for _ in range(rank))]
    theta = g.input([batch, rank, rank + 1], static=True, finite=True)
    made = g.AffineGrid(theta, g.constant(np.array(size, np.int64)), align_corners=g.integer(0, 1))
    g.output(made, rank + 2)


class DecomposeAffineGrid(Substitution):
    """Write AffineGrid as a MatMul."""

    name = "decompose-affine-grid"
    rules = (grid,)
