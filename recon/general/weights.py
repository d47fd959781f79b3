"""Weights on disk: half-precision safetensors beside a JSON model card that says what they are."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import data
from data.errors import InputError
from data.files import write_json
from recon.general.model import GeneralNetwork
from recon.general.options import ModelOptions

VERSION = 1
"""Changes when weights of before no longer fit the code."""

SHIPPED = Path(data.__file__).parent / "weights" / "general.safetensors"
ROBUST = SHIPPED.with_name("general-robust.safetensors")
"""Trained adversarially (`attacks.defences.training`): worse on clean photos, much better on photos that somebody tampered with."""


def save_weights(path: Path, options: ModelOptions, tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Write ``path`` (safetensors, half precision) and its card (same name, .json)."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    save_file({name: value.detach().cpu().half().contiguous() for name, value in tensors.items()}, partial)
    partial.replace(path)
    write_json(path.with_suffix(".json"), {"format": "lumigraph general model", "version": VERSION, "model": dataclasses.asdict(options), **card})


def read_card(path: Path) -> dict[str, Any]:
    """The model card beside a weights file.

    Raises:
        InputError: there is none, or it belongs to another version.
    """
    try:
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    except FileNotFoundError:
        raise InputError(f"'{path.with_suffix('.json')}' does not exist; weights need their card. Put both files of the model there.") from None
    except ValueError as error:
        raise InputError(f"The model card '{path.with_suffix('.json')}' is not valid JSON ({error}). Take an intact copy.") from None
    if card.get("format") != "lumigraph general model" or card.get("version") != VERSION:
        raise InputError(
            f"'{path}' holds version {card.get('version')} of '{card.get('format')}'; this program reads version {VERSION} of "
            "'lumigraph general model'. Use weights that belong to this program, or the program that belongs to the weights."
        )
    return card


def load_network(path: Path | None = None, device: torch.device | str = "cpu") -> GeneralNetwork:
    """The network with trained weights: the shipped ones, or those of a file.

    Raises:
        InputError: the files are missing, damaged, or of another version.
    """
    from safetensors.torch import load_file

    path = path or SHIPPED
    card = read_card(path)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in card["model"].items()}
    try:
        network = GeneralNetwork(ModelOptions(**fields))
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (OSError, TypeError, RuntimeError, ValueError) as error:
        raise InputError(f"The weights '{path}' do not fit their card ({str(error).splitlines()[0]}). Take an intact copy of both files.") from None
    except Exception as error:  # safetensors has an exception of its own for damaged files
        raise InputError(f"The weights '{path}' cannot be read ({error}). Take an intact copy.") from None
    return network.to(device).eval()
