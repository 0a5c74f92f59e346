"""The conformance kit finds what is wrong with a plugin, and nothing wrong with one that is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.pipeline import Pass, PassResult, function_pass
from graphopt.pipeline.registry import PASSES
from graphopt.plugins.entry_points import Entry
from graphopt.testing.conformance import Finding, answer, pass_questions
from graphopt.testing.prober import answer as verdict
from graphopt.testing.prober import mismatch


def entry(made: type[Pass]) -> Entry[type[Pass]]:
    """The entry of a distribution that brings one pass."""
    point = SimpleNamespace(name=made.name, value="m:c", load=lambda: made)
    return Entry(made.name, "mine", "1.0", point, PASSES.accept)


def asked(made: type[Pass], limit: float = 60.0) -> list[Finding]:
    """All questions, and their answers."""
    return [answer(made.name, question, ask) for question, ask in pass_questions(entry(made), limit)]


@function_pass("right", fidelity="exact")
def right(model: ir.Model) -> int:
    """Name the nodes."""
    for position, node in enumerate(model.graph):
        node.name = f"n{position}"
    return len(model.graph)


@function_pass("wrong", fidelity="exact")
def wrong(model: ir.Model) -> int:
    """Turn every Relu into Abs."""
    found = [node for node in model.graph.all_nodes() if node.op_type == "Relu"]
    for node in found:
        node.op_type = "Abs"
    return len(found)


_CALLS: list[int] = []


@function_pass("moody", fidelity="exact")
def moody(model: ir.Model) -> int:
    """Name the first node, another way every time."""
    _CALLS.append(1)
    model.graph[0].name = f"call{len(_CALLS)}"
    return 1


@function_pass("chatty", fidelity="exact")
def chatty(model: ir.Model) -> None:
    """Print."""
    print("hello")  # noqa: T201


@function_pass("endless", fidelity="exact")
def endless(model: ir.Model) -> None:
    """Never end."""
    while True:
        model.graph.name = "again"


def test_a_pass_that_is_right_passes_every_question() -> None:
    found = asked(right)
    assert [one for one in found if one.outcome != "passed"] == []
    assert {"loads", "on images 0", "on test_Conv2d_groups", "on light_squeezenet"} <= {one.question for one in found}


@pytest.mark.parametrize(
    ("made", "question", "words"),
    [
        (wrong, "on images 0", "does not keep its fidelity (exact)"),
        (moody, "on choice 0", "must be deterministic"),
        (chatty, "on choice 0", "prints on standard output: 'hello'"),
        (endless, "on choice 0", "did not end within 0.2 s"),
    ],
)
def test_what_a_pass_does_wrong_is_found(made: type[Pass], question: str, words: str) -> None:
    ask = dict(pass_questions(entry(made), 0.2 if made is endless else 60.0))[question]
    found = answer(made.name, question, ask)
    assert found.outcome == "failed"
    assert words in found.detail


def test_a_pass_without_words_is_told_so() -> None:
    class Silent(Pass):
        name = "silent"
        fidelity = "exact"

        def run(self, model: ir.Model, context: Any) -> PassResult:
            return PassResult(0)

    Silent.__doc__ = ""
    failed = [one for one in asked(Silent) if one.outcome == "failed"]
    assert [one.detail for one in failed] == ["it has no docstring: its first line is what `graphopt passes` shows"]


@pytest.mark.parametrize(
    ("compile", "run", "expected"),
    [
        (lambda path: 1, lambda made, given: {"y": np.maximum(given["x"], 0)}, (True, True, True, "pass")),
        (lambda path: 1, lambda made, given: {"y": given["x"]}, (True, True, True, "fail")),
        (lambda path: 1, lambda made, given: {}["y"], (True, True, False, None)),
        (lambda path: 1 / 0, lambda made, given: {}, (False, False, None, None)),
    ],
)
def test_a_prober_is_two_functions(
    tmp_path: Path, compile: Callable[..., Any], run: Callable[..., Any], expected: tuple[Any, ...]
) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) { y = Relu(x) }""")
    onnx.save(model, tmp_path / "m.onnx")
    x = np.array([-1, 0, 2], np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "y.npz", y=np.maximum(x, 0))
    files = [str(tmp_path / name) for name in ("m.onnx", "x.npz", "y.npz")]
    found = verdict(*files, compile=compile, run=run)
    assert tuple(found[key] for key in ("claimed", "compiled", "ran", "numerics")) == expected


@pytest.mark.parametrize(
    ("right", "got", "codes", "words"),
    [
        ([1.0, 2.0], [1.0, 2.00001], False, ""),
        ([1.0, 2.0], [1.0, 2.1], False, "of the range"),
        ([1.0, np.inf], [1.0, 3.0], False, "in other places"),
        ([np.nan], [np.nan], False, ""),
    ],
)
def test_floats_agree_within_a_share_of_their_range(
    right: list[float], got: list[float], codes: bool, words: str
) -> None:
    why = mismatch(np.array(right, np.float32), np.array(got, np.float32), codes=codes)
    assert words in why
    assert bool(why) == bool(words)


def test_a_code_may_be_its_neighbor_only_where_the_model_computes_on_codes() -> None:
    a, b = np.array([3, 4], np.int8), np.array([3, 5], np.int8)
    assert mismatch(a, b, codes=True) == ""
    assert mismatch(a, b) == "1 of 2 elements differ"
    assert "instead of int8[2]" in mismatch(a, b.astype(np.uint8))
