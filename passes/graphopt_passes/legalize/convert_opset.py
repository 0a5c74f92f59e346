"""Bring a model to another version of ONNX's operators, up or down.

    x ─ Squeeze(axes=[0]) ─ y       opset 11 to 13      x, [0] ─ Squeeze ─ y
    x ─ HardSwish ─ y               opset 17 to 13      x ─ HardSigmoid(1/6, 1/2) ─ Mul(x) ─ y

Each node goes from version to version of its operator (`opset/`); what an older opset lacks is written out as ONNX
defines it. A node that cannot be brought over is named, and the model stays as it was. Fidelity: rounding, for what is
written out; the rest is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from graphopt.errors import ModelError, RecipeError
from graphopt.ir.edit import adopt_opsets, nodes_of
from graphopt.ir.infer import infer_shapes
from graphopt.ir.validate import describe
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.splice import Splicer

FIRST, LAST = 7, 28
"""Opset versions between which models can be brought."""
_PLAIN_IR = 4
"""The first IR version where a weight need not be an input."""
_IR_OF_FUNCTIONS = 8
_MOST_NAMED = 5


class ConvertOpset(Pass):
    """Bring the model to another version of ONNX's operators, up or down."""

    name = "convert-opset"
    fidelity = "rounding"

    @dataclass(frozen=True)
    class Options:
        """Where to."""

        target: int = 0
        """Version of the default operator set; 0 leaves it as it is."""
        least: int = 0
        """Version to raise an older model to; a newer one stays as it is. Without a target only."""
        most: int = 0
        """Version to lower a newer model to; an older one stays as it is. Without a target only."""

    def _within(self, source: int) -> int:
        raised = max(self.options.least, source)
        return min(self.options.most, raised) if self.options.most else raised

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Convert the main graph and all functions, or raise naming the nodes in the way."""
        source = model.opset_imports.get("")
        target = self.options.target or self._within(source or 0)
        if not target or source is None or source == target:
            return PassResult(0)
        if not FIRST <= target <= LAST:
            raise RecipeError(f"convert-opset: the target is from {FIRST} to {LAST}, not {target}")
        _check(source, target)
        if (model.ir_version or 0) < _PLAIN_IR:
            raise ModelError(f"it has IR version {model.ir_version}; run upgrade-ir before convert-opset")
        infer_shapes(model)
        count = _convert(model.graph, source, target, Splicer(model, self.name))
        for function in model.functions.values():
            own = function.opset_imports.get("")
            if own is not None and own != target:
                _check(own, target)
                count += _convert(function.graph, own, target, Splicer(model, self.name))
        adopt_opsets(model)
        if target < source:
            # A reader of the older opset alone knows no newer IR version, either.
            least = _IR_OF_FUNCTIONS if model.functions else _PLAIN_IR
            model.ir_version = min(model.ir_version or 0, max(least, _ir_version_of(target)))
        return PassResult(max(count, 1), f"opset {source} to {target}, {count} nodes changed")


def _ir_version_of(opset: int) -> int:
    """The IR version of the first release of ONNX that has an opset version."""
    from onnx.helper import VERSION_TABLE

    return int(next(ir_version for _, ir_version, default, *_ in VERSION_TABLE if default >= opset))


def convert_graph(graph: ir.Graph, source: int, target: int) -> int:
    """Bring a graph that belongs to no model, as a function's body, from one opset to another, in place.

    Raises:
        ModelError: names the nodes in the way.
    """
    _check(source, target)
    model = ir.Model(graph, ir_version=10)
    adopt_opsets(model)
    return _convert(graph, source, target, Splicer(model, ConvertOpset.name, lone=True))


def _check(source: int, target: int) -> None:
    for version in (source, target):
        if not FIRST <= version <= LAST:
            raise ModelError(
                f"opset {version} cannot be converted: from {FIRST} to {LAST} is what there are adapters for"
            )


def _convert(graph: ir.Graph, source: int, target: int, splicer: Splicer) -> int:
    from graphopt_passes.legalize.opset.journey import Journey, Refused

    journey = Journey(target, splicer)
    refused: list[str] = []
    for node in list(nodes_of(graph)):
        try:
            journey.take(node, source)
        except Refused as reason:
            refused.append(f"{describe(node)} ({node.op_type}): {reason}")
    if refused:
        more = len(refused) - _MOST_NAMED
        named = "; ".join(refused[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise ModelError(f"cannot go from opset {source} to {target}: {named}")
    graph.opset_imports[""] = target
    return journey.changed
