"""A backend that is known by a table alone: `table.json` and `recipe.toml` beside this file."""

from __future__ import annotations

from graphopt.support.backend import TableBackend


class ExampleNpu(TableBackend):
    """A neural processor that does not exist; it takes convolutions of images and little else."""

    name = "example-npu"
    title = "Example NPU"
