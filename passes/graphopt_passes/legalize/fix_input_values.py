"""Make inputs constants of a given value: they leave the signature.

    x, sr ─ Equal(sr, 16000) ─ If ─ y      with --set sr=16000 becomes      x ─ … ─ y, where the If is decided

What hangs on such an input (the branch of an If, the turns of a Loop, a shape) is known then, and folded by the passes
behind. Fidelity: exact, for the value that was given; what comes out is compared with the original at that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from graphopt.pipeline import Context, Pass, PassResult
from graphopt.verify import give_values, parse_values


class FixInputValues(Pass):
    """Make inputs constants of the values that --set says."""

    name = "fix-input-values"
    fidelity = "exact"
    changes_signature = True

    @dataclass(frozen=True)
    class Options:
        """Which inputs, and of what value."""

        values: str | dict[str, Any] = ""
        """by input name: a number, a list or text; or all as text, as "sr=16000" and "sr=16000;pads=0,1"."""

    @property
    def input_values(self) -> Mapping[str, Any]:
        """The values by input name."""
        values = self.options.values
        return parse_values(list(filter(None, values.split(";")))) if isinstance(values, str) else dict(values)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Turn the inputs into initializers."""
        inputs = {value.name: value for value in model.graph.inputs}
        # An input that a pass before made a constant is one already.
        left = {name: v for name, v in self.input_values.items() if name in inputs or not _is_constant(model, name)}
        give_values(model, left, context.dims)
        for name in left:
            value = inputs[name]
            model.graph.inputs.remove(value)
            value.meta.pop("graphopt.shape", None)
            assert value.const_value is not None
            value.shape = ir.Shape(value.const_value.shape.numpy())
        return PassResult(len(left), ", ".join(f"{name}={value}" for name, value in left.items()))


def _is_constant(model: ir.Model, name: str) -> bool:
    return name in model.graph.initializers
