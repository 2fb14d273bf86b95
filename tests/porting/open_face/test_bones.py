"""Bones: rigid motions out of displacements, affine controls, whole eyeballs."""

import numpy as np
from scipy.spatial.transform import Rotation

from tf_deep3d.porting.open_face import bones, geometry, surface


def test_rigid_motions_finds_turn_and_shift():
    rng = np.random.default_rng(0)
    points, center = rng.normal(size=(20, 3)), rng.normal(size=3)
    turns = np.array([[0.3, -0.2, 0.1], [0, 0, 0], [-0.5, 0, 0.4]])
    shifts = rng.normal(size=(3, 3))
    turned = [
        Rotation.from_rotvec(turn).apply(points - center) + center + shift
        for turn, shift in zip(turns, shifts, strict=True)
    ]
    found = bones.rigid_motions(points, np.stack(turned) - points, center)
    np.testing.assert_allclose(found[0], turns, atol=1e-9)
    np.testing.assert_allclose(found[1], shifts, atol=1e-9)
    np.testing.assert_allclose(found[2], 0, atol=1e-9)


def test_rigid_motions_says_what_it_leaves():
    points = np.eye(3)
    _, _, left = bones.rigid_motions(points, 0.1 * (points - points.mean(0))[None], points.mean(0))
    np.testing.assert_allclose(left, 0.1 * np.sqrt(6) / 3, atol=1e-6)


def test_affine_controls_carry_every_affine_map():
    rng = np.random.default_rng(1)
    points, origin = rng.normal(size=(9, 3)), rng.normal(size=3)
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    weights = bones.affine(points, origin)
    controls = np.linalg.pinv(weights) @ (points @ matrix + shift)
    np.testing.assert_allclose(controls[3], origin @ matrix + shift, atol=1e-9)
    other = rng.normal(size=(5, 3))
    np.testing.assert_allclose(bones.affine(other, origin) @ controls, other @ matrix + shift, atol=1e-9)


def test_back_of_eyeball_closes_the_front_to_a_ball():
    directions, quads, _ = surface.eye_disc()
    matrix, finer = geometry.subdivided(quads, len(directions))
    front = matrix @ directions
    triangles = geometry.split_quads(finer, finer, front)[0]
    back, behind, ring = bones.back_of_eyeball(front, triangles)
    every = np.concatenate([triangles, behind])
    directed = np.concatenate([every[:, [k, (k + 1) % 3]] for k in range(3)])
    numbers = directed @ [len(front) + len(back), 1]
    assert len(np.unique(numbers)) == len(numbers)
    assert np.isin(directed @ [1, len(front) + len(back)], numbers).all()
    np.testing.assert_allclose(front[ring].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=0.02)
