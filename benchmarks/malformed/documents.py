"""Malformed files that come with a model: recipes, samples, the configuration, models as text."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from random import Random

import numpy as np
from mutate import broken_bytes

_RECIPE = b"""
[backend]
io_layout = "nhwc"

[[pass]]
name = "fuse-conv-bn"

[[pass]]
name = "prune-channels"
ratio = 0.3
"""
_CODE = "'x': __import__('os').system('touch ran')"
_CONFIG = b'[plugins]\nallow = ["a-*"]\ndeny = ["b"]\n'


@dataclass(frozen=True)
class Document:
    """A file and the words that make graphopt read it.

    Attributes:
        file: its name in the model's folder.
        data: its bytes.
        arguments: the command.
    """

    file: str
    data: bytes
    arguments: tuple[str, ...]


def documents(count: int, seed: int) -> list[tuple[str, Document]]:
    """So many documents that are broken at random, with their names."""
    made = []
    valid = {"recipe": recipe(_RECIPE), "samples": samples(_npz(x=_array())), "config": config(_CONFIG),
             "array": samples(_npy(_array()), "data.npy")}  # fmt: skip
    for number in range(count):
        random = Random(f"{seed}/document/{number}")
        name = random.choice(list(valid))
        one = valid[name]
        made.append(
            (f"{name} bytes {seed}/{number}", Document(one.file, broken_bytes(one.data, random), one.arguments))
        )
    return made


def recipe(data: bytes) -> Document:
    """A recipe of a run."""
    return Document("r.toml", data, ("run", "valid.onnx", "-r", "r.toml", "-b", "tflite", "--no-compile", "-o", "out/"))


def samples(data: bytes, file: str = "data.npz") -> Document:
    """The user's samples of a run."""
    return Document(file, data, ("run", "valid.onnx", "--calibration", file, "-o", "out/"))


def config(data: bytes) -> Document:
    """The user's configuration, which GRAPHOPT_CONFIG names."""
    return Document("config.toml", data, ("plugins",))


def text(data: bytes, suffix: str) -> Document:
    """A model as text."""
    return Document(f"m.{suffix}", data, ("inspect", f"m.{suffix}"))


def _array() -> np.ndarray:
    return np.ones((1, 2, 8, 8), np.float32)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _zip_bomb() -> bytes:
    """A small .npz of an array of 16 GB of zeros, or at least of the first of them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", _header((4_000_000_000,)) + bytes(1 << 24))
    return file.getvalue()


def _header(shape: tuple[int, ...], more: str = "") -> bytes:
    told = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, {more}}}".encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(told).to_bytes(2, "little") + told


def harmful_documents() -> dict[str, Document]:
    """Those that are written to do harm, by name."""
    deep = 50_000
    return {
        "a recipe of nested lists": recipe(b"a = " + b"[" * deep + b"]" * deep),
        "a recipe of nested tables": recipe(b"a = " + b"{a = " * deep + b"1" + b"}" * deep),
        "a recipe of a deep name": recipe(b"[" + b".".join([b"a"] * deep) + b"]"),
        "a recipe of a long number": recipe(b"[[pass]]\nname = 'prune-channels'\nratio = " + b"9" * 10_000),
        "a recipe with a number beyond all": recipe(b"[[pass]]\nname = 'prune-channels'\nratio = inf"),
        "a recipe that is no text": recipe(b"\xff\xfe\x00"),
        "a recipe that names a path": recipe(b"[[pass]]\nname = '../../etc/passwd'"),
        "a recipe that names a module": recipe(b"[[pass]]\nname = 'os:system'\ncommand = 'touch ran'"),
        "a recipe of 10,000 passes that nobody has": recipe(b"[[pass]]\nname = 'x'\n" * 10_000),
        "samples that are a pickle": samples(pickle.dumps([1, 2])),
        "samples with objects": samples(_npz(x=np.array([print], object))),
        "samples that unpack to sixteen gigabytes": samples(_zip_bomb()),
        "samples of a huge shape": samples(_npz(y=_array()).replace(b"(1, 2, 8, 8)", b"(9, 9, 9, 9)")),
        "samples that are empty": samples(b""),
        "an array of a terabyte": samples(_header((1_000_000, 262_144)), "data.npy"),
        "an array of a negative shape": samples(_header((-1, 2, 8, 8)), "data.npy"),
        "an array with code in its header": samples(_header((1,), _CODE), "data.npy"),
        "a configuration of nested lists": config(b"a = " + b"[" * deep + b"]" * deep),
        "a model of nested JSON": text(b'{"graph":' * deep + b"}" * deep, "json"),
        "a model of nested text": text(b"graph { node { attribute { g { " * deep, "textproto"),
        "a model of onnx text without an end": text(b"<ir_version: 8> g (float x) => (float y) {" * 1000, "onnxtxt"),
    }  # fmt: skip
