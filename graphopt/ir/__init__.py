"""The model is `onnx_ir.Model`; this package adds the few helpers that onnx_ir lacks.

load, save: `io` · structure check: `validate` · shapes: `infer`, `partial`, `symbolic` · constants: `evaluate` ·
editing: `edit` · views for other libraries: `views`
"""

from graphopt.ir.edit import add_constant, constant, count_nodes, shape_of, sources_of, static_shape
from graphopt.ir.infer import infer_shapes
from graphopt.ir.io import load, save, to_bytes, to_proto
from graphopt.ir.validate import validate

__all__ = [
    "add_constant", "constant", "count_nodes", "infer_shapes", "load", "save", "shape_of", "sources_of",
    "static_shape", "to_bytes", "to_proto", "validate",
]  # fmt: skip
