"""Give dynamic dimensions of the inputs fixed sizes.

    x[N, 3, ?, ?] ─ …      with --dim N=1 --dim x=1x3x48x192 becomes      x[1, 3, 48, 192] ─ …

What `--dim` names is set, or stays as it is with `--dim N=open`. The rest stays dynamic, or with `rest=default` gets a
size that suits the axis (1 for a batch), for backends that take only fixed shapes. Interior shapes follow by
inference; the outputs are declared with the shapes that were inferred. Fidelity: exact, for inputs of these shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from graphopt.ir.edit import bodies, nodes_of, owners, shape_of
from graphopt.ir.infer import infer_shapes
from graphopt.ir.symbolic import MADE_UP
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.verify import check_dims, concrete_shapes, real_inputs
from graphopt.verify.dims import ANONYMOUS, OPEN


class FixInputShapes(Pass):
    """Give dynamic dimensions of the inputs the sizes that --dim says."""

    name = "fix-input-shapes"
    fidelity = "exact"
    changes_signature = True

    @dataclass(frozen=True)
    class Options:
        """What to do with dimensions that --dim does not name."""

        rest: Literal["keep", "default"] = "keep"
        """keep them dynamic, or give them a default size."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Write the sizes into the inputs, infer, and declare the outputs."""
        check_dims(model, context.dims)
        if not context.dims and self.options.rest == "keep":
            return PassResult(0)
        chosen = concrete_shapes(model, self._like_samples(model, context))
        fixed = []
        for value in real_inputs(model):
            before = [d if isinstance(d, int) and d >= 0 else None for d in value.shape or ()]
            if None not in before and value.shape is not None:
                continue
            named = [self._names(value, axis, context) for axis in range(len(before))]
            left = [self._stays_open(value, axis, context) for axis in range(len(before))]
            dims = [
                size if known is None and not stays and (self.options.rest == "default" or asked) else old
                for size, known, asked, stays, old in zip(
                    chosen[value.name or ""], before, named, left, value.shape or chosen[value.name or ""], strict=True
                )
            ]
            assumed = [
                str(d) for d, known, asked in zip(dims, before, named, strict=True) if known is None and not asked
            ]
            if value.shape is None or list(value.shape) != dims:
                value.shape = ir.Shape(dims)
                fixed.append(f"{value.name}[{'×'.join(map(str, dims))}]")
                if assumed and self.options.rest == "default":
                    fixed[-1] += f" ({', '.join(assumed)} by default: --dim {value.name}=… says otherwise)"
        if not fixed:
            return PassResult(0)
        _forget(model)
        infer_shapes(model)
        for value in model.graph.outputs:
            shape = shape_of(value)
            if shape is not None:
                value.shape = ir.Shape([d if isinstance(d, int) or not _made_up(d) else None for d in shape])
        return PassResult(len(fixed), ", ".join(fixed))

    @staticmethod
    def _like_samples(model: ir.Model, context: Context) -> dict[str, int | tuple[int, ...]]:
        """What --dim says, and for the inputs of which it names nothing the shape of the user's first sample.

        "?" names nothing: it stands for dimensions that have no name, which a sample knows better.
        """
        dims = dict(context.dims)
        first = next(iter(context.calibration()), {}) if context.calibration is not None else {}
        for value in real_inputs(model):
            array = first.get(value.name or "")
            symbols = {dim.value for dim in value.shape or () if isinstance(dim, ir.SymbolicDim)}
            if array is not None and value.name not in dims and not (symbols - {ANONYMOUS}) & dims.keys():
                dims[value.name or ""] = array.shape
        return dims

    @staticmethod
    def _names(value: ir.Value, axis: int, context: Context) -> bool:
        """Whether --dim says something of an axis."""
        dim = value.shape[axis] if value.shape is not None else None
        symbol = dim.value if isinstance(dim, ir.SymbolicDim) else None
        return value.name in context.dims or (symbol or "?") in context.dims

    @staticmethod
    def _stays_open(value: ir.Value, axis: int, context: Context) -> bool:
        dim = value.shape[axis] if value.shape is not None else None
        return isinstance(dim, ir.SymbolicDim) and context.dims.get(dim.value or "?") == OPEN


def _forget(model: ir.Model) -> None:
    """Shapes that were inferred from the dynamic inputs no longer say enough."""
    for owner in owners(model):
        for value in owner.inputs:
            value.meta.pop("graphopt.shape", None)
        for node in nodes_of(owner):
            for value in (*node.outputs, *(value for body in bodies(node) for value in body.inputs)):
                value.meta.pop("graphopt.shape", None)
                value.meta.pop("graphopt.partial", None)


def _made_up(dim: ir.SymbolicDim) -> bool:
    return dim.value is None or dim.value.startswith(MADE_UP)
