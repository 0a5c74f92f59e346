"""The work of one seed: draw, try in two recipes, make failures small, and say what came of it in JSON.

    python -m graphopt.fuzz.work FIRST STOP STEP FOLDER

works through the seeds in a process of its own and writes a line for each, since a kernel may crash or hang.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphopt.errors import GraphoptError
from graphopt.fuzz.draw import Drawn, all_rules, draw, insisting
from graphopt.fuzz.recipes import random_recipe, steps, whole_recipe
from graphopt.fuzz.shrink import shrink
from graphopt.fuzz.trial import Failure, Outcome, alone, delivered, repeats, trial
from graphopt.pipeline import Step
from graphopt.support.backend import Backend

_RARE = 8
"""One seed in so many is run again for its bytes, and once more with verification."""


def work(seed: int, folder: Path | None = None, tell: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What one seed shows, as JSON writes it: in two recipes, and where its first rule is applied alone.

    Args:
        seed: draws the model and the recipes.
        folder: where a failure is written, made small; None writes none.
        tell: called when the model is drawn, and graphopt's own work begins.
    """
    try:
        drawn = draw(seed)
    except GraphoptError as error:
        return {"seed": seed, "undrawn": str(error)}
    tell()
    source = random.Random(seed)
    told: dict[str, Any] = {"seed": seed, "operators": sorted(_operators(drawn.proto.graph)), "rules": drawn.rules}
    fired, failures, notes = Counter[str](), list[dict[str, Any]](), list[str]()
    digest = hashlib.sha256()
    for recipe, backend in ((random_recipe(drawn, source), None), whole_recipe(drawn, source)):
        outcome = trial(drawn, recipe, backend)
        found = outcome.failures + (_seldom(drawn, recipe, backend, outcome) if seed % _RARE == 0 else [])
        for failure in {one.signature: one for one in found}.values():
            failures.append(_told(drawn, recipe, backend, failure, folder))
        fired += outcome.fired
        notes += [outcome.note] if outcome.note else []
        digest.update(outcome.bytes)
    first = all_rules()[seed % len(all_rules())]
    if not (drawn.wild and first.one.name in insisting()):
        outcome = alone(drawn, first)
        for failure in outcome.failures:
            failures.append(_told(drawn, steps([first.one.name]), None, failure, folder, small=False))
        fired += outcome.fired
        notes += [outcome.note] if outcome.note else []
    return {**told, "fired": fired, "failures": failures, "notes": notes, "digest": digest.hexdigest()}


def _seldom(drawn: Drawn, recipe: Sequence[Step], backend: Backend | None, outcome: Outcome) -> list[Failure]:
    if outcome.failures and outcome.failures[0].blamed == "the pipeline":
        return []
    found = [repeats(drawn, recipe, backend, outcome.bytes)]
    if not drawn.reference and not drawn.wild:
        found.append(delivered(drawn, recipe, backend))
    return [failure for failure in found if failure is not None]


def _told(
    drawn: Drawn,
    recipe: Sequence[Step],
    backend: Backend | None,
    failure: Failure,
    folder: Path | None,
    *,
    small: bool = True,
) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": failure.kind, "blamed": failure.blamed, "words": failure.words[:300]}
    if folder is None:
        return told
    found, passes = drawn, list(recipe)
    if small and failure.kind not in ("unrepeated", "delivered"):
        found, passes = shrink(drawn, recipe, backend, failure)
    told["passes"] = [step.one.spec for step in passes]
    told["backend"] = backend.name if backend is not None else ""
    told["file"] = str(
        folder / f"{drawn.seed}-{failure.kind}-{failure.blamed.replace(' ', '-').replace('/', '-')}.onnx"
    )
    save(found, told, Path(told["file"]))
    return told


def save(drawn: Drawn, told: Mapping[str, Any], file: Path) -> None:
    """Write a model that failed, with its inputs beside it and what it showed in its metadata."""
    import numpy as np
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(drawn.proto)
    entries = {**{key: told.get(key, "") for key in ("kind", "blamed", "words", "backend")}, "seed": drawn.seed}
    entries["passes"] = ",".join(told.get("passes", ()))
    onnx.helper.set_model_props(proto, {f"fuzz.{key}": str(value) for key, value in entries.items()})
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, file)
    arrays = {f"{place}/{name}": array for place, one in enumerate(drawn.samples) for name, array in one.items()}
    np.savez_compressed(file.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]


def _operators(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _operators(attribute.g)


def quiet() -> None:
    """Keep what libraries say about odd models away from the terminal."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    logging.getLogger("onnx_ir").setLevel(logging.CRITICAL)
    logging.getLogger("onnx_ir").propagate = False


def main(first: int, stop: int, step: int, folder: str) -> None:
    """Work through seeds and write a line before and after each."""
    quiet()
    lines = sys.stdout

    def say(told: dict[str, Any]) -> None:
        lines.write(json.dumps(told) + "\n")
        lines.flush()

    with contextlib.redirect_stdout(sys.stderr):
        for seed in range(first, stop, step):
            say({"begins": seed})
            say(work(seed, Path(folder) if folder else None, lambda seed=seed: say({"drawn": seed})))  # type: ignore[misc]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
