"""`SmallEditPipeline`: instruction editing by diffusion in pixel space, in the format of `diffusers`.

Three things differ from InstructPix2Pix (Brooks et al. 2023), all for the sake of size. There is no autoencoder: the U-Net sees blocks of
4 x 4 pixels as channels. It predicts the edited picture itself, not the noise, and that as a difference from the photo: what an edit leaves
alone costs nothing. And it is told how near things are, where that is known, because fog and snow are matters of shape.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, PreTrainedTokenizerFast

BLOCK = 4
"""Side of the blocks of pixels that are one place of the U-Net."""
MULTIPLE = 16
"""Pictures must be multiples of this, in pixels."""
TOKENS = 24
"""Most words of a sentence, begin and end marks included."""

StepHook = Callable[[int, Tensor], Tensor]
"""Called with the number of a step and the edited pictures as they are predicted then ``[n, 3, h, w]`` (-1 to 1); what it returns is used."""


class SmallEditPipeline(DiffusionPipeline):
    """Photos and a sentence in, edited photos out."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler)

    def tokens(self, sentences: list[str]) -> Int[Tensor, "n t"]:
        """Sentences as numbers of words, where the networks are."""
        return self.tokenized(sentences).to(self.device)

    def tokenized(self, sentences: list[str]) -> Int[Tensor, "n t"]:
        """The same in main memory."""
        return self.tokenizer(sentences, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")["input_ids"]  # type: ignore[no-any-return]

    @torch.no_grad()
    def __call__(
        self, photos: Float[Tensor, "n 3 h w"], prompt: str, nearness: Float[Tensor, "n 1 h w"] | None = None,
        start: Float[Tensor, "n 3 h w"] | None = None, noise: Float[Tensor, "n 3 h w"] | None = None, steps: int = 6, guidance: float = 1.0,
        strength: float = 1.0, generator: torch.Generator | None = None, hook: StepHook | None = None, batch: int = 8,
    ) -> Float[Tensor, "n 3 h w"]:  # fmt: skip
        """Edited photos, 0 to 1.

        Args:
            photos: 0 to 1; sides are multiples of 16.
            nearness: see `recon.depthviews.nearness`; 0 where unknown.
            start: pictures to begin from, with ``strength`` of the noise; the photos' own colours play no part in this.
            noise: the noise itself, to share it between views; drawn if not given.
            steps: of the whole schedule; fewer are taken where ``strength`` is less than 1.
            guidance: classifier-free guidance (Ho & Salimans 2022) of the sentence; 1: none.
            hook: sees every prediction of all photos together, and may change it.
            batch: pictures that the U-Net sees at once.
        """
        condition = photos * 2 - 1
        near = torch.zeros_like(photos[:, :1]) if nearness is None else nearness
        text = encode(self.text_encoder, self.tokens([prompt]))
        empty = encode(self.text_encoder, self.tokens([""]))
        noise = torch.randn(photos.shape, generator=generator, device=photos.device) if noise is None else noise
        self.scheduler.set_timesteps(steps, device=photos.device)
        times = self.scheduler.timesteps
        first = min(max(round(steps * (1 - strength)), 0), steps - 1) if start is not None else 0
        times = times[first:]
        x = noise if start is None else self.scheduler.add_noise(start * 2 - 1, noise, times[:1])
        for i, t in enumerate(times):
            parts = zip(x.split(batch), condition.split(batch), near.split(batch), strict=True)
            clean = torch.cat([self._predicted(*part, text, empty, t, guidance) for part in parts]).clamp(-1, 1)
            if hook is not None:
                clean = hook(i, clean)
            x = self.scheduler.step(clean, t, x).prev_sample if i + 1 < len(times) else clean
        return (x + 1) / 2

    def _predicted(self, x: Tensor, condition: Tensor, near: Tensor, text: Tensor, empty: Tensor, time: Tensor, guidance: float) -> Tensor:
        with_text = predict(self.unet, x, condition, near, time, text.expand(len(x), -1, -1))
        if guidance == 1:
            return with_text
        without = predict(self.unet, x, condition, near, time, empty.expand(len(x), -1, -1))
        return without + guidance * (with_text - without)


def encode(encoder: Any, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n t c"]:
    """Sentences as the U-Net attends to them."""
    return encoder(input_ids=tokens).last_hidden_state  # type: ignore[no-any-return]


def predict(
    unet: Any, x: Float[Tensor, "n 3 h w"], photos: Float[Tensor, "n 3 h w"], near: Float[Tensor, "n 1 h w"], time: Tensor, text: Float[Tensor, "n t c"]
) -> Float[Tensor, "n 3 h w"]:
    """The edited pictures that the U-Net makes of noisy ones, all -1 to 1."""
    return photos + F.pixel_shuffle(unet(blocks(x, photos, near), time, encoder_hidden_states=text).sample, BLOCK)


def blocks(x: Float[Tensor, "n 3 h w"], photos: Float[Tensor, "n 3 h w"], near: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n c h4 w4"]:
    """What the U-Net sees."""
    return F.pixel_unshuffle(torch.cat([x, photos, near], dim=1), BLOCK)
