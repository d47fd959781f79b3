"""What can be set about a reconstruction, and the three qualities that set it."""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from data.options import PoseOptions
from recon.hashgrid.options import HashGridOptions
from recon.surface.options import SurfaceOptions

Quality = Literal["glance", "draft", "standard", "high"]
Device = Literal["auto", "cpu", "cuda"]
Masks = Literal["auto", "object", "ignore", "none"]
Engine = Literal["auto", "hashgrid", "general"]
Tune = Literal["none", "10s", "1m", "5m"]
Weights = Literal["standard", "robust"]
FEW_ENOUGH = 8
"""Photos up to which `auto` takes the general engine at every quality: too few to train on (see "Which engine" in benchmarks/RESULTS.md)."""
TUNE_SECONDS = {"10s": 10.0, "1m": 60.0, "5m": 300.0}


@dataclass(frozen=True)
class ReconstructOptions:
    """Options of `reconstruct` and `evaluate`."""

    engine: Engine = "auto"
    """How the scene is represented. hashgrid: trained on the photos; general: a trained model looks at them, no training;
    auto: general for drafts, for up to 8 photos and when tuned, else hashgrid."""
    tune: Tune = "none"
    """How long the mesh is refined on the photos, its vertices moved to where they agree; the general engine's model is tuned on them
    first, for as long."""
    weights: Weights = "standard"
    """General engine: standard, or robust, for photos from strangers: trained against attacks, somewhat worse on clean photos."""
    quality: Quality = "standard"
    """glance: coarse, in half a minute on a laptop; draft: two minutes; standard: some five; high: an hour, or a GPU."""
    device: Device = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""
    masks: Masks = "auto"
    """What masks mean: the object to cut out, spots to ignore, nothing; auto: look at them."""
    seed: int = 0
    """Random seed; the same seed, photos and machine give the same result."""
    box: tuple[float, float, float, float, float, float] | None = None
    """Part of the scene to mesh: lower and upper corner of a box (x y z x y z), in the input's coordinates; found from the photos if not given."""
    max_side: int | None = None
    """Longest side of the working photos in pixels; by quality if not given."""
    steps: int | None = None
    """Training steps; by quality if not given."""
    look_side: int | None = None
    """General engine: longest side in pixels that photos are shrunk or enlarged to; by quality if not given."""
    stereo: bool = True
    """Measure depth by stereo first; it guides training and completes the mesh."""
    turntable: bool = True
    """Write a short video that turns around the mesh."""
    poses: PoseOptions = dataclasses.field(default_factory=PoseOptions)
    """How poses are estimated where the input has none."""
    hashgrid: HashGridOptions = dataclasses.field(default_factory=HashGridOptions)
    """The engine's own settings; steps, table size and photo size follow `quality` unless set here."""
    surface: SurfaceOptions = dataclasses.field(default_factory=SurfaceOptions)
    """How the mesh is made."""

    def engine_for(self, photos: int) -> Engine:
        """The engine that ``auto`` stands for; who sets what only one engine has means that engine."""
        if self.engine != "auto":
            return self.engine
        if self.tune != "none" or self.weights != "standard":
            return "general"
        if self.steps is not None or self.hashgrid != HashGridOptions():
            return "hashgrid"
        return "general" if self.quality in ("glance", "draft") or photos <= FEW_ENOUGH else "hashgrid"

    def resolved(self, photos: int = 0) -> "ReconstructOptions":
        """With everything filled in that depends on `quality` and the number of photos; values that were set by hand stay."""
        preset = _PRESETS[self.quality]
        engine = self.engine_for(photos)
        default_grid, default_surface = HashGridOptions(), SurfaceOptions()
        field = self.hashgrid.field
        if field == default_grid.field:
            field = replace(field, log2_table_size=preset.log2_table_size)
        train = self.hashgrid.train
        if train.steps == default_grid.train.steps:
            train = replace(train, steps=preset.steps)
        train = replace(train, steps=self.steps or train.steps, seed=self.seed)
        if train.occupancy_side == default_grid.train.occupancy_side:
            train = replace(train, occupancy_side=preset.occupancy_side)
        for name in ("samples_per_step", "samples_per_ray", "depth_weight", "network_learning_rate", "learning_rate"):
            if getattr(train, name) == getattr(default_grid.train, name):
                train = replace(train, **{name: getattr(preset, name)})
        surface = preset.surface if self.surface == default_surface else self.surface
        return replace(
            self, engine=engine, max_side=self.max_side or preset.max_side, look_side=self.look_side or preset.look_side,
            steps=train.steps,
            hashgrid=HashGridOptions(field, train), surface=surface,
        )  # fmt: skip


@dataclass(frozen=True)
class _Preset:
    max_side: int
    steps: int
    log2_table_size: int
    occupancy_side: int
    samples_per_step: int
    look_side: int
    """Longest side of the photos that the general engine looks at."""
    surface: SurfaceOptions
    samples_per_ray: int = 32
    depth_weight: float = 0.02
    network_learning_rate: float = 5e-3
    learning_rate: float = 3e-2


_PRESETS: dict[Quality, _Preset] = {
    "glance": _Preset(
        400, 300, 16, 64, 16_384, 384, SurfaceOptions(resolution=96, depth_side=192, depth_sources=0, faces=12_000, texture=512),
        samples_per_ray=16, depth_weight=0.1, network_learning_rate=1e-2, learning_rate=5e-2,
    ),
    "draft": _Preset(
        640, 650, 17, 96, 32_768, 800, SurfaceOptions(resolution=160, depth_side=320, depth_sources=0, faces=25_000, texture=1024),
        samples_per_ray=16, depth_weight=0.1, network_learning_rate=1e-2, learning_rate=5e-2,
    ),
    "standard": _Preset(
        960, 1500, 18, 128, 65_536, 960, SurfaceOptions(resolution=256, depth_side=480, depth_sources=6, faces=60_000, texture=2048),
        network_learning_rate=1e-2, learning_rate=5e-2,
    ),
    "high": _Preset(1600, 20_000, 19, 128, 131_072, 960, SurfaceOptions(resolution=400, depth_side=800, depth_sources=8, faces=200_000, texture=4096)),
}


@dataclass(frozen=True)
class Task:
    """One reconstruction."""

    photos: Path
    """A folder of photos, a zip, a video or a posed data set."""
    out: Path
    """Folder for the result."""
    options: ReconstructOptions = dataclasses.field(default_factory=ReconstructOptions)
    hold_out: int = 0
    """Hold out every N-th view (or the set's own test split) and score it; 0: use every photo."""
    overwrite: bool = False
    """Replace an earlier result in the output folder."""
    resume: bool = False
    """Continue an interrupted run in the output folder."""


@dataclass(frozen=True)
class PerceptualTraining:
    """Options of `lumigraph train perceptual`."""

    minutes: float = 1.5
    worlds: int = 300
    size: tuple[int, int] = (256, 192)
    batch: int = 48
    learning_rate: float = 1e-3
    seed: int = 61
    """Worlds begin at this number times 100 000, as in the general model's training."""
