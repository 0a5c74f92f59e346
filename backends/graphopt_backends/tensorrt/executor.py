"""Whether an engine could run here."""

from __future__ import annotations

from pathlib import Path


def gpu() -> str:
    """Name the NVIDIA driver of this machine, "" where there is none; asks the kernel, loads nothing."""
    version = Path("/proc/driver/nvidia/version")
    return version.read_text().partition("\n")[0].strip() if version.is_file() else ""


def why_not(driver: str) -> str:
    """Why an engine is not run here, with the next step.

    An engine is finished by the GPU's own driver at load time. This backend drives the builder only: without the CUDA
    runtime's bindings there is no honest way to feed an engine, so a GPU does not change the answer.
    """
    if not driver:
        return "an engine runs on an NVIDIA GPU only and this machine has none: run it on the target"
    return f"graphopt does not run engines ({driver} is here): run it with NVIDIA's `tensorrt_rtx` program"
