"""Large editors: any of five kinds of `diffusers` pipelines, by the id of a model in the local cache or by folder.

| pipeline | what it is told | starts from a drawing by |
|---|---|---|
| InstructPix2Pix (Stable Diffusion, SDXL) | the photo, the sentence | its schedule cut short (DDIM) |
| ControlNet, image to image, depth | the drawing or photo, its depth, the sentence as a description | its own `strength` |
| FLUX.1 Kontext, Qwen-Image-Edit (also Plus) | the photo, the sentence | noised latents put in at the step where the share of noise is right |

Nothing is downloaded: weights must be in the local cache or in a folder, as safetensors, and no code from a folder is ever run.
"""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import InputError
from data.progress import Progress
from recon.editing.attention import share
from recon.editing.options import Memory
from recon.editing.prompts import ANY_SENTENCE, checked
from recon.editing.protocol import Detail, EditRequest
from recon.relay import relayed


@dataclass(frozen=True)
class Family:
    """A kind of pipeline."""

    kind: str
    """How it is called: pix2pix, controlnet, flow."""
    side: int
    """Longest side that it was trained for, pixels."""
    steps: int
    guidance: float
    together: int
    """Views that are edited in one batch, memory permitting."""


FAMILIES: dict[str, Family] = {
    "StableDiffusionInstructPix2PixPipeline": Family("pix2pix", 512, 20, 7.5, 4),
    "StableDiffusionXLInstructPix2PixPipeline": Family("pix2pix", 768, 20, 7.5, 2),
    "StableDiffusionControlNetImg2ImgPipeline": Family("controlnet", 512, 20, 7.5, 4),
    "FluxKontextPipeline": Family("flow", 1024, 28, 3.5, 1),
    "QwenImageEditPipeline": Family("flow", 1024, 50, 4.0, 1),
    "QwenImageEditPlusPipeline": Family("flow", 1024, 40, 4.0, 1),
}  # fmt: skip
IMAGE_GUIDANCE = 1.5
"""InstructPix2Pix: how much the photo counts."""


@dataclass
class DiffusersEditor:
    """See the module."""

    pipeline: Any
    name: str
    family: Family
    side: int
    steps: int
    guidance: float
    where: torch.device
    multiple: int = 16
    detail: Detail = "editor"

    @classmethod
    def from_pretrained(
        cls, model: str, device: torch.device | str = "cpu", memory: Memory = "auto", steps: int | None = None, guidance: float | None = None
    ) -> "DiffusersEditor":
        """Load a pipeline of one of the kinds.

        Args:
            model: a folder, or the id of a model in the local cache.

        Raises:
            InputError: it is not on this machine, of another kind, incomplete, or not stored as safetensors.
        """
        device = torch.device(device)
        folder = _located(model)
        name = _checked_index(folder, model)
        family = FAMILIES[name]
        if name.startswith("Qwen") and find_spec("torchvision") is None:
            raise InputError(f"'{model}' reads pictures with torchvision, which is not installed. Install the one that belongs to your PyTorch: pip install torchvision")
        import diffusers

        kind = getattr(diffusers, name)
        precision = torch.float32 if device.type == "cpu" else torch.bfloat16 if family.kind == "flow" else torch.float16
        try:
            pipeline = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=precision)
        except Exception as error:  # each library has its own
            raise InputError(f"The model '{model}' cannot be loaded ({_first_line(error)}). Take an intact copy that holds safetensors.") from None
        pipeline.set_progress_bar_config(disable=True)
        if getattr(pipeline, "safety_checker", None) is not None:
            pipeline.safety_checker = None  # photos of one's own; it blackens pictures at random
        if family.kind == "pix2pix":
            from recon.editing.schedule import PartialDDIM

            pipeline.scheduler = PartialDDIM.from_config(pipeline.scheduler.config)
        _place(pipeline, device, memory)
        unet = getattr(pipeline, "unet", None)
        side = family.side if unet is None else min(family.side, int(unet.config.get("sample_size") or family.side) * _factor(pipeline))
        return cls(pipeline, model, family, side, steps or family.steps, family.guidance if guidance is None else guidance, device)

    @property
    def device(self) -> torch.device:
        """Where it works."""
        return self.where

    def check(self, prompt: str) -> None:
        """Any sentence will do, if it is one."""
        checked(prompt)

    def suggestions(self) -> Sequence[str]:
        """See `ImageEditor`."""
        return ANY_SENTENCE

    def edit(self, request: EditRequest) -> Generator[Progress, None, Float[Tensor, "n 3 h w"]]:
        """See `ImageEditor`; views are edited in batches, which are halved while the memory does not suffice for them."""

        def work(tell: Callable[[Progress], None]) -> Tensor:
            n, together, out, at = len(request.photos), self.family.together, [], 0
            while at < n:
                rows = list(range(at, min(at + together, n)))
                try:
                    out.append(self._batch(request, rows, _told(tell, at, len(rows), n)))
                except torch.OutOfMemoryError:
                    torch.cuda.empty_cache()
                    if together == 1:
                        raise InputError(
                            f"The GPU's memory does not suffice for '{self.name}' at {request.photos.shape[3]} x {request.photos.shape[2]} pixels. "
                            "Use --memory offload (or least), --device cpu, or the editor that comes with the program (--model shipped)."
                        ) from None
                    together = max(together // 2, 1)
                    tell(Progress("edit", at / n, f"memory is short: {together} at a time"))
                    continue
                at += len(rows)
            return torch.cat(out)

        return (yield from relayed(work))

    @torch.no_grad()
    def _batch(self, request: EditRequest, rows: list[int], tell: Callable[[float], None]) -> Tensor:
        pictures = [request.photos[i] for i in rows]
        generator = [torch.Generator("cpu").manual_seed(request.seed + i) for i in rows]
        common: dict[str, Any] = {"prompt": [request.prompt] * len(rows), "num_inference_steps": self.steps, "output_type": "pt", "generator": generator}
        call = {"pix2pix": self._pix2pix, "controlnet": self._controlnet, "flow": self._flow}[self.family.kind]
        images = call(request, rows, pictures, common, tell)
        return images.float().cpu().clamp(0, 1)

    def _pix2pix(self, request: EditRequest, rows: list[int], pictures: list[Tensor], common: dict[str, Any], tell: Callable[[float], None]) -> Tensor:
        p, skip = self.pipeline, 0
        noise = None if request.noise is None else latent_noise(request.noise[rows], p.vae.config.latent_channels, _factor(p))
        if request.renders is not None:
            skip = min(max(round(self.steps * (1 - request.strength)), 0), self.steps - 1)
        p.scheduler.skip = skip
        count = self.steps - skip
        latents = None
        if noise is not None or request.renders is not None:
            noise = torch.randn(len(rows), p.vae.config.latent_channels, pictures[0].shape[1] // _factor(p), pictures[0].shape[2] // _factor(p)) if noise is None else noise
            latents = noise.to(self.where, p.unet.dtype)
            if request.renders is not None:
                p.scheduler.set_timesteps(self.steps, device=self.where)
                clean = encoded(p.vae, request.renders[rows], self.where)
                latents = p.scheduler.add_noise(clean, latents, p.scheduler.timesteps[:1].expand(len(rows)))
        images = torch.stack(pictures)
        more: dict[str, Any] = {}
        if "XL" in type(p).__name__:  # it has another way to say how far it is
            more = {"callback": lambda i, t, x: tell((i + 1) / count), "callback_steps": 1, "height": images.shape[2], "width": images.shape[3]}
        else:
            more = {"callback_on_step_end": _hook(tell, count)}
        share(p.unet).group = len(rows)
        return p(image=images, guidance_scale=self.guidance, image_guidance_scale=IMAGE_GUIDANCE, latents=latents, **common, **more).images  # type: ignore[no-any-return]

    def _controlnet(self, request: EditRequest, rows: list[int], pictures: list[Tensor], common: dict[str, Any], tell: Callable[[float], None]) -> Tensor:
        from recon.depthviews import nearness

        if request.depth is None:
            raise InputError(f"'{self.name}' follows depth, and there is none for a lone photo. Edit the scene, or choose another model.")
        near = nearness(request.depth[rows].float()).clamp(max=1)[:, None].expand(-1, 3, -1, -1)
        start = pictures if request.renders is None else [request.renders[i] for i in rows]
        strength = 0.8 if request.renders is None else request.strength
        count = max(int(self.steps * strength), 1)
        share(self.pipeline.unet).group = len(rows)
        return self.pipeline(  # type: ignore[no-any-return]
            image=torch.stack(start), control_image=near, strength=strength, guidance_scale=self.guidance, callback_on_step_end=_hook(tell, count), **common
        ).images

    def _flow(self, request: EditRequest, rows: list[int], pictures: list[Tensor], common: dict[str, Any], tell: Callable[[float], None]) -> Tensor:
        from PIL import Image

        p, outs = self.pipeline, []
        for at, i in enumerate(rows):
            photo = pictures[at]
            height, width = photo.shape[1:]
            image = Image.fromarray((photo.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype("uint8"))
            first = 0 if request.renders is None else min(max(round(self.steps * (1 - request.strength)), 0), self.steps - 1)

            def hook(pipe: Any, step: int, time: Any, values: dict[str, Any], i: int = i, first: int = first, at: int = at) -> dict[str, Any]:
                tell((at + (step + 1) / self.steps) / len(rows))
                if first and step == first - 1 and request.renders is not None:
                    latents = values["latents"]
                    level = pipe.scheduler.sigmas[step + 1].to(latents)
                    clean = _packed(pipe, request.renders[i : i + 1], latents)
                    noise = torch.randn(clean.shape, generator=torch.Generator("cpu").manual_seed(request.seed + i)).to(latents)
                    values["latents"] = (1 - level) * clean + level * noise
                return values

            words = {**common, "prompt": request.prompt, "generator": common["generator"][at]}
            # Kontext would enlarge every picture to a million pixels, and drawings would no longer fit its latents.
            flux: dict[str, Any] = {"guidance_scale": self.guidance, "max_area": height * width, "_auto_resize": False}
            scale = flux if "Flux" in type(p).__name__ else {"true_cfg_scale": self.guidance, "negative_prompt": " "}
            outs.append(p(image=image, height=height, width=width, callback_on_step_end=hook, **scale, **words).images)
        images = torch.cat(outs)
        if images.shape[2:] != pictures[0].shape[1:]:
            images = torch.nn.functional.interpolate(images.float(), pictures[0].shape[1:], mode="bilinear", antialias=True, align_corners=False)
        return images


def _told(tell: Callable[[Progress], None], at: int, count: int, n: int) -> Callable[[float], None]:
    """What is told of a batch of views, as a part of all."""
    return lambda share: tell(Progress("edit", (at + share * count) / n, f"view {at + 1} of {n}"))


def encoded(vae: Any, pictures: Float[Tensor, "n 3 h w"], device: torch.device) -> Tensor:
    """Pictures as an autoencoder's latents, scaled as its pipelines scale them."""
    posterior = vae.encode((pictures * 2 - 1).to(device, vae.dtype))
    latents = posterior.latent_dist.mode() if hasattr(posterior, "latent_dist") else posterior.latents
    return latents * getattr(vae.config, "scaling_factor", 1.0)  # type: ignore[no-any-return]


def latent_noise(noise: Float[Tensor, "n 3 h w"], channels: int, factor: int) -> Float[Tensor, "n c h2 w2"]:
    """Noise for latents from noise for pictures: of each block of pixels one for each channel, so that views still agree."""
    parts = []
    for k in range(channels):
        off = (k // 3) % factor
        parts.append(noise[:, k % 3, off::factor, off::factor][:, : noise.shape[2] // factor, : noise.shape[3] // factor])
    return torch.stack(parts, dim=1)


def _packed(pipe: Any, picture: Float[Tensor, "1 3 h w"], like: Tensor) -> Tensor:
    """A picture as the packed latents of a flow pipeline (2 x 2 latents are one token)."""
    values = (picture * 2 - 1).to(like.device, pipe.vae.dtype)
    if "Qwen" in type(pipe).__name__:
        clean = pipe._encode_vae_image(values[:, :, None], None)[:, :, 0]
    else:
        clean = pipe._encode_vae_image(values, None)
    n, c, h, w = clean.shape
    tokens = clean.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h // 2 * (w // 2), 4 * c)
    return tokens.to(like)


def _hook(tell: Callable[[float], None], count: int) -> Callable[..., dict[str, Any]]:
    """Tells of each step; what it raises ends the pipeline, which is how an edit is cancelled."""

    def hook(pipe: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
        tell(min((step + 1) / count, 1.0))
        return values

    return hook


def _located(model: str) -> Path:
    """The folder of a model.

    Raises:
        InputError: it is not on this machine; says how to get it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if "/" not in model or len(model.split("/")) != 2 or model.startswith((".", "/", "~")):
        raise InputError(f"There is no folder '{model}'. Give the folder of a model in diffusers' format, or the id of one (owner/name) that was downloaded.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except Exception:
        raise InputError(f"The weights of '{model}' are not on this machine, and nothing is downloaded unasked. Get them once with: hf download {model}") from None


def _checked_index(folder: Path, model: str) -> str:
    """The class of a pipeline's folder, if it is one of the families' and all its parts are there.

    Raises:
        InputError: it is not, or a part is missing.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"'{model}' is no pipeline in diffusers' format ({error}). Give the folder that holds its model_index.json.") from None
    name = str(index.get("_class_name"))
    if name not in FAMILIES:
        raise InputError(f"'{model}' is a {name}, which does not edit photos by instruction. Give one of these: {', '.join(FAMILIES)}.")
    for part, value in index.items():
        optional = part in ("safety_checker", "feature_extractor", "image_encoder")
        if not part.startswith("_") and isinstance(value, list) and value and value[0] is not None and not optional and not (folder / part).is_dir():
            raise InputError(f"'{model}' misses its part '{part}'. Take a whole copy (hf download, without --include).")
    return name


def _place(pipeline: Any, device: torch.device, memory: Memory) -> None:
    """To the GPU, as a whole or in parts."""
    if device.type == "cpu":
        pipeline.to(device)
        return
    if memory == "auto":
        size = sum(p.numel() * p.element_size() for c in pipeline.components.values() if isinstance(c, torch.nn.Module) for p in c.parameters())
        free = torch.cuda.mem_get_info(device)[0]
        memory = "none" if size < 0.6 * free else "offload"
    if memory in ("slices", "offload", "least"):
        for name in ("enable_vae_slicing", "enable_vae_tiling"):
            if hasattr(pipeline, name):
                getattr(pipeline, name)()
    if memory == "slices" and hasattr(pipeline, "enable_attention_slicing"):
        pipeline.enable_attention_slicing()
    if memory == "offload":
        pipeline.enable_model_cpu_offload(device=device)
    elif memory == "least":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)


def _factor(pipeline: Any) -> int:
    """Pixels of a picture for each place of its latents, along each side."""
    return int(getattr(pipeline, "vae_scale_factor", 8))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
