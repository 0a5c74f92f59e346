"""A pass that is a function with an option."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir

from graphopt.pipeline import function_pass


@function_pass("describe-nodes", fidelity="exact")
def describe_nodes(model: ir.Model, *, words: Literal["short", "long"] = "long") -> int:
    """Write into each node's documentation what it reads and makes."""
    changes = 0
    for node in model.graph.all_nodes():
        text = f"{node.op_type} of {len(node.inputs)}"
        if words == "long":
            text += f": {', '.join(str(value.name) for value in node.inputs if value is not None)}"
        if node.doc_string != text:
            node.doc_string = text
            changes += 1
    return changes
