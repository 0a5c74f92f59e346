"""Reading QNN's log: excerpts as onnxruntime-qnn 2.7.0 writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphopt_backends.snpe.diagnose import last_node, load_error, locate, refusals

LOG = """[V] QNN node builder is trying to add node. Onnx node name: [a] onnx node type: [Relu].
\tOperator type: Relu Node name: a Node index: 0

[V] QNN node builder is trying to add node. Onnx node name: [b] onnx node type: [Asin].
[V]  <E> Unsupported datatypes for 'b'.
[V]  <E> Requested I/O datatype set:
   in[0]:QNN_DATATYPE_FLOAT_32
[V]  <E> Supported I/O datatype sets for the configuration: INT16
   in[0]:QNN_DATATYPE_SFIXED_POINT_16
[V]  <E> QnnBackend_validateOpConfig failed 3110
[V] LogNodeSupport] Validation FAILED for 3 nodes in OrtNodeUnit (Asin) :
\tOperator type: DequantizeLinear Node name: dq Node index: 1
\tOperator type: Asin Node name: b Node index: 2
\tOperator type: QuantizeLinear Node name: q Node index: 3
\tREASON : Failed to add node.

[V] LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (Asin) :
\tOperator type: Asin Node name: b Node index: 2
\tREASON : Failed to add node, again.
[V] QNN node builder is trying to add node. Onnx node name: [c_token_4] onnx node type: [Conv].
"""
NODES = {"a": "Relu", "b": "Asin", "c": "Conv", "dq": "DequantizeLinear", "q": "QuantizeLinear"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log"
    file.write_text(LOG)
    return file


def test_the_operator_of_a_refused_unit_is_blamed_once(log: Path) -> None:
    [issue] = refusals(log, NODES)
    assert (issue.node, issue.op_type) == ("b", "Asin")
    assert issue.reason == (
        "Failed to add node. Unsupported datatypes for 'b'. It is asked for FLOAT_32 and takes INT16."
    )


def test_a_log_that_ends_suddenly_blames_the_node_at_hand(log: Path) -> None:
    issue = last_node(log, NODES, "it crashed")
    assert (issue.node, issue.op_type) == ("c", "Conv")


def test_a_log_that_ends_after_composing_blames_nobody(log: Path) -> None:
    log.write_text(LOG + "[V] ComposeGraph] GetGraphInfoFromModel completed.\n")
    assert last_node(log, NODES, "it crashed").node == ""


def test_a_node_that_onnxruntime_made_is_traced_to_the_longest_name_it_extends() -> None:
    assert locate("conv1_token_3", "Conv", "no", {"conv": "Conv", "conv1": "Conv"}).node == "conv1"
    assert locate("fused", "Gelu", "no", {"conv": "Conv"}).reason == "no (onnxruntime's node 'fused')"


def test_a_message_about_something_else_is_no_load_error() -> None:
    assert load_error("EP_FAIL : Failed to compose Qnn graph.", "onnxruntime-qnn 2.7.0", NODES) is None


def test_a_shape_error_of_onnxruntime_names_its_node() -> None:
    issue = load_error("1 : FAIL : Node (b) Op (Asin) [ShapeInferenceError] bad\nrank", "onnxruntime-qnn 2.7.0", NODES)
    assert issue is not None
    assert (issue.node, issue.op_type) == ("b", "Asin")
    assert issue.reason.endswith("[ShapeInferenceError] bad rank")
