"""The chips that onnxruntime-qnn compiles for.

Measured with onnxruntime-qnn 2.7.0 (QAIRT 2.51) by compiling and running a Softmax for every `soc_model` from 1 to 110
and reading chip, architecture and fp16 support from QNN's own log. The ids left out claim no node at all; 63 is AIC100,
a data-center card without a `.dlc` path. `htp_arch` alone is no target: QNN then picks the chip of `_ARCH_DEFAULT` but
computes floats in fp32, which hides every fp16 error. Hence an architecture word stands for that chip here.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.errors import UserError


@dataclass(frozen=True)
class Soc:
    """One chip.

    Attributes:
        model: QNN's `soc_model` id.
        chip: Qualcomm's part number.
        arch: version of its HTP, as in 75 for v75.
        fp16: whether the HTP computes floats; where it does not, the emulator falls back to fp32 and proves nothing.
    """

    model: int
    chip: str
    arch: int
    fp16: bool = True

    @property
    def name(self) -> str:
        """The target's canonical word, as "soc57"."""
        return f"soc{self.model}"

    def __str__(self) -> str:
        return f"soc_model {self.model} ({self.chip}, HTP v{self.arch})"


SOCS = (
    Soc(30, "SM8350", 68, fp16=False),
    Soc(36, "SM8450", 69),
    Soc(39, "SA8295", 68),
    Soc(41, "SM7450", 69),
    Soc(42, "SM8475", 69),
    Soc(43, "SM8550", 73),
    Soc(52, "SA8255", 73),
    Soc(53, "SXR2230P", 69),
    Soc(57, "SM8650", 75),
    Soc(60, "SC8380XP", 73),
    Soc(62, "SA8540", 68),
    Soc(66, "QCS8550", 73),
    Soc(67, "SA8620P", 75),
    Soc(69, "SM8750", 79),
    Soc(72, "SA8797", 81),
    Soc(75, "SXR2330P", 79),
    Soc(77, "QCS9100", 73),
    Soc(82, "QCS8300", 75),
    Soc(87, "SM8850", 81),
    Soc(88, "SC8480XP", 81),
    Soc(89, "QCM8538", 73),
    Soc(90, "QCS8625", 75),
    Soc(92, "SM8850L", 81),
    Soc(94, "SC8440XP", 81),
    Soc(97, "SM8845", 81),
    Soc(99, "QCM8838", 81),
    Soc(103, "SM8975", 85),
    Soc(104, "CQ8725S", 79),
    Soc(105, "CQ8750S", 79),
    Soc(109, "QCS8845", 81),
)

# What QNN's log calls "applying default SoC … for this arch"; it has none for v85, whose only chip is 103.
_ARCH_DEFAULT = {68: 30, 69: 36, 73: 43, 75: 57, 79: 69, 81: 87, 85: 103}

_BY_MODEL = {soc.model: soc for soc in SOCS}
_BY_WORD = {
    **{soc.name: soc for soc in SOCS},
    **{soc.chip.lower(): soc for soc in SOCS},
    **{f"v{arch}": _BY_MODEL[model] for arch, model in _ARCH_DEFAULT.items()},
}

DEFAULT = _BY_MODEL[57]
"""SM8650, a 2024 flagship with fp16; QNN's own choice for v75. The support table is measured on it."""

WORDS = tuple(_BY_WORD)
"""Every spelling that `--target` takes: the id, the chip, or the architecture."""


def resolve(word: str) -> Soc:
    """Return the chip that a target word names.

    Raises:
        UserError: no such target.
    """
    soc = _BY_WORD.get(word.lower())
    if soc is None:
        archs = ", ".join(f"v{arch}" for arch in _ARCH_DEFAULT)
        raise UserError(
            f"snpe has no target {word!r}: name an architecture ({archs}), a chip as in sm8650 or an id as in soc57; "
            "`graphopt backends show snpe` lists them"
        )
    return soc


def by_model(model: int) -> Soc:
    """Return the chip of a `soc_model` id that `SOCS` lists."""
    return _BY_MODEL[model]
