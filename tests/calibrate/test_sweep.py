"""Values are observed as the model computes them, in parts where they are large, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from graphopt.calibrate import channel_means, collect, observe, stepped
from graphopt.errors import UserError
from graphopt.verify import Runner


@pytest.fixture
def net(build: Callable[..., ir.Model]) -> ir.Model:
    rng = np.random.default_rng(1)
    weights = {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "w2": rng.standard_normal((8, 8, 1, 1)).astype(np.float32),
        "w3": rng.standard_normal((8, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"]),
        helper.make_node("Add", ["c2", "r1"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w3"], ["y"]),
        helper.make_node("Shape", ["c2"], ["sizes"]),
        helper.make_node("Cast", ["sizes"], ["z"], to=1),
    ]
    return build(nodes, weights, {"x": ["n", 3, 6, 6]}, ["y", "z"])


def _samples(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    return [{"x": rng.standard_normal((1, 3, 6, 6)).astype(np.float32)} for _ in range(count)]


def _all(net: ir.Model, names: list[str], samples: list[dict[str, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    copy = net.clone()
    copy.graph.outputs.extend(
        v for node in copy.graph for v in node.outputs if v.name in names and not v.is_graph_output()
    )
    runner = Runner(copy)
    found = [runner.run(sample) for sample in samples]
    return {name: [one[name] for one in found] for name in names}


@pytest.mark.parametrize("budget", [1, 2000, 1 << 20])
def test_statistics_are_those_of_the_values_however_many_sweeps_they_take(net: ir.Model, budget: int) -> None:
    samples, names = _samples(3), ["c1", "r1", "c2", "sum", "y"]
    sweeps = set()
    found = collect(net, ["x", *names, "sizes", "nowhere"], samples, budget=budget, tell=lambda _, __, n: sweeps.add(n))
    assert list(found) == ["x", *names]
    for name, arrays in {**_all(net, names, samples), "x": [s["x"] for s in samples]}.items():
        whole = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
        assert found[name].count == whole.size
        np.testing.assert_allclose([found[name].minimum, found[name].maximum], [whole.min(), whole.max()], rtol=1e-6)
        np.testing.assert_allclose(found[name].mean, whole.mean(), rtol=1e-5, atol=1e-6)
    assert sweeps == {{1: 5, 2000: 4, 1 << 20: 1}[budget]}


def test_the_model_stays_as_it_is_also_when_interrupted(net: ir.Model) -> None:
    before = ir.serde.serialize_model(net).SerializeToString(deterministic=True)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(net, ["c1"], _samples(2), interrupt)
    collect(net, ["c1"], _samples(2))
    assert ir.serde.serialize_model(net).SerializeToString(deterministic=True) == before


def test_no_sample_is_said_and_an_iterator_that_ends_is_refused(net: ir.Model) -> None:
    with pytest.raises(UserError, match="no calibration sample"):
        collect(net, ["c1"], [])
    with pytest.raises(ValueError, match="only once"):
        collect(net, ["c1"], iter(_samples(2)))


def test_samples_may_be_a_call_that_begins_anew(net: ir.Model) -> None:
    def begin() -> Iterator[dict[str, np.ndarray]]:
        yield from _samples(4)

    assert collect(net, ["y"], begin)["y"].count == 20


def test_channel_means_are_over_all_other_axes(net: ir.Model) -> None:
    samples = _samples(3)
    wanted = _all(net, ["c2", "y"], samples)
    found = channel_means(net, {"c2": 1, "y": -1}, samples)
    np.testing.assert_allclose(found["c2"], np.concatenate(wanted["c2"]).mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["y"], np.concatenate(wanted["y"]).mean(0), rtol=1e-4, atol=1e-6)


def test_what_is_changed_between_pieces_is_what_later_pieces_read(net: ir.Model) -> None:
    samples = _samples(2)
    wanted = _all(net, ["c1", "c2", "y"], samples)
    for name, arrays in stepped(net, ["c1", "c2", "y"], samples):
        for array, right in zip(arrays, wanted[name], strict=True):
            np.testing.assert_allclose(array, right, rtol=1e-5, atol=1e-5)
    for name, arrays in stepped(net, ["c1", "y"], samples):
        if name == "c1":
            arrays[:] = [np.zeros_like(array) for array in arrays]
        else:
            assert all(not array.any() for array in arrays)


def _sums(build: Callable[..., ir.Model]) -> ir.Model:
    """x + 1 + 1 + 1, of one Constant node."""
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    nodes = [
        helper.make_node("Constant", [], ["k"], value=one),
        *(helper.make_node("Add", [left, "k"], [right]) for left, right in (("x", "a"), ("a", "b"), ("b", "c"))),
    ]
    return build(nodes, {}, {"x": [2]}, ["c"])


def test_a_constant_that_pieces_share_with_what_is_left_out_is_there_for_all(build: Callable[..., ir.Model]) -> None:
    samples = [{"x": np.zeros(2, np.float32)}]
    assert [(name, arrays[0].tolist()) for name, arrays in stepped(_sums(build), ["a", "b"], samples)] == [
        ("a", [1, 1]), ("b", [2, 2]),
    ]  # fmt: skip


def test_nodes_that_are_changed_between_pieces_compute_the_new(build: Callable[..., ir.Model]) -> None:
    model = _sums(build)
    for name, arrays in stepped(model, ["a", "b"], [{"x": np.zeros(2, np.float32)}]):
        if name == "a":
            list(model.graph)[2].op_type = "Sub"
        else:
            assert arrays[0].tolist() == [0, 0]


_PEAK = """
import resource, sys
import numpy as np, onnx_ir as ir
from graphopt.calibrate import collect, moments
model = ir.load(sys.argv[1])
def samples():
    rng = np.random.default_rng(0)
    for _ in range(int(sys.argv[2])):
        yield {"x": rng.standard_normal((1, 3, 96, 96)).astype(np.float32)}
collect(model, ["c1", "r1", "c2", "sum", "y"], samples)
moments(model, ["c1", "c2", "y"], samples)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_samples(net: ir.Model, tmp_path: Path) -> None:
    for value in net.graph.inputs:
        value.shape = ir.Shape([1, 3, 96, 96])
    ir.save(net, tmp_path / "m.onnx")
    peaks = {}
    for count in (10, 200):
        command = [sys.executable, "-c", _PEAK, str(tmp_path / "m.onnx"), str(count)]
        peaks[count] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # 190 samples more would be 57 MB of inputs and 420 MB of values
    assert peaks[200] - peaks[10] < 12_000


def test_a_model_with_large_weights_runs_from_a_file_that_is_gone_afterwards(
    build: Callable[..., ir.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((2048, 2048)).astype(np.float32) / 45 for i in range(3)}
    nodes = [helper.make_node("MatMul", ["x" if not i else f"h{i - 1}", f"w{i}"], [f"h{i}"]) for i in range(3)]
    model = build(nodes, weights, {"x": [1, 2048]}, ["h2"])
    sample = {"x": rng.standard_normal((1, 2048)).astype(np.float32)}
    found = collect(model, ["h0", "h1"], [sample])
    right = sample["x"] @ weights["w0"] @ weights["w1"]
    np.testing.assert_allclose(found["h1"].maximum, right.max(), rtol=1e-3)
    assert not any(tmp_path.iterdir())
