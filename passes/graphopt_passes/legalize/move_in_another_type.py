"""Move elements about in another element type, where a backend moves fewer types than there are.

    x[uint8] ─ Transpose ─ y        becomes      x ─ Cast(int32) ─ Transpose ─ Cast(uint8) ─ y, or by way of float
    x[bool] ─ Concat ─ y            becomes      x ─ Cast(int32) ─ Concat ─ Cast(bool) ─ y, or by way of float
    x[float16] ─ Gather ─ y         becomes      x ─ Cast(float) ─ Gather ─ Cast(float16) ─ y

Nothing is computed, so a type that holds every number of the other one gives it back as it was: int32 for integers of
up to 16 bits and, as the Cast back keeps the low bits, for uint32; float for 8 bits, even where the hardware computes
in float16; float for float16 and bfloat16. Fidelity: exact, rounding for double.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt.rewrite.rule import Fidelity
from graphopt_passes.legalize.recast import changed, computed_as

_T = ir.DataType
_MOVES = (
    "CenterCropPad", "Compress", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "Identity", "Pad", "Reshape", "ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "TensorScatter", "Tile", "Transpose", "Trilu", "Unsqueeze",
)  # fmt: skip


def _in(name: str, narrow: tuple[_T, ...], wide: _T, fidelity: Fidelity, *, wraps: bool = False) -> Rule:
    one = rule(name, fidelity=fidelity)(lambda p: p.op(_MOVES, p.rest("inputs")))

    @one.require("only its first output is read")
    def _(m):
        return not any(is_read(value) or value.is_graph_output() for value in m.root.outputs[1:])

    @one.require("it moves elements of one of its types, and combines none")
    def _(m):
        if computed_as(m.root, narrow) is None:
            return f"none of its inputs is {' or '.join(one.name.lower() for one in narrow)}"
        return _plain(m.root)

    @one.replace
    def _(op, m):
        return changed(op, m.root, computed_as(m.root, narrow), wide, wraps=wraps)[0]

    return one


def _plain(node: ir.Node) -> bool:
    reduction = node.attributes.get("reduction")
    return reduction is None or reduction.value == "none"


_SMALL = (_T.BOOL, _T.INT8, _T.UINT8)
small = _in("move-small-integers-in-int32", (*_SMALL, _T.INT16, _T.UINT16), _T.INT32, "exact")
tiny = _in("move-bytes-in-float", _SMALL, _T.FLOAT, "exact")
unsigned = _in("move-uint32-in-int32", (_T.UINT32,), _T.INT32, "exact", wraps=True)
half = _in("move-float16-in-float", (_T.FLOAT16, _T.BFLOAT16), _T.FLOAT, "exact")
double = _in("move-double-in-float", (_T.DOUBLE,), _T.FLOAT, "rounding")


def _moved(g, dtype):
    x = g.input(g.shape(least=2, most=3), dtype)
    options = {
        "Transpose": lambda: g.Transpose(x),
        "Concat": lambda: g.Concat(x, x, axis=0),
        "Gather": lambda: g.Gather(x, g.constant([0, -1])),
        "Flatten": lambda: g.Flatten(x, axis=1),
    }
    g.output(options[g.pick(list(options))]())


small.example(lambda g: _moved(g, g.pick([2, 3, 4, 5, g.BOOL])))
tiny.example(lambda g: _moved(g, g.pick([2, 3, g.BOOL])))
unsigned.example(lambda g: _moved(g, 12))
half.example(lambda g: _moved(g, 10))
double.example(lambda g: _moved(g, g.DOUBLE))


class MoveInAnotherType(Substitution):
    """Move elements in int32 or float that have a type which the backend does not move."""

    name = "move-in-another-type"
    rules = (small, tiny, unsigned, half, double)
