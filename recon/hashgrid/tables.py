"""The hash tables of a field as an optimiser sees them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kernels.hashgrid.layout import HashGridLayout
from recon.hashgrid.field import HashGridField


@dataclass(frozen=True)
class TrainedTable:
    """A table, and what Adam remembers of it; the plain and the fused step share both."""

    parameter: nn.Parameter
    layout: HashGridLayout
    moments: tuple[Tensor, Tensor]
    every: int
    """Steps between its updates."""

    @classmethod
    def of(cls, field: HashGridField, color_every: int) -> dict[str, "TrainedTable"]:
        """The tables of a field by the names of their parameters: density's (or both'), and colour's own if it has one."""
        tables = {"table": cls._new(field.table, field.layout, 1)}
        if field.color_table is not None and field.color_layout is not None:
            tables["color_table"] = cls._new(field.color_table, field.color_layout, color_every)
        return tables

    @classmethod
    def _new(cls, parameter: nn.Parameter, layout: HashGridLayout, every: int) -> "TrainedTable":
        return cls(parameter, layout, (torch.zeros_like(parameter.data), torch.zeros_like(parameter.data)), every)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beyond the parameter."""
        return {"moments.0": self.moments[0], "moments.1": self.moments[1]}
