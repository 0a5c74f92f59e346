"""Replace every operator that the backend lacks by operators that it takes.

    x ─ HardSwish ─ y      becomes      x ─┬─ HardSigmoid ─┐        where the backend's table takes no HardSwish
                                           └────── Mul ────┴─ y

The table says which nodes are illegal, the registered substitutions what they could become, and the cheapest chain
that ends in legal nodes is applied; `graphopt passes` lists the substitutions, a plugin adds its own. A node that no
chain helps stays as it is, and the report says what was tried. Fidelity: rounding.
"""

from __future__ import annotations

from functools import partial
from math import prod

import onnx_ir as ir

from graphopt.ir import infer_shapes
from graphopt.ir.edit import bodies, constant, static_shape
from graphopt.legalize import legalize, substitutions
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.support.work import work

_COUNTED = "how many results there are depends on values"
_WORDS = {
    "NonMaxSuppression": f"{_COUNTED}: cut the model before it and choose the boxes on the host",
    "NonZero": f"{_COUNTED}: where a mask will do, compute with that instead of places",
    "Compress": f"{_COUNTED}: multiply by the condition instead, or choose on the host",
    "Unique": f"{_COUNTED}: run it on the host",
    "TfIdfVectorizer": "it counts words: run it on the host, before the model",
    "StringNormalizer": "it computes with text: run it on the host, before the model",
    "StringSplit": "it computes with text: run it on the host, before the model",
    "StringConcat": "it computes with text: run it on the host",
    "RegexFullMatch": "it computes with text: run it on the host, before the model",
    "ImageDecoder": "it reads a file: decode the image on the host",
    "ZipMap": "it makes a dictionary: export the classifier without it (zipmap=False in skl2onnx)",
    "RandomNormal": "its numbers differ in every run: pass them in as an input",
    "RandomNormalLike": "its numbers differ in every run: pass them in as an input",
    "RandomUniform": "its numbers differ in every run: pass them in as an input",
    "RandomUniformLike": "its numbers differ in every run: pass them in as an input",
    "Bernoulli": "its numbers differ in every run: pass them in as an input",
    "Multinomial": "its numbers differ in every run: draw on the host",
}
"""What to do about operators that nothing replaces."""


_SMALL = 8
"""Elements up to which an input is a setting rather than data."""


def _advised(inputs: frozenset[ir.Value], node: ir.Node) -> str | None:
    """What to do about a node that nothing replaces, in a model with these inputs."""
    if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        return None
    settings = _settings(node.inputs[0], inputs) if node.op_type in ("If", "Loop") else None
    if settings:
        return f"what it does hangs on an input: fix it with {' '.join(f'--set {name}=VALUE' for name in settings)}"
    return _WORDS.get(node.op_type)


def _settings(value: ir.Value | None, inputs: frozenset[ir.Value]) -> list[str] | None:
    """The inputs of the model that a value is computed from; None where they are data, or not all are such inputs."""
    found, seen, waiting = dict[str, None](), set(), [value]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen or constant(one) is not None:
            continue
        seen.add(one)
        maker = one.producer()
        if maker is not None:
            if any(True for _ in bodies(maker)):
                return None
            waiting += maker.inputs
            continue
        shape = static_shape(one)
        if one not in inputs or shape is None or prod(shape) > _SMALL:
            return None
        found[one.name or ""] = None
    return sorted(found)


class Legalize(Pass):
    """Replace what the backend does not take by what it takes."""

    name = "legalize"
    fidelity = "rounding"
    idempotent = True

    def run(self, model, context: Context) -> PassResult:
        """Plan and apply; nothing to do without a backend."""
        if context.backend is None:
            return PassResult(0, "no backend to be legal for")
        infer_shapes(model)
        rules, problems = substitutions()
        backend, before = context.backend, work(model)
        offered = [rule for _, rule in rules]
        done = legalize(
            model,
            backend.table(),
            offered,
            backend.costs,
            made_by=self.name,
            words=partial(_advised, frozenset(model.graph.inputs)),
        )
        told = [f"{name} {count}" for name, count in sorted(done.counts.items())]
        told += [f"{len(done.illegal)} nodes stay illegal"] if done.illegal else []
        infer_shapes(model)
        metrics = before.as_metrics("before") | work(model).as_metrics("after") if done.rewrites else {}
        return PassResult(
            len(done.rewrites),
            ", ".join(told + problems),
            log=tuple(done.rewrites),
            advice=done.advice,
            metrics=metrics,
        )
