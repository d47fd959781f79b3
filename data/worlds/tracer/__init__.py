"""The renderer's inside: scalar functions that numba compiles for the CPU and for CUDA. No types, no tensors."""
