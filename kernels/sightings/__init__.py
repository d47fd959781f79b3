"""What source views show at samples of rays: projection, look-up and comparison in one pass, for rendering without gradients.

`sighted.gather` and `sighted.coarse` are the entries; `cuda` (Triton) and `cpu` (numba) run them. Their plain, differentiable
twin is `recon.general.sources` with `recon.general.geometry.CoarseGeometry`.
"""
