"""One step of an LSTM, GRU or RNN, on rows of shape [batch, gates * hidden].

The weights of all gates lie side by side, as ONNX orders them: i, o, f, c of an LSTM; z, r, h of a GRU. A state that
is left out is zero, so the first step has no product with it.

For runtimes that compute in fp16 a cell can be written so that it keeps its precision over hundreds of steps. There
σ(z) near 1 has steps of 2⁻¹¹, and a state that is multiplied by it again and again drifts. So the share that a state
loses, u = 1 - σ(z) = 1 / (1 + eᶻ), is computed instead, of which fp16 keeps 11 bits however small it is:

    c' = f ∘ c + i ∘ g  =  c + (i ∘ g - u ∘ c)               h' = n + z ∘ (h - n)  =  h + u ∘ (n - h)

and the other gates by σ(z) = ½ + ½ tanh(z / 2), since the HTP's tanh is right to the last bit and its σ is off by up to
7·10⁻⁴. Measured on its emulation, layer 3 of a speaker encoder after 160 steps: 54 dB, against 36 dB with σ, and 23 dB
after 40 steps with the HTP's own LSTM.
"""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute
from graphopt.rewrite.rule import Builder
from graphopt_passes.legalize.recurrent import Activation, activations, bounded, given
from graphopt_passes.parts import reshape, transpose
from graphopt_passes.splits import split

Weight = ir.Value | np.ndarray
_SURE = 20.0
"""Beyond ±20 the share 1 / (1 + eᶻ) is all or nothing in float32; beyond -88 and 177 the HTP's Exp is any number."""


@dataclass(frozen=True)
class State:
    """What one step hands to the next: hidden state and, of an LSTM, cell, of [batch, hidden]; None is zero."""

    h: ir.Value | None
    c: ir.Value | None = None
    shown: ir.Value | None = None
    """What the output Y gets."""


def cell_of(op: Builder, node: ir.Node, *, half: bool) -> Cell:
    """The cell of a node with one direction; `half` is the form for fp16."""
    kinds: dict[str, type[Cell]] = {"LSTM": LSTMCell, "GRU": GRUCell, "RNN": RNNCell}
    return kinds[node.op_type](op, node, half)


class Cell(abc.ABC):
    """The weights of one direction, and what is computed with them."""

    gates: ClassVar[int]

    def __init__(self, op: Builder, node: ir.Node, half: bool) -> None:
        inputs, shape = given(node), static_shape(given(node)["r"])
        x, w, r = inputs["x"], inputs["w"], inputs["r"]
        assert x is not None
        assert w is not None
        assert r is not None
        assert x.dtype is not None
        assert shape is not None
        self.op, self.node, self.dtype, self.hidden, self.half = op, node, x.dtype, shape[2], half
        self.activations = activations(node)
        self._numbers: dict[float, ir.Value] = {}
        self.clip = attribute(node, "clip")
        self._w, self._r = w, r
        self.biases = None if inputs["b"] is None else self._halves(inputs["b"])
        """Wb and Rb, of [gates * hidden] each."""

    def project(self, rows: ir.Value) -> ir.Value:
        """What the inputs of all steps add to the gates, of [steps * batch, gates * hidden]."""
        found: ir.Value = self.op.MatMul(rows, self._matrix(self._w))
        bias = self.bias()
        return found if bias is None else self.op.Add(found, bias)

    def bias(self) -> Weight | None:
        """What is added to the gates in every step."""
        return None if self.biases is None else self.sum(*self.biases)

    @functools.cached_property
    def r(self) -> ir.Value:
        """What h is multiplied by, of [hidden, gates * hidden]."""
        return self._matrix(self._r)

    @abc.abstractmethod
    def step(self, z: ir.Value, state: State) -> State:
        """The state after a step whose input adds `z` to the gates."""

    def number(self, content: float) -> ir.Value:
        """A constant of the layer's type, one for all steps."""
        if content not in self._numbers:
            self._numbers[content] = self.op.constant(np.array(content, self.dtype.numpy()))
        return self._numbers[content]

    def act(self, which: Activation, z: ir.Value) -> ir.Value:
        """An activation of what `clip` bounds."""
        op, z = self.op, bounded(self.op, z, self.clip, self.number)
        if not self._by_parts(which):
            return which.apply(op, z, self.number)
        middle = self.number(0.5)
        found: ir.Value = op.Add(op.Mul(op.Tanh(op.Mul(z, middle)), middle), middle)
        return found

    def lost(self, which: Activation, z: ir.Value) -> ir.Value | None:
        """1 - σ(z) as fp16 keeps it; None in the plain form, and where the activation is another."""
        if not self._by_parts(which):
            return None
        op = self.op
        grown = op.Exp(bounded(op, z, min(self.clip or _SURE, _SURE), self.number))
        found: ir.Value = op.Reciprocal(op.Add(grown, self.number(1.0)))
        return found

    def _by_parts(self, which: Activation) -> bool:
        return self.half and which.name == "sigmoid" and self.dtype != ir.DataType.DOUBLE

    def sum(self, a: Weight, b: Weight) -> Weight:
        """a + b, at once where both are constant."""
        return a + b if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else self.op.Add(a, b)

    def plus(self, z: ir.Value, h: ir.Value | None, weights: Weight) -> ir.Value:
        """z + h · weights."""
        return z if h is None else self.op.Add(z, self.op.MatMul(h, weights))

    def parts(self, value: Weight, sizes: list[int], axis: int) -> list[Weight]:
        """Columns of weights or of what they made."""
        if isinstance(value, np.ndarray):
            return [np.ascontiguousarray(one) for one in np.split(value, np.cumsum(sizes)[:-1], axis=axis)]
        return list(split(self.op, value, sizes, axis))

    def shared(self, value: Weight) -> ir.Value:
        """A weight as one value that all steps read."""
        return self.op.constant(value) if isinstance(value, np.ndarray) else value

    def _matrix(self, weights: ir.Value) -> ir.Value:
        """[1, rows, columns] as [columns, rows]."""
        tensor, shape = constant(weights), static_shape(weights)
        if tensor is not None:
            return self.op.constant(np.ascontiguousarray(tensor.numpy()[0].T))
        rows = -1 if shape is None else shape[1]
        return transpose(self.op, reshape(self.op, weights, [rows, -1 if shape is None else shape[2]]), [1, 0])

    def _halves(self, biases: ir.Value) -> tuple[Weight, Weight]:
        size, tensor = self.gates * self.hidden, constant(biases)
        whole: Weight = tensor.numpy()[0] if tensor is not None else reshape(self.op, biases, [2 * size])
        first, second = self.parts(whole, [size, size], 0)
        return first, second


class LSTMCell(Cell):
    """i, o, f = f(…), c = f ∘ c + i ∘ g(…), h = o ∘ h(c)."""

    gates = 4

    def __init__(self, op: Builder, node: ir.Node, half: bool) -> None:
        super().__init__(op, node, half)
        peepholes = given(node)["p"]
        self.peepholes: list[ir.Value | None] = [None] * 3
        if peepholes is not None:
            tensor = constant(peepholes)
            whole: Weight = tensor.numpy()[0] if tensor is not None else reshape(op, peepholes, [3 * self.hidden])
            self.peepholes = [self.shared(one) for one in self.parts(whole, [self.hidden] * 3, 0)]
        self.coupled = bool(attribute(node, "input_forget"))

    def step(self, z: ir.Value, state: State) -> State:
        """See `Cell.step`."""
        op, (f, g, h) = self.op, self.activations
        z, size = self.plus(z, state.h, self.r), self.hidden
        if self.peepholes[0] is None:
            front, forget, block = split(op, z, [2 * size, size, size], 1)
            i, o = split(op, self.act(f, front), [size] * 2, 1)
        else:
            i, o, forget, block = split(op, z, [size] * 4, 1)
            i = self.act(f, self._peeping(i, state.c, 0))
        block = self.act(g, block)
        if state.c is None:
            c = op.Mul(i, block)
        elif self.coupled:
            c = op.Add(state.c, op.Mul(i, op.Sub(block, state.c)))
        else:
            c = self._kept(state.c, self._peeping(forget, state.c, 2), op.Mul(i, block))
        if self.peepholes[1] is not None:
            o = self.act(f, self._peeping(o, c, 1))
        return State(op.Mul(o, h.apply(op, c, self.number)), c)

    def _kept(self, c: ir.Value, forget: ir.Value, new: ir.Value) -> ir.Value:
        op, f = self.op, self.activations[0]
        lost = self.lost(f, forget)
        found: ir.Value
        if lost is None:
            found = op.Add(op.Mul(self.act(f, forget), c), new)
        else:
            found = op.Add(c, op.Sub(new, op.Mul(lost, c)))
        return found

    def _peeping(self, gate: ir.Value, c: ir.Value | None, which: int) -> ir.Value:
        weights = self.peepholes[which]
        return gate if weights is None or c is None else self.op.Add(gate, self.op.Mul(c, weights))


class GRUCell(Cell):
    """z, r = f(…), n = g(…, r), h = (1 - z) ∘ n + z ∘ h, which is n + z ∘ (h - n)."""

    gates = 3

    def __init__(self, op: Builder, node: ir.Node, half: bool) -> None:
        super().__init__(op, node, half)
        self.after = bool(attribute(node, "linear_before_reset"))
        """Whether r multiplies what the weights have made of h, instead of h."""
        two = [2 * self.hidden, self.hidden]
        self.last = None if self.biases is None else self.shared(self.parts(self.biases[1], two, 0)[1])
        if not self.after:
            tensor = constant(self._r)
            whole: Weight = self.r if tensor is None else tensor.numpy()[0].T
            self.early, self.late = (self.shared(one) for one in self.parts(whole, two, 1))

    def bias(self) -> Weight | None:
        """Without Rbh where r multiplies it."""
        if not self.after or self.biases is None:
            return super().bias()
        two = [2 * self.hidden, self.hidden]
        (front, back), (more, _) = (self.parts(one, two, 0) for one in self.biases)
        front = self.sum(front, more)
        if isinstance(front, np.ndarray) and isinstance(back, np.ndarray):
            return np.concatenate([front, back])
        return self.op.Concat(front, back, axis=0)

    def step(self, z: ir.Value, state: State) -> State:
        """See `Cell.step`."""
        op, (f, g) = self.op, self.activations
        ahead, block = split(op, z, [2 * self.hidden, self.hidden], 1)
        recurrent: ir.Value | None
        if self.after:
            recurrent = self.last
            if state.h is not None:
                made, recurrent = split(op, op.MatMul(state.h, self.r), [2 * self.hidden, self.hidden], 1)
                ahead = op.Add(ahead, made)
                recurrent = recurrent if self.last is None else op.Add(recurrent, self.last)
        elif state.h is not None:
            ahead = op.Add(ahead, op.MatMul(state.h, self.early))
        update, reset = split(op, ahead, [self.hidden] * 2, 1)
        reset = self.act(f, reset)
        if self.after and recurrent is not None:
            block = op.Add(block, op.Mul(reset, recurrent))
        elif not self.after and state.h is not None:
            block = op.Add(block, op.MatMul(op.Mul(reset, state.h), self.late))
        new, lost = self.act(g, block), self.lost(f, update)
        if lost is not None:
            found = op.Mul(lost, new) if state.h is None else op.Add(state.h, op.Mul(lost, op.Sub(new, state.h)))
            return State(found)
        update = self.act(f, update)
        if state.h is None:
            return State(op.Sub(new, op.Mul(update, new)))
        return State(op.Add(new, op.Mul(update, op.Sub(state.h, new))))


class RNNCell(Cell):
    """h = f(…)."""

    gates = 1

    def step(self, z: ir.Value, state: State) -> State:
        """See `Cell.step`."""
        return State(self.act(self.activations[0], self.plus(z, state.h, self.r)))
