"""Large 2D models of `transformers`, by the id of a model in the local Hugging Face cache or by folder; nothing is downloaded, no code from a folder is run.

| task | kinds | what they give |
|---|---|---|
| segment | SegFormer, Mask2Former, UperNet, OneFormer (semantic) | scores of their own named classes |
| instances | Mask2Former, MaskFormer (instance, panoptic), SAM | segments, made one in all photos by `recon.understanding.merging` |
| features | DINO, DINOv2, CLIP, SigLIP | features of patches; CLIP and SigLIP also of texts |
| depth | Depth Anything, DPT, GLPN | inverse depth or depth, as heat |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from data.errors import InputError
from recon.understanding.prediction import Predictions


@dataclass(frozen=True)
class _Loaded:
    name: str
    model: Any
    processor: Any
    device: torch.device

    def inputs(self, photo: UInt8[ndarray, "h w 3"], **more: Any) -> dict[str, Tensor]:
        """A photo as the model wants it."""
        values = self.processor(images=photo, return_tensors="pt", **more)
        return {k: (v.to(self.device) if isinstance(v, Tensor) else v) for k, v in values.items()}


@dataclass(frozen=True)
class SemanticModel(_Loaded):
    """Named classes."""

    @torch.no_grad()
    def predict(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> Predictions:
        """Scores of the model's classes, about the size of its answers."""
        names = tuple(str(self.model.config.id2label[i]) for i in range(len(self.model.config.id2label)))
        maps = []
        for photo in photos:
            out = self.model(**self.inputs(photo))
            if hasattr(out, "class_queries_logits"):  # masks with classes: each pixel's score is the sum over the masks that hold it
                chance = out.class_queries_logits.softmax(-1)[0, :, :-1]
                score = torch.einsum("qc,qhw->chw", chance, out.masks_queries_logits[0].sigmoid())
                scores = (score / score.sum(0, keepdim=True).clamp(min=1e-6)).float()
            else:
                scores = out.logits[0].float().softmax(0)
            maps.append(_of_photo_shape(scores.cpu(), photo))
        return Predictions("scores", tuple(maps), names)


@dataclass(frozen=True)
class MaskModel(_Loaded):
    """Masks with queries (Mask2Former and its kin): each pixel goes to the mask that claims it most."""

    @torch.no_grad()
    def segment(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> list[ndarray]:
        """See `protocol.Segmenter`."""
        out = []
        for photo in photos:
            said = self.model(**self.inputs(photo))
            score = said.class_queries_logits.softmax(-1)[0, :, :-1].amax(-1)
            masks = said.masks_queries_logits[0].sigmoid() * score[:, None, None]
            out.append(masks.argmax(0).cpu().numpy())
        return out


@dataclass(frozen=True)
class PromptedModel(_Loaded):
    """SAM: a grid of points is asked for masks; the smaller of two that overlap lies on top."""

    points: int = 16

    @torch.no_grad()
    def segment(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> list[ndarray]:
        """See `protocol.Segmenter`."""
        return [self._segment(photo) for photo in photos]

    def _segment(self, photo: UInt8[ndarray, "h w 3"]) -> ndarray:
        h, w = photo.shape[:2]
        side = (np.arange(self.points) + 0.5) / self.points
        grid = np.stack(np.meshgrid(side * w, side * h), axis=-1).reshape(-1, 1, 2)
        found: list[tuple[float, ndarray]] = []
        embedding = None
        for some in np.array_split(grid, max(len(grid) // 64, 1)):
            values = self.inputs(photo, input_points=[[[list(map(float, p[0]))] for p in some]])
            if embedding is None:
                embedding = self.model.get_image_embeddings(values["pixel_values"])
            out = self.model(image_embeddings=embedding, input_points=values["input_points"], multimask_output=True)
            sizes = (values["original_sizes"], values["reshaped_input_sizes"]) if "reshaped_input_sizes" in values else (values["original_sizes"],)
            masks = self.processor.post_process_masks(out.pred_masks.cpu(), *(s.cpu() for s in sizes))[0]
            best = out.iou_scores[0].argmax(-1).cpu()
            for i, k in enumerate(best):
                if float(out.iou_scores[0, i, k]) > 0.7:
                    found.append((float(out.iou_scores[0, i, k]), masks[i, int(k)].numpy()))
        kept: list[ndarray] = []
        for _, mask in sorted(found, key=lambda f: -f[0]):
            if all((mask & other).sum() < 0.7 * (mask | other).sum() for other in kept):
                kept.append(mask)
        labels = np.zeros((h, w), np.int64)
        for number, mask in enumerate(sorted(kept, key=lambda m: -int(m.sum()))):
            labels[mask] = number + 1
        return labels


@dataclass(frozen=True)
class FeatureModel(_Loaded):
    """Features of patches (DINO, CLIP, SigLIP)."""

    @torch.no_grad()
    def predict(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> Predictions:
        """Unit features, one map element a patch."""
        maps = []
        vision = getattr(self.model, "vision_model", self.model)
        config = getattr(self.model.config, "vision_config", self.model.config)
        for photo in photos:
            values = self.inputs(photo)["pixel_values"]
            # A crop would lose the borders: the photo is squeezed to the size that the processor makes.
            h, w = values.shape[-2:]
            mean, std = (torch.tensor(getattr(self.processor, n), device=self.device).view(1, 3, 1, 1) for n in ("image_mean", "image_std"))
            whole = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float().to(self.device) / 255
            values = (F.interpolate(whole, (h, w), mode="bilinear", antialias=True, align_corners=False) - mean) / std
            tokens = self._tokens(vision, values)
            patch = int(config.patch_size)
            rows, columns = h // patch, w // patch
            tokens = tokens[len(tokens) - rows * columns :]  # without class and register tokens
            maps.append(_of_photo_shape(F.normalize(tokens.float(), dim=1).T.reshape(-1, rows, columns).cpu(), photo))
        return Predictions("features", tuple(maps))

    def _tokens(self, vision: Any, values: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "t e"]:
        """What the model makes of each patch; where its texts are, if it knows texts.

        CLIP's last block lets each token attend to itself alone (MaskCLIP, Zhou et al. 2022), since its patches are not trained to stay at their place there;
        SigLIP's pooling is given one patch at a time.
        """
        if hasattr(self.model, "visual_projection"):
            x, last = vision(pixel_values=values, output_hidden_states=True).hidden_states[-2][0], vision.encoder.layers[-1]
            x = x + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(x)))
            x = x + last.mlp(last.layer_norm2(x))
            return self.model.visual_projection(vision.post_layernorm(x))  # type: ignore[no-any-return]
        tokens = vision(pixel_values=values).last_hidden_state[0]
        pooling = getattr(vision, "head", None) if hasattr(self.model, "get_text_features") else None
        return tokens if pooling is None else pooling(tokens[:, None])  # type: ignore[no-any-return]

    @torch.no_grad()
    def text(self, words: Sequence[str]) -> Float[Tensor, "t e"]:
        """Unit features of texts.

        Raises:
            InputError: the model knows no text.
        """
        from transformers import AutoTokenizer

        if not hasattr(self.model, "get_text_features"):
            raise InputError(f"'{self.name}' knows no text. Take CLIP or SigLIP with --model, or leave --text out.")
        tokenizer = AutoTokenizer.from_pretrained(self.name, local_files_only=True)
        # SigLIP was trained on texts of one length.
        fixed = {"padding": "max_length", "max_length": self.model.config.text_config.max_position_embeddings} if "siglip" in self.model.config.model_type else {"padding": True}
        values = tokenizer(list(words), truncation=True, return_tensors="pt", **fixed)
        features = self.model.get_text_features(**{k: v.to(self.device) for k, v in values.items()})
        features = getattr(features, "pooler_output", features)
        return F.normalize(features.float(), dim=1).cpu()


@dataclass(frozen=True)
class DepthModel(_Loaded):
    """Depth of single photos, relative."""

    @torch.no_grad()
    def predict(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> Predictions:
        """Heat: from 0, the least value of each photo, to 1."""
        maps = []
        for photo in photos:
            d = self.model(**self.inputs(photo)).predicted_depth[0].float().cpu()
            maps.append(((d - d.min()) / (d.max() - d.min()).clamp(min=1e-9))[None])
        return Predictions("heat", tuple(_of_photo_shape(m, p) for m, p in zip(maps, photos)), ("depth",))


def _of_photo_shape(m: Float[Tensor, "c h w"], photo: UInt8[ndarray, "h2 w2 3"]) -> Float[Tensor, "c h3 w3"]:
    """A map that covers the whole photo, in the photo's shape: models squeeze photos to squares."""
    h, w = photo.shape[:2]
    size = (max(m.shape[1], round(m.shape[2] * h / w)), max(m.shape[2], round(m.shape[1] * w / h)))
    return F.interpolate(m[None], size, mode="bilinear", align_corners=False)[0] if size != tuple(m.shape[1:]) else m


KINDS: dict[str, tuple[tuple[str, type[_Loaded]], ...]] = {
    "segment": (("AutoModelForSemanticSegmentation", SemanticModel), ("AutoModelForUniversalSegmentation", SemanticModel)),
    "instances": (("AutoModelForUniversalSegmentation", MaskModel), ("AutoModelForMaskGeneration", PromptedModel)),
    "features": (("AutoModel", FeatureModel),),
    "depth": (("AutoModelForDepthEstimation", DepthModel),),
}


def open_model(name: str, task: str, device: torch.device) -> Any:
    """A model for a task: `Predictor`, or `Segmenter` for instances.

    Raises:
        InputError: the task knows no such models, the model is not on this machine, is incomplete or of another kind.
    """
    import transformers

    if task not in KINDS:
        raise InputError(f"The task '{task}' takes no model of transformers. Leave --model out; models are for {', '.join(KINDS)}.")
    folder = Path(name).expanduser()
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise InputError(f"The model folder '{folder}' has no weights (*.safetensors). Give a folder that `save_pretrained` wrote.")
    errors = []
    for kind, wrapper in KINDS[task]:
        try:
            model = getattr(transformers, kind).from_pretrained(name, local_files_only=True, use_safetensors=True, trust_remote_code=False)
            processor = transformers.AutoImageProcessor.from_pretrained(name, local_files_only=True, trust_remote_code=False) if wrapper is not PromptedModel else transformers.AutoProcessor.from_pretrained(name, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # transformers raises many kinds for a model that is not there or does not fit
            errors.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
            continue
        return wrapper(name, model.eval().to(device), processor, device)
    raise InputError(f"'{name}' is no model for '{task}' that is on this machine ({errors[-1]}). Give the folder of one, or the id of one in the local Hugging Face cache.")
