"""What the page of a run shows beside its report: the work of one inference, what was lost where, and both graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graphopt.drawing import draw, sized_like, worked
from graphopt.losses import histograms_of, layers_of
from graphopt.report.drawing import Drawing
from graphopt.report.model import Report

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir


def detailed(
    report: Report, original: ir.Model, final: ir.Model, samples: Sequence[Mapping[str, np.ndarray]]
) -> tuple[Report, Drawing | None]:
    """The report with what takes another look at the models.

    Args:
        report: the record of the run.
        original, final: the models; the original's shapes are inferred.
        samples: inputs to measure losses on.

    Returns:
        The report, and the graphs; None, with a note in the report, where they are too large to be drawn.
    """
    before = sized_like(original, final)
    layers = layers_of(report.passes, original, final, samples)
    told = replace(
        report, input=worked(report.input, before), layers=layers,
        output=None if report.output is None else worked(report.output, final),
        histograms=histograms_of(report.passes, original, final, layers, samples),
    )  # fmt: skip
    drawing = draw(before, final)
    if drawing is None:
        told = replace(told, notes=(*told.notes, "the graphs have too many nodes to be drawn on the page"))
    return told, drawing
