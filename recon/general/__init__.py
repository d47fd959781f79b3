"""The general engine: a model trained on procedural worlds turns photos into geometry and novel views with no training on the scene."""
