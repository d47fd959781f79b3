"""Attention across views: every view of a batch also attends to what the first one looks at, so that all are edited alike.

Self-attention of a U-Net compares places of one picture; given the keys and values of an anchor picture beside its own, it copies the anchor's
texture and colour (as text-to-video-zero and GaussCtrl do it). Nothing is trained for that.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class SharedAttention:
    """A processor for self-attention of `diffusers` U-Nets.

    Pictures come in groups of one guidance branch each (text, photo, none), all of one length; the first of each group is its anchor.
    """

    def __init__(self) -> None:
        self.group = 1
        """Pictures in a group; 1: nothing is shared."""

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if encoder_hidden_states is None and self.group > 1 and len(key) % self.group == 0:
            key, value = (torch.cat([x, _anchors(x, self.group)], dim=1) for x in (key, value))
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out.to(hidden_states.dtype)))  # type: ignore[no-any-return]


def _anchors(x: Tensor, group: int) -> Tensor:
    """Of every picture, what the first of its group has."""
    return x.unflatten(0, (-1, group))[:, :1].expand(-1, group, -1, -1).flatten(0, 1)


def share(unet: Any) -> SharedAttention:
    """Let all self-attention of a U-Net be shared; set ``group`` of what is returned before each use."""
    processor = SharedAttention()
    unet.set_attn_processor({name: processor if ".attn1." in name else old for name, old in unet.attn_processors.items()})
    return processor
