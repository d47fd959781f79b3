"""The engines by name, and fields back from disk."""

import json
from pathlib import Path

import torch

from data.cameras import Cameras
from data.errors import InputError
from recon.fields import RadianceField


def load_field(result: Path, device: torch.device | str = "cpu", near: Cameras | None = None) -> RadianceField:
    """The field of a finished result, whichever engine made it.

    Args:
        near: cameras of the pictures to come, where there are few; see `load_general_field`.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        kind = json.loads((result / "field" / "field.json").read_text()).get("format")
    except (OSError, ValueError) as error:
        raise InputError(f"'{result / 'field'}' holds no field that can be read ({error}). Run `lumigraph reconstruct` again.") from None
    if kind == "lumigraph general field":
        from recon.general.photos import load_general_field

        return load_general_field(result, device, near)
    from recon.hashgrid.engine import HashGridRadianceField

    return HashGridRadianceField.load(result / "field", device)
