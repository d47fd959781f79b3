"""From a small edited picture to the full photo, and from view to view: the edit as a smooth field of colour transforms, so that detail stays
the photo's.

About every pixel of the small pictures, edited colours are fitted as an affine function of the photo's (3 x 3 matrix and offset), as the guided
filter does (He, Sun & Tang 2010; applied at another size than fitted, He & Sun 2015). The coefficients are smooth. Enlarged and applied to the
full photo they recolour it, light it anew, draw fog over it; what the editor got wrong at single pixels averages out. Carried to another view by
depth they do the same there, and an error of depth of a few pixels, which would blur a picture, does no harm.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recon.depthviews import Links

RADIUS = 5
"""Of the windows of the fit, pixels of the small picture."""
EPSILON = 4e-4
"""Variance of colour, of full scale squared, below which a window counts as one colour."""
SOFT = 2
"""Radius to which what the views still see differently is smoothed before it is evened out, pixels of the small picture."""


def fit(before: Float[Tensor, "n 3 h w"], after: Float[Tensor, "n 3 h w"], radius: int = RADIUS, epsilon: float = EPSILON) -> Float[Tensor, "n 12 h w"]:
    """Coefficients of the colour transforms: for each edited channel three factors, then the three offsets."""
    m, e = box_mean(before, radius), box_mean(after, radius)
    square = box_mean((before[:, :, None] * before[:, None]).flatten(1, 2), radius).unflatten(1, (3, 3)) - m[:, :, None] * m[:, None]
    cross = box_mean((after[:, :, None] * before[:, None]).flatten(1, 2), radius).unflatten(1, (3, 3)) - e[:, :, None] * m[:, None]
    factors = torch.einsum("neqhw,nqphw->nephw", cross, _inverse(square, epsilon))
    offsets = e - torch.einsum("nephw,nphw->nehw", factors, m)
    return box_mean(torch.cat([factors.flatten(1, 2), offsets], dim=1), radius)


def apply(photos: Float[Tensor, "n 3 h w"], coefficients: Float[Tensor, "n 12 h2 w2"]) -> Float[Tensor, "n 3 h w"]:
    """Photos of any size with the colour transforms of their small copies."""
    c = coefficients
    if c.shape[2:] != photos.shape[2:]:
        c = F.interpolate(c, photos.shape[2:], mode="bilinear", align_corners=False)
    return (torch.einsum("nephw,nphw->nehw", c[:, :9].unflatten(1, (3, 3)), photos) + c[:, 9:]).clamp(0, 1)


def carried(photos: Float[Tensor, "n 3 h w"], edited: Float[Tensor, "n 3 h w"], links: Links, own: float = 0.1) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 1 h w"]]:
    """Each photo recoloured as the other views were, and how much they had to say.

    Args:
        own: weight of the view's own edit beside the others.
    """
    coefficients, total = links.blended(fit(photos, edited), own)
    return apply(photos, coefficients), total


@torch.no_grad()
def settled(photos: Float[Tensor, "n 3 h w"], edited: Float[Tensor, "n 3 h w"], links: Links, passes: int = 3) -> tuple[Float[Tensor, "n 12 h w"], Float[Tensor, "n 3 h w"]]:
    """What all views agree on: colour transforms, and soft corrections to add, which even out what the photos themselves saw differently."""
    coefficients = fit(photos, edited)
    for _ in range(passes):
        coefficients = links.blended(coefficients, own=0.5)[0]
    pictures = apply(photos, coefficients)
    correction = torch.zeros_like(pictures)
    for _ in range(2):
        now = pictures + correction
        correction = correction + box_mean(box_mean(links.blended(now, own=1.0)[0] - now, SOFT), SOFT)
    return coefficients, correction


def enlarged(photo: Float[Tensor, "1 3 h w"], coefficients: Float[Tensor, "1 12 h2 w2"], correction: Float[Tensor, "1 3 h2 w2"]) -> Float[Tensor, "1 3 h w"]:
    """A full photo as `settled` has it."""
    return (apply(photo, coefficients) + F.interpolate(correction, photo.shape[2:], mode="bilinear", align_corners=False)).clamp(0, 1)


def box_mean(x: Float[Tensor, "n c h w"], radius: int) -> Float[Tensor, "n c h w"]:
    """Mean over a square window, the border continued."""
    size = 2 * radius + 1
    x = F.avg_pool2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), (1, size), 1)
    return F.avg_pool2d(F.pad(x, (0, 0, radius, radius), mode="replicate"), (size, 1), 1)


def _inverse(square: Float[Tensor, "n 3 3 h w"], epsilon: float) -> Float[Tensor, "n 3 3 h w"]:
    """Of symmetric matrices, ``epsilon`` added to their diagonals, by cofactors: a library would take each of the thousands by itself."""
    a, b, c = square[:, 0, 0] + epsilon, square[:, 0, 1], square[:, 0, 2]
    d, e, f = square[:, 1, 1] + epsilon, square[:, 1, 2], square[:, 2, 2] + epsilon
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = (a * aa + b * bb + c * cc).clamp(min=epsilon**3)
    rows = [aa, bb, cc, bb, a * f - c * c, b * c - a * e, cc, b * c - a * e, a * d - b * b]
    return (torch.stack(rows, dim=1) / determinant[:, None]).unflatten(1, (3, 3))
