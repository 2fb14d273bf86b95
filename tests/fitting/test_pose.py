import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.face import geometry, uncertainty
from tf_deep3d.face.camera import Camera, to_pixels, together
from tf_deep3d.fitting import pose


@pytest.fixture(scope="module")
def points(tiny_model):
    """The 68 landmarks of the mean face, unposed: [68, 3]."""
    return face.at_landmarks(tiny_model.landmarks["ibug68"], tiny_model.mean_shape[None])[0]


@pytest.mark.parametrize("yaw", [-80, -40, 0, 40, 80])
def test_landmark_pose_recovers_a_known_pose(points, yaw):
    truth = np.array([0.2, np.radians(yaw), -0.3, 0.1, -0.2, 0.4])
    pixels = to_pixels(Camera(), face.pose(points[None], truth[None, :3], truth[None, 3:]))[0][0]
    np.testing.assert_allclose(pose.landmark_pose(points, pixels, np.ones(68)), truth, atol=1e-4)


def test_landmark_pose_knows_other_cameras(points):
    camera = Camera(640, 480, 900.0, (300.0, 250.0), 12.0)
    truth = np.array([0.1, 0.3, -0.2, 0.5, -0.4, 1.0])
    pixels = to_pixels(camera, face.pose(points[None], truth[None, :3], truth[None, 3:]))[0][0]
    np.testing.assert_allclose(pose.landmark_pose(points, pixels, np.ones(68), camera), truth, atol=1e-4)


def test_landmark_pose_survives_one_wild_point(points):
    pixels = to_pixels(Camera(), points[None])[0][0].copy()
    pixels[5] += 60
    found = pose.landmark_pose(points, pixels, np.ones(68))
    np.testing.assert_allclose(found[:3], 0, atol=0.02)


def test_initial_coefficients_are_the_mean_face_in_the_photos_poses(tiny_model, points):
    angles = np.array([[0.2, -0.5, 0.1], [-0.1, 0.7, -0.4]])
    translation = np.array([[0.1, -0.2, 0.4], [-0.3, 0.1, -0.5]])
    pixels = to_pixels(Camera(), face.pose(np.stack([points] * 2), angles, translation))[0]
    start = pose.initial_coefficients(tiny_model, pixels, "white")
    np.testing.assert_allclose(start.angles, angles, atol=1e-4)
    np.testing.assert_allclose(start.translation, translation, atol=1e-4)
    assert start.illumination.shape == (2, 1, 9)
    assert not any(group.any() for group in (start.identity, start.expression, start.albedo, start.illumination))


def test_initial_pose_of_another_shape_is_in_the_rotation_convention(tiny_model):
    layout = tiny_model.layout()
    drawn = layout.split(np.random.default_rng(0).normal(size=(2, layout.total)).astype("float32"))
    truth = drawn._replace(angles=drawn.angles * 0.2, translation=drawn.translation * 0.05)
    start = pose.initial_coefficients(tiny_model, face.reconstruct(tiny_model, truth).landmarks, "rgb")
    difference = geometry.rotation_matrix(start.angles) @ geometry.rotation_matrix(truth.angles).swapaxes(1, 2)
    turned = np.degrees(np.arccos((np.trace(difference, axis1=1, axis2=2) - 1) / 2))
    assert (turned < 20).all()  # the mean shape is not theirs; a wrong sign would be off by 30 or more


def test_a_turned_head_shows_the_side_that_it_turns_to_us(tiny_model):
    """A positive yaw turns the nose to the picture's right, so that the side at negative x comes to the front."""
    start = tiny_model.layout().zeros(2)
    start = start._replace(angles=np.array([[0, 1.2, 0], [0, -1.2, 0]], "float32"))
    across = face.at_landmarks(tiny_model.landmarks["mediapipe478"], tiny_model.mean_shape[None])[0, :, 0]
    right, left = pose.facing(tiny_model, "mediapipe478", start)
    assert right.shape == (478,)
    assert np.corrcoef(across, right)[0, 1] < -0.5
    assert np.corrcoef(across, left)[0, 1] > 0.5
    for cosines in (right, left):
        weights = uncertainty.trust(cosines)
        assert weights.min() == pytest.approx(uncertainty.HIDDEN)
        assert weights.max() == pytest.approx(1.0)


def test_facing_is_the_cosine_between_normal_and_viewing_direction(tiny_model):
    start = tiny_model.layout().zeros(1)
    start.angles[0], start.translation[0] = [0.3, -0.4, 0.2], [0.5, 0.2, -1.0]
    posed = face.reconstruct(tiny_model, start, landmarks="ibug68")
    landmarks = tiny_model.landmarks["ibug68"]
    places, normals = (face.at_landmarks(landmarks, part)[0] for part in (posed.vertices, posed.normals))
    expected = np.sum(geometry.normalize(normals) * geometry.normalize([0, 0, 10] - places), axis=-1)
    np.testing.assert_allclose(pose.facing(tiny_model, "ibug68", start)[0], expected, atol=1e-5)


def test_trust_falls_to_that_of_hidden_landmarks():
    low, high = uncertainty.COSINES
    found = uncertainty.trust(np.array([-1.0, low, (low + high) / 2, high, 1.0]), hidden=0.2)
    np.testing.assert_allclose(found, [0.2, 0.2, 0.6, 1.0, 1.0])


def test_faces_are_posed_under_cameras_of_their_own(tiny_model):
    """Two faces, one near a short lens: the poses are found again, by the shapes that they start from."""
    rng = np.random.default_rng(0)
    start = (
        tiny_model.layout("rgb")
        .zeros(2)
        ._replace(
            identity=rng.normal(size=(2, len(tiny_model.identity_basis))).astype(np.float32),
            angles=np.float32([[0.2, -0.5, 0.1], [-0.1, 0.4, -0.4]]),
            translation=np.float32([[0.1, -0.2, 7.2], [-0.3, 0.1, -0.5]]),
        )
    )
    cameras = together([Camera(focal=280.0, center=(90.0, 130.0)), Camera()])
    seen = face.reconstruct(tiny_model, start, cameras)
    found = pose.posed(tiny_model, start._replace(angles=0 * start.angles), seen.landmarks, cameras)
    np.testing.assert_allclose(found.angles, start.angles, atol=1e-3)
    np.testing.assert_allclose(found.translation, start.translation, atol=1e-2)
    np.testing.assert_array_equal(found.identity, start.identity)
