"""Modules of ours that run in a process of their own, because native code in them may abort or hang."""

import os
import sys
from pathlib import Path


def command(module: str, *arguments: str) -> list[str]:
    """Command line that runs a module with this Python."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, in which the child finds our packages wherever it is started."""
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
