"""Does the optimized model still compute the same? Sample inputs, two oracles, error metrics, verdicts.

samples = generate(model, dims={"batch": 1})
verdict = judge(model, optimized, samples, "rounding")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.verify.conditioning import noise_floor, precision
    from graphopt.verify.data import iterate, load
    from graphopt.verify.dims import check_dims, concrete_shapes, parse_dims, real_inputs
    from graphopt.verify.execute import ExecutionFailed, Runner, run
    from graphopt.verify.fidelity import Fidelity, Verification, holds, judge
    from graphopt.verify.inputs import generate
    from graphopt.verify.metrics import OutputError, compare
    from graphopt.verify.oracle import answers, run_reference
    from graphopt.verify.scale import natural_scale
    from graphopt.verify.types import Array, Sample
    from graphopt.verify.values import give_values, parse_values

# The module of each public name. They are imported on first use: the command line starts without onnxruntime.
_HOMES = {
    "Array": "types", "ExecutionFailed": "execute", "Fidelity": "fidelity", "OutputError": "metrics",
    "Runner": "execute", "Sample": "types", "Verification": "fidelity", "answers": "oracle", "check_dims": "dims",
    "compare": "metrics", "concrete_shapes": "dims", "generate": "inputs", "give_values": "values",
    "holds": "fidelity", "iterate": "data", "judge": "fidelity", "load": "data", "natural_scale": "scale",
    "noise_floor": "conditioning", "parse_dims": "dims", "parse_values": "values", "precision": "conditioning",
    "real_inputs": "dims", "run": "execute", "run_reference": "oracle",
}  # fmt: skip

__all__ = [
    "Array", "ExecutionFailed", "Fidelity", "OutputError", "Runner", "Sample", "Verification", "answers", "check_dims",
    "compare", "concrete_shapes", "generate", "give_values", "holds", "iterate", "judge", "load", "natural_scale",
    "noise_floor", "parse_dims", "parse_values", "precision", "real_inputs", "run", "run_reference",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
