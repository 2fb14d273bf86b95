import numpy as np

from tests.foreign_face import PLACE, foreign_face
from tf_deep3d.face import morphable_model
from tf_deep3d.face.morphable_model import REGIONS
from tf_deep3d.porting import landmarks, regions

HEAD = foreign_face(back=True)
VERTICES = HEAD.vertices - PLACE
POINTS = VERTICES[HEAD.landmarks]


def test_regions():
    found = regions.face_regions(VERTICES, POINTS)
    x, _, z = VERTICES.T
    assert tuple(found) == REGIONS
    for name in ("skin", "inner_face", "lips", "lids", "eyes"):
        region = found[name]
        assert region.any(), name
        assert z[region].min() > -1, name  # nothing at the back of the head
        mirrored = region[: HEAD.front].reshape(51, 41)
        assert (mirrored != mirrored[:, ::-1]).mean() < 0.03, name  # landmarks are snapped to vertices
    assert min((found["eyes"] & (x < 0)).sum(), (found["eyes"] & (x > 0)).sum()) > 8
    for first, second in (
        ("skin", "lips"),
        ("skin", "eyes"),
        ("skin", "lids"),
        ("lids", "eyes"),
        ("skin", "inner_mouth"),
    ):
        assert not (found[first] & found[second]).any()
    assert (found["inner_face"] | ~found["skin"]).all()
    cheek = np.linalg.norm(VERTICES - [0.3, POINTS[33, 1], 0.2], axis=1).argmin()
    assert found["skin"][cheek]
    lip = np.linalg.norm(VERTICES - (POINTS[51] + POINTS[62]) / 2, axis=1).argmin()
    assert found["lips"][lip]
    assert found["inner_mouth"].sum() < found["lips"].sum()
    assert not found["inner_face"][np.abs(x) > 0.75].any()
    assert found["inner_face"][HEAD.landmarks[17:]].mean() > 0.95


def test_mouth_cavity_is_inner_mouth():
    cavity = POINTS[[62, 66]].mean(0) - [[0, 0, 0.3], [0, 0, 0.05], [0, 0, 2.0]]
    found = regions.face_regions(np.concatenate([cavity, VERTICES]), POINTS)
    assert found["inner_mouth"][:3].tolist() == [True, True, False]
    assert found["lips"][:3].tolist() == [False, False, False]


def test_known_regions_win():
    known = {"eyes": np.zeros(len(HEAD.vertices), bool), "skin": np.ones(len(HEAD.vertices), bool)}
    found = regions.face_regions(VERTICES, POINTS, known)
    assert found["skin"].all()
    assert not found["eyes"].any()


def test_point_in_polygon():
    arrow = np.array([[0.0, 0], [2, 0], [1, 0.5], [2, 2]])  # concave
    points = np.array([[0.5, 0.2], [1.5, 0.6], [1.2, 0.9], [-0.1, 0], [1.8, 1.75], [3, 0.2]])
    assert regions.within(points, arrow).tolist() == [True, False, True, False, True, False]


def test_rules_on_the_open_face_model():
    """Its own regions were made otherwise (texture map, mesh groups); the broad ones must agree."""
    model = morphable_model.load(level=0)
    found = regions.face_regions(model.mean_shape, landmarks.positions(model.landmarks["ibug68"], model.mean_shape))
    for name, least in (("inner_face", 0.85), ("skin", 0.5), ("lips", 0.4)):
        known = model.regions[name]
        assert (found[name] & known).sum() / (found[name] | known).sum() > least, name
