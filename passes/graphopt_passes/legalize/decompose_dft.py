"""Write Fourier transforms out as products with constant matrices.

    x[…, N, C] ─ DFT ─ y[…, K, 2]            becomes      x ─ Reshape[M, N·C] ─ Gemm(F) ─ Reshape[…, K, 2] ─ y
    s[B, S, C] ─ STFT(w) ─ y[B, T, K, 2]      becomes      s ─ Transpose ─ Conv(w ∘ F, stride) ─ Transpose ─ Reshape ─ y

F has the cosines and sines of ONNX's DFT, y[k] = Σ x[n] e^(-2πjkn/L), in float64 until it is done; what `dft_length`
cuts off or adds are zeros of it. The inverse of a onesided spectrum counts each bin with its mirror image. The length
must be known. A product takes N·K multiplications where a fast transform takes N·log N. Fidelity: rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute, has_input
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape, transpose
from graphopt_passes.scalars import is_float

_LARGEST = 1 << 23
"""Elements of a matrix that is still written out: a transform of 2048 real numbers."""
_AXIS_AS_INPUT = 20


def fourier(
    length: int, bins: int, given: int, components: int, *, inverse: bool = False, mirrored: bool = False
) -> np.ndarray:
    """The matrix of a Fourier transform, of [given, components, bins, 2] in float64; without the 2 where `mirrored`.

    Args:
        length: of the transform.
        bins: how many results are wanted.
        given: how many inputs there are; those from `length` on do not count.
        components: 1 of real input, 2 of complex input.
        inverse: with the other sign, divided by the length.
        mirrored: the input is the first half of a spectrum whose other half is its conjugate; the result is real.
    """
    places = np.arange(given)[:, None] * np.arange(bins) % length
    angles = 2 * np.pi * places / length * (1 if inverse else -1)
    cos, sin = np.round(np.cos(angles), 15) + 0.0, np.round(np.sin(angles), 15) + 0.0
    found = np.stack([np.stack([cos, sin], -1), np.stack([0.0 - sin, cos], -1)], 1)[:, :components]
    if mirrored:
        counted = np.where((np.arange(given) % length == 0) | (2 * np.arange(given) == length), 1.0, 2.0)
        return found[..., 0] * counted[:, None, None] / length
    found = np.where((np.arange(given) < length)[:, None, None, None], found, 0.0)
    return found / length if inverse else found


@rule("write-out-dft", fidelity="rounding")
def dft(p):
    return p.DFT(p.x, p.rest("given"))


@dft.require("it is floating point, its length and axis are known, and its matrix is not too large")
def _(m: Any) -> bool | str:
    form = _form(m.root)
    if isinstance(form, str):
        return form
    _, size, components, _, bins = form
    if size * components * bins * 2 > _LARGEST:
        return f"its matrix would have more than {_LARGEST} elements"
    return is_float(m.x)


def _form(node: ir.Node) -> tuple[int, int, int, int, int] | str:
    """Axis, its size, components, length of the transform and bins, or why they are not known."""
    dims = dims_of(node.inputs[0])
    if dims is None or len(dims) < 2 or dims[-1].number not in (1, 2):
        return "the shape of its input is not known"
    axis = _number(node, 2, -2) if opset(node) >= _AXIS_AS_INPUT else int(attribute(node, "axis"))
    length = _number(node, 1, 0)
    if axis is None or length is None:
        return "its axis or its length is computed at run time"
    axis %= len(dims)
    size, components = dims[axis].number, dims[-1].number
    if size is None or components is None or size < 1 or axis == len(dims) - 1:
        return "the length of its axis is not known: fix it by --dim"
    if sum(one.number is None for one in dims) > 1:
        return "more than one of its sizes is not known: fix them by --dim"
    one, back = bool(attribute(node, "onesided")), bool(attribute(node, "inverse"))
    if one and ((back and components == 1) or (not back and components == 2)):
        return "a onesided transform goes between real signals and complex spectra"
    length = length or (2 * (size - 1) if one and back else size)
    if length < 1:
        return "its length is not positive"
    return axis, size, components, length, length // 2 + 1 if one and not back else length


def _number(node: ir.Node, index: int, default: int) -> int | None:
    """A number that a constant input holds; None where it is computed."""
    if not has_input(node, index):
        return default
    tensor = constant(node.inputs[index])
    return int(tensor.numpy().reshape(())) if tensor is not None and tensor.size == 1 else None


@dft.replace
def _(op, m):
    form, dims = _form(m.root), dims_of(m.x)
    assert not isinstance(form, str)
    assert dims is not None
    axis, size, components, length, bins = form
    inverse = bool(attribute(m.root, "inverse"))
    mirrored = inverse and bool(attribute(m.root, "onesided"))
    matrix = fourier(length, bins, min(size, length // 2 + 1) if mirrored else size, components, inverse=inverse,
                     mirrored=mirrored)  # fmt: skip
    if mirrored and len(matrix) < size:
        matrix = np.concatenate([matrix, np.zeros((size - len(matrix), *matrix.shape[1:]))])
    rank = len(dims)
    order = [*(one for one in range(rank - 1) if one != axis), axis, rank - 1]
    lead = [-1 if dims[one].number is None else dims[one].number for one in order[:-2]]
    # Gemm: onnxruntime-qnn 2.7.0 runs out of memory over small MatMuls between two Reshapes
    rows = reshape(op, transpose(op, m.x, order), [-1, size * components])
    columns = matrix.reshape(size * components, -1).astype(m.x.dtype.numpy())
    made = reshape(op, op.Gemm(rows, columns), [*lead, bins, 1 if mirrored else 2])
    return transpose(op, made, [int(one) for one in np.argsort(order)])


@rule("write-out-stft", fidelity="rounding")
def stft(p):
    return p.STFT(p.x, p.constant("step"), p.rest("given"))


@stft.require("it is floating point, its frames are known, and its matrix is not too large")
def _(m: Any) -> bool | str:
    frames = _frames(m.root)
    if isinstance(frames, str):
        return frames
    length, components, bins, _ = frames
    if length * components * bins * 2 > _LARGEST:
        return f"its matrix would have more than {_LARGEST} elements"
    return is_float(m.x)


def _frames(node: ir.Node) -> tuple[int, int, int, np.ndarray] | str:
    """Length of a frame, components, bins and window, or why they are not known."""
    dims = dims_of(node.inputs[0])
    if dims is None or len(dims) != 3 or dims[2].number not in (1, 2) or dims[1].number is None:
        return "the length of its signal is not known: fix it by --dim"
    window = constant(node.inputs[2]) if has_input(node, 2) else None
    if has_input(node, 2) and window is None:
        return "its window is computed at run time"
    length = _number(node, 3, dims[1].number if window is None else window.size)
    if length is None or length > dims[1].number or (window is not None and window.size != length):
        return "the length of its frames is not known, or its window or signal does not fit"
    onesided = bool(attribute(node, "onesided"))
    if onesided and dims[2].number == 2:
        return "a onesided transform is of real signals"
    shape = np.ones(length) if window is None else window.numpy().astype(np.float64)
    return length, dims[2].number or 1, length // 2 + 1 if onesided else length, shape


@stft.replace
def _(op, m):
    frames = _frames(m.root)
    assert not isinstance(frames, str)
    length, components, bins, window = frames
    matrix = fourier(length, bins, length, components) * window[:, None, None, None]
    kernel = matrix.transpose(2, 3, 1, 0).reshape(2 * bins, components, length).astype(m.x.dtype.numpy())
    made = op.Conv(op.Transpose(m.x, perm=[0, 2, 1]), kernel, strides=[int(m.step.reshape(()))], kernel_shape=[length])
    return reshape(op, op.Transpose(made, perm=[0, 2, 1]), [0, 0, bins, 2])


@dft.example
def _(g):
    g.since(17)
    rank = g.integer(2, 4)
    axis = g.integer(0, rank - 2)
    inverse, onesided = g.pick([0, 1]), g.pick([0, 1])
    components = 1 + inverse if onesided else g.pick([1, 2])
    shape = [*(g.integer(1, 5) for _ in range(rank - 1)), components]
    # the inverse of half a spectrum has one real number at both ends, and at least two of them
    shape[axis] = g.integer(2 if onesided and inverse else 1, 6)
    x = g.input(shape, static=True, finite=True)
    length = None if g.flag() or (onesided and inverse) else g.constant(np.array(g.integer(1, 8), np.int64))
    options = {"inverse": inverse, "onesided": onesided}
    if g.opset >= _AXIS_AS_INPUT:
        g.output(g.DFT(x, length, g.constant(np.array(axis, np.int64)), **options), rank)
    else:
        g.output(g.DFT(x, length, axis=axis, **options), rank)


@stft.example
def _(g):
    g.since(17)
    length, onesided = g.integer(2, 8), g.pick([0, 1])
    x = g.input(
        [g.integer(1, 2), length + g.integer(0, 9), 1 if onesided else g.pick([1, 2])], static=True, finite=True
    )
    step = g.constant(np.array(g.integer(1, 4), np.int64))
    window = g.constant(g.positive(length)) if g.flag() else None
    size = None if window and g.flag() else g.constant(np.array(length, np.int64))
    g.output(g.STFT(x, step, window, size, onesided=onesided), 4)


class DecomposeDFT(Substitution):
    """Write DFT and STFT as products with constants."""

    name = "decompose-dft"
    rules = (dft, stft)
