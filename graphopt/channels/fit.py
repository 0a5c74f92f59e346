"""Least squares for a layer: new weights that bring its output back, from rows of inputs and outputs.

    W' = W + (Σ r xᵀ)(Σ x xᵀ + λI)⁻¹,   b' = mean(y) − W' mean(x),   r = y − W x

with x and y centered (He et al. 2017, arXiv:1707.06168, in the form that stays near the weights there are). λ is chosen
on rows held out; where no λ improves on the old weights with a new bias, those stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from graphopt.verify.types import Array

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_ONE_RIDGE = (1e-1,)
_EXPENSIVE = 1500
"""Inputs of a group beyond which only one λ is tried."""


@dataclass
class Sums:
    """Normal equations, gathered row by row.

    Attributes:
        groups, outs, ins: sizes of the layer, of one group.
    """

    groups: int
    outs: int
    ins: int
    count: int = 0
    x: Array = field(init=False)
    y: Array = field(init=False)
    xx: Array = field(init=False)
    yx: Array = field(init=False)
    yy: float = 0.0

    def __post_init__(self) -> None:
        self.x = np.zeros((self.groups, self.ins))
        self.y = np.zeros((self.groups, self.outs))
        self.xx = np.zeros((self.groups, self.ins, self.ins))
        self.yx = np.zeros((self.groups, self.outs, self.ins))

    def add(self, x: Array, y: Array) -> None:
        """Fold in rows, shapes (groups, rows, ins) and (groups, rows, outs)."""
        x, y = x.astype(np.float32), y.astype(np.float32)
        self.count += x.shape[1]
        self.x += x.sum(axis=1, dtype=np.float64)
        self.y += y.sum(axis=1, dtype=np.float64)
        turned = x.transpose(0, 2, 1)
        self.xx += turned @ x
        self.yx += y.transpose(0, 2, 1) @ x
        self.yy += float(np.square(y).sum(dtype=np.float64))

    def __add__(self, other: Sums) -> Sums:
        made = Sums(self.groups, self.outs, self.ins, self.count + other.count)
        for name in ("x", "y", "xx", "yx", "yy"):
            setattr(made, name, getattr(self, name) + getattr(other, name))
        return made

    def centered(self, bias: bool) -> tuple[Array, Array]:
        """Mean products of inputs, and of outputs with inputs; about their means where a bias takes those up."""
        count = max(self.count, 1)
        x, y = self.x / count, self.y / count
        if not bias:
            return self.xx / count, self.yx / count
        return self.xx / count - x[:, :, None] * x[:, None, :], self.yx / count - y[:, :, None] * x[:, None, :]

    def bias(self, weight: Array) -> Array:
        """The bias that makes the means agree, shape (groups, outs)."""
        count = max(self.count, 1)
        return self.y / count - np.einsum("goi,gi->go", weight, self.x / count)  # type: ignore[no-any-return]

    def error(self, weight: Array, bias: Array | None) -> float:
        """The mean square error of weights (groups, outs, ins) with a bias, as a share of the outputs' energy."""
        quadratic = np.einsum("goi,gij,goj->", weight, self.xx, weight, optimize=True)
        total = self.yy + float(quadratic) - 2 * float((weight * self.yx).sum())
        if bias is not None:
            wx = np.einsum("goi,gi->go", weight, self.x)
            total += float((2 * bias * wx - 2 * bias * self.y + self.count * np.square(bias)).sum())
        return total / max(self.yy, 1e-30)


def fit(train: Sums, held: Sums, weight: Array, bias: Array | None) -> tuple[Array, Array | None]:
    """New weights and a new bias (None where the layer cannot have one).

    Args:
        train, held: normal equations of the rows to fit and of those to choose λ by.
        weight: as they are, shape (groups, outs, ins).
        bias: as it is, shape (groups, outs), None where the layer cannot have one.
    """
    whole = train + held
    judge = held if held.count else train
    ridges = _RIDGES if train.ins <= _EXPENSIVE else _ONE_RIDGE
    best, chosen = judge.error(weight, bias), None
    if bias is not None:
        shifted = judge.error(weight, train.bias(weight))
        if shifted < best:
            best, chosen = shifted, -1.0
    for ridge in ridges:
        tried = _solve(train, weight, ridge, bias is not None)
        error = judge.error(tried, train.bias(tried) if bias is not None else None)
        if error < best * (1 - 1e-4):
            best, chosen = error, ridge
    if chosen is None:
        return weight, bias
    new = weight if chosen < 0 else _solve(whole, weight, chosen, bias is not None)
    return new, whole.bias(new) if bias is not None else None


def _solve(sums: Sums, weight: Array, ridge: float, bias: bool) -> Array:
    xx, yx = sums.centered(bias)
    scale = np.maximum(np.trace(xx, axis1=1, axis2=2) / sums.ins, 1e-12)
    damped = xx + ridge * scale[:, None, None] * np.eye(sums.ins)
    residual = yx - weight @ xx
    return weight + np.linalg.solve(damped, residual.transpose(0, 2, 1)).transpose(0, 2, 1)
