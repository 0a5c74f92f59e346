"""Compare two model files: pair the nodes, hold what is paired against each other, run both."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from graphopt.diff.match import match
from graphopt.diff.model import Difference, Outputs, Side, Verdict
from graphopt.diff.outputs import outputs
from graphopt.diff.structure import groups, lone, model_changes, node_changes, same_signature
from graphopt.diff.weights import weight_changes
from graphopt.inspection import survey
from graphopt.ir import load
from graphopt.pipeline.manager import no_collection
from graphopt.verify import Sample, iterate
from graphopt.verify.shared import dims_of, shared_dims, signature

Listener = Callable[[str, int, int], None]
"""Told what begins now, its position, and how many steps there are."""
_STEPS = 4


@no_collection()
def diff(
    first: str | Path,
    second: str | Path,
    *,
    dims: Mapping[str, int | tuple[int, ...]] | None = None,
    samples: int = 4,
    calibration: str | Path | None = None,
    images: Mapping[str, Any] | None = None,
    on_progress: Listener | None = None,
) -> Difference:
    """Say how two model files differ.

    Args:
        first, second: .onnx files.
        dims: sizes of dynamic dimensions by name, or whole shapes by input name; what one model leaves open takes the
            size that the other fixes.
        samples: how many inputs both are run on; with 0 structure and weights alone are compared.
        calibration: the user's samples, see `graphopt.verify.iterate`; inputs are generated where None.
        images: "mean", "std" and "layout" of images among them.
        on_progress: told what begins.

    Raises:
        ModelError: a file is no model.
        UserError: `dims` concerns neither, or the samples do not fit.
    """
    tell = on_progress or (lambda name, position, count: None)
    tell("load", 0, _STEPS)
    a, b = load(first), load(second)
    sizes = [
        shared_dims(one, dims_of(one, dims or {}, [a, b]), [signature(other)]) if _sized(one) else {}
        for one, other in ((a, b), (b, a))
    ]
    wholes, unlike = model_changes(a, b), same_signature(a, b)
    sides = [_side(*one) for one in zip((a, b), (first, second), sizes, strict=True)]
    tell("match", 1, _STEPS)
    matching = match(a, b)
    tell("weights", 2, _STEPS)
    weights = weight_changes(matching, lambda done, count: tell(f"weights {done / count:.0%}", 2, _STEPS))
    changed, rewritten = node_changes(matching), groups(matching)
    alike = not (wholes or weights or rewritten or matching.paired or matching.removed or matching.added)
    tell("run", 3, _STEPS)

    def given(model: ir.Model) -> list[Sample]:
        return list(itertools.islice(iterate(Path(str(calibration)), model, dims=sizes[0], **(images or {})), samples))

    if alike:
        computed = Outputs("identical", "the graphs and weights are the same")
    else:
        # Fresh ones: the shapes that were inferred inside these hold at one choice of sizes.
        runs = load(first), load(second)
        computed = outputs(*runs, sizes[0], samples, given if calibration is not None else None)
    verdict, reason = _verdict(alike, unlike, computed)
    return Difference(
        verdict=verdict, reason=reason, first=sides[0], second=sides[1], model=tuple(wholes),
        equal=len(matching.equal), carried=len(matching.paired) - len(changed), changed=tuple(changed),
        rewritten=tuple(rewritten), removed=tuple(lone(matching.removed)), added=tuple(lone(matching.added)),
        weights=tuple(weights), outputs=computed,
    )  # fmt: skip


def _verdict(alike: bool, signature: str, computed: Outputs) -> tuple[Verdict, str]:
    if alike:
        return "identical", computed.reason
    if signature:
        return "different", signature
    if computed.status == "identical":
        return "same", "the outputs agree to the last bit"
    if computed.status == "rounding":
        return "same", "the outputs agree within rounding" + (f": {computed.reason}" if computed.reason else "")
    return "different", computed.reason


def _sized(model: ir.Model) -> bool:
    """Whether every input has a shape, so that sizes can be chosen."""
    return all(value.shape is not None for value in model.graph.inputs)


def _side(model: ir.Model, file: str | Path, dims: Mapping[str, int | tuple[int, ...]]) -> Side:
    found = survey(model, file, dims=dims)
    return Side(
        path=str(file), nodes=found.nodes, parameters=found.parameters, bytes=found.bytes, macs=found.macs,
        activation_peak=found.activation_peak, operators=found.operators,
    )  # fmt: skip
