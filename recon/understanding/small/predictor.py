"""Photos to the shipped network and back."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from data.worlds.labels import CLASSES
from recon.understanding.adapters import Adapter, load_adapter
from recon.understanding.prediction import Predictions
from recon.understanding.small.networks import MULTIPLE, UnderstandingNetwork, Understood, load_network


class Understander:
    """The network, ready to be asked."""

    def __init__(self, network: UnderstandingNetwork) -> None:
        self.network = network.eval()
        self.adapter: Adapter | None = None

    @classmethod
    def from_pretrained(cls, path: Path | None = None, device: torch.device | str = "cpu") -> "Understander":
        """The shipped network, or another of its kind.

        Raises:
            InputError: its files cannot be used.
        """
        return cls(load_network(path, device).to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def adapt(self, path: Path | None) -> None:
        """Put on the adapter of a file; None takes it off.

        Raises:
            InputError: it cannot be used with this network.
        """
        self.adapter = None if path is None else load_adapter(path, self.network)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @torch.no_grad()
    def understand(self, photos: Float[Tensor, "n 3 h w"]) -> Understood:
        """What it says about photos of one size, at half their size, rounded up; on its device."""
        n, _, h, w = photos.shape
        ph, pw = (-v % MULTIPLE for v in (h, w))
        size = max(4_000_000 // ((h + ph) * (w + pw)), 1) if self.device.type == "cuda" else 1
        parts = []
        for piece in photos.split(size):
            x = F.pad(piece.to(self.device), (0, pw, 0, ph), mode="replicate").contiguous(memory_format=torch.channels_last)
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
                raw = self.network.raw(x)
            parts.append(self.network.split(raw[:, :, : (h + 1) // 2, : (w + 1) // 2]))
        return Understood(*(torch.cat([getattr(p, name) for p in parts]) for name in Understood.__dataclass_fields__))

    @torch.no_grad()
    def scores(self, said: Understood, photos: Float[Tensor, "n 3 h w"]) -> Predictions:
        """Chances of the classes that the network, or its adapter, has names for."""
        if self.adapter is not None:
            h, w = photos.shape[2:]
            maps = []
            for piece in photos.split(1):
                x = F.pad(piece.to(self.device), (0, -w % MULTIPLE, 0, -h % MULTIPLE), mode="replicate")
                logits = self.adapter.logits(self.network, x)[0, :, : (h + 1) // 2, : (w + 1) // 2]
                maps.append(logits.float().softmax(0).cpu())
            return Predictions("scores", tuple(maps), self.adapter.names)
        return Predictions("scores", tuple(torch.softmax(said.classes, dim=1).cpu()), CLASSES)
