"""Quantization schemes as data: what a backend's integer kernels take, one TOML file a backend.

source = "where the numbers are from"

[operators]                    what the kernels do with scales; an operator that is not listed stays in float
free = ["Add", "Mul"]          the result has any scale
same = ["MaxPool", "Reshape"]  codes come out under the scale that they go in with
joins = ["Concat"]             codes of several operands meet, all under one scale
fixed.Softmax = [0.0, 1.0]     the result's range is prescribed

[schemes.w8a8]
activations = {dtype = "int8"}
weights = {dtype = "int8", symmetric = true, narrow = true}
weighted = {Conv = "channel", MatMul = "tensor"}
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graphopt.errors import PluginError, UserError
from graphopt.support.backend import Backend

Name = Literal["w8a8", "w8a16", "w8", "w4", "fp16", "bf16", "dynamic"]
"""What the option `scheme` takes: bits of the weights, then of the activations."""
Dtype = Literal["int4", "int8", "uint8", "int16", "uint16"]
BITS: Mapping[str, int] = {"int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32}


class Codes(BaseModel):
    """A type of codes.

    Attributes:
        dtype: of the codes.
        symmetric: whether the code of 0.0 is the middle: 0, or 2ⁿ⁻¹ where the codes have no sign.
        narrow: whether the lowest signed code stays unused, so that the range is as wide below 0 as above it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Dtype
    symmetric: bool = False
    narrow: bool = False

    @property
    def bits(self) -> int:
        """Of one code."""
        return BITS[self.dtype]

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest code."""
        half = 1 << (self.bits - 1)
        low, high = (0, 2 * half - 1) if self.dtype.startswith("u") else (-half, half - 1)
        return low + self.narrow, high


class Operators(BaseModel):
    """What a backend's integer kernels do with the scales of each operator; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    free: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    fixed: Mapping[str, tuple[float, float]] = Field(default_factory=dict)


class Scheme(BaseModel):
    """How a model is quantized for one backend.

    Attributes:
        name: the word of the option.
        activations: their codes, None where they stay in float.
        weights: their codes.
        weighted: operators with weights, and whether these have a scale for each output channel or one for all.
        bias: "int32" codes of the scale s_in · s_w, or left in float.
        placement: "all" quantizes inputs and outputs of every operator that has an integer kernel; "inputs" only what
            weighted operators read, as a compiler wants it that places the conversions itself.
        float_output: operators whose integer kernels also write float, so that what float reads is not rounded again.
        adds_bias: whether a MatMul and the addition of a constant vector behind it are one integer kernel.
        clamps: whether a Relu or Clip is left out where the range of the codes says the same.
        least_channels: a weighted operator with fewer input or output channels stays in float.
        multiple: likewise one whose channels are no multiple of this.
        block: how many weights share a scale along the reduced axis; 0 for none.
        operators: see `Operators`.
        source: where the numbers are from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    activations: Codes | None = None
    weights: Codes
    weighted: Mapping[str, Literal["channel", "tensor"]]
    bias: Literal["int32", "float"] = "int32"
    placement: Literal["all", "inputs"] = "all"
    float_output: tuple[str, ...] = ()
    adds_bias: bool = True
    clamps: bool = True
    least_channels: int = 0
    multiple: int = 1
    block: int = 0
    operators: Operators = Operators()
    source: str = ""

    @property
    def opset(self) -> int:
        """The first version of ONNX's operators whose QuantizeLinear and DequantizeLinear have all of it."""
        kinds = {self.weights.dtype, self.activations.dtype if self.activations else "int8"}
        return 21 if self.block or not kinds <= {"int8", "uint8"} else 13


def parse(text: str, where: str) -> dict[str, Scheme]:
    """The schemes of a TOML file by name.

    Raises:
        PluginError: the text is no such file.
    """
    try:
        told = tomllib.loads(text)
        shared = {"operators": told.get("operators", {}), "source": told.get("source", "")}
        return {name: Scheme(**{**shared, "name": name, **one}) for name, one in told.get("schemes", {}).items()}
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"the quantization schemes of {where} cannot be read: {reason}") from None


@functools.cache
def neutral() -> Mapping[str, Scheme]:
    """The schemes of a run without a backend, which onnxruntime's CPU kernels fuse."""
    return parse(Path(__file__).with_name("onnxruntime.toml").read_text(encoding="utf-8"), "onnxruntime")


def scheme_of(name: str, backend: Backend | None) -> Scheme:
    """The scheme that a backend has under a name.

    Raises:
        UserError: it has none.
    """
    if backend is None:
        known, where = neutral(), "a run without -b"
    else:
        text = backend.quantization()
        if text is None:
            raise UserError(f"the backend {backend.name} has no quantization schemes: leave out -b")
        known, where = parse(text, backend.name), backend.name
    if name not in known:
        raise UserError(f"quantize: {where} has no scheme {name!r}: choose from {', '.join(sorted(known))}")
    return known[name]
