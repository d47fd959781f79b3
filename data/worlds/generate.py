"""Random worlds from seeds: still lives, rooms, lone objects, plants; and what they are painted and lit with.

The recipe follows what was published of Zeroverse (Xie et al. 2024: many primitives, height fields, boolean cuts,
wireframes) and MegaSynth (Jiang et al. 2025: rooms, furniture-like boxes, sticks); numbers are our own where they differ.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.worlds import layout as L

Random = np.random.Generator


@dataclass
class Draft:
    """A world in the making."""

    kind: str
    """still_life, room, lone."""
    header: Float[ndarray, "56"] = field(default_factory=lambda: np.zeros(L.HEADER, np.float32))
    objects: list[Float[ndarray, "8"]] = field(default_factory=list)
    primitives: list[Float[ndarray, "32"]] = field(default_factory=list)
    materials: Float[ndarray, "m 32"] = field(default_factory=lambda: np.zeros((L.MAX_MATERIALS, L.MATERIAL), np.float32))
    spread: float = 0.8
    """How far objects lie from the middle, scene units."""

    def tables(self) -> tuple[ndarray, ndarray, ndarray, ndarray]:
        """Rows for `renderer.Worlds`."""
        objects = np.zeros((L.MAX_OBJECTS, L.OBJECT), np.float32)
        primitives = np.zeros((L.MAX_PRIMITIVES, L.PRIMITIVE), np.float32)
        objects[: len(self.objects)] = self.objects
        primitives[: len(self.primitives)] = self.primitives
        self.header[L.OBJECT_COUNT] = len(self.objects)
        return self.header, objects, primitives, self.materials

    def add(self, shapes: list[Float[ndarray, "32"]]) -> None:
        """One more object, if there is room for it."""
        if len(self.objects) >= L.MAX_OBJECTS or len(self.primitives) + len(shapes) > L.MAX_PRIMITIVES:
            return
        solids = [q for q in shapes if q[L.OPERATION] in (L.UNION, L.SMOOTH_UNION)]
        centres = np.stack([q[L.CENTRE : L.CENTRE + 3] for q in solids])
        middle = centres.mean(0)
        radius = max(np.linalg.norm(c - middle) + _extent(q) for c, q in zip(centres, solids, strict=True)) * 1.02
        self.objects.append(np.array([len(self.primitives), len(shapes), *middle, radius, 0, 0], np.float32))
        self.primitives.extend(shapes)


def make_world(seed: int, plain: float = 0.0) -> Draft:
    """The world of a seed, the same on every machine.

    Args:
        plain: share of the worlds whose objects are left unpainted, most of them: smooth surfaces of one colour, such as porcelain.
    """
    g = np.random.default_rng(seed)
    draft = Draft(str(g.choice(["still_life", "room", "lone"], p=[0.42, 0.38, 0.20])))
    for i in range(L.MAX_MATERIALS):
        draft.materials[i] = _material(g, 1.0 if i < 16 else log_uniform(g, 1, 3))
    choice = np.random.default_rng([seed, 2])
    if choice.random() < plain:
        bare = np.flatnonzero(choice.random(16) < 0.8)
        draft.materials[bare, L.PATTERN], draft.materials[bare, L.GRAIN] = L.PLAIN, 0
    _surroundings(g, draft)
    _furnish(g, draft)
    _light(g, draft)
    relief = any(q[L.RELIEF] > 0 or q[L.BEND] != 0 or q[L.REPEAT] == L.AROUND for q in draft.primitives)
    h = draft.header
    h[L.STEP] = 0.72 if relief or h[L.SURROUNDINGS] == L.BUMPY_GROUND else 0.9
    h[L.REACH] = 40.0
    return draft


# --- shapes ----------------------------------------------------------------------------------------------------------


def log_uniform(g: Random, low: float | int, high: float | int) -> float:
    return math.exp(g.uniform(math.log(low), math.log(high)))


def random_rotation(g: Random) -> Float[ndarray, "3 3"]:
    """Uniform over all rotations (Shoemake 1992)."""
    q = g.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def turn(angle: float) -> Float[ndarray, "3 3"]:
    """Rotation about the vertical."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])


def _rotation(g: Random, upright: bool) -> Float[ndarray, "3 3"]:
    return turn(g.uniform(0, 2 * math.pi)) if upright else random_rotation(g)


def _primitive(shape: int, centre: ndarray, rotation: ndarray, size: tuple[float | int, ...], paint: int, rounding: float | int = 0.0) -> ndarray:
    q = np.zeros(L.PRIMITIVE, np.float32)
    q[L.SHAPE], q[L.PAINT], q[L.ROUND] = shape, paint, rounding
    q[L.CENTRE : L.CENTRE + 3], q[L.ROTATION : L.ROTATION + 9], q[L.SIZE : L.SIZE + 3] = centre, rotation.reshape(-1), size
    q[L.REPEAT_COUNT], q[L.REPEAT_SPACING] = 1, 1
    return q


def _extent(q: ndarray) -> float:
    """Radius of a sphere about the primitive's centre that holds it, relief and repetition included."""
    a, b, c = (float(v) for v in q[L.SIZE : L.SIZE + 3])
    own = {
        L.ELLIPSOID: max(a, b, c), L.BOX: math.hypot(a, b, c), L.TORUS: a + b, L.CYLINDER: math.hypot(a, b), L.CAPSULE: a + b,
        L.CONE: math.hypot(max(a, b), c), L.FRAME: math.hypot(a, b, c), L.OCTAHEDRON: a, L.PRISM: math.hypot(a * 1.16, b),
    }[int(q[L.SHAPE])]  # fmt: skip
    own += 2 * float(q[L.RELIEF])
    steps = (q[L.REPEAT_COUNT] // 2) * q[L.REPEAT_SPACING]
    reach = {L.ONCE: 0.0, L.IN_A_ROW: steps, L.AROUND: abs(q[L.REPEAT_SPACING]), L.IN_A_GRID: 1.42 * steps}[int(q[L.REPEAT])]
    own += float(reach)
    if q[L.BEND]:
        own += abs(float(q[L.BEND])) * own * own
    if q[L.OPERATION] == L.SMOOTH_UNION:
        own += 0.25 * float(q[L.BLEND])
    return own


def _any_primitive(g: Random, centre: ndarray, size: float, paint: int, upright: bool, relief: float = 0.35) -> ndarray:
    """A primitive of any kind, about ``size`` in radius, each axis scaled on its own."""
    shape = int(g.choice(9, p=[0.17, 0.23, 0.1, 0.16, 0.09, 0.1, 0.05, 0.04, 0.06]))
    a, b, c = size * np.exp(g.normal(size=3) * 0.4) * 0.8
    if shape in (L.BOX, L.ELLIPSOID) and g.random() < 0.2:
        a *= 0.18
    sizes = {
        L.ELLIPSOID: (a, b, c), L.BOX: (a, b, c), L.TORUS: (size * 0.8, size * g.uniform(0.08, 0.35), 0), L.CYLINDER: (a * 0.8, b, 0),
        L.CAPSULE: (size * log_uniform(g, 0.06, 0.5), size, 0), L.CONE: (a, a * g.uniform(0.02, 0.9), c), L.FRAME: (a, b, c),
        L.OCTAHEDRON: (size * 1.2, 0, 0), L.PRISM: (a * 0.8, b, 0),
    }[shape]  # fmt: skip
    rounding = 0.0
    if shape in (L.BOX, L.CYLINDER) and g.random() < 0.6:
        rounding = min(sizes[0], sizes[1], sizes[2] if shape == L.BOX else 9.0) * g.uniform(0.05, 0.9)
    if shape == L.FRAME:
        rounding = min(a, b, c) * log_uniform(g, 0.03, 0.2)
    q = _primitive(shape, centre, _rotation(g, upright), sizes, paint, rounding)
    if g.random() < relief and shape not in (L.OCTAHEDRON, L.FRAME):
        q[L.RELIEF], q[L.RELIEF_FREQUENCY], q[L.RELIEF_KIND] = size * log_uniform(g, 0.015, 0.12), log_uniform(g, 2.5, 14) / size, g.integers(0, 2)
    return q


def _compound(g: Random, centre: ndarray, size: float, paints: ndarray, upright: bool) -> list[ndarray]:
    """One to seven primitives, some smoothly joined, some cut away."""
    count = int(g.choice([1, 2, 3, 4, 5, 6, 7], p=[0.28, 0.2, 0.18, 0.13, 0.1, 0.07, 0.04]))
    smooth = g.random() < 0.35
    shapes = [_any_primitive(g, centre, size, int(g.choice(paints)), upright)]
    for _ in range(count - 1):
        q = _any_primitive(g, centre + g.normal(size=3) * size * 0.6, size * g.uniform(0.25, 0.9), int(g.choice(paints)), upright)
        if smooth:
            q[L.OPERATION], q[L.BLEND] = L.SMOOTH_UNION, size * g.uniform(0.1, 0.5)
        shapes.append(q)
    if g.random() < 0.4:
        for _ in range(int(g.integers(1, 3))):
            cutter = _any_primitive(g, centre + g.normal(size=3) * size * 0.7, size * g.uniform(0.3, 0.6), int(g.choice(paints)), upright, 0.0)
            if cutter[L.SHAPE] not in (L.TORUS, L.FRAME):
                cutter[L.OPERATION] = L.SUBTRACT
                shapes.append(cutter)
    return shapes


def _vessel(g: Random, centre: ndarray, size: float, paints: ndarray) -> list[ndarray]:
    """A bowl, cup or bottle: hollow, open above, perhaps with a handle."""
    paint, upright = int(g.choice(paints)), turn(g.uniform(0, 6.28))
    kind = g.choice(3)
    wall = size * log_uniform(g, 0.03, 0.1)
    tall = size * g.uniform(0.5, 1.3)
    if kind == 0:  # bowl
        shapes = [_primitive(L.ELLIPSOID, centre, upright, (size, size, size * g.uniform(0.5, 1)), paint)]
        tall = float(shapes[0][L.SIZE + 2])
    elif kind == 1:  # cup
        shapes = [_primitive(L.CYLINDER, centre, upright, (size * 0.7, tall, 0), paint, size * g.uniform(0.02, 0.3))]
    else:  # tapered
        shapes = [_primitive(L.CONE, centre, upright, (size * g.uniform(0.35, 0.8), size * g.uniform(0.5, 0.9), tall), paint)]
    hollow = _primitive(L.ELLIPSOID, centre, upright, (1, 1, 1), paint)
    hollow[L.OPERATION], hollow[L.BLEND] = L.HOLLOW, wall
    top = _primitive(L.BOX, centre + np.array([0, 0, tall * (1.0 if kind else 1.15)]), upright, (2 * size, 2 * size, tall * (0.15 if kind else 1.0)), int(g.choice(paints)))
    top[L.OPERATION] = L.SUBTRACT
    shapes += [hollow, top]
    if g.random() < 0.5:
        side = upright.T @ np.array([size * 0.75, 0, 0])
        ring = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ upright
        shapes.append(_primitive(L.TORUS, centre + side, ring, (tall * 0.45, wall * g.uniform(0.8, 1.8), 0), paint))
    if g.random() < 0.3:
        shapes.append(_any_primitive(g, centre - np.array([0, 0, 0.4 * tall]), size * 0.4, int(g.choice(paints)), False))
    return shapes


def _bottle(g: Random, centre: ndarray, size: float, paints: ndarray) -> list[ndarray]:
    """Body, shoulder, neck, lid; often with a label of its own material."""
    r = size * g.uniform(0.3, 0.6)
    turned, paint = _rotation(g, True), int(g.choice(paints))
    up = np.array([0, 0, 1.0])
    body = L.CYLINDER if g.random() < 0.65 else L.BOX
    shapes = [_primitive(body, centre, turned, (r, size, 0) if body == L.CYLINDER else (r, r * g.uniform(0.5, 1), size), paint, r * g.uniform(0.05, 0.5))]
    shoulder = _primitive(L.CONE, centre + up * size * 1.2, turned, (r * 0.95, r * 0.35, size * 0.25), paint)
    shoulder[L.OPERATION], shoulder[L.BLEND] = L.SMOOTH_UNION, r * 0.3
    shapes += [shoulder, _primitive(L.CYLINDER, centre + up * size * 1.55, turned, (r * g.uniform(0.3, 0.5), size * 0.15, 0), int(g.choice(paints)))]
    if body == L.CYLINDER:
        shapes.append(_primitive(L.CYLINDER, centre, turned, (r * 1.01, size * g.uniform(0.3, 0.7), 0), int(g.choice(paints))))
    return shapes


def _plant(g: Random, centre: ndarray, size: float, paints: ndarray) -> list[ndarray]:
    """Whorls of thin bent leaves about a stem: much of it is holes."""
    tilt = random_rotation(g) if g.random() < 0.3 else turn(g.uniform(0, 6.28))
    leaf = int(g.choice(paints))
    shapes = [_primitive(L.CAPSULE, centre, tilt, (size * 0.03, size * 0.8, 0), int(g.choice(paints)))]
    for i in range(int(g.integers(2, 6))):
        long = size * g.uniform(0.35, 0.8)
        up = tilt.T @ np.array([0, 0, size * (0.35 * i - 0.5)])
        q = _primitive(L.ELLIPSOID, centre + up, turn(g.uniform(0, 6.28)) @ tilt, (long, long * g.uniform(0.08, 0.35), size * 0.02), leaf if g.random() < 0.7 else int(g.choice(paints)))
        q[L.REPEAT], q[L.REPEAT_COUNT], q[L.REPEAT_SPACING] = L.AROUND, g.integers(4, 12), long * 0.9
        q[L.BEND] = g.uniform(-0.5, 0.5) / size
        shapes.append(q)
    return shapes


def _row(g: Random, centre: ndarray, size: float, paints: ndarray, upright: bool) -> list[ndarray]:
    """A fence, shelf, grille or pile: one thin part many times."""
    count, spacing = int(g.integers(3, 10)), size * g.uniform(0.15, 0.4)
    thin = spacing * g.uniform(0.08, 0.45)
    sizes = (thin, size * g.uniform(0.2, 0.8), size * g.uniform(0.4, 1.2)) if g.random() < 0.5 else (thin, thin, size)
    rotation = _rotation(g, upright)
    q = _primitive(L.BOX, centre, rotation, sizes, int(g.choice(paints)), thin * g.uniform(0, 0.9))
    q[L.REPEAT], q[L.REPEAT_COUNT], q[L.REPEAT_SPACING] = (L.IN_A_GRID if g.random() < 0.2 else L.IN_A_ROW), count, spacing
    shapes = [q]
    if g.random() < 0.6:
        rail = rotation.T @ np.array([0, 0, size * g.uniform(0.2, 0.8)])
        shapes.append(_primitive(L.BOX, centre + rail, rotation, (count * spacing * 0.5, thin, thin), int(g.choice(paints)), 0))
    return shapes


def _stick(g: Random, centre: ndarray, size: float, paints: ndarray) -> list[ndarray]:
    return [_primitive(L.CAPSULE, centre, random_rotation(g), (size * log_uniform(g, 0.015, 0.06), size * g.uniform(0.8, 2.0), 0), int(g.choice(paints)))]


# --- the world -------------------------------------------------------------------------------------------------------


def _surroundings(g: Random, draft: Draft) -> None:
    h = draft.header
    if draft.kind == "still_life":
        kind, draft.spread = g.choice([L.FLAT_GROUND, L.BUMPY_GROUND, L.ROOM], p=[0.45, 0.2, 0.35]), g.uniform(0.35, 1.0)
        half = (g.uniform(1.8, 6), g.uniform(1.8, 6), g.uniform(1.2, 3))
        h[L.FLOOR_Z], h[L.ROOM_X], h[L.ROOM_Y] = -g.uniform(0.3, 0.8), g.normal() * 0.3, g.normal() * 0.3
    elif draft.kind == "room":
        kind, draft.spread = g.choice([L.ROOM, L.FLAT_GROUND, L.BUMPY_GROUND], p=[0.7, 0.15, 0.15]), g.uniform(1.0, 2.2)
        half = (g.uniform(2.2, 5), g.uniform(2.2, 5), g.uniform(1.0, 2.5))
        h[L.FLOOR_Z] = -g.uniform(0.5, 1.4)
    else:
        kind, draft.spread, half = L.NOTHING, g.uniform(0.15, 0.6), (1, 1, 1)
    h[L.SURROUNDINGS], h[L.ROOM_HALF : L.ROOM_HALF + 3] = kind, half
    h[L.BUMP_HEIGHT], h[L.BUMP_FREQUENCY] = g.uniform(0.05, 0.3), log_uniform(g, 0.8, 4)
    h[L.FLOOR_MATERIAL], h[L.WALL_MATERIAL], h[L.CEILING_MATERIAL] = 16, 17, 19


def _furnish(g: Random, draft: Draft) -> None:
    h, floor = draft.header, draft.header[L.FLOOR_Z]
    grounded, upright = h[L.SURROUNDINGS] != L.NOTHING, g.random() < 0.45
    count = int(g.integers(1, 5)) if draft.kind == "lone" else int(g.integers(4, 13)) if draft.kind == "still_life" else int(g.integers(6, 19))
    if draft.kind == "room" and g.random() < 0.7:
        for _ in range(int(g.integers(1, 5))):
            _box_furniture(g, draft)
    for _ in range(count):
        size = log_uniform(g, 0.12, 0.9) if draft.kind == "room" else log_uniform(g, 0.14, 0.55)
        centre = g.normal(size=3) * draft.spread * np.array([0.8, 0.8, 0.45])
        if draft.kind == "room":
            centre = g.uniform(-1, 1, 3) * np.array([min(h[L.ROOM_HALF], 3.2), min(h[L.ROOM_HALF + 1], 3.2), 1.0]) * 0.95
        if grounded and g.random() < 0.75:
            centre[2] = floor + size * g.uniform(0.4, 1.0)
        paints = g.integers(0, 16, size=int(g.integers(1, 4)))
        kind = g.choice(["compound", "vessel", "bottle", "plant", "row", "stick"], p=[0.52, 0.13, 0.08, 0.1, 0.1, 0.07])
        if kind == "compound":
            shapes = _compound(g, centre, size, paints, upright)
        elif kind == "vessel":
            shapes = _vessel(g, centre, size, paints)
        elif kind == "bottle":
            shapes = _bottle(g, centre, size, paints)
        elif kind == "plant":
            shapes = _plant(g, centre, size * 1.4, paints)
        elif kind == "row":
            shapes = _row(g, centre, size * 1.2, paints, upright)
        else:
            shapes = _stick(g, centre, size, paints)
        draft.add(shapes)


def _box_furniture(g: Random, draft: Draft) -> None:
    """A cupboard, table or shelf on the floor or against a wall."""
    h = draft.header
    size = np.array([g.uniform(0.25, 1.1), g.uniform(0.2, 0.7), g.uniform(0.15, 0.9)])
    centre = np.array([g.uniform(-1, 1) * h[L.ROOM_HALF] * 0.9, g.uniform(-1, 1) * h[L.ROOM_HALF + 1] * 0.9, h[L.FLOOR_Z] + size[2]])
    rotation, paint = turn(g.choice([0, math.pi / 2]) + (g.normal() * 0.05 if g.random() < 0.5 else 0)), int(g.integers(0, 16))
    if g.random() < 0.4:  # a table: a slab on legs
        slab = _primitive(L.BOX, centre + np.array([0, 0, size[2]]), rotation, (size[0], size[1], 0.03), paint, 0.01)
        legs = _primitive(L.BOX, centre, rotation, (0.03, 0.03, size[2]), paint)
        legs[L.REPEAT], legs[L.REPEAT_COUNT], legs[L.REPEAT_SPACING] = L.IN_A_GRID, 2, min(size[0], size[1]) * 0.9
        draft.add([slab, legs])
        return
    box = _primitive(L.BOX, centre, rotation, (size[0], size[1], size[2]), paint, g.uniform(0, 0.04))
    shapes = [box]
    if g.random() < 0.4:  # compartments
        cut = _primitive(L.BOX, centre + rotation.T @ np.array([0, -size[1] * 0.5, 0]), rotation, (size[0] * 0.2, size[1], size[2] * 0.8), int(g.integers(0, 16)))
        cut[L.REPEAT], cut[L.REPEAT_COUNT], cut[L.REPEAT_SPACING], cut[L.OPERATION] = L.IN_A_ROW, 3, size[0] * 0.5, L.SUBTRACT
        shapes.append(cut)
    draft.add(shapes)


def _color(g: Random, style: int) -> ndarray:
    if style == 0:
        c = g.uniform(0, 1, 3)
    elif style == 1:
        c = g.uniform(0.05, 0.95) * np.ones(3) + g.normal(size=3) * 0.04
    elif style == 2:  # wood, earth, skin
        c = g.uniform(0.1, 0.85) * np.array([1.0, g.uniform(0.6, 0.95), g.uniform(0.3, 0.85)])
    elif style == 3:  # leaves
        c = g.uniform(0.15, 0.8) * np.array([g.uniform(0.4, 0.9), 1.0, g.uniform(0.2, 0.6)])
    else:
        c = g.uniform(0, 1, 3) ** 2
    return np.clip(c, 0.02, 0.98)


def _material(g: Random, scale: float) -> ndarray:
    """A row for the table; ``scale`` stretches every length in it."""
    m = np.zeros(L.MATERIAL, np.float32)
    pattern = int(g.choice(12, p=[0.16, 0.16, 0.06, 0.07, 0.08, 0.06, 0.06, 0.08, 0.09, 0.07, 0.06, 0.05]))
    m[L.PATTERN] = pattern
    low, high = {
        L.PLAIN: (1, 2), L.CLOUDS: (1.5, 14), L.CHECKS: (1.5, 10), L.STRIPES: (1.5, 12), L.CELLS: (2, 14), L.BRICKS: (2, 9),
        L.DOTS: (2, 12), L.MARBLE: (1, 6), L.BLOCKS: (0.8, 6), L.SPECKLES: (1, 10), L.TEXT: (3, 16), L.RINGS: (1.5, 9),
    }[pattern]  # fmt: skip
    m[L.FREQUENCY] = log_uniform(g, low, high) / scale
    style = int(g.choice(5))
    colors = [_color(g, int(g.choice(5)) if g.random() < 0.3 else style) for _ in range(3)]
    if g.random() < 0.3:  # low contrast
        colors = [colors[0], *(np.clip(colors[0] + g.normal(size=3) * s, 0.02, 0.98) for s in (0.06, 0.1))]
    if pattern == L.TEXT and g.random() < 0.6:
        colors[:2] = [np.full(3, g.uniform(0.7, 0.98)), np.full(3, g.uniform(0.02, 0.25))]
    m[L.COLOR_A : L.COLOR_A + 3], m[L.COLOR_B : L.COLOR_B + 3], m[L.COLOR_C : L.COLOR_C + 3] = colors
    if g.random() < 0.55:
        m[L.GRAIN], m[L.GRAIN_FREQUENCY] = g.uniform(0.05, 0.6), log_uniform(g, 1, 40) / scale
    if g.random() < 0.45:
        m[L.SPECULAR] = g.uniform(0.05, 0.9)
    m[L.SHININESS] = log_uniform(g, 6, 150)
    if g.random() < 0.2:
        m[L.MIRROR] = g.uniform(0.05, 0.7)
    m[L.STRETCH : L.STRETCH + 3] = np.exp(g.normal(size=3) * 0.6) if g.random() < 0.3 else 1
    m[L.TEXTURE_SEED], m[L.CONTRAST] = g.integers(1, 60000), g.uniform(0.05, 0.6)
    if g.random() < 0.3 and pattern != L.TEXT:
        m[L.WARP], m[L.WARP_FREQUENCY] = g.uniform(0.05, 0.5) * scale, log_uniform(g, 1, 6) / scale
    rotation = np.eye(3) if g.random() < 0.3 else random_rotation(g)
    m[L.TEXTURE_ROTATION : L.TEXTURE_ROTATION + 9] = rotation.reshape(-1)
    return m


def _light(g: Random, draft: Draft) -> None:
    h = draft.header
    h[L.AMBIENT : L.AMBIENT + 3] = g.uniform(0.25, 0.75) * (1 + g.normal(size=3) * 0.06)
    indoors = h[L.SURROUNDINGS] == L.ROOM
    count = int(g.integers(1, 3))
    h[L.LIGHT_COUNT] = count
    for i in range(count):
        at = L.LIGHTS + L.LIGHT_STRIDE * i
        direction = g.normal(size=3)
        direction[2] = abs(direction[2]) + 0.4
        h[at + 1 : at + 4] = direction / np.linalg.norm(direction)
        if indoors and g.random() < 0.7:  # a lamp: suns do not shine through walls
            h[at] = 1
            h[at + 1 : at + 4] = g.uniform(-0.7, 0.7, 3) * h[L.ROOM_HALF : L.ROOM_HALF + 3]
            h[at + 3] = h[L.FLOOR_Z] + h[L.ROOM_HALF + 2] * g.uniform(1.2, 1.9)
        h[at + 4 : at + 7] = g.uniform(0.25, 0.9) / math.sqrt(count) * (1 + g.normal(size=3) * 0.1)
        casts = g.random() < 0.6 and (not indoors or h[at] == 1)
        h[at + 7], h[at + 8] = (g.uniform(0.4, 1) if casts else 0), log_uniform(g, 4, 40)
    h[L.SKY_LOW : L.SKY_LOW + 3], h[L.SKY_HIGH : L.SKY_HIGH + 3] = _color(g, int(g.choice(5))), _color(g, int(g.choice(5)))
    lone = draft.kind == "lone"
    h[L.SKY_KIND] = g.choice(3, p=[0.65, 0.15, 0.2] if lone else [0.25, 0.35, 0.4])
    h[L.SKY_FREQUENCY], h[L.SKY_SEED] = log_uniform(g, 2, 10), g.integers(1, 999)
    if lone and g.random() < 0.5:
        h[L.SKY_LOW : L.SKY_LOW + 3] = g.choice([0.0, 0.02, 1.0])
    h[L.OCCLUSION], h[L.OCCLUSION_RADIUS] = (g.uniform(0.3, 1.2) if g.random() < 0.7 else 0), log_uniform(g, 0.4, 2)
    h[L.EXPOSURE], h[L.GAMMA] = g.uniform(0.75, 1.3), g.uniform(0.5, 1.1)
