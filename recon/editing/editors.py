"""The editors by name."""

from pathlib import Path

import torch

from data.errors import InputError
from recon.editing.options import EditOptions
from recon.editing.protocol import ImageEditor


def open_editor(options: EditOptions) -> ImageEditor:
    """The editor that options ask for.

    Raises:
        InputError: its weights are not on this machine, are of another kind or incomplete, or there is no such device.
    """
    device = chosen_device(options.device)
    quiet()
    folder = Path(options.model).expanduser()
    if options.model == "shipped" or (folder / "card.json").exists():
        from dataclasses import replace

        from recon.editing.small.editor import SmallEditor

        small = SmallEditor.from_pretrained(None if options.model == "shipped" else folder, device)
        small = small if options.steps is None else replace(small, steps=options.steps)
        return small if options.guidance is None else replace(small, guidance=options.guidance)
    from recon.editing.diffusion import DiffusersEditor

    return DiffusersEditor.from_pretrained(options.model, device, options.memory, options.steps, options.guidance)


def quiet() -> None:
    """The libraries draw progress bars while they read weights; ours tells of progress in its own way."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def chosen_device(wanted: str) -> torch.device:
    """The device of that name; `auto`: CUDA if there is a GPU."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("CUDA was asked for, but there is no GPU that PyTorch can use. Use --device cpu, or install a CUDA build of PyTorch.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
