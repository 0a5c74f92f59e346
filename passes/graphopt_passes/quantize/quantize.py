"""Compute in fewer bits, as the backend's kernels take it.

    x ─ Conv(w, b) ─ Relu ─ y     becomes     x ─ Q ─ DQ ─ Conv(DQ(w), DQ(b)) ─ Q ─ DQ ─ y       scheme w8a8

with Q and DQ for QuantizeLinear and DequantizeLinear. What is quantized, to which codes and over which ranges is the
backend's scheme (`quantize.toml`); ranges and roundings come from the samples of `--calibration`. A model that is
quantized already gets the codes of this scheme over the ranges that it has. Fidelity: lossy; the report's verification
says by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from graphopt.errors import UserError
from graphopt.ir import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.quantize.ranges import Method
from graphopt.quantize.scheme import Name, Scheme, scheme_of
from graphopt_passes.legalize.convert_opset import ConvertOpset
from graphopt_passes.legalize.qdq_form import QdqForm

_GENERATED = 16
_NO_SAMPLES = "on generated samples: give --calibration, since ranges are those of noise now"
Samples = Callable[[], Iterable[Mapping[str, np.ndarray]]]


class Quantize(Pass):
    """Store weights and compute activations in fewer bits, as the backend's kernels take them."""

    name = "quantize"
    fidelity = "lossy"

    @dataclass(frozen=True)
    class Options:
        """How."""

        scheme: Name = "w8a8"
        """Bits of weights and activations: w8a8, w8a16; w8, w4 for weights alone; fp16, bf16; dynamic."""
        ranges: Method | Literal["auto"] = "auto"
        """Which part of what activations take gets codes: minmax, percentile, entropy, mse, octav; auto measures."""
        rounding: bool = True
        """Try to round weights for the least error of what their layer computes, instead of to the nearest."""
        correct: bool = True
        """Try to correct each layer's bias by the mean of the layer's error."""
        exclude: str = ""
        """What stays in float: names of nodes or of operators, separated by spaces."""
        budget: str = ""
        """Leave in float what that needs: size=4MB (of weights), latency=60% or min-sqnr=30, separated by spaces."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Quantize in place, as the scheme says.

        Raises:
            UserError: the backend lacks the scheme, or the model does not run on the user's samples.
        """
        from graphopt.verify import ExecutionFailed

        try:
            return self._run(model, context)
        except ExecutionFailed as error:
            if context.calibration is None:
                raise
            advice = "give --dim the sizes that the samples have"
            raise UserError(f"quantize: the model does not run on the samples ({error.reason}): {advice}") from None

    def _run(self, model: ir.Model, context: Context) -> PassResult:
        name = self.options.scheme
        scheme = None if name in ("fp16", "bf16") else scheme_of(name, context.backend)
        infer_shapes(model)
        known = self._float_again(model, context)
        if isinstance(known, PassResult):
            return known
        ConvertOpset(least=13 if scheme is None else scheme.opset).run(model, context)
        infer_shapes(model)
        excluded = self._excluded(model)
        if scheme is None:
            return self._in_halves(model, context, excluded)
        told = ""
        if self.options.budget:
            kept, told = self._within_budget(model, scheme, context, excluded)
            excluded += kept
        result = self._with(scheme, model, context, excluded, known)
        return replace(result, detail=f"{result.detail}; {told}") if told else result

    def _with(
        self, scheme: Scheme, model: ir.Model, context: Context, excluded: Sequence[ir.Node],
        known: Mapping[str, tuple[float, float]],
    ) -> PassResult:  # fmt: skip
        if scheme.name == "dynamic":
            from graphopt.quantize.dynamic import quantize_dynamic

            count = quantize_dynamic(model, scheme, excluded, self.name)
            return PassResult(count, f"dynamic: {count} layers")
        if scheme.activations is None:
            return self._weights(model, scheme, context, excluded)
        return self._static(model, scheme, context, excluded, known)

    def _within_budget(
        self, model: ir.Model, scheme: Scheme, context: Context, excluded: Sequence[ir.Node]
    ) -> tuple[list[ir.Node], str]:
        """The layers that stay in float, and what is to be said about them."""
        from graphopt.quantize.mixed import Budget
        from graphopt.quantize.precision import choose_precision

        budget, (samples, note) = Budget.parse(self.options.budget), _samples(model, context)
        costs = context.backend.costs if context.backend is not None else None
        found = choose_precision(model, scheme, samples, budget, costs=costs, fixed=excluded)
        layers = len(found.chosen)
        told = f"{len(found.kept)} of {layers} layers in float, {found.sqnr_db:.1f} dB foretold"
        return found.kept, f"{told} {note}".strip()

    def _float_again(self, model: ir.Model, context: Context) -> dict[str, tuple[float, float]] | PassResult:
        """The ranges of a model that was quantized and is one of floats again; why it cannot be, where it cannot."""
        from graphopt.quantize.existing import integer_operators, unquantize

        left = integer_operators(model)
        if left or any(node.op_type == "QuantizeLinear" for node in model.graph):
            copy = model.clone()
            QdqForm().run(copy, context)
            left = integer_operators(copy)
            if not left:
                QdqForm().run(model, context)
                infer_shapes(model)
        if left:
            told = ", ".join(f"{name} {count}" for name, count in sorted(left.items()))
            return PassResult(0, f"the model is quantized already ({told}): give the float model that it was made from")
        ranges = unquantize(model, self.name)
        if ranges:
            infer_shapes(model)
        return ranges

    def _static(
        self, model: ir.Model, scheme: Scheme, context: Context, excluded: Sequence[ir.Node],
        known: Mapping[str, tuple[float, float]],
    ) -> PassResult:  # fmt: skip
        from graphopt.quantize.static import quantize_static
        from graphopt.quantize.validate import validate

        samples, note = _samples(model, context)
        done = quantize_static(
            model, scheme, samples, method=self.options.ranges, rounding=self.options.rounding,
            correct=self.options.correct, excluded=excluded, known=known, made_by=self.name,
        )  # fmt: skip
        if done is None:
            return PassResult(0, f"nothing that {scheme.name} quantizes")
        findings = validate(model, scheme)
        layers, activations = len(done.done.layers), done.done.activations
        told = [f"{scheme.name}: {layers} layers, {activations} activations; {done.taken}, {done.sqnr_db:.1f} dB"]
        told += [note] if note else []
        told += [f"{len(findings)} breaks of the scheme, as {_shown(findings[0])}"] if findings else []
        metrics = {
            "weighted": layers, "activations": activations, "biases_corrected": done.corrected,
            "scales_raised": done.raised, "illegal": len(findings), "ladder": dict(done.ladder),
        }  # fmt: skip
        advice = {finding.node: finding.reason for finding in findings}
        return PassResult(layers + activations, "; ".join(told), metrics=metrics, advice=advice)

    def _weights(self, model: ir.Model, scheme: Scheme, context: Context, excluded: Sequence[ir.Node]) -> PassResult:
        from graphopt.calibrate import each_moment
        from graphopt.quantize.weight_only import quantize_weights

        informed = None
        if self.options.rounding and scheme.weights.bits < 8 and context.calibration is not None:
            samples, reference = context.calibration, model.clone()
            informed = lambda names: each_moment(reference, names, samples)  # noqa: E731
        done = quantize_weights(model, scheme, excluded=excluded, moments=informed, made_by=self.name)
        metrics = {"weights": done.weights, "bytes_before": done.before, "bytes_after": done.after}
        return PassResult(done.weights, f"{scheme.name}: {done.weights} weights", metrics=metrics)

    def _in_halves(self, model: ir.Model, context: Context, excluded: Sequence[ir.Node]) -> PassResult:
        from graphopt.quantize.halves import store_bfloat16, to_half

        if self.options.scheme == "bf16":
            count = store_bfloat16(model, excluded, self.name)
            return PassResult(count, f"bf16: {count} weights")
        from graphopt.calibrate import collect

        samples, note = _samples(model, context)
        names = [value.name for node in model.graph for value in node.outputs if value.name]
        stats = collect(model, [*names, *(value.name or "" for value in model.graph.inputs)], samples, histograms=False)
        done = to_half(model, stats, excluded, self.name)
        told = [f"fp16: {done.nodes} operators", *([f"{len(done.kept)} kept in float32"] if done.kept else [])]
        return PassResult(done.nodes, "; ".join([*told, *([note] if note else [])]))

    def _excluded(self, model: ir.Model) -> list[ir.Node]:
        words = self.options.exclude.split()
        known = {node.name for node in model.graph} | {node.op_type for node in model.graph}
        for word in words:
            if word not in known:
                raise UserError(f"quantize: exclude={word} is no node and no operator of the model")
        return [node for node in model.graph if node.name in words or node.op_type in words]


def _shown(finding: object) -> str:
    return f"{getattr(finding, 'node', '')}: {getattr(finding, 'reason', '')}"


def _samples(model: ir.Model, context: Context) -> tuple[Samples, str]:
    """The samples to measure ranges on, and what is to be said about them."""
    if context.calibration is not None:
        return context.calibration, ""
    from graphopt.verify import generate

    # Passes before this one may have fixed what --dim names.
    named = {value.name for value in model.graph.inputs}
    named |= {dim.value for v in model.graph.inputs for dim in v.shape or () if isinstance(dim, ir.SymbolicDim)}
    dims = {name: size for name, size in context.dims.items() if name in named}
    made = generate(model, dims=dims, samples=_GENERATED)
    return lambda: made, _NO_SAMPLES
