"""Seconds until `lumigraph --help` has answered: the median of several starts.

    python -m benchmarks.startup
"""

import json
import subprocess
import sys
import time
from statistics import median

from benchmarks.common import about_this_run


def main(rounds: int = 9) -> None:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from app.cli import entry; entry()", "--help"], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"help": round(median(seconds), 3), "slowest": round(max(seconds), 3), **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
