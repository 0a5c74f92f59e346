"""What an LSTM, GRU or RNN node says: its activations with their numbers, and its inputs by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.ir.schema import attribute
from graphopt.rewrite import Rule
from graphopt.rewrite.rule import Builder

OUTPUTS = {"LSTM": (1, 2, 3), "GRU": (1, 2), "RNN": (1, 2)}
"""How many outputs a node of each kind may have."""
_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
_NUMBERS = {"affine": 2, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2, "hardsigmoid": 2, "elu": 1}
"""How many numbers, alpha and beta, an activation takes; the others take none."""
_USUAL = {"leakyrelu": (0.01, 0.0), "hardsigmoid": (0.2, 0.5), "elu": (1.0, 0.0), "thresholdedrelu": (1.0, 0.0)}
_INPUTS = ("x", "w", "r", "b", "lengths", "h", "c", "p")
_BOUNDS_AS_INPUT = 11


@dataclass(frozen=True)
class Activation:
    """One activation of a layer, its name in small letters.

    Attributes:
        alpha: None where the node gives no number to an activation that needs one.
    """

    name: str
    alpha: float | None = 0.0
    beta: float | None = 0.0

    def apply(self, op: Builder, x: ir.Value, number: Callable[[float], ir.Value]) -> ir.Value:
        """The nodes that compute it, as the standard defines them under RNN, "Activation functions".

        Args:
            number: makes a constant of the layer's type.

        Raises:
            Declined: it is none of those, or lacks a number.
        """
        if self.alpha is None or self.beta is None:
            raise op.decline(f"the activation {self.name} has no activation_alpha or activation_beta")
        alpha, beta = self.alpha, self.beta
        made: dict[str, Callable[[], Any]] = {
            "sigmoid": lambda: op.Sigmoid(x),
            "tanh": lambda: op.Tanh(x),
            "relu": lambda: op.Relu(x),
            "softsign": lambda: op.Softsign(x),
            "softplus": lambda: op.Softplus(x),
            "elu": lambda: op.Elu(x, alpha=alpha),
            "leakyrelu": lambda: op.LeakyRelu(x, alpha=alpha),
            "thresholdedrelu": lambda: op.ThresholdedRelu(x, alpha=alpha),
            "hardsigmoid": lambda: op.HardSigmoid(x, alpha=alpha, beta=beta),
            "affine": lambda: op.Add(op.Mul(x, number(alpha)), number(beta)),
            "scaledtanh": lambda: op.Mul(op.Tanh(op.Mul(x, number(beta))), number(alpha)),
        }
        if self.name not in made:
            raise op.decline(f"the standard knows no activation {self.name}")
        found: ir.Value = made[self.name]()
        return found


def activations(node: ir.Node) -> list[Activation]:
    """The activations of all directions; numbers go to those that take some, in order, as onnxruntime reads it."""
    directions = 2 if text(node, "direction") == "bidirectional" else 1
    held = attribute(node, "activations")
    names = [_text(one).lower() for one in held] if held else list(_DEFAULTS[node.op_type]) * directions
    numbers = [iter(attribute(node, f"activation_{one}") or ()) for one in ("alpha", "beta")]
    found = []
    for name in names:
        taken = [0.0, 0.0]
        for index in range(_NUMBERS.get(name, 0)):
            taken[index] = next(numbers[index], _USUAL.get(name, (None, None))[index])
        found.append(Activation(name, *taken))
    return found


def spelled(chosen: Iterable[Activation]) -> dict[str, Any]:
    """Activations as attributes of a node."""
    found = list(chosen)
    alphas = [one.alpha for one in found if _NUMBERS.get(one.name, 0) > 0]
    betas = [one.beta for one in found if _NUMBERS.get(one.name, 0) > 1]
    words = {name.lower(): name for name in _SPELLING}
    return {
        "activations": [words.get(one.name, one.name) for one in found],
        "activation_alpha": alphas or None,
        "activation_beta": betas or None,
    }


_SPELLING = (
    "Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign", "Tanh",
    "ThresholdedRelu",
)  # fmt: skip


def numbers_known(node: ir.Node) -> bool:
    """Whether every activation has the numbers that it takes."""
    return all(one.alpha is not None and one.beta is not None for one in activations(node))


def given(node: ir.Node) -> dict[str, ir.Value | None]:
    """Inputs by name: x, w, r, b, lengths, h, c, p; None where left out."""
    held = [*node.inputs, *[None] * (len(_INPUTS) - len(node.inputs))]
    return dict(zip(_INPUTS, held, strict=True))


def text(node: ir.Node, name: str) -> str:
    """An attribute that is a word."""
    return _text(attribute(node, name) or "")


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content


def wanted(value: ir.Value) -> bool:
    """Whether anybody reads an output."""
    return is_read(value) or value.is_graph_output()


def read_or(x: ir.Value | None, found: Sequence[ir.Value | None]) -> list[ir.Value]:
    """What was found, and x for an output that nobody reads: a value that is made would take over its empty name."""
    assert x is not None
    return [x if one is None else one for one in found]


def bounded(op: Builder, x: ir.Value, bound: float | None, number: Callable[[float], ir.Value]) -> ir.Value:
    """x within ±bound, which is None where there is none; `number` makes a constant."""
    if not bound:
        return x
    found: ir.Value
    if op.opset >= _BOUNDS_AS_INPUT:
        found = op.Clip(x, number(-bound), number(bound))
    else:
        found = op.Clip(x, min=-bound, max=bound)
    return found


def rule_for_each(name: str, kinds: Sequence[str] = ("LSTM", "GRU", "RNN")) -> list[tuple[Rule, str, int]]:
    """A rule for each kind of layer and each number of outputs that it may have: (rule, kind, outputs)."""

    def one(kind: str, outputs: int) -> Rule:
        def pattern(p: Any) -> tuple[Any, ...]:
            made = p.op(kind, p.rest("inputs"), where=lambda node: len(node.outputs) == outputs)
            return tuple(made[index] for index in range(outputs))

        return Rule(f"{name}-{kind.lower()}-{outputs}", "rounding", pattern)

    return [(one(kind, outputs), kind, outputs) for kind in kinds for outputs in OUTPUTS[kind]]
