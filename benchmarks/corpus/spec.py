"""The few words in which the corpus describes its models: what their inputs look like."""

from __future__ import annotations

from typing import Any

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CENTERED = {"mean": [0.5] * 3, "std": [0.5] * 3}
VOCABULARY = 8192
"""Tokens of the exported language models: a table of all words would be most of the file."""


def image(height: int = 224, width: int | None = None, channels: int = 3, **more: Any) -> dict[str, Any]:
    """One picture, channels first unless `layout="NHWC"`; normalized with mean and std after division by 255."""
    sides = [height, width or height]
    shape = [1, *sides, channels] if more.get("layout") == "NHWC" else [1, channels, *sides]
    return {"gen": "image", "shape": shape, "dtype": "float32", **more}


def text_image(height: int, width: int, channels: int = 3) -> dict[str, Any]:
    """A picture of one line of text."""
    return {**image(height, width, channels), "gen": "text_image", "mean": [0.5] * channels, "std": [0.5] * channels}


def tokens(count: int, high: int = VOCABULARY) -> dict[str, Any]:
    """A sequence of token numbers."""
    return {"gen": "randint", "shape": [1, count], "dtype": "int64", "low": 4, "high": high}


def fill(value: float, *shape: int, dtype: str = "int64") -> dict[str, Any]:
    """One number everywhere."""
    return {"gen": "const", "shape": list(shape), "dtype": dtype, "value": value}


def noise(*shape: int, **more: Any) -> dict[str, Any]:
    """Normal noise; options mean and scale."""
    return {"gen": "normal", "shape": list(shape), "dtype": "float32", **more}


def sound(*shape: int, **more: Any) -> dict[str, Any]:
    """Something like speech, 16,000 values a second."""
    return {"gen": "speech", "shape": list(shape), "dtype": "float32", **more}
