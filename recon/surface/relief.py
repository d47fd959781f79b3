"""Normal maps: the fine shape of a detailed mesh on one with fewer faces, in tangent space, green upwards (glTF 2.0)."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from kernels.texels import surface
from recon.surface.asset import Asset
from recon.surface.raycast import Raycaster
from recon.surface.texture import fill_gutters
from recon.surface.triangles import Triangles, tangents

LEAST = 0.2
"""Cosine between the two surfaces' normals below which the detailed one is taken for another part, near by."""


def normal_map(asset: Asset, detailed: Triangles) -> UInt8[ndarray, "s s 3"]:
    """For an asset's texture coordinates, the normals of the nearest points of a detailed mesh."""
    side = asset.texture.shape[0]
    positions, normals, uv, faces = asset.split()
    along = tangents(positions, normals, uv, faces)
    texels = surface(positions, normals, faces, uv, faces, side)
    # The same texels with other numbers at the corners.
    leaning = surface(along[:, :3].copy(), normals, faces, uv, faces, side).points
    hand = np.sign(surface(np.repeat(along[:, 3:], 3, axis=1), normals, faces, uv, faces, side).points[:, 0])
    across = texels.normals.astype(np.float64)
    fine = _nearest_normals(detailed, texels.points)
    fine = np.where(((fine * across).sum(1) < LEAST)[:, None], across, fine)
    bitangent = np.cross(across, leaning) * np.where(hand == 0, 1, hand)[:, None]
    frame = np.stack([leaning, bitangent, across], axis=2)
    flat = np.abs(np.linalg.det(frame)) < 1e-9
    frame[flat] = np.eye(3)
    local = np.linalg.solve(frame, fine[..., None])[..., 0]
    local[flat] = [0, 0, 1]
    local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-12)
    colors = np.clip(np.round((local * 0.5 + 0.5) * 255), 0, 255).astype(np.uint8)
    if not len(colors):
        return np.full((side, side, 3), (128, 128, 255), np.uint8)
    return fill_gutters(texels.number, colors, side)


def _nearest_normals(mesh: Triangles, points: Float[ndarray, "p 3"]) -> Float[ndarray, "p 3"]:
    """Interpolated normals of the nearest points of a mesh."""
    near = Raycaster(mesh).nearest(points)
    normals = (mesh.vertex_normals[mesh.faces[near.face]] * near.barycentric[..., None]).sum(1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
