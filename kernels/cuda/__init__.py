"""CUDA C++ that is compiled at first use; see `kernels.cuda.compiler`."""
