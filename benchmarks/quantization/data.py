"""Samples to calibrate with and samples to judge by, which have nothing in common: other photographs, other seeds.

Photographs are cut at random, so that a few of them give many samples: a window of 40 to 100 % of each side, mirrored
half of the time. Of the photographs, by name in alphabetical order, every third one judges and the others calibrate.
Sound, tokens, text and noise have a generator number of their own, far apart for the two uses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "corpus"))
import samples

Use = Literal["calibrate", "judge"]
_JUDGE_FROM = 100_000


def sample(model: Path, index: int, use: Use) -> dict[str, np.ndarray]:
    """The inputs of a model by name; NAME.json beside NAME.onnx tells what they are."""
    described = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
    return {name: array(spec, index, use, model.parent / "pictures") for name, spec in described["inputs"].items()}


def array(spec: Mapping[str, Any], index: int, use: Use, pictures: Path) -> np.ndarray:
    """One input."""
    number = index + (_JUDGE_FROM if use == "judge" else 0)
    if spec["gen"] != "image":
        return samples.make(spec, number, pictures)
    first = spec.get("layout", "NCHW") == "NCHW"
    channels, height, width = spec["shape"][1:] if first else (spec["shape"][3], *spec["shape"][1:3])
    made = [_photograph(number + place, use, pictures, height, width, channels) for place in range(spec["shape"][0])]
    batch = np.stack(made)
    if spec.get("bgr"):
        batch = batch[..., ::-1]
    if spec["dtype"] != "uint8":
        mean, std = np.float32(spec.get("mean", 0)), np.float32(spec.get("std", 1))
        batch = (batch * np.float32(spec.get("scale", 1 / 255)) - mean) / std
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2) if first else batch).astype(spec["dtype"])


def _photograph(number: int, use: Use, pictures: Path, height: int, width: int, channels: int) -> np.ndarray:
    from PIL import Image, ImageOps

    known = sorted(path for path in pictures.glob("*") if path.name in samples.PICTURES)
    if len(known) < 3:
        raise FileNotFoundError(f"{pictures} holds no pictures: run `python benchmarks/corpus` for this folder")
    chosen = [path for place, path in enumerate(known) if (place % 3 == 2) == (use == "judge")]
    rng = np.random.default_rng([7, number])
    picture = Image.open(chosen[number % len(chosen)]).convert("RGB" if channels == 3 else "L")
    wide, high = (max(int(side * rng.uniform(0.4, 1)), 8) for side in picture.size)
    left, top = int(rng.integers(0, picture.width - wide + 1)), int(rng.integers(0, picture.height - high + 1))
    cut = picture.resize((width, height), box=(left, top, left + wide, top + high))
    cut = ImageOps.mirror(cut) if rng.random() < 0.5 else cut
    return np.asarray(cut, np.float32).reshape(height, width, channels)
