"""`Predictor`: whatever says something about every pixel of photos."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from recon.understanding.prediction import Predictions


@runtime_checkable
class Predictor(Protocol):
    """A 2D method."""

    @property
    def name(self) -> str:
        """For reports: `shipped`, `classical`, or what was given as the model."""
        ...

    def predict(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> Predictions:
        """What it says about photos, sRGB.

        Raises:
            InputError: it cannot be run on these photos, or its answer is not finite.
        """
        ...


@runtime_checkable
class Segmenter(Protocol):
    """A 2D method that cuts photos into segments without names."""

    @property
    def name(self) -> str:
        """See `Predictor`."""
        ...

    def segment(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> list[ndarray]:
        """Number of the segment of each pixel, ``int [h, w]``, from 0, for each photo by itself."""
        ...


@runtime_checkable
class TextFeatures(Predictor, Protocol):
    """A predictor of features that texts have as well."""

    def text(self, words: Sequence[str]) -> Float[Tensor, "t e"]:
        """Unit features of texts."""
        ...
