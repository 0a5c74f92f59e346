"""The two tools that have no command of their own: python adapter.py onnxscript|onnxruntime IN.onnx OUT.onnx."""

from __future__ import annotations

import sys


def onnxscript(source: str, target: str) -> None:
    """onnxscript's optimizer with its defaults, which folds constants and applies its rewrite rules."""
    import onnx_ir
    from onnxscript import optimizer

    model = onnx_ir.load(source)
    # Models are rewritten in memory; weights that were outside stay outside.
    outside = any(isinstance(v.const_value, onnx_ir.ExternalTensor) for v in model.graph.initializers.values())
    optimizer.optimize_ir(model)
    onnx_ir.save(model, target, **({"external_data": "model.onnx.data"} if outside else {}))


def onnxruntime(source: str, target: str) -> None:
    """onnxruntime's offline optimization at its basic level: the one that keeps to standard operators."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    options.log_severity_level = 3
    if sys.argv[4:] == ["--external"]:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "model.onnx.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    {"onnxscript": onnxscript, "onnxruntime": onnxruntime}[sys.argv[1]](*sys.argv[2:4])
