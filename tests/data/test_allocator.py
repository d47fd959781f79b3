"""Freed memory that is kept: the second large array costs the system nothing."""

import subprocess
import sys

import pytest

from data.child import environment

_PROGRAM = """
import resource, sys
import numpy as np
from data.allocator import keep_freed_memory, release_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print("unsupported"); sys.exit()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(20_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
again = faults()
release_freed_memory()
print(again, faults())
"""


def run(mode: str) -> list[int]:
    out = subprocess.run([sys.executable, "-c", _PROGRAM, mode], env=environment(), capture_output=True, text=True, check=True).stdout.split()
    if out == ["unsupported"]:
        pytest.skip("not glibc")
    return [int(v) for v in out]


def test_kept_memory_is_used_again_until_it_is_released() -> None:
    again, after = run("keep")
    assert again < 100
    assert after > again  # pages came from the system once more


def test_without_it_the_system_is_asked_every_time() -> None:
    again, _ = run("default")
    assert again > run("keep")[0]
