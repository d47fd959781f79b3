"""Multi-resolution hash encoding (Müller et al. 2022); `kernels.hashgrid.encoding.encode` is the entrance.

Import-light: option dataclasses reach the layout through here, and they must not cost the import of PyTorch.
"""
