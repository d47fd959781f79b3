"""What can be set about the studio; import-light, because the command line shows it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class StudioOptions:
    """Where the studio listens, what it allows, what it keeps."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but your own machine's needs --users."""
    port: int = 7860
    """First port to try."""
    projects: Path = Path("~/lumigraph-studio")
    """Folder for uploads and results, one folder a user and project."""
    users: Path | None = None
    """File of users who may log in, made by `lumigraph studio --users FILE --add-user NAME`; without it, whoever sits at this machine may."""
    add_user: str | None = None
    """Add a user to --users (asks for a password), or change their password, then end."""
    share: bool = False
    """Also serve through a public tunnel of Gradio's (needs the internet, and --users)."""
    open: bool = False
    """Open the page in the browser."""
    most_photos: int = 500
    """Most photos of a project."""
    most_upload_mb: int = 4096
    """Most megabytes of one upload, all files together."""
    most_waiting: int = 20
    """Most jobs that one user may have waiting."""
    delete_after_days: float = 0.0
    """Delete projects that nobody worked on for so many days; 0: never."""
    log: Path | None = None
    """File for a log of requests and jobs, one JSON object a line, without names, addresses or photos' names; none if not given."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""
    seed: int = 0
    """Random seed of the reconstructions."""
    editor: str = "shipped"
    """Editor of the Edit step: the one that comes with the program, or a folder or the id of a larger one, as `lumigraph edit --model` takes it."""
