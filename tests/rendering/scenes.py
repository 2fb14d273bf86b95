"""Triangles to draw, for the tests of the renderer."""

import numpy as np
from keras import ops

from tests import oracles
from tf_deep3d.rendering import renderer

FRONT = np.array([[0, 1, 2]], np.int32)


def rasterize(pixels, depth, triangles, height, width, **options):
    """The fragments of one image, as NumPy: triangle, barycentrics, complete."""
    pixels, depth = np.asarray(pixels, np.float32)[None], np.asarray(depth, np.float32)[None]
    fragments = renderer.rasterize(pixels, depth, triangles, height, width, **options)
    return tuple(ops.convert_to_numpy(array)[0] for array in fragments)


def soup(seed, batch, count, height, width, size):
    """Random triangles, some of them partly outside or behind the camera: pixels, depth, triangles."""
    generator = np.random.default_rng(seed)
    centers = generator.uniform(-0.2, 1.2, (batch, count, 1, 2)) * [width, height]
    pixels = (centers + generator.normal(size=(batch, count, 3, 2)) * size).reshape(batch, -1, 2).astype(np.float32)
    depth = generator.uniform(5, 15, (batch, count * 3)).astype(np.float32)
    depth[generator.random(depth.shape) < 0.02] *= -1
    return pixels, depth, np.arange(3 * count, dtype=np.int32).reshape(count, 3)


def sphere(columns, rows):
    """Unit sphere, closed, triangles counter-clockwise from outside: vertices [V, 3], triangles [T, 3]."""
    polar = np.pi * np.arange(1, rows) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack([np.sin(around), 0 * around, np.cos(around)], axis=-1)
    points = [np.sin(p) * ring + [0, np.cos(p), 0] for p in polar]
    vertices = np.concatenate([*points, [[0, 1, 0], [0, -1, 0]]])
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b = index, np.roll(index, -1, axis=1)
    top, bottom = len(vertices) - 2, len(vertices) - 1
    quads = [np.stack(corners, -1).reshape(-1, 3) for corners in ((a[:-1], a[1:], b[1:]), (a[:-1], b[1:], b[:-1]))]
    caps = [np.stack([a[0], b[0], 0 * a[0] + top], -1), np.stack([b[-1], a[-1], 0 * a[0] + bottom], -1)]
    return vertices, np.concatenate([*quads, *caps]).astype(np.int32)


def gradient_case():
    """A small distorted mesh, its visibility, and random weights on interior pixels."""
    generator = np.random.default_rng(1)
    y, x = np.mgrid[:3, :3].reshape(2, -1) * 5.0 + 1.2
    pixels = (np.stack([x, y], axis=-1) + generator.uniform(-0.9, 0.9, (9, 2))).astype(np.float32)
    depth = generator.uniform(6, 12, 9).astype(np.float32)
    index = np.arange(9).reshape(3, 3)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, d, c), (a, c, b))]).astype(np.int32)
    attributes = generator.normal(size=(9, 2)).astype(np.float32)
    seen, _, _, margin = oracles.rasterize(pixels, depth, triangles, 12, 13)
    weights = generator.normal(size=(12, 13, 2)) * ((seen >= 0) & (margin > 1e-2))[..., None]
    assert (weights != 0).any(axis=-1).sum() > 40
    return pixels, depth, attributes, triangles, seen, weights
