"""The morphable model: a mean face, its modes, and everything that is known about its surface.

A model file (.npz, described at `load`) holds one surface at several levels of detail. A coarse level's vertices are
a subset of the finest level's, so every level lies on the same surface and answers to the same coefficients.

Letters: V vertices, T triangles, U texture points, L landmarks, N blendshapes, C vertices of the control mesh, and
Ki, Ke, Kt the numbers of identity, expression and albedo modes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from tf_deep3d import assets
from tf_deep3d.arrays import Array
from tf_deep3d.face import model_file, uncertainty
from tf_deep3d.face.coefficients import MAX_MODES, Layout
from tf_deep3d.face.geometry import corners_around
from tf_deep3d.face.landmarks import Landmarks
from tf_deep3d.face.model_file import Arrays, ModelError, checked, checked_indices
from tf_deep3d.io import archive

SCHEMA = 1
OPEN_FACE = assets.find("open_face.npz")
REGIONS = ("skin", "inner_face", "lips", "inner_mouth", "lids", "eyes")
LANDMARK_SETS = {"ibug68": 68, "alignment5": 5, "mediapipe478": 478, "jaw17": 17}
OPTIONAL_SETS = ("mediapipe478", "jaw17")
MAX_VERTICES, MAX_LEVELS = 1_000_000, 16
MAX_TRIANGLES = 256  # at a vertex
_MOMENTS = "landmarks_{}_moments"


@dataclass(frozen=True)
class MorphableModel:
    """A face model at one level of detail.

    Attributes:
      name: short name.
      licence: under which terms the model may be used.
      level: level of detail, 0 is the coarsest.
      mean_shape: [V, 3], dm.
      identity_basis: [Ki, V, 3], dm for one standard deviation.
      expression_basis: [Ke, V, 3], dm for one standard deviation; zero coefficients are the neutral face.
      mean_albedo: [V, 3], RGB in [0, 1].
      albedo_basis: [Kt, V, 3], RGB for one standard deviation.
      triangles: [T, 3] int32, counter-clockwise seen from outside.
      vertex_corners: [V, D] int32, the triangle corners at each vertex (`geometry.corners_around`).
      uv: [U, 2], texture coordinates in [0, 1], origin at the bottom left as in OBJ.
      uv_triangles: [T, 3] int32, the triangles in `uv`.
      regions: name -> bool [V], names in `REGIONS`.
      landmarks: name -> `Landmarks`, names in `LANDMARK_SETS`. The jaw of `ibug68` is that of detectors, the visible
        contour, where there is a `jaw17`: the line of 300W-LP and AFLW2000-3D along the jaw's edge.
      blendshape_names: N names, the ARKit units for the open face model, () where a model has none.
      blendshapes: [N, V, 3], dm at full strength.
    """

    name: str
    licence: str
    level: int
    mean_shape: Array
    identity_basis: Array
    expression_basis: Array
    mean_albedo: Array
    albedo_basis: Array
    triangles: Array
    vertex_corners: Array
    uv: Array
    uv_triangles: Array
    regions: dict[str, np.ndarray]
    landmarks: dict[str, Landmarks]
    blendshape_names: tuple[str, ...]
    blendshapes: Array

    @classmethod
    def from_preset(cls, preset: str | Path = "open_face", level: int = -1) -> "MorphableModel":
        """A face model at one level of detail.

        Args:
          preset: "open_face", the shipped model, which comes before a file of that name; or the path of a model file.
          level: from 0, the coarsest, or from -1, the finest.

        Raises:
          FileNotFoundError, ModelError: as of `load`.
        """
        return load(None if preset == "open_face" else preset, level)

    def layout(self, lighting: str = "rgb") -> Layout:
        """The `Layout` of this model's coefficients."""
        return Layout(len(self.identity_basis), len(self.expression_basis), len(self.albedo_basis), lighting)

    def on_backend(self, convert: Callable[[np.ndarray], Array]) -> "MorphableModel":
        """A copy whose numeric arrays went through `convert`, e.g. `keras.ops.convert_to_tensor`, once and for all."""
        arrays = ("mean_shape", "identity_basis", "expression_basis", "mean_albedo", "albedo_basis", "triangles")
        fields = {name: convert(getattr(self, name)) for name in (*arrays, "vertex_corners")}
        landmarks = {
            name: replace(points, vertices=convert(points.vertices), weights=convert(points.weights))
            for name, points in self.landmarks.items()
        }
        return replace(self, landmarks=landmarks, **fields)


def load(path: str | Path | None = None, level: int | None = None) -> MorphableModel:
    """Reads a model file at one level of detail.

    The file holds, besides `schema` = 1, `name`, `licence` and `source` (text):
      mean_shape [C, 3], identity_basis [Ki, C, 3], expression_basis [Ke, C, 3], blendshapes [N, C, 3] and
      blendshape_names [N], on the control mesh;
      subdivision_{s}_indptr, _indices, _weights, s = 0, 1, ..: sparse matrices (CSR), applied one after the other,
      that take the control mesh to the finest level (none: they are the same);
      mean_albedo [V, 3] and albedo_basis [Kt, V, 3], times albedo_scale [Kt], at the finest level;
      regions [R, V] bool and region_names [R], at the finest level;
      uv [U, 2], shared by all levels;
      levels = n, and for each level l: level{l}_vertices [V_l], indices into the finest level, level{l}_triangles and
      level{l}_uv_triangles [T_l, 3], level{l}_landmarks_{set}_vertices and _weights [L, 3];
      and where it was measured, landmarks_{set}_moments [Y, P, L, 3], see `Landmarks`.

    Args:
      path: an .npz of the project's schema, by default the open face model; `porting` makes one of other models.
      level: level of detail from 0, the coarsest; by default the finest. Negative levels count from the finest.

    Returns:
      `MorphableModel` of float32, int32 and bool NumPy arrays.

    Raises:
      FileNotFoundError: if there is no such file.
      ModelError: if the file is no model, damaged, or has arrays of wrong shapes, types or values.
    """
    wanted = -1 if level is None else level
    return _load(path, lambda levels: [wanted + levels * (wanted < 0)])[0]


def load_levels(path: str | Path | None = None) -> "Levels":
    """Reads all `Levels` of detail of a model file, the coarsest first; arguments and errors as of `load`."""
    return _load(path, range)


def pick_level(levels: Sequence[MorphableModel], level: int) -> MorphableModel:
    """One of the levels of `load_levels`, from 0, the coarsest, or -1, the finest; the nearest if there are fewer."""
    return levels[max(min(level, len(levels) - 1), -len(levels))]


def save_level(model: MorphableModel, path: str | Path, half: bool = True, overwrite: bool = False) -> None:
    """Writes one level of detail as a model file of its own, its only level: small, and read without subdivision.

    Args:
      model: `MorphableModel` of NumPy arrays.
      path: file to write, whole or not at all; `load` reads it.
      half: store modes and blendshapes in half precision, which moves no vertex by more than 0.02 mm per blendshape.
      overwrite: replace an existing file.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
    """
    precision = np.float16 if half else np.float32
    points, uv_triangles = np.unique(model.uv_triangles, return_inverse=True)
    arrays = {
        "schema": np.int64(SCHEMA),
        "name": np.array(model.name),
        "licence": np.array(model.licence),
        "source": np.array(f"level {model.level} of {model.name}"),
        "mean_shape": model.mean_shape.astype(np.float32),
        "blendshape_names": np.array(model.blendshape_names, str),
        "mean_albedo": model.mean_albedo.astype(np.float32),
        "albedo_scale": np.ones(len(model.albedo_basis), np.float32),
        "region_names": np.array(list(model.regions)),
        "regions": np.stack(list(model.regions.values())),
        "uv": model.uv[points].astype(np.float32),
        "levels": np.int64(1),
        "level0_vertices": np.arange(len(model.mean_shape), dtype=np.int32),
        "level0_triangles": model.triangles,
        "level0_uv_triangles": uv_triangles.reshape(model.triangles.shape).astype(np.int32),
    }
    for name in ("identity_basis", "expression_basis", "blendshapes", "albedo_basis"):
        arrays[name] = getattr(model, name).astype(precision)
    for name, points in model.landmarks.items():
        arrays[f"level0_landmarks_{name}_vertices"] = points.vertices
        arrays[f"level0_landmarks_{name}_weights"] = points.weights
        if points.moments is not None:
            arrays[_MOMENTS.format(name)] = points.moments
    archive.write_arrays(path, arrays, overwrite)


class Levels(Sequence[MorphableModel]):
    """The levels of detail of a model file, the coarsest first; each is made when it is first asked for, and kept."""

    def __init__(self, modes: "_Modes", surfaces: Sequence["_Surface"]) -> None:
        self._modes, self._surfaces = modes, surfaces
        self._made: dict[int, MorphableModel] = {}

    def __len__(self) -> int:
        return len(self._surfaces)

    @overload
    def __getitem__(self, index: int) -> MorphableModel: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[MorphableModel, ...]: ...
    def __getitem__(self, index: int | slice) -> MorphableModel | tuple[MorphableModel, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(len(self))[index])
        at = range(len(self))[index]
        if at not in self._made:
            self._made[at] = _at_level(self._modes, self._surfaces[at])
        return self._made[at]


def _load(path: str | Path | None, choose: Callable[[int], Iterable[int]]) -> Levels:
    """The levels of detail that `choose` picks, given their number; whatever they are made of is checked."""
    path = Path(path or OPEN_FACE)
    try:
        arrays = archive.read_arrays(path)
        if int(checked(arrays, "schema", (), "iu")) != SCHEMA:
            raise ModelError(f"schema must be {SCHEMA}. Received: {arrays['schema']}")
        levels = int(checked(arrays, "levels", (), "iu"))
        if not 0 < levels <= MAX_LEVELS:
            raise ModelError(f"levels must lie in 1 to {MAX_LEVELS}. Received: {levels}")
        wanted = list(choose(levels))
        if not all(0 <= level < levels for level in wanted):
            raise ModelError(f"the model has the levels of detail 0 to {levels - 1}. Received: {wanted[0]}")
        modes = _read_modes(arrays)
        return Levels(modes, [_read_surface(arrays, level, len(modes.mean_albedo)) for level in wanted])
    except archive.ArchiveError as error:
        raise ModelError(str(error)) from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except KeyError as error:
        raise ModelError(f"{path} is not a face model of schema {SCHEMA}: array {error} is missing.") from error


class _Modes(NamedTuple):
    """What moves and colours the vertices, as the file has it.

    Attributes:
      names: of the fields on the control mesh, after the mean shape.
      sizes: how many modes each of these has.
      control: [F, C, 3], the mean shape and all of these modes.
      steps: from the control mesh to the finest level.
      mean_albedo: [V, 3], float32.
      albedo_basis: [Kt, V, 3], of integers or floats, and their albedo_scale [Kt], float32.
    """

    names: tuple[str, ...]
    sizes: list[int]
    control: np.ndarray
    steps: list[model_file.Step]
    mean_albedo: np.ndarray
    albedo_basis: np.ndarray
    albedo_scale: np.ndarray


class _Surface(NamedTuple):
    """One level of detail: its vertices [V_l] of the finest level, and the model but for what its modes say."""

    vertices: np.ndarray
    model: Callable[..., MorphableModel]


def _read_modes(arrays: Arrays) -> _Modes:
    """Reads what moves and colours the vertices, checked."""
    control = len(checked(arrays, "mean_shape", (None, 3), "f"))
    names = len(checked(arrays, "blendshape_names", (None,), "U"))
    shapes = {"identity_basis": None, "expression_basis": None, "blendshapes": names}
    bases = [checked(arrays, name, (count, control, 3), "f") for name, count in shapes.items()]
    mean_albedo = checked(arrays, "mean_albedo", (None, 3), "f").astype(np.float32)
    full = len(mean_albedo)
    albedo_basis = checked(arrays, "albedo_basis", (None, full, 3), "fi")
    albedo_scale = checked(arrays, "albedo_scale", (len(albedo_basis),), "f").astype(np.float32)
    sizes = [*map(len, bases)]
    modes = [*sizes, len(albedo_basis)]
    size = 4 * 3 * full * (sum(modes) + 2)
    if max(control, full) > MAX_VERTICES or max(modes) > MAX_MODES or size > archive.MAX_BYTES:
        limits = f"{MAX_VERTICES} vertices, {MAX_MODES} modes and {archive.MAX_BYTES} bytes"
        raise ModelError(f"at most {limits} at the finest level. Received: {max(control, full)}, {modes}, {size}")
    fields = np.concatenate([arrays["mean_shape"][None], *bases], dtype=np.float32)
    steps = model_file.read_steps(arrays, control, full)
    return _Modes(tuple(shapes), sizes, fields, steps, mean_albedo, albedo_basis, albedo_scale)


def _read_surface(arrays: Arrays, level: int, full: int) -> _Surface:
    """Reads what belongs to one level, checked; the finest has `full` vertices."""
    vertices = checked_indices(arrays, f"level{level}_vertices", (None,), full)
    triangles = checked_indices(arrays, f"level{level}_triangles", (None, 3), len(vertices))
    if (crowd := np.bincount(triangles.reshape(-1), minlength=1).max()) > MAX_TRIANGLES:
        raise ModelError(f"at most {MAX_TRIANGLES} triangles may meet at a vertex. Received: {crowd}")
    uv = checked(arrays, "uv", (None, 2), "f").astype(np.float32)
    region_names = [str(name) for name in checked(arrays, "region_names", (None,), "U")]
    regions = checked(arrays, "regions", (len(region_names), full), "b")[:, vertices]
    if not set(REGIONS) <= set(region_names):
        raise ModelError(f"regions must include {REGIONS}. Received: {region_names}")
    known = partial(
        MorphableModel,
        name=str(checked(arrays, "name", (), "U")),
        licence=str(checked(arrays, "licence", (), "U")),
        level=level,
        triangles=triangles,
        vertex_corners=corners_around(triangles, len(vertices)),
        uv=uv,
        uv_triangles=checked_indices(arrays, f"level{level}_uv_triangles", triangles.shape, len(uv)),
        regions=dict(zip(region_names, regions, strict=True)),
        landmarks={name: _landmarks(arrays, level, name, len(vertices)) for name in _landmark_sets(arrays, level)},
        blendshape_names=tuple(map(str, arrays["blendshape_names"])),
    )
    return _Surface(vertices, known)


def _at_level(modes: _Modes, surface: _Surface) -> MorphableModel:
    """The model of a `surface`: its vertices alone are subdivided to where the finest level has them."""
    at = surface.vertices
    fields = model_file.subdivide(modes.steps, modes.control, at)
    mean, *bases = np.split(fields, np.cumsum([1, *modes.sizes])[:-1])
    albedo = modes.albedo_basis.take(at, axis=1).astype(np.float32)
    albedo *= modes.albedo_scale[:, None, None]
    bases = dict(zip(modes.names, bases, strict=True))
    return surface.model(mean_shape=mean[0], mean_albedo=modes.mean_albedo[at], albedo_basis=albedo, **bases)


def _landmark_sets(arrays: Arrays, level: int) -> list[str]:
    """Names of the landmark sets that a file has, or must have."""
    return [s for s in LANDMARK_SETS if s not in OPTIONAL_SETS or f"level{level}_landmarks_{s}_vertices" in arrays]


def _landmarks(arrays: Arrays, level: int, name: str, vertex_count: int) -> Landmarks:
    """Reads a landmark set, checked."""
    prefix = f"level{level}_landmarks_{name}_"
    shape = (LANDMARK_SETS[name], 3)
    vertices = checked_indices(arrays, prefix + "vertices", shape, vertex_count)
    weights = checked(arrays, prefix + "weights", shape, "f").astype(np.float32)
    return Landmarks(vertices, weights, _moments(arrays, name))


def _moments(arrays: Arrays, name: str) -> np.ndarray | None:
    """The second moments of a landmark set, checked; None where the file has none."""
    stored = _MOMENTS.format(name)
    if stored not in arrays:
        return None
    moments = checked(arrays, stored, (None, None, LANDMARK_SETS[name], uncertainty.MOMENTS), "f").astype(np.float32)
    xx, xy, yy = np.moveaxis(moments, -1, 0)
    if not (np.isfinite(moments).all() and (xx > 0).all() and (xx * yy > xy * xy).all()):
        raise ModelError(f"{stored} must be second moments, positive definite. Received: other numbers")
    return moments
