"""The `lumigraph` command. Dataclasses are the options; the work runs in a `Job`."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from app.bench import Bench, run_bench
from app.editing import Edit, EvaluateEdit, run_edit, run_evaluate_edit
from app.export import Format, Target
from app.robustness import Attack, Inspect, attack_from_config, run_attack, run_inspect, spread
from app.studio.options import StudioOptions
from app.understanding import Understand, run_understand
from attacks.defences.options import RobustOptions
from attacks.victims.options import DensityTraining
from data.errors import Cancelled, InputError, OutputError
from recon.editing.options import EditorTraining
from recon.general.options import TrainOptions
from recon.options import Device, PerceptualTraining, ReconstructOptions, Task
from recon.understanding.options import UnderstandingTraining

_OUT = tyro.conf.arg(aliases=["-o"])
_FLAT = tyro.conf.arg(name="")


@dataclass(frozen=True)
class Common:
    """Options of every command."""

    json: bool = False
    """Print the result as JSON on standard output, for other programs."""


@dataclass(frozen=True)
class CommonElsewhere(Common):
    """The same for commands that do not reconstruct, so that a script may give every command the same options."""

    seed: int = 0
    """Random seed. What draws no random numbers (render, export) gives the same result with any."""
    device: Device = "auto"
    """auto: CUDA if there is a GPU, else the CPU. What runs on the CPU only (export, render --what mesh) ignores it."""


@dataclass(frozen=True)
class Reconstruct:
    """Photos to a textured mesh.

    PHOTOS is a folder of photos, a zip, a video, or a posed data set (nerfstudio, instant-ngp, Blender, COLMAP, LLFF,
    NeuS/DTU, Middlebury). Interrupt it with Ctrl-C and go on later with --resume.
    """

    photos: tyro.conf.Positional[Path]
    """Folder, zip, video or data set."""
    out: Annotated[Path, _OUT]
    """Folder for the result."""
    options: Annotated[ReconstructOptions, _FLAT] = field(default_factory=ReconstructOptions)
    overwrite: bool = False
    """Replace an earlier result in the output folder."""
    resume: bool = False
    """Continue an interrupted run in the output folder."""
    common: Annotated[Common, _FLAT] = field(default_factory=Common)


@dataclass(frozen=True)
class Evaluate(Reconstruct):
    """Reconstruct with some views held out, and score them: PSNR, SSIM, time, memory.

    A data set's own test split is used where it has one.
    """

    hold_out: int = 8
    """Hold out every N-th view, beginning with the first."""


@dataclass(frozen=True)
class Render:
    """A video of a result, or stills from given cameras."""

    result: tyro.conf.Positional[Path]
    """Folder that `reconstruct` wrote."""
    path: str = "orbit"
    """orbit: a circle; swing: a loop near the photos; photos: the photos' own cameras; or a file: a camera path with keyframes, as nerfstudio
    and the studio write them (a video through them), or a transforms.json with cameras (stills)."""
    out: Annotated[Path | None, _OUT] = None
    """File (.mp4) or folder (stills); beside the result if not given."""
    what: Literal["mesh", "realtime", "field"] = "mesh"
    """mesh: the textured mesh; realtime: the mesh with the photos blended on it, as fast and closer to them; field: the radiance field,
    slow."""
    show: Literal["color", "depth", "normals"] = "color"
    """color; depth: near is yellow, far is blue; normals: red to the right, green up, blue towards the viewer."""
    frames: int = 90
    """Frames of a video."""
    width: int = 640
    """Width of the pictures in pixels."""
    height: int = 480
    """Height of the pictures in pixels."""
    common: Annotated[CommonElsewhere, _FLAT] = field(default_factory=CommonElsewhere)


@dataclass(frozen=True)
class Export:
    """A result for another program, in the input's coordinates.

    What is decimated or has a texture of another size is painted from the photos anew.
    """

    result: tyro.conf.Positional[Path]
    """Folder that `reconstruct` wrote."""
    format: Format | None = None
    """glb, obj and usdz carry a texture, ply colours at its vertices, stl the shape alone; points: a coloured point cloud (PLY); html: a
    page that shows the photos on the mesh, in real time and without a network; transforms, colmap: photos and cameras as a data set."""
    target: Annotated[Target, tyro.conf.arg(name="for")] = "none"
    """blender: GLB with a matte material; unity: GLB as photographed, 60 000 faces; web: the same, 30 000 faces, JPEG texture; print: a
    closed solid (STL). What is given beside it wins."""
    out: Annotated[Path | None, _OUT] = None
    """File to write (a folder for transforms and colmap); in the result's folder if not given."""
    faces: int | None = None
    """Most faces (points, for a point cloud); all if not given."""
    texture: int | None = None
    """Side of the texture in texels, 256 to 8192; as reconstructed if not given."""
    look: Literal["lit", "unlit"] | None = None
    """lit: a matte surface for the program's lights; unlit: as photographed."""
    colors: Literal["texture", "vertices"] | None = None
    """Where GLB has its colours."""
    levels: int = 1
    """Levels of detail, each with half the faces of the one before, as files of their own (mesh_lod1.glb, ...)."""
    flatten: bool = False
    """Take the light out of the texture, as far as it goes with the surface's direction: for scenes with lights of their own."""
    normal_map: bool = False
    """Keep the fine shape that fewer faces lose as a normal map (GLB, lit)."""
    quads: bool = False
    """A mesh of quads that follow the shape, for sculpting and subdividing (OBJ); two count as many as four --faces."""
    part: str = ""
    """Only what `lumigraph understand` found: select, foreground, or a task and a label (instances:cup)."""
    common: Annotated[CommonElsewhere, _FLAT] = field(default_factory=CommonElsewhere)


@dataclass(frozen=True)
class Studio:
    """The web app: photos, cameras, reconstruction, exploring, robustness, export.

    It listens to this machine alone. To let others in, add users (--users FILE --add-user NAME), then start it with --users FILE --host 0.0.0.0;
    SECURITY.md says what is promised.
    """

    options: Annotated[StudioOptions, _FLAT] = field(default_factory=StudioOptions)
    json: bool = False
    """Accepted for scripts that give it to every command."""


@dataclass(frozen=True)
class Train:
    """Train the general model on procedural worlds; `robust`: with an attacker in the loop.

    Also the small networks of the robustness bench: `density`, the IBRNet-style model that attacks are carried over to, and `perceptual`,
    the features behind LPIPS; `editor`, which changes photos as a sentence says; and `understanding`, which segments them (with --labels: an
    adapter for labels of your own). On several GPUs: torchrun --nproc-per-node N -m app.train WHAT --config FILE.toml --out DIR. Interrupt it with
    Ctrl-C; the same command goes on from the last checkpoint (general and robust).
    """

    what: tyro.conf.Positional[Literal["general", "robust", "density", "perceptual", "editor", "understanding"]]
    """Which model."""
    out: Annotated[Path, _OUT]
    """Folder for weights, checkpoints, tables and curves."""
    options: Annotated[TrainOptions, _FLAT] = field(default_factory=TrainOptions)


@dataclass(frozen=True)
class TrainRobust(Train):
    __doc__ = Train.__doc__
    options: Annotated[RobustOptions, _FLAT] = field(default_factory=RobustOptions)


@dataclass(frozen=True)
class TrainDensity(Train):
    __doc__ = Train.__doc__
    options: Annotated[DensityTraining, _FLAT] = field(default_factory=DensityTraining)  # type: ignore[assignment]


@dataclass(frozen=True)
class TrainPerceptual(Train):
    __doc__ = Train.__doc__
    options: Annotated[PerceptualTraining, _FLAT] = field(default_factory=PerceptualTraining)  # type: ignore[assignment]


@dataclass(frozen=True)
class TrainEditor(Train):
    __doc__ = Train.__doc__
    options: Annotated[EditorTraining, _FLAT] = field(default_factory=EditorTraining)  # type: ignore[assignment]


@dataclass(frozen=True)
class TrainUnderstanding(Train):
    __doc__ = Train.__doc__
    options: Annotated[UnderstandingTraining, _FLAT] = field(default_factory=UnderstandingTraining)  # type: ignore[assignment]


TRAININGS: dict[str, tuple[type, type]] = {
    "general": (Train, TrainOptions), "robust": (TrainRobust, RobustOptions), "density": (TrainDensity, DensityTraining),
    "perceptual": (TrainPerceptual, PerceptualTraining), "editor": (TrainEditor, EditorTraining),
    "understanding": (TrainUnderstanding, UnderstandingTraining),
}  # fmt: skip


_HELP = """usage: lumigraph COMMAND ...

Photos to 3D, on your own machine.

commands:
  reconstruct PHOTOS -o OUT          photos, video, zip or a posed data set -> OUT/mesh.glb and a report
  evaluate SCENE -o OUT              the same with views held out: PSNR, SSIM, time
  render OUT --path orbit            a video, or stills from given cameras
  export OUT --format FORMAT         glb, obj, ply, stl, usdz, points, html, transforms, colmap; --for blender|unity|web|print
  edit OUT "make it autumn" -o OUT2  change a scene by a sentence; --do recolor|remove|crop|background without one
  evaluate-edit OUT OUT2             how well an edited scene's views agree; --accuracy N judges the editor
  understand OUT --task TASK         what is where: instances, segment, materials, planes, edges, features, select ...
  attack SCENE --method M --out DIR  robustness: attacks, noise and defences, budget by budget, as a leaderboard
  inspect PHOTOS                     look for signs of tampering in photos from strangers
  train general -o DIR               train the general model on procedural worlds; train robust: against attacks
  bench kernels                      measure the hash encoding on this machine
  studio                             the web app

`lumigraph COMMAND --help` shows the options of a command. Every command takes --config FILE.toml.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 success, 2 bad input, 1 a fault of ours, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, tuple[type, Callable[[Any], int]]] = {
        "reconstruct": (Reconstruct, _reconstruct), "evaluate": (Evaluate, _reconstruct), "render": (Render, _render),
        "export": (Export, _export), "train": (Train, _train), "bench": (Bench, run_bench), "studio": (Studio, _studio),
        "edit": (Edit, lambda c: run_edit(c, run_job)), "evaluate-edit": (EvaluateEdit, lambda c: run_evaluate_edit(c, run_job)),
        "understand": (Understand, lambda c: run_understand(c, run_job)),
        "attack": (Attack, lambda c: run_attack(c, run_job)), "inspect": (Inspect, lambda c: run_inspect(c, run_job)),
    }  # fmt: skip
    if not words or words[0] in {"-h", "--help"}:
        print(_HELP, end="")
        return 0 if words else 2
    if words[0] == "--version":
        from data import __version__

        print(f"lumigraph {__version__}")
        return 0
    if words[0] not in commands:
        import difflib

        near = difflib.get_close_matches(words[0], commands, n=1)
        print(f"lumigraph: there is no command '{words[0]}'{f'; did you mean {near[0]}?' if near else '.'} See lumigraph --help.", file=sys.stderr)
        return 2
    kind, run = commands[words[0]]
    if kind is Train:
        kind = next((TRAININGS[w][0] for w in words[1:] if w in TRAININGS), Train)
    try:
        rest, default = _with_config(kind, spread(words[1:]) if kind is Attack else words[1:])
        return run(tyro.cli(kind, prog=f"lumigraph {words[0]}", args=rest, default=default))
    except (InputError, OutputError) as error:
        print(f"lumigraph: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        return 130


def _with_config(kind: type, words: list[str]) -> tuple[list[str], Any]:
    """Take `--config FILE` out of the words and turn the file into defaults."""
    if "--config" not in words:
        return words, None
    at = words.index("--config")
    if at + 1 >= len(words):
        raise InputError("--config needs the name of a TOML file. Add it.")
    from app.config import from_json, read_toml

    content = read_toml(Path(words[at + 1]))
    if issubclass(kind, Train):
        options: Any = from_json(next(o for k, o in TRAININGS.values() if k is kind), content, words[at + 1])
        missing: Any = tyro.MISSING_NONPROP
        return words[:at] + words[at + 2 :], kind(missing, missing, options)
    if kind is Attack:
        return words[:at] + words[at + 2 :], attack_from_config(content, words[at + 1])
    missing = tyro.MISSING_NONPROP
    wanted = {name: content.pop(name) for name in ("photos", "out", "result") if name in content}
    if kind is Reconstruct:
        content.pop("hold_out", None)
    placeholders = {name: Path("") for name in ("photos", "out", "result") if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    loaded: Any = from_json(kind, {**content, **{k: str(v) for k, v in placeholders.items()}}, words[at + 1])
    given = {name: Path(wanted[name]) if name in wanted else missing for name in placeholders}
    return words[:at] + words[at + 2 :], replace(loaded, **given)


def _reconstruct(command: Reconstruct) -> int:
    from app.config import to_json

    hold_out = command.hold_out if isinstance(command, Evaluate) else 0
    if isinstance(command, Evaluate) and hold_out < 2:
        raise InputError(f"--hold-out {hold_out} leaves nothing to train on. Give 2 or more.")
    task = Task(command.photos, command.out, command.options, hold_out, command.overwrite, command.resume)
    try:
        report = run_job("reconstruct", to_json(task), command.common.json)
    except KeyboardInterrupt:
        print(f"\nStopped. What is finished is kept in '{command.out}'; go on with the same command and --resume.", file=sys.stderr)
        return 130
    if not command.common.json:
        mesh, quality = report["mesh"], report["quality"]
        for warning in report["warnings"]:
            print(f"note: {warning}", file=sys.stderr)
        score = f"  held-out PSNR {quality['psnr']:.2f} dB, SSIM {quality['ssim']:.3f}\n" if quality["psnr"] is not None else ""
        print(
            f"{command.out / 'mesh.glb'}\n  {mesh['faces']} faces, texture {mesh['texture']} x {mesh['texture']}, "
            f"{report['views']['used']} of {report['views']['given']} photos, {report['seconds']['total']:.0f} s\n{score}"
            f"{command.out / 'report.html'}"
        )
    return 0


def _render(command: Render) -> int:
    from app.config import to_json

    values = to_json(command)
    values["device"] = values.pop("common")["device"]
    result = run_job("render", values, command.common.json)
    if not command.common.json:
        print("\n".join(result["files"]))
    return 0


def _export(command: Export) -> int:
    from app.config import to_json

    values = to_json(command)
    values.pop("common")
    result = run_job("export", values, command.common.json)
    if not command.common.json:
        print("\n".join(result["files"]))
    return 0


def _train(command: Train) -> int:
    from app.train import train

    train(command.options, command.out)
    return 0


def _studio(command: Studio) -> int:
    options = command.options
    if options.add_user is not None:
        from getpass import getpass

        from app.studio.accounts import add_user

        if options.users is None:
            raise InputError("--add-user needs the file to add to. Give --users FILE as well.")
        password = getpass(f"Password for {options.add_user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        add_user(options.users, options.add_user, password)
        print(f"{options.add_user} can log in now. Start with: lumigraph studio --users {options.users}")
        return 0
    from app.studio.server import serve

    serve(options)
    return 0


def run_job(kind: str, arguments: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """Run a job to its end with a progress bar (on a terminal) or a line a stage (elsewhere)."""
    from app.jobs import Job

    job = Job(kind, arguments)
    if sys.stderr.isatty() and not as_json:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True)) as bar:
            line = bar.add_task("start", total=1.0)
            for event in job.run():
                bar.update(line, completed=event.overall, description=f"{event.stage:10s} {event.message[:40]:40s}")
            bar.update(line, completed=1.0, description=f"{'done':51s}")
    else:
        stage = ""
        for event in job.run():
            if event.stage != stage and event.fraction >= 0 and not as_json:
                stage = event.stage
                print(f"{stage}: {event.message}", file=sys.stderr, flush=True)
    assert job.result is not None
    if as_json:
        print(json.dumps(job.result))
    return job.result


def entry() -> None:
    """The installed command."""
    from data.allocator import keep_freed_memory

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read on, as `| head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


if __name__ == "__main__":
    entry()
