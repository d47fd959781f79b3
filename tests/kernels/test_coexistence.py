"""Other libraries look for a module called `kernels`; ours must not be in their way."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("library", ["transformers", "diffusers"])
def test_libraries_that_probe_for_kernels_still_import(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    script = f"import kernels, {library}; from {library} import {'AutoModel' if library == 'transformers' else 'DiffusionPipeline'}"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_importing_kernels_imports_nothing_heavy() -> None:
    script = "import sys, kernels; print([m for m in ('torch', 'numba', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
