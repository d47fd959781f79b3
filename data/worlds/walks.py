"""Where a photographer stands in a world: orbits, clusters that face forwards, walks, views from inside rooms."""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.worlds import layout as L
from data.worlds.generate import Draft, Random, log_uniform


def candidate_cameras(g: Random, draft: Draft, width: int, height: int, count: int) -> Float[ndarray, "count 17"]:
    """Cameras of one photographer, of which the bank drops those that stand inside things."""
    focal = 0.5 * max(width, height) / math.tan(math.radians(log_uniform(g, 28, 78)) / 2)
    path = {"still_life": _orbit, "lone": _orbit, "room": _inside}[draft.kind]
    places, targets = path(g, draft, count, focal / max(width, height))
    tilt, roll = g.uniform(0, 0.12), g.normal() * 0.08
    flipped = g.random() < 0.03
    shift = g.normal(size=2) * 0.02 * width * (g.random() < 0.3)
    rows = np.zeros((count, L.CAMERA), np.float32)
    for i, (place, target) in enumerate(zip(places, targets, strict=True)):
        rows[i, :9] = _look(place, target, roll + g.normal() * tilt + (math.pi / 2 if flipped and i % 2 else 0)).reshape(-1)
        rows[i, L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3] = place
        rows[i, L.CAMERA_FX : L.CAMERA_CY + 1] = focal, focal, width / 2 + shift[0], height / 2 + shift[1]
    return rows


def _look(place: ndarray, target: ndarray, roll: float) -> Float[ndarray, "3 3"]:
    forward = (target - place) / np.linalg.norm(target - place)
    up = np.array([0, 1.0, 0]) if abs(forward[2]) > 0.97 else np.array([0, 0, 1.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward], axis=1)


def _orbit(g: Random, draft: Draft, count: int, focal: float) -> tuple[ndarray, ndarray]:
    """Around the middle, over a part of the circle or all of it."""
    h = draft.header
    fits = draft.spread * 1.6 + 0.3
    distance = max(fits * (2 * focal) * g.uniform(0.55, 1.5), 0.7)
    start, span = g.uniform(0, 2 * math.pi), math.pi if g.random() < 0.25 else g.uniform(0.2, 1.2)
    height, lift = math.radians(g.uniform(-25, 60) if draft.kind == "lone" else g.uniform(5, 55)), g.uniform(0.03, 0.35)
    closer, wander, middle = g.uniform(0.02, 0.2), g.uniform(0.02, 0.2), g.normal(size=3) * 0.15
    azimuth, elevation = start + g.uniform(-span, span, count), np.minimum(height + g.uniform(-lift, lift, count), 1.45)
    if g.random() < 0.3:  # a walk: one smooth step after the other
        azimuth = start + np.linspace(-span, span, count) + g.normal(size=count) * 0.02
        elevation = height + lift * np.sin(np.linspace(0, g.uniform(2, 8), count))
    r = distance * (1 + g.uniform(-closer, closer, count))
    places = middle + np.stack([r * np.cos(azimuth) * np.cos(elevation), r * np.sin(azimuth) * np.cos(elevation), r * np.sin(elevation)], axis=1)
    return _kept_inside(h, places), middle + g.normal(size=(count, 3)) * wander


def _inside(g: Random, draft: Draft, count: int, focal: float) -> tuple[ndarray, ndarray]:
    """In a room or a garden: a cluster that faces one way, or a walk that looks along."""
    h = draft.header
    yaw, pitch = g.uniform(0, 2 * math.pi), g.uniform(-0.4, 0.2)
    forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    side = np.array([-math.sin(yaw), math.cos(yaw), 0])
    upward = np.cross(forward, side)
    back = g.uniform(0.5, min(h[L.ROOM_HALF], h[L.ROOM_HALF + 1]) * 0.9) if h[L.SURROUNDINGS] == L.ROOM else g.uniform(1.0, 3.5)
    start = -forward * back + np.array([0, 0, g.uniform(-0.1, 0.6)])
    base, ahead = log_uniform(g, 0.12, 0.9), g.uniform(1.5, 6.0)
    offsets = g.uniform(-1, 1, (count, 3)) * np.array([1.0, 0.6, 0.35]) * base
    if g.random() < 0.3:
        t = np.linspace(-1, 1, count)
        offsets = np.stack([t * base * 1.2, 0.15 * base * np.sin(t * g.uniform(3, 12)), 0.4 * base * np.sin(t * g.uniform(1, 4))], axis=1)
    places = start + offsets @ np.stack([side, upward, forward])
    jitter = g.normal(size=(count, 3)) * g.uniform(0, 0.12) * ahead * 0.5
    targets = (start + forward * ahead if g.random() < 0.6 else places + forward * ahead) + jitter
    return _kept_inside(h, places), targets


def _kept_inside(h: ndarray, places: ndarray) -> ndarray:
    """Pushed back where they would leave the room or sink into the ground."""
    places = places.copy()
    if h[L.SURROUNDINGS] == L.ROOM:
        half, centre = h[L.ROOM_HALF : L.ROOM_HALF + 2], h[L.ROOM_X : L.ROOM_X + 2]
        places[:, :2] = np.clip(places[:, :2], centre - half + 0.15, centre + half - 0.15)
        places[:, 2] = np.minimum(places[:, 2], h[L.FLOOR_Z] + 2 * h[L.ROOM_HALF + 2] - 0.12)
    if h[L.SURROUNDINGS] != L.NOTHING:
        places[:, 2] = np.maximum(places[:, 2], h[L.FLOOR_Z] + 0.18)
    return places
