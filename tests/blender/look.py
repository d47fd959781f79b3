"""Run by Blender's Python: imports what a test wrote, and prints what Blender made of it as JSON."""

import json
import sys
from pathlib import Path

import bpy
from mathutils import Vector


def clear():
    bpy.ops.wm.read_factory_settings(use_empty=True)


def read(path):
    kinds = {
        ".glb": lambda: bpy.ops.import_scene.gltf(filepath=str(path)), ".obj": lambda: bpy.ops.wm.obj_import(filepath=str(path)),
        ".ply": lambda: bpy.ops.wm.ply_import(filepath=str(path)), ".stl": lambda: bpy.ops.wm.stl_import(filepath=str(path)),
        ".usdz": lambda: bpy.ops.wm.usd_import(filepath=str(path)),
    }
    kinds[path.suffix]()
    bpy.context.view_layer.update()
    return next(thing for thing in bpy.data.objects if thing.type == "MESH")


def bounds(mesh):
    points = [mesh.matrix_world @ v.co for v in mesh.data.vertices]
    return [[f(p[k] for p in points) for k in range(3)] for f in (min, max)]


def picture_of(mesh):
    if not mesh.data.materials or mesh.active_material.node_tree is None:
        return None
    image = next((n.image for n in mesh.active_material.node_tree.nodes if n.type == "TEX_IMAGE"), None)
    return None if image is None else {"size": list(image.size), "colorspace": image.colorspace_settings.name, "pixel": [255 * v for v in image.pixels[:3]]}


def color_attribute(mesh):
    """Of the first corner, as sRGB bytes: Blender's own conversion."""
    if not mesh.data.color_attributes:
        return None
    return [255 * v for v in mesh.data.color_attributes[0].data[0].color_srgb[:3]]


def render(mesh, folder):
    """Mean colour of the middle of a 64 x 64 picture from above, everything white around, no bounces."""
    scene = bpy.context.scene
    low, high = bounds(mesh)
    data = bpy.data.cameras.new("above")
    data.type, data.ortho_scale = "ORTHO", 0.5 * (high[0] - low[0])
    camera = bpy.data.objects.new("above", data)
    scene.collection.objects.link(camera)
    camera.location = Vector([(a + b) / 2 for a, b in zip(low, high)]) + Vector((0, 0, high[2] - low[2] + 1))
    scene.camera = camera
    scene.world = bpy.data.worlds.new("white")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 16, "CPU"
    scene.cycles.max_bounces = 0 if mesh.active_material and "unlit" in mesh["kind"] else 1
    scene.cycles.use_denoising = False
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.render.filepath = str(Path(folder) / "render.png")
    scene.render.image_settings.color_mode = "RGB"
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = image.pixels[:]
    middle = [pixels[4 * (64 * r + c) : 4 * (64 * r + c) + 3] for r in range(28, 36) for c in range(28, 36)]
    return [255 * sum(p[k] for p in middle) / len(middle) for k in range(3)]


def formats(folder):
    found = {}
    for path in sorted(Path(folder).glob("*.*")):
        if path.suffix in (".glb", ".obj", ".ply", ".stl", ".usdz"):
            clear()
            mesh = read(path)
            mesh["kind"] = path.stem
            found[path.name] = {"bounds": bounds(mesh), "picture": picture_of(mesh), "color": color_attribute(mesh)}
            if path.suffix == ".glb" and "vertices" not in path.stem:
                found[path.name]["culled"] = mesh.active_material.use_backface_culling
                found[path.name]["render"] = render(mesh, folder)
    return found


def extension(folder, package):
    """Install, enable, open a result, use every operator; project points through the cameras."""
    import numpy as np
    from bpy_extras.object_utils import world_to_camera_view

    clear()
    bpy.ops.extensions.package_install_files(filepath=package, repo="user_default", enable_on_install=True)
    bpy.ops.import_scene.lumigraph(filepath=str(Path(folder) / "transforms.json"))
    bpy.context.view_layer.update()
    points = np.loadtxt(Path(folder) / "points.txt")
    scene, projected = bpy.context.scene, {}
    root = next(t for t in bpy.data.objects if "lumigraph" in t)
    cameras = [t for t in root.children if t.type == "CAMERA"]
    for camera in cameras:
        bpy.context.view_layer.objects.active = camera
        bpy.ops.lumigraph.view()
        width, height = scene.render.resolution_x, scene.render.resolution_y
        seen = [world_to_camera_view(scene, camera, Vector(p)) for p in points]
        projected[camera.name] = [[v.x * width, (1 - v.y) * height] for v in seen]
    mesh = next(t for t in root.children_recursive if t.type == "MESH")
    before = bounds(mesh)
    backgrounds = [c.data.background_images[0].image.name for c in cameras if c.data.background_images]
    bpy.context.view_layer.objects.active = mesh
    bpy.ops.lumigraph.turntable(frames=10)
    turned = scene.camera.name
    bpy.ops.lumigraph.scale(length=2 * max(mesh.dimensions))
    bpy.context.view_layer.update()
    after = bounds(mesh)
    low, high = after
    bpy.ops.mesh.primitive_cube_add(size=1, location=[high[0], *[(a + b) / 2 for a, b in zip(low[1:], high[1:])]])
    box = bpy.context.object
    box.scale = [(b - a) * s for a, b, s in zip(low, high, (1, 2, 2))]
    bpy.context.view_layer.update()
    mesh.select_set(True)
    bpy.context.view_layer.objects.active = box
    bpy.ops.lumigraph.crop()
    refused = None
    try:
        bpy.ops.import_scene.lumigraph(filepath="/nowhere/transforms.json")
    except RuntimeError as error:
        refused = str(error)
    return {
        "projected": projected, "bounds": before, "scaled": after, "cropped": bounds(mesh), "backgrounds": backgrounds, "turntable": turned, "refused": refused,
        "parents": sorted({t.parent.name for t in cameras + [mesh] if t.parent}), "root": root.name,
    }


if __name__ == "__main__":
    work, arguments = sys.argv[1], sys.argv[2:]
    print("RESULT" + json.dumps({"formats": formats, "extension": extension}[work](*arguments)))
