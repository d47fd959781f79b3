"""The per-scene engine: a hash-grid radiance field, trained on the scene's photos (Müller et al. 2022)."""
