"""What the tests of the evaluation share."""

import numpy as np
import pytest

from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES


def normals_of(vertices, triangles):
    return geometry.vertex_normals(vertices[None], triangles, geometry.corners_around(triangles, len(vertices)))[0]


@pytest.fixture(scope="session")
def face(tiny_model):
    """(vertices in mm, triangles, normals) of the synthetic face."""
    vertices = tiny_model.mean_shape.astype(np.float64) * MILLIMETRES
    return vertices, tiny_model.triangles, normals_of(vertices, tiny_model.triangles)
