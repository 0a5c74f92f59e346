"""Sample inputs of the corpus: pictures, drawn text, speech-like sound, tokens, noise; each from a few words of JSON.

    {"gen": "image", "shape": [1, 3, 224, 224], "dtype": "float32", "mean": [0.485, …], "std": [0.229, …]}

Generators: `image` and `text_image` (options layout, mean, std, scale, bgr), `speech` (rate, scale), `bytes`, `list`
(values), `const` (value), `randint` (low, high), `normal` (mean, scale). The number of the sample picks the picture,
the text or the seed. Pictures are photographs that the scikit-image wheel ships; `pictures/` beside the models holds
them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PICTURES = (
    "astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg",
    "motorcycle_left.png", "ihc.png",
)  # fmt: skip
"""Photographs in skimage/data."""
_LINES = ("HELLO 2024", "graphopt", "Invoice 4711", "one two three", "Total 19.95")
_PROSE = "A compiler reads the graph of a network, rewrites what it can prove, and leaves the rest as it was. "
_FORMANTS = ((600.0, 200.0, 1.3, 1.0), (1500.0, 400.0, 0.9, 0.6), (2500.0, 200.0, 0.5, 0.3))
"""Middle and swing in Hz, how often it swings a second, and strength."""

Spec = Mapping[str, Any]


def inputs_of(model: Path, index: int = 0) -> dict[str, np.ndarray]:
    """The inputs of the sample `index` of a model, by name, from the NAME.json beside NAME.onnx."""
    described = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
    pictures = model.parent / "pictures"
    return {name: make(spec, index, pictures) for name, spec in described["inputs"].items()}


def make(spec: Spec, index: int, pictures: Path) -> np.ndarray:
    """One input array; `pictures` is the folder of the photographs."""
    shape, dtype, kind = tuple(spec["shape"]), np.dtype(spec["dtype"]), spec["gen"]
    rng = np.random.default_rng([spec.get("seed", 0), index])
    size = int(np.prod(shape))
    if kind in ("image", "text_image"):
        return _images(spec, index, pictures).astype(dtype)
    if kind == "speech":
        made: Any = speech(size, spec.get("rate", 16000), index) * spec.get("scale", 1)
    elif kind == "bytes":
        text = np.frombuffer((_PROSE * (size // len(_PROSE) + 1)).encode(), np.uint8)
        made = np.roll(text[:size], index)
    elif kind == "list":
        made = np.array(spec["values"])
    elif kind == "const":
        made = np.full(shape, spec["value"])
    elif kind == "randint":
        made = rng.integers(spec["low"], spec["high"], shape)
    elif kind == "normal":
        made = rng.standard_normal(shape) * spec.get("scale", 1) + spec.get("mean", 0)
    else:
        raise ValueError(f"there is no generator {kind!r} of sample inputs")
    return np.asarray(made).reshape(shape).astype(dtype)


def _images(spec: Spec, index: int, pictures: Path) -> np.ndarray:
    from PIL import Image

    first = spec.get("layout", "NCHW") == "NCHW"
    batch, *rest = spec["shape"]
    channels, (height, width) = (rest[0], rest[1:]) if first else (rest[2], rest[:2])
    made = []
    for number in range(index, index + batch):
        if spec["gen"] == "text_image":
            picture = line_of_text(_LINES[number % len(_LINES)], width, height)
        else:
            found = sorted(path for path in pictures.glob("*") if path.name in PICTURES)
            if not found:
                raise FileNotFoundError(f"{pictures} holds no pictures: run `python benchmarks/corpus` for this folder")
            picture = Image.open(found[number % len(found)]).resize((width, height))
        array = np.asarray(picture.convert("RGB" if channels == 3 else "L"), np.float32).reshape(
            height, width, channels
        )
        if spec.get("bgr"):
            array = array[..., ::-1]
        if spec["dtype"] != "uint8":
            mean, std = np.float32(spec.get("mean", 0)), np.float32(spec.get("std", 1))
            array = (array * np.float32(spec.get("scale", 1 / 255)) - mean) / std
        made.append(array.transpose(2, 0, 1) if first else array)
    return np.stack(made)


def line_of_text(text: str, width: int, height: int) -> Any:
    """Black letters on white, as a Pillow image."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(size=int(height * 0.6))
    ImageDraw.Draw(picture).text((6, height // 8), text, fill="black", font=font)
    return picture


def speech(count: int, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Something like vowels: the overtones of a voice that rises and falls, through formants that move; float64."""
    time = np.arange(count) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros(count)
    for overtone in range(1, 25):
        strength = np.zeros(count)
        for middle, swing, often, weight in _FORMANTS:
            formant = middle + swing * np.sin(2 * np.pi * often * time + seed)
            strength += weight * np.exp(-(((overtone * pitch - formant) / 180) ** 2))
        sound += strength * np.sin(overtone * phase)
    syllables = np.clip(np.sin(2 * np.pi * 1.7 * time), 0, None) ** 0.3
    return 0.15 * sound * syllables + 0.003 * np.random.default_rng(seed).standard_normal(count)
