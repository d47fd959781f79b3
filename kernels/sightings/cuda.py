"""Triton: a program takes a block of samples and one view (or all views in turn); nothing per view is stored but the tokens."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from kernels.sightings.sighted import TOKEN_PADDING, CoarseWeights, Maps

ROW = tl.constexpr(20)


@triton.jit
def _offset(T, px, py, pz):
    return px - tl.load(T + 9), py - tl.load(T + 10), pz - tl.load(T + 11)


@triton.jit
def _projected(T, ox, oy, oz):
    """Camera coordinates, pixel, and whether the point is in front of the view and inside its picture."""
    lx = ox * tl.load(T + 0) + oy * tl.load(T + 3) + oz * tl.load(T + 6)
    ly = ox * tl.load(T + 1) + oy * tl.load(T + 4) + oz * tl.load(T + 7)
    lz = ox * tl.load(T + 2) + oy * tl.load(T + 5) + oz * tl.load(T + 8)
    safe = tl.maximum(lz, 1e-6)
    u = lx / safe * tl.load(T + 12) + ly / safe * tl.load(T + 13) + tl.load(T + 14)
    v = ly / safe * tl.load(T + 15) + tl.load(T + 16)
    seen = (lz > 1e-6) & (u > 0) & (u < tl.load(T + 17)) & (v > 0) & (v < tl.load(T + 18)) & (tl.load(T + 19) > 0)
    return lx, ly, lz, u, v, seen


@triton.jit
def _units(TABLE, POINTS, UNIT, rows, V, reach, BL: tl.constexpr):
    """Local unit of length of every sample."""
    i = tl.program_id(0) * BL + tl.arange(0, BL)
    live = i < rows
    px = tl.load(POINTS + i * 3, mask=live, other=0.0)
    py = tl.load(POINTS + i * 3 + 1, mask=live, other=0.0)
    pz = tl.load(POINTS + i * 3 + 2, mask=live, other=0.0)
    total = tl.zeros((BL,), tl.float32)
    seen_total = tl.zeros((BL,), tl.float32)
    count = tl.zeros((BL,), tl.float32)
    for v in range(V):
        T = TABLE + v * ROW
        ox, oy, oz = _offset(T, px, py, pz)
        away = tl.sqrt(ox * ox + oy * oy + oz * oz)
        _, _, _, _, _, seen = _projected(T, ox, oy, oz)
        total += away
        seen_total += tl.where(seen, away, 0.0)
        count += tl.where(seen, 1.0, 0.0)
    unit = reach * tl.where(count > 0, seen_total / tl.maximum(count, 1.0), total / V)
    tl.store(UNIT + i, tl.maximum(unit, 1e-9), mask=live)


@triton.jit
def _seen_by(T, SURFACE, px, py, pz, tx, ty, tz, unit, reach, width, height, w2, h2, live):
    """The cues of one view at a block of samples; see `recon.general.sources.look`."""
    ox, oy, oz = _offset(T, px, py, pz)
    lx, ly, lz, u, v, seen = _projected(T, ox, oy, oz)
    iu = tl.minimum(tl.maximum(u, 0.5), tl.load(T + 17) - 0.5)
    iv = tl.minimum(tl.maximum(v, 0.5), tl.load(T + 18) - 0.5)
    stepx = width / w2
    stepy = height / h2
    cx = tl.floor(iu / stepx)
    cy = tl.floor(iv / stepy)
    jx = tl.minimum(tl.maximum(cx, 0.0), w2 - 1.0).to(tl.int32)
    jy = tl.minimum(tl.maximum(cy, 0.0), h2 - 1.0).to(tl.int32)
    at = SURFACE + (jy * w2 + jx) * 6
    sw = tl.load(at, mask=live, other=0.0)
    sx = tl.load(at + 1, mask=live, other=0.0)
    sy = tl.load(at + 2, mask=live, other=0.0)
    c0 = tl.load(at + 3, mask=live, other=0.0)
    c1 = tl.load(at + 4, mask=live, other=0.0)
    c2 = tl.load(at + 5, mask=live, other=0.0)
    inverse = sw + sx * (iu - (cx + 0.5) * stepx) + sy * (iv - (cy + 0.5) * stepy)
    ahead = 1 - lz * inverse
    nx = tl.load(T + 12) * sx
    ny = tl.load(T + 15) * sy
    nz = inverse - sx * (u - tl.load(T + 14)) - sy * (v - tl.load(T + 16))
    norm = tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), 1e-9)
    away = tl.maximum(tl.sqrt(ox * ox + oy * oy + oz * oz), 1e-9)
    distance = ahead / norm / unit
    far = tl.maximum(tl.sqrt(tx * tx + ty * ty + tz * tz), 1e-9)
    dot = (ox * tx + oy * ty + oz * tz) / (away * far)
    ratio = tl.minimum(tl.maximum(tl.log(away / far), -2.0), 2.0)
    incidence = tl.abs(nx * lx + ny * ly + nz * lz) / (norm * away)
    q0 = tl.minimum(tl.maximum(distance, -2.0), 2.0)
    q1 = tl.minimum(tl.maximum(distance * 6, -2.0), 2.0)
    q2 = tl.minimum(tl.maximum(ahead / reach / 6, -2.0), 2.0)
    return iu, iv, seen, q0, q1, q2, c0, c1, c2, tl.minimum(1 - dot, 0.5) * 4, ratio, incidence


@triton.jit
def _sample(POINTS, ORIGINS, UNIT, i, live, S):
    ray = i // S
    px = tl.load(POINTS + i * 3, mask=live, other=0.0)
    py = tl.load(POINTS + i * 3 + 1, mask=live, other=0.0)
    pz = tl.load(POINTS + i * 3 + 2, mask=live, other=0.0)
    tx = px - tl.load(ORIGINS + ray * 3, mask=live, other=0.0)
    ty = py - tl.load(ORIGINS + ray * 3 + 1, mask=live, other=0.0)
    tz = pz - tl.load(ORIGINS + ray * 3 + 2, mask=live, other=0.0)
    return px, py, pz, tx, ty, tz, tl.load(UNIT + i, mask=live, other=1.0)


@triton.jit
def _bilinear(MAP, u, v, width, height, w, h, live, C: tl.constexpr):
    """Channels-last map at photo pixels."""
    x = tl.minimum(tl.maximum(u / width * w - 0.5, 0.0), w - 1.0)
    y = tl.minimum(tl.maximum(v / height * h - 0.5, 0.0), h - 1.0)
    x0 = tl.floor(x)
    y0 = tl.floor(y)
    fx = (x - x0)[:, None]
    fy = (y - y0)[:, None]
    i = (y0.to(tl.int32) * w + x0.to(tl.int32))[:, None]
    dx = tl.where(x0 + 1 < w, 1, 0)[:, None]
    dy = (tl.where(y0 + 1 < h, 1, 0) * w)[:, None]
    c = tl.arange(0, C)[None, :]
    m = live[:, None]
    a = tl.load(MAP + i * C + c, mask=m, other=0.0).to(tl.float32) * ((1 - fx) * (1 - fy))
    a += tl.load(MAP + (i + dx) * C + c, mask=m, other=0.0).to(tl.float32) * (fx * (1 - fy))
    a += tl.load(MAP + (i + dy) * C + c, mask=m, other=0.0).to(tl.float32) * ((1 - fx) * fy)
    a += tl.load(MAP + (i + dx + dy) * C + c, mask=m, other=0.0).to(tl.float32) * (fx * fy)
    return a


@triton.jit
def _plane(IMAGE, at, dx, dy, fx, fy, live):
    a = tl.load(IMAGE + at, mask=live, other=0.0) * ((1 - fx) * (1 - fy)) + tl.load(IMAGE + at + dx, mask=live, other=0.0) * (fx * (1 - fy))
    return a + tl.load(IMAGE + at + dy, mask=live, other=0.0) * ((1 - fx) * fy) + tl.load(IMAGE + at + dx + dy, mask=live, other=0.0) * (fx * fy)


@triton.jit
def _gather(
    TABLE, IMAGES, QUARTER, HALF, SURFACE, POINTS, ORIGINS, UNIT, TOKENS, PHOTO, SEEN, DISTANCE, rows, S, V, reach,
    width, height, w4, h4, w2, h2, C4: tl.constexpr, C2: tl.constexpr, TOKEN: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0) * BL + tl.arange(0, BL)
    view = tl.program_id(1)
    live = i < rows
    px, py, pz, tx, ty, tz, unit = _sample(POINTS, ORIGINS, UNIT, i, live, S)
    T = TABLE + view * ROW
    v64 = view.to(tl.int64)
    u, v, seen, q0, q1, q2, c0, c1, c2, turn, ratio, incidence = _seen_by(
        T, SURFACE + v64 * (w2 * h2 * 6), px, py, pz, tx, ty, tz, unit, reach, width, height, w2, h2, live
    )
    row = i.to(tl.int64) * V + view
    token = TOKENS + (row * TOKEN)[:, None]
    m = live[:, None]
    quarter = _bilinear(QUARTER + v64 * (w4 * h4 * C4), u, v, width, height, w4, h4, live, C4)
    tl.store(token + tl.arange(0, C4)[None, :], quarter, mask=m)
    half = _bilinear(HALF + v64 * (w2 * h2 * C2), u, v, width, height, w2, h2, live, C2)
    tl.store(token + C4 + tl.arange(0, C2)[None, :], half, mask=m)

    x = tl.minimum(tl.maximum(u - 0.5, 0.0), width - 1.0)
    y = tl.minimum(tl.maximum(v - 0.5, 0.0), height - 1.0)
    x0 = tl.floor(x)
    y0 = tl.floor(y)
    at = y0.to(tl.int32) * width + x0.to(tl.int32)
    dx = tl.where(x0 + 1 < width, 1, 0)
    dy = tl.where(y0 + 1 < height, width, 0)
    image = IMAGES + v64 * (3 * width * height)
    red = _plane(image, at, dx, dy, x - x0, y - y0, live)
    green = _plane(image + width * height, at, dx, dy, x - x0, y - y0, live)
    blue = _plane(image + 2 * width * height, at, dx, dy, x - x0, y - y0, live)
    tl.store(PHOTO + row * 3, red, mask=live)
    tl.store(PHOTO + row * 3 + 1, green, mask=live)
    tl.store(PHOTO + row * 3 + 2, blue, mask=live)

    REST: tl.constexpr = TOKEN - C4 - C2
    c = tl.arange(0, REST)[None, :]
    visible = tl.where(seen, 1.0, 0.0)
    rest = tl.where(c == 0, red[:, None], 0.0) + tl.where(c == 1, green[:, None], 0.0) + tl.where(c == 2, blue[:, None], 0.0)
    rest += tl.where(c == 3, q0[:, None], 0.0) + tl.where(c == 4, q1[:, None], 0.0) + tl.where(c == 5, q2[:, None], 0.0)
    rest += tl.where(c == 6, c0[:, None], 0.0) + tl.where(c == 7, c1[:, None], 0.0) + tl.where(c == 8, c2[:, None], 0.0)
    rest += tl.where(c == 9, turn[:, None], 0.0) + tl.where(c == 10, ratio[:, None], 0.0) + tl.where(c == 11, incidence[:, None], 0.0)
    rest += tl.where(c == 12, visible[:, None], 0.0)
    tl.store(token + C4 + C2 + c, rest, mask=m)
    tl.store(DISTANCE + row, q0, mask=live)
    tl.store(SEEN + row, seen.to(tl.uint8), mask=live)


@triton.jit
def _pool(
    TABLE, SURFACE, POINTS, ORIGINS, UNIT, VIEW1, BIAS1, VIEW2, BIAS2, SCORE, score_bias, MIX, MIX_BIAS, OUT, BASE, rows, S, V, reach,
    width, height, w2, h2, C: tl.constexpr, M: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """Cues of all views through the view layers, pooled in one pass (a running softmax), and mixed."""
    i = tl.program_id(0) * BL + tl.arange(0, BL)
    live = i < rows
    px, py, pz, tx, ty, tz, unit = _sample(POINTS, ORIGINS, UNIT, i, live, S)
    c = tl.arange(0, C)
    column = c[None, :]
    second = tl.load(VIEW2 + c[:, None] * C + column).to(tl.bfloat16)
    score_weight = tl.load(SCORE + column)
    top = tl.full((BL,), -1e30, tl.float32)
    mass = tl.zeros((BL,), tl.float32)
    base = tl.zeros((BL,), tl.float32)
    share = tl.zeros((BL,), tl.float32)
    pooled = tl.zeros((BL, C), tl.float32)
    peak = tl.zeros((BL, C), tl.float32)
    for view in range(V):
        T = TABLE + view * ROW
        _, _, seen, q0, q1, q2, c0, c1, c2, turn, ratio, incidence = _seen_by(
            T, SURFACE + view.to(tl.int64) * (w2 * h2 * 6), px, py, pz, tx, ty, tz, unit, reach, width, height, w2, h2, live
        )
        visible = tl.where(seen, 1.0, 0.0)
        x = tl.load(BIAS1 + column) + q0[:, None] * tl.load(VIEW1 + column) + q1[:, None] * tl.load(VIEW1 + C + column)
        x += q2[:, None] * tl.load(VIEW1 + 2 * C + column) + c0[:, None] * tl.load(VIEW1 + 3 * C + column)
        x += c1[:, None] * tl.load(VIEW1 + 4 * C + column) + c2[:, None] * tl.load(VIEW1 + 5 * C + column)
        x += turn[:, None] * tl.load(VIEW1 + 6 * C + column) + ratio[:, None] * tl.load(VIEW1 + 7 * C + column)
        x += incidence[:, None] * tl.load(VIEW1 + 8 * C + column) + visible[:, None] * tl.load(VIEW1 + 9 * C + column)
        x = tl.maximum(x, 0.0)
        score = tl.sum(x * score_weight, 1) + score_bias - 1e4 * (1 - visible)
        y = tl.maximum(tl.dot(x.to(tl.bfloat16), second) + tl.load(BIAS2 + column), 0.0)
        higher = tl.maximum(top, score)
        keep = tl.exp(top - higher)
        weight = tl.exp(score - higher)
        mass = mass * keep + weight
        base = base * keep + weight * q0
        pooled = pooled * keep[:, None] + weight[:, None] * y
        peak = tl.maximum(peak, y * visible[:, None])
        share += visible
        top = higher
    base = base / mass
    pooled = pooled / mass[:, None]
    m = tl.arange(0, M)[None, :]
    first = tl.load(MIX + c[:, None] * M + m).to(tl.bfloat16)
    other = tl.load(MIX + (C + c[:, None]) * M + m).to(tl.bfloat16)
    y = tl.dot(pooled.to(tl.bfloat16), first) + tl.dot(peak.to(tl.bfloat16), other) + tl.load(MIX_BIAS + m)
    y += (share / V)[:, None] * tl.load(MIX + 2 * C * M + m) + base[:, None] * tl.load(MIX + (2 * C + 1) * M + m)
    tl.store(OUT + i.to(tl.int64)[:, None] * M + m, tl.maximum(y, 0.0), mask=live[:, None])
    tl.store(BASE + i, base, mask=live)


@triton.jit
def _along(X, WEIGHT, BIAS, OUT, LEAVE, leave_bias, BASE, S, M: tl.constexpr, SP: tl.constexpr, LAST: tl.constexpr):
    """x + relu(convolution of five samples along the ray); the last layer also leaves: one number a sample, plus the base."""
    ray = tl.program_id(0).to(tl.int64)
    s = tl.arange(0, SP)
    m = tl.arange(0, M)
    total = tl.zeros((SP, M), tl.float32)
    for k in tl.static_range(5):
        j = s + k - 2
        x = tl.load(X + (ray * S + j)[:, None] * M + m[None, :], mask=((j >= 0) & (j < S))[:, None], other=0.0)
        total += tl.dot(x, tl.load(WEIGHT + (k * M + m)[:, None] * M + m[None, :]))
    live = s < S
    at = (ray * S + s)[:, None] * M + m[None, :]
    y = tl.load(X + at, mask=live[:, None], other=0.0).to(tl.float32) + tl.maximum(total + tl.load(BIAS + m)[None, :], 0.0)
    if LAST:
        signed = tl.sum(y * tl.load(LEAVE + m)[None, :], 1) + leave_bias + tl.load(BASE + ray * S + s, mask=live, other=0.0)
        tl.store(OUT + ray * S + s, signed, mask=live)
    else:
        tl.store(OUT + at, y, mask=live[:, None])


def _unit(maps: Maps, points: Tensor, reach: float) -> Tensor:
    rows = points.shape[0] * points.shape[1]
    unit = torch.empty(points.shape[:2], device=points.device)
    _units[(triton.cdiv(rows, 256),)](maps.table, points, unit, rows, len(maps.table), reach, 256)
    return unit


def gather(maps: Maps, points: Tensor, origins: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `sighted.gather`; tokens are bfloat16."""
    points, origins = points.float().contiguous(), origins.float().contiguous()
    n, s = points.shape[:2]
    views, _, height, width = maps.images.shape
    (h4, w4, c4), (h2, w2, c2) = maps.quarter.shape[1:], maps.half.shape[1:]
    token = -(-(c4 + c2 + 13) // TOKEN_PADDING) * TOKEN_PADDING
    unit = _unit(maps, points, reach)
    tokens = torch.empty(n, s, views, token, device=points.device, dtype=torch.bfloat16)
    photo = torch.empty(n, s, views, 3, device=points.device)
    seen = torch.empty(n, s, views, device=points.device, dtype=torch.bool)
    distance = torch.empty(n, s, views, device=points.device)
    block = 32
    _gather[(triton.cdiv(n * s, block), views)](
        maps.table, maps.images.float().contiguous(), maps.quarter.contiguous(), maps.half.contiguous(), maps.surface.float().contiguous(),
        points, origins, unit, tokens, photo, seen.view(torch.uint8), distance, n * s, s, views, reach,
        width, height, w4, h4, w2, h2, c4, c2, token, block, num_warps=4,
    )  # fmt: skip
    return tokens, photo, seen, distance, unit


def coarse(maps: Maps, weights: CoarseWeights, points: Tensor, origins: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """See `sighted.coarse`."""
    points, origins = points.float().contiguous(), origins.float().contiguous()
    n, s = points.shape[:2]
    rows, c, m = n * s, len(weights.bias1), 32
    height, width = maps.images.shape[-2:]
    h2, w2 = maps.surface.shape[1:3]
    unit = _unit(maps, points, reach)
    wide = m - len(weights.mix_bias)
    mixed = torch.empty(rows, m, device=points.device, dtype=torch.bfloat16)
    base = torch.empty(rows, device=points.device)
    block = 128
    _pool[(triton.cdiv(rows, block),)](
        maps.table, maps.surface.float().contiguous(), points, origins, unit, weights.view1.T.contiguous(), weights.bias1.contiguous(),
        weights.view2[:-1].T.contiguous(), weights.bias2[:-1].contiguous(), weights.view2[-1].contiguous(), float(weights.bias2[-1]),
        F.pad(weights.mix.T, (0, wide)).contiguous(), F.pad(weights.mix_bias, (0, wide)).contiguous(), mixed, base, rows, s,
        len(maps.table), reach, width, height, w2, h2, c, m, block, num_warps=4,
    )  # fmt: skip
    # [layer, tap, in, out]
    taps = F.pad(weights.along.permute(0, 3, 2, 1), (0, wide, 0, wide)).to(torch.bfloat16).contiguous()
    bias, leave = F.pad(weights.along_bias, (0, wide)).contiguous(), F.pad(weights.leave, (0, wide)).contiguous()
    out, signed = torch.empty_like(mixed), torch.empty(n, s, device=points.device)
    padded, leave_bias = max(triton.next_power_of_2(s), 16), float(weights.leave_bias)
    _along[(n,)](mixed, taps[0], bias[0], out, leave, leave_bias, base, s, m, padded, False, num_warps=2)
    _along[(n,)](out, taps[1], bias[1], signed, leave, leave_bias, base, s, m, padded, True, num_warps=2)
    return signed, unit
