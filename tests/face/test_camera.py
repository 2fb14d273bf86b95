import numpy as np

from tf_deep3d.face.camera import Camera, projection_jacobian, to_pixels, to_world, together


def test_the_optical_axis_meets_the_centre_of_the_picture():
    pixels, depth = to_pixels(Camera(), np.zeros((1, 1, 3)))
    np.testing.assert_allclose(pixels[0, 0], [112, 112])
    np.testing.assert_allclose(depth, 10)


def test_up_in_the_world_is_up_in_the_picture_and_near_is_large():
    pixels, depth = to_pixels(Camera(), np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 5.0]]]))
    np.testing.assert_allclose(pixels[0], [[112 + 101.5, 112 - 101.5], [112 + 203, 112 - 203]])
    assert depth[0, 1] < depth[0, 0]


def test_vertical_field_of_view_is_the_papers():
    camera = Camera()
    np.testing.assert_allclose(np.degrees(2 * np.arctan(camera.height / 2 / camera.focal)), 12.594, atol=1e-3)


def test_another_size_sees_the_same():
    points = np.random.default_rng(0).normal(size=(1, 9, 3))
    small, large = (to_pixels(Camera.for_size(size), points)[0] for size in (224, 448))
    np.testing.assert_allclose(large, 2 * small)


def test_world_undoes_pixels():
    points = np.random.default_rng(1).normal(size=(2, 9, 3))
    np.testing.assert_allclose(to_world(Camera(), *to_pixels(Camera(), points)), points, atol=1e-12)


def test_projection_jacobian_is_the_derivative():
    camera = Camera(400, 300, center=(200.0, 150.0))
    points = np.array([[0.3, -0.5, 1.0], [-1.0, 0.2, -0.4]])
    analytic = projection_jacobian(points, camera.distance - points[:, 2], camera)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        difference = to_pixels(camera, (points + step)[None])[0][0] - to_pixels(camera, (points - step)[None])[0][0]
        np.testing.assert_allclose(analytic[:, :, axis], difference / 2e-5, rtol=1e-6, atol=1e-4)


def test_a_camera_of_several_sees_what_each_sees():
    cameras = [Camera(), Camera(focal=250.0, center=(100.0, 120.0))]
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    pixels, depth = to_pixels(together(cameras), points)
    for index, camera in enumerate(cameras):
        alone = to_pixels(camera, points[index : index + 1])
        np.testing.assert_allclose(pixels[index], alone[0][0], rtol=1e-5)
        np.testing.assert_array_equal(depth[index], alone[1][0])
