"""What is timed and on which inputs: the same for all models, where they take the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphopt.bench.process import Process
from graphopt.errors import MissingExtraError, PluginError, UserError
from graphopt.ir import load
from graphopt.parcel import pack
from graphopt.pipeline import BACKENDS
from graphopt.verify import Sample, generate
from graphopt.verify.shared import Signature, dims_of, shared_dims, signature

ONNXRUNTIME = "graphopt.bench.ort:open_model"
_ONNX = (".onnx", ".json", ".onnxjson", ".textproto", ".onnxtxt")
_KIND = 1
"""Which of the kinds of generated samples: values in [0, 1), which take no slow path of a processor."""


@dataclass
class Subject:
    """A model to time.

    Attributes:
        file: as the user wrote it.
        runner: what opens it, as "module:function".
        sample: its inputs.
        note: why it has others than the first model, "" where it has the same.
        sample_file: where they are stored for the child.
    """

    file: str
    runner: str
    sample: Sample
    note: str = ""
    sample_file: str = ""

    def store(self, file: Path) -> None:
        """Write the inputs where the child finds them."""
        file.write_bytes(pack([self.sample]))
        self.sample_file = str(file)


def subjects(
    files: Sequence[str], dims: dict[str, int | tuple[int, ...]], timeout: float
) -> tuple[list[Subject], dict[str, tuple[int, ...]]]:
    """Find what runs each file, and inputs that all take.

    Returns:
        The models, and the shape of each input of the first.

    Raises:
        UserError: a file is no model, nothing here runs it, or `dims` concerns none.
    """
    runners = {file: _runner(file) for file in files}
    models = {file: load(file) for file, runner in runners.items() if runner == ONNXRUNTIME}
    taken: dict[str, Signature] = {file: signature(model) for file, model in models.items()}
    for file, runner in runners.items():
        if file not in taken:
            with Process(file, timeout) as process:
                shapes = process.ask("signature", runner=runner, file=str(Path(file).resolve()))
            taken[file] = {name: tuple(shape) for name, shape in shapes.items()}
    samples: dict[str, Sample] = {}
    for file, model in models.items():
        others = [one for name, one in taken.items() if name != file]
        sizes = shared_dims(model, dims_of(model, dims, list(models.values())), others)
        samples[file] = generate(model, dims=sizes, samples=_KIND + 1)[_KIND]
    first = next(iter(samples.values()), {})
    found = [Subject(file, runners[file], samples.get(file, first)) for file in files]
    for one in found[1:]:
        if one.file in models and models and files[0] in models:
            one.note = _difference(samples[files[0]], samples[one.file])
            one.sample = one.sample if one.note else first
    return found, {name: tuple(array.shape) for name, array in found[0].sample.items()}


def _runner(file: str) -> str:
    """What opens files of this kind, as "module:function"."""
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{file}: {'is a folder' if path.is_dir() else 'there is no such file'}; give a model file")
    if path.suffix in _ONNX:
        return ONNXRUNTIME
    known, others = [".onnx"], list[str]()
    for entry in BACKENDS.entries():
        try:
            backend = entry.load()
        except PluginError:
            continue
        if backend.suffix == path.suffix and backend.runner:
            made = entry.load_and_make()
            if made.toolchain() is None:
                raise MissingExtraError(backend.title, backend.extra)
            return backend.runner
        (known if backend.runner else others).append(backend.suffix)
    what = "has no runtime here that can be timed" if path.suffix in others else "is of a kind that nothing here runs"
    raise UserError(f"{file}: {what}; give files of {', '.join(dict.fromkeys(known))}")


def _difference(first: Sample, other: Sample) -> str:
    """Why two models do not get the same inputs, "" where they do."""
    if first.keys() != other.keys():
        return f"it takes {', '.join(other) or 'nothing'} instead of {', '.join(first) or 'nothing'}"
    for name, array in first.items():
        if array.dtype != other[name].dtype:
            return f"its {name} is {other[name].dtype.name} instead of {array.dtype.name}"
        if array.shape != other[name].shape:
            sizes = ("x".join(map(str, one.shape)) for one in (other[name], array))
            return f"its {name} is {' instead of '.join(sizes)}; --dim gives both one size"
    return ""
