"""What a quantized probe also shows: the QuantizeLinear and DequantizeLinear around its operator were taken, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from graphopt.support.probe import Probe
from graphopt.support.result import Result

_QUANTIZERS: Final = ("QuantizeLinear", "DequantizeLinear")


def companions(probes: Iterable[Probe], results: Iterable[Result]) -> Iterator[Result]:
    """A result for each quantizing node beside the one that was asked about, of probes that were taken.

    Of a refused probe nothing is known of them: it may have been refused because of the node between them.
    """
    answers: Mapping[str, Result] = {result.id: result for result in results}
    for probe in probes:
        answer = answers.get(probe.id)
        if answer is not None and answer.effect is None and probe.facts.get("qdq.activation", "none") != "none":
            yield from _beside(probe, answer)


def _beside(probe: Probe, answer: Result) -> Iterator[Result]:
    import onnx
    import onnx_ir as ir

    from graphopt.ir.infer import infer_shapes
    from graphopt.support.facts import facts
    from graphopt.support.schemas import operator

    model = ir.from_proto(onnx.load_from_string(probe.model))
    infer_shapes(model)
    for node in model.graph:
        schema = operator(node.domain, node.op_type, model.graph.opset_imports[""])
        if node.name != "op" and node.op_type in _QUANTIZERS and schema is not None:
            yield replace(
                answer, op_type=node.op_type, domain="", since=schema.since, core=False, facts=facts(node, schema)
            )
