"""From a torch module to a TFLite file, with no ONNX file in between.

pip install torch onnxscript 'graphopt[tflite]'
python examples/from_torch.py
"""

from __future__ import annotations

from pathlib import Path

import torch

import graphopt


class Network(torch.nn.Module):
    """A small classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.Hardswish(),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of ten classes."""
        return self.layers(image)


def main() -> None:
    """Export, optimize, compile, compare."""
    program = torch.onnx.export(Network().eval(), (torch.rand(1, 3, 32, 32),), dynamo=True, verbose=False)
    result = graphopt.optimize(program, backend="tflite", output=Path("network.onnx"))
    report = result.report
    print(f"{report.input.nodes} nodes became {report.output.nodes}: {report.status}, {result.artifact}")  # noqa: T201


if __name__ == "__main__":
    main()
