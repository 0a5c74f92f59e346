"""Adapters between versions of ONNX's operators: one small file a family, tables of functions by (operator, version).

`UP[op, v]` brings a node that follows version v - 1 to version v, `DOWN[op, v]` takes it back. A boundary without an
entry only widened types, or added attributes and inputs whose defaults mean what was meant before: `history` sees to
those by comparing the schemas.
"""

from graphopt_passes.legalize.opset import axes, moves, norms, pools, resize, rest
from graphopt_passes.legalize.opset.moves import Adapter

_FAMILIES = (moves, axes, resize, norms, pools, rest)
UP: dict[tuple[str, int], Adapter] = {key: adapter for family in _FAMILIES for key, adapter in family.UP.items()}
DOWN: dict[tuple[str, int], Adapter] = {key: adapter for family in _FAMILIES for key, adapter in family.DOWN.items()}
