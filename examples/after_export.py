"""A hook behind an exporter that writes ONNX files into a folder, as Optimum's does: each is optimized in place.

    from optimum.exporters.onnx import main_export
    optimized(main_export)("distilbert-base-uncased", output="bert/")

Here with an exporter of two lines:

    pip install torch onnxscript graphopt
    python examples/after_export.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import graphopt


def optimized(export: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """The same exporter, whose files are optimized.

    Args:
        export: writes .onnx files into the folder `output`.
        settings: for `graphopt.optimize`, as `backend="onnxruntime"` or `recipe=…`.
    """

    @wraps(export)
    def then(*inputs: Any, output: str | Path, **more: Any) -> Any:
        made = export(*inputs, output=output, **more)
        for file in sorted(Path(output).rglob("*.onnx")):
            report = graphopt.optimize(file, output=file, **settings).report
            if report.status != "ok":
                raise graphopt.UserError(f"{file}: {report.reason}")
        return made

    return then


def main() -> None:
    """Export a module with torch, optimized."""
    import torch

    def export(module: torch.nn.Module, *, output: str) -> None:
        Path(output).mkdir(exist_ok=True)
        torch.onnx.export(module, (torch.rand(1, 8),), Path(output, "model.onnx"), dynamo=True, verbose=False)

    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.GELU()).eval()
    optimized(export)(layers, output="exported")
    print(f"{sum(1 for _ in graphopt.load('exported/model.onnx').graph)} nodes in exported/model.onnx")  # noqa: T201


if __name__ == "__main__":
    main()
