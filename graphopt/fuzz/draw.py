"""A whole random model, with inputs to run it on.

Pieces are put on one another until the model is large enough: examples of rules, operators as the sweeps of the
support tables know them, and operators put on what is there. Each piece is executed at once: one that is not valid is
left out, and the next knows what every value holds.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.fuzz.mutate import mutate
from graphopt.fuzz.operators import FAMILIES
from graphopt.fuzz.piece import Known, Piece
from graphopt.fuzz.run import NoKernel, Unrunnable, execute
from graphopt.fuzz.valid import complaint
from graphopt.fuzz.wrap import DOMAIN, WRAPS, Parts, branch, function
from graphopt.ir.evaluate import RANDOM
from graphopt.rewrite import Rule
from graphopt.testing.rules import RegisteredRule, registered_rules

OPSETS = (13, 15, 17, 18, 19, 20, 21, 22)
LARGEST_OPSET = 28
"""A piece that needs more than the model's opset raises it to this at most, if it is the first."""
_PIECES = 5
_TRIES = 4
_ELEMENTS = 20_000


@dataclass(frozen=True)
class Drawn:
    """A random model.

    Attributes:
        seed: draws it again.
        proto: the model, an `onnx.ModelProto`.
        samples: inputs.
        expected: what it computes on each.
        wild: whether infinities and NaN run through it, so that only exact passes are held to it.
        rules: rules whose examples are in it, as "pass/rule".
        reference: whether onnx.reference must run it, since onnxruntime has no kernel for some operator.
    """

    seed: int
    proto: Any
    samples: tuple[Mapping[str, np.ndarray], ...]
    expected: tuple[Mapping[str, np.ndarray], ...]
    wild: bool
    rules: tuple[str, ...]
    reference: bool = False


@functools.cache
def all_rules() -> tuple[RegisteredRule, ...]:
    """Every registered rule, in order."""
    return tuple(registered_rules())


@functools.cache
def insisting() -> frozenset[str]:
    """Passes with a rule that says, on some input of an example, that it holds for numbers only."""
    found = set()
    for registered in all_rules():
        for example in registered.rule.examples:
            for seed in range(3):
                piece = Piece(random.Random(seed), 17, (), "", chained=0)
                example(piece)
                if piece.insists:
                    found.add(registered.one.name)
    return frozenset(found)


def draw(seed: int, rules: Sequence[RegisteredRule] | None = None) -> Drawn:
    """The model of a seed; consecutive seeds go through all rules in turn.

    Args:
        seed: the same one gives the same model.
        rules: whose examples to put in; by default one in order of the seeds, and some at random.

    Raises:
        GraphoptError: no such model can be made, as where a rule's example is not valid.
    """
    refused: GraphoptError | None = None
    reference = False
    for attempt in range(_TRIES):
        try:
            return _Drawing(seed, attempt, rules, reference).draw()
        except NoKernel:
            reference = True
        except GraphoptError as error:
            refused = refused or error
    raise refused or GraphoptError(f"seed {seed} makes no model")


class _Drawing:
    def __init__(self, seed: int, attempt: int, rules: Sequence[RegisteredRule] | None, reference: bool) -> None:
        self.reference = reference
        self.seed, self.source = seed, random.Random(f"{seed}/{attempt}")
        known = all_rules()
        if rules is None:
            chosen = [known[seed % len(known)]]
            self.wild = self.source.random() < 0.2 and chosen[0].rule.fidelity == "exact"
            chosen += [self.source.choice(known) for _ in range(self.source.randint(0, 2))]
        else:
            chosen, self.wild = list(rules), False
        self.chosen, self.spliced = chosen, list[str]()
        self.kinds = (0, 2, 2) if self.wild else (0, 1)
        self.opset = self.source.choice(OPSETS)
        self.pool: list[Known] = []
        self.nodes, self.inputs, self.constants, self.functions = list[Any](), list[Any](), list[Any](), list[Any]()
        self.domains: dict[str, int] = {}
        self.samples: list[dict[str, np.ndarray]] = [{} for _ in self.kinds]
        self.ends: dict[str, None] = {}
        self.count = 0

    def draw(self) -> Drawn:
        plan: list[tuple[Callable[[Piece], object], bool]]
        plan = [(self._operator, self._may_change(0.1)) for _ in range(self.source.randint(1, _PIECES))]
        self._raise_opset(self.chosen[0].rule)
        # The kernels of onnx.reference are right for the usual; elsewhere they leave attributes out.
        for registered in self.chosen[: 1 if self.reference else None]:
            step = self._example(registered)
            plan.insert(
                self.source.randint(0, len(plan)), (step, registered is not self.chosen[0] and self._may_change(0.5))
            )
            if self._may_change(0.5):
                plan.insert(self.source.randint(0, len(plan)), (step, True))
        for step, changed in plan:
            for _ in range(_TRIES):
                if self._add(step, changed):
                    break
        if not self.nodes:
            raise GraphoptError(f"seed {self.seed} makes no model")
        return self._model()

    def _raise_opset(self, rule: Rule) -> None:
        piece = Piece(random.Random(self.seed), self.opset, (), "")
        rule.examples[0](piece)
        self.opset = max(self.opset, min(piece.opset, LARGEST_OPSET))

    # Pieces

    def _may_change(self, share: float) -> bool:
        """Whether to change a piece a little; not where infinities run, or kernels are not to be trusted."""
        return self.source.random() < share and not (self.reference or self.wild)

    def _example(self, registered: RegisteredRule) -> Callable[[Piece], object]:
        def sketch(piece: Piece) -> None:
            self.source.choice(registered.rule.examples)(piece)
            self.spliced.append(str(registered))

        return sketch

    def _operator(self, piece: Piece) -> None:
        if self.pool and (self.reference or self.source.random() < 0.75):
            self.source.choice(FAMILIES)(piece, self.source.choice(self.pool))
        else:
            self._swept(piece)

    def _swept(self, piece: Piece) -> None:
        """One operator, in a form that the sweeps of the support tables know."""
        import onnx

        from graphopt.support.case import since
        from graphopt.support.generate import one
        from graphopt.support.sweeps import operators

        name = self.source.choice(operators())
        probe = one(name, self.source, "fuzz")
        if probe is None or (not name.startswith("com.") and since(name, self.opset) != probe.since):
            return
        proto = onnx.load_from_string(probe.model)
        to: dict[str, str] = {"": ""}
        for tensor in proto.graph.initializer:
            to[tensor.name] = piece.constant(onnx.numpy_helper.to_array(tensor))
        for value in proto.graph.input:
            array = probe.inputs[value.name]
            if array.dtype == np.float32 and len(proto.graph.input) == 1 and self.source.random() < 0.5:
                to[value.name] = piece.input(array.shape)
            else:
                to[value.name] = piece.fed(array)
        for node in proto.graph.node:
            # the order of what is not sorted is nobody's to promise
            attributes = {a.name: a for a in node.attribute if a.name != "sorted"}
            made = piece.op(node.op_type, *(to[i] for i in node.input), outputs=len(node.output), domain=node.domain)
            piece.nodes[-1].attribute.extend(attributes.values())
            to.update(zip(node.output, (made,) if isinstance(made, str) else made, strict=True))
        for value in proto.graph.output:
            piece.output(to[value.name])

    def _add(self, sketch: Callable[[Piece], object], changed: bool) -> bool:
        """Draw a piece, run it, and keep it if it is valid."""
        self.count += 1
        prefix, before = f"p{self.count}_", len(self.spliced)
        piece = Piece(self.source, self.opset, self.pool, prefix)
        try:
            sketch(piece)
            if piece.opset > self.opset or not piece._outputs:
                raise Unrunnable("it is of a newer opset, or makes nothing")
            if changed:
                mutate(piece, self.source)
            parts = _parts(piece, self.source.random() < 0.25)
            if self.source.random() < 0.25:
                # onnx.reference joins what a Loop collects along the wrong axis.
                self.source.choice((branch, function) if self.reference else WRAPS)(parts, self.source, prefix)
            kept = self._run(piece, parts)
            if changed and not all(_finite(array) for answer in kept[1] for array in answer.values()):
                raise Unrunnable("what was changed makes infinities or NaN")
        except NoKernel:
            if str(self.chosen[0]) in self.spliced[before:]:
                raise
            del self.spliced[before:]
            return False
        except refusals():
            del self.spliced[before:]
            return False
        self._keep(piece, parts, kept)
        return True

    def _run(self, piece: Piece, parts: Parts) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
        """What the piece reads that is new, and what it makes, in each sample."""
        fresh = []
        proto = _proto(parts, self.opset)
        offset = self.source.randrange(1000) * 3
        feeds = []
        for place, kind in enumerate(self.kinds):
            own = piece.feeds(offset + kind)
            own.update({name: turns[place % len(turns)] for name, turns in parts.extra.items()})
            fresh.append(own)
            feeds.append({**own, **{name: value.arrays[place] for name, value in piece.taken.items()}})
        given = [{value.name: feed[value.name] for value in proto.graph.input} for feed in feeds]
        made = execute(proto, given, reference=self.reference)
        if any(array.size > _ELEMENTS for answer in made for array in answer.values()):
            raise Unrunnable("it is too large")
        return fresh, made

    def _keep(self, piece: Piece, parts: Parts, kept: tuple[list[Any], list[Any]]) -> None:
        fresh, made = kept
        self.nodes += parts.nodes
        self.constants += parts.constants
        self.functions += parts.functions
        self.inputs += [value for name, value in parts.inputs.items() if name not in piece.taken]
        for domain, version in parts.opsets.items():
            self.domains[domain] = max(version, self.domains.get(domain, 1))
        for sample, own in zip(self.samples, fresh, strict=True):
            sample.update(own)
        for name in piece.taken:
            if self.source.random() < 0.7:
                self.ends.pop(name, None)
        for name in parts.shown:
            if all(name in answer for answer in made):
                self.pool.append(Known(name, tuple(answer[name] for answer in made)))
                self.ends[name] = None
        for name in fresh[0]:
            self.pool.append(Known(name, tuple(own[name] for own in fresh)))

    # The whole

    def _model(self) -> Drawn:
        import onnx

        arrays = {value.name: value for value in self.pool}
        if any(_random(node) for node in self.nodes):
            raise GraphoptError(f"seed {self.seed} makes random numbers")
        ranks = {name: {array.ndim for array in arrays[name].arrays} for name in self.ends}
        outputs = [_declared(arrays[name], self.source) for name in self.ends if len(ranks[name]) == 1]
        if self.source.random() < 0.1:
            self.inputs.append(onnx.helper.make_tensor_value_info("unused", 1, ["any", 2]))
            for sample in self.samples:
                sample["unused"] = np.zeros((1, 2), np.float32)
        inputs = list(self.inputs)
        if self.source.random() < 0.15 and self.constants:
            tensor = self.source.choice(self.constants)
            inputs.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        graph = onnx.helper.make_graph(self.nodes, f"fuzz{self.seed}", inputs, outputs, self.constants)
        opsets = [onnx.helper.make_opsetid(*one) for one in {**self.domains, "": self.opset}.items()]
        model = onnx.helper.make_model(graph, opset_imports=opsets, functions=self.functions, ir_version=10)
        samples = [dict(sample) for sample in self.samples]
        try:
            expected = [dict(one) for one in execute(model, samples, reference=self.reference)]
        except Unrunnable as error:
            raise GraphoptError(f"seed {self.seed} makes a model that does not run: {error}") from None
        flaw = complaint(model)
        if flaw is not None and not flaw.startswith("No Op registered"):  # what onnxruntime adds to the default domain
            raise GraphoptError(f"seed {self.seed} makes a model that is not valid: {flaw}")
        rules = tuple(dict.fromkeys(self.spliced))
        return Drawn(self.seed, model, tuple(samples), tuple(expected), self.wild, rules, self.reference)


def _declared(value: Known, source: random.Random) -> Any:
    """An output with its type; its axes are symbolic, or as they are."""
    import onnx

    same = len({array.shape for array in value.arrays}) == 1 and source.random() < 0.3
    return onnx.helper.make_tensor_value_info(
        value.name, value.dtype, value.shape if same else [None] * len(value.shape)
    )


def _random(node: Any) -> bool:
    """Whether a node or one inside it draws random numbers."""
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inside = any(_random(inner) for body in bodies for inner in body.node)
    if node.op_type == "Dropout":  # random where it trains
        return len(node.input) > 2 and bool(node.input[2])
    return inside or node.op_type in RANDOM


def _finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _parts(piece: Piece, all_values: bool) -> Parts:
    """The parts of a piece; with all values, what lies inside is for others to read as well."""
    import onnx

    proto = piece.model()
    if all_values:
        inferred = onnx.shape_inference.infer_shapes(proto)
        have = {value.name for value in proto.graph.output}
        proto.graph.output.extend(
            value for value in inferred.graph.value_info
            if value.name not in have and value.type.tensor_type.elem_type
        )  # fmt: skip
    return Parts(proto, [value.name for value in proto.graph.output])


def _proto(parts: Parts, opset: int) -> Any:
    import onnx

    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in parts.shown]
    graph = onnx.helper.make_graph(parts.nodes, "piece", list(parts.inputs.values()), outputs, parts.constants)
    opsets = [onnx.helper.make_opsetid(*one) for one in {**parts.opsets, "": opset}.items()]
    return onnx.helper.make_model(graph, opset_imports=opsets, functions=parts.functions, ir_version=10)


def refusals() -> tuple[type[Exception], ...]:
    """What is raised for a piece that is not valid."""
    import onnx

    return (Unrunnable, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, TypeError)


__all__ = ["DOMAIN", "Drawn", "all_rules", "draw", "insisting"]
