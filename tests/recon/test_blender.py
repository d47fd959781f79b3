"""A mesh opened in Blender itself, where Blender's Python module is at hand.

`bpy` needs an older NumPy than ours, so it lives in an environment of its own; LUMIGRAPH_BLENDER_PYTHON names its
interpreter (`python -m venv blender && blender/bin/pip install bpy`).
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from recon.surface.asset import Asset
from recon.surface.triangles import Triangles

_SCRIPT = """
import bpy, json, sys
import mathutils
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=sys.argv[1])
mesh = next(o for o in bpy.data.objects if o.type == 'MESH')
points = [mesh.matrix_world @ v.co for v in mesh.data.vertices]
picture = next(n.image for n in mesh.active_material.node_tree.nodes if n.type == 'TEX_IMAGE')
print('RESULT' + json.dumps({
    'low': [min(p[i] for p in points) for i in range(3)], 'high': [max(p[i] for p in points) for i in range(3)],
    'size': list(picture.size), 'colorspace': picture.colorspace_settings.name, 'pixel': list(picture.pixels[:3]),
    'backface_culling': mesh.active_material.use_backface_culling,
}))
"""


@pytest.mark.slow
def test_blender_shows_the_mesh_where_it_was_in_its_colors(tmp_path: Path) -> None:
    interpreter = os.environ.get("LUMIGRAPH_BLENDER_PYTHON")
    if not interpreter:
        pytest.skip("LUMIGRAPH_BLENDER_PYTHON names no Python with bpy")
    low, high = np.array([10.0, 20.0, 30.0]), np.array([11.0, 22.0, 33.0])
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (high - low) + low
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])
    color = np.array([188, 64, 32], np.uint8)
    asset = Asset(Triangles(corners, faces), np.full((8, 2), 0.5), faces, np.tile(color, (16, 16, 1)))
    asset.write(tmp_path / "box.glb")
    (tmp_path / "look.py").write_text(_SCRIPT)
    done = subprocess.run([interpreter, str(tmp_path / "look.py"), str(tmp_path / "box.glb")], capture_output=True, text=True, check=False, timeout=300)
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[6:])
    np.testing.assert_allclose(found["low"], low, atol=1e-4)
    np.testing.assert_allclose(found["high"], high, atol=1e-4)
    assert found["size"] == [16, 16]
    assert found["colorspace"] == "sRGB"
    np.testing.assert_allclose(np.array(found["pixel"]) * 255, color, atol=2)
    assert not found["backface_culling"]
