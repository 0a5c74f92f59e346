"""Replace every operator that the backend lacks by operators that it takes.

    x ─ HardSwish ─ y      becomes      x ─┬─ HardSigmoid ─┐        where the backend's table takes no HardSwish
                                           └────── Mul ────┴─ y

The table says which nodes are illegal, the registered substitutions what they could become, and the cheapest chain
that ends in legal nodes is applied; `graphopt passes` lists the substitutions, a plugin adds its own. A node that no
chain helps stays as it is, and the report says what was tried. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.ir import infer_shapes
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
        done = legalize(model, backend.table(), offered, backend.costs, made_by=self.name, words=_WORDS)
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
