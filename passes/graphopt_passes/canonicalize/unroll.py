"""What the passes that write out turns share: from the outermost operator inwards, under a limit of nodes."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from graphopt.ir.edit import owners
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.eliminate_dead_code import sweep


class Unroll(Pass):
    """Write out the turns of one kind of operator, until none is left that may be."""

    fidelity = "exact"
    idempotent = True
    kind: ClassVar[str]
    """The operators, for people."""

    @dataclass(frozen=True)
    class Options:
        """How far to go."""

        nodes: int = 2000
        """Nodes that one Loop or Scan may become."""

    @abc.abstractmethod
    def unroll(self, model: ir.Model) -> int:
        """Write out what may be now; returns how many went. Shapes have been inferred."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Unroll from the outermost inwards."""
        count = 0
        while True:
            infer_shapes(model)
            now = self.unroll(model)
            if not now:
                return PassResult(count, f"{count} {self.kind}" if count else "")
            for owner in owners(model):
                sweep(owner)
            count += now
