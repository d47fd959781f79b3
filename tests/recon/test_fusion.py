"""Fusion region by region, backdrops, solids: known shapes come back, however memory is cut."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from data.readers import read_scene
from recon.depthmaps import DepthMaps
from recon.surface import fusion
from recon.surface.backdrop import hull, shell
from recon.surface.blocks import packed, regions, unpacked, with_neighbours
from recon.surface.cleaning import without_small_pieces
from recon.surface.depth import trusted
from recon.surface.formats.stl import stl
from recon.surface.fusion import fuse
from recon.surface.repair import boundary_loops, open_rims
from recon.surface.solid import is_volume, remeshed, solid, welded
from recon.surface.triangles import Triangles
from tests.conftest import ring_of_cameras, sphere_picture, write_sphere_scene


@pytest.fixture(scope="module")
def maps() -> DepthMaps:
    cameras = ring_of_cameras(10, 96)
    return DepthMaps(cameras, [sphere_picture(cameras, i)[2] for i in range(10)])


def test_block_numbers_turn_back() -> None:
    blocks = np.random.default_rng(0).integers(-1000, 1000, (200, 3))
    np.testing.assert_array_equal(unpacked(packed(blocks)), blocks)


def test_regions_are_small_and_together_everything() -> None:
    blocks = np.unique(np.random.default_rng(0).integers(0, 30, (3000, 3)), axis=0)
    parts = list(regions(blocks, 100))
    assert max(p.sum() for p in parts) <= 100
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    rows = with_neighbours(blocks, parts[0])
    np.testing.assert_array_equal(rows[: parts[0].sum()], np.flatnonzero(parts[0]))
    assert len(np.unique(rows)) == len(rows)


def test_in_regions_the_same_surface_comes_out(maps: DepthMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no seam: as many open rims as at once, and never more blocks in memory than were allowed, and their neighbours."""
    at_once = fuse(maps, 0.03)
    held = []
    inner = fusion.integrate

    def counted(blocks: np.ndarray, *rest: object) -> None:
        held.append(len(blocks))
        inner(blocks, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fusion, "integrate", counted)
    cut = fuse(maps, 0.03, most_blocks=8)
    assert max(held) <= 8 * 27
    assert min(held) >= 8 / 2 / 27
    assert abs(len(cut.faces) - len(at_once.faces)) < 0.01 * len(at_once.faces)
    assert len(boundary_loops(cut)) <= len(boundary_loops(at_once)) + 1
    assert cut.face_areas.sum() == pytest.approx(at_once.face_areas.sum(), rel=0.01)


def test_regions_are_decimated_where_there_are_too_many_faces(maps: DepthMaps) -> None:
    few = fuse(maps, 0.03, most_blocks=40, most_faces=4000)
    assert len(few.faces) < 7000
    assert np.median(np.abs(np.linalg.norm(few.vertices, axis=1) - 1)) < 0.01


def test_what_many_see_through_gets_no_weight(maps: DepthMaps) -> None:
    wrong = DepthMaps(maps.cameras, [np.where(d > 0, 0.6 * d, 0).astype(np.float32) if i == 4 else d for i, d in enumerate(maps.depth)])
    weights = trusted(wrong, tolerance=0.02)
    assert (weights[4] > 0.5).mean() < 0.02
    assert (weights[0] > 0.5).sum() > 0.7 * (maps.depth[0] > 0).sum()


def test_a_lone_depth_counts_a_little(maps: DepthMaps) -> None:
    lone = DepthMaps(maps.cameras, [d if i == 0 else np.zeros_like(d) for i, d in enumerate(maps.depth)])
    weights = trusted(lone)
    assert 0 < weights[0].max() < 0.2


def test_thin_things_stay() -> None:
    """A rod of three voxels, before a wall, in all views."""
    cameras = ring_of_cameras(12, 160)
    rod = trimesh.creation.cylinder(radius=0.05, height=1.6)
    mesh = Triangles(np.asarray(rod.subdivide().vertices), np.asarray(rod.subdivide().faces))
    from kernels.realtime import rasterize

    depth = []
    for i in range(12):
        p = cameras.projections[i]
        seen = rasterize(mesh.vertices @ p[:, :3].T + p[:, 3], mesh.faces, (160, 160)).depth
        depth.append(np.where(np.isfinite(seen), seen, 6.0).astype(np.float32))  # something far behind
    maps = DepthMaps(cameras, depth)
    out = fuse(maps, 0.035, trusted(maps, tolerance=0.02))
    on_rod = np.linalg.norm(out.vertices[:, :2], axis=1) < 0.2
    heights = np.histogram(out.vertices[on_rod][:, 2], bins=16, range=(-0.7, 0.7))[0]
    assert (heights > 0).all()


def test_a_confirmed_small_piece_stays_and_a_speck_goes() -> None:
    parts = [trimesh.creation.icosphere(radius=r) for r in (1.0, 0.1, 0.001)]
    for part, x in zip(parts, (0, 3, 5), strict=True):
        part.apply_translation([x, 0, 0])
    whole = trimesh.util.concatenate(parts)
    mesh = Triangles(np.asarray(whole.vertices), np.asarray(whole.faces))
    assert np.ptp(without_small_pieces(mesh, 0.03).vertices[:, 0]) < 2.1
    kept = without_small_pieces(mesh, 0.03, np.ones(len(mesh.vertices), bool))
    assert 3.05 < kept.vertices[:, 0].max() < 3.2


def test_the_hull_of_a_sphere(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("hull")
    write_sphere_scene(folder / "in", views=12, size=128)
    from dataclasses import replace

    mesh = hull(replace(read_scene(folder / "in"), mask_meaning="object"), resolution=64)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.percentile(radius, 2) > 0.96  # it holds the sphere
    assert np.median(radius) < 1.15
    assert ((mesh.vertex_normals * mesh.vertices).sum(1) > 0).mean() > 0.97


def test_a_shell_is_seen_from_within_everywhere() -> None:
    from kernels.realtime import rasterize

    cameras = ring_of_cameras(6, 64)
    points = 9 * np.random.default_rng(0).normal(size=(2000, 3))
    points *= 20 / np.linalg.norm(points, axis=1, keepdims=True)
    small = trimesh.creation.icosphere(radius=0.5)
    around = shell(Triangles(np.asarray(small.vertices), np.asarray(small.faces)), cameras, points)
    for i in range(6):
        p = cameras.projections[i]
        raster = rasterize(around.vertices @ p[:, :3].T + p[:, 3], around.faces, (64, 64))
        assert (raster.face >= 0).mean() > 0.99
        assert 15 < np.median(raster.depth[raster.face >= 0]) < 25


def test_a_ball_without_a_bottom_becomes_a_solid() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    keep = ball.triangles_center[:, 2] > -0.7
    closed = solid(Triangles(np.asarray(ball.vertices), np.asarray(ball.faces)[keep]), 20_000, depth=6)
    assert is_volume(closed)
    assert trimesh.Trimesh(closed.vertices, closed.faces).volume == pytest.approx(ball.volume, rel=0.12)
    again = remeshed(closed, 32)
    assert trimesh.Trimesh(again.vertices, again.faces).volume == pytest.approx(ball.volume, rel=0.15)


def test_a_solid_stays_closed_when_a_reader_joins_near_vertices() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = np.asarray(ball.vertices, np.float64), np.asarray(ball.faces, np.int64)
    a, b = faces[0][:2]
    between = len(vertices)  # one edge's two faces are split at a vertex that lies as good as on its end
    vertices = np.vstack([vertices, vertices[a] + 1e-9 * (vertices[b] - vertices[a])])
    split = []
    for face in faces:
        if {a, b} <= set(face):
            split += [np.where(face == a, between, face), np.where(face == b, between, face)]
        else:
            split.append(face)
    mesh = Triangles(vertices, np.array(split))
    assert is_volume(mesh)
    closed = welded(mesh)
    loaded = trimesh.load(io.BytesIO(stl(closed.vertices, closed.faces)), file_type="stl")
    loaded.merge_vertices()
    assert loaded.is_volume
    assert len(loaded.vertices) == between
    crushed = trimesh.load(io.BytesIO(stl(mesh.vertices, mesh.faces)), file_type="stl")
    crushed.merge_vertices()
    assert not crushed.is_volume  # what the weld is for


def test_open_rims_are_told() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    keep = (ball.triangles_center[:, 2] < 0.9) & (ball.triangles_center[:, 0] < 0.98)
    rims = open_rims(Triangles(np.asarray(ball.vertices), np.asarray(ball.faces)[keep]))
    assert len(rims) == 2
    assert rims[0]["length"] == pytest.approx(2 * np.pi * np.sqrt(1 - 0.9**2), rel=0.4)  # along the triangles
    np.testing.assert_allclose(rims[0]["centre"], [0, 0, 0.9], atol=0.05)
    assert open_rims(Triangles(np.asarray(ball.vertices), np.asarray(ball.faces))) == []


def test_a_room_is_fused_where_one_piece_would_not_fit() -> None:
    """In a process with a limit of memory: region by region it succeeds, in one go it cannot."""
    root = Path(__file__).resolve().parents[2]
    for most, fits in ((512, True), (10**9, False)):
        done = subprocess.run([sys.executable, "-c", LIMITED, str(most)], capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
        assert ("fused" in done.stdout) == fits, done.stdout[-500:] + done.stderr[-1500:]


LIMITED = """
import resource, sys
from benchmarks.room import room
from recon.surface.fusion import fuse
small = fuse(room(1.0, 1.0, 4, (80, 60)), 0.05)  # everything is compiled and loaded
maps = room(8.0, 3.0, 16, (320, 240))
used = int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmData'))) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (900 << 20), used + (900 << 20)))
mesh = fuse(maps, 0.02, most_blocks=int(sys.argv[1]), most_faces=300_000)
print('fused', len(mesh.faces))
"""
