"""Verdicts: real rewrites, right and wrong ones, judged by the fidelity that they promise."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest

from graphopt.verify import OutputError, generate, holds, judge, noise_floor, precision, run
from graphopt.verify.conditioning import nudge
from graphopt.verify.fidelity import threshold_db

HEADER = '<ir_version: 9, opset_import: ["": 17, "my": 1]>\n'


def graph(text: str) -> ir.Model:
    return ir.from_onnx_text(f"{HEADER}g {text}")


SUM = graph("(float[64] x) => (float[64] y) <float c = {3}, float d = {7}> { a = Add(x, c) y = Add(a, d) }")
REASSOCIATED = graph("(float[64] x) => (float[64] y) <float e = {10}> { y = Add(x, e) }")
WRONG = graph("(float[64] x) => (float[64] y) <float e = {10.01}> { y = Add(x, e) }")


def test_an_unchanged_model_is_exact() -> None:
    verdict = judge(SUM, SUM.clone(), generate(SUM), "exact")
    assert (verdict.status, verdict.oracle, verdict.samples) == ("passed", "onnxruntime", 4)
    assert [error.name for error in verdict.errors] == ["y"]


def test_a_reassociation_is_rounding_but_not_exact() -> None:
    samples = generate(SUM)
    assert judge(SUM, REASSOCIATED, samples, "rounding").status == "passed"
    verdict = judge(SUM, REASSOCIATED, samples, "exact")
    assert verdict.status == "failed"
    assert "'y': not bitwise equal" in verdict.reason


def test_a_wrong_constant_is_found_and_a_lossy_pass_may_have_it() -> None:
    samples = generate(SUM)
    verdict = judge(SUM, WRONG, samples, "rounding")
    assert verdict.status == "failed"
    assert "dB, below 80.0 dB" in verdict.reason
    assert judge(SUM, WRONG, samples, "lossy").status == "passed"


def test_dropping_the_sign_of_zero_is_not_exact() -> None:
    model = graph("(float[64] x) => (float[64] y) { a = Neg(x) y = Neg(a) }")
    plus = graph("(float[64] x) => (float[64] y) <float z = {0}> { y = Add(x, z) }")
    verdict = judge(model, plus, generate(model), "exact")
    assert verdict.status == "failed"
    assert "zeros changed sign" in verdict.reason


def test_even_a_lossy_pass_may_not_make_nan_or_another_shape() -> None:
    model = graph("(float[4] x) => (float[4] y) { y = Abs(x) }")
    nan = graph("(float[4] x) => (float[4] y) { y = Sqrt(x) }")
    flat = graph("(float[4] x) => (float[2, 2] y) <int64[2] s = {2, 2}> { a = Abs(x) y = Reshape(a, s) }")
    assert "NaN or infinite" in judge(model, nan, generate(model), "lossy").reason
    assert "shape (4,) became (2, 2)" in judge(model, flat, generate(model), "lossy").reason


def test_a_chaotic_model_raises_no_false_alarm() -> None:
    """The logistic map doubles every error at each step: after 40 steps nothing of float32 is left."""
    step = "a{n} = Sub(one, x{p}) b{n} = Mul(x{p}, a{n}) x{n} = Mul(four, b{n})"
    other = "a{n} = Sub(one, x{p}) b{n} = Mul(four, a{n}) x{n} = Mul(x{p}, b{n})"
    head = "(float[256] x) => (float[256] y) <float one = {1}, float four = {3.99}>"

    def unrolled(text: str) -> ir.Model:
        body = " ".join(text.format(n=n, p=n - 1 if n else "") for n in range(40))
        return graph(f"{head} {{ {body} y = Identity(x39) }}")

    samples = [{"x": np.random.default_rng(0).random(256, np.float32)}]
    verdict = judge(unrolled(step), unrolled(other), samples, "rounding")
    assert verdict.errors[0].sqnr_db < 20
    assert verdict.status == "passed"
    assert "sensitivity" in verdict.reason


def test_a_wrong_rewrite_of_a_well_conditioned_model_gets_no_excuse_from_the_noise_floor() -> None:
    (floor,) = noise_floor(SUM, generate(SUM))
    assert floor.sqnr_db > 120


def test_the_second_oracle_overrules_onnxruntime_where_it_computes_float16_in_float32() -> None:
    half = graph(
        "(float16[2] x) => (float[2] y) "
        "{ one = Constant<value_float = 2.0>() two = Cast<to = 10>(one) z = Mul(x, two) y = Cast<to = 1>(z) }"
    )
    folded = graph(
        "(float16[2] x) => (float[2] y) <float i = {0}> { a = Log(i) b = Neg(a) w = Cast<to = 1>(x) y = Mul(w, b) }"
    )
    samples = [{"x": np.full(2, 60000, np.float16)}]
    assert np.isfinite(run(half, samples)[0]["y"]).all(), "onnxruntime overflows now: this test needs another fault"
    verdict = judge(half, folded, samples, "exact")
    assert (verdict.status, verdict.oracle) == ("passed", "onnx.reference")
    assert "sides with the optimized" in verdict.reason


def test_a_model_that_cannot_run_is_skipped_but_one_that_was_broken_fails() -> None:
    odd = graph("(float[64] x) => (float[64] y) { y = my.Odd(x) }")
    assert judge(odd, SUM, generate(SUM), "exact").status == "skipped"
    verdict = judge(SUM, odd, generate(SUM), "exact")
    assert verdict.status == "failed"
    assert "cannot be executed" in verdict.reason


def test_a_model_newer_than_onnxruntime_is_judged_by_the_reference_alone() -> None:
    source = """<ir_version: 14, opset_import: ["": 28]> g (float[2, 3] x) => (float[2, 3] y) {{ y = {} (x, x) }}"""
    gated, added = (ir.from_onnx_text(source.format(op)) for op in ("SwiGLU", "Add"))
    samples = generate(gated)
    same, other = judge(gated, gated, samples, "exact"), judge(gated, added, samples, "rounding")
    assert (same.status, same.oracle) == ("passed", "onnx.reference")
    assert "IR version" in same.reason
    assert (other.status, other.oracle) == ("failed", "onnx.reference")


def test_without_samples_nothing_is_proved() -> None:
    assert judge(SUM, WRONG, [], "exact").status == "skipped"


def test_random_outputs_are_left_out_and_the_others_still_judged() -> None:
    model = graph("(float[64] x) => (float[64] y, float[64] r) { y = Neg(x) r = RandomNormalLike(x) }")
    # Another place in the graph gives the generator another seed.
    moved = graph("(float[64] x) => (float[64] y, float[64] r) { r = RandomNormalLike(x) y = Neg(x) }")
    wrong = graph("(float[64] x) => (float[64] y, float[64] r) { r = RandomNormalLike(x) y = Abs(x) }")
    samples = generate(model)
    verdict = judge(model, moved, samples, "exact")
    assert verdict.status == "passed"
    assert "does not repeat: r" in verdict.reason
    verdict = judge(model, wrong, samples, "exact")
    assert verdict.status == "failed"
    assert "'y'" in verdict.reason
    assert "'r'" not in verdict.reason


def test_a_model_of_nothing_but_noise_has_no_verdict() -> None:
    model = graph("(float[64] x) => (float[64] r) { r = RandomNormalLike(x) }")
    other = graph("(float[64] x) => (float[64] r) { a = Neg(x) r = RandomNormalLike(a) }")
    assert judge(model, other, generate(model), "exact").status == "skipped"


def test_known_outputs_are_not_computed_again() -> None:
    samples = generate(SUM)
    expected = [{"y": outputs["y"] + 1} for outputs in run(SUM, samples)]
    assert judge(SUM, SUM.clone(), samples, "lossy", expected=expected).errors[0].max_abs_error == pytest.approx(1)


@pytest.mark.parametrize(("roundoff", "db"), [(2.0**-24, 80), (2.0**-11, 36.7), (2.0**-8, 26.7), (2.0**-53, 176.7)])
def test_the_threshold_scales_with_the_significant_bits(roundoff: float, db: float) -> None:
    assert threshold_db(roundoff) == pytest.approx(db, abs=0.1)


def test_the_coarsest_type_inside_counts() -> None:
    inner = graph("(float[2] x) => (float[2] y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }")
    assert precision(inner) == 2.0**-11
    assert precision(SUM) == 2.0**-24


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_nudge_is_one_unit_in_the_last_place(dtype: type) -> None:
    x = np.array([1, -1, 0, -0.0, np.inf, np.nan, 3e-5], dtype)
    y = nudge(x, np.random.default_rng(0))
    kept = (x == 0) | ~np.isfinite(x)
    assert x[kept].tobytes() == y[kept].tobytes()
    neighbors = np.stack([np.nextafter(x, dtype(np.inf)), np.nextafter(x, dtype(-np.inf))])
    assert (y == neighbors).any(axis=0)[~kept].all()
    assert np.isfinite(nudge(np.array([np.finfo(dtype).max] * 20, dtype), np.random.default_rng(0))).all()
    assert nudge(np.array(1, dtype), np.random.default_rng(0)).shape == ()


def test_integers_may_differ_only_where_the_model_itself_flips_them() -> None:
    error = OutputError("y", match=0.98, dtype="int64")
    assert not holds("rounding", [error])[0]
    assert holds("rounding", [error], noise_floor=[OutputError("y", match=0.99, dtype="int64")])[0]


def test_importing_the_package_loads_no_runtime() -> None:
    code = "import sys, graphopt.verify; print([m for m in ('onnxruntime', 'onnx', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
