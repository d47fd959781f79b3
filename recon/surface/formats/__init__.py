"""One module for each format that a mesh is written to. All keep the input's coordinates; see each for its axes."""
