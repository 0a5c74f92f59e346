"""Turn TensorRT's errors into complaints about nodes of the user's model. Imported in a child process only."""

from __future__ import annotations

import re

import onnx
import tensorrt_rtx_bindings as trt

from graphopt.support.backend import NodeIssue

_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\]")
_COUNTED = re.compile(r"_\d+$")
_NAMELESS = "node_of_"
# The parser logs what it also reports through ParserError.
_PARSER = "ModelImporter.cpp"


def nodes(model: onnx.ModelProto) -> dict[str, str]:
    """Op type by name of the model's nodes; a nameless node goes by its first output."""
    return {node.name or next((name for name in node.output if name), ""): node.op_type for node in model.graph.node}


def parser_issues(parser: trt.OnnxParser, model: onnx.ModelProto) -> list[NodeIssue]:
    """Read the parser's errors, one for each node that it refuses."""
    return [_parser_issue(parser.get_error(index), model) for index in range(parser.num_errors)]


def _parser_issue(error: trt.ParserError, model: onnx.ModelProto) -> NodeIssue:
    op_type, name = str(error.node_operator()), str(error.node_name())
    if not name and 0 <= error.node() < len(model.graph.node):
        node = model.graph.node[error.node()]
        # The index may count the nodes of a subgraph or of a function instead.
        name = next((out for out in node.output if out), "") if node.op_type == op_type else ""
    try:
        words = " ".join(str(error.desc()).split())
    except UnicodeDecodeError:
        words = "(the parser's text is not valid UTF-8)"
    code = str(error.code()).rpartition(".")[2]
    # An assertion without a text reads "false".
    said = f"the ONNX parser has no support for it ({error.func()})" if words in ("false", "") else words
    return NodeIssue(name, op_type, f"{code}: {said}"[:600])


def build_issues(log: list[str], layers: list[trt.ILayer], known: dict[str, str]) -> list[NodeIssue]:
    """Read the errors of a failed build from the logger, each mapped to the node of the layer that it names.

    Args:
        log: the logged errors.
        layers: the layers of the network.
        known: op type by name, from `nodes`.
    """
    found: dict[tuple[str, str], NodeIssue] = {}
    for text in log:
        if _PARSER in text:
            continue
        words = " ".join(text.split())[:600]
        name = _blamed(words, layers, known)
        found.setdefault((name, words), NodeIssue(name, known.get(name, ""), words))
    return list(found.values())


def _blamed(words: str, layers: list[trt.ILayer], known: dict[str, str]) -> str:
    named = [layer for layer in layers if re.search(rf"(?<![\w.]){re.escape(layer.name)}(?![\w])", words)]
    if not named:
        return ""
    layer = max(named, key=lambda one: len(one.name))
    candidates = [*_ONNX_LAYER.findall(layer.metadata), layer.name, _COUNTED.sub("", layer.name)]
    candidates += [name.removeprefix(_NAMELESS) for name in candidates]
    return next((name for name in candidates if name in known), "")
