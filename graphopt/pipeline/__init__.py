"""The pipeline: what a pass is, the registry that finds passes and backends, recipes, and the manager that runs them.

Passes: `passes` · passes that are functions: `functions` · of other libraries: `adapters` · names: `registry` ·
TOML: `recipe` · running, recording, rolling back: `manager`
"""

from graphopt.pipeline.adapters import from_onnx_ir, from_onnxscript
from graphopt.pipeline.functions import function_pass, graphsurgeon_pass
from graphopt.pipeline.manager import PassManager, PipelineResult, Step
from graphopt.pipeline.passes import Context, Pass, PassResult, RewritePass
from graphopt.pipeline.recipe import Recipe
from graphopt.pipeline.registry import BACKENDS, PASSES, make_backend, make_pass

__all__ = [
    "BACKENDS", "PASSES", "Context", "Pass", "PassManager", "PassResult", "PipelineResult", "Recipe", "RewritePass",
    "Step", "from_onnx_ir", "from_onnxscript", "function_pass", "graphsurgeon_pass", "make_backend", "make_pass",
]  # fmt: skip
