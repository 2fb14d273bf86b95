"""Layers of skin that `portraits` lifted from portraits, over the vertices of a subdivided surface."""

from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from tf_deep3d import assets
from tf_deep3d.errors import InputError
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import surface
from tf_deep3d.porting.open_face.mesh import Mesh, subdivide
from tf_deep3d.porting.open_face.sources import Sources

SCHEMA = 1
SHIPPED = assets.find("open_face_portraits.npz")
LEVEL = 1  # of detail of the face's vertices that the components are stored at
SAME = 1e-4  # dm, on the base mesh, between the same vertex of the face and of the head


def read_components(path: str | Path = SHIPPED) -> np.ndarray:
    """The stored components [K, V, 3] float32, see `portraits.components`.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if it is something else.
    """
    arrays = archive.read_arrays(path)
    try:
        schema, modes, scale = int(arrays["schema"]), arrays["components"], arrays["scale"]
    except KeyError as error:
        raise InputError(f"{path} must hold components of portraits. Received: no {error}") from error
    if schema != SCHEMA or modes.ndim != 3 or scale.shape != modes.shape[:1]:
        raise InputError(f"{path} holds no components of schema {SCHEMA}. Received: {schema}, {modes.shape}")
    return modes.astype(np.float32) * scale[:, None, None].astype(np.float32)


def lifted_layers(sources: Sources, mesh: Mesh, whole: bool, components: np.ndarray) -> np.ndarray:
    """Optical density [K, V, 3] of one standard deviation of each of `components` [K, V1, 3].

    Args:
      sources: `Sources`.
      mesh: `Mesh` of the face, or of a head.
      whole: whether it is a head; beyond the face nothing is known of it, and the density is 0.
      components: of `read_components`.

    Raises:
      InputError: if the components belong to another face.
    """
    face = subdivide(surface.face_surface(sources), sources.vertices) if whole else mesh
    if components.shape[1] != face.sizes[LEVEL]:
        raise InputError(f"components must have {face.sizes[LEVEL]} vertices. Received: {components.shape[1]}")
    fine = np.stack([face.steps[LEVEL] @ each for each in components])
    if not whole:
        return fine
    distance, nearest = KDTree(face.place).query(mesh.place)
    return np.where((distance < SAME)[:, None], fine[:, nearest], 0)
