"""Scene understanding: what 2D methods say about photos, made one for the scene.

`prediction` is what a method says, `protocol` what a method is (`small/` is ours, `classical` needs no network, `hub` takes those of `transformers`). `lifting`
blends predictions in 3D; `regions`, `merging` and `instances` find things; `selecting` follows clicks. `pipeline` asks a result a question and writes the
answer (`asked`, `answers`, `meshes`); `answered` reads it back as a region. `adapters` and `tuning` teach labels of one's own; `evaluation` judges.
"""
