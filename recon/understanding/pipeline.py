"""A question about a result, answered in a folder: maps of every photo, a coloured mesh, and what is in them as JSON."""

import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from safetensors.numpy import save as save_arrays
from torch.nn import functional as F

from data.errors import InputError, OutputError
from data.files import atomic_write, write_json
from data.images import save_image
from data.parallel import mapped
from data.progress import Progress
from recon.result import open_result
from recon.understanding import answers as A
from recon.understanding.asked import Asked, full, look, parsed
from recon.understanding.classical import ClassicalEdges, ColorRegions, Corners
from recon.understanding.meshes import FaceLabels, colored_glb, face_labels, facts_of, labelled_glb, palette, part
from recon.understanding.options import UnderstandOptions, UnderstandTask
from recon.understanding.prediction import Predictions, checked
from recon.understanding.regions import THREADS
from recon.understanding.small.networks import Understood
from recon.understanding.small.predictor import Understander

CLASSICAL = ("instances", "edges", "keypoints")
ONLY_SHIPPED = ("materials", "planes", "normals", "foreground", "select")


def understand(task: UnderstandTask) -> Generator[Progress, None, dict[str, Any]]:
    """Do it; the value is the content of ``labels.json``.

    Raises:
        InputError: the result, the task, the model or the clicks cannot be used.
        OutputError: nothing can be written there.
    """
    started, o = time.perf_counter(), task.options
    _check(o)
    yield Progress("read", 0.0, "opening the scene")
    result = open_result(task.result)
    clicks = parsed(o.clicks, result) if o.task == "select" else []
    yield Progress("look", 0.0, "looking at the photos")
    device = _device(o.device)
    asked = look(result, o.side, device)
    answer = yield from _answered(asked, o, clicks, device)
    out = task.out or task.result / "understanding" / o.task
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"'{out}' cannot be written ({error.strerror}). Choose another folder with --out.") from None
    try:
        content = yield from _written(answer, asked, o, partial)
        content = {**content, "seconds": round(time.perf_counter() - started, 2)}
        write_json(partial / "labels.json", content)
        if out.exists():
            shutil.rmtree(out) if out.is_dir() else out.unlink()
        partial.replace(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    yield Progress("write", 1.0, "done")
    return {**content, "out": str(out)}


def overall(progress: Progress) -> float:
    """Share of the whole work that is done, 0 to 1."""
    start, share = {"read": (0.0, 0.1), "look": (0.1, 0.4), "lift": (0.5, 0.2), "write": (0.7, 0.3)}.get(progress.stage, (0.0, 1.0))
    return start + share * max(progress.fraction, 0.0)


def _check(o: UnderstandOptions) -> None:
    if o.task == "select" and not o.clicks:
        raise InputError("--task select needs to know what. Give --clicks 'PHOTO X Y' on the thing, in pixels of the photo.")
    if o.clicks and o.task != "select":
        raise InputError(f"--clicks belong to --task select, not to {o.task}.")
    if o.text and o.task != "features":
        raise InputError(f"--text belongs to --task features, not to {o.task}.")
    if o.text and o.model == "shipped":
        raise InputError("The network that comes with the program knows no text. Give --model a CLIP or SigLIP that is on this machine, or leave --text out.")
    if o.model == "classical" and o.task not in CLASSICAL:
        raise InputError(f"There is no way without a network for '{o.task}'. Leave --model out; classical ones are for {', '.join(CLASSICAL)}.")
    if o.model not in ("shipped", "classical") and o.task in ONLY_SHIPPED:
        raise InputError(f"'{o.task}' is done with the network that comes with the program. Leave --model out.")
    if o.adapter is not None and o.task != "segment":
        raise InputError(f"An adapter knows labels of its own, for --task segment; '{o.task}' has none. Leave --adapter out.")
    if o.model not in ("shipped", "classical") and Path(o.model).suffix == ".safetensors" and not Path(o.model).exists():
        raise InputError(f"The weights '{o.model}' do not exist. Check the name.")


def _device(wanted: str) -> torch.device:
    from recon.editing.editors import chosen_device

    return chosen_device(wanted)


def _answered(asked: Asked, o: UnderstandOptions, clicks: list[Any], device: torch.device) -> Generator[Progress, None, A.Answer]:
    own = Path(o.model).suffix == ".safetensors"
    if o.model in ("shipped", "classical") or own or o.task == "instances":
        network = Understander.from_pretrained(Path(o.model) if own else None, device)
        if o.adapter is not None:
            network.adapt(o.adapter)
        said = yield from _said(network, asked)
    photos = [np.round(p.permute(1, 2, 0).numpy() * 255).astype(np.uint8) for p in asked.photos]
    yield Progress("lift", 0.0, "bringing the photos together")
    if o.model not in ("shipped", "classical") and not own:
        return _by_model(asked, o, photos, device, said if o.task == "instances" else None)
    if o.task == "instances":
        return A.things(asked, said, _numbers(ColorRegions().segment(photos), asked) if o.model == "classical" else None)
    if o.task == "materials":
        return A.materials(asked, said)
    if o.task == "planes":
        return A.planes(asked, said)
    if o.task == "foreground":
        return A.foreground(asked, said)
    if o.task == "select":
        return A.selection(asked, said, clicks)
    if o.task == "segment":
        return A.classes(asked, network.scores(said, asked.photos))
    return A.values(o.task, asked, _values(o, said, photos, asked))


def _values(o: UnderstandOptions, said: Understood, photos: list[UInt8[ndarray, "h w 3"]], asked: Asked) -> Predictions:
    if o.task == "keypoints":
        return Corners().predict(photos)
    if o.task == "edges":
        if o.model == "classical":
            return ClassicalEdges().predict(photos)
        # Of creases in the sky, which has no surface, the network was told nothing.
        crease = torch.sigmoid(said.crease) * (1 - torch.softmax(said.classes, dim=1)[:, :1])
        return Predictions("heat", tuple(torch.maximum(torch.sigmoid(said.outline), crease).cpu()), ("edge",))
    if o.task == "normals":
        return Predictions("normals", tuple(said.normal.cpu()))
    if o.task == "depth":
        return Predictions("heat", tuple(_nearness(torch.stack(asked.depth))[:, None]), ("depth",))
    return Predictions("features", tuple(said.instance.cpu()))


def _nearness(depth: Float[torch.Tensor, "n h w"]) -> Float[torch.Tensor, "n h w"]:
    """Of the scene itself: its depth is measured, and better than any guess from one photo. 1 near, 0 far."""
    known = depth[depth > 0]
    low, high = (float(v) for v in torch.quantile(known[:: max(len(known) // 100_000, 1)], torch.tensor([0.01, 0.99]))) if len(known) else (0.0, 1.0)
    near = ((1 / depth.clamp(min=1e-9) - 1 / high) / max(1 / max(low, 1e-9) - 1 / high, 1e-12)).clamp(0, 1)
    return torch.where(depth > 0, near, torch.zeros_like(near))


def _by_model(asked: Asked, o: UnderstandOptions, photos: list[ndarray], device: torch.device, said: Understood | None) -> A.Answer:
    from recon.understanding.hub import open_model

    model = open_model(o.model, o.task, device)
    if o.task == "instances":
        assert said is not None
        return A.things(asked, said, _numbers(model.segment(photos), asked))
    predictions = checked(model.predict(photos), asked.views.cameras)
    if o.task == "segment":
        return A.classes(asked, predictions)
    if o.text:
        words = model.text([o.text, "object", "things", "stuff", "texture"])
        # Relevancy after LERF (Kerr et al. 2023): the text against each of some words that mean nothing, the worst of them counts.
        maps = []
        for m in predictions.maps:
            alike = torch.einsum("te,ehw->thw", words, F.normalize(m, dim=0)) * 10
            maps.append(torch.sigmoid(alike[:1] - alike[1:]).amin(0, keepdim=True))
        predictions = Predictions("heat", tuple(maps), (o.text,))
    return A.values(o.task, asked, predictions)


def _said(network: Understander, asked: Asked) -> Generator[Progress, None, Understood]:
    parts = []
    size = len(asked.photos) if network.device.type == "cuda" else 1
    for i, piece in enumerate(asked.photos.split(size)):
        yield Progress("look", i * size / len(asked.photos), f"photo {i * size + 1} of {len(asked.photos)}")
        parts.append(network.understand(piece))
    return Understood(*(torch.cat([getattr(p, name) for p in parts]) for name in Understood.__dataclass_fields__))


def _numbers(segments: list[ndarray], asked: Asked) -> Int[ndarray, "n h w"]:
    """Segments of photos at half size, numbers run on."""
    h, w = asked.views.depth.shape[1:]
    out, start = [], 0
    for m in segments:
        small = cv2.resize(m.astype(np.float32), (w, h), interpolation=cv2.INTER_NEAREST).astype(np.int64)
        # A segment in several pieces becomes several regions: the merging joins them again if they are one thing.
        number, at = np.zeros((h, w), np.int64), 0
        for label in np.unique(small):
            count, pieces = cv2.connectedComponents((small == label).astype(np.uint8), connectivity=4)
            number[pieces > 0] = pieces[pieces > 0] - 1 + at
            at += count - 1
        out.append(number + start)
        start += at
    return np.stack(out)


def _written(answer: A.Answer, asked: Asked, o: UnderstandOptions, out: Path) -> Generator[Progress, None, dict[str, Any]]:
    result = asked.result
    sizes = [(int(w), int(h)) for w, h in result.scene.posed().sizes]
    for folder in ("maps", "overlays"):
        (out / folder).mkdir()
    content: dict[str, Any] = {
        "format": "lumigraph understanding", "version": 1, "task": o.task, "model": o.model, "made": int(time.time()), "photos": [p.name for p in result.scene.image_paths], **answer.facts,
    }  # fmt: skip
    if answer.labels is not None:
        colors = palette(len(answer.names))
        if answer.names[0] in ("background", "rest", "not flat"):  # label 0 is nothing that was asked for
            colors = np.concatenate([np.full((1, 3), 128, np.uint8), palette(len(answer.names) - 1)])
        part_alone = answer.names[0] in ("background", "rest")

        def drawn(i: int) -> None:
            assert answer.labels is not None
            name, mine = asked.names[i], answer.labels[i]
            _save_labels(out / "maps" / f"{name}.png", _fitted(mine, None if answer.heat is None else answer.heat[i], sizes[i]), colors)
            _overlay(out / "overlays" / f"{name}.jpg", asked, i, colors[mine], 0.55 * (mine > 0 if part_alone else 1.0))

        for i, _ in enumerate(mapped(drawn, range(len(sizes)), THREADS)):
            yield Progress("write", 0.5 * i / len(sizes), f"photo {i + 1} of {len(sizes)}")
        yield Progress("write", 0.5, "colouring the mesh")
        mesh = result.asset.mesh
        faces = face_labels(mesh, list(answer.labels), asked.views.cameras, asked.depth)
        atomic_write(out / "mesh.glb", labelled_glb(mesh, faces.label, colors, answer.names, dict(result.asset.provenance)))
        atomic_write(out / "faces.safetensors", save_arrays({"label": faces.label.astype(np.int32), "agreement": faces.agreement.astype(np.float32)}))
        content["labels"] = facts_of(mesh, faces, answer.names, colors, list(answer.labels))
        if o.task in ("select", "foreground"):
            content |= _part(answer, asked, faces, sizes, out)
        return content
    assert answer.values is not None
    lifted = A.on_mesh(answer, asked)
    yield Progress("write", 0.3, "pictures")
    how = None
    if answer.values.kind == "features":
        some = torch.cat([m.flatten(1)[:, ::7].T for m in answer.values.maps]).cpu().numpy()
        how = A.pca_colors(some)

    def shown(i: int) -> None:
        assert answer.values is not None
        picture = _shown(answer.values.maps[i].cpu().numpy(), answer.values.kind, how)
        save_image(out / "maps" / f"{asked.names[i]}.png", cv2.resize(picture, sizes[i], interpolation=cv2.INTER_LINEAR))
        _overlay(out / "overlays" / f"{asked.names[i]}.jpg", asked, i, picture, 0.75)

    for i, _ in enumerate(mapped(shown, range(len(sizes)), THREADS)):
        yield Progress("write", 0.3 + 0.5 * i / len(sizes), f"photo {i + 1} of {len(sizes)}")
    colors = _shown(lifted.values.T[:, :, None].numpy(), answer.values.kind, how)[:, 0]
    atomic_write(out / "mesh.glb", colored_glb(result.asset.mesh, colors, dict(result.asset.provenance)))
    _save_values(out / "vertices.safetensors", lifted)
    seen = lifted.support > 0
    content["vertices"] = {
        "count": len(seen), "seen": round(float(seen.float().mean()), 4), "agreement": round(float(lifted.agreement[seen].mean()), 4) if seen.any() else None,
        "uncertainty": round(float(lifted.uncertainty[seen].mean()), 4) if seen.any() else None, "channels": list(answer.values.names),
    }  # fmt: skip
    return content


def _fitted(labels: Int[ndarray, "h w"], heat: Float[ndarray, "h w"] | None, size: tuple[int, int]) -> Int[ndarray, "h2 w2"]:
    """Labels at the size of the photo; outlines of a single thing are smoothed, not stepped."""
    if heat is None:
        return full(labels, size)
    soft = cv2.resize(cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 0.8), size, interpolation=cv2.INTER_CUBIC)
    return (soft > 0.5).astype(np.int64)


def _part(answer: A.Answer, asked: Asked, faces: FaceLabels, sizes: list[tuple[int, int]], out: Path) -> dict[str, Any]:
    """Masks of what was selected, its mesh, its box."""
    assert answer.labels is not None
    (out / "masks").mkdir()
    for i, name in enumerate(asked.names):
        mask = _fitted(answer.labels[i], None if answer.heat is None else answer.heat[i], sizes[i])
        save_image(out / "masks" / f"{name}.png", (mask > 0).astype(np.uint8) * 255)
    chosen = np.flatnonzero(faces.label == 1)
    found: dict[str, Any] = {"masks": "masks", "faces": len(chosen), "box": None, "mesh": None}
    if len(chosen):
        piece = part(asked.result.asset, chosen)
        piece.write(out / "part.glb")
        found |= {"box": np.round([piece.mesh.vertices.min(0), piece.mesh.vertices.max(0)], 6).tolist(), "mesh": "part.glb"}
    return found


def _shown(m: Float[ndarray, "c h w"], kind: str, how: Any) -> UInt8[ndarray, "h w 3"]:
    c, h, w = m.shape
    if kind == "features":
        return A.colored(m.reshape(c, -1).T, how).reshape(h, w, 3)
    if kind == "normals":
        return np.round(np.clip(m.transpose(1, 2, 0) * np.array([0.5, -0.5, -0.5]) + 0.5, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(np.round(np.clip(m[0], 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]).reshape(h, w, 3)


def _save_labels(path: Path, labels: Int[ndarray, "h w"], colors: UInt8[ndarray, "l 3"]) -> None:
    """A PNG with a palette, whose pixel values are the labels; 16 bits without one beyond 256 labels."""
    import io

    from PIL import Image

    if len(colors) <= 256:
        image = Image.fromarray(labels.astype(np.uint8), mode="P")
        image.putpalette(colors.reshape(-1).tolist())
    else:
        image = Image.fromarray(labels.astype(np.uint16))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    atomic_write(path, buffer.getvalue())


def _overlay(path: Path, asked: Asked, view: int, colors: UInt8[ndarray, "h w 3"], strength: Any) -> None:
    """The photo with colours laid over it."""
    photo = np.round(asked.photos[view].permute(1, 2, 0).numpy() * 255)
    h, w = photo.shape[:2]
    over = cv2.resize(colors, (w, h), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    alpha = np.full((h, w, 1), strength, np.float32) if np.isscalar(strength) else cv2.resize(np.asarray(strength, np.float32), (w, h), interpolation=cv2.INTER_NEAREST)[..., None]
    mixed = np.round(photo * (1 - alpha) + over * alpha).astype(np.uint8)
    atomic_write(path, cv2.imencode(".jpg", mixed[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())


def _save_values(path: Path, lifted: Any) -> None:
    from safetensors.torch import save

    atomic_write(path, save({"values": lifted.values.half().contiguous(), "support": lifted.support.float().contiguous(), "agreement": lifted.agreement.float().contiguous(), "uncertainty": lifted.uncertainty.float().contiguous()}))



