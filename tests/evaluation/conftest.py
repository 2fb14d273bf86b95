"""What the tests of the evaluation share."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.detection import alignment, detector
from tf_deep3d.evaluation import benchmark, metrics, open_benchmark
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import NOSE_TIP
from tf_deep3d.reconstruction.portraits import Portrait


def normals_of(vertices, triangles):
    return geometry.vertex_normals(vertices[None], triangles, geometry.corners_around(triangles, len(vertices)))[0]


@pytest.fixture(scope="session")
def face(tiny_model):
    """(vertices in mm, triangles, normals) of the synthetic face."""
    vertices = tiny_model.mean_shape.astype(np.float64) * MILLIMETRES
    return vertices, tiny_model.triangles, normals_of(vertices, tiny_model.triangles)


@pytest.fixture(scope="session")
def landmarks(tiny_model):
    """The landmarks [68, 3] of the synthetic mean face, dm."""
    return faces.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]


@pytest.fixture(scope="session")
def views(tiny_model, landmarks):
    """Six views of two subjects, both the synthetic mean face."""
    colors = np.full((len(tiny_model.mean_shape), 3), 128, np.uint8)
    region = metrics.within(tiny_model.mean_shape * MILLIMETRES, landmarks[NOSE_TIP] * MILLIMETRES)
    whole = [
        open_benchmark.subject(name, tiny_model.mean_shape, tiny_model.triangles, region, colors, landmarks, exact=True)
        for name in ("person0", "person1")
    ]
    return [view for number, who in enumerate(whole) for view in open_benchmark.views_of(number, who)[1:4]]


@pytest.fixture
def cases(views, tmp_path):
    return [benchmark.open_case(view, tmp_path / "pictures") for view in views]


def portrait_of(path, points, crop=None, transform=geometry.Similarity(0.5, 0.3, (12.0, -4.0))):  # noqa: B008
    """The `Portrait` of a face whose 68 landmarks in the photo are `points`; its crop is black by default."""
    crop = np.zeros((224, 224, 3), np.float32) if crop is None else crop
    detected = detector.Detection(1.0, np.zeros(4), np.zeros((478, 3)), points, np.zeros((5, 2)))
    return Portrait(path, np.zeros((4, 4, 3), np.uint8), (0, 0), alignment.Crop(crop, transform, 0.0), detected)


def result(number, yaw, rmse, group="person"):
    numbers = None if rmse is None else {"plane_rmse": rmse, "nme_box": 0.03, "coverage": 1.0, "albedo": None}
    return {
        "picture": f"p{number}", "group": f"{group}{number // 2}", "angles": [0.0, yaw, 0.0], "numbers": numbers,
        "reason": "no face found" if rmse is None else None,
        "sections": (f"subjects: {group}", *benchmark.yaw_section(yaw)), "photo": "nowhere.png",
    }  # fmt: skip


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    good = [result(i, yaw, 1.5 + 0.1 * rng.normal()) for i, yaw in enumerate([-60, 0, 30, 60, 0, -30])]
    good += [result(6, 80, 2.0, "james"), result(7, 0, None, "james")]
    bad = [
        row | {"numbers": row["numbers"] and row["numbers"] | {"plane_rmse": row["numbers"]["plane_rmse"] + 0.5}}
        for row in good
    ]
    return {"a_1": good, "b": bad}
