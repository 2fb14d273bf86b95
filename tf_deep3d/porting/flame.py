"""FLAME 2020 and 2023 (.pkl), read by `unpickling`: nothing in the file is run.

The pickle is a dict: v_template [V, 3] in metres, f [T, 3] from 0, shapedirs [V, 3, 400] (300 identity modes, then
100 expression modes, for one standard deviation each; a chumpy array in the 2020 files), and for the joints (root,
neck, jaw, eyes) posedirs [V, 3, 36], weights [V, 5], J_regressor [5, V] (sparse). x to the person's left, y up, z
forward, as ours.

Jaw. FLAME opens the mouth by turning a joint, which no linear model can do. Two additional expression modes, the last,
stand in: the jaw turned down and sideways by `JAW_MODES`, as the chord of the mean face's motion over two standard
deviations. Large openings come out too straight.

Landmarks: landmark_embedding.npy (DECA, MICA), flame_static_embedding_68.pkl or .npz with triangles and barycentrics
of 68 points; or 51 inner points (flame_static_embedding.pkl) together with flame_dynamic_embedding.npy, of whose
contours the frontal one, row 0, is taken; or a file as `landmarks.FILE_FORMAT` says.

Albedo: FLAME has none. Texture models on its texture map, one after the other three channels in BGR, are read off at
the vertices: FLAME_texture.npz (mean, tex_dir in 0..255, vt, ft), albedoModel2020_FLAME_albedoPart.npz (MU, PC, specMU,
..: linear light, of which the diffuse part becomes sRGB-like by the power 1 / 2.2, its modes to first order), or
FLAME_albedo_from_BFM.npz (MU, PC in [0, 1], without vt and ft: pass an OBJ of the head too). Without one the colours
are `assemble.PLAIN`: no texture at all, and a fit with it explains all shading by light.

The back of the head is cut off: to the mask "face" and the eyeballs of FLAME_masks.pkl if given, else by
`assemble.crop_face`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d.face.camera import METRES
from tf_deep3d.face.geometry import rotation_matrix
from tf_deep3d.face.morphable_model import Landmarks
from tf_deep3d.io import archive
from tf_deep3d.porting import PortingError, landmarks, pickled, unpickling
from tf_deep3d.porting.assemble import Source, crop, crop_face
from tf_deep3d.porting.containers import MAX_BYTES, checked_file, indices, numbers, read_obj
from tf_deep3d.porting.open_face.geometry import sample

LICENCE = "FLAME licence of the file's release: non-commercial, or CC BY 4.0 for FLAME 2023 Open (flame.is.tue.mpg.de)"
IDENTITY_MODES = 300
JAW = 2  # joint
JAW_MODES = ((0.1, 0.0, 0.0), (0.0, 0.03, 0.0))  # radians about x and y for one standard deviation
GAMMA = 2.2
MAX_PICKLE = 1 << 30


class Files(NamedTuple):
    """What FLAME comes with besides its .pkl; None for what is not there.

    Attributes:
      landmarks: the 68 landmarks, or the 51 inner ones together with `contour`.
      contour: flame_dynamic_embedding.npy.
      texture: .npz of a texture model.
      uv: OBJ of the head (head_template.obj), for its texture map.
      masks: FLAME_masks.pkl.
    """

    landmarks: str | Path | None = None
    contour: str | Path | None = None
    texture: str | Path | None = None
    uv: str | Path | None = None
    masks: str | Path | None = None


def read(
    path: str | Path,
    extra: Files,
    identity: int = 100,
    expression: int = 50,
    albedo: int = 50,
    whole_head: bool = False,
) -> Source:
    """Reads FLAME.

    Args:
      path: .pkl file.
      extra: `Files`; without landmarks nothing can be read.
      identity, expression, albedo: how many modes to take, at most as many as there are.
      whole_head: keep the back of the head.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if a file is missing.
      PortingError: if a file is not what it should be, or there are no landmarks.
    """
    path = checked_file(path, MAX_PICKLE)
    if extra.landmarks is None:
        raise PortingError(
            f"{path.name} has no landmarks: pass --landmarks FILE, landmark_embedding.npy or "
            f"flame_static_embedding.pkl with --contour flame_dynamic_embedding.npy, or {landmarks.FILE_FORMAT}. "
            "Received: no landmarks"
        )
    content = _dict(unpickling.read(path.read_bytes()), path.name)
    vertices = _field(content, "v_template", (None, 3)) / METRES
    count = len(vertices)
    triangles = indices(_field(content, "f", (None, 3)), "f", (None, 3), count)
    shapes = _field(content, "shapedirs", (count, 3, None)).transpose(2, 0, 1) / METRES
    if len(shapes) <= IDENTITY_MODES:
        raise PortingError(f"shapedirs must have over {IDENTITY_MODES} modes. Received: {len(shapes)}")
    uv, uv_triangles = _texture_map(extra.texture, extra.uv, triangles)
    colours = (None, None)
    if extra.texture is not None and uv is not None and uv_triangles is not None:
        colours = _albedo(extra.texture, uv, uv_triangles, triangles, albedo)
    expressions = [shapes[IDENTITY_MODES:][:expression], _jaw_modes(content, vertices)]
    source = Source(
        name="FLAME",
        licence=LICENCE,
        origin=f"{path.name} (MPI for Intelligent Systems)",
        vertices=vertices,
        triangles=triangles,
        identity=shapes[:IDENTITY_MODES][:identity],
        expression=np.concatenate(expressions),
        landmarks=_landmarks(extra.landmarks, extra.contour, vertices, triangles),
        albedo=colours[0],
        albedo_basis=colours[1],
        uv=uv,
        uv_triangles=uv_triangles,
    )
    if extra.masks is not None:
        return _apply_masks(source, extra.masks, whole_head)
    return source if whole_head else crop_face(source)


def _dict(value: Any, name: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise PortingError(f"{name} must hold a dict. Received: {type(value).__name__}")
    return value


def _field(content: Mapping[Any, Any], key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if key not in content:
        raise PortingError(f"the model must hold {key!r}. Received: {sorted(map(str, content))}")
    return numbers(pickled.array(content[key], key), key, shape).astype(np.float64)


def _jaw_modes(content: Mapping[Any, Any], vertices: np.ndarray) -> np.ndarray:
    """The jaw's modes [2 or 0, V, 3] in dm: none if the file has no jaw, or nothing hangs on it."""
    if not {"weights", "posedirs", "J_regressor"} <= set(content):
        return np.zeros((0, *vertices.shape))
    count = len(vertices)
    weights = _field(content, "weights", (count, None))
    joints = weights.shape[1]
    if joints <= JAW or not weights[:, JAW].any():
        return np.zeros((0, count, 3))
    regressor = _field(content, "J_regressor", (joints, count))
    corrections = _field(content, "posedirs", (count, 3, 9 * (joints - 1))) / METRES
    corrections = corrections[..., 9 * (JAW - 1) : 9 * JAW]  # the root has none
    modes = []
    for turn in rotation_matrix(2 * np.array(JAW_MODES)):
        corrected = vertices + corrections @ (turn - np.eye(3)).reshape(-1)
        arm = corrected - regressor[JAW] @ vertices
        moved = corrected + weights[:, JAW, None] * (arm @ turn.T - arm)
        modes.append((moved - vertices) / 2)
    return np.stack(modes)


def _landmarks(
    path: str | Path, contour_path: str | Path | None, vertices: np.ndarray, triangles: np.ndarray
) -> Landmarks:
    path = checked_file(path, MAX_PICKLE)
    content = _embedding(path)
    if content is None:
        return landmarks.read_landmarks(path, vertices * METRES, triangles)
    found = _points(content, ("full_lmk", "lmk", "static_lmk"), path.name)
    if found is None:
        raise PortingError(
            f"{path.name} must hold landmarks' triangles and weights. Received: {sorted(map(str, content))}"
        )
    places, weights = found
    if len(places) == 51:
        if contour_path is not None:
            content = _embedding(checked_file(contour_path, MAX_PICKLE)) or {}
        contour = _points(content, ("dynamic_lmk",) if contour_path is None else ("lmk",), path.name, rows=True)
        if contour is None:
            raise PortingError(
                f"{path.name} holds the 51 inner landmarks only: pass --contour flame_dynamic_embedding.npy, "
                "or a file of 68. Received: 51"
            )
        places, weights = np.concatenate([contour[0], places]), np.concatenate([contour[1], weights])
    if len(places) != 68:
        raise PortingError(f"{path.name} must hold 68 landmarks. Received: {len(places)}")
    places = indices(places, f"{path.name}: the landmarks' triangles", (68,), len(triangles))
    weights = landmarks.barycentrics(weights, f"{path.name}: the landmarks")
    return Landmarks(triangles[places].astype(np.int32), weights)


def _embedding(path: Path) -> Mapping[Any, Any] | None:
    """The dict in an embedding file; None if the file holds plain landmarks."""
    if path.suffix == ".npz":
        return archive.read_arrays(path)
    data = path.read_bytes()
    if path.suffix == ".pkl":
        return _dict(unpickling.read(data), path.name)
    if path.suffix == ".npy" and b"'|O'" in data[:256]:
        return _dict(pickled.npy_object(data, path.name), path.name)
    return None


def _points(
    content: Mapping[Any, Any], prefixes: Sequence[str], name: str, rows: bool = False
) -> tuple[np.ndarray, np.ndarray] | None:
    """Triangles [L] and barycentrics [L, 3] under the first of `prefixes` that is there, or None; of rows the first."""
    for prefix in prefixes:
        for place, weight in (("faces_idx", "bary_coords"), ("face_idx", "b_coords")):
            keys = f"{prefix}_{place}", f"{prefix}_{weight}"
            if set(keys) <= set(content):
                found = [_plain(content[key], f"{name}: {key}") for key in keys]
                if rows and found[0].ndim != 2:
                    raise PortingError(f"{name}: {keys[0]} must have a row per angle. Received: {found[0].shape}")
                places, weights = (array[0] for array in found) if rows else found
                places = numbers(places.reshape(-1), f"{name}: {keys[0]}", (None,))
                return places, numbers(weights.reshape(-1, 3), f"{name}: {keys[1]}", (len(places), 3))
    return None


def _plain(value: Any, name: str) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else pickled.array(value, name)


def _texture_map(
    texture_file: str | Path | None, uv_file: str | Path | None, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Texture points [U, 2] and triangles in them [T, 3], of the OBJ or else the texture model, or None."""
    if uv_file is not None:
        mesh = read_obj(uv_file)
        if mesh.uv is None or mesh.uv_triangles is None or not np.array_equal(mesh.triangles, triangles):
            raise PortingError(f"the OBJ must have texture points on FLAME's own triangles. Received: {uv_file}")
        return mesh.uv, mesh.uv_triangles
    if texture_file is None:
        return None, None
    arrays = archive.read_arrays(texture_file, MAX_BYTES)
    if not {"vt", "ft"} <= set(arrays):
        raise PortingError(
            "the texture model has no texture map: pass --uv head_template.obj too. "
            f"Received: the arrays {sorted(arrays)}"
        )
    uv = numbers(arrays["vt"], "vt", (None, 2))
    return uv, indices(arrays["ft"], "ft", (len(triangles), 3), len(uv))


def _albedo(
    path: str | Path, uv: np.ndarray, uv_triangles: np.ndarray, triangles: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [V, 3] and modes [K, V, 3], RGB in [0, 1], read off the texture model at the vertices."""
    arrays = archive.read_arrays(path, MAX_BYTES)
    keys = next((keys for keys in (("mean", "tex_dir"), ("MU", "PC")) if set(keys) <= set(arrays)), None)
    if keys is None:
        raise PortingError(f"the texture model must hold mean and tex_dir, or MU and PC. Received: {sorted(arrays)}")
    mean, modes = arrays[keys[0]], arrays[keys[1]]
    side = round((mean.size / 3) ** 0.5)
    if not side or mean.size != 3 * side * side or modes.ndim < 2 or modes.size != mean.size * modes.shape[-1]:
        raise PortingError(f"the textures must be square with 3 channels. Received: {mean.shape} and {modes.shape}")
    place = np.zeros((triangles.max() + 1, 2))
    place[triangles.reshape(-1)] = uv[uv_triangles.reshape(-1)]
    mean = sample(mean.reshape(side, side, 3).astype(np.float64), place)[:, ::-1]  # BGR
    modes = modes.reshape(side, side, 3, -1)[..., :count]
    modes = sample(modes, place)[:, ::-1].transpose(2, 0, 1).astype(np.float64)
    if keys[0] == "mean":
        return mean / 255, modes / 255
    if "specMU" in arrays:
        mean = np.maximum(mean, 0.01)
        return mean ** (1 / GAMMA), modes * mean ** (1 / GAMMA - 1) / GAMMA
    return mean, modes


def _apply_masks(source: Source, path: str | Path, whole_head: bool) -> Source:
    masks = _dict(unpickling.read(checked_file(path, MAX_PICKLE).read_bytes()), "the masks")
    chosen = {}
    for name in ("face", "left_eyeball", "right_eyeball", "lips"):
        if name not in masks:
            raise PortingError(f"the masks must hold {name!r}. Received: {sorted(map(str, masks))}")
        listed = indices(pickled.array(masks[name], name).reshape(-1), name, (None,), len(source.vertices))
        chosen[name] = np.isin(np.arange(len(source.vertices)), listed)
    eyes = chosen["left_eyeball"] | chosen["right_eyeball"]
    source = replace(source, regions={"eyes": eyes, "lips": chosen["lips"]})
    return source if whole_head else crop(source, chosen["face"] | eyes)
