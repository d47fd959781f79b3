"""A mesh that shows its photos: view-dependent pictures in real time, on a CPU, on a GPU, in a browser."""
