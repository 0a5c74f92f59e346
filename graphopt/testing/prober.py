"""What a backend's prober answers, out of two functions: one that compiles a file, one that runs what was compiled.

def verdict(model, inputs, expected):
    return answer(model, inputs, expected, compile=compile_file, run=run_file)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    import onnx

T = TypeVar("T")
Arrays = Mapping[str, np.ndarray]

_SHARE: Final = {"float16": 2e-3, "bfloat16": 2e-2}
"""Largest error of a float output as a share of the range of the right values: a few units in the last place."""
_SINGLE: Final = 1e-4
"""The same for float32 and wider."""
_CODES: Final = 1e-2
"""The same where the model computes on codes: rounding to the neighboring one of 256 is 4e-3 of their range."""
_WORDS: Final = 600


def answer(
    model: str,
    inputs: str,
    expected: str,
    *,
    compile: Callable[[str], T],
    run: Callable[[T, Arrays], Arrays],
    kinds: Callable[[T], Sequence[str]] = lambda compiled: (),
) -> dict[str, Any]:
    """Put one probe to a toolchain in this process, which `graphopt probe` makes a child.

    Args:
        model: an ONNX file.
        inputs: a .npz with its inputs by name.
        expected: a .npz with the outputs that are right, by name.
        compile: makes of the file what `run` takes; whatever it raises says that the toolchain refuses.
        run: from inputs to outputs, both by their ONNX names; whatever it raises says that it does not run.
        kinds: the vendor's operators in what was compiled.

    Returns:
        The four answers of `graphopt.support.table.Verdict`, the vendor's words and its operators.
    """
    import onnx

    found: dict[str, Any] = {
        "claimed": False, "compiled": False, "ran": None, "numerics": None, "error": "", "realized_as": [],
    }  # fmt: skip
    try:
        compiled = compile(model)
    except Exception as error:  # noqa: BLE001 (whatever the vendor raises is the verdict)
        return found | {"error": _line(error)}
    found |= {"claimed": True, "compiled": True, "realized_as": list(kinds(compiled))}
    proto = onnx.load(model, load_external_data=False)
    try:
        outputs = run(compiled, _stored(inputs, proto.graph.input))
    except Exception as error:  # noqa: BLE001 (as above)
        return found | {"ran": False, "error": _line(error)}
    codes, right = _on_codes(proto), _stored(expected, proto.graph.output)
    wrong = [f"{name}: {why}" for name in right if (why := mismatch(right[name], outputs[name], codes=codes))]
    return found | {"ran": True, "numerics": "fail" if wrong else "pass", "error": "; ".join(wrong)[:_WORDS]}


def mismatch(right: np.ndarray, got: np.ndarray, *, codes: bool = False) -> str:
    """Why `got` is not `right`, "" where it is; where a model computes on `codes`, one may be its neighbor."""
    if right.shape != got.shape or right.dtype != got.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {right.dtype}{list(right.shape)}"
    if right.dtype.kind in "iu" and codes and right.dtype.itemsize <= 2:
        wrong = np.abs(right.astype(np.int64) - got.astype(np.int64)) > 1
        return f"{int(wrong.sum())} of {right.size} elements differ" if wrong.any() else ""
    if right.dtype.kind not in "fV":
        wrong = np.asarray(right != got)
        return f"{int(wrong.sum())} of {right.size} elements differ" if wrong.any() else ""
    want, have = right.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(want[~finite], have[~finite], equal_nan=True) or not np.isfinite(have[finite]).all():
        return "NaN or infinity in other places"
    want, have = want[finite], have[finite]
    if not want.size:
        return ""
    scale = max(want.max() - want.min(), np.abs(want).max(), float(np.finfo(np.float32).tiny))
    error = float(np.abs(want - have).max() / scale)
    allowed = max(_CODES if codes else 0.0, _SHARE.get(str(right.dtype), _SINGLE))
    return f"error of {error:.2g} of the range" if error > allowed else ""


def _stored(path: str, declared: Iterable[onnx.ValueInfoProto]) -> dict[str, np.ndarray]:
    """The arrays of a .npz, which forgets types that numpy does not have, as bfloat16, in the types of the model."""
    import onnx

    kinds = {value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in declared}
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return {name: array.view(kinds[name]) if array.dtype.kind == "V" else array for name, array in arrays.items()}


def _on_codes(proto: onnx.ModelProto) -> bool:
    return any("QuantizeLinear" in node.op_type or node.op_type.startswith("QLinear") for node in proto.graph.node)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:_WORDS] or type(error).__name__
