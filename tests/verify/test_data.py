"""The user's own samples: what is read, and what is refused in which words."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

from graphopt.errors import UserError
from graphopt.verify import iterate, load, run

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
ONE = ir.from_onnx_text(HEADER + "g (float[batch, 3] x) => (float[batch, 3] y) { y = Neg(x) }")
TWO = ir.from_onnx_text(HEADER + "g (float[n, 2] a, float[n, 2] b) => (float[n, 2] y) { y = Add(a, b) }")
PHOTO = ir.from_onnx_text(HEADER + "g (float[n, 3, 4, 6] x) => (float[n, 3, 4, 6] y) { y = Neg(x) }")
LAST = ir.from_onnx_text(HEADER + "g (float[2, 5, 6, 1] x) => (float[2, 5, 6, 1] y) { y = Neg(x) }")
RAW = ir.from_onnx_text(HEADER + "g (uint8[1, 5, 6, 3] x) => (uint8[1, 5, 6, 3] y) { y = Identity(x) }")


def floats(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_an_npz_is_one_sample_by_input_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", a=floats(5, 2), b=floats(5, 2))
    (sample,) = load(tmp_path / "s.npz", TWO)
    assert run(TWO, [sample])[0]["y"].tolist() == (2 * floats(5, 2)).tolist()


def test_the_one_array_of_a_single_input_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", floats(2, 3))
    assert load(tmp_path / "s.npz", ONE)[0]["x"].shape == (2, 3)


@pytest.mark.parametrize(
    ("shape", "dims", "expected"),
    [((6, 3), {}, [(1, 3)] * 6), ((6, 3), {"batch": 2}, [(2, 3)] * 3), ((4, 5, 3), {}, [(5, 3)] * 4)],
)
def test_an_npy_is_cut_into_batches_or_along_a_new_axis(
    tmp_path: Path, shape: tuple[int, ...], dims: dict[str, int], expected: list[tuple[int, ...]]
) -> None:
    np.save(tmp_path / "s.npy", floats(*shape))
    samples = load(tmp_path / "s.npy", ONE, dims=dims)
    assert [sample["x"].shape for sample in samples] == expected
    assert np.concatenate([sample["x"].ravel() for sample in samples]).tolist() == floats(*shape).ravel().tolist()


def test_a_folder_is_read_in_the_order_of_its_names_one_file_at_a_time(tmp_path: Path) -> None:
    for place in (2, 0, 1):
        np.save(tmp_path / f"{place}.npy", np.full((1, 3), place, np.float32))
    (tmp_path / "3.npy").write_bytes(b"broken")
    stream = iterate(tmp_path, ONE)
    assert [sample["x"][0, 0] for sample in itertools.islice(stream, 3)] == [0, 1, 2]
    with pytest.raises(UserError, match=r"3\.npy cannot be read"):
        next(stream)


def test_bfloat16_survives_the_file(tmp_path: Path) -> None:
    model = ir.from_onnx_text(HEADER + "g (bfloat16[2] x) => (bfloat16[2] y) { y = Identity(x) }")
    np.savez(tmp_path / "s.npz", x=np.array([1, 2.5], ml_dtypes.bfloat16))
    assert run(model, load(tmp_path / "s.npz", model))[0]["y"].tolist() == [1, 2.5]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": floats(1, 2)}, "lacks the input 'b'"),
        ({"a": floats(1, 2), "b": floats(1, 2), "c": floats(1)}, "holds 'c', which is no input"),
        ({"a": floats(1, 2), "b": floats(1, 3)}, r"shape \(1, 3\), the model wants"),
        ({"a": floats(1, 2), "b": floats(2)}, r"shape \(2,\), the model wants"),
        ({"a": floats(1, 2), "b": floats(3, 2)}, "must agree"),
        ({"a": floats(1, 2), "b": floats(1, 2).astype(float)}, "type float64, the model wants float32"),
        ({"a": floats(1, 2), "b": np.float32([[1, np.nan]])}, "NaN"),
        ({"a": floats(0, 2), "b": floats(0, 2)}, "empty"),
        ({"a": floats(1, 2), "b": np.array([[1, None]], object)}, "Python objects"),
    ],
)
def test_an_array_that_does_not_fit_is_explained(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "s.npz", TWO)


def test_files_that_cannot_be_samples_are_explained(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", floats(1, 2))
    np.save(tmp_path / "five.npy", floats(5, 3))
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "torn.npz").write_bytes(b"PK\3\4torn")
    (tmp_path / "empty").mkdir()
    for name, model, message in [
        ("nowhere", ONE, "does not exist"),
        ("text.txt", ONE, "no .npz, .npy or image"),
        ("empty", ONE, "holds no"),
        ("torn.npz", ONE, "cannot be read"),
        ("one.npy", TWO, "has 2 inputs: save an .npz with a, b"),
    ]:
        with pytest.raises(UserError, match=message):
            load(tmp_path / name, model)
    with pytest.raises(UserError, match="not a multiple"):
        load(tmp_path / "five.npy", ONE, dims={"batch": 2})
    with pytest.raises(UserError, match="are for images"):
        load(tmp_path / "five.npy", ONE, mean=[0.5])


def picture(path: Path, color: tuple[int, int, int]) -> None:
    Image.new("RGB", (12, 8), color).save(path)


def test_images_are_resized_scaled_and_normalized_by_channel(tmp_path: Path) -> None:
    picture(tmp_path / "b.png", (0, 0, 255))
    picture(tmp_path / "a.png", (255, 0, 0))
    first, second = load(tmp_path, PHOTO, mean=[0.5, 0, 0], std=[0.5, 1, 2])
    assert first["x"].shape == (1, 3, 4, 6)
    assert first["x"].dtype == np.float32
    assert first["x"][0, :, 0, 0].tolist() == [1, 0, 0]
    assert second["x"][0, :, 3, 5].tolist() == [-1, 0, 0.5]


def test_the_layout_and_the_number_of_channels_come_from_the_input(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png", (255, 255, 255))
    samples = load(tmp_path, LAST)
    assert [sample["x"].shape for sample in samples] == [(2, 5, 6, 1)] * 2
    assert all((sample["x"] == 1).all() for sample in samples)


def test_an_input_of_bytes_gets_raw_pixels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (1, 2, 255))
    assert load(tmp_path / "a.png", RAW)[0]["x"][0, 0, 0].tolist() == [1, 2, 255]
    with pytest.raises(UserError, match="raw pixels"):
        load(tmp_path / "a.png", RAW, mean=[0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [123.0]}, "divide it"),
        ({"std": [0.0]}, "positive"),
        ({"mean": [0.1, 0.2]}, "3 channels"),
        ({"layout": "chw"}, "nchw or nhwc"),
        ({"layout": "nhwc"}, "has 6: set --layout"),
    ],
)
def test_options_that_do_not_fit_the_image_are_explained(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    picture(tmp_path / "a.png", (0, 0, 0))
    with pytest.raises(UserError, match=message):
        load(tmp_path / "a.png", PHOTO, **options)


def test_a_file_that_is_no_image_and_a_mixed_folder_are_explained(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a png")
    with pytest.raises(UserError, match="cannot be read as an image"):
        load(tmp_path, PHOTO)
    np.save(tmp_path / "b.npy", floats(1, 3))
    with pytest.raises(UserError, match="both images and arrays"):
        load(tmp_path, PHOTO)
