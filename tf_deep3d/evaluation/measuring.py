"""How far a reconstructed face is from the truth: what a method says, and what is measured of it.

Letters: V vertices, T triangles, L landmarks, P points of the truth.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias

import numpy as np

from tf_deep3d.evaluation import metrics, model_people, open_benchmark, registration
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.evaluation.report import error_colors
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import COUNT
from tf_deep3d.rendering import clay

TONES = {  # of `model_people.SKIN_TONES` -> the column in which the albedo's error is told
    "very light": "light", "light": "light", "intermediate": "medium", "tan": "medium", "brown": "dark", "dark": "dark",
}  # fmt: skip
ICP_POINTS = 4000  # of the truth that move the mesh; all of them are measured

# A mesh for a picture: vertices [V, 3] mm in the face model's frame, triangles [T, 3], normals [V, 3].
Surface: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


class Prediction(NamedTuple):
    """What a method says about the photos of a case.

    Attributes:
      vertices: [V, 3], any unit: the shape as the case wants it (`Case.neutral`), unposed or not.
      triangles: [T, 3] int.
      anchors: [L, 3], points of the shape that say roughly where it lies.
      anchor_indices: [L] int, which of the 68 landmarks they are.
      landmarks: [68, 2] photo px, or None.
      angles: [3] pitch, yaw, roll in degrees, or None.
      albedo: [V, 3] in [0, 1], or None.
      neutral: [V, 3] mm, the person's shape without expression, or None: shapes of a person are compared.
      likeness: function without arguments -> (photo, rendering in it), both [224, 224, 3] RGB in [0, 1], or None.
      confidence: [K] in (0, 1), the mean over the photos of C-Net's, or None.
      arkit: function without arguments -> for each photo with a face the weights in [0, 1] of ARKit's units by name,
        those of several photos as frames of a clip; or None.
      jaw_line: [17, 2] photo px, the edge of the jaw, where `landmarks` has the visible contour; or None.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    anchors: np.ndarray
    anchor_indices: np.ndarray = ANCHORS[COUNT]
    landmarks: np.ndarray | None = None
    angles: np.ndarray | None = None
    albedo: np.ndarray | None = None
    neutral: np.ndarray | None = None
    likeness: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    confidence: np.ndarray | None = None
    jaw_line: np.ndarray | None = None
    arkit: Callable[[], dict[str, dict[str, float]]] | None = None


class Truth(NamedTuple):
    """The surface that a case is measured at, in mm, in the face model's frame.

    Attributes:
      points: [P, 3].
      normals: [P, 3] unit.
      landmarks: [68, 3], NaN where one is not known.
    """

    points: np.ndarray
    normals: np.ndarray
    landmarks: np.ndarray


class Measurement(NamedTuple):
    """How far a prediction is from the truth.

    Attributes:
      numbers: name in `report.MEASURES` -> number; those that apply.
      errors: [P] mm at the truth's points, NaN where the prediction has no surface; P may be 0.
      picture: function without arguments -> [H, W, 3] uint8, the prediction, and beside it the errors on the truth; or
        None.
    """

    numbers: dict[str, float]
    errors: np.ndarray
    picture: Callable[[], np.ndarray] | None = None


def together(measured: Sequence[Measurement]) -> Measurement:
    """Several `Measurement`s of one truth as one: means of the numbers and of the errors, the first picture."""
    if len(measured) == 1:
        return measured[0]
    names = dict.fromkeys(name for each in measured for name in each.numbers)
    numbers = {name: mean([each.numbers[name] for each in measured if name in each.numbers]) for name in names}
    return Measurement(numbers, np.mean([each.errors for each in measured], axis=0), measured[0].picture)


def remembering() -> Callable[[str, Prediction, Callable[[], Measurement]], Measurement]:
    """A function (name of a truth, prediction, measure) -> `measure()`, once for each shape of the last truth."""
    known = {}

    def measured(truth: str, prediction: Prediction, measure: Callable[[], Measurement]) -> Measurement:
        key = (truth, hashlib.sha256(np.asarray(prediction.vertices).tobytes()).digest())
        found = known.get(key)
        if found is None:
            for old in [old for old in list(known) if old[0] != truth]:
                known.pop(old, None)
            found = known[key] = measure()
        return found

    return measured


def truth_of(subject: open_benchmark.Subject) -> Truth:
    """The `Truth` of a subject of the open benchmark."""
    points = subject.vertices[subject.region] * MILLIMETRES
    return Truth(points, subject.normals[subject.region], subject.landmarks * MILLIMETRES)


def measure_view(view: open_benchmark.View, prediction: Prediction) -> Measurement:
    """`Measurement` of a prediction for a view of the open benchmark."""
    subject = view.subject
    truth = truth_of(subject)
    aligned, normals = align(prediction, *truth)
    far = metrics.distances(aligned, prediction.triangles, normals, truth.points)
    numbers = {
        "plane_rmse": metrics.root_mean_square(far.plane),
        "point_mean": mean(far.point[np.isfinite(far.plane)]),
        "coverage": far.coverage,
    }
    if subject.exact and prediction.landmarks is not None:
        for kind in ("box", "eyes"):
            numbers[f"nme_{kind}"] = float(
                metrics.landmark_nme(prediction.landmarks[None], view.landmarks[None], kind)[0]
            )
    if subject.exact and prediction.angles is not None:
        numbers["pose"] = float(metrics.pose_errors(prediction.angles, view.angles).mean())
    if prediction.albedo is not None and not subject.lit:
        colors = prediction.albedo[far.nearest] - subject.colors[subject.region]
        error = mean(np.abs(colors[np.isfinite(far.plane)]))
        numbers |= {"albedo": error, f"albedo_{TONES[model_people.skin_tone(subject)]}": error}
    everywhere = np.full(len(subject.vertices), np.nan)
    everywhere[subject.region] = far.plane
    millimetres = subject.vertices * MILLIMETRES
    sides = (aligned, prediction.triangles, normals), (millimetres, subject.triangles, subject.normals)
    return Measurement(numbers, far.plane, partial(pictures, *sides, everywhere))


def pictures(prediction: Surface, truth: Surface, errors: np.ndarray) -> np.ndarray:
    """A prediction, and beside it the errors on the truth, from the front: [H, 2 H, 3] uint8.

    Args:
      prediction, truth: `Surface`s.
      errors: [P] mm at the truth's vertices, NaN where none was measured.
    """
    sides = [
        clay.picture(vertices / MILLIMETRES, triangles, normals, colors)
        for (vertices, triangles, normals), colors in ((prediction, None), (truth, error_colors(errors)))
    ]
    return np.concatenate(sides, 1)


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of numbers, NaN without a warning if there is none."""
    return float(np.mean(values)) if len(values) else math.nan


def align(
    prediction: Prediction,
    points: np.ndarray,
    point_normals: np.ndarray,
    landmarks: np.ndarray,
    steps: int = registration.ICP_STEPS,
    scale: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a prediction on the truth, by landmarks and ICP.

    Args:
      prediction: `Prediction`.
      points: [P, 3] mm.
      point_normals: [P, 3] unit.
      landmarks: [68, 3] mm, NaN where one is not known.
      steps: of ICP; 0 leaves the prediction where the landmarks put it.
      scale: also search the isotropic scale; without, the prediction must be in mm.

    Returns:
      The prediction's vertices [V, 3] in mm, and their normals [V, 3].
    """
    vertices, triangles = np.asarray(prediction.vertices, np.float64), np.asarray(prediction.triangles)
    normals = geometry.vertex_normals(
        vertices[None], triangles, _corners(triangles.astype(np.int32).tobytes(), len(vertices))
    )[0]
    start = registration.similarity_from_landmarks(prediction.anchors, landmarks[prediction.anchor_indices], scale)
    pick = np.linspace(0, len(points) - 1, min(ICP_POINTS, len(points))).round().astype(int)
    move = registration.icp(vertices, normals, points[pick], point_normals[pick], start, scale, steps)
    return move.apply(vertices), normals @ move.rotation.T


@lru_cache(maxsize=2)
def _corners(triangles: bytes, count: int) -> np.ndarray:
    """`geometry.corners_around` of the bytes of int32 triangles; a method's meshes often share theirs."""
    return geometry.corners_around(np.frombuffer(triangles, np.int32).reshape(-1, 3), count)
