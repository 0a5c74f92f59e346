"""Bring a model of IR version 3 to version 8, where weights are not inputs.

    inputs: x, w, b      becomes      inputs: x
    initializers: w, b                initializers: w, b

Before IR version 4 every initializer had to be listed among the inputs, though no runtime let a caller set it. From 4
on that listing means a default that a caller may override, so the lists must part before anything may rely on a
weight. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.pipeline import Context, Pass, PassResult

FIRST_WITH_DEFAULTS = 4
TARGET = 8


class UpgradeIR(Pass):
    """Bring a model from before IR version 4 to a version where weights are not inputs."""

    name = "upgrade-ir"
    fidelity = "exact"
    changes_signature = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Part the lists and raise the version."""
        if model.ir_version is None or model.ir_version >= FIRST_WITH_DEFAULTS:
            return PassResult(0)
        weights = [value for value in model.graph.inputs if value.is_initializer()]
        kept = [value for value in model.graph.inputs if not value.is_initializer()]
        before, model.ir_version = model.ir_version, TARGET
        model.graph.inputs.clear()
        model.graph.inputs.extend(kept)
        return PassResult(1, f"IR version {before} to {TARGET}, {len(weights)} weights are no longer inputs")
