"""Light: what it does to surfaces whose shading is known."""

import numpy as np
import pytest

from tf_deep3d.data.rendered import light
from tf_deep3d.face import lighting

LAMP, FRONT = np.array([0.0, 0.6, 0.8]), np.array([0.0, 0.0, 1.0])


def ball(center, radius, rings=24):
    """A closed sphere, counter-clockwise seen from outside: vertices and triangles."""
    across, down = np.meshgrid(np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False), np.linspace(0, np.pi, rings))
    points = np.stack([np.sin(down) * np.cos(across), np.cos(down), np.sin(down) * np.sin(across)], -1)
    index = np.arange(points[..., 0].size).reshape(points.shape[:2])
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    triangles = np.concatenate([np.stack(three, -1).reshape(-1, 3) for three in ((a, b, c), (b, d, c))])
    return (points.reshape(-1, 3) * radius + center).astype(np.float32), triangles


def lamp(sharpness=20.0, ambient=0.0, gain=1.0):
    return light.Light(
        np.array([0, 1.0, 0]), np.full(3, ambient), 0.0, LAMP[None], np.ones((1, 3)), np.array([sharpness]), gain
    )  # fmt: skip


def test_ambient_light_is_the_same_for_every_normal():
    white = light.irradiance_on(lamp(ambient=0.7)._replace(colors=np.zeros((1, 3))), light.sphere(200))
    np.testing.assert_allclose(white, 0.7, rtol=0.02)


def test_lamp_shines_with_the_cosine():
    """A bulb: irradiance is 1 where the surface faces it, the cosine beside it, 0 behind."""
    turned = np.radians([0, 30, 60, 120, 180])
    normals = np.stack([np.zeros(5), np.sin(np.arctan2(0.6, 0.8) + turned), np.cos(np.arctan2(0.6, 0.8) + turned)], 1)
    white = light.irradiance_on(lamp(60.0), normals)[:, 0]
    np.testing.assert_allclose(white, np.maximum(np.cos(turned), 0), atol=0.08)


def test_harmonics_are_the_light_a_camera_shows():
    """Within what nine harmonics can say of light without a hard edge; and exact where the light is even."""
    normals = light.sphere(300)
    for each, bound in ((lamp(4.0, 0.4), 0.04), (lamp(ambient=0.5)._replace(colors=np.zeros((1, 3))), 1e-2)):
        wanted = light.irradiance_on(each, normals) ** (1 / light.GAMMA)
        found = lighting.irradiance(normals[None], light.harmonics(each)[None])[0]
        assert np.abs(found - wanted).mean() < bound


def test_a_ball_sees_its_own_half_of_the_sky_and_not_through_another():
    big, triangles = ball([0, 0, 0], 1.0)
    small, more = ball([0, 0, 1.5], 0.2)
    surface = light.see(np.concatenate([big, small])[None], np.concatenate([triangles, more + len(big)]))
    cosine = big @ surface.directions.T
    own = surface.visible[: len(big)]
    toward = surface.directions[:, 2] < 0.5  # the small ball is in nobody's way there
    assert own[:, toward][cosine[:, toward] > 0.3].min() > 0.9
    assert own[cosine < -0.3].max() < 0.1
    straight = surface.directions[:, 2] < -0.97
    assert straight.any()
    assert surface.visible[len(big) :][:, straight].max() < 0.1


def test_what_one_shape_hides_another_may_show():
    big, triangles = ball([0, 0, 0], 1.0)
    small, more = ball([0, 0, 1.5], 0.2)
    away, _ = ball([0, 2.2, 1.5], 0.2)
    both = np.stack([np.concatenate([big, small]), np.concatenate([big, away])])
    seen = light.see(both, np.concatenate([triangles, more + len(big)]))
    straight = seen.directions[:, 2] < -0.97
    assert seen.visible[len(big) :][:, straight].max() > 0.9


@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_matt_skin_has_the_colour_of_albedo_times_light(gain):
    normals, each = light.sphere(100), lamp(ambient=0.3, gain=gain)
    albedo = np.random.default_rng(0).uniform(0.1, 0.9, (100, 3))
    surface = light.Surface(light.sphere(light.DIRECTIONS).astype(np.float32), np.ones((100, light.DIRECTIONS)))
    shown = light.shade(each, surface, albedo, normals, np.eye(3), np.zeros(100), 20.0)
    wanted = albedo * light.irradiance_on(each, normals) ** (1 / light.GAMMA)
    np.testing.assert_allclose(shown, wanted, atol=0.05)


def test_light_stays_in_the_world_when_the_head_turns():
    turn = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])
    surface = light.Surface(light.sphere(light.DIRECTIONS).astype(np.float32), np.ones((50, light.DIRECTIONS)))
    args = np.full((50, 3), 0.5), light.sphere(50)
    shown = [light.shade(lamp(), surface, *args, rotation, np.zeros(50), 9.0) for rotation in (np.eye(3), turn)]
    np.testing.assert_allclose(*shown, atol=0.05)


def test_gloss_shines_where_the_lamp_is_mirrored():
    half = (LAMP + FRONT) / np.linalg.norm(LAMP + FRONT)
    normals = np.stack([half, [0.6, 0, 0.8]])
    surface = light.Surface(light.sphere(light.DIRECTIONS).astype(np.float32), np.ones((2, light.DIRECTIONS)))
    args = surface, np.full((2, 3), 0.2), normals, np.eye(3)
    matt, glossy = (light.shade(lamp(), *args, np.full(2, gloss), 30.0) for gloss in (0, 1))
    assert (glossy - matt)[0].min() > 0.1
    assert (glossy - matt)[1].max() < 0.05


def test_cameras_expose_for_white():
    """White before the face is a little below 1, whoever stands there; what is very dark is lifted a little."""
    normals = light.sphere(512)
    front = normals[:, 2] > 0.5
    for skin in (0.2, 0.5, 0.7):
        each = [light.sample(np.random.default_rng(n), skin) for n in range(150)]
        shown = [
            (light.irradiance_on(one, normals)[front] @ lighting.LUMINANCE).mean() ** (1 / light.GAMMA) for one in each
        ]
        assert 0.75 < np.median(shown) < 1.1, skin
        assert np.quantile(shown, 0.95) * skin < 1
