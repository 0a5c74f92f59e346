"""Layouts as permutations: in which order a tensor stores the axes of its ONNX value.

    layout = (0, 2, 3, 1)      stored axis 0 is ONNX axis 0, stored axis 1 is ONNX axis 2, …      NCHW stored as NHWC

The identity is ONNX's own order. With permutations, an ONNX Transpose is a new name for what is stored already, an
axis attribute is looked up in the layout, and a real TRANSPOSE is written only where two layouts really meet.
"""

from __future__ import annotations

from collections.abc import Sequence

Layout = tuple[int, ...]


def identity(rank: int) -> Layout:
    """ONNX's own order of axes."""
    return tuple(range(rank))


def channels_last(rank: int) -> Layout:
    """Batch, spatial axes, channels: how TFLite's convolutions and poolings want a value of ONNX's N, C, spatial."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def stored(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """The stored shape of a value of ONNX shape `shape`."""
    return tuple(shape[axis] for axis in layout)


def inverse(layout: Layout) -> Layout:
    """Where each ONNX axis is stored."""
    return tuple(layout.index(axis) for axis in range(len(layout)))


def between(have: Layout, want: Layout) -> Layout:
    """The permutation that takes a tensor stored as `have` to one stored as `want`."""
    return tuple(have.index(axis) for axis in want)


def transposed(layout: Layout, perm: Sequence[int]) -> Layout:
    """The layout under which the same tensor is ONNX's `Transpose(perm)` of the value that it stores as `layout`."""
    back = inverse(tuple(perm))
    return tuple(back[axis] for axis in layout)


def moves_data(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """Whether permuting a tensor of this stored shape changes the order of its elements in memory."""
    long = [axis for axis in perm if shape[axis] != 1]
    return long != sorted(long)


def without(layout: Layout, axes: Sequence[int]) -> Layout:
    """The layout of what is left when the ONNX axes `axes` are removed."""
    kept = [axis for axis in range(len(layout)) if axis not in axes]
    return tuple(kept.index(axis) for axis in layout if axis not in axes)


def with_axes(layout: Layout, axes: Sequence[int]) -> Layout:
    """The layout of a value to which the ONNX axes `axes` (numbered in the result) of length 1 are added.

    Identity stays identity: the stored tensor has each new axis at its ONNX place.
    """
    old = [axis for axis in range(len(layout) + len(axes)) if axis not in axes]
    order = [old[axis] for axis in layout]
    for axis in sorted(axes):
        order.insert(axis, axis)
    return tuple(order)


def axis_last(layout: Layout, axis: int) -> Layout:
    """`layout` with ONNX axis `axis` moved to the end."""
    return (*(other for other in layout if other != axis), axis)
