"""How do two models differ, in structure, in weights and in what they compute?

    found = diff("a.onnx", "b.onnx")
    found.verdict, found.rewritten, found.weights, found.outputs

`match` pairs the nodes, `structure` says what is not alike, `weights` by how much weights moved, `outputs` what that
does to the outputs.
"""

from graphopt.diff.diff import diff
from graphopt.diff.html import render_html
from graphopt.diff.model import Difference

__all__ = ["Difference", "diff", "render_html"]
