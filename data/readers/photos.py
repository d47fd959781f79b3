"""A plain folder of photos: no poses known."""

from pathlib import Path

from data import images
from data.errors import InputError
from data.readers.files import image_folder, list_images
from data.scene import Dropped, Scene, SceneReport


def recognises(folder: Path) -> bool:
    return bool(list_images(image_folder(folder)))


def read(folder: Path) -> Scene:
    """Every photo that decodes; the others are reported with the reason.

    Raises:
        InputError: fewer than two usable photos, or a picture too large to be a photo.
    """
    good, dropped = [], []
    for path in list_images(image_folder(folder)):
        try:
            images.load_rgba(path)
        except InputError as error:
            dropped.append(Dropped(path.name, str(error)))
        else:
            good.append(path)
    if len(good) < 2:
        reason = f" {dropped[0].why}" if dropped else ""
        raise InputError(
            f"'{folder.name}' holds {len(good)} usable photo{'' if len(good) == 1 else 's'}; "
            f"a reconstruction needs at least 2, better 20.{reason}"
        )
    return Scene(folder.resolve().name, folder, tuple(good), report=SceneReport(tuple(dropped), (), "photos"))
