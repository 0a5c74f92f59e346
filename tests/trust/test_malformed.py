"""A hundred malformed files, half of them written to do harm; `make malformed` tries thousands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_malformed_files_end_within_their_limits_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "malformed", "2000", "--pick", "100"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 commands" in done.stdout
    assert "0 failures" in done.stdout
