"""What every benchmark prints about where it ran."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from data.allocator import keep_freed_memory
from data.progress import drained
from recon.options import Task
from recon.pipeline import reconstruct


def about_this_run() -> dict[str, Any]:
    """Device, versions, commit and command."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    device = f"CPU, {torch.get_num_threads()} threads, {_processor()}"
    if torch.cuda.is_available():
        device += f"; {torch.cuda.get_device_name()}"
    return {
        "device": device, "torch": torch.__version__, "python": platform.python_version(), "commit": commit,
        "command": " ".join(["python -m", *sys.orig_argv[2:]]),
    }  # fmt: skip


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def run_task(task: Task) -> dict[str, Any]:
    """Run a reconstruction to its end, as a job's process does, and return the report."""
    keep_freed_memory()
    return drained(reconstruct(task))
