"""Write a pipeline of ai.onnx.ml out as a whole, for backends: none of them has an operator of that domain.

    x ─ Scaler ─ LinearClassifier ─ Normalizer ─ scores      becomes      Sub, Mul, MatMul, Add, Softmax, ReduceSum, Div

The rules are those of decompose-features, decompose-linear-models and decompose-trees, node by node from the inputs on:
the onnx package infers no shapes of these operators, so those of what has been written out are inferred before the next
one. A model that imports no operator set but ai.onnx.ml gets one of the default domain. Fidelity: rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import nodes_of
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import Rewrite
from graphopt.rewrite.apply import Rewriter
from graphopt_passes.legalize.class_scores import DOMAIN
from graphopt_passes.legalize.decompose_features import DecomposeFeatures
from graphopt_passes.legalize.decompose_linear_models import DecomposeLinearModels
from graphopt_passes.legalize.decompose_trees import DecomposeTrees

_OPSET = 18
"""What is imported where nothing of the default domain is."""
_RULES = (*DecomposeFeatures.rules, *DecomposeLinearModels.rules, *DecomposeTrees.rules)


class WriteOutMl(Pass):
    """Write all operators of ai.onnx.ml out, as far as they are of numbers."""

    name = "write-out-ml"
    fidelity = "rounding"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `Pass.run`."""
        nodes = [node for node in nodes_of(model.graph) if node.domain == DOMAIN]
        if not nodes:
            return PassResult(0)
        model.graph.opset_imports.setdefault("", _OPSET)
        infer_shapes(model)
        rewriter = Rewriter(model, self.name)
        log: list[Rewrite] = []
        for node in nodes:
            for rule in _RULES:
                match = rule.match(node)
                applied = rewriter.apply(rule, match) if match is not None else None
                if applied is not None:
                    log.append(applied.record)
                    infer_shapes(model)
                    break
        rewriter.finish()
        return PassResult(len(log), log=tuple(log))
