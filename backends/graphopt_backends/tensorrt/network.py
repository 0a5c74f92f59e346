"""Parse a model into a TensorRT network, and give its dynamic inputs a range. Imported in a child process only."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorrt_rtx_bindings as trt

from graphopt.errors import GraphoptError

BATCH = (1, 1, 16)
"""Smallest, typical and largest size of a dynamic first dimension."""
SPATIAL = (1, 256, 2048)
"""The same for every other dynamic dimension, be it pixels or tokens. An ahead-of-time build allocates nothing for the
largest size, so a wide range costs only kernels that are specialized less."""


class ShapeInputError(GraphoptError):
    """An input whose values are shapes has no known value, so no range can be given for it."""


class Log(trt.ILogger):  # type: ignore[misc]  # the bindings carry no types
    """Keeps what TensorRT says: a failed build explains itself nowhere else."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Receive one message from TensorRT."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(msg)
        elif severity == trt.ILogger.Severity.WARNING:
            self.warnings.append(msg)

    def clear(self) -> None:
        """Forget everything."""
        self.errors.clear()
        self.warnings.clear()


@functools.cache
def builder() -> tuple[trt.Builder, Log]:
    """TensorRT's builder and the log it writes to, made once a process."""
    log = Log()
    return trt.Builder(log), log


@dataclass(frozen=True)
class Parsed:
    """A parsed model.

    Attributes:
        network: the network, complete only where `ok`.
        parser: holds the errors; the network's weights live as long as it does.
        ok: whether the parser took every node.
    """

    network: trt.INetworkDefinition
    parser: trt.OnnxParser
    ok: bool

    def layers(self) -> list[trt.ILayer]:
        """The network's layers in order."""
        return [self.network.get_layer(index) for index in range(self.network.num_layers)]


def parse(model: Path) -> Parsed:
    """Parse an ONNX file with its external data.

    The network is strongly typed, as TensorRT-RTX networks are: each layer computes in the types that the model
    states, and fp16 or int8 come from the model's own casts and Q/DQ nodes.
    """
    make, log = builder()
    log.clear()
    network = make.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    return Parsed(network, parser, bool(parser.parse_from_file(str(model))))


@dataclass(frozen=True)
class Ranges:
    """An optimization profile.

    Attributes:
        profile: TensorRT's own.
        shapes: smallest, typical and largest shape (or value, for an input that holds a shape) by input name.
    """

    profile: trt.IOptimizationProfile
    shapes: dict[str, list[list[int]]] = field(default_factory=dict)


def ranges(network: trt.INetworkDefinition, given: Mapping[str, np.ndarray] | None = None) -> Ranges | None:
    """Give every dynamic input a range, or return None for a network without one.

    A first dimension ranges over `BATCH` and every other over `SPATIAL`. Where an example is `given`, its shape is
    smallest and typical, and twice its dynamic dimensions the largest.

    Raises:
        ShapeInputError: an input holds a shape and no example gives its value.
    """
    result = Ranges(builder()[0].create_optimization_profile())
    for index in range(network.num_inputs):
        value = network.get_input(index)
        example = None if given is None else given.get(value.name)
        if value.is_shape_tensor:
            if example is None:
                raise ShapeInputError(f"input {value.name!r} holds a shape: make it a constant, its range is not known")
            fixed = [int(number) for number in np.ravel(example)]
            result.profile.set_shape_input(value.name, fixed, fixed, fixed)
            result.shapes[value.name] = [fixed] * 3
        elif -1 in tuple(value.shape):
            result.shapes[value.name] = _range(tuple(value.shape), example)
            result.profile.set_shape(value.name, *result.shapes[value.name])
    return result if result.shapes else None


def _range(shape: tuple[int, ...], example: np.ndarray | None) -> list[list[int]]:
    if example is not None:
        largest = [2 * size if dim == -1 else size for size, dim in zip(example.shape, shape, strict=True)]
        return [list(example.shape), list(example.shape), largest]
    spans = [(dim,) * 3 if dim != -1 else SPATIAL if axis else BATCH for axis, dim in enumerate(shape)]
    return [list(sizes) for sizes in zip(*spans, strict=True)]
