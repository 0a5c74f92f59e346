"""Let a model run over samples and look at values inside it.

The values asked for become outputs of a copy of the model, as many at a time as fit a budget of bytes; where they do
not all fit, the samples are run through several times. So what is held is the model, one sample and the budget,
however many samples there are. Nodes that the values do not need are left out of a sweep. A large model is run from a
file that its weights are written to once. The copy and the file are gone when the sweep ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.calibrate.stats import TensorStats
from graphopt.errors import UserError
from graphopt.ir import infer_shapes
from graphopt.ir.io import weight_bytes

if TYPE_CHECKING:
    from graphopt.verify import Array, Runner

Sample: TypeAlias = Mapping[str, np.ndarray]
Samples: TypeAlias = "Iterable[Sample] | Callable[[], Iterable[Sample]]"
"""Samples by input name: something that can be gone through several times, or a call that begins anew."""
Tell: TypeAlias = Callable[[int, int, int], None]
"""Told after each sample: its number from 1, the number of the sweep from 1, and how many sweeps there are."""

BUDGET = 256 << 20
"""Bytes of values that a sweep may make outputs of, beyond one value that is larger by itself."""
_INLINE = 32 << 20
"""Bytes of weights up to which a model is handed over in memory, where it is held several times while it loads."""
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)


def collect(
    model: ir.Model,
    names: Collection[str],
    samples: Samples,
    *,
    histograms: bool = True,
    budget: int = BUDGET,
    tell: Tell | None = None,
) -> dict[str, TensorStats]:
    """Statistics of values of a model.

    Args:
        model: the model, which stays as it is.
        names: values of its main graph: inputs and what nodes write. Values of other types than floating point, of
            bodies and unknown ones are left out of the result.
        samples: the inputs, by name.
        histograms: whether to keep histograms as well.
        budget: bytes of values held at a time.
        tell: progress.

    Returns:
        The statistics by name, in the order of `names`.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: the model does not run on a sample.
    """
    found: dict[str, TensorStats] = {}

    def take(name: str, array: Array, _: int) -> None:
        found.setdefault(name, TensorStats(histograms)).update(array)

    observe(model, names, samples, take, budget=budget, tell=tell)
    return {name: found[name] for name in names if name in found}


def observe(
    model: ir.Model,
    names: Collection[str],
    samples: Samples,
    take: Callable[[str, Array, int], None],
    *,
    budget: int = BUDGET,
    tell: Tell | None = None,
) -> None:
    """Hand every array of the named values to `take`, with the value's name and the sample's number.

    The arguments and errors are those of `collect`. Samples come in their order, values in the order of the graph
    within a sweep; a sample comes again in each sweep.
    """
    from graphopt.verify.metrics import is_float

    first = first_of(samples)
    if first is None:
        raise UserError("there is no calibration sample: give --calibration at least one")
    inputs = {value.name for value in model.graph.inputs}
    fed = [name for name in names if name in inputs and name in first]
    wanted = [name for name in dict.fromkeys(names) if name not in inputs]
    with prepared(model) as copy:
        sizes = sizes_of(copy, wanted, first)
        parts = parts_of(sizes, budget) or [[]]
        if not sizes and not fed:
            return
        for sweep, part in enumerate(parts):
            runner = runner_for(copy, part) if part else None
            for number, sample in enumerate(begun(samples)):
                if sweep == 0:
                    for name in fed:
                        if is_float(sample[name].dtype):
                            take(name, np.asarray(sample[name]), number)
                if runner is not None:
                    for name, array in runner.run(sample).items():
                        if is_float(array.dtype):
                            take(name, array, number)
                if tell is not None:
                    tell(number + 1, sweep + 1, len(parts))


def first_of(samples: Samples) -> Sample | None:
    """The first sample, None where there is none.

    Raises:
        ValueError: the samples can be gone through only once.
    """
    if isinstance(samples, Iterator):
        raise ValueError("these samples can be gone through only once: give a list, or a call that begins anew")
    return next(iter(begun(samples)), None)


def begun(samples: Samples) -> Iterable[Sample]:
    """The samples from the first."""
    return samples() if callable(samples) else samples


@contextlib.contextmanager
def prepared(model: ir.Model) -> Iterator[ir.Model]:
    """A copy to choose outputs of, whose weights lie in a temporary file where they are large."""
    copy = model.clone()
    if weight_bytes(model) < _INLINE:
        yield copy
        return
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        yield ir.external_data.unload_from_model(copy, folder, "weights.bin", size_threshold_bytes=1024)


def runner_for(model: ir.Model, names: Sequence[str]) -> Runner:
    """A model loaded to yield the named values alone; `model` itself comes out as it went in."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    part = model.clone()
    values = _values(part)
    part.graph.outputs.clear()
    part.graph.outputs.extend(values[name] for name in names)
    RemoveUnusedNodesPass()(part)
    return loaded(part)


def loaded(part: ir.Model) -> Runner:
    """A part of a prepared copy, ready to run."""
    from graphopt.verify import Runner

    folder = _folder(part)
    if folder is None:
        return Runner(part)
    # Beside the weights, so that they are found: written once, not once a sweep.
    path = folder / "part.onnx"
    ir.save(part, path)
    return Runner(path)


def _folder(model: ir.Model) -> Path | None:
    """Where the weights of a prepared copy lie, None where it holds them itself."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            return Path(value.const_value.base_dir)
    return None


def _values(model: ir.Model) -> dict[str, ir.Value]:
    """Values by name that nodes of the main graph write."""
    return {value.name: value for node in model.graph for value in node.outputs if value.name}


def sizes_of(model: ir.Model, names: Sequence[str], sample: Sample) -> dict[str, int]:
    """Bytes of each value on one sample, in graph order, without holding the values: their shapes are run for."""
    known = _values(model)
    wanted = set(names) & set(known)
    if not wanted:
        return {}
    part = model.clone()
    values = {name: value for name, value in _values(part).items() if name in wanted}
    if any(value.type is None for value in values.values()):
        infer_shapes(part)
    floats = {name: value for name, value in values.items() if _may_be_float(value)}
    if not floats:
        return {}
    part.graph.outputs.clear()
    for number, value in enumerate(floats.values()):
        shape = ir.node("Shape", [value], name=f"graphopt_shape_{number}")
        shape.outputs[0].name = f"graphopt_shape_{number}"
        part.graph.append(shape)
        part.graph.outputs.append(shape.outputs[0])
    shapes = loaded(part).run(sample)
    sizes = {}
    for number, (name, value) in enumerate(floats.items()):
        elements = math.prod(shapes[f"graphopt_shape_{number}"].tolist())
        sizes[name] = int(elements * (value.dtype.itemsize if value.dtype else 4))
    return sizes


def _may_be_float(value: ir.Value) -> bool:
    """Whether a value is of floating-point numbers; one that nothing is known of, as of a vendor's operator, may be."""
    return not isinstance(value.type, ir.SequenceType | ir.OptionalType) and value.dtype in (None, *_FLOATS)


def parts_of(sizes: Mapping[str, int], budget: int) -> list[list[str]]:
    """Cut values into runs that fit the budget, a value alone where it does not."""
    parts: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not parts or size > room:
            parts.append([])
            room = budget
        parts[-1].append(name)
        room -= size
    return parts
