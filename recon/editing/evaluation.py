"""How good an edit of a scene is: consistency, fidelity, likeness to the sentence, with and without a network that judges."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.cameras import Cameras
from data.errors import InputError
from data.images import load_rgba, resize
from data.progress import Progress
from data.scene import Scene
from recon.depthviews import depth_views, link, nearest, view_size, warp_error
from recon.editing.result import before_edits
from recon.metrics import psnr, ssim
from recon.result import Result, open_result

SIDE = 256
"""Longest side at which views are compared, pixels."""
HELD_OUT = 4
"""Every so-manieth view is held out for BPSNR."""


@dataclass(frozen=True)
class EvaluateTask:
    """What is compared."""

    before: Path
    """The result that was edited."""
    after: Path
    """The edited result."""
    clip: str = ""
    """Id or folder of a CLIP model, for the two scores that need one."""
    source: str = ""
    """What the scene of before shows, in words, for CLIP: "a photo of a fern"."""
    target: str = ""
    """What the edited one shows: "a photo of a fern in autumn"."""
    device: str = "cpu"


def evaluate_edit(task: EvaluateTask) -> Generator[Progress, None, dict[str, Any]]:
    """Measure; the value has these, None where something needed is missing.

    - `warp_error`: see `views.warp_error`, of the edited photos, of those of before, and their ratio.
    - `bpsnr`, `bssim`: of held-out edited views, as a field that looks at the other edited views draws them (after the measure of NeRF
      Analogies, Fischer et al. 2024); and `bpsnr_before`, the same of the photos of before, which is what the field can do at all.
    - `change`: mean absolute change of colour; an edit that changes nothing is consistent, and no edit.
    - `psnr_outside`: of the last edit, outside of its region; None where `unchanged_outside` says that not a value changed, or there is no region.
    - `clip_direction`, `clip_consistency`: the cosine between the change of pictures and of words, and between the changes of neighbouring views.

    Raises:
        InputError: the two results do not belong together, or the CLIP model cannot be used.
    """
    yield Progress("evaluate", 0.0, "opening the scenes")
    before, after = open_result(task.before), open_result(task.after)
    stems = [p.stem for p in before.scene.image_paths]
    if stems != [p.stem for p in after.scene.image_paths]:
        raise InputError(f"'{task.after}' does not show the photos of '{task.before}'. Give a result and what was made of it.")
    size = view_size(before.scene.posed().sizes, SIDE)
    views = depth_views(before.scene, before.baked, size)
    edited = _pictures(after.scene, size)
    links = link(views, nearest(views.cameras, min(4, len(views) - 1)))
    errors = warp_error(edited, links), warp_error(views.photos, links)
    yield Progress("evaluate", 0.2, "held-out views")
    rendered = yield from _held_out(after, size, 0.2, 0.55)
    own = yield from _held_out(before, size, 0.55, 0.9)
    last = (after.report.get("edits") or [{}])[-1]
    out: dict[str, Any] = {
        "warp_error": errors[0], "warp_error_before": errors[1], "warp_ratio": errors[0] / max(errors[1], 1e-9), "change": float((edited - views.photos).abs().mean()),
        "bpsnr": rendered[0], "bssim": rendered[1], "bpsnr_before": own[0], "bssim_before": own[1], "clip_direction": None, "clip_consistency": None,
        "psnr_outside": last.get("psnr_outside"), "unchanged_outside": last.get("unchanged_outside"), "edits": after.report.get("edits", []), "seconds": after.report.get("seconds", {}), "peak_memory_mb": after.report.get("peak_memory_mb"),
    }  # fmt: skip
    if task.clip:
        if not task.source or not task.target:
            raise InputError("CLIP compares the change of pictures with a change of words. Give --source and --target, what the scene shows before and after.")
        yield Progress("evaluate", 0.9, "CLIP")
        out |= clip_scores(Clip.from_pretrained(task.clip, task.device), views.photos, edited, task.source, task.target, views.cameras)
    yield Progress("evaluate", 1.0, "done")
    return out


def _pictures(scene: Scene, size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
    rows = [resize(scene.image(i), *size) for i in range(len(scene))]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 255


def _held_out(result: Result, size: tuple[int, int], start: float, end: float) -> Generator[Progress, None, tuple[float, float] | tuple[None, None]]:
    """PSNR and SSIM of views that a field does not look at, against their photos."""
    from recon.general.engine import ConditionOptions, GeneralModel
    from recon.pictures import render_picture

    scene = result.scene
    test = list(range(0, len(scene), HELD_OUT))
    train = [i for i in range(len(scene)) if i not in test]
    if len(train) < 3:
        return None, None
    model = GeneralModel.from_pretrained(None, "cpu", ConditionOptions(side=2 * SIDE))
    known = [resize(scene.image(i), *_fitted(scene, i, 2 * SIDE)) for i in train]
    shape = [resize(load_rgba(before_edits(result.folder, scene.image_paths[i].stem) or scene.image_paths[i])[0], *_fitted(scene, i, 2 * SIDE)) for i in train]
    cameras = scene.posed().select(train)
    cameras = cameras.resized(np.array([[p.shape[1], p.shape[0]] for p in known]))
    with torch.no_grad():
        field = model.condition([_tensor(p) for p in shape], cameras, _ranges(result, train), colors=[_tensor(p) for p in known])
    scores = []
    for k, i in enumerate(test):
        yield Progress("evaluate", start + (end - start) * k / len(test), f"held-out view {k + 1} of {len(test)}")
        small = scene.posed().select([i]).resized(np.array([_fitted(scene, i, SIDE)]))
        picture = render_picture(field, small, 0).rgb.numpy()
        truth = resize(scene.image(i), *(int(v) for v in small.sizes[0])).astype(np.float32) / 255
        scores.append((psnr(picture, truth, None), ssim(picture, truth)))
    mean = np.mean(scores, axis=0)
    return float(mean[0]), float(mean[1])


def _ranges(result: Result, views: list[int]) -> np.ndarray:
    from recon.editing.result import depth_ranges

    return depth_ranges(result)[views]


def _fitted(scene: Scene, view: int, side: int) -> tuple[int, int]:
    width, height = (int(v) for v in scene.posed().sizes[view])
    scale = min(1.0, side / max(width, height))
    return max(round(width * scale), 16), max(round(height * scale), 16)


def _tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255


@dataclass(frozen=True)
class Clip:
    """Pictures and sentences as unit vectors (Radford et al. 2021)."""

    model: Any
    processor: Any

    @classmethod
    def from_pretrained(cls, model: str, device: str = "cpu") -> "Clip":
        """Of a folder, or by the id of a model in the local cache.

        Raises:
            InputError: its files are not on this machine or incomplete.
        """
        from transformers import CLIPModel, CLIPProcessor

        try:
            loaded = CLIPModel.from_pretrained(model, local_files_only=True, use_safetensors=True).to(device).eval()
            return cls(loaded, CLIPProcessor.from_pretrained(model, local_files_only=True))
        except Exception as error:
            raise InputError(f"The CLIP model '{model}' is not on this machine, or incomplete ({str(error).strip().splitlines()[0][:150]}). Get it once with: hf download {model}") from None

    @torch.no_grad()
    def pictures(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Embeddings of pictures, of unit length."""
        images = [(p.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8) for p in pictures]
        values = self.processor.image_processor(images=images, return_tensors="pt")["pixel_values"].to(self.model.device)
        return _unit(self.model.visual_projection(self.model.vision_model(pixel_values=values).pooler_output))

    @torch.no_grad()
    def sentences(self, sentences: list[str]) -> Float[Tensor, "n d"]:
        """Embeddings of sentences, of unit length."""
        words = self.processor.tokenizer(sentences, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        return _unit(self.model.text_projection(self.model.text_model(**words).pooler_output))


def clip_scores(clip: Any, before: Float[Tensor, "n 3 h w"], after: Float[Tensor, "n 3 h w"], source: str, target: str, cameras: Cameras) -> dict[str, float]:
    """Directional similarity (Gal et al. 2022), and how alike the changes of neighbouring views are (Haque et al. 2023)."""
    old, new = clip.pictures(before), clip.pictures(after)
    words = clip.sentences([source, target])
    change, asked = _unit(new - old), _unit(words[1:] - words[:1])
    beside = torch.from_numpy(nearest(cameras, 1)[:, 0].copy()) if len(before) > 1 else torch.zeros(1, dtype=torch.long)
    return {
        "clip_direction": float((change * asked).sum(1).mean()), "clip_consistency": float((change * change[beside]).sum(1).mean()),
        "clip_image": float((old * new).sum(1).mean()),
    }  # fmt: skip


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-9)
