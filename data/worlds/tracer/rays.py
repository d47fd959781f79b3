"""From a pixel to its colour and depth: sphere tracing (Hart 1996), lights, soft shadows, ambient occlusion, gloss."""

import math

import numpy as np
from numba import njit

from data.worlds import layout as L
from data.worlds.tracer.materials import albedo, sky
from data.worlds.tracer.noise import mix
from data.worlds.tracer.shapes import distance, gradient

f = np.float32


@njit
def trace(h, objects, primitives, ox, oy, oz, dx, dy, dz):
    """Distance to the first surface along a unit direction, or -1; its material; the number of the object that it belongs to, from 1 (0: none)."""
    t, material, solid = f(0.02), 0, 0
    for _ in range(160):
        d, material, solid = distance(h, objects, primitives, ox + dx * t, oy + dy * t, oz + dz * t)
        if d < f(0.0003) * t + f(0.0002):
            return t, material, solid
        t += d * h[L.STEP]
        if t > h[L.REACH]:
            return f(-1), 0, 0
    return t, material, solid


@njit
def _shadow(h, objects, primitives, ox, oy, oz, dx, dy, dz, sharpness, reach):
    """How much of a light arrives, 0 to 1, with a penumbra."""
    t, light = f(0.02), f(1)
    for _ in range(40):
        d = distance(h, objects, primitives, ox + dx * t, oy + dy * t, oz + dz * t)[0]
        if d < f(0.0005):
            return f(0)
        light = min(light, sharpness * d / t)
        t += min(max(d * f(0.9), f(0.01)), f(0.5))
        if t > reach:
            break
    return min(max(light, f(0)), f(1))


@njit
def shade(h, objects, primitives, materials, ox, oy, oz, dx, dy, dz, pixel, lit):
    """Linear RGB, distance (0: sky), the number of the object that was hit (0: none), the normal, and the material (255: sky).

    ``pixel`` is a pixel's angle in radians; without ``lit`` the colour is left black.
    """
    t, material, solid = trace(h, objects, primitives, ox, oy, oz, dx, dy, dz)
    if t < f(0):
        r, g, b = sky(h, dx, dy, dz, pixel)
        return r, g, b, f(0), 0, f(0), f(0), f(0), 255
    x, y, z = ox + dx * t, oy + dy * t, oz + dz * t
    e = f(0.0007) * t + f(0.0005)
    nx, ny, nz = gradient(h, objects, primitives, x, y, z, e)
    n = f(1) / math.sqrt(nx * nx + ny * ny + nz * nz + f(1e-12))
    nx, ny, nz = nx * n, ny * n, nz * n
    if not lit:
        return f(0), f(0), f(0), t, solid, nx, ny, nz, material
    m = materials[material]
    ar, ag, ab = albedo(m, x, y, z, pixel * t)
    open_sky = f(1)
    if h[L.OCCLUSION] > f(0):
        missing, weight = f(0), f(1)
        for i in range(1, 5):
            step = f(0.06) * f(i) * h[L.OCCLUSION_RADIUS]
            missing += weight * (step - distance(h, objects, primitives, x + nx * step, y + ny * step, z + nz * step)[0])
            weight *= f(0.7)
        open_sky = min(max(f(1) - h[L.OCCLUSION] * missing / (f(0.06) * h[L.OCCLUSION_RADIUS]), f(0.15)), f(1))
    ambient = (f(0.65) + f(0.35) * nz) * open_sky
    r, g, b = ar * h[L.AMBIENT] * ambient, ag * h[L.AMBIENT + 1] * ambient, ab * h[L.AMBIENT + 2] * ambient
    for i in range(int(h[L.LIGHT_COUNT])):
        at = L.LIGHTS + L.LIGHT_STRIDE * i
        lx, ly, lz, strength, reach = h[at + 1], h[at + 2], h[at + 3], f(1), f(12)
        if int(h[at]) == 1:
            lx, ly, lz = lx - x, ly - y, lz - z
            reach = math.sqrt(lx * lx + ly * ly + lz * lz + f(1e-6))
            lx, ly, lz = lx / reach, ly / reach, lz / reach
            strength = min(f(4) / (f(0.5) + reach * reach), f(2))
        facing = nx * lx + ny * ly + nz * lz
        if facing <= f(0):
            continue
        if h[at + 7] > f(0):
            light = _shadow(h, objects, primitives, x + nx * f(3) * e, y + ny * f(3) * e, z + nz * f(3) * e, lx, ly, lz, h[at + 8], reach)
            strength *= mix(f(1), light, h[at + 7])
        kr, kg, kb = h[at + 4] * strength, h[at + 5] * strength, h[at + 6] * strength
        r, g, b = r + ar * kr * facing, g + ag * kg * facing, b + ab * kb * facing
        if m[L.SPECULAR] > f(0):
            hx, hy, hz = lx - dx, ly - dy, lz - dz
            half = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + f(1e-12))
            glint = math.pow(max(half, f(0)), m[L.SHININESS]) * m[L.SPECULAR]
            r, g, b = r + kr * glint, g + kg * glint, b + kb * glint
    if m[L.MIRROR] > f(0):
        cosine = -(nx * dx + ny * dy + nz * dz)
        graze = f(1) - min(max(cosine, f(0)), f(1))
        fresnel = m[L.MIRROR] * (f(0.3) + f(0.7) * graze * graze * graze)
        sr, sg, sb = sky(h, dx + f(2) * cosine * nx, dy + f(2) * cosine * ny, dz + f(2) * cosine * nz, f(0.05))
        r, g, b = mix(r, sr, fresnel), mix(g, sg, fresnel), mix(b, sb, fresnel)
    return r, g, b, t, solid, nx, ny, nz, material


@njit
def develop(value, exposure, gamma):
    """Linear light -> what the camera stores, 0 to 1."""
    return math.pow(min(max(value * exposure, f(0)), f(1)), gamma)


@njit
def pixel_color(h, objects, primitives, materials, camera, column, row, samples):
    """Colour (0 to 1), distance, object number, normal and material of a pixel; ``samples`` x ``samples`` rays for the colour."""
    ox, oy, oz = camera[L.CAMERA_CENTRE], camera[L.CAMERA_CENTRE + 1], camera[L.CAMERA_CENTRE + 2]
    angle = f(1) / (camera[L.CAMERA_FX] * f(samples))
    red, green, blue = f(0), f(0), f(0)
    depth, solid, nx, ny, nz, material = f(0), 0, f(0), f(0), f(0), 255
    # The last round goes through the pixel's centre: depth and normal must not be averages.
    for i in range(samples * samples + (1 if samples > 1 else 0)):
        central = i == samples * samples or samples == 1
        u, v = f(column) + f(0.5), f(row) + f(0.5)
        if not central:
            u, v = f(column) + (f(i % samples) + f(0.5)) / f(samples), f(row) + (f(i // samples) + f(0.5)) / f(samples)
        x, y = (u - camera[L.CAMERA_CX]) / camera[L.CAMERA_FX], (v - camera[L.CAMERA_CY]) / camera[L.CAMERA_FY]
        n = f(1) / math.sqrt(x * x + y * y + f(1))
        x, y, z = x * n, y * n, n
        dx = camera[0] * x + camera[1] * y + camera[2] * z
        dy = camera[3] * x + camera[4] * y + camera[5] * z
        dz = camera[6] * x + camera[7] * y + camera[8] * z
        lit = samples == 1 or not central
        r, g, b, depth, solid, nx, ny, nz, material = shade(h, objects, primitives, materials, ox, oy, oz, dx, dy, dz, angle, lit)
        if lit:
            red += develop(r, h[L.EXPOSURE], h[L.GAMMA])
            green += develop(g, h[L.EXPOSURE], h[L.GAMMA])
            blue += develop(b, h[L.EXPOSURE], h[L.GAMMA])
    k = f(1) / f(samples * samples)
    return red * k, green * k, blue * k, depth, solid, nx, ny, nz, material
