"""What every benchmark prints about where it ran."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from recon.options import Task
from recon.pipeline import reconstruct


def about_this_run() -> dict[str, Any]:
    """Device, versions, commit and command."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}"
    return {
        "device": device, "torch": torch.__version__, "python": platform.python_version(), "commit": commit,
        "command": " ".join(["python -m", *sys.orig_argv[2:]]),
    }  # fmt: skip


def run_task(task: Task) -> dict[str, Any]:
    """Run a reconstruction to its end and return the report."""
    generator = reconstruct(task)
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
