from dataclasses import replace

import numpy as np
import pytest

from tests.foreign_face import assert_centered, assert_model_is, foreign_face
from tf_deep3d import face
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Layout
from tf_deep3d.face.landmarks import MOUTH_CORNERS, NOSE_TIP, OUTER_EYE_CORNERS
from tf_deep3d.io import archive
from tf_deep3d.porting import PortingError, assemble, landmarks

HEAD = foreign_face(back=True)


def source(foreign=HEAD, **changes):
    known = assemble.Source(
        name="foreign",
        licence="none",
        origin="tests",
        vertices=foreign.vertices,
        triangles=foreign.triangles,
        identity=foreign.identity,
        expression=foreign.expression,
        landmarks=landmarks.at_vertices(foreign.landmarks, foreign.triangles),
        albedo=foreign.albedo,
        albedo_basis=foreign.albedo_basis,
    )
    return replace(known, **changes)


def load(tmp_path, arrays):
    archive.write_arrays(tmp_path / "model.npz", arrays, overwrite=True)
    return morphable_model.load(tmp_path / "model.npz")


@pytest.mark.parametrize("flipped", [False, True])
def test_whole_head(tmp_path, flipped):
    triangles = HEAD.triangles[:, ::-1] if flipped else HEAD.triangles
    model = load(tmp_path, assemble.model_arrays(source(triangles=triangles, uv=HEAD.uv, uv_triangles=triangles)))
    assert_model_is(model, HEAD)
    np.testing.assert_allclose(model.uv[model.uv_triangles], HEAD.uv[HEAD.triangles], atol=1e-6)
    assert_centered(model)
    assert (model.name, model.licence, model.level) == ("foreign", "none", 0)
    np.testing.assert_allclose(model.mean_albedo, HEAD.albedo, atol=1e-6)
    np.testing.assert_allclose(model.albedo_basis, HEAD.albedo_basis, atol=1e-6)
    found = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(found, model.mean_shape[HEAD.landmarks], atol=1e-6)


def test_cropped_head(tmp_path):
    cropped = assemble.crop_face(source(uv=HEAD.uv, uv_triangles=HEAD.triangles))
    model = load(tmp_path, assemble.model_arrays(cropped))
    assert model.mean_shape[:, 2].min() > -1  # the back is gone
    tip = HEAD.vertices[HEAD.landmarks[NOSE_TIP]]
    radius = 1.1 * np.linalg.norm(HEAD.vertices[HEAD.landmarks] - tip, axis=1).max()
    keep = np.flatnonzero(np.linalg.norm(HEAD.vertices - tip, axis=1) <= radius)
    keep = keep[np.isin(keep, HEAD.triangles[np.isin(HEAD.triangles, keep).all(1)])]
    assert 0.5 * HEAD.front < len(keep) < HEAD.front
    assert_model_is(model, HEAD, keep=keep)
    np.testing.assert_allclose(model.mean_albedo, HEAD.albedo[keep], atol=1e-6)
    place = np.full(len(HEAD.vertices), -1)
    place[keep] = np.arange(len(keep))
    found = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    np.testing.assert_allclose(found, model.mean_shape[place[HEAD.landmarks]], atol=1e-6)
    np.testing.assert_allclose(model.uv[model.uv_triangles], HEAD.uv[keep][model.triangles], atol=1e-6)


def test_face_fills_the_picture_like_the_codes(tmp_path):
    model = load(tmp_path, assemble.model_arrays(source()))
    zeros = Layout(5, 4, 3).zeros(1)
    pixels = face.reconstruct(model, zeros, Camera()).landmarks[0]
    center = (pixels[36:48].mean(0) + pixels[list(MOUTH_CORNERS)].mean(0)) / 2
    np.testing.assert_allclose(center, [112, 112], atol=12)
    assert 0 < pixels[:, 1].min() < pixels[:, 1].max() < 224
    right, left = OUTER_EYE_CORNERS
    assert pixels[right, 0] < pixels[left, 0]
    assert pixels[19, 1] < pixels[57, 1]


def test_given_center_and_alignment(tmp_path):
    center = np.array([0.1, 0.2, 0.3])
    points = HEAD.vertices[[500, 510, 520, 530, 900, 1400, 1420]]
    model = load(tmp_path, assemble.model_arrays(source(center=center, alignment=points)))
    assert_model_is(model, HEAD, center)
    found = landmarks.positions(model.landmarks["alignment5"], model.mean_shape)
    eyes = points[:4].reshape(2, 2, 3).mean(1) - center
    np.testing.assert_allclose(found, [*eyes, *(points[4:] - center)], atol=1e-6)
    with pytest.raises(PortingError, match=r"alignment points must lie on the face. Received: 0\.[45]\d dm"):
        assemble.model_arrays(source(alignment=points + np.array([0, 0, 0.5])))


def test_eyes_are_aligned_half_way_between_their_corners(tmp_path):
    model = load(tmp_path, assemble.model_arrays(source()))
    corners = model.mean_shape[HEAD.landmarks[[36, 39, 42, 45]]].reshape(2, 2, 3)
    eyes = landmarks.positions(model.landmarks["alignment5"], model.mean_shape)[:2]
    np.testing.assert_allclose(eyes, corners.mean(1), atol=1e-6)
    assert (eyes[:, 2] < corners[..., 2].max(1)).all()  # inside the head


def test_plain_albedo(tmp_path):
    model = load(tmp_path, assemble.model_arrays(source(albedo=None, albedo_basis=None)))
    assert len(model.albedo_basis) == 2
    assert not np.ptp(model.mean_albedo[model.regions["skin"]], axis=0).any()
    assert (model.mean_albedo[model.regions["lips"]][0] != model.mean_albedo[model.regions["skin"]][0]).any()
    assert not model.albedo_basis[:, model.regions["eyes"]].any()
    for amounts in (-2, 2):
        tones = face.albedo(model, np.full((1, 2), amounts))
        assert 0 < tones.min() < tones.max() < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": HEAD.vertices * [-1, 1, 1]}, "landmark 36 must be at -x"),
        ({"vertices": HEAD.vertices * [1, -1, 1]}, r"the brows \(17 to 26\) must be above"),
        ({"vertices": HEAD.vertices * [1, 1, -1]}, r"the nose tip \(30\) must be in front"),
        ({"vertices": HEAD.vertices * 10}, "0.5 to 1.5 dm apart. Received: .* 8.80 dm apart"),
        ({"landmarks": landmarks.at_vertices(HEAD.landmarks[::-1], HEAD.triangles)}, "iBUG order"),
        ({"identity": HEAD.identity[:, 1:]}, r"identity must have the shape \(None, 4182, 3\)"),
        ({"expression": HEAD.expression[:0]}, "expression must have 1 to 1000 modes. Received: 0"),
        ({"albedo": HEAD.albedo * np.nan}, "albedo must be finite"),
        ({"albedo_basis": None}, "must have albedo modes. Received: none"),
        ({"triangles": HEAD.triangles + 1}, "triangles must lie in"),
        ({"uv": HEAD.uv[:5], "uv_triangles": HEAD.triangles}, "uv_triangles must lie in"),
        ({"vertices": HEAD.vertices[:0]}, "vertices. Received: 0"),
    ],
)
def test_misfits(change, message):
    with pytest.raises(PortingError, match=message):
        assemble.model_arrays(source(**change))


def test_crop_keeps_the_landmarks():
    keep = np.ones(len(HEAD.vertices), bool)
    keep[HEAD.landmarks[8]] = False
    with pytest.raises(PortingError, match=r"every landmark. Received: without \[8\]"):
        assemble.crop(source(), keep)
    with pytest.raises(PortingError, match=r"leave a triangle\. Received: 0"):
        assemble.crop(source(), ~np.ones_like(keep))


def test_file_bytes_are_reproducible(tmp_path):
    for name in ("a", "b"):
        archive.write_arrays(tmp_path / name, assemble.model_arrays(source()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
