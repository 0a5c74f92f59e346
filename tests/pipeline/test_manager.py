"""What the manager does with passes that break their promises: taken back, named, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.errors import RecipeError
from graphopt.ir import load, to_bytes
from graphopt.pipeline import Context, Pass, PassManager, PassResult, PipelineResult, Step, make_pass, manager
from graphopt.rewrite import Fidelity
from graphopt.verify import generate

Original = Callable[[], ir.Model]


def made(
    name: str, change: Callable[[ir.Model], Any], *, fidelity: Fidelity = "exact", changes_signature: bool = False
) -> Pass:
    """A pass of that name that calls `change`; what `change` returns, or one rewrite, is its result."""

    def run(self: Pass, model: ir.Model, context: Context) -> Any:
        answer = change(model)
        return PassResult(1) if answer is None else answer

    facts = {"name": name, "fidelity": fidelity, "changes_signature": changes_signature, "run": run}
    kind: type[Pass] = type("Made", (Pass,), facts)
    return kind()


def run(original: Original, *passes: Pass, **options: Any) -> PipelineResult:
    samples = options.pop("samples", list(generate(original(), samples=2)))
    steps = [Step(one, "here 1") for one in passes]
    return PassManager(steps, samples=lambda: samples, **options).run(original, Context())


def outcomes(result: PipelineResult) -> dict[str, str]:
    return {record.name: record.outcome for record in result.records}


def node(model: ir.Model, op_type: str) -> ir.Node:
    return next(n for n in model.graph if n.op_type == op_type)


def weight(model: ir.Model) -> ir.Value:
    return model.graph.initializers["w"]


def scale(factor: float) -> Callable[[ir.Model], None]:
    def change(model: ir.Model) -> None:
        tensor = weight(model).const_value
        assert tensor is not None
        weight(model).const_value = ir.tensor(tensor.numpy() * np.float32(factor), name="w")

    return change


def label(text: str) -> Pass:
    """A harmless pass, which leaves a trace in the metadata."""
    return made(text, lambda model: model.metadata_props.update({text: "was here"}))


def dangle(model: ir.Model) -> None:
    node(model, "Relu").replace_input_with(0, ir.Value(name="nowhere"))


def make_cycle(model: ir.Model) -> None:
    node(model, "Mul").replace_input_with(0, node(model, "Relu").outputs[0])


def repeat_a_name(model: ir.Model) -> None:
    node(model, "Mul").outputs[0].name = "y"


def delete_output(model: ir.Model) -> None:
    model.graph.outputs.pop()


def rename_input(model: ir.Model) -> None:
    model.graph.inputs[0].name = "renamed"


def retype_output(model: ir.Model) -> None:
    model.graph.outputs[0].type = ir.TensorType(ir.DataType.FLOAT16)


def reshape_output(model: ir.Model) -> None:
    model.graph.outputs[0].shape = ir.Shape([1, 3])


def misspell_operator(model: ir.Model) -> None:
    node(model, "Relu").op_type = "Rellu"


def cut_branch(model: ir.Model) -> None:
    body = node(model, "If").attributes["then_branch"].as_graph()
    body[0].replace_input_with(0, ir.Value(name="nowhere"))


def spoil_and_raise(model: ir.Model) -> None:
    scale(7)(model)
    rename_input(model)
    raise RuntimeError("half-way")


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        (dangle, "rolled_back", "reads 'nowhere', which nothing makes"),
        (make_cycle, "rolled_back", "before it is made"),
        (repeat_a_name, "rolled_back", "the value 'y' is made twice"),
        (delete_output, "rolled_back", "the outputs were y, z and are y"),
        (rename_input, "rolled_back", "the inputs were x, choose and are renamed, choose"),
        (retype_output, "rolled_back", "y was FLOAT"),
        (reshape_output, "rolled_back", "['N', 3]"),
        (misspell_operator, "rolled_back", "No Op registered for Rellu"),
        (cut_branch, "rolled_back", "nowhere"),
        (spoil_and_raise, "failed", "RuntimeError: half-way"),
        (lambda model: "done", "failed", "must return a PassResult, not str"),
        (lambda model: PassResult(1, model=b"onnx"), "failed", "must give an onnx_ir.Model, not bytes"),  # type: ignore[arg-type]
    ],
)
def test_a_pass_that_breaks_the_model_is_taken_back_and_the_run_goes_on(
    original: Original, change: Callable[[ir.Model], Any], outcome: str, words: str
) -> None:
    result = run(original, label("before"), made("bad", change), label("after"))
    assert outcomes(result) == {"before": "applied", "bad": outcome, "after": "applied"}
    assert words in result.records[1].detail
    assert result.records[1].nodes_after == result.records[1].nodes_before
    assert result.verification.status == "passed"
    expected = run(original, label("before"), label("after"))
    assert to_bytes(result.model) == to_bytes(expected.model)


def test_a_rollback_restores_the_exact_bytes(original: Original) -> None:
    result = run(original, made("bad", spoil_and_raise), made("worse", scale(3)))
    assert to_bytes(result.model) == to_bytes(original())


@pytest.mark.parametrize(("verify", "position"), [("final", 0), ("final", 3), ("each", 4)])
def test_a_pass_that_changes_numbers_is_found_among_several(original: Original, verify: str, position: int) -> None:
    passes = [label(f"good{i}") for i in range(4)]
    passes.insert(position, made("guilty", scale(1.001)))
    result = run(original, *passes, verify=verify)
    assert [r.name for r in result.records if r.outcome != "applied"] == ["guilty"]
    assert "does not keep its fidelity (exact)" in result.records[position].detail
    assert result.verification.status == "passed"
    assert weight(result.model).const_value.numpy().tolist() == [1, -2, 3]  # type: ignore[union-attr]


def test_two_guilty_passes_are_both_found(original: Original) -> None:
    result = run(original, made("one", scale(2)), label("good"), made("two", scale(3)))
    assert outcomes(result) == {"one": "rolled_back", "good": "applied", "two": "rolled_back"}


def test_of_two_runs_of_one_pass_the_guilty_one_is_marked(original: Original) -> None:
    calls = label("twice")
    bad = made("twice", lambda model: scale(2)(model) if "twice" in model.metadata_props else None)
    result = run(original, calls, bad)
    assert [r.outcome for r in result.records] == ["applied", "rolled_back"]


def test_rounding_may_round_but_exact_may_not(original: Original) -> None:
    nudge = scale(1 + 2**-22)
    assert outcomes(run(original, made("round", nudge, fidelity="rounding"))) == {"round": "applied"}
    assert outcomes(run(original, made("round", nudge))) == {"round": "rolled_back"}


def test_a_lossy_pass_is_reported_and_kept(original: Original) -> None:
    result = run(original, made("squeeze", scale(1.1), fidelity="lossy"))
    assert outcomes(result) == {"squeeze": "applied"}
    assert result.verification.status == "passed"
    assert max(error.max_abs_error for error in result.verification.errors) > 0


def test_verification_off_executes_nothing_but_still_checks_structure(original: Original) -> None:
    result = run(original, made("numbers", scale(2)), made("cut", dangle), verify="off", samples=None)
    assert outcomes(result) == {"numbers": "applied", "cut": "rolled_back"}
    assert result.verification.status == "skipped"


@pytest.mark.parametrize("bad", [made("bad", spoil_and_raise), made("bad", dangle), made("bad", scale(2))])
def test_on_failure_stop_ends_the_run_there(original: Original, bad: Pass) -> None:
    result = run(original, bad, label("after"), on_failure="stop", verify="each")
    assert result.stopped == "bad"
    assert outcomes(result).keys() == {"bad"}
    assert to_bytes(result.model) == to_bytes(original())


def test_on_failure_stop_holds_for_a_pass_that_is_found_at_the_end(original: Original) -> None:
    assert run(original, made("bad", scale(2)), label("after"), on_failure="stop").stopped == "bad"


def test_a_pass_that_may_change_the_signature_does_and_the_next_one_may_not(original: Original) -> None:
    result = run(
        original,
        made("shape", reshape_output, changes_signature=True),
        made("again", lambda model: model.graph.outputs.pop() and None),
    )
    assert outcomes(result) == {"shape": "applied", "again": "rolled_back"}
    assert list(result.model.graph.outputs[0].shape or ()) == [1, 3]


def test_a_change_that_is_not_counted_is_seen(original: Original) -> None:
    def change(model: ir.Model) -> PassResult:
        scale(2)(model)
        return PassResult(0)

    result = run(original, made("silent", change), label("after"))
    assert outcomes(result) == {"silent": "rolled_back", "after": "applied"}


def test_a_pass_that_does_not_repeat_itself_is_dropped_instead_of_ending_the_run(original: Original) -> None:
    runs: Iterator[int] = iter(range(100))

    def change(model: ir.Model) -> None:
        if next(runs):
            raise RuntimeError("only once")

    result = run(original, label("before"), made("flaky", change), made("bad", dangle), label("after"))
    assert outcomes(result) == {"before": "applied", "flaky": "failed", "bad": "rolled_back", "after": "applied"}


def test_passes_behind_one_that_is_taken_back_run_again_and_are_recorded_anew(original: Original) -> None:
    def add(model: ir.Model) -> None:
        extra = ir.node("Abs", [model.graph.inputs[0]], name="extra")
        model.graph.append(extra)
        scale(2)(model)

    def tidy(model: ir.Model) -> PassResult:
        extras = [n for n in model.graph if n.name == "extra"]
        model.graph.remove(extras, safe=True)
        return PassResult(len(extras))

    result = run(original, made("add", add), made("tidy", tidy))
    assert outcomes(result) == {"add": "rolled_back", "tidy": "unchanged"}
    assert result.records[1].nodes_before == result.records[0].nodes_before


def test_a_long_run_rolls_back_to_its_checkpoint(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_CHECKPOINT_AFTER", 0.0)
    calls: list[str] = []
    result = run(original, made("slow", lambda model: calls.append("slow")), made("bad", spoil_and_raise))
    assert calls == ["slow"]
    assert to_bytes(result.model) == to_bytes(original())


def test_what_onnx_ir_has_no_place_for_survives_a_pass_that_builds_a_new_model() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }""")
    proto.training_info.add().algorithm.name = "steps"

    def rebuild(model: ir.Model) -> PassResult:
        return PassResult(1, model=model.clone())

    result = run(lambda: load(proto), made("rebuild", rebuild))
    back = onnx.ModelProto.FromString(to_bytes(result.model))
    assert back.training_info[0].algorithm.name == "steps"


def test_a_model_that_the_checker_refuses_itself_is_not_blamed_on_a_pass() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Strange(x) }""")
    result = run(lambda: load(proto), label("harmless"))
    assert outcomes(result) == {"harmless": "applied"}
    assert result.verification.status == "skipped"


def test_a_users_mistake_that_only_a_pass_can_see_ends_the_run(original: Original) -> None:
    def change(model: ir.Model) -> None:
        raise RecipeError("ratio=0.9 leaves no channels of Conv_3")

    with pytest.raises(RecipeError, match="leaves no channels"):
        run(original, made("prune", change))


def test_a_pass_that_runs_alone_knows_the_shapes_that_its_rules_ask_for() -> None:
    source = """<ir_version: 8, opset_import: ["": 17]>
        g (float[2, 3, 4] x) => (float[2, 3, 4] y) <int64[1] last = {-1}> {
            m = ReduceMax <axes = [-1], keepdims = 1> (x)
            d = Sub (x, m)
            e = Exp (d)
            s = ReduceSum <keepdims = 1> (e, last)
            y = Div (e, s)
        }"""
    fuse, entry = make_pass("fuse-softmax", {})
    alone = PassManager([Step(fuse, entry.source)], samples=list)
    found = alone.run(lambda: load(onnx.parser.parse_model(source)), Context())
    assert [node.op_type for node in found.model.graph] == ["Softmax"]
