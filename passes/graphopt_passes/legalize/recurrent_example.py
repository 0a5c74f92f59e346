"""Random recurrent layers, as examples of the rules that replace them."""

from __future__ import annotations

from typing import Any

import numpy as np

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
_ONE, _TWO = ("LeakyRelu", "Elu"), ("HardSigmoid",)
_NONE = ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")


def example(g: Any, kind: str, outputs: int, directions: int = 1) -> None:
    """A layer of one kind with random geometry, activations and optional inputs; its outputs are the graph's."""
    steps, batch, width, hidden = (g.integer(1, 3) for _ in range(4))
    rows = _GATES[kind] * hidden
    x = g.Tanh(g.input([steps, batch, width], static=True, finite=True))
    w, r = (_weight(g, directions, rows, size) for size in (width, hidden))
    b = _weight(g, directions, 2 * rows) if g.flag() else None
    lengths = g.constant(np.array([g.integer(1, steps) for _ in range(batch)], np.int32)) if g.flag() else None
    held = (directions, batch, hidden)
    states = [g.constant(g.normal(*held)) if g.flag() else None for _ in range(2 if kind == "LSTM" else 1)]
    peepholes = [_weight(g, directions, 3 * hidden)] if kind == "LSTM" and g.flag() else []
    way = "bidirectional" if directions == 2 else g.pick(["forward", "reverse"])
    made = g.op(
        kind, x, w, r, b, lengths, *states, *peepholes, outputs=outputs, hidden_size=hidden, direction=way,
        **_options(g, kind, directions),
    )  # fmt: skip
    for one in [made] if outputs == 1 else made:
        g.output(one)


def _weight(g: Any, *shape: int) -> str:
    return g.constant(g.normal(*shape) * np.float32(0.5))


def _options(g: Any, kind: str, directions: int) -> dict[str, Any]:
    """Attributes: the activations with as many numbers as they take, and what else a kind has."""
    found: dict[str, Any] = {}
    if g.flag():
        names = [g.pick([*_NONE, *_ONE, *_TWO]) for _ in range(_ACTIVATIONS[kind] * directions)]
        found["activations"] = names
        found["activation_alpha"] = [0.1 * g.integer(1, 5) for name in names if name in (*_ONE, *_TWO)]
        found["activation_beta"] = [0.1 * g.integer(1, 5) for name in names if name in _TWO]
        found = {name: content for name, content in found.items() if content}
    if g.flag():
        found["clip"] = g.pick([0.2, 1.0, 5.0])
    if kind == "GRU":
        found["linear_before_reset"] = g.pick([0, 1])
    if kind == "LSTM":
        found["input_forget"] = g.pick([0, 0, 1])
    return found
