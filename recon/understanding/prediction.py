"""`Predictions`: what some 2D method says about every pixel of N photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from data.cameras import Cameras
from data.errors import InputError

Kind = Literal["scores", "features", "heat", "normals"]
"""scores: probabilities of named labels, which sum to one; features: vectors that are compared by their angle; heat: single values from 0 to 1
(masks, edges, relevancy, key points); normals: unit vectors in the camera's axes."""


@dataclass(frozen=True)
class Predictions:
    """Maps of N photos. Their sizes are free, as long as they have the photos' shape."""

    kind: Kind
    maps: tuple[Float[Tensor, "c _ _"], ...]
    names: tuple[str, ...] = ()
    """Of the channels; scores have them."""

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def channels(self) -> int:
        return len(self.maps[0])


def scores_of(labels: Sequence[Tensor], names: Sequence[str]) -> Predictions:
    """Maps of label numbers ``[h, w]`` as scores: 1 for the label, 0 for the others.

    Raises:
        InputError: labels without names.
    """
    highest = max(int(m.max()) for m in labels)
    if highest >= len(names):
        raise InputError(f"The labels go up to {highest}, but there are {len(names)} names. Name every label (from 0).")
    maps = [torch.nn.functional.one_hot(m.long(), len(names)).permute(2, 0, 1).float() for m in labels]
    return Predictions("scores", tuple(maps), tuple(names))


def checked(predictions: Predictions, cameras: Cameras) -> Predictions:
    """The same, if they can be the predictions of the photos of these cameras.

    Raises:
        InputError: another number, other shapes, values that are not finite, or scores without names.
    """
    if len(predictions) != len(cameras):
        raise InputError(f"There are {len(predictions)} predictions for {len(cameras)} photos. Give one for each photo, in the same order.")
    for i, m in enumerate(predictions.maps):
        if m.ndim != 3 or len(m) != predictions.channels:
            raise InputError(f"Prediction {i} has the shape {tuple(m.shape)}; ({predictions.channels}, height, width) is needed, as for the first. Predict all photos with the same method.")
        width, height = (int(v) for v in cameras.sizes[i])
        # Half a pixel of each side is rounding, however small the map is.
        if abs(m.shape[2] * height - m.shape[1] * width) > 1.01 * max(width, height):
            raise InputError(f"Prediction {i} has {m.shape[2]} x {m.shape[1]} pixels, which is not the shape of its photo, {width} x {height}. Predict the photo as a whole, without cropping it.")
        if not bool(torch.isfinite(m).all()):
            raise InputError(f"Prediction {i} holds values that are not finite (NaN or infinity). Mend the method that made it, or leave that photo out.")
    if predictions.kind == "scores" and len(predictions.names) != predictions.channels:
        raise InputError(f"The scores have {predictions.channels} channels, but {len(predictions.names)} names. Name every label.")
    return predictions
