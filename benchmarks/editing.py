"""Editing: do the views agree, how long does it take, and what would a full-size editor cost?

    python -m benchmarks.editing prepare SCENE OUT --views 12 --size 640 480      a scene of so many photos of that size, reconstructed (draft)
    python -m benchmarks.editing consistency RESULT... --out OUT                  our loop against each view alone, 6 prompts a scene
    python -m benchmarks.editing time RESULT --out OUT [--photos-only]            a whole edit; or up to the edited photos, where Open3D is missing
    python -m benchmarks.editing pictures RESULT --out OUT                        edits of it side by side, as the README shows them
    python -m benchmarks.editing accuracy --out OUT [--guidance 1 1.5]            does the editor do what it is asked, on several sets of held-out edits
    python -m benchmarks.editing large --size 512 384 [--memory offload]          an InstructPix2Pix of full size with random weights (GPU)

`lumigraph evaluate-edit --accuracy 100` is the first set of `accuracy`.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import about_this_run, run_task
from data.files import write_json
from data.images import resize, save_image
from data.progress import drained
from recon.depthviews import DepthViews, depth_views, link, nearest, view_size, warp_error
from recon.editing import transfer
from recon.editing.accuracy import judge, summary
from recon.editing.editors import chosen_device, open_editor
from recon.editing.loop import LoopOptions, edit_alone, edit_consistently
from recon.editing.options import EditOptions, EditTask
from recon.editing.protocol import EditRequest, ImageEditor
from recon.result import open_result

PROMPTS = ("make it autumn", "make it night", "in the snow", "turn it into an oil painting", "make it a watercolor", "make it sunset")
SHOWN = ("make it autumn", "make it night", "make it sunset", "neon light")
"""In the README."""


def prepare(scene_folder: Path, out: Path, views: int, size: tuple[int, int], quality: str) -> None:
    """A scene of evenly chosen photos of one size, and its reconstruction in ``out``."""
    from data.readers import read_scene
    from data.writers import write_transforms
    from recon.options import ReconstructOptions, Task

    with tempfile.TemporaryDirectory() as work:
        scene = read_scene(scene_folder, Path(work) / "input")
        chosen = scene.select([int(i) for i in np.linspace(0, len(scene) - 1, views).round()])
        small = _resized(chosen, Path(work) / "small", size)
        write_transforms(Path(work) / "small", small)
        run_task(Task(Path(work) / "small", out, ReconstructOptions(quality=quality, engine="general", turntable=False), overwrite=True))  # type: ignore[arg-type]


def _resized(scene: Any, folder: Path, size: tuple[int, int]) -> Any:
    """The scene with its photos written at one size (their shapes must be near it)."""
    from dataclasses import replace

    cameras = scene.posed()
    paths = []
    (folder / "images").mkdir(parents=True)
    for i, path in enumerate(scene.image_paths):
        width, height = (int(v) for v in cameras.sizes[i])
        if abs(width / height - size[0] / size[1]) > 0.05:
            raise SystemExit(f"{path.name} is {width} x {height}, which is not shaped like {size[0]} x {size[1]}")
        paths.append(folder / "images" / f"{path.stem}.jpg")
        save_image(paths[-1], resize(scene.image(i), *size), 95)
    return replace(scene, root=folder, image_paths=tuple(paths), mask_paths=(), depth_paths=(), cameras=cameras.resized(np.tile(np.array(size), (len(cameras), 1))))


def consistency(results: list[Path], prompts: tuple[str, ...], editor: ImageEditor, out: Path, most: int) -> list[dict[str, Any]]:
    """A row for each result and prompt: how far views differ where they show the same place, edited alone and by the loop."""
    rows = []
    for folder in results:
        result = open_result(folder)
        scene = result.scene
        if len(scene) > most:
            scene = scene.select([int(i) for i in np.linspace(0, len(scene) - 1, most).round()])
        views = depth_views(scene, result.baked, view_size(scene.posed().sizes, editor.side, editor.multiple)).to(editor.device)
        every = link(views, nearest(views.cameras, min(4, len(views) - 1)))
        photos = warp_error(views.photos, every)
        sheet = [views.photos]
        for prompt in prompts:
            begun = time.perf_counter()
            alone = drained(edit_alone(editor, views, prompt)).to(views.photos)
            between = time.perf_counter()
            done = drained(edit_consistently(editor, views, prompt, LoopOptions()))
            assert done.links is not None
            ours = _final(editor, views, done)
            row = {
                "scene": folder.name, "prompt": prompt, "views": len(views), "size": list(views.photos.shape[:1:-1]), "photos": photos, "alone": warp_error(alone, every),
                "loop": warp_error(ours, every), "rounds": len(done.disagreement) - 1, "seconds_alone": between - begun, "seconds_loop": time.perf_counter() - between,
                "change": float((ours - views.photos).abs().mean()), "change_alone": float((alone - views.photos).abs().mean()),
            }  # fmt: skip
            if editor.detail == "photo":
                row["alone_transferred"] = warp_error(transfer.apply(views.photos, transfer.fit(views.photos, alone)), every)
            row["ratio"] = row["loop"] / row["alone"]
            print(f"{row['scene']:16} {prompt:30} photos {photos:.4f}  alone {row['alone']:.4f}  loop {row['loop']:.4f}  ratio {row['ratio']:.2f}  {row['seconds_loop']:.0f} s", flush=True)
            rows.append(row)
            sheet += [alone, ours]
        few = list(range(0, len(views), max(len(views) // 4, 1)))[:4]
        tiles = torch.cat([torch.cat(list(part[few]), 2) for part in sheet], 1)
        save_image(out / f"{folder.name}.jpg", (tiles.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8))
    return rows


def _final(editor: ImageEditor, views: DepthViews, done: Any) -> torch.Tensor:
    """What the loop's last word leaves of the views, as a whole edit writes it."""
    if editor.detail == "editor":
        return done.links.blended(done.pictures, own=1.0)[0]  # type: ignore[no-any-return]
    fields, rest = transfer.settled(views.photos, done.pictures, done.links)
    return (transfer.apply(views.photos, fields) + rest).clamp(0, 1)


def timed(folder: Path, out: Path, options: EditOptions, photos_only: bool, prompts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Seconds of whole edits, one row a prompt."""
    from recon.editing.pipeline import edit, edited_photos

    rows = []
    for number, prompt in enumerate(prompts):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            if photos_only:
                changes, facts = drained(edited_photos(folder, prompt, options, Path(work)))
                for i, photo in enumerate(changes.photos):
                    save_image(Path(work) / f"{i}.png", photo)
                stages: dict[str, float] = {}
                count = len(changes.photos)
            else:
                report = drained(edit(EditTask(folder, Path(work) / "out", prompt, options)))
                stages, facts = report["seconds"], report["edits"][-1]
                count = len(report["cameras"]["names"])
        row = {
            "scene": folder.name, "prompt": prompt, "views": count, "seconds": time.perf_counter() - begun, "stages": stages, "first": number == 0,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "peak_gpu_mb": facts.get("peak_gpu_memory_mb"), "warp_error": facts.get("warp_error"),
        }  # fmt: skip
        print(f"{prompt:30} {row['seconds']:.1f} s {stages}", flush=True)
        rows.append(row)
    print(f"median {statistics.median(r['seconds'] for r in rows):.1f} s")
    return rows


def pictures(folder: Path, out: Path, options: EditOptions, prompts: tuple[str, ...], width: int = 320) -> None:
    """``out/edits.jpg``: a photo and the mesh from a side; before, and after each edit."""
    from recon.editing.pipeline import edit

    photo = sorted((folder / "images").iterdir())[len(list((folder / "images").iterdir())) // 5]

    def column(result: Path) -> np.ndarray:
        from data.images import load_rgba

        tiles = []
        for path in (next((result / "images").glob(f"{photo.stem}.*")), result / "previews" / "side_1.png"):
            picture = load_rgba(path)[0][..., :3]
            if path.suffix == ".png" and path.parent.name == "previews":
                drawn = np.flatnonzero((load_rgba(folder / "previews" / path.name)[0][..., :3] < 250).any((1, 2)))
                picture = picture[max(drawn[0] - 10, 0) : drawn[-1] + 10]
            tiles.append(resize(picture, width, round(picture.shape[0] * width / picture.shape[1])))
        return np.concatenate(tiles)

    columns = [column(folder)]
    with tempfile.TemporaryDirectory() as work:
        for number, prompt in enumerate(prompts):
            drained(edit(EditTask(folder, Path(work) / str(number), prompt, options)))
            columns.append(column(Path(work) / str(number)))
    save_image(out / "edits.jpg", np.concatenate(columns, axis=1), 88)


def judged(options: EditOptions, edits: int, seeds: tuple[int, ...], guidances: tuple[float, ...]) -> list[dict[str, Any]]:
    """Shares of edits that are right, one row for each guidance and set, and what the wrong ones are most like."""
    rows = []
    for guidance in guidances:
        editor = open_editor(replace(options, guidance=guidance))
        for seed in seeds:
            begun = time.perf_counter()
            answers = drained(judge(editor, edits, seed))
            wrong = [{"prompt": a.prompt, "kind": a.kind, "nearest": a.nearest} for a in answers if not a.right]
            rows.append({"guidance": guidance, "seed": seed, **summary(answers), "wrong": wrong, "seconds": time.perf_counter() - begun})
            kinds = ", ".join(f"{k} {round(v['accuracy'] * v['edits'])} of {v['edits']}" for k, v in rows[-1]["kinds"].items())
            print(f"guidance {guidance:g}, set {seed}: {rows[-1]['accuracy']:.2f}  {rows[-1]['seconds']:.0f} s  {kinds}", flush=True)
        print(f"guidance {guidance:g}: {statistics.mean(r['accuracy'] for r in rows if r['guidance'] == guidance):.3f}", flush=True)
    return rows


def large(size: tuple[int, int], views: int, memory: str, steps: int, xl: bool) -> dict[str, Any]:
    """Seconds and memory of a full-size InstructPix2Pix with random weights, saved and opened as any other model."""
    with tempfile.TemporaryDirectory() as work:
        begun = time.perf_counter()
        parameters = full_size(Path(work), xl)
        made = time.perf_counter()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        editor = open_editor(EditOptions(model=work, device="cuda", memory=memory, steps=steps))  # type: ignore[arg-type]
        opened = time.perf_counter()
        g = torch.Generator().manual_seed(0)
        photos, noise = torch.rand(views, 3, size[1], size[0], generator=g), torch.randn(views, 3, size[1], size[0], generator=g)
        row: dict[str, Any] = {"size": list(size), "views": views, "memory": memory, "steps": steps, "parameters": parameters, "seconds_made": made - begun, "seconds_opened": opened - made}
        for name, request in (
            ("warm_up", EditRequest(photos[:1], "make it night", noise=noise[:1])),
            ("whole", EditRequest(photos, "make it night", noise=noise)),
            ("again", EditRequest(photos, "make it night", renders=photos, strength=0.34, noise=noise)),
        ):
            torch.cuda.synchronize()
            begun = time.perf_counter()
            pictures = drained(editor.edit(request))
            torch.cuda.synchronize()
            row[f"seconds_a_view_{name}"] = (time.perf_counter() - begun) / len(request.photos)
            assert pictures.shape == request.photos.shape
        row["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20
        row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def full_size(folder: Path, xl: bool = False) -> int:
    """Write an InstructPix2Pix with the shapes of Stable Diffusion 1.5 or XL and random weights in half precision; its number of parameters.

    The tokenizer knows letters alone, which changes no cost: sentences are padded to 77 tokens.
    """
    import diffusers as d
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz", *(c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz"), "<|startoftext|>", "<|endoftext|>"]
    words = folder / "words"
    words.mkdir(parents=True)
    (words / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(letters)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77)
    special = {"vocab_size": 49_408, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53, "max_position_embeddings": 77}
    torch.manual_seed(0)
    on = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with on:
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768, **special))
        vae = d.AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=4, sample_size=1024 if xl else 512, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.13025 if xl else 0.18215,
        )  # fmt: skip
        if xl:
            second = CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280, hidden_act="gelu", **special))
            unet = d.UNet2DConditionModel(
                sample_size=96, in_channels=8, out_channels=4, block_out_channels=(320, 640, 1280), layers_per_block=2, cross_attention_dim=2048,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
            )  # fmt: skip
        else:
            unet = d.UNet2DConditionModel(
                sample_size=64, in_channels=8, out_channels=4, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, cross_attention_dim=768, attention_head_dim=8,
            )  # fmt: skip
    scheduler = d.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    if xl:
        pipe: Any = d.StableDiffusionXLInstructPix2PixPipeline(vae=vae, text_encoder=text, text_encoder_2=second, tokenizer=tokenizer, tokenizer_2=tokenizer, unet=unet, scheduler=scheduler)
    else:
        pipe = d.StableDiffusionInstructPix2PixPipeline(
            vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )  # fmt: skip
    pipe.to(torch.float16).to("cpu").save_pretrained(folder)
    return sum(p.numel() for c in pipe.components.values() if isinstance(c, torch.nn.Module) for p in c.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("prepare")
    one.add_argument("scene", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--views", type=int, default=12)
    one.add_argument("--size", type=int, nargs=2, default=(640, 480))
    one.add_argument("--quality", default="draft")
    for name in ("consistency", "time", "pictures"):
        one = commands.add_parser(name)
        one.add_argument("results", type=Path, nargs="+" if name == "consistency" else 1)
        one.add_argument("--prompts", nargs="+", default={"consistency": PROMPTS, "time": PROMPTS[:3], "pictures": SHOWN}[name])
        one.add_argument("--model", default="shipped")
        one.add_argument("--device", default="auto")
        one.add_argument("--out", type=Path, required=True)
    commands.choices["consistency"].add_argument("--views", type=int, default=12, help="most views of a scene")
    commands.choices["time"].add_argument("--photos-only", action="store_true")
    one = commands.add_parser("accuracy")
    one.add_argument("--edits", type=int, default=100, help="of each set")
    one.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), help="one set of worlds and sentences each")
    one.add_argument("--guidance", type=float, nargs="+", default=(1.0,))
    one.add_argument("--model", default="shipped")
    one.add_argument("--device", default="auto")
    one.add_argument("--out", type=Path, required=True)
    one = commands.add_parser("large")
    one.add_argument("--size", type=int, nargs=2, default=(512, 384))
    one.add_argument("--views", type=int, default=4)
    one.add_argument("--memory", default="none")
    one.add_argument("--steps", type=int, default=20)
    one.add_argument("--xl", action="store_true")
    one.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    if a.command == "prepare":
        prepare(a.scene, a.out, a.views, tuple(a.size), a.quality)
        return
    a.out.mkdir(parents=True, exist_ok=True)
    about = about_this_run()
    print(json.dumps(about))
    if a.command == "large":
        row = large(tuple(a.size), a.views, a.memory, a.steps, a.xl)
        print(json.dumps(row))
        write_json(a.out / f"large_{'xl' if a.xl else 'sd'}_{a.memory}.json", {**about, **row})
        return
    options = EditOptions(model=a.model, device=a.device)
    if a.command == "pictures":
        pictures(a.results[0], a.out, options, tuple(a.prompts))
        return
    if a.command == "accuracy":
        rows = judged(options, a.edits, tuple(a.seeds), tuple(a.guidance))
    elif a.command == "time":
        rows = timed(a.results[0], a.out, options, a.photos_only, tuple(a.prompts))
    else:
        chosen_device(a.device)
        rows = consistency(a.results, tuple(a.prompts), open_editor(options), a.out, a.views)
    write_json(a.out / f"{a.command}.json", {**about, "rows": rows})


if __name__ == "__main__":
    main()
