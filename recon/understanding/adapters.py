"""Light tuning: low-rank adapters (LoRA, Hu et al. 2021) and a head for labels of one's own, on the frozen network; a small file, put on and off at run time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from data.errors import InputError
from recon.understanding.small.networks import UnderstandingNetwork

VERSION = 1


class LowRank(nn.Module):
    """What is added to a convolution: another to a few channels, and a mixing of these, which begins as nothing."""

    def __init__(self, base: nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(base.in_channels, rank, base.kernel_size, base.stride, base.padding, bias=False)  # type: ignore[arg-type]
        self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))  # type: ignore[no-any-return]


class Adapter(nn.Module):
    """Adapters of the convolutions that mix channels, and the head. The network that it belongs to is not part of it, and never changes."""

    def __init__(self, network: UnderstandingNetwork, names: tuple[str, ...], rank: int = 4) -> None:
        super().__init__()
        self.names, self.rank = names, rank
        self.places = [
            name for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups == 1 and not name.startswith(("at2", "out")) and "from" not in name and "to" not in name.split(".")[0]
        ]  # fmt: skip
        self.parts = nn.ModuleList([LowRank(network.get_submodule(name), rank) for name in self.places])  # type: ignore[arg-type]
        self.head = nn.Conv2d(network.options.decoder[2], len(names), 3, padding=1)

    @property
    def count(self) -> int:
        """Parameters."""
        return sum(p.numel() for p in self.parameters())

    @contextmanager
    def on(self, network: UnderstandingNetwork) -> Iterator[None]:
        """The network with the adapters on, and off again."""
        handles = [network.get_submodule(name).register_forward_hook(_adding(part)) for name, part in zip(self.places, self.parts)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def logits(self, network: UnderstandingNetwork, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k h2 w2"]:
        """Scores of one's own labels for pictures, at half their size."""
        caught: list[Tensor] = []
        handle = network.out.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        try:
            with self.on(network):
                network.raw(images)
        finally:
            handle.remove()
        return self.head(caught[0])  # type: ignore[no-any-return]


def _adding(part: nn.Module) -> Any:
    def hook(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return out + part(given[0])

    return hook


def save_adapter(adapter: Adapter, path: Path, card: dict[str, Any]) -> None:
    """Write half-precision weights, and the card with the names of the labels beside them."""
    from safetensors.torch import save

    from data.files import atomic_write, write_json

    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, save({name: value.detach().half().contiguous().cpu() for name, value in adapter.state_dict().items()}))
    write_json(path.with_suffix(".json"), {"format": "lumigraph adapter", "version": VERSION, "names": list(adapter.names), "rank": adapter.rank, **card})


def load_adapter(path: Path, network: UnderstandingNetwork) -> Adapter:
    """Read what `save_adapter` wrote, for the network that it was trained on.

    Raises:
        InputError: files are missing or damaged, or belong to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        card = json.loads(path.with_suffix(".json").read_text())
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"The adapter '{path}' cannot be read ({str(error).splitlines()[0]}). Give the .safetensors that `lumigraph train understanding --labels` wrote, with its .json beside it.") from None
    if card.get("format") != "lumigraph adapter" or card.get("version") != VERSION:
        raise InputError(f"'{path}' is no adapter of this program. Give the .safetensors that `lumigraph train understanding --labels` wrote.")
    adapter = Adapter(network, tuple(card["names"]), int(card["rank"]))
    try:
        adapter.load_state_dict({name: value.float() for name, value in tensors.items()})
    except RuntimeError:
        raise InputError(f"The adapter '{path}' belongs to another network. Train it again on this one.") from None
    return adapter.requires_grad_(False).eval().to(next(network.parameters()).device)
