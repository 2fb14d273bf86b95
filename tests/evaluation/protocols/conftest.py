"""Tiny folders in the published layouts; truth and prediction are the synthetic face, or it is bent."""

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.test_scans import write_obj
from tf_deep3d import face
from tf_deep3d.evaluation import benchmark
from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.protocols import loading, surfaces
from tf_deep3d.face import geometry
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE

TURN = geometry.rotation_matrix(np.array([[0.1, 0.2, -0.1]]))[0]


@pytest.fixture(scope="module")
def points(tiny_model):
    """The landmarks [68, 3] of the synthetic face, dm."""
    return face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]


@pytest.fixture(scope="module")
def vertices(tiny_model):
    return tiny_model.mean_shape.astype(np.float64)


@pytest.fixture(scope="module")
def right(tiny_model, points, vertices):
    """The truth as a prediction: turned, in another unit, as methods give it."""
    moved = 3 * vertices @ TURN.T
    return Prediction(moved, tiny_model.triangles, 3 * points[INNER_FACE] @ TURN.T, neutral=vertices * MILLIMETRES)


@pytest.fixture(scope="module")
def bent(tiny_model, points, vertices):
    """The truth with waves of 4 mm."""
    waves = vertices + [0, 0, 0.04] * np.sin(12 * vertices[:, :1])
    return Prediction(waves, tiny_model.triangles, points[INNER_FACE])


def put_scan(path, tiny_model, points, vertices, unit=1.0, marks="txt"):
    """A scan in mm / unit somewhere in space, and its landmarks beside it."""
    place = (vertices * MILLIMETRES @ TURN.T + [30, 40, 900]) / unit
    where = (points * MILLIMETRES @ TURN.T + [30, 40, 900]) / unit
    write_obj(path, place, tiny_model.triangles)
    if marks == "txt":
        np.savetxt(path.with_suffix(".txt"), where)
    return where


def put_photo(path, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), (shade, shade, shade)).save(path)


def measured(tiny_model, name, data, out, prediction, **options):
    """Runs a protocol with a method that always gives `prediction`: (rows, protocol)."""
    protocol = loading.load(name, data, tiny_model, options)
    surfaces._kept.cache_clear()
    surfaces._seen.cache_clear()
    method = Method("given", lambda cases: [prediction] * len(cases), {}, detects=False)
    rows = benchmark.run(protocol.name, protocol.cases(out / "pictures"), [method], tiny_model, out)["given"]
    assert [row["reason"] for row in rows if row["reason"]] == []
    return rows, protocol
