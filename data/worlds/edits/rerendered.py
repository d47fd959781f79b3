"""Edits that are made in the world itself and then photographed again: things, places and materials, light, time of day."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.worlds import layout as L
from data.worlds.edits.words import COLORS, MATERIALS, NOUNS, TIMES, Instruction
from data.worlds.generate import random_rotation

Random = np.random.Generator

FREE = 20
"""First row of the materials that no world uses: edits write theirs there."""


@dataclass
class Tables:
    """One world's rows, see `layout`; edits work on copies."""

    header: Float[ndarray, "56"]
    objects: Float[ndarray, "o 8"]
    primitives: Float[ndarray, "p 32"]
    materials: Float[ndarray, "m 32"]

    def copy(self) -> "Tables":
        return Tables(self.header.copy(), self.objects.copy(), self.primitives.copy(), self.materials.copy())

    @property
    def things(self) -> int:
        return int(self.header[L.OBJECT_COUNT])

    def parts(self, thing: int) -> slice:
        """Rows of a thing's primitives."""
        first, count = int(self.objects[thing, L.FIRST]), int(self.objects[thing, L.COUNT])
        return slice(first, first + count)

    def stored(self, color: tuple[float, float, float]) -> Float[ndarray, "3"]:
        """The albedo that a picture shows as about this sRGB colour in full light."""
        return np.clip(np.array(color), 0.02, 0.98) ** (1 / max(float(self.header[L.GAMMA]), 0.3))

    def shown(self, stored: ndarray) -> Float[ndarray, "3"]:
        """The inverse of `stored`."""
        return np.clip(stored, 0, 1) ** max(float(self.header[L.GAMMA]), 0.3)


def noun_of(tables: Tables, thing: int) -> str:
    """What people would call a thing of a world."""
    parts = tables.primitives[tables.parts(thing)]
    if (parts[:, L.OPERATION] == L.HOLLOW).any():
        return "cup"
    if (parts[:, L.REPEAT] == L.AROUND).any():
        return "plant"
    if ((parts[:, L.REPEAT] == L.IN_A_ROW) | (parts[:, L.REPEAT] == L.IN_A_GRID)).any():
        return "fence"
    if len(parts) >= 3 and parts[1, L.SHAPE] == L.CONE and parts[1, L.OPERATION] == L.SMOOTH_UNION and parts[0, L.SHAPE] in (L.CYLINDER, L.BOX):
        return "bottle"
    if len(parts) == 1:
        return {L.ELLIPSOID: "ball", L.BOX: "box", L.TORUS: "ring", L.CYLINDER: "cylinder", L.CONE: "cone"}.get(int(parts[0, L.SHAPE]), "thing")
    return "thing"


def color_name(color: ndarray) -> str:
    """The named colour that an sRGB one ``[3]`` is nearest to."""
    return min(COLORS, key=lambda name: float(((np.array(COLORS[name]) - color) ** 2).sum()))


def _new_color(tables: Tables, present: list[ndarray], g: Random) -> str:
    """A name for none of the present colours: nobody asks for what is there already."""
    names = {color_name(tables.shown(c)) for c in present}
    return str(g.choice([name for name in COLORS if name not in names] or list(COLORS)))


def colored(tables: Tables, row: ndarray, color: tuple[float, float, float], g: Random) -> ndarray:
    """A material in another colour, its pattern fainter than it was."""
    out, c = row.copy(), tables.stored(tuple(np.clip(np.array(color) + g.normal(size=3) * 0.02, 0, 1)))  # type: ignore[arg-type]
    out[L.COLOR_A : L.COLOR_A + 3], out[L.COLOR_B : L.COLOR_B + 3], out[L.COLOR_C : L.COLOR_C + 3] = c, c * g.uniform(0.65, 0.95), np.clip(c * g.uniform(1.0, 1.25), 0, 1)
    out[L.GRAIN] = min(out[L.GRAIN], 0.25)
    out[L.MIRROR] *= 0.4
    return out


def material(tables: Tables, name: str, size: float, g: Random) -> ndarray:
    """A row for a named material.

    Args:
        size: of what is made of it, scene units.
    """
    m = np.zeros(L.MATERIAL, np.float32)
    pattern, a, b, c, frequency, grain, specular, shine, mirror = {
        "gold": (L.PLAIN, (0.93, 0.70, 0.22), (0.85, 0.60, 0.15), (1.0, 0.85, 0.4), 2, 0.0, 0.9, 60, 0.35),
        "silver": (L.PLAIN, (0.78, 0.79, 0.81), (0.7, 0.7, 0.72), (0.9, 0.9, 0.9), 2, 0.0, 0.9, 70, 0.55),
        "copper": (L.PLAIN, (0.78, 0.44, 0.28), (0.7, 0.38, 0.22), (0.9, 0.55, 0.4), 2, 0.05, 0.8, 50, 0.35),
        "wood": (L.RINGS, (0.62, 0.42, 0.24), (0.38, 0.23, 0.11), (0.5, 0.33, 0.18), 5, 0.25, 0.1, 20, 0.0),
        "marble": (L.MARBLE, (0.94, 0.93, 0.91), (0.60, 0.60, 0.62), (0.9, 0.9, 0.9), 2.2, 0.05, 0.4, 60, 0.1),
        "stone": (L.CLOUDS, (0.52, 0.50, 0.47), (0.34, 0.33, 0.32), (0.5, 0.5, 0.5), 9, 0.5, 0.0, 10, 0.0),
        "brick": (L.BRICKS, (0.62, 0.26, 0.17), (0.50, 0.20, 0.14), (0.75, 0.72, 0.68), 7, 0.35, 0.0, 10, 0.0),
        "porcelain": (L.PLAIN, (0.96, 0.96, 0.97), (0.9, 0.9, 0.92), (1, 1, 1), 2, 0.0, 0.8, 110, 0.15),
    }[name]  # fmt: skip
    m[L.PATTERN], m[L.FREQUENCY] = pattern, frequency / max(size, 0.1) * g.uniform(0.7, 1.4)
    tone = 1 + g.normal() * 0.05
    for at, color in ((L.COLOR_A, a), (L.COLOR_B, b), (L.COLOR_C, c)):
        m[at : at + 3] = tables.stored(tuple(np.clip(np.array(color) * tone, 0, 1)))  # type: ignore[arg-type]
    m[L.GRAIN], m[L.GRAIN_FREQUENCY], m[L.SPECULAR], m[L.SHININESS], m[L.MIRROR] = grain, 14 / max(size, 0.1), specular, shine, mirror
    m[L.STRETCH : L.STRETCH + 3] = 1
    m[L.TEXTURE_SEED], m[L.CONTRAST] = g.integers(1, 60000), 0.3
    m[L.TEXTURE_ROTATION : L.TEXTURE_ROTATION + 9] = (np.eye(3) if name == "brick" else random_rotation(g)).reshape(-1)
    return m


def any_edit(tables: Tables, salient: int, g: Random) -> tuple[Tables, Instruction]:
    """A random edit of a world.

    Args:
        salient: the thing that the picture is about.
    """
    kind = str(g.choice(["thing_color", "thing_material", "place_color", "place_material", "all_material", "time"], p=[0.34, 0.22, 0.14, 0.06, 0.1, 0.14]))
    out = tables.copy()
    if kind in ("place_color", "place_material") and tables.header[L.SURROUNDINGS] == L.NOTHING:
        kind = kind.replace("place", "thing")
    if kind in ("thing_color", "thing_material"):
        return out, _edit_thing(out, kind, salient, g)
    if kind in ("place_color", "place_material"):
        return out, _edit_place(out, kind, g)
    if kind == "all_material":
        to = str(g.choice(MATERIALS))
        radius = float(np.median(tables.objects[: max(tables.things, 1), L.SPHERE + 3]))
        for i in range(FREE):
            out.materials[i] = material(tables, to, radius if i < 16 else 1.5, g)
        return out, Instruction(kind, "", to)
    to = str(g.choice(TIMES))
    relight(out, to, g)
    return out, Instruction("time", "", to)


def _edit_thing(out: Tables, kind: str, salient: int, g: Random) -> Instruction:
    """All things that a word means change: two balls are both "the ball"."""
    nouns = [noun_of(out, t) for t in range(out.things)]
    what = nouns[salient] if g.random() < 0.7 else str(g.choice(nouns))
    if what == "thing" or g.random() < 0.25:
        what, chosen = "thing", [salient]
    else:
        chosen = [t for t, n in enumerate(nouns) if n == what]
    assert what in NOUNS
    paints = [out.materials[int(out.primitives[out.parts(t)][0, L.PAINT])] for t in chosen]
    to = _new_color(out, [p[L.COLOR_A : L.COLOR_A + 3] for p in paints], g) if kind == "thing_color" else str(g.choice(MATERIALS))
    for thing in chosen:
        parts = out.parts(thing)
        old = out.materials[int(out.primitives[parts][0, L.PAINT])]
        size = float(out.objects[thing, L.SPHERE + 3])
        out.materials[FREE + thing % 4] = colored(out, old, COLORS[to], g) if kind == "thing_color" else material(out, to, size, g)
        out.primitives[parts, L.PAINT] = FREE + thing % 4
    return Instruction(kind, what, to)


def _edit_place(out: Tables, kind: str, g: Random) -> Instruction:
    room = out.header[L.SURROUNDINGS] == L.ROOM
    what = str(g.choice(["floor", "walls", "ceiling"], p=[0.45, 0.45, 0.1])) if room else str(g.choice(["floor", "sky"], p=[0.7, 0.3]))
    if what == "sky":
        to = _new_color(out, [out.header[L.SKY_LOW : L.SKY_LOW + 3]], g)
        low = out.stored(COLORS[to])
        out.header[L.SKY_LOW : L.SKY_LOW + 3], out.header[L.SKY_HIGH : L.SKY_HIGH + 3] = low, np.clip(low * g.uniform(0.7, 1.2), 0, 1)
        out.header[L.SKY_KIND] = min(out.header[L.SKY_KIND], 1)
        return Instruction("place_color", what, to)
    row = int(out.header[{"floor": L.FLOOR_MATERIAL, "walls": L.WALL_MATERIAL, "ceiling": L.CEILING_MATERIAL}[what]])
    if kind == "place_color":
        rows = [17, 18] if what == "walls" else [row]  # opposite walls may have materials of their own
        to = _new_color(out, [out.materials[r][L.COLOR_A : L.COLOR_A + 3] for r in rows], g)
        for r in rows:
            out.materials[r] = colored(out, out.materials[r], COLORS[to], g)
    else:
        to = str(g.choice([m for m in MATERIALS if m != "porcelain"]))
        for r in [17, 18] if what == "walls" else [row]:
            out.materials[r] = material(out, to, 1.5, g)
    return Instruction(kind, what, to)


_TIMES = {
    # ambient (of the old mean), key light (absolute), low sky, high sky, elevation
    "night": ((0.20, 0.26, 0.48), (0.16, 0.20, 0.34), (0.05, 0.07, 0.15), (0.01, 0.015, 0.04), 0.7),
    "sunset": ((0.55, 0.42, 0.45), (1.0, 0.52, 0.22), (0.95, 0.50, 0.25), (0.45, 0.35, 0.55), 0.18),
    "sunrise": ((0.62, 0.55, 0.62), (0.85, 0.60, 0.52), (0.98, 0.75, 0.65), (0.60, 0.68, 0.88), 0.22),
    "noon": ((1.0, 1.02, 1.06), (0.85, 0.83, 0.78), (0.75, 0.86, 0.98), (0.30, 0.52, 0.90), 0.95),
}  # fmt: skip


def relight(out: Tables, to: str, g: Random) -> None:
    """Another time of day, in place."""
    ambient, key, low, high, elevation = _TIMES[to]
    h = out.header
    level = max(float(h[L.AMBIENT : L.AMBIENT + 3].mean()), 0.4)
    h[L.AMBIENT : L.AMBIENT + 3] = level * np.array(ambient) * (1 + g.normal() * 0.08)
    total = sum(float(h[L.LIGHTS + L.LIGHT_STRIDE * i + 4 : L.LIGHTS + L.LIGHT_STRIDE * i + 7].mean()) for i in range(int(h[L.LIGHT_COUNT])))
    for i in range(int(h[L.LIGHT_COUNT])):
        at = L.LIGHTS + L.LIGHT_STRIDE * i
        share = float(h[at + 4 : at + 7].mean()) / max(total, 1e-6)
        h[at + 4 : at + 7] = np.array(key) * share * (1 + g.normal() * 0.08)
        if h[at] == 0:  # a sun: it keeps its side of the sky, not its height
            flat = np.array([h[at + 1], h[at + 2]])
            flat = flat / max(float(np.linalg.norm(flat)), 1e-6) * np.sqrt(1 - elevation**2)
            h[at + 1 : at + 4] = flat[0], flat[1], elevation
    h[L.SKY_LOW : L.SKY_LOW + 3], h[L.SKY_HIGH : L.SKY_HIGH + 3] = out.stored(low), out.stored(high)
    h[L.SKY_KIND] = 1  # from one colour to the other
