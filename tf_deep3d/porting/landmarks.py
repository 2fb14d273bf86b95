"""The 68 landmarks of a foreign model, and the five points of the alignment.

Letters: V vertices, T triangles, L landmarks.
"""

from itertools import combinations
from pathlib import Path

import numpy as np

from tf_deep3d.errors import first_line
from tf_deep3d.face.landmarks import INNER_EYE_CORNERS, MOUTH_CORNERS, NOSE_TIP, OUTER_EYE_CORNERS
from tf_deep3d.face.morphable_model import Landmarks
from tf_deep3d.porting import PortingError
from tf_deep3d.porting.containers import MAX_TEXT, checked_file, indices, numbers, read_json

# Of the 68: the corners of the eye on the picture's left and of the other one, the nose tip, the corners of the mouth.
ALIGNED_BY = [*np.stack([OUTER_EYE_CORNERS, INNER_EYE_CORNERS], 1).ravel(), NOSE_TIP, *MOUTH_CORNERS]
FILE_FORMAT = (
    "68 lines of a .txt (# begins a comment), an array in a .npy or a list in a .json: the 68 vertices in iBUG order, "
    "counted from 0 as the model's own file numbers them, or 68 points x y z in that file's unit and axes, or 68 times "
    "three vertices with their weights, v w v w v w"
)
WEIGHT_TOLERANCE = 1e-3  # that the weights of a landmark may be off 1, or below 0


def at_vertices(vertices: np.ndarray, triangles: np.ndarray) -> Landmarks:
    """Landmarks that are vertices.

    Args:
      vertices: [L] int.
      triangles: [T, 3] int.

    Returns:
      `Landmarks` [L], each in some triangle of its vertex, all weight on that vertex.

    Raises:
      PortingError: if a vertex belongs to no triangle.
    """
    owner = triangles.reshape(-1)
    order = np.argsort(owner, kind="stable")
    place = order[np.minimum(np.searchsorted(owner[order], vertices), len(order) - 1)]
    lost = np.flatnonzero(owner[place] != vertices)
    if lost.size:
        raise PortingError(f"every landmark must be a vertex of the surface. Received: landmarks {lost.tolist()}")
    corners = triangles[place // 3]
    return Landmarks(corners.astype(np.int32), np.eye(3, dtype=np.float32)[place % 3])


def at_points(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> tuple[Landmarks, np.ndarray]:
    """The places of the surface that are nearest to `points`.

    Args:
      points: [L, 3].
      vertices: [V, 3], in the same unit and frame.
      triangles: [T, 3] int.

    Returns:
      `Landmarks` [L], and their distances [L] from `points`.
    """
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    found = [_nearest(point, a, b, c) for point in points]
    chosen = triangles[[triangle for triangle, _, _ in found]]
    weights = np.array([weight for _, weight, _ in found], np.float32)
    return Landmarks(chosen.astype(np.int32), weights), np.array([distance for _, _, distance in found])


def _nearest(
    point: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray
) -> tuple[int, tuple[float, float, float], float]:
    """Nearest of the triangles (a, b, c) [T, 3] to `point`: its index, the barycentrics [3], the distance."""
    u, v, w = b - a, c - a, point - a
    uu, uv, vv, uw, vw = ((x * y).sum(-1) for x, y in ((u, u), (u, v), (v, v), (u, w), (v, w)))
    area = np.maximum(uu * vv - uv * uv, 1e-30)
    inner = np.stack([(vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area], -1)
    inside = (inner >= 0).all(-1) & (inner.sum(-1) <= 1)

    def along(length: np.ndarray, product: np.ndarray) -> np.ndarray:  # nearest place of an edge, in [0, 1]
        return np.clip(product / np.maximum(length, 1e-30), 0, 1)

    edge_u, edge_v = along(uu, uw), along(vv, vw)
    edge_c = along(uu - 2 * uv + vv, vw - uw - uv + uu)
    none = np.zeros_like(edge_u)
    choices = np.stack(
        [
            np.where(inside[:, None], inner, 0),
            np.stack([edge_u, none], -1),
            np.stack([none, edge_v], -1),
            np.stack([1 - edge_c, edge_c], -1),
        ]
    )
    off = choices[..., :1] * u + choices[..., 1:] * v - w
    squares = (off * off).sum(-1)
    side, triangle = np.unravel_index(squares.argmin(), squares.shape)
    s, t = choices[side, triangle]
    return triangle, (1 - s - t, s, t), np.sqrt(squares[side, triangle])


def read_landmarks(path: str | Path, vertices: np.ndarray, triangles: np.ndarray) -> Landmarks:
    """Reads the 68 landmarks from a user's file.

    Args:
      path: .txt, .npy or .json as `FILE_FORMAT` says.
      vertices: [V, 3] in the model file's own unit and axes.
      triangles: [T, 3] int.

    Returns:
      `Landmarks` [68].

    Raises:
      FileNotFoundError: if there is no such file.
      PortingError: if it holds anything else.
    """
    values = _values(checked_file(path, MAX_TEXT))
    name = f"{Path(path).name}: the landmarks"
    if values.shape == (68,):
        return at_vertices(indices(values, name, (68,), len(vertices)), triangles)
    if values.shape == (68, 6):
        return _weighted(values, name, len(vertices))
    if values.shape != (68, 3):
        raise PortingError(f"{Path(path).name} must hold {FILE_FORMAT}. Received: an array of shape {values.shape}")
    return at_points(numbers(values, name, (68, 3)), vertices, triangles)[0]


def _weighted(rows: np.ndarray, name: str, count: int) -> Landmarks:
    """`Landmarks` from three vertices with their weights a row: [68, 6]."""
    corners = indices(rows[:, ::2], f"{name}' vertices", (68, 3), count)
    return Landmarks(corners.astype(np.int32), barycentrics(rows[:, 1::2], name))


def barycentrics(weights: np.ndarray, name: str) -> np.ndarray:
    """`weights` [L, 3] in float32, none below 0.

    Raises:
      PortingError: if they do not sum to 1, or are no numbers.
    """
    weights = numbers(weights, f"{name}' weights", (None, 3))
    if weights.min() < -WEIGHT_TOLERANCE or abs(weights.sum(1) - 1).max() > WEIGHT_TOLERANCE:
        raise PortingError(f"{name}' weights must sum to 1. Received: {weights.sum(1).round(3).tolist()}")
    return np.maximum(weights, 0).astype(np.float32)


def _values(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".json":
            return np.array(read_json(path), np.float64)
        lines = (line.partition("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines())
        values = np.array([line for line in lines if line], np.float64)
        return values.reshape(-1) if values.shape[1:] == (1,) else values
    except PortingError:
        raise
    except Exception as error:  # NumPy and its parser of headers raise almost anything
        raise PortingError(f"{path.name} must hold {FILE_FORMAT}. Received: {first_line(error)}") from error


def positions(landmarks: Landmarks, vertices: np.ndarray) -> np.ndarray:
    """Where `landmarks` lie: [L, 3]."""
    return (vertices[landmarks.vertices] * np.asarray(landmarks.weights)[..., None]).sum(1)


def alignment_points(seven: Landmarks, vertices: np.ndarray) -> Landmarks:
    """The five points of the alignment from the seven points `ALIGNED_BY`.

    An eye's point lies half way between its corners, inside the head: a mean of three of the vertices around these, the
    three with which it comes nearest.

    Args:
      seven: `Landmarks` [7].
      vertices: [V, 3].

    Returns:
      `Landmarks` [5]: the eye on the picture's left and the other one, the nose tip, the corners of the mouth.
    """
    places = positions(seven, vertices)
    pairs = ((0, 1), (2, 3))
    threes = [np.array(list(combinations(np.unique(seven.vertices[list(pair)]), 3))) for pair in pairs]
    eyes = [
        at_points(places[list(pair)].mean(0, keepdims=True), vertices, three)[0]
        for pair, three in zip(pairs, threes, strict=True)
    ]
    parts = [*eyes, Landmarks(seven.vertices[4:], seven.weights[4:])]
    return Landmarks(np.concatenate([p.vertices for p in parts]), np.concatenate([p.weights for p in parts]))
