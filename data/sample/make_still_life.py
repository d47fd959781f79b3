"""Models and photographs the bundled still life. Run it with Blender's Python, in an environment of its own:

    python -m venv /tmp/bpy && /tmp/bpy/bin/pip install bpy==5.0.1
    /tmp/bpy/bin/python data/sample/make_still_life.py data/sample/still_life

Everything is procedural: two books, a vase, apples, a mug and a toy block on a plaid cloth. Writes `images/` and
`transforms.json` (nerfstudio's convention, z up, metres).
"""

import json
import math
import random
import sys
from pathlib import Path

import bpy
from mathutils import Vector

WIDTH, HEIGHT, FOCAL_MM, SENSOR_MM = 512, 384, 34.0, 36.0
VIEWS = ((14, 24.0, 0.92), (10, 47.0, 0.86))
"""Rings of cameras: how many, elevation in degrees, distance in metres."""
TARGET = Vector((0.0, 0.0, 0.075))


def shader(name: str, roughness: float = 0.6) -> tuple[bpy.types.NodeTree, bpy.types.Node, bpy.types.Material]:
    """A new material's node tree and its principled shader."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    node = material.node_tree.nodes["Principled BSDF"]
    node.inputs["Roughness"].default_value = roughness
    return material.node_tree, node, material


def ramp(tree: bpy.types.NodeTree, source: bpy.types.NodeSocket, stops: list[tuple[float, tuple[float, float, float]]], sharp: bool = False) -> bpy.types.NodeSocket:
    """Colours along a value."""
    node = tree.nodes.new("ShaderNodeValToRGB")
    node.color_ramp.interpolation = "CONSTANT" if sharp else "LINEAR"
    while len(node.color_ramp.elements) < len(stops):
        node.color_ramp.elements.new(0.5)
    for element, (position, color) in zip(node.color_ramp.elements, stops, strict=True):
        element.position, element.color = position, (*color, 1)
    tree.links.new(source, node.inputs["Fac"])
    return node.outputs["Color"]


def texture(tree: bpy.types.NodeTree, kind: str, scale: float, output: int = 0, coordinates: str = "Object", **values: float) -> bpy.types.NodeSocket:
    """A procedural texture in object coordinates."""
    node = tree.nodes.new(f"ShaderNodeTex{kind}")
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs[coordinates], node.inputs["Vector"])
    node.inputs["Scale"].default_value = scale
    for key, value in values.items():
        node.inputs[key.replace("_", " ")].default_value = value
    return node.outputs[output]


def mixed(tree: bpy.types.NodeTree, first: bpy.types.NodeSocket, second: bpy.types.NodeSocket, factor: float) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeMixRGB")
    node.blend_type = "MULTIPLY"
    node.inputs["Fac"].default_value = factor
    tree.links.new(first, node.inputs["Color1"])
    tree.links.new(second, node.inputs["Color2"])
    return node.outputs["Color"]


def finish(tree: bpy.types.NodeTree, node: bpy.types.Node, color: bpy.types.NodeSocket) -> None:
    tree.links.new(color, node.inputs["Base Color"])


def speckled(name: str, base: list[tuple[float, tuple[float, float, float]]], scale: float, roughness: float) -> bpy.types.Material:
    """Noise through a ramp, with finer noise over it: the look of fruit, clay and paper."""
    tree, node, material = shader(name, roughness)
    coarse = ramp(tree, texture(tree, "Noise", scale, Detail=6.0), base)
    fine = ramp(tree, texture(tree, "Noise", scale * 14, Detail=3.0), [(0.35, (0.55, 0.5, 0.45)), (0.6, (1, 1, 1))])
    finish(tree, node, mixed(tree, coarse, fine, 0.6))
    return material


def lathe(name: str, profile: list[tuple[float, float]], material: bpy.types.Material, location: tuple[float, float, float], steps: int = 96) -> bpy.types.Object:
    """A solid of revolution about z from (radius, height) pairs, smoothed."""
    vertices, faces = [], []
    for i in range(steps):
        angle = 2 * math.pi * i / steps
        vertices += [(r * math.cos(angle), r * math.sin(angle), z) for r, z in profile]
    n = len(profile)
    for i in range(steps):
        j = (i + 1) % steps
        faces += [(i * n + k, j * n + k, j * n + k + 1, i * n + k + 1) for k in range(n - 1)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    for polygon in mesh.polygons:
        polygon.use_smooth = True
    thing = bpy.data.objects.new(name, mesh)
    thing.location = location
    thing.data.materials.append(material)
    bpy.context.collection.objects.link(thing)
    return thing


def smooth_profile(points: list[tuple[float, float]], steps: int = 8) -> list[tuple[float, float]]:
    """Catmull-Rom through (radius, height) pairs."""
    padded = [points[0], *points, points[-1]]
    out = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for k in range(steps):
            t = k / steps
            out.append(tuple(
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d, strict=True)
            ))  # fmt: skip
    return [*((max(r, 0.0), z) for r, z in out), points[-1]]


def box(name: str, size: tuple[float, float, float], location: tuple[float, float, float], turn: float, material: bpy.types.Material, bevel: float) -> None:
    bpy.ops.mesh.primitive_cube_add(size=1, location=location, rotation=(0, 0, math.radians(turn)))
    thing = bpy.context.object
    thing.name, thing.scale = name, size
    bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
    modifier = thing.modifiers.new("bevel", "BEVEL")
    modifier.width, modifier.segments = bevel, 3
    thing.data.materials.append(material)


def build() -> None:
    """The table and what stands on it."""
    random.seed(3)
    tree, node, wood = shader("wood", 0.5)
    planks = texture(tree, "Brick", 3.0, Mortar_Size=0.006, Brick_Width=1.6, Row_Height=0.22)
    grain = ramp(tree, texture(tree, "Wave", 5.0, Distortion=9.0, Detail=6.0, Detail_Scale=2.5), [(0.0, (0.17, 0.08, 0.035)), (1.0, (0.5, 0.29, 0.14))])
    tree.nodes["Brick Texture"].inputs["Color1"].default_value = (1, 1, 1, 1)
    tree.nodes["Brick Texture"].inputs["Color2"].default_value = (0.72, 0.7, 0.66, 1)
    tree.nodes["Brick Texture"].inputs["Mortar"].default_value = (0.12, 0.08, 0.05, 1)
    finish(tree, node, mixed(tree, grain, planks, 1.0))
    bpy.ops.mesh.primitive_plane_add(size=3.2, location=(0, 0, -0.002))
    bpy.context.object.data.materials.append(wood)

    tree, node, cloth = shader("cloth", 0.95)
    plaid = texture(tree, "Checker", 22.0)
    tree.nodes["Checker Texture"].inputs["Color1"].default_value = (0.82, 0.78, 0.68, 1)
    tree.nodes["Checker Texture"].inputs["Color2"].default_value = (0.55, 0.12, 0.1, 1)
    weave = ramp(tree, texture(tree, "Noise", 90.0, Detail=4.0), [(0.3, (0.6, 0.6, 0.6)), (0.7, (1, 1, 1))])
    finish(tree, node, mixed(tree, plaid, weave, 0.8))
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=90, y_subdivisions=90, size=0.62, location=(0.01, -0.01, 0.004), rotation=(0, 0, math.radians(14)))
    sheet = bpy.context.object
    for vertex in sheet.data.vertices:
        x, y = vertex.co.x, vertex.co.y
        edge = max(abs(x), abs(y)) / 0.31
        vertex.co.z += 0.004 * edge**3 * (math.sin(38 * x + 7 * y) + math.sin(31 * y - 9 * x))
    sheet.data.materials.append(cloth)

    for name, color, other, size, place, turn in (
        ("book below", (0.05, 0.17, 0.22), (0.75, 0.62, 0.25), (0.25, 0.18, 0.034), (-0.07, 0.09, 0.024), 24),
        ("book above", (0.42, 0.08, 0.09), (0.85, 0.8, 0.65), (0.21, 0.15, 0.027), (-0.075, 0.095, 0.0555), 9),
    ):
        tree, node, cover = shader(name, 0.55)
        bands = ramp(tree, texture(tree, "Wave", 9.0, Distortion=3.0, Detail=3.0), [(0.0, color), (0.72, color), (0.74, other), (1.0, other)], sharp=True)
        worn = ramp(tree, texture(tree, "Noise", 45.0, Detail=8.0), [(0.3, (0.5, 0.5, 0.5)), (0.62, (1, 1, 1))])
        finish(tree, node, mixed(tree, bands, worn, 0.75))
        box(name, size, place, turn, cover, 0.004)

    tree, node, glaze = shader("vase", 0.3)
    cells = ramp(tree, texture(tree, "Voronoi", 24.0), [(0.0, (0.03, 0.09, 0.36)), (0.3, (0.06, 0.2, 0.55)), (0.42, (0.85, 0.87, 0.83)), (1.0, (0.9, 0.9, 0.86))])
    clouds = ramp(tree, texture(tree, "Noise", 30.0, Detail=5.0), [(0.35, (0.7, 0.72, 0.75)), (0.6, (1, 1, 1))])
    finish(tree, node, mixed(tree, cells, clouds, 0.7))
    vase = [(0.0, 0.0), (0.034, 0.001), (0.042, 0.02), (0.058, 0.062), (0.054, 0.1), (0.03, 0.135), (0.024, 0.155), (0.036, 0.178), (0.031, 0.177), (0.02, 0.155), (0.022, 0.13)]
    lathe("vase", smooth_profile(vase), glaze, (-0.075, 0.09, 0.069))

    apple = [(0.0, 0.012), (0.012, 0.004), (0.026, 0.006), (0.037, 0.028), (0.036, 0.05), (0.022, 0.064), (0.008, 0.061), (0.0, 0.052)]
    ripe = [(0.3, (0.55, 0.03, 0.03)), (0.52, (0.7, 0.12, 0.04)), (0.68, (0.82, 0.6, 0.14))]
    green = [(0.3, (0.25, 0.4, 0.05)), (0.55, (0.5, 0.6, 0.12)), (0.7, (0.75, 0.66, 0.2))]
    for i, (place, colors) in enumerate((((0.1, -0.07, 0.006), ripe), ((0.02, -0.13, 0.006), green), ((0.165, -0.005, 0.006), ripe))):
        fruit = lathe(f"apple {i}", smooth_profile(apple), speckled(f"apple {i}", colors, 18 + 5 * i, 0.35), place)
        fruit.rotation_euler = (0.2 * i, 0.15, 1.7 * i)
        lathe(f"stalk {i}", [(0.0, 0.0), (0.0016, 0.0), (0.0012, 0.018), (0.0, 0.018)], speckled(f"stalk {i}", [(0.4, (0.1, 0.05, 0.02)), (0.6, (0.2, 0.1, 0.04))], 60, 0.8), (place[0], place[1], 0.055), steps=12)

    mug = [(0.0, 0.0), (0.036, 0.0), (0.039, 0.004), (0.04, 0.09), (0.038, 0.093), (0.036, 0.09), (0.035, 0.012), (0.0, 0.009)]
    tree, node, stoneware = shader("mug", 0.4)
    rings = ramp(tree, texture(tree, "Wave", 14.0, Distortion=2.0, Detail=2.0), [(0.0, (0.1, 0.33, 0.3)), (0.5, (0.8, 0.72, 0.55)), (0.55, (0.12, 0.36, 0.33))], sharp=True)
    tree.nodes["Wave Texture"].bands_direction = "Z"
    specks = ramp(tree, texture(tree, "Noise", 120.0, Detail=2.0), [(0.36, (0.25, 0.2, 0.18)), (0.42, (1, 1, 1))])
    finish(tree, node, mixed(tree, rings, specks, 0.8))
    lathe("mug", mug, stoneware, (0.11, 0.1, 0.006))
    bpy.ops.mesh.primitive_torus_add(major_radius=0.026, minor_radius=0.006, major_segments=64, location=(0.155, 0.1, 0.052), rotation=(math.pi / 2, 0, 0))
    bpy.context.object.data.materials.append(stoneware)
    bpy.ops.object.shade_smooth()

    tree, node, paint = shader("block", 0.5)
    squares = texture(tree, "Checker", 46.0)
    tree.nodes["Checker Texture"].inputs["Color1"].default_value = (0.86, 0.66, 0.12, 1)
    tree.nodes["Checker Texture"].inputs["Color2"].default_value = (0.1, 0.25, 0.45, 1)
    scratches = ramp(tree, texture(tree, "Noise", 60.0, Detail=8.0), [(0.32, (0.45, 0.42, 0.4)), (0.55, (1, 1, 1))])
    finish(tree, node, mixed(tree, squares, scratches, 0.7))
    box("block", (0.048, 0.048, 0.048), (-0.11, -0.09, 0.031), 33, paint, 0.003)


def light() -> None:
    """A window, a weak fill from the other side, a soft sky."""
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    tree = world.node_tree
    sky = ramp(tree, tree.nodes.new("ShaderNodeTexCoord").outputs["Generated"], [(0.2, (0.28, 0.25, 0.22)), (0.75, (0.55, 0.6, 0.68))])
    tree.links.new(sky, tree.nodes["Background"].inputs["Color"])
    tree.nodes["Background"].inputs["Strength"].default_value = 0.55
    for place, size, power in (((-1.2, -0.6, 1.5), 0.9, 34), ((1.4, 0.9, 1.1), 1.4, 9)):
        bpy.ops.object.light_add(type="AREA", location=place)
        lamp = bpy.context.object
        lamp.data.size, lamp.data.energy = size, power
        lamp.rotation_euler = (TARGET - Vector(place)).to_track_quat("-Z", "Y").to_euler()


def photograph(folder: Path) -> None:
    """Two rings of photos, with small deviations of a hand that holds a camera."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 48, True
    scene.cycles.seed = 1
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.image_settings.file_format = "JPEG"
    scene.render.image_settings.quality = 93
    scene.view_settings.view_transform = "Standard"
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width = FOCAL_MM, SENSOR_MM
    camera = bpy.data.objects.new("camera", data)
    bpy.context.collection.objects.link(camera)
    scene.camera = camera
    hand = random.Random(7)
    frames: list[dict[str, object]] = []
    for count, elevation, distance in VIEWS:
        for i in range(count):
            azimuth = 2 * math.pi * (i + 0.25 * hand.random()) / count
            height = math.radians(elevation + hand.uniform(-4, 4))
            reach = distance * hand.uniform(0.95, 1.05)
            camera.location = TARGET + reach * Vector((math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)))
            aim = TARGET + Vector((hand.uniform(-0.01, 0.01), hand.uniform(-0.01, 0.01), hand.uniform(-0.01, 0.01)))
            camera.rotation_euler = (aim - camera.location).to_track_quat("-Z", "Y").to_euler()
            camera.rotation_euler.rotate_axis("Z", math.radians(hand.uniform(-2, 2)))
            bpy.context.view_layer.update()
            name = f"images/{len(frames):02d}.jpg"
            scene.render.filepath = str((folder / name).resolve())
            if not (folder / name).exists():  # an interrupted run goes on where it stopped
                bpy.ops.render.render(write_still=True)
            frames.append({"file_path": name, "transform_matrix": [list(row) for row in camera.matrix_world]})
    focal = FOCAL_MM / SENSOR_MM * WIDTH
    meta = {"camera_model": "PINHOLE", "w": WIDTH, "h": HEIGHT, "fl_x": focal, "fl_y": focal, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    (folder / "transforms.json").write_text(json.dumps({**meta, "frames": frames}, indent=1) + "\n")


if __name__ == "__main__":
    bpy.ops.wm.read_factory_settings(use_empty=True)
    build()
    light()
    photograph(Path(sys.argv[-1]))
