"""What decimation leaves: a normal map of the shape that was lost, quads that follow the shape."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from recon.surface.asset import Asset
from recon.surface.cleaning import decimated
from recon.surface.quads import as_triangles, remeshed
from recon.surface.relief import normal_map
from recon.surface.triangles import Triangles
from recon.surface.unwrapping import Unwrapper
from tests.conftest import drain


def bumpy(subdivisions: int) -> Triangles:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    v = np.asarray(ball.vertices, np.float64)
    return Triangles(v * (1 + 0.02 * np.sin(9 * v[:, :1]) * np.sin(8 * v[:, 1:2] + 1)), np.asarray(ball.faces, np.int64))


def test_a_normal_map_gives_back_the_shape_that_was_lost(tmp_path: Path) -> None:
    """Read from the file, with the tangents that are in it, as any reader would."""
    fine = bumpy(5)
    coarse = decimated(fine, 700)
    with Unwrapper() as child:
        atlas = drain(child.unwrap(coarse, 512))
    asset = Asset(coarse, atlas.uv, atlas.faces, np.full((512, 512, 3), 128, np.uint8))
    asset = replace(asset, relief=normal_map(asset, fine))
    asset.write(tmp_path / "mesh.glb")
    content = (tmp_path / "mesh.glb").read_bytes()
    length = int.from_bytes(content[12:16], "little")
    head, body = json.loads(content[20 : 20 + length]), content[28 + length :]

    def read(name: str, width: int) -> np.ndarray:
        view = head["bufferViews"][head["accessors"][head["meshes"][0]["primitives"][0]["attributes"][name]]["bufferView"]]
        return np.frombuffer(body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], "<f4").reshape(-1, width).astype(np.float64)

    place, across, along, uv = read("POSITION", 3), read("NORMAL", 3), read("TANGENT", 4), read("TEXCOORD_0", 2)
    picture = head["bufferViews"][head["images"][1]["bufferView"]]
    relief = np.asarray(Image.open(io.BytesIO(body[picture["byteOffset"] : picture["byteOffset"] + picture["byteLength"]])))
    view = head["bufferViews"][head["accessors"][head["meshes"][0]["primitives"][0]["indices"]]["bufferView"]]
    corners = np.frombuffer(body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], "<u4").reshape(-1, 3)
    middle = [array[corners].mean(1) for array in (place, across, along, uv)]
    n, t = middle[1], middle[2][:, :3]
    b = np.cross(n, t) * np.sign(middle[2][:, 3:])
    at = (middle[3] * 512).astype(int)
    local = relief[at[:, 1], at[:, 0]] / 255 * 2 - 1
    mapped = local[:, :1] * t + local[:, 1:2] * b + local[:, 2:] * n
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    z_up = np.stack([middle[0][:, 0], -middle[0][:, 2], middle[0][:, 1]], axis=1)
    near = np.linalg.norm(fine.vertices[None] - z_up[:, None], axis=2).argmin(1)
    truth = fine.vertex_normals[near]
    truth = np.stack([truth[:, 0], truth[:, 2], -truth[:, 1]], axis=1)
    off = [np.degrees(np.arccos(np.clip((v / np.linalg.norm(v, axis=1, keepdims=True) * truth).sum(1), -1, 1))).mean() for v in (n, mapped)]
    assert off[1] < 0.6 * off[0]
    assert off[1] < 4
    assert (np.abs(np.linalg.norm(along[:, :3], axis=1) - 1) < 1e-5).all()


def test_quads_follow_the_shape_and_survive_in_obj(tmp_path: Path) -> None:
    ball = bumpy(5)
    mesh, pairs = remeshed(ball, 2000)
    assert 1000 < pairs < 4000
    assert len(mesh.faces) - 2 * pairs < 20
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.05
    with Unwrapper() as child:
        atlas = drain(child.unwrap(mesh, 256))
    Asset(mesh, atlas.uv, atlas.faces, np.full((256, 256, 3), 90, np.uint8), pairs=pairs).write(tmp_path / "mesh.obj")
    faces = [line.split()[1:] for line in (tmp_path / "mesh.obj").read_text().splitlines() if line.startswith("f ")]
    four = [f for f in faces if len(f) == 4]
    assert len(four) > 0.8 * pairs
    assert 2 * len(four) + (len(faces) - len(four)) == len(mesh.faces)
    # A quad that has collapsed to a triangle stays one, to a line goes.
    square, count = as_triangles(np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2, 3], [0, 1, 1, 2], [0, 1, 1, 0]]))
    assert (count, len(square.faces)) == (1, 3)
