"""Alpha compositing along packed rays (Max 1995; Mildenhall et al. 2020, eq. 3) and the distortion of its weights."""

from kernels.compositing.compositing import accumulate, distortion, distortion_reference, render_weights, render_weights_reference

__all__ = ["accumulate", "distortion", "distortion_reference", "render_weights", "render_weights_reference"]
