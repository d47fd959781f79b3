"""USDZ by Pixar's own library: the stage is z-up, so that coordinates are the input's."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from PIL import Image

from data.errors import OutputError
from data.files import atomic_write
from recon.surface.formats.glb import Look


def write_usdz(
    path: Path, positions: Float[ndarray, "v 3"], normals: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], uv: Float[ndarray, "t 2"],
    uv_faces: Int[ndarray, "f 3"], texture: UInt8[ndarray, "s s 3"], look: Look,
) -> None:  # fmt: skip
    """Write a package of a stage and its texture; scene units count as metres."""
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

    with tempfile.TemporaryDirectory(prefix="lumigraph-usd-") as folder:
        Image.fromarray(texture).save(Path(folder) / "texture.png")
        stage: Any = Usd.Stage.CreateNew(str(Path(folder) / "mesh.usdc"))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = UsdGeom.Xform.Define(stage, "/lumigraph")
        stage.SetDefaultPrim(root.GetPrim())
        mesh: Any = UsdGeom.Mesh.Define(stage, "/lumigraph/mesh")
        points = positions.astype(np.float32)
        mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
        mesh.CreateExtentAttr([Gf.Vec3f(*map(float, points.min(0))), Gf.Vec3f(*map(float, points.max(0)))])
        mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
        mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(faces.reshape(-1).astype(np.int32)))
        mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals.astype(np.float32)))
        mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
        mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
        mesh.CreateDoubleSidedAttr(True)
        st: Any = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        st.Set(Vt.Vec2fArray.FromNumpy(uv.astype(np.float32)))
        st.SetIndices(Vt.IntArray.FromNumpy(uv_faces.reshape(-1).astype(np.int32)))
        material: Any = UsdShade.Material.Define(stage, "/lumigraph/photographed")
        shader: Any = UsdShade.Shader.Define(stage, "/lumigraph/photographed/surface")
        shader.CreateIdAttr("UsdPreviewSurface")
        shader.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
        shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(1.0)
        reader: Any = UsdShade.Shader.Define(stage, "/lumigraph/photographed/place")
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        sampler: Any = UsdShade.Shader.Define(stage, "/lumigraph/photographed/texture")
        sampler.CreateIdAttr("UsdUVTexture")
        sampler.CreateInput("file", Sdf.ValueTypeNames.Asset).Set("./texture.png")
        sampler.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        for axis in ("wrapS", "wrapT"):
            sampler.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("clamp")
        sampler.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        colors = sampler.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        target = "emissiveColor" if look == "unlit" else "diffuseColor"
        shader.CreateInput(target, Sdf.ValueTypeNames.Color3f).ConnectToSource(colors)
        if look == "unlit":
            shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0, 0, 0))
        material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
        stage.Save()
        package = Path(folder) / "mesh.usdz"
        if not UsdUtils.CreateNewUsdzPackage(str(Path(folder) / "mesh.usdc"), str(package)):
            raise OutputError(f"'{path}' could not be packed. Choose another format.")
        atomic_write(path, package.read_bytes())
