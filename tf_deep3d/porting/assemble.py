"""From what a foreign model holds, in our units and axes, to the arrays of a model file.

Letters: V vertices, T triangles, U texture points, L landmarks, N blendshapes; Ki, Ke, Kt identity, expression and
albedo modes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tf_deep3d.arrays import Array
from tf_deep3d.face.coefficients import MAX_MODES
from tf_deep3d.face.geometry import triangle_normals
from tf_deep3d.face.landmarks import BROWS, JAW, NOSE_TIP, OUTER_EYE_CORNERS, OUTER_LIPS
from tf_deep3d.face.morphable_model import MAX_VERTICES, SCHEMA, Landmarks
from tf_deep3d.porting import PortingError, landmarks, unwrap
from tf_deep3d.porting.regions import face_regions

# The mean of the five alignment points of the paper's code (its similarity_Lm3D_all.mat), dm: with a model's own five
# points there, a face without translation fills the 224 px picture like the paper's.
ALIGNMENT_CENTER = (0.0, -0.046, 0.253)
CROP_MARGIN = 1.1  # of the distance from the nose tip to the farthest landmark
EYE_DISTANCE = (0.5, 1.5)  # dm between the outer corners of the eyes, of any human
ALIGNMENT_TOLERANCE = 0.3  # dm that given alignment points may lie off the surface
CHIN = (JAW.start + JAW.stop) // 2  # the middle of the jaw's points
# Without an albedo model: constant colours of skin, lips, mouth and eyes (RGB in [0, 1]), and two modes of the skin,
# one standard deviation each: darker and paler, redder and yellower. There is no texture in them.
PLAIN = {"skin": (0.64, 0.47, 0.39), "lips": (0.60, 0.37, 0.33), "inner_mouth": (0.35, 0.14, 0.13), "eyes": (0.72,) * 3}
PLAIN_MODES = ((0.13, 0.115, 0.105), (0.035, -0.015, -0.015))


@dataclass(frozen=True)
class Source:
    """A foreign model in dm and in the world's axes, at any place.

    Attributes:
      name, licence, origin: text; `origin` names the files.
      vertices: [V, 3], the mean neutral shape.
      triangles: [T, 3] int, of either orientation, but all of the same.
      identity: [Ki, V, 3] for one standard deviation.
      expression: [Ke, V, 3] for one standard deviation; none of it is the neutral face.
      landmarks: `Landmarks` [68], iBUG.
      albedo: [V, 3] RGB in [0, 1], or None: plain colours.
      albedo_basis: [Kt, V, 3] RGB for one standard deviation, or None.
      uv: [U, 2] with the origin at the bottom left, on one or more unit tiles, or None: unwrapped on a cylinder.
      uv_triangles: [T, 3] int into `uv`, or None.
      regions: name -> bool [V], what the source knows; the rest follows `regions.face_regions`.
      blendshape_names: N names.
      blendshapes: [N, V, 3] at full strength, or None.
      center: [3], the point that becomes the world's origin, or None: see `ALIGNMENT_CENTER`.
      alignment: [7, 3], points `landmarks.ALIGNED_BY` to align photos by, or None: those of the landmarks.
    """

    name: str
    licence: str
    origin: str
    vertices: np.ndarray
    triangles: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    landmarks: Landmarks
    albedo: np.ndarray | None = None
    albedo_basis: np.ndarray | None = None
    uv: np.ndarray | None = None
    uv_triangles: np.ndarray | None = None
    regions: dict = field(default_factory=dict)
    blendshape_names: tuple = ()
    blendshapes: np.ndarray | None = None
    center: np.ndarray | None = None
    alignment: np.ndarray | None = None


def crop_face(source: Source) -> Source:
    """Cuts off the back of a head: keeps what is no farther from the nose tip than 1.1 times its farthest landmark."""
    points = landmarks.positions(source.landmarks, source.vertices)
    tip = points[NOSE_TIP]
    radius = CROP_MARGIN * np.linalg.norm(points - tip, axis=1).max()
    return crop(source, np.linalg.norm(source.vertices - tip, axis=1) <= radius)


def crop(source: Source, keep: np.ndarray) -> Source:
    """Keeps the triangles of `source` with all corners in `keep` (bool [V]), and their vertices.

    Raises:
      PortingError: if a landmark is cut off, or nothing is left.
    """
    chosen = keep[source.triangles].all(1)
    used = np.unique(source.triangles[chosen])
    if not used.size:
        raise PortingError(f"the crop must leave a triangle. Received: {int(keep.sum())} vertices to keep")
    place = np.full(len(source.vertices), -1)
    place[used] = np.arange(len(used))
    weights = np.asarray(source.landmarks.weights)
    corners = np.where(weights > 0, place[source.landmarks.vertices], place[used[0]])
    lost = np.flatnonzero((corners < 0).any(1))
    if lost.size:
        raise PortingError(f"the crop must keep every landmark. Received: without {lost.tolist()}")

    def rows(values: np.ndarray | None) -> np.ndarray | None:  # [.., V, 3] of the kept vertices
        return None if values is None else values[..., used, :]

    return replace(
        source,
        vertices=source.vertices[used],
        triangles=place[source.triangles[chosen]],
        landmarks=Landmarks(corners.astype(np.int32), weights),
        uv_triangles=None if source.uv_triangles is None else source.uv_triangles[chosen],
        regions={name: np.asarray(mask)[used] for name, mask in source.regions.items()},
        identity=rows(source.identity),
        expression=rows(source.expression),
        albedo=rows(source.albedo),
        albedo_basis=rows(source.albedo_basis),
        blendshapes=rows(source.blendshapes),
    )


def model_arrays(source: Source) -> dict[str, Array]:
    """The arrays of the model file, with one level of detail.

    Turns the triangles counter-clockwise, moves the world's origin into the head, derives the alignment points, the
    missing regions, the texture map and plain colours.

    Args:
      source: `Source`.

    Returns:
      Dict of arrays as `morphable_model.load` describes them, bases in float32.

    Raises:
      PortingError: if the parts do not fit together, or the landmarks do not look like those of an upright face.
    """
    _check(source)
    points = landmarks.positions(source.landmarks, source.vertices)
    _check_frame(points)
    triangles, uv_triangles = source.triangles, source.uv_triangles
    if not _faces_front(source):
        triangles = triangles[:, ::-1]
        uv_triangles = None if uv_triangles is None else uv_triangles[:, ::-1]

    if source.alignment is None:
        marks, by = source.landmarks, landmarks.ALIGNED_BY
        seven = Landmarks(marks.vertices[by], marks.weights[by])
    else:
        seven, distance = landmarks.at_points(np.asarray(source.alignment), source.vertices, triangles)
        if distance.max() > ALIGNMENT_TOLERANCE:
            raise PortingError(f"the alignment points must lie on the face. Received: {distance.max():.2f} dm off it")
    alignment = landmarks.alignment_points(seven, source.vertices)
    center = source.center
    if center is None:
        center = landmarks.positions(alignment, source.vertices).mean(0) - ALIGNMENT_CENTER
    vertices, points = source.vertices - center, points - center

    regions = face_regions(vertices, points, source.regions)
    if source.uv is None or uv_triangles is None:
        jaw_ends = points[[JAW.start, JAW.stop - 1]]
        uv, uv_triangles = unwrap.cylinder(vertices, triangles, jaw_ends[:, 2].mean())
    else:
        uv, uv_triangles = unwrap.pack_tiles(source.uv, uv_triangles)
    albedo, albedo_basis = source.albedo, source.albedo_basis
    if albedo is None:
        albedo, albedo_basis = plain_albedo(regions)
    if albedo_basis is None:
        raise PortingError("a model with an albedo must have albedo modes. Received: none")
    blendshapes = np.zeros((0, len(vertices), 3)) if source.blendshapes is None else source.blendshapes
    arrays = {
        "schema": np.int64(SCHEMA),
        "name": np.array(source.name),
        "licence": np.array(source.licence),
        "source": np.array(source.origin),
        "mean_shape": vertices.astype(np.float32),
        "identity_basis": source.identity.astype(np.float32),
        "expression_basis": source.expression.astype(np.float32),
        "blendshape_names": np.array(source.blendshape_names, dtype=np.str_),
        "blendshapes": blendshapes.astype(np.float32),
        "mean_albedo": np.clip(albedo, 0, 1).astype(np.float32),
        "albedo_basis": albedo_basis.astype(np.float32),
        "albedo_scale": np.ones(len(albedo_basis), np.float32),
        "levels": np.int64(1),
        "level0_vertices": np.arange(len(vertices), dtype=np.int32),
        "level0_triangles": triangles.astype(np.int32),
        "level0_uv_triangles": uv_triangles,
        "uv": uv,
        "region_names": np.array(list(regions)),
        "regions": np.stack(list(regions.values())),
    }
    for name, surface_points in (("ibug68", source.landmarks), ("alignment5", alignment)):
        arrays[f"level0_landmarks_{name}_vertices"] = np.asarray(surface_points.vertices, np.int32)
        arrays[f"level0_landmarks_{name}_weights"] = np.asarray(surface_points.weights, np.float32)
    return arrays


def plain_albedo(regions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Constant colours per region and two modes of the skin's colour: `PLAIN` and `PLAIN_MODES`.

    Args:
      regions: name -> bool [V].

    Returns:
      [V, 3] and [2, V, 3].
    """
    albedo = np.tile(PLAIN["skin"], (len(regions["lips"]), 1))
    for name in ("lips", "inner_mouth", "eyes"):
        albedo[regions[name]] = PLAIN[name]
    varies = ~(regions["inner_mouth"] | regions["eyes"])
    return albedo, np.array(PLAIN_MODES)[:, None, :] * varies[None, :, None]


def _check(source: Source) -> None:
    count = len(source.vertices)
    if not 0 < count <= MAX_VERTICES:
        raise PortingError(f"the model must have 1 to {MAX_VERTICES} vertices. Received: {count}")
    shapes = {
        "vertices": (count, 3), "identity": (None, count, 3), "expression": (None, count, 3), "albedo": (count, 3),
        "albedo_basis": (None, count, 3), "blendshapes": (len(source.blendshape_names), count, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        values = getattr(source, name)
        if values is None:
            continue
        if values.ndim != len(shape) or any(w not in (None, h) for w, h in zip(shape, values.shape, strict=True)):
            raise PortingError(f"{name} must have the shape {shape}. Received: {values.shape}")
        if shape[0] is None and not 0 < len(values) <= MAX_MODES:
            raise PortingError(f"{name} must have 1 to {MAX_MODES} modes. Received: {len(values)}")
        if not np.isfinite(values).all():
            raise PortingError(f"{name} must be finite. Received: NaN or infinity")
    for name, limit in (("triangles", count), ("uv_triangles", 0 if source.uv is None else len(source.uv))):
        values = getattr(source, name)
        if values is not None and not 0 <= values.min() <= values.max() < limit:
            raise PortingError(f"{name} must lie in [0, {limit}). Received: {values.min()} to {values.max()}")


def _check_frame(points: np.ndarray) -> None:
    """Landmarks in the wrong order, axes or unit would spoil everything silently."""
    left, right = points[list(OUTER_EYE_CORNERS)]
    brows = np.concatenate([points[brow] for brow in BROWS]).mean(0)
    mouth, chin = points[OUTER_LIPS].mean(0), points[CHIN]
    wide = np.linalg.norm(right - left)
    tests = {
        "the eye of landmark 36 must be at -x, that of landmark 45 at +x": left[0] < right[0],
        "the brows (17 to 26) must be above the eyes, these above the mouth (48 to 59), this above the chin (8)": (
            brows[1] > (left[1] + right[1]) / 2 > mouth[1] > chin[1]
        ),
        "the nose tip (30) must be in front (+z) of the eyes": points[NOSE_TIP, 2] > max(left[2], right[2]),
        f"the eyes' outer corners must be {EYE_DISTANCE[0]} to {EYE_DISTANCE[1]} dm apart": (
            EYE_DISTANCE[0] < wide < EYE_DISTANCE[1]
        ),
    }
    for rule, holds in tests.items():
        if not holds:
            raise PortingError(
                f"the 68 landmarks must be in iBUG order, on an upright face that looks along +z: {rule}. Received: "
                f"36 at {left.round(2).tolist()}, 45 at {right.round(2).tolist()}, {wide:.2f} dm apart"
            )


def _faces_front(source: Source) -> bool:
    """Whether the triangles around the nose, eyes and mouth turn counter-clockwise seen from the front."""
    inner = np.unique(np.asarray(source.landmarks.vertices)[JAW.stop :])
    near = np.isin(source.triangles, inner).any(1)
    return triangle_normals(source.vertices[None], source.triangles[near])[0, :, 2].sum() > 0
