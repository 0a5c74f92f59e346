"""Compute what depends on constants alone.

    c1 ─┐
        Add ─ Mul ─ y      becomes      c ─ y          x[N, 8] ─ Shape ─ Gather(1) ─ y      becomes      8 ─ y
    c2 ─┘

Whole regions are evaluated in one onnxruntime session. Random operators, custom operators and nodes with bodies stay.
A result that would make the file grow beyond the budget stays as well. Fidelity: exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, bodies, inherit, owners
from graphopt.ir.evaluate import Budget, evaluate, foldable
from graphopt.ir.infer import infer_shapes
from graphopt.ir.io import weight_bytes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.eliminate_dead_code import sweep


class FoldConstants(Pass):
    """Compute what depends on constants alone, within a budget of bytes."""

    name = "fold-constants"
    fidelity = "exact"

    @dataclass(frozen=True)
    class Options:
        """How much the file may grow."""

        growth: float = 0.05
        """Share of the model's weights that folding may add in all; 1 MiB are always allowed."""
        value_bytes: int = 1 << 18
        """Bytes that one folded value may add beyond the constants that it makes unnecessary."""

        def budget(self, model: ir.Model) -> Budget:
            """The options in bytes of this model."""
            return Budget(growth=max(1 << 20, int(self.growth * weight_bytes(model))), value=self.value_bytes)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Fold until nothing new becomes constant."""
        budget = self.options.budget(model)
        folded, failed = 0, []
        while True:
            infer_shapes(model)
            now, problems = fold(model, budget)
            failed += problems
            folded += now
            if not now:
                break
        detail = f"{folded} values" if folded else ""
        if failed:
            detail += f"; {len(failed)} left since no evaluator has a kernel, first {failed[0]}"
        return PassResult(folded, detail)


def fold(model: ir.Model, budget: Budget) -> tuple[int, list[str]]:
    """One round over all graphs; returns how many values were folded, and what could not be computed."""
    names, count, problems = None, 0, []
    for owner in owners(model):
        graphs = [owner]
        while graphs:
            graph = graphs.pop()
            graphs.extend(body for node in graph for body in bodies(node))
            wanted = foldable(graph, budget)
            if not wanted:
                continue
            result = evaluate(wanted, owner.opset_imports)
            problems += [f"{node.op_type} {node.name or ''}: {why}" for node, why in result.failed.items()]
            names = names or Names(model)
            for value, content in result.arrays.items():
                _replace(model, owner, value, content, names)
                count += 1
            if result.arrays:
                sweep(graph)
    return count, problems


def _replace(
    model: ir.Model, owner: ir.Graph, value: ir.Value, content: np.ndarray | ir.TensorProtocol, names: Names
) -> None:
    node = value.producer()
    assert node is not None
    graph = node.graph
    assert graph is not None
    tensor = ir.tensor(content) if isinstance(content, np.ndarray) else content
    if value.is_graph_output() or owner is not model.graph:
        # An output must be made by a node, and a function has no initializers.
        made = ir.Node("", "Constant", [], [ir.AttrTensor("value", tensor)], name=names.fresh(f"{value.name}_const"))
        graph.insert_before(node, made)
        new = made.outputs[0]
        if value.is_graph_output():
            new.name, new.shape, new.type = value.name, value.shape, value.type
            inherit(value, new)
            value.replace_all_uses_with(new, replace_graph_outputs=True)
            value.name = names.fresh(f"{new.name}_folded")
            return
        new.name = names.fresh(f"{value.name}_const")
    else:
        name = value.name
        value.name = names.fresh(f"{name}_folded")
        new = add_constant(
            model.graph, content if isinstance(content, np.ndarray) else tensor, name or names.fresh("c")
        )
    value.replace_all_uses_with(new)
