"""Which operators compute with codes, which values become codes, and which of these share a scale."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from graphopt.ir.edit import constant, readers
from graphopt.quantize.scheme import Scheme
from graphopt.quantize.units import Unit, units_of

_SIZES = ("Shape", "Size")
"""Operators that read no numbers: what they read may as well be codes."""


@dataclass
class Plan:
    """What is quantized.

    Attributes:
        units: the operators that compute with codes.
        made: values that leave a unit as codes: everything reads the codes.
        read: values that stay float, and the (node, position) that read codes of them.
        group: for each value of both kinds, the value that stands for all that share its scale.
        prescribed: the range that kernels prescribe, by the value that stands for a group.
    """

    units: list[Unit]
    made: list[ir.Value] = field(default_factory=list)
    read: dict[ir.Value, list[tuple[ir.Node, int]]] = field(default_factory=dict)
    group: dict[ir.Value, ir.Value] = field(default_factory=dict)
    prescribed: dict[ir.Value, tuple[float, float]] = field(default_factory=dict)

    @property
    def values(self) -> list[ir.Value]:
        """All values that become codes."""
        return [*self.made, *self.read]


def plan(model: ir.Model, scheme: Scheme, excluded: Collection[ir.Node] = (), keep: Collection[ir.Value] = ()) -> Plan:
    """Decide what of the main graph is quantized.

    Args:
        model: with shapes and types inferred.
        scheme: what the kernels take.
        excluded: nodes that stay in float.
        keep: values that cannot become codes, as those of which nothing finite was seen.
    """
    units = units_of(model.graph, scheme, list(excluded))
    units = [u for u in units if not any(v in keep for v in (*u.inputs(), *u.outputs))]
    if scheme.placement == "inputs":
        return _on_inputs(units)
    units = _worthwhile(units)
    return _Plan(units, scheme).build()


def _on_inputs(units: Sequence[Unit]) -> Plan:
    """Codes on what weighted operators read, and on the branch of an addition that goes around them.

    Source: NVIDIA TensorRT developer guide, "Q/DQ placement recommendations": quantize the inputs of weighted layers,
    leave outputs alone, and quantize the residual input of an element-wise addition, so that it fuses.
    """
    weighted = [unit for unit in units if unit.role == "weighted"]
    result = Plan(weighted)
    for unit in weighted:
        for place in unit.data:
            result.read.setdefault(unit.node.inputs[place], []).append((unit.node, place))  # type: ignore[arg-type]
    layers = {unit.node for unit in weighted if unit.node.op_type == "Conv"}
    for adder in {reader: None for layer in layers for reader in readers(layer.outputs[0])}:
        branch = _residual(adder, layers)
        if branch is not None:
            value = adder.inputs[branch]
            assert value is not None
            result.read.setdefault(value, []).append((adder, branch))
    result.group = {value: value for value in result.values}
    return result


def _residual(adder: ir.Node, layers: Collection[ir.Node]) -> int | None:
    """Which operand of an Add is the residual branch: the one that is not a convolution's alone; else the second."""
    if adder.op_type != "Add" or any(constant(value) is not None for value in adder.inputs):
        return None
    alone = [
        value is not None and value.producer() in layers and len(value.uses()) == 1 and not value.is_graph_output()
        for value in adder.inputs
    ]
    if not any(alone):
        return None
    return alone.index(False) if False in alone else 1


def _worthwhile(units: Sequence[Unit]) -> list[Unit]:
    """The units without those that only stand between float operators, or would round where precision is needed.

    An element-wise operator computes with codes where codes come in and go out: those inside a normalization or a
    position encoding, between operators without integer kernels, stay in float with them. What is left over without
    any weighted operator among its neighbors stays in float as well.
    """
    kept = dict.fromkeys(range(len(units)))
    while True:
        owner = {node: place for place in kept for node in units[place].nodes}
        gone = [place for place in kept if not _fits(units[place], owner)]
        if not gone:
            break
        for place in gone:
            del kept[place]
    return [units[place] for place in _anchored(units, list(kept))]


def _fits(unit: Unit, owner: Collection[ir.Node]) -> bool:
    if unit.role in ("weighted", "product"):
        return True
    from_codes = [v.producer() is None or v.producer() in owner for v in unit.inputs()]
    to_codes = [reader in owner for v in unit.outputs for reader in readers(v) if _computes(reader)]
    out = any(v.is_graph_output() for v in unit.outputs)
    if unit.role == "fixed" and out and not to_codes:
        return False  # its codes would be turned back at once, and its prescribed steps are wide for small results
    if unit.role in ("same", "joins"):
        return any(from_codes) and (any(to_codes) or (out and not to_codes))
    return all(from_codes) and all(to_codes)


def _computes(node: ir.Node) -> bool:
    return node.op_type not in _SIZES


def _anchored(units: Sequence[Unit], kept: Sequence[int]) -> Iterator[int]:
    """The units that are connected with a weighted one."""
    sets = Sets()
    for place in kept:
        for value in (*units[place].inputs(), *units[place].outputs):
            sets.join(place, value)
    anchors = {sets.root(place) for place in kept if units[place].role in ("weighted", "product")}
    return (place for place in kept if sets.root(place) in anchors)


class _Plan:
    """Builds the plan of a scheme that has codes everywhere."""

    def __init__(self, units: Sequence[Unit], scheme: Scheme) -> None:
        self._scheme, self._result = scheme, Plan(list(units))
        self._owner = {node for unit in units for node in unit.nodes}

    def build(self) -> Plan:
        """The plan."""
        result = self._result
        for unit in result.units:
            if self._writes_codes(unit):
                result.made.extend(unit.outputs)
        made = set(result.made)
        for unit in result.units:
            for place in unit.data:
                value = unit.node.inputs[place]
                if value is not None and value not in made:
                    result.read.setdefault(value, []).append((unit.node, place))
        self._group()
        return result

    def _writes_codes(self, unit: Unit) -> bool:
        if unit.node.op_type not in self._scheme.float_output:
            return True
        found = [reader for value in unit.outputs for reader in readers(value)]
        return bool(found) and all(reader in self._owner for reader in found)

    def _group(self) -> None:
        result, sets = self._result, Sets()
        values = dict.fromkeys(result.values)
        for unit in result.units:
            if unit.role == "same":
                for value in unit.outputs:
                    sets.join(next(unit.inputs()), value)
        ranges: dict[object, tuple[float, float]] = {}
        for unit in result.units:
            if unit.role == "fixed":
                ranges[sets.root(unit.outputs[0])] = self._scheme.operators.fixed[unit.node.op_type]
        for unit in result.units:
            if unit.role == "joins":
                self._join(unit, sets, ranges)
        result.group = {value: sets.root(value) for value in values}  # type: ignore[misc]
        result.prescribed = {sets.root(root): told for root, told in ranges.items()}  # type: ignore[misc]

    def _join(self, unit: Unit, sets: Sets, ranges: dict[object, tuple[float, float]]) -> None:
        """Give operands that meet one scale, save those of a prescribed range, which are rounded once more instead."""
        roots = {value: sets.root(value) for value in unit.inputs()}
        told = {ranges.get(root) for root in roots.values()}
        if len(told) == 1 and not unit.constants:
            free = list(roots)
        else:
            free = [value for value, root in roots.items() if root not in ranges]
        before = ranges.get(roots[free[0]]) if free else None
        for value in free:
            sets.join(unit.outputs[0], value)
        if before is not None:
            ranges[sets.root(unit.outputs[0])] = before


class Sets:
    """Disjoint sets of anything hashable (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def root(self, item: object) -> object:
        """The member that stands for the set of an item."""
        parent = self._parent
        parent.setdefault(item, item)
        while parent[item] is not item:
            parent[item] = item = parent[parent[item]]
        return item

    def join(self, one: object, other: object) -> None:
        """Make one set of two; the first one's member stands for both."""
        self._parent[self.root(other)] = self.root(one)


def origins(found: Plan) -> dict[ir.Value, list[ir.Value]]:
    """For each group, its values that do not only pass on what others of the group hold."""
    passed = {value for unit in found.units if unit.role in ("same", "joins") for value in unit.outputs}
    members: dict[ir.Value, list[ir.Value]] = {}
    for value in found.values:
        members.setdefault(found.group[value], []).append(value)
    return {root: [v for v in held if v not in passed] or held for root, held in members.items()}
