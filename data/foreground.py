"""The thing that a set of photos is about, cut out of each: no training, no weights.

Whoever photographs a thing puts it in the middle and moves around it; what touches the frames' borders is background, and in all photos it is
the same background. So the colours along all borders together say what background looks like; what differs from them, connected through
smooth regions (geodesic distance from the border), near the middle, is probably the thing. GrabCut (Rother et al. 2004) decides the outline.

It fails where the thing touches the borders on all sides or has the background's colours: look at the result before it is used.
"""

from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from data.images import resize, save_image
from data.parallel import mapped
from data.progress import Progress
from data.scene import Scene

SIDE = 320
"""Longest side at which outlines are found, pixels."""
BAND = 0.04
"""Width of the border that counts as background, as a share of the shorter side."""
COLORS = 16
"""Clusters of the background's colours."""


def cut_out(scene: Scene, folder: Path) -> Generator[Progress, None, list[dict[str, float | str]]]:
    """Write a mask for each photo, `STEM.png`, white where the thing is; the value tells how much of each photo it covers."""
    folder.mkdir(parents=True, exist_ok=True)
    small = []
    for i, picture in enumerate(mapped(lambda i: _small(scene.image(i)), range(len(scene)))):
        yield Progress("masks", 0.4 * i / len(scene), f"photo {i + 1} of {len(scene)}")
        small.append(picture)
    background = background_colors(small)
    covers: list[dict[str, float | str]] = []
    sizes = scene.sizes()
    for i, mask in enumerate(mapped(lambda i: foreground(small[i], background), range(len(scene)))):
        width, height = (int(v) for v in sizes[i])
        save_image(folder / f"{scene.image_paths[i].stem}.png", _smooth(mask, width, height))
        covers.append({"name": scene.names[i], "share": round(float(mask.mean()), 4)})
        yield Progress("masks", 0.4 + 0.6 * (i + 1) / len(scene), f"photo {i + 1} of {len(scene)}")
    return covers


def background_colors(photos: list[UInt8[ndarray, "_ _ 3"]]) -> Float[ndarray, "c 6"]:
    """Means and standard deviations (Lab) of the colours along the borders of all photos."""
    samples = np.concatenate([_lab(p)[border(p.shape[:2])] for p in photos])
    samples = samples[np.random.default_rng(0).permutation(len(samples))[:20_000]].astype(np.float32)
    count = min(COLORS, len(samples))
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(0)
    _, labels, means = cv2.kmeans(samples, count, None, criteria, 2, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    labels = labels.reshape(-1)
    spread = np.stack([samples[labels == k].std(0) for k in range(count)])
    share = np.bincount(labels, minlength=count) / len(labels)
    return np.concatenate([means, spread + 3.0], axis=1)[share > 0.005]


def foreground(photo: UInt8[ndarray, "h w 3"], background: Float[ndarray, "c 6"]) -> Bool[ndarray, "h w"]:
    """Where the thing is."""
    height, width = photo.shape[:2]
    lab = _lab(cv2.bilateralFilter(photo, 7, 30, 5))
    unlike = np.full((height, width), np.inf, np.float32)
    for row in background:
        unlike = np.minimum(unlike, np.linalg.norm((lab - row[:3]) / row[3:], axis=-1))
    away = geodesic(lab, border((height, width)))
    y, x = np.mgrid[0:height, 0:width]
    middle = np.exp(-((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / (2 * 0.28**2))
    odds = _scaled(unlike) * 0.5 + _scaled(away) * 0.5
    odds = odds * middle
    threshold, _ = cv2.threshold((255 * odds / max(float(odds.max()), 1e-6)).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    likely = odds / max(float(odds.max()), 1e-6) * 255 > threshold
    marks = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[border((height, width))] = cv2.GC_BGD
    if likely.sum() < 50 or (~likely).sum() < 50:
        return likely
    try:
        cv2.setRNGSeed(0)
        cv2.grabCut(np.ascontiguousarray(photo[..., ::-1]), marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # colours of one kind only
        return likely
    return _main_piece((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))


def geodesic(lab: Float[ndarray, "h w 3"], start: Bool[ndarray, "h w"], rounds: int = 4) -> Float[ndarray, "h w"]:
    """Least sum of colour differences along a way from ``start``, by raster sweeps over the gradient's length."""
    grey = lab.astype(np.float32)
    gradient = np.zeros(grey.shape[:2], np.float32)
    gradient[:, 1:] += np.linalg.norm(np.diff(grey, axis=1), axis=-1)
    gradient[1:] += np.linalg.norm(np.diff(grey, axis=0), axis=-1)
    cost = np.where(start, 0.0, 1e9).astype(np.float32)
    step = gradient + 0.05
    for _ in range(rounds):
        for flip_y, flip_x in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
            c, s = cost[::flip_y, ::flip_x], step[::flip_y, ::flip_x]
            for r in range(1, len(c)):
                np.minimum(c[r], c[r - 1] + s[r], out=c[r])
            for q in range(1, c.shape[1]):
                np.minimum(c[:, q], c[:, q - 1] + s[:, q], out=c[:, q])
    return cost


def border(shape: tuple[int, ...]) -> Bool[ndarray, "h w"]:
    """The band along the edges."""
    height, width = shape
    band = max(round(BAND * min(height, width)), 2)
    out = np.zeros((height, width), bool)
    out[:band], out[-band:], out[:, :band], out[:, -band:] = True, True, True, True
    return out


def _main_piece(mask: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """The largest piece and what is nearly as large, holes filled, crumbs gone."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].astype(float)
    areas[0] = 0
    kept = np.isin(labels, np.flatnonzero(areas > 0.25 * areas.max()))
    outside = cv2.connectedComponents((~kept).astype(np.uint8))[1]
    edges = np.unique(np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]]))
    return kept | ~np.isin(outside, edges[edges > 0])


def _smooth(mask: Bool[ndarray, "h w"], width: int, height: int) -> UInt8[ndarray, "height width"]:
    """The mask at the photo's size, its stairs rounded off."""
    large = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    reach = 2 * max(round(0.6 * max(width, height) / max(mask.shape)), 0) + 1
    return np.where(cv2.GaussianBlur(large, (reach, reach), 0) > 0.5, 255, 0).astype(np.uint8)


def _scaled(values: Float[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """To 0 to 1, by the 5th and 95th percentile."""
    low, high = np.percentile(values, [5, 95])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _lab(photo: UInt8[ndarray, "h w 3"]) -> Float[ndarray, "h w 3"]:
    return cv2.cvtColor(photo, cv2.COLOR_RGB2LAB).astype(np.float32)


def _small(photo: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h2 w2 3"]:
    share = min(1.0, SIDE / max(photo.shape[:2]))
    return resize(photo, max(round(photo.shape[1] * share), 1), max(round(photo.shape[0] * share), 1))
