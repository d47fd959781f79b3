"""Attention among the samples of a ray and the feed-forward network after it, in one pass, for rendering without gradients.

`layer` is the entry for CUDA (Triton). Its plain, differentiable twin is `recon.general.geometry.RayLayer`: PyTorch's attention is
made for sequences of thousands and pads the dozen samples of a ray to many times their number.
"""

from kernels.rayattention.weights import PLACES, RayWeights

__all__ = ["PLACES", "RayWeights"]
