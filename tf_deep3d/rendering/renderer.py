"""Differentiable triangle renderer in `keras.ops`: rasterize -> Fragments -> interpolate; `render` does it in one pass.

Visibility carries no gradient; barycentrics do. Pixels and depth come from `camera.to_pixels`: x right, y down, the
centre of pixel (row i, column j) at (j + 0.5, i + 0.5), depth in dm from the camera plane.

It runs eagerly, in `tf.function`, under a distribution strategy, in a SavedModel and under `jax.jit`. On TensorFlow the
lists of candidates and of visible pixels have the length they need, which XLA cannot compile: use `jit_compile=False`.

Letters: B batch, V vertices, T triangles, C channels.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from tf_deep3d.arrays import Array
from tf_deep3d.face import Face
from tf_deep3d.face.camera import Camera
from tf_deep3d.rendering import interpolation, rasterizer


class Fragments(NamedTuple):
    """What each pixel sees.

    Attributes:
      triangle: [B, H, W] int32, index of the nearest triangle over the pixel's centre, -1 where there is none.
      barycentrics: [B, H, W, 3] float32, perspective-correct weights of its corners, zero where there is none;
        differentiable with respect to pixels and depth.
      complete: [B] bool, False for an image that needed more candidates than the budget and was left empty.
    """

    triangle: Array
    barycentrics: Array
    complete: Array


class Rendering(NamedTuple):
    """A rendered batch.

    Attributes:
      image: [B, H, W, 3] RGB, zero where no triangle is seen.
      coverage: [B, H, W, 1], 1.0 where a triangle is seen, else 0.0; no gradient.
      depth: [B, H, W, 1], dm from the camera plane, zero where no triangle is seen.
      inner_face: [B, H, W, 1], 1.0 where a triangle of the inner face region is seen, else 0.0; no gradient.
      normals: [B, H, W, 3], world, interpolated (not of unit length), zero where no triangle is seen; or None.
      fragments: `Fragments`.
    """

    image: Array
    coverage: Array
    depth: Array
    inner_face: Array
    normals: Array | None
    fragments: Fragments


def rasterize(
    pixels: Array,
    depth: Array,
    triangles: Array,
    height: int,
    width: int,
    cull: bool = True,
    budget: int | None = None,
) -> Fragments:
    """Finds the triangle that each pixel sees, and where on it.

    Args:
      pixels: [B, V, 2] float32, projected vertices in px (x right, y down).
      depth: [B, V] float32, dm along the viewing direction, larger is farther. A triangle with a vertex at 0.01 dm or
        nearer, behind the camera, a million px away or not finite is not drawn.
      triangles: [T, 3] int32, counter-clockwise seen from outside in the world (y up); on the picture, with y down,
        the same turn has a negative signed area.
      height, width: of the image in px, together at most 2^24 px.
      cull: leave out triangles that show their back.
      budget: largest number of candidates of one image: pixel centres in the bounding boxes of its triangles, without
        the first and the last of each. An image that needs more is left empty and reported in `Fragments.complete`.
        A face needs one to four per pixel it covers; long thin diagonal triangles need many. By default
        16 (H W + 4096); on JAX 4 (H W + 4096), because there the whole budget is always worked through.

    Returns:
      `Fragments`. Of triangles at the same depth, the first is seen. A pixel belongs to a triangle whose border
      passes exactly through its centre, except at the right and lower end of the triangle's bounding box.

    Raises:
      ValueError: if the image has no pixel or more than 2^24.
    """
    triangles = ops.convert_to_tensor(triangles, "int32")
    points, valid = rasterizer.screen_points(pixels, depth)
    seen, complete = rasterizer.visible(points, valid, triangles, height, width, cull, budget)
    surface = interpolation.surface_of(seen, triangles, ops.shape(valid)[1])
    weights, _ = interpolation.barycentrics(interpolation.at_corners([*points], surface), surface)
    return Fragments(seen, interpolation.spread(weights, surface), complete)


def interpolate(fragments: Fragments, attributes: Array, triangles: Array) -> Array:
    """Spreads vertex attributes over the pixels.

    Args:
      fragments: `Fragments`.
      attributes: [B, V, C] float32.
      triangles: [T, 3] int32.

    Returns:
      [B, H, W, C], zero where no triangle is seen; differentiable with respect to attributes and barycentrics.
    """
    attributes = ops.convert_to_tensor(attributes, "float32")
    triangles = ops.convert_to_tensor(triangles, "int32")
    surface = interpolation.surface_of(fragments.triangle, triangles, ops.shape(attributes)[1])
    weights = interpolation.collect(fragments.barycentrics, surface)
    values = interpolation.blend(weights, interpolation.at_corners([attributes], surface))
    return interpolation.spread(values, surface)


def render(
    face: Face,
    triangles: Array,
    camera: Camera,
    inner_face: Array | None = None,
    normals: bool = False,
    cull: bool = True,
    budget: int | None = None,
) -> Rendering:
    """Renders faces; all attributes are interpolated in one pass.

    Args:
      face: `face.Face`.
      triangles: [T, 3] int32.
      camera: `camera.Camera`.
      inner_face: [T] bool, triangles of the inner face region (see `triangles_within`); by default all.
      normals: also interpolate the normals.
      cull, budget: as in `rasterize`.

    Returns:
      `Rendering`.
    """
    triangles = ops.convert_to_tensor(triangles, "int32")
    points, valid = rasterizer.screen_points(face.pixels, face.depth)
    seen, complete = rasterizer.visible(points, valid, triangles, camera.height, camera.width, cull, budget)
    surface = interpolation.surface_of(seen, triangles, ops.shape(valid)[1])
    attributes = [face.colors, face.normals] if normals else [face.colors]
    attributes = [ops.convert_to_tensor(values, "float32") for values in attributes]
    corners = interpolation.at_corners([*points, *attributes], surface)
    weights, depth = interpolation.barycentrics([corner[:3] for corner in corners], surface)
    values = interpolation.spread(interpolation.blend(weights, [corner[3:] for corner in corners]), surface)
    coverage = ops.expand_dims(ops.cast(seen >= 0, "float32"), -1)
    return Rendering(
        image=values[..., :3] if normals else values,
        coverage=coverage,
        depth=interpolation.spread([depth], surface),
        inner_face=coverage if inner_face is None else _membership(inner_face, seen),
        normals=values[..., 3:] if normals else None,
        fragments=Fragments(seen, interpolation.spread(weights, surface), complete),
    )


def composite(rendering: Rendering, background: Array) -> Array:
    """Puts the rendered face over `background` [B, H, W, 3], RGB."""
    return rendering.image + (1.0 - rendering.coverage) * background


def triangles_within(vertices: Array, triangles: Array) -> np.ndarray:
    """[T] bool: the `triangles` [T, 3] all of whose corners belong to the region `vertices` [V] bool. NumPy."""
    return np.all(np.asarray(vertices)[np.asarray(triangles)], axis=-1)


def _membership(members: Array, seen: Array) -> Array:
    """[B, H, W, 1] float32, 1 where the triangle seen belongs to `members` [T] bool."""
    members = ops.cast(ops.convert_to_tensor(members), "float32")
    members = ops.concatenate([members, ops.zeros((1,))])  # the last one for -1
    return ops.expand_dims(ops.take(members, seen, axis=0), -1)
