"""Structure from motion in a process of its own: `python -m data.sfm_worker task.json`.

pycolmap can exhaust memory or abort on unlucky input; here that ends this process alone. Progress goes to standard
output, one JSON object a line; the last has the key `result` or `error`.
"""

import json
import resource
import sqlite3
import sys
import threading
import zlib  # noqa: F401  pycolmap exports zlib symbols of its own; unless Python's is loaded first, the process aborts
from pathlib import Path
from typing import Any


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


class RowCounter(threading.Thread):
    """Reports how many rows a table of COLMAP's database has, once a second: its C++ stages have no callback."""

    def __init__(self, database: Path, table: str, stage: str, expected: int) -> None:
        super().__init__(daemon=True)
        self.database, self.table, self.stage, self.expected = database, table, stage, max(expected, 1)
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(1.0):
            try:
                with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=0.2) as connection:
                    (count,) = connection.execute(f"select count(*) from {self.table}").fetchone()
            except sqlite3.Error:
                continue
            say(stage=self.stage, fraction=min(count / self.expected, 1.0))

    def __enter__(self) -> "RowCounter":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join()


def main(task: dict[str, Any]) -> None:
    import pycolmap

    if task["memory_mb"]:
        limit = int(task["memory_mb"]) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pycolmap.set_random_seed(0)
    pycolmap.logging.minloglevel = 3
    images, work = Path(task["images"]), Path(task["work"])
    database = work / "database.db"
    database.unlink(missing_ok=True)
    count = sum(len(group["names"]) for group in task["groups"])

    extraction = pycolmap.FeatureExtractionOptions()
    extraction.sift.max_num_features = task["features"]
    extraction.sift.estimate_affine_shape = task["affine"]
    with RowCounter(database, "keypoints", "features", count):
        for group in task["groups"]:
            reader = pycolmap.ImageReaderOptions()
            reader.camera_model = group["camera_model"]
            if group["params"]:
                reader.camera_params = group["params"]
            pycolmap.extract_features(
                database, images, image_names=group["names"], camera_mode=pycolmap.CameraMode.SINGLE,
                reader_options=reader, extraction_options=extraction, device=pycolmap.Device.cpu,
            )  # fmt: skip
    sequential = task["matching"] == "sequential"
    pairs = count * 10 if sequential else count * (count - 1) // 2
    with RowCounter(database, "two_view_geometries", "matching", pairs):
        matching = pycolmap.FeatureMatchingOptions()
        matching.guided_matching = False
        if sequential:
            pycolmap.match_sequential(database, matching_options=matching, device=pycolmap.Device.cpu)
        else:
            pairing = pycolmap.ExhaustivePairingOptions()
            pairing.block_size = 8  # COLMAP commits after each block; small ones let progress be seen
            pycolmap.match_exhaustive(database, matching_options=matching, pairing_options=pairing, device=pycolmap.Device.cpu)

    best = incremental(database, images, work / "incremental", count, relaxed=False)
    if best is None or best.num_reg_images() < count:
        # Thresholds made for internet collections drop the odd photo of a small set; a second run with laxer ones often keeps it.
        best = better(best, incremental(database, images, work / "relaxed", count, relaxed=True))
    if best is None or best.num_reg_images() < 0.75 * count:
        say(stage="mapping", fraction=0.9, message="trying global mapping")
        (work / "global").mkdir(exist_ok=True)
        found = pycolmap.global_mapping(database, images, work / "global")
        best = better(best, max(found.values(), key=lambda r: r.num_reg_images(), default=None))
    if best is None or best.num_reg_images() < 2:
        say(error="the photos share too few details: no two of them could be connected")
        return
    model = work / "model"
    model.mkdir(exist_ok=True)
    best.write(model)
    say(result={"model": str(model), "reprojection_error_px": best.compute_mean_reprojection_error(), "points": best.num_points3D()})


def better(first: Any, second: Any) -> Any:
    """The reconstruction with more registered images; the first on a draw."""
    if first is None or second is None:
        return first if second is None else second
    return second if second.num_reg_images() > first.num_reg_images() else first


def incremental(database: Path, images: Path, out: Path, count: int, relaxed: bool) -> Any:
    import pycolmap

    out.mkdir(exist_ok=True)
    options = pycolmap.IncrementalPipelineOptions()
    if relaxed:
        options.min_num_matches = 10
        options.mapper.init_min_num_inliers = 50
        options.mapper.abs_pose_min_num_inliers = 12
        options.mapper.abs_pose_min_inlier_ratio = 0.12
        options.mapper.abs_pose_max_error = 16.0
    done = [2]

    def registered() -> None:
        done[0] += 1
        say(stage="mapping", fraction=min(done[0] / count, 1.0))

    found = pycolmap.incremental_mapping(database, images, out, options=options, next_image_callback=registered)
    return max(found.values(), key=lambda r: r.num_reg_images(), default=None)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text()))
    except MemoryError:
        say(error="structure from motion needs more memory than its limit; give fewer photos or a smaller poses.max-side, or raise poses.memory-mb")
    except Exception as problem:  # the parent turns it into one clear sentence
        say(error=f"structure from motion failed: {problem}")
