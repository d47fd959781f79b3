# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a Lumigraph result in Blender: mesh, one camera a photo, everything under one empty."""

import json
import math
from pathlib import Path

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty
from bpy.types import Operator, Panel
from bpy_extras.io_utils import ImportHelper
from mathutils import Matrix, Vector

SENSOR = 36.0
"""Width of every camera's sensor, millimetres."""


class ResultError(Exception):
    """What is wrong with a folder, for the person who chose it."""


def read_result(folder):
    """The content of transforms.json, checked."""
    folder = Path(folder)
    folder = folder if folder.is_dir() else folder.parent
    try:
        meta = json.loads((folder / "transforms.json").read_text())
    except OSError:
        raise ResultError(f"'{folder}' holds no transforms.json. Choose the folder that lumigraph reconstruct wrote.") from None
    except ValueError as error:
        raise ResultError(f"transforms.json cannot be read ({error}).") from None
    if not (folder / "mesh.glb").exists():
        raise ResultError(f"'{folder}' holds no mesh.glb. Choose a finished result.")
    return folder, meta


def open_result(context, folder, photos=True):
    """Import a result; the empty that everything hangs on is returned."""
    folder, meta = read_result(folder)
    name = folder.resolve().name
    collection = bpy.data.collections.new(name)
    context.scene.collection.children.link(collection)
    root = bpy.data.objects.new(name, None)
    root.empty_display_type, root.empty_display_size = "PLAIN_AXES", 0.25
    root["lumigraph"] = str(folder)
    collection.objects.link(root)
    for thing in import_mesh(folder / "mesh.glb"):
        for other in list(thing.users_collection):
            other.objects.unlink(thing)
        collection.objects.link(thing)
        if thing.parent is None:
            thing.parent = root
    cameras = [add_camera(collection, root, folder, {**meta, **frame}, photos) for frame in meta["frames"]]
    if cameras:
        context.scene.camera = cameras[0]
        show_through(context.scene, cameras[0])
    return root


def import_mesh(path):
    """The objects of a GLB."""
    before = set(bpy.data.objects)
    bpy.ops.import_scene.gltf(filepath=str(path))
    return [thing for thing in bpy.data.objects if thing not in before]


def add_camera(collection, root, folder, frame, photos):
    """A camera with the photo's lens: focal length, shifts, pixel aspect; its photo behind."""
    width, height = frame["w"], frame["h"]
    fx, fy = frame["fl_x"], frame.get("fl_y", frame["fl_x"])
    cx, cy = frame.get("cx", width / 2), frame.get("cy", height / 2)
    stem = Path(frame["file_path"]).stem
    data = bpy.data.cameras.new(stem)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR
    data.lens = fx / width * SENSOR
    aspect = fx / fy  # pixels are this much higher than wide
    data.shift_x = -(cx - width / 2) / width
    data.shift_y = (cy - height / 2) / width * aspect
    data.display_size = 0.1
    camera = bpy.data.objects.new(stem, data)
    camera["lumigraph_size"] = [width, height]
    camera["lumigraph_aspect"] = aspect
    collection.objects.link(camera)
    camera.parent = root
    camera.matrix_world = root.matrix_world @ Matrix(frame["transform_matrix"])
    path = folder / frame["file_path"]
    if photos and path.exists():
        data.show_background_images = True
        background = data.background_images.new()
        background.image = bpy.data.images.load(str(path), check_existing=True)
        background.alpha, background.frame_method, background.display_depth = 0.6, "STRETCH", "BACK"
    return camera


def show_through(scene, camera):
    """The render size of a camera's photo."""
    width, height = camera["lumigraph_size"]
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = int(width), int(height), 100
    aspect = camera["lumigraph_aspect"]
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = (1.0, aspect) if aspect >= 1 else (1 / aspect, 1.0)


def root_of(thing):
    """The empty that an object of a result hangs on, or None."""
    while thing is not None and "lumigraph" not in thing:
        thing = thing.parent
    return thing


def meshes_of(root):
    return [thing for thing in root.children_recursive if thing.type == "MESH"]


class IMPORT_SCENE_OT_lumigraph(Operator, ImportHelper):
    """Mesh, cameras and photos of a Lumigraph result, where they were"""

    bl_idname = "import_scene.lumigraph"
    bl_label = "Lumigraph result"
    bl_options = {"REGISTER", "UNDO"}
    filename_ext = ".json"
    filter_glob: StringProperty(default="transforms.json;mesh.glb", options={"HIDDEN"})
    photos: BoolProperty(name="Photos behind cameras", default=True)

    def execute(self, context):
        try:
            root = open_result(context, self.filepath, self.photos)
        except ResultError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{root.name}: {len([c for c in root.children if c.type == 'CAMERA'])} cameras")
        return {"FINISHED"}


class LUMIGRAPH_OT_scale(Operator):
    """Scale a result so that the distance between the two selected vertices, or the longest side, is what you measured"""

    bl_idname = "lumigraph.scale"
    bl_label = "Set real size"
    bl_options = {"REGISTER", "UNDO"}
    length: FloatProperty(name="Length", default=1.0, min=1e-6, unit="LENGTH")

    def execute(self, context):
        root = root_of(context.object)
        if root is None or not meshes_of(root):
            self.report({"ERROR"}, "Select something of a Lumigraph result first.")
            return {"CANCELLED"}
        mesh = meshes_of(root)[0]
        if context.object.type == "MESH":
            mesh = context.object
            mesh.update_from_editmode()
        chosen = [mesh.matrix_world @ v.co for v in mesh.data.vertices if v.select] if mesh.mode == "EDIT" else []
        if len(chosen) == 2:
            now = (chosen[0] - chosen[1]).length
        else:
            now = max(mesh.dimensions)
        if now < 1e-9:
            self.report({"ERROR"}, "The measured distance is zero. Select two vertices that differ.")
            return {"CANCELLED"}
        root.scale *= self.length / now
        context.view_layer.update()
        return {"FINISHED"}

    def invoke(self, context, event):
        return context.window_manager.invoke_props_dialog(self)


class LUMIGRAPH_OT_crop(Operator):
    """Keep what lies in the active empty's or mesh's box; select the box last, with something of the result selected"""

    bl_idname = "lumigraph.crop"
    bl_label = "Crop to box"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context):
        import bmesh

        box = context.object
        roots = {root_of(thing) for thing in context.selected_objects if thing is not box} - {None}
        if box is None or not roots or root_of(box) is not None:
            self.report({"ERROR"}, "Add a cube around what you want, select the mesh, then the cube, and crop.")
            return {"CANCELLED"}
        corners = [Vector(c) for c in box.bound_box] if box.type == "MESH" else [Vector((x, y, z)) * box.empty_display_size for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
        low, high = (Vector(f(c[k] for c in corners) for k in range(3)) for f in (min, max))
        for thing in (m for root in roots for m in meshes_of(root)):
            to_box = box.matrix_world.inverted() @ thing.matrix_world
            work = bmesh.new()
            work.from_mesh(thing.data)
            outside = [v for v in work.verts if not all(low[k] <= (to_box @ v.co)[k] <= high[k] for k in range(3))]
            bmesh.ops.delete(work, geom=outside, context="VERTS")
            work.to_mesh(thing.data)
            work.free()
            thing.data.update()
        return {"FINISHED"}


class LUMIGRAPH_OT_turntable(Operator):
    """A camera that goes once around the mesh"""

    bl_idname = "lumigraph.turntable"
    bl_label = "Turntable"
    bl_options = {"REGISTER", "UNDO"}
    frames: IntProperty(name="Frames", default=120, min=2, max=10000)

    def execute(self, context):
        root = root_of(context.object)
        if root is None or not meshes_of(root):
            self.report({"ERROR"}, "Select something of a Lumigraph result first.")
            return {"CANCELLED"}
        corners = [m.matrix_world @ Vector(c) for m in meshes_of(root) for c in m.bound_box]
        low, high = (Vector(f(c[k] for c in corners) for k in range(3)) for f in (min, max))
        center, reach = (low + high) / 2, (high - low).length / 2
        collection = root.users_collection[0]
        pivot = bpy.data.objects.new("turntable", None)
        pivot.location = center
        data = bpy.data.cameras.new("turntable")
        camera = bpy.data.objects.new("turntable camera", data)
        for thing in (pivot, camera):
            collection.objects.link(thing)
        camera.parent = pivot
        camera.location = Vector((0, -1, 0.4)).normalized() * reach / math.sin(data.angle / 2) * 1.1
        camera.rotation_euler = (-camera.location).to_track_quat("-Z", "Y").to_euler()
        data.clip_end = max(data.clip_end, 10 * reach)
        scene = context.scene
        scene.frame_start, scene.frame_end = 1, self.frames
        for frame, angle in ((1, 0.0), (self.frames + 1, 2 * math.pi)):
            pivot.rotation_euler = (0, 0, angle)
            pivot.keyframe_insert("rotation_euler", frame=frame)
        for curve in curves_of(pivot):
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"
        scene.camera = camera
        return {"FINISHED"}


def curves_of(thing):
    """The curves of an object's action, in old Blenders and new ones."""
    action = thing.animation_data.action
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    return [curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves]


class LUMIGRAPH_OT_view(Operator):
    """Look through the selected photo's camera, at its photo's size"""

    bl_idname = "lumigraph.view"
    bl_label = "Look through photo"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return context.object is not None and context.object.type == "CAMERA" and "lumigraph_size" in context.object

    def execute(self, context):
        context.scene.camera = context.object
        show_through(context.scene, context.object)
        return {"FINISHED"}


class VIEW3D_PT_lumigraph(Panel):
    bl_label = "Lumigraph"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Lumigraph"

    def draw(self, context):
        for name in ("import_scene.lumigraph", "lumigraph.view", "lumigraph.scale", "lumigraph.crop", "lumigraph.turntable"):
            self.layout.operator(name)


def menu(self, context):
    self.layout.operator(IMPORT_SCENE_OT_lumigraph.bl_idname, text="Lumigraph result (transforms.json)")


CLASSES = (IMPORT_SCENE_OT_lumigraph, LUMIGRAPH_OT_scale, LUMIGRAPH_OT_crop, LUMIGRAPH_OT_turntable, LUMIGRAPH_OT_view, VIEW3D_PT_lumigraph)


def register():
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    bpy.types.TOPBAR_MT_file_import.append(menu)


def unregister():
    bpy.types.TOPBAR_MT_file_import.remove(menu)
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
