"""All cells of a suite, some at a time; what is finished is kept, whatever happens."""

import multiprocessing
import os
import time
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from attacks.bench.cells import Cell, cells_of, prepared_scene, run_cell, stored
from attacks.bench.suite import Suite
from data.errors import InputError, OutputError
from data.progress import Progress, drained, told


def device_of(wanted: str) -> str:
    """cuda or cpu.

    Raises:
        InputError: CUDA is wanted and not there.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("CUDA was asked for, but there is no GPU that PyTorch can use. Use --device cpu, or install a CUDA build of PyTorch.")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def run_suite(suite: Suite) -> Generator[Progress, None, list[dict[str, Any]]]:
    """Run what is not finished yet; returns the rows of all cells in their order. May be closed at any event."""
    if not suite.scenes:
        raise InputError("There is no scene to attack. Give one or more.")
    if suite.workers < 1:
        raise InputError(f"{suite.workers} workers do nothing. Give 1 or more.")
    device, cells = device_of(suite.device), cells_of(suite.scenes, suite.options)
    try:
        suite.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"'{suite.out}' cannot be written ({error.strerror}). Choose another folder.") from None
    for scene in suite.scenes:
        yield Progress("scenes", 0.0, f"reading {scene.name}")
        prepared_scene(str(scene), suite.options.side)
    rows = {} if suite.overwrite else {cell.key: row for cell in cells if (row := stored(cell, suite.out)) is not None}
    open_ = [cell for cell in cells if cell.key not in rows]
    if suite.workers == 1 or len(open_) < 2:
        yield from _one_by_one(open_, len(cells), rows, suite.out, device)
    else:
        yield from _side_by_side(open_, len(cells), rows, suite.out, device, suite.workers)
    return [rows[cell.key] for cell in cells]


def _one_by_one(cells: list[Cell], total: int, rows: dict[str, Any], out: Path, device: str) -> Generator[Progress, None, None]:
    for cell in cells:
        done = len(rows)
        rows[cell.key] = yield from told(
            run_cell(cell, out, device), lambda share, done=done, cell=cell: Progress("attack", (done + share) / total, _label(cell))  # type: ignore[misc]
        )
        yield Progress("attack", len(rows) / total, _label(cell), {"cell": cell.key, "psnr_clean": _mean_psnr(rows[cell.key])})


def _side_by_side(cells: list[Cell], total: int, rows: dict[str, Any], out: Path, device: str, workers: int) -> Generator[Progress, None, None]:
    threads = max((os.cpu_count() or 1) // workers, 1)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_set_threads, initargs=(threads,))
    try:
        running = {pool.submit(_whole, cell, out, device): cell for cell in cells}
        while running:
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                cell = running.pop(future)
                rows[cell.key] = future.result()
                yield Progress("attack", len(rows) / total, _label(cell), {"cell": cell.key, "psnr_clean": _mean_psnr(rows[cell.key])})
            if not done:
                yield Progress("attack", len(rows) / total, "")
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # a cell takes minutes: whoever stops does not wait for it
            process.terminate()


def _set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def _whole(cell: Cell, out: Path, device: str) -> dict[str, Any]:
    return drained(run_cell(cell, out, device))


def _label(cell: Cell) -> str:
    return f"{Path(cell.scene).name}: {cell.method} at {cell.eps:g}, {cell.defence}, seed {cell.seed}"


def _mean_psnr(row: dict[str, Any]) -> float:
    values = [v["psnr_clean"] for v in row["views"]]
    return sum(values) / max(len(values), 1)


def stamp() -> str:
    """The time, for reports."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
