"""An editor whose answers are kept on disk, so that an edit which was stopped goes on where it was: the same question is not asked twice."""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor

from data.files import atomic_write
from data.progress import Progress
from recon.editing.protocol import Detail, EditRequest, ImageEditor


@dataclass(frozen=True)
class Remembered:
    """The editor, asked only what is not in ``folder`` yet."""

    editor: ImageEditor
    folder: Path

    @property
    def name(self) -> str:
        """See `ImageEditor`."""
        return self.editor.name

    @property
    def side(self) -> int:
        """See `ImageEditor`."""
        return self.editor.side

    @property
    def multiple(self) -> int:
        """See `ImageEditor`."""
        return self.editor.multiple

    @property
    def detail(self) -> Detail:
        """See `ImageEditor`."""
        return self.editor.detail

    @property
    def device(self) -> torch.device:
        """See `ImageEditor`."""
        return self.editor.device

    def check(self, prompt: str) -> None:
        """See `ImageEditor`."""
        self.editor.check(prompt)

    def suggestions(self) -> Sequence[str]:
        """See `ImageEditor`."""
        return self.editor.suggestions()

    def edit(self, request: EditRequest) -> Generator[Progress, None, Float[Tensor, "n 3 h w"]]:
        """See `ImageEditor`; an answer that is known comes at once."""
        path = self.folder / f"{self._mark(request)}.safetensors"
        if path.exists():
            return load_file(path)["pictures"]
        pictures = yield from self.editor.edit(request)
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, save({"pictures": pictures.cpu().contiguous()}))
        return pictures

    def _mark(self, request: EditRequest) -> str:
        """Tells questions apart, by all that the answer depends on."""
        settings = [self.name, *(getattr(self.editor, name, None) for name in ("steps", "guidance")), request.prompt, request.strength, request.seed]
        found = hashlib.sha256(repr(settings).encode())
        links = () if request.links is None else (request.links.sources, request.links.weight)
        for tensor in (request.photos, request.depth, request.renders, request.noise, *links):
            found.update(b"none" if tensor is None else tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:32]
