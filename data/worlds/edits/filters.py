"""Edits that are made in the picture, with the world's depth and normals at hand: weather, seasons, styles, colours, brightness.

Each takes pictures ``[n, 3, h, w]`` (sRGB, 0 to 1) and what is known about them, and returns edited ones; strengths vary within a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from data.worlds.edits.words import COLORS


@dataclass(frozen=True)
class Views:
    """Pictures of worlds, and what a camera does not know of them."""

    rgb: Float[Tensor, "n 3 h w"]
    depth: Float[Tensor, "n 1 h w"]
    """Along the ray, 0 in the sky."""
    up: Float[Tensor, "n 1 h w"]
    """The vertical part of the normals, -1 to 1."""
    things: Bool[Tensor, "n 1 h w"]
    """True on things, false on ground, walls and sky."""

    def __len__(self) -> int:
        return len(self.rgb)


Filter = Callable[[Views, torch.Generator], Tensor]


# --- tools -----------------------------------------------------------------------------------------------------------


def luminance(x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Of sRGB values, as television has it (BT.601)."""
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def rgb(*values: float, like: Tensor) -> Float[Tensor, "1 3 1 1"]:
    """A colour that broadcasts over pictures."""
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, 3, 1, 1)


def vary(low: float, high: float, like: Tensor, g: torch.Generator) -> Float[Tensor, "n 1 1 1"]:
    """One random number a picture."""
    return low + (high - low) * torch.rand(len(like), 1, 1, 1, generator=g, device=like.device)


def smooth(low: float, high: float, x: Tensor) -> Tensor:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def blurred(x: Float[Tensor, "n c h w"], radius: int) -> Float[Tensor, "n c h w"]:
    """Two passes of a box filter: nearly a Gaussian."""
    size = 2 * radius + 1
    for _ in range(2):
        x = F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), size, 1)
    return x


def hue(x: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in turns, chroma (largest minus smallest channel) and value, each ``[n 1 h w]``."""
    high, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    c = high - low
    r, g, b = x[:, :1], x[:, 1:2], x[:, 2:]
    k = c.clamp(min=1e-6)
    h = torch.where(high == r, ((g - b) / k) % 6, torch.where(high == g, (b - r) / k + 2, (r - g) / k + 4)) / 6
    return h, c, high


_HUES = {"red": (0.0, 0.055), "orange": (0.075, 0.04), "yellow": (0.15, 0.05), "green": (0.32, 0.12), "turquoise": (0.49, 0.06), "blue": (0.62, 0.09), "purple": (0.76, 0.07), "pink": (0.9, 0.07)}


def color_weight(x: Float[Tensor, "n 3 h w"], name: str, seen: tuple[Tensor, Tensor, Tensor] | None = None) -> Float[Tensor, "n 1 h w"]:
    """How much of a colour's name each pixel deserves, 0 to 1.

    Args:
        seen: `hue` of the pictures, if it is known.
    """
    h, c, v = hue(x) if seen is None else seen
    if name == "white":
        return smooth(0.62, 0.78, v) * (1 - smooth(0.10, 0.2, c))
    if name == "black":
        return 1 - smooth(0.16, 0.28, v)
    if name == "gray":
        return smooth(0.2, 0.3, v) * (1 - smooth(0.62, 0.75, v)) * (1 - smooth(0.07, 0.14, c))
    if name == "brown":
        d = (h - 0.075).abs()
        return (1 - smooth(0.04, 0.07, d)) * smooth(0.06, 0.14, c) * (1 - smooth(0.5, 0.68, v))
    middle, width = _HUES[name]
    d = (h - middle).abs()
    d = torch.minimum(d, 1 - d)
    vivid = smooth(0.10, 0.22, c)
    if name in ("orange", "red"):
        vivid = vivid * smooth(0.28, 0.42, v) if name == "orange" else vivid
    return (1 - smooth(0.8 * width, 1.35 * width, d)) * vivid


def painted(x: Float[Tensor, "n 3 h w"], weight: Float[Tensor, "n 1 h w"], color: Float[Tensor, "n 3 1 1"]) -> Float[Tensor, "n 3 h w"]:
    """A colour laid over where ``weight`` says, with the shading that was there."""
    y = luminance(x)
    mean = (y * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-3)
    shade = (y / mean.clamp(min=0.08)).clamp(0, 2.2)
    new = color * (0.25 + 0.75 * shade) + 0.25 * (shade - 1.3).clamp(min=0)
    return x + weight * (new.clamp(0, 1) - x)


def curve(y: Float[Tensor, "n 1 h w"], stops: list[tuple[float, tuple[float, float, float]]]) -> Float[Tensor, "n 3 h w"]:
    """Luminance to colours, linear between stops (position, sRGB)."""
    out = torch.zeros(len(y), 3, *y.shape[2:], device=y.device, dtype=y.dtype)
    for (a, ca), (b, cb) in zip(stops, stops[1:]):
        t = ((y - a) / (b - a)).clamp(0, 1)
        inside = ((y >= a) & (y < b)).to(y.dtype) if b < stops[-1][0] else (y >= a).to(y.dtype)
        out = out + inside * (rgb(*ca, like=y) * (1 - t) + rgb(*cb, like=y) * t)
    return out


def kuwahara(x: Float[Tensor, "n 3 h w"], radius: int) -> Float[Tensor, "n 3 h w"]:
    """Mean of the calmest of four quadrants about each pixel (Kuwahara 1976): flat patches with sharp borders, as of a brush."""
    size = radius + 1
    padded = F.pad(x, (radius,) * 4, mode="replicate")
    mean = F.avg_pool2d(padded, size, 1)
    y = luminance(padded)
    spread = F.avg_pool2d(y * y, size, 1) - F.avg_pool2d(y, size, 1) ** 2
    h, w = x.shape[2:]
    corners = [(0, 0), (0, radius), (radius, 0), (radius, radius)]
    means = torch.stack([mean[:, :, a : a + h, b : b + w] for a, b in corners])
    spreads = torch.stack([spread[:, :, a : a + h, b : b + w] for a, b in corners])
    weight = torch.softmax(-spreads / (spreads.amin(0, keepdim=True) * 0.5 + 2e-4), dim=0)
    return (means * weight).sum(0)


def edges(x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Strength of outlines, 0 to 1."""
    y = F.pad(blurred(luminance(x), 1), (1, 1, 1, 1), mode="replicate")
    dx, dy = y[:, :, 1:-1, 2:] - y[:, :, 1:-1, :-2], y[:, :, 2:, 1:-1] - y[:, :, :-2, 1:-1]
    return smooth(0.05, 0.25, (dx * dx + dy * dy).sqrt())


def far(views: Views) -> Float[Tensor, "n 1 h w"]:
    """Depth relative to the picture's median; 4 in the sky."""
    d = views.depth
    known = d > 0
    middle = torch.where(known, d, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(1.0).view(-1, 1, 1, 1)
    return torch.where(known, d / middle.clamp(min=1e-6), torch.full_like(d, 4.0)).clamp(max=4)


def saturated(x: Tensor, gain: Tensor | float) -> Tensor:
    y = luminance(x)
    return y + (x - y) * gain


def contrast(x: Tensor, gain: Tensor | float, pivot: float = 0.45) -> Tensor:
    return pivot + (x - pivot) * gain


def behind(views: Views) -> Float[Tensor, "n 1 h w"]:
    """1 in the sky."""
    return (views.depth == 0).to(views.rgb.dtype)


def _sky(views: Views, out: Tensor, low: tuple[float, float, float], high: tuple[float, float, float]) -> Tensor:
    """The sky as a gradient from the bottom of the picture to its top."""
    h = out.shape[2]
    t = torch.linspace(1, 0, h, device=out.device).view(1, 1, h, 1)
    return out + 0.85 * behind(views) * (rgb(*low, like=out) * (1 - t) + rgb(*high, like=out) * t - out)


# --- brightness and colour -------------------------------------------------------------------------------------------


def brighter(v: Views, g: torch.Generator) -> Tensor:
    return v.rgb.clamp(min=1e-4) ** vary(0.5, 0.68, v.rgb, g) * vary(1.02, 1.12, v.rgb, g)


def darker(v: Views, g: torch.Generator) -> Tensor:
    return v.rgb.clamp(min=1e-4) ** vary(1.1, 1.35, v.rgb, g) * vary(0.5, 0.62, v.rgb, g)


def contrast_up(v: Views, g: torch.Generator) -> Tensor:
    return contrast(v.rgb, vary(1.5, 1.8, v.rgb, g))


def contrast_down(v: Views, g: torch.Generator) -> Tensor:
    return contrast(v.rgb, vary(0.45, 0.6, v.rgb, g), 0.5)


def colorful(v: Views, g: torch.Generator) -> Tensor:
    return saturated(v.rgb, vary(1.7, 2.2, v.rgb, g))


def muted(v: Views, g: torch.Generator) -> Tensor:
    return contrast(saturated(v.rgb, vary(0.3, 0.45, v.rgb, g)), 0.9, 0.5)


def warmer(v: Views, g: torch.Generator) -> Tensor:
    return v.rgb * (1 + vary(0.8, 1.2, v.rgb, g) * rgb(0.16, 0.02, -0.26, like=v.rgb))


def cooler(v: Views, g: torch.Generator) -> Tensor:
    return v.rgb * (1 + vary(0.8, 1.2, v.rgb, g) * rgb(-0.24, -0.02, 0.2, like=v.rgb))


def negative(v: Views, g: torch.Generator) -> Tensor:
    return 1 - v.rgb


def tint(v: Views, color: Float[Tensor, "n 3 1 1"], g: torch.Generator) -> Tensor:
    """Everything in one colour's light."""
    y = luminance(v.rgb)
    lit = y + (v.rgb - y) * 0.35
    hued = color / color.amax(1, keepdim=True).clamp(min=0.05)
    plain = (color.amax(1, keepdim=True) - color.amin(1, keepdim=True)) < 0.1  # white, grey, black: how light
    level = torch.where(plain, 0.3 + 0.9 * luminance(color), torch.ones_like(y[:, :, :1, :1]))
    return lit * (0.12 + 0.88 * hued) * level + torch.where(plain & (luminance(color) > 0.8), 0.15, 0.0)


def background(v: Views, color: Float[Tensor, "n 3 1 1"], g: torch.Generator) -> Tensor:
    """Something even behind the things."""
    return v.rgb + (~v.things).to(v.rgb.dtype) * (color - v.rgb)


# --- weather and seasons ---------------------------------------------------------------------------------------------


def fog(v: Views, g: torch.Generator) -> Tensor:
    t = torch.exp(-vary(0.55, 0.95, v.rgb, g) * (far(v) - 0.25).clamp(min=0.0))
    veil = rgb(0.80, 0.82, 0.84, like=v.rgb)
    return saturated(v.rgb, 0.8) * t + veil * (1 - t)


def snow(v: Views, g: torch.Generator) -> Tensor:
    lying = smooth(0.35, 0.7, v.up) * 0.93
    y = luminance(v.rgb)
    shade = (0.72 + 0.35 * y / y.mean((2, 3), keepdim=True).clamp(min=0.1)).clamp(0.5, 1.05)
    white = rgb(0.93, 0.95, 1.0, like=v.rgb) * shade
    out = saturated(v.rgb, 0.7) * rgb(0.95, 0.98, 1.05, like=v.rgb)
    out = out + lying * (white - out)
    return _sky(v, out, (0.86, 0.88, 0.91), (0.76, 0.80, 0.86))


def rain(v: Views, g: torch.Generator) -> Tensor:
    out = contrast(saturated(v.rgb, 0.55), 1.15) * rgb(0.66, 0.71, 0.78, like=v.rgb)
    t = torch.exp(-0.18 * far(v))
    out = out * t + rgb(0.48, 0.52, 0.57, like=out) * (1 - t)
    return _sky(v, out, (0.55, 0.58, 0.62), (0.42, 0.46, 0.52))


def storm(v: Views, g: torch.Generator) -> Tensor:
    out = contrast(saturated(v.rgb, 0.5), 1.35, 0.5) * rgb(0.48, 0.53, 0.64, like=v.rgb)
    return _sky(v, out, (0.34, 0.37, 0.43), (0.16, 0.18, 0.24))


def sunny(v: Views, g: torch.Generator) -> Tensor:
    out = contrast(saturated(v.rgb, 1.3), 1.25, 0.4) * rgb(1.14, 1.08, 0.95, like=v.rgb)
    return _sky(v, out, (0.66, 0.82, 0.97), (0.28, 0.54, 0.93))


def overcast(v: Views, g: torch.Generator) -> Tensor:
    out = contrast(saturated(v.rgb, 0.6), 0.78, 0.5) * rgb(0.93, 0.96, 1.0, like=v.rgb)
    return _sky(v, out, (0.80, 0.82, 0.84), (0.66, 0.69, 0.73))


def _leaves(v: Views) -> Tensor:
    return torch.maximum(color_weight(v.rgb, "green"), 0.7 * color_weight(v.rgb, "yellow"))


def autumn(v: Views, g: torch.Generator) -> Tensor:
    n, _, h, w = v.rgb.shape
    blotches = F.interpolate(torch.rand(n, 1, 6, 6, generator=g, device=v.rgb.device), (h, w), mode="bicubic", align_corners=False).clamp(0, 1)
    color = rgb(0.80, 0.20, 0.06, like=v.rgb) * (1 - blotches) + rgb(0.93, 0.62, 0.10, like=v.rgb) * blotches
    y = luminance(v.rgb)
    weight = _leaves(v)
    mean = (y * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-3)
    leaf = (color * (0.2 + 0.8 * (y / mean.clamp(min=0.08)).clamp(0, 2.0))).clamp(0, 1)
    out = v.rgb * rgb(1.10, 0.98, 0.80, like=v.rgb)
    return out + weight * (leaf - out)


def spring(v: Views, g: torch.Generator) -> Tensor:
    out = saturated(v.rgb, 1.25).clamp(0, 1) ** 0.82
    return painted(out, 0.8 * _leaves(v), rgb(0.52, 0.82, 0.22, like=v.rgb).expand(len(v), 3, 1, 1)) * rgb(1.02, 1.03, 0.98, like=v.rgb)


def summer(v: Views, g: torch.Generator) -> Tensor:
    out = contrast(saturated(v.rgb, 1.35), 1.1, 0.4) * rgb(1.12, 1.06, 0.86, like=v.rgb)
    out = painted(out.clamp(0, 1), 0.7 * _leaves(v), rgb(0.24, 0.56, 0.10, like=v.rgb).expand(len(v), 3, 1, 1))
    return _sky(v, out, (0.66, 0.83, 0.97), (0.26, 0.55, 0.93))


# --- time of day in the picture alone (worlds are lit anew in `rerendered`) ----------------------------------------------


def night(v: Views, g: torch.Generator) -> Tensor:
    out = saturated(v.rgb, 0.5) * rgb(0.26, 0.32, 0.55, like=v.rgb) * vary(0.85, 1.15, v.rgb, g)
    return _sky(v, out, (0.06, 0.08, 0.16), (0.02, 0.025, 0.06))


def sunset(v: Views, g: torch.Generator) -> Tensor:
    y = luminance(v.rgb)
    out = contrast(v.rgb, 1.1, 0.4) * (rgb(0.78, 0.56, 0.60, like=v.rgb) + smooth(0.2, 0.8, y) * rgb(0.40, 0.14, -0.22, like=v.rgb))
    return _sky(v, out, (0.97, 0.55, 0.25), (0.50, 0.36, 0.55))


def sunrise(v: Views, g: torch.Generator) -> Tensor:
    y = luminance(v.rgb)
    out = v.rgb * (rgb(0.88, 0.78, 0.86, like=v.rgb) + smooth(0.2, 0.8, y) * rgb(0.24, 0.12, 0.02, like=v.rgb)) + 0.04
    return _sky(v, out, (0.99, 0.78, 0.68), (0.64, 0.72, 0.90))


def noon(v: Views, g: torch.Generator) -> Tensor:
    out = contrast(v.rgb, 1.15, 0.35) * 1.15
    return _sky(v, out, (0.74, 0.86, 0.98), (0.32, 0.54, 0.92))


# --- styles ----------------------------------------------------------------------------------------------------------


def oil(v: Views, g: torch.Generator) -> Tensor:
    return contrast(saturated(kuwahara(v.rgb, 6), 1.5), 1.2)


def watercolor(v: Views, g: torch.Generator) -> Tensor:
    x = kuwahara(blurred(v.rgb, 1), 6)
    return (0.22 + 0.80 * saturated(x, 1.15)) * (1 - 0.35 * edges(x))


def _sketch(v: Views, radius: int) -> Tensor:
    """Colour dodge of a picture with its blurred negative: lines where it changes, white where it does not."""
    y = luminance(v.rgb)
    return (y / blurred(y, radius).clamp(min=0.02)).clamp(0, 1)


def pencil(v: Views, g: torch.Generator) -> Tensor:
    y = luminance(v.rgb)
    return ((_sketch(v, 4) ** 2.2) * (0.72 + 0.28 * smooth(0.1, 0.6, y)) * 0.97).expand(-1, 3, -1, -1)


def charcoal(v: Views, g: torch.Generator) -> Tensor:
    y = luminance(blurred(v.rgb, 1))
    return ((_sketch(v, 6) ** 3) * (0.15 + 0.8 * smooth(0.15, 0.75, y))).expand(-1, 3, -1, -1)


def ink(v: Views, g: torch.Generator) -> Tensor:
    return (smooth(0.80, 0.95, _sketch(v, 3)) * smooth(0.10, 0.25, luminance(v.rgb))).expand(-1, 3, -1, -1) * 0.98


def cartoon(v: Views, g: torch.Generator) -> Tensor:
    x = saturated(kuwahara(v.rgb, 5), 1.6).clamp(0, 1)
    levels = x * 5
    flat = (levels.floor() + smooth(0.35, 0.65, levels - levels.floor())) / 5
    return flat * (1 - 0.9 * edges(v.rgb))


def pop(v: Views, g: torch.Generator) -> Tensor:
    y = luminance(contrast(kuwahara(v.rgb, 3), 1.3))
    return curve(y, [(-1.0, (0.10, 0.05, 0.35)), (0.22, (0.12, 0.06, 0.42)), (0.28, (0.90, 0.08, 0.50)), (0.45, (0.95, 0.12, 0.50)), (0.5, (0.10, 0.72, 0.85)), (0.66, (0.10, 0.75, 0.85)), (0.72, (1.0, 0.88, 0.10)), (2.0, (1.0, 0.92, 0.2))])


def impressionist(v: Views, g: torch.Generator) -> Tensor:
    x = saturated(kuwahara(v.rgb, 5), 1.5)
    y = luminance(x)
    return contrast(x, 1.1) * 0.8 + 0.2 * curve(y, [(-1.0, (0.05, 0.10, 0.40)), (0.2, (0.08, 0.16, 0.52)), (0.5, (0.25, 0.48, 0.75)), (0.8, (0.95, 0.85, 0.40)), (2.0, (1.0, 0.95, 0.6))])


def pastel(v: Views, g: torch.Generator) -> Tensor:
    return 0.42 + 0.56 * saturated(kuwahara(v.rgb, 3), 0.9)


def sepia(v: Views, g: torch.Generator) -> Tensor:
    y = contrast(luminance(v.rgb), 0.85, 0.5)
    return curve(y, [(-1.0, (0.12, 0.07, 0.03)), (0.05, (0.16, 0.10, 0.05)), (0.5, (0.60, 0.46, 0.31)), (0.95, (0.97, 0.90, 0.75)), (2.0, (1.0, 0.95, 0.82))])


def bw(v: Views, g: torch.Generator) -> Tensor:
    return contrast(luminance(v.rgb), 1.2).expand(-1, 3, -1, -1)


def neon(v: Views, g: torch.Generator) -> Tensor:
    y = contrast(luminance(v.rgb), 1.35, 0.45)
    glow = curve(y, [(-1.0, (0.03, 0.01, 0.10)), (0.1, (0.06, 0.02, 0.20)), (0.4, (0.50, 0.06, 0.62)), (0.65, (0.95, 0.22, 0.70)), (0.9, (0.25, 0.92, 0.98)), (2.0, (0.8, 1.0, 1.0))])
    return 0.82 * glow + 0.18 * v.rgb


def blueprint(v: Views, g: torch.Generator) -> Tensor:
    line = torch.maximum(edges(v.rgb), 1 - _sketch(v, 3) ** 3)
    return rgb(0.08, 0.22, 0.55, like=v.rgb) + 0.85 * line * (rgb(0.95, 0.97, 1.0, like=v.rgb) - rgb(0.08, 0.22, 0.55, like=v.rgb))


FILTERS: dict[tuple[str, str], Filter] = {
    **{("adjust", f.__name__): f for f in (brighter, darker, contrast_up, contrast_down, colorful, muted, warmer, cooler, negative)},
    **{("weather", f.__name__): f for f in (fog, snow, rain, storm, sunny, overcast)},
    **{("season", f.__name__): f for f in (spring, summer, autumn)}, ("season", "winter"): snow,
    **{("time", f.__name__): f for f in (night, sunset, sunrise, noon)},
    **{("style", f.__name__): f for f in (oil, watercolor, pencil, charcoal, ink, cartoon, pop, impressionist, pastel, sepia, bw, neon, blueprint)},
}  # fmt: skip
"""Edits of whole pictures by their kind and name."""


def named_color(name: str, like: Tensor, g: torch.Generator) -> Float[Tensor, "1 3 1 1"]:
    """A colour of that name, never quite the same."""
    return (rgb(*COLORS[name], like=like) + 0.03 * torch.randn(1, 3, 1, 1, generator=g, device=like.device)).clamp(0.02, 0.98)
