"""Slow, readable NumPy truths against which the fast code is tested. Everything here is float64 and loops."""

import numpy as np


def rasterize(pixels, depth, triangles, height, width, cull=True, near=1e-2):
    """Casts a ray through every pixel centre of one image.

    Args:
      pixels: [V, 2] in px, x right, y down.
      depth: [V] in dm.
      triangles: [T, 3] int, counter-clockwise from outside with y up.
      height, width: of the image.
      cull: leave out back faces.
      near: a triangle with a vertex at this depth or nearer is left out.

    Returns:
      triangle [H, W] int (-1: none), perspective-correct barycentrics [H, W, 3], depth [H, W] (inf: none), and
      margin [H, W]: how far the decision is from another one: the smallest distance, in the units of screen
      barycentrics, of any decisive triangle's edge, and the relative depth gap to the runner-up.
    """
    pixels, depth = np.asarray(pixels, np.float64), np.asarray(depth, np.float64)
    seen = np.full((height, width), -1)
    barycentrics = np.zeros((height, width, 3))
    nearest = np.full((height, width), np.inf)
    runner_up = np.full((height, width), np.inf)
    edge = np.full((height, width), np.inf)
    rows, columns = np.mgrid[:height, :width]
    centres = np.stack([columns + 0.5, rows + 0.5], axis=-1)
    for index, corners in enumerate(np.asarray(triangles)):
        p, d = pixels[corners], depth[corners]
        if not (np.isfinite(p).all() and np.isfinite(d).all() and (d > near).all()):
            continue
        area = _turn(p[0], p[1], p[2])
        if area == 0 or (cull and area > 0):  # counter-clockwise with y up is negative with y down
            continue
        screen = np.stack([_turn(p[1], p[2], centres), _turn(p[2], p[0], centres), _turn(p[0], p[1], centres)], axis=-1)
        screen = screen / area
        inside = (screen >= 0).all(axis=-1)
        weights = screen / d
        inverse = weights.sum(axis=-1)
        here = np.where(inside, 1 / np.where(inside, inverse, 1), np.inf)
        closer = here < nearest
        runner_up = np.where(closer, nearest, np.minimum(runner_up, here))
        near_edge = np.abs(screen).min(axis=-1)
        near_edge = np.where((screen > -1e-3).all(axis=-1), near_edge, np.inf)
        edge = np.minimum(edge, near_edge)
        nearest = np.where(closer, here, nearest)
        seen = np.where(closer, index, seen)
        barycentrics = np.where(closer[..., None], weights / np.where(inside, inverse, 1)[..., None], barycentrics)
    with np.errstate(invalid="ignore"):
        gap = np.where(np.isfinite(runner_up), (runner_up - nearest) / nearest, np.inf)
    return seen, barycentrics, nearest, np.minimum(edge, gap)


def interpolate(seen, barycentrics, attributes, triangles):
    """[H, W, C] of attributes [V, C] from the first two results of `rasterize`."""
    values = (np.asarray(attributes)[np.asarray(triangles)[seen]] * barycentrics[..., None]).sum(axis=2)
    return np.where(seen[..., None] >= 0, values, 0.0)


def _turn(a, b, c):
    """Twice the signed area of the triangle (a, b, c): positive if it turns from x towards y."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def attributes_at(seen, pixels, depth, attributes, triangles):
    """Perspective-correct attributes [H, W, C] for a given visibility, by solving for the point on each pixel's ray.

    The point sum_i b_i P_i with sum_i b_i = 1 projects to (x, y): sum_i b_i d_i (x_i, y_i, 1) = d (x, y, 1).
    Zero where `seen` [H, W] is -1. The other arguments as in `rasterize` and `interpolate`.
    """
    result = np.zeros((*seen.shape, attributes.shape[-1]))
    for row, column in np.argwhere(seen >= 0):
        corners = triangles[seen[row, column]]
        homogeneous = np.concatenate([pixels[corners], np.ones((3, 1))], axis=1) * depth[corners, None]
        weights = np.linalg.solve(homogeneous.T, [column + 0.5, row + 0.5, 1.0])
        result[row, column] = (weights / weights.sum()) @ attributes[corners]
    return result


def central_differences(function, x, step=1e-5):
    """Gradient of a scalar function of the float64 array x."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        there, back = x.copy(), x.copy()
        there[index] += step
        back[index] -= step
        gradient[index] = (function(there) - function(back)) / (2 * step)
    return gradient
