"""The loop: photos edited so that they agree, by Omni-Recon's iterated update of source views (Fu et al. 2024) and what was learned since.

1. Key views that together show most of the surface are edited jointly, from noise that is the same wherever they show the same place.
2. The others start from what the key views show of them, carried over by depth with occlusion, and are edited on from there; so what no key
   view sees is edited in the light of what is around it.
3. Rounds: each view is drawn anew from its nearest edited views, hidden in a little noise and edited again, for the sentence and the original
   photo. They end when views and their drawings no longer come closer, not after a fixed number.
4. The last word has the blend of the views: what all of them agree on.

"Drawn from" means one of two things (`ImageEditor.detail`). A large editor's pixels are taken and blended. A small editor's edit is taken as a
smooth field of colour transforms (`transfer`), blended between the views, and applied to each view's own photo, which keeps its detail.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from data.progress import Progress
from recon.depthviews import DepthViews, Links, key_views, link, nearest
from recon.editing.noise import shared_noise
from recon.editing.protocol import Detail, EditRequest, ImageEditor
from recon.editing.transfer import carried


@dataclass(frozen=True)
class LoopOptions:
    """How views are made to agree."""

    keys: int = 6
    """Key views."""
    sources: int = 4
    """Views that each view is drawn from."""
    again: float = 0.34
    """Noise that drawings are hidden in when they are edited again, as a share of the whole."""
    rounds: int = 5
    """Most rounds."""
    gain: float = 0.03
    """Share by which a round must lower the disagreement, for another to follow."""
    seed: int = 0


@dataclass(frozen=True)
class Edited:
    """Small edited pictures of all views, and how it went."""

    pictures: Float[Tensor, "n 3 h w"]
    keys: tuple[int, ...]
    disagreement: tuple[float, ...]
    """Mean difference between edited views and what their neighbours make of them, of full scale, before the first round and after each."""
    links: Links | None = None
    """Where the views show the same."""


def edit_consistently(editor: ImageEditor, views: DepthViews, prompt: str, options: LoopOptions) -> Generator[Progress, None, Edited]:
    """Edit all views of a scene; progress has stage `edit`, its values may hold `pictures`, how the views look then.

    Raises:
        InputError: the editor cannot follow the sentence, or the memory does not suffice.
    """
    editor.check(prompt)
    n = len(views)
    keys = key_views(views, min(options.keys, n))
    order = [*keys, *(i for i in range(n) if i not in keys)]
    ranked = views.select(order)
    noise = shared_noise(ranked, options.seed)
    noise = noise[torch.argsort(torch.tensor(order, device=noise.device))]
    seeds = options.seed * 1000

    first = views.select(keys)
    links = link(first, nearest(first.cameras, min(options.sources, len(keys) - 1))) if len(keys) > 1 else None
    request = EditRequest(first.photos, prompt, first.depth, None, 1.0, seeds, noise[keys], links)
    done = yield from _part(editor.edit(request), 0.0, 0.3, f"{len(keys)} key views")
    pictures = views.photos.clone()
    pictures[keys] = done.to(pictures)
    yield Progress("edit", 0.3, "key views", {"pictures": pictures, "views": tuple(keys)})

    rest = [i for i in range(n) if i not in keys]
    if rest:
        pictures[rest] = yield from _carried(editor, views, prompt, options, pictures, keys, rest, noise)
        yield Progress("edit", 0.6, "all views", {"pictures": pictures, "views": tuple(range(n))})
    if n == 1:
        return Edited(pictures, tuple(keys), ())

    every = link(views, nearest(views.cameras, min(options.sources, n - 1)))
    renders = drawn(editor.detail, views.photos, pictures, every)
    measured, best = [_difference(pictures, renders)], pictures
    for round_ in range(options.rounds):
        fraction = 0.6 + 0.35 * round_ / options.rounds
        request = EditRequest(views.photos, prompt, views.depth, renders, options.again, seeds + 1 + round_, noise, every)
        pictures = (yield from _part(editor.edit(request), fraction, 0.35 / options.rounds, f"round {round_ + 1}, disagreement {100 * measured[-1]:.2f} %")).to(pictures)
        renders = drawn(editor.detail, views.photos, pictures, every)
        measured.append(_difference(pictures, renders))
        if measured[-1] <= min(measured):
            best = pictures
        yield Progress("edit", fraction, f"round {round_ + 1}", {"pictures": renders, "views": tuple(range(n)), "disagreement": measured[-1]})
        if measured[-1] > (1 - options.gain) * measured[-2]:
            break
    return Edited(best, tuple(keys), tuple(measured), every)


def edit_alone(editor: ImageEditor, views: DepthViews, prompt: str, seed: int = 0) -> Generator[Progress, None, Float[Tensor, "n 3 h w"]]:
    """Each view by itself, as if there were no others: what the loop is compared with, and the try-out on one photo."""
    editor.check(prompt)
    out = []
    for i in range(len(views)):
        request = EditRequest(views.photos[[i]], prompt, views.depth[[i]], None, 1.0, seed + i)
        out.append((yield from _part(editor.edit(request), i / len(views), 1 / len(views), f"view {i + 1} of {len(views)}")))
    return torch.cat(out)


def drawn(detail: Detail, photos: Float[Tensor, "n 3 h w"], pictures: Float[Tensor, "n 3 h w"], links: Links, own: float = 0.1) -> Float[Tensor, "n 3 h w"]:
    """Each view drawn from the others' edits; its own fills what they do not see."""
    return carried(photos, pictures, links, own)[0] if detail == "photo" else links.blended(pictures, own)[0]


def _difference(pictures: Float[Tensor, "n 3 h w"], renders: Float[Tensor, "n 3 h w"]) -> float:
    """How far views are from what the others make of them, of full scale."""
    return float((pictures - renders).abs().mean())


def _carried(
    editor: ImageEditor, views: DepthViews, prompt: str, options: LoopOptions, pictures: Tensor, keys: list[int], rest: list[int], noise: Tensor
) -> Generator[Progress, None, Tensor]:
    """The views that are no key views: begun from what the key views show of them."""
    links = link(views, nearest(views.cameras, min(options.sources, len(keys)), among=keys))
    if editor.detail == "photo":
        blend, total = carried(views.photos, pictures, links, own=0.0)
    else:
        blend, total = links.blended(pictures)
    known = (total / (total + 0.05))[rest]
    # What no key view sees takes the change of colours from around it: the fit of the whole picture.
    guess = _recolored(views.photos[rest], blend[rest], known)
    start = known * blend[rest] + (1 - known) * guess
    part = views.select(rest)
    among = link(part, nearest(part.cameras, min(options.sources, len(rest) - 1))) if len(rest) > 1 else None
    request = EditRequest(part.photos, prompt, part.depth, start, max(options.again, 0.5), options.seed * 1000 + 500, noise[rest], among)
    return (yield from _part(editor.edit(request), 0.3, 0.3, f"{len(rest)} more views")).to(pictures)


def _recolored(photos: Tensor, edited: Tensor, weight: Tensor) -> Tensor:
    """Photos with the one affine change of colours that leads to what is known of their edits."""
    out = []
    for photo, goal, w in zip(photos, edited, weight):
        x = torch.cat([photo, torch.ones_like(photo[:1])]).flatten(1)
        wx = x * w.flatten(1)
        left = wx @ x.T + 1e-3 * w.sum().clamp(min=1) * torch.eye(4, device=x.device)
        identity = torch.eye(4, device=x.device)[:, :3]
        right = wx @ goal.flatten(1).T + 1e-3 * w.sum().clamp(min=1) * identity
        out.append((torch.linalg.solve(left, right).T @ x).view_as(photo).clamp(0, 1))
    return torch.stack(out)


def _part(work: Generator[Progress, None, Tensor], start: float, share: float, words: str) -> Generator[Progress, None, Tensor]:
    """An editor's progress as a part of the loop's."""
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            yield replace(progress, fraction=start + share * progress.fraction, message=f"{words}, {progress.message}")
        except GeneratorExit:
            work.close()
            raise
