"""The morphable model: a mean face, its modes, and everything that is known about its surface.

A model file (.npz, described at `load`) holds one surface at several levels of detail. A coarse level's vertices are
a subset of the finest level's, so every level lies on the same surface and answers to the same coefficients.

Letters: V vertices, T triangles, U texture points, L landmarks, N blendshapes, C vertices of the control mesh, and
Ki, Ke, Kt the numbers of identity, expression and albedo modes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tf_deep3d import assets
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face import uncertainty
from tf_deep3d.face.coefficients import MAX_MODES, Layout
from tf_deep3d.face.geometry import corners_around
from tf_deep3d.face.landmarks import Landmarks
from tf_deep3d.io import archive

SCHEMA = 1
OPEN_FACE = assets.find("open_face.npz")
REGIONS = ("skin", "inner_face", "lips", "inner_mouth", "lids", "eyes")
LANDMARK_SETS = {"ibug68": 68, "alignment5": 5, "mediapipe478": 478, "jaw17": 17}
OPTIONAL_SETS = ("mediapipe478", "jaw17")
MAX_VERTICES, MAX_LEVELS = 1_000_000, 16
MAX_TRIANGLES, MAX_TERMS = 256, 256  # at a vertex; of the mean that a subdivided vertex is
_STEP = "subdivision_{}_"  # of the names of its three arrays
_MOMENTS = "landmarks_{}_moments"
_Arrays: TypeAlias = Mapping[str, np.ndarray]  # of a model file


class ModelError(InputError):
    """The file is not a usable model; the message says which array is wrong and what was received."""


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


def load_levels(path: str | Path | None = None) -> tuple[MorphableModel, ...]:
    """Reads all levels of detail of a model file, the coarsest first; arguments and errors as of `load`."""
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


def _load(path: str | Path | None, choose: Callable[[int], Iterable[int]]) -> tuple[MorphableModel, ...]:
    """The levels of detail that `choose` picks, given their number."""
    path = Path(path or OPEN_FACE)
    try:
        arrays = archive.read_arrays(path)
        if int(_array(arrays, "schema", (), "iu")) != SCHEMA:
            raise ModelError(f"schema must be {SCHEMA}. Received: {arrays['schema']}")
        levels = int(_array(arrays, "levels", (), "iu"))
        if not 0 < levels <= MAX_LEVELS:
            raise ModelError(f"levels must lie in 1 to {MAX_LEVELS}. Received: {levels}")
        wanted = list(choose(levels))
        if not all(0 <= level < levels for level in wanted):
            raise ModelError(f"the model has the levels of detail 0 to {levels - 1}. Received: {wanted[0]}")
        finest = _finest(arrays)
        return tuple(_at_level(arrays, finest, level) for level in wanted)
    except archive.ArchiveError as error:
        raise ModelError(str(error)) from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except KeyError as error:
        raise ModelError(f"{path} is not a face model of schema {SCHEMA}: array {error} is missing.") from error


class _Finest(NamedTuple):
    """What stands on the control mesh, at the finest level: mean_shape [V, 3] and the bases [_, V, 3]."""

    mean_shape: np.ndarray
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    blendshapes: np.ndarray


def _finest(arrays: _Arrays) -> _Finest:
    """Reads what stands on the control mesh, checked, and takes it to the finest level."""
    control = len(_array(arrays, "mean_shape", (None, 3), "f"))
    names = len(_array(arrays, "blendshape_names", (None,), "U"))
    shapes = {"identity_basis": None, "expression_basis": None, "blendshapes": names}
    bases = [_array(arrays, name, (count, control, 3), "f") for name, count in shapes.items()]
    full = len(_array(arrays, "mean_albedo", (None, 3), "f"))
    modes = [*map(len, bases), len(_array(arrays, "albedo_basis", (None, full, 3), "fi"))]
    size = 4 * 3 * full * (sum(modes) + 2)
    if max(control, full) > MAX_VERTICES or max(modes) > MAX_MODES or size > archive.MAX_BYTES:
        limits = f"{MAX_VERTICES} vertices, {MAX_MODES} modes and {archive.MAX_BYTES} bytes"
        raise ModelError(f"at most {limits} at the finest level. Received: {max(control, full)}, {modes}, {size}")
    if f"{_STEP.format(0)}indptr" not in arrays and control == full:
        return _Finest(*(field.astype(np.float32) for field in (arrays["mean_shape"], *bases)))
    fields = np.concatenate([arrays["mean_shape"][None], *bases]).astype(np.float32)
    fields = np.swapaxes(fields, 0, 1).reshape(control, -1)
    fields = subdivide(arrays, fields, full)
    fields = np.ascontiguousarray(np.swapaxes(fields.reshape(len(fields), -1, 3), 0, 1))
    mean, *bases = np.split(fields, np.cumsum([1, *map(len, bases)])[:-1])
    return _Finest(mean[0], *bases)


def _at_level(arrays: _Arrays, finest: _Finest, level: int) -> MorphableModel:
    """Reads what belongs to one level, checked."""
    full = len(finest.mean_shape)
    keep = _indices(arrays, f"level{level}_vertices", (None,), full)
    stored = _array(arrays, "albedo_basis", (None, full, 3), "fi").take(keep, axis=1).astype(np.float32)
    scale = _array(arrays, "albedo_scale", (len(stored),), "f").astype(np.float32)
    triangles = _indices(arrays, f"level{level}_triangles", (None, 3), len(keep))
    if (crowd := np.bincount(triangles.reshape(-1), minlength=1).max()) > MAX_TRIANGLES:
        raise ModelError(f"at most {MAX_TRIANGLES} triangles may meet at a vertex. Received: {crowd}")
    uv = _array(arrays, "uv", (None, 2), "f").astype(np.float32)
    region_names = [str(name) for name in _array(arrays, "region_names", (None,), "U")]
    regions = _array(arrays, "regions", (len(region_names), full), "b")[:, keep]
    if not set(REGIONS) <= set(region_names):
        raise ModelError(f"regions must include {REGIONS}. Received: {region_names}")
    return MorphableModel(
        name=str(_array(arrays, "name", (), "U")),
        licence=str(_array(arrays, "licence", (), "U")),
        level=level,
        mean_shape=finest.mean_shape[keep],
        identity_basis=finest.identity_basis.take(keep, axis=1),
        expression_basis=finest.expression_basis.take(keep, axis=1),
        mean_albedo=arrays["mean_albedo"][keep].astype(np.float32),
        albedo_basis=stored * scale[:, None, None],
        triangles=triangles,
        vertex_corners=corners_around(triangles, len(keep)),
        uv=uv,
        uv_triangles=_indices(arrays, f"level{level}_uv_triangles", triangles.shape, len(uv)),
        regions=dict(zip(region_names, regions, strict=True)),
        landmarks={name: _landmarks(arrays, level, name, len(keep)) for name in _landmark_sets(arrays, level)},
        blendshape_names=tuple(map(str, arrays["blendshape_names"])),
        blendshapes=finest.blendshapes.take(keep, axis=1),
    )


def _array(arrays: _Arrays, name: str, shape: tuple[int | None, ...], kinds: str) -> np.ndarray:
    """The array `name`, of a dtype kind in `kinds` and of `shape`, where None stands for any length above 0."""
    array = arrays[name]
    fits = array.ndim == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape, strict=True))
    if not fits or array.dtype.kind not in kinds:
        raise ModelError(f"{name} must have shape {shape} and kind {kinds!r}. Received: {array.dtype} {array.shape}")
    if array.dtype.itemsize > 4 and array.dtype.kind == "f" and np.abs(array).max(initial=0) > np.finfo("f4").max:
        raise ModelError(f"{name} must fit single precision. Received: {np.abs(array).max():.3g}")
    return array


def _indices(arrays: _Arrays, name: str, shape: tuple[int | None, ...], bound: int) -> np.ndarray:
    """The index array `name` as int32, all within [0, bound)."""
    array = _array(arrays, name, shape, "iu").astype(np.int64)
    if array.size and not 0 <= array.min() <= array.max() < bound:
        raise ModelError(f"{name} must lie in [0, {bound}). Received: {array.min()} to {array.max()}")
    return array.astype(np.int32)


def subdivide(arrays: _Arrays, fields: np.ndarray, full: int) -> np.ndarray:
    """Applies the subdivision matrices to `fields` [C, F]: [V, F]."""
    step = 0
    while f"{_STEP.format(step)}indptr" in arrays:
        prefix = _STEP.format(step)
        indices = _indices(arrays, prefix + "indices", (None,), len(fields))
        indptr = _indices(arrays, prefix + "indptr", (None,), len(indices) + 1)
        weights = _array(arrays, prefix + "weights", indices.shape, "f").astype(np.float32)
        terms = np.diff(indptr, prepend=0)[1:]
        whole = 0 < len(terms) <= full and indptr[0] == 0 and indptr[-1] == len(indices)
        if not whole or terms.min() < 1 or terms.max() > MAX_TERMS:
            raise ModelError(
                f"{prefix}indptr must rise by 1 to {MAX_TERMS} from 0 to {len(indices)}. Received: {indptr}"
            )
        fields = _sparse_product(indptr, indices, weights, fields)
        step += 1
    if len(fields) != full:
        raise ModelError(f"the subdivision must end at {full} vertices, as mean_albedo has. Received: {len(fields)}")
    return fields


def _sparse_product(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, fields: np.ndarray, block: int = 2048
) -> np.ndarray:
    """CSR matrix times dense `fields`, in blocks of rows that stay in the cache. NumPy only, for the device."""
    product = np.empty((len(indptr) - 1, fields.shape[1]), fields.dtype)
    for start in range(0, len(product), block):
        rows = indptr[start : start + block + 1]
        part = slice(rows[0], rows[-1])
        scaled = weights[part, None] * fields[indices[part]]
        product[start : start + block] = np.add.reduceat(scaled, rows[:-1] - rows[0], axis=0)
    return product


def _landmark_sets(arrays: _Arrays, level: int) -> list[str]:
    """Names of the landmark sets that a file has, or must have."""
    return [s for s in LANDMARK_SETS if s not in OPTIONAL_SETS or f"level{level}_landmarks_{s}_vertices" in arrays]


def _landmarks(arrays: _Arrays, level: int, name: str, vertex_count: int) -> Landmarks:
    """Reads a landmark set, checked."""
    prefix = f"level{level}_landmarks_{name}_"
    shape = (LANDMARK_SETS[name], 3)
    vertices = _indices(arrays, prefix + "vertices", shape, vertex_count)
    weights = _array(arrays, prefix + "weights", shape, "f").astype(np.float32)
    return Landmarks(vertices, weights, _moments(arrays, name))


def _moments(arrays: _Arrays, name: str) -> np.ndarray | None:
    """The second moments of a landmark set, checked; None where the file has none."""
    stored = _MOMENTS.format(name)
    if stored not in arrays:
        return None
    moments = _array(arrays, stored, (None, None, LANDMARK_SETS[name], uncertainty.MOMENTS), "f").astype(np.float32)
    xx, xy, yy = np.moveaxis(moments, -1, 0)
    if not (np.isfinite(moments).all() and (xx > 0).all() and (xx * yy > xy * xy).all()):
        raise ModelError(f"{stored} must be second moments, positive definite. Received: other numbers")
    return moments
