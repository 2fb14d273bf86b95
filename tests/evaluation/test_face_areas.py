"""Parts of the open face, whose regions are known."""

import numpy as np
import pytest

from tf_deep3d import face as faces
from tf_deep3d.evaluation import face_areas, metrics
from tf_deep3d.evaluation.mesh_files import ANCHORS
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_LIPS, NOSE_TIP


@pytest.fixture(scope="module")
def model():
    return morphable_model.load(level=0)


@pytest.fixture(scope="module")
def shape(model):
    return model.mean_shape * MILLIMETRES


@pytest.fixture(scope="module")
def marks(model, shape):
    return faces.at_landmarks(model.landmarks["ibug68"], shape[None])[0]


def test_eyes_and_lids_are_left_out_and_the_rest_is_not(model, shape, marks):
    kept = face_areas.outside_eyes_and_mouth(shape, marks)
    seen = metrics.visible(shape, model.triangles) & metrics.within(shape, marks[NOSE_TIP])
    assert kept[seen & model.regions["eyes"]].mean() < 0.05
    assert kept[seen & model.regions["lids"]].mean() < 0.35
    rest = seen & ~model.regions["eyes"] & ~model.regions["lids"]
    assert kept[rest].mean() > 0.9


def test_an_open_mouth_is_left_out_inside_the_lips(shape, marks):
    opened = marks.copy()
    opened[INNER_LIPS, 1] += np.array([0, 4, 5, 4, 0, -12, -15, -12.0])
    inside = opened[INNER_LIPS].mean(0)
    places = inside + np.array([[0, 0, 0], [0, 12, 0], [0, -20, 0], [40, 0, 0.0]])
    assert face_areas.outside_eyes_and_mouth(places, opened).tolist() == [False, True, True, True]


def test_every_point_lies_in_one_area(shape, marks):
    found = face_areas.areas(shape, marks)
    np.testing.assert_array_equal(sum(inside.astype(int) for inside in found.values()), 1)
    assert list(found) == list(face_areas.AREAS)
    at = {name: [tuple(row) for row in np.argwhere(inside)] for name, inside in face_areas.areas(marks, marks).items()}
    where = {index: name for name, rows in at.items() for (index,) in rows}
    assert {where[i] for i in (28, 30, 33)} == {"nose"}
    assert {where[i] for i in (19, 24, 37, 44)} == {"eyes"}
    assert {where[i] for i in (51, 57, 62)} == {"mouth"}
    assert where[8] == "chin"
    assert {where[i] for i in (3, 13)} == {"cheeks"}
    assert face_areas.areas(marks[[30]] + [0, 95, -20], marks)["forehead"].all()


def test_seven_landmarks_give_the_same_areas(shape, marks):
    few = np.full_like(marks, np.nan)
    few[ANCHORS[7]] = marks[ANCHORS[7]]
    whole, part = face_areas.areas(shape, marks), face_areas.areas(shape, few)
    for name in face_areas.AREAS:
        np.testing.assert_array_equal(part[name], whole[name])
    few[:] = np.nan
    assert not any(inside.any() for inside in face_areas.areas(shape, few).values())
