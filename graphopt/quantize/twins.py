"""Which value of a float model a value of its quantized form stands for."""

from __future__ import annotations

import onnx_ir as ir


class Twins:
    """Finds a node of a quantized model in the float model.

    By the node's name, else by its output's; the operator must be the same, since where codes make a Relu or a Clip
    superfluous, the layer before it may write under its name.
    """

    def __init__(self, reference: ir.Model) -> None:
        self._nodes = {node.name: node for node in reference.graph if node.name}
        self._values = {value.name: node for node in reference.graph for value in node.outputs if value.name}

    def find(self, node: ir.Node) -> str | None:
        """The first output of the node's twin, None where it has none."""
        for twin in (self._nodes.get(node.name or ""), self._values.get(node.outputs[0].name or "")):
            if twin is not None and twin.op_type == node.op_type and twin.domain == node.domain:
                return twin.outputs[0].name
        return None
