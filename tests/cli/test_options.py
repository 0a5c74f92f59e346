"""Options that several subcommands share."""

from __future__ import annotations

import pytest

from graphopt.cli.options import Names, with_io_layout


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("tflite, snpe", ("tflite", "snpe")),
        ("tflite:io_layout=nhwc,threads=2,snpe", ("tflite:io_layout=nhwc,threads=2", "snpe")),
        ("mine:tflite:a=1,snpe:b=2,c=3", ("mine:tflite:a=1", "snpe:b=2,c=3")),
    ],
)
def test_names_are_separated_by_commas_and_so_are_their_options(words: str, names: tuple[str, ...]) -> None:
    assert Names().convert(words, None, None) == names


def test_the_layout_of_the_interface_is_one_more_option() -> None:
    assert with_io_layout("tflite", "nhwc") == "tflite:io_layout=nhwc"
    assert with_io_layout("tflite:a=1", "nchw") == "tflite:a=1,io_layout=nchw"
    assert with_io_layout("tflite", None) == "tflite"
