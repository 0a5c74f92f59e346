from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from graphopt_backends.tflite.compiler import prepare
from graphopt_backends.tflite.executor import open_file, run

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUSED = {"LSTM": "UNIDIRECTIONAL_SEQUENCE_LSTM", "RNN": "UNIDIRECTIONAL_SEQUENCE_RNN", "GRU": "WHILE"}


def _layer(model, kind, *, steps=5, batch=2, ends=None, states="", peepholes=False, outputs=3, **attributes):
    """A layer of 4 units and 3 inputs; `states` is "", "constant" or "given"."""
    random, ways = np.random.default_rng(5), 2 if attributes.get("direction") == "bidirectional" else 1

    def draw(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / 2).astype(np.float32)

    rows = 4 * GATES[kind]
    inputs, constants = {"x": draw(steps, batch, 3)}, {"w": draw(ways, rows, 3), "r": draw(ways, rows, 4)}
    constants["b"] = draw(ways, 2 * rows)
    order = ["x", "w", "r", "b", ""]
    if ends is not None:
        inputs["ends"] = np.asarray(ends, np.int32)
        order[4] = "ends"
    for name in ("h", "c")[: 2 if kind == "LSTM" else 1]:
        order.append(name if states else "")
        if states:
            (inputs if states == "given" else constants)[name] = draw(ways, batch, 4)
    if peepholes:
        constants["p"] = draw(ways, 12)
        order.append("p")
    names = ["y", "yh", "yc"][: min(outputs, 3 if kind == "LSTM" else 2)]
    return model([helper.make_node(kind, order, names, hidden_size=4, **attributes)], inputs, constants, names), inputs


@pytest.fixture(scope="session")
def right(lowered, reference, sqnr):
    """The builtins of a model that answers as onnxruntime does, also when it runs a second time."""

    def test(made, inputs) -> list[str]:
        written = lowered(made)
        assert written.content is not None, written.issues
        assert prepare(written.content, written.flat.operators) == []
        interpreter, expected = open_file(written.content), reference(made, inputs)
        for _ in range(2):
            found = run(interpreter, inputs)
            for name, array in expected.items():
                assert found[name].shape == array.shape
                assert sqnr(array, found[name]) >= 100, name
        return [operator.builtin for operator in written.flat.operators]

    return test


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_a_layer_starts_anew_each_time(kind, direction, model, right):
    assert FUSED[kind] in right(*_layer(model, kind, direction=direction))


@pytest.mark.parametrize("states", ["constant", "given"])
@pytest.mark.parametrize("kind", GATES)
def test_a_layer_starts_from_a_state(kind, states, model, right):
    assert FUSED[kind] in right(*_layer(model, kind, states=states, direction="bidirectional"))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_sequences_of_different_lengths(kind, direction, model, right):
    made = _layer(model, kind, steps=9, batch=3, ends=[9, 4, 1], states="given", direction=direction)
    assert "WHILE" in right(*made)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("LSTM", {"clip": 0.3}),
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"clip": 0.3, "activations": ["Sigmoid", "Relu"]}),
        ("RNN", {"clip": 0.2}),
    ],
)
def test_a_cell_that_no_builtin_has_is_a_loop(kind, more, model, right):
    assert "WHILE" in right(*_layer(model, kind, **more))


def test_peepholes_and_another_activation_are_fused(model, right):
    assert FUSED["LSTM"] in right(*_layer(model, "LSTM", peepholes=True))
    assert FUSED["RNN"] in right(*_layer(model, "RNN", activations=["Relu"]))


def test_a_loop_with_peepholes(model, right):
    assert "WHILE" in right(*_layer(model, "LSTM", peepholes=True, ends=[2, 5]))


def test_many_steps_take_turns_and_the_file_does_not_grow_with_them(model, lowered, right, monkeypatch):
    monkeypatch.setattr("graphopt_backends.tflite.recurrent_loop._MUCH", 1000)
    assert "WHILE" in right(*_layer(model, "GRU", steps=37))
    sizes = [len(lowered(_layer(model, "GRU", steps=steps)[0]).content) for steps in (320, 640)]
    assert sizes[1] - sizes[0] <= 320 * 2 * 4 * 4 + 1024


def test_an_activation_that_the_loop_does_not_know_is_named(model, lowered):
    made, _ = _layer(model, "RNN", activations=["Affine"], outputs=1)
    issues = lowered(made).issues
    assert "the activation affine" in issues[0].reason


def test_the_layer_between_others_keeps_its_place(model, right, floats):
    """The state is written before the layer runs, and read after it, whatever XNNPACK takes around it."""
    made, inputs = _layer(model, "LSTM", direction="bidirectional", states="given")
    nodes = [
        helper.make_node("MatMul", ["x0", "k"], ["x"]),
        *made.graph.node,
        helper.make_node("Add", ["yc", "yh"], ["z"]),
        helper.make_node("Transpose", ["y"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "shape"], ["joined"]),
        helper.make_node("MatMul", ["joined", "k2"], ["scores"]),
    ]
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    constants |= {"k": floats(3, 3), "k2": floats(8, 6), "shape": np.asarray([5, 2, 8])}
    given = {"x0": inputs.pop("x"), **inputs}
    builtins = right(model(nodes, given, constants, ["scores", "z"]), given)
    assert "TRANSPOSE" not in builtins
