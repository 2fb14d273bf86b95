"""One texture from all photos of a person, photo by photo, in the light of none of them.

What a photo shows is divided by the light that was found for it, and compared with the model's albedo in the logarithm
of the colours. That difference is taken apart in two bands (Burt and Adelson, "A Multiresolution Spline With
Application to Image Mosaics", 1983). The coarse one, what is left of the photo's light and the person's complexion, is
averaged over wide and smooth weights, so that no border of a photo shows in it. The fine one, detail, comes from the
photos that see a texel best, so that it stays sharp. The eyes come from one photo, because they look somewhere.

Only sums are kept: memory does not grow with the photos, and their order does not matter.
"""

import numpy as np
from scipy import ndimage

from tf_deep3d import fields, lighting, texture

SHARPNESS = 8  # power of the weights of the fine band: a photo that is trusted half as much counts 1/256
REACH = 4.0  # cells of the coarse band, standard deviation of the smoothing of its weights
SHADES = (0.15, 0.5)  # of the photo's median light, between which a texel rises from unusable to well lit
LUMINANCE = np.float32([0.299, 0.587, 0.114])


def reflectance(view, face, illumination, atlas):
    """What a photo shows, without its light.

    Args:
      view: `texture.View`.
      face: `Face` of NumPy arrays; its first face is taken.
      illumination: [C, 9] of the photo.
      atlas: `texture.Atlas`.

    Returns:
      `texture.View` of albedo, not clipped; texels in deep shade have less weight.
    """
    normals, illumination = np.asarray(face.normals)[:1], np.asarray(illumination)[None]
    light = texture.at_texels(atlas, lighting.irradiance(normals, illumination)[0])
    strength = light @ LUMINANCE if light.shape[1] == 3 else light[:, 0]
    seen = view.weight > 0
    usual = np.median(strength[seen]) if seen.any() else 1.0
    if usual <= 0:  # no light explains this photo
        return view._replace(weight=np.zeros_like(view.weight))
    weight = view.weight * fields.ramp(strength / usual, SHADES)
    return view._replace(colors=view.colors / np.maximum(light, SHADES[0] * usual), weight=weight)


def merge(views, albedo, atlas, mirror=True):
    """Merges what photos show and completes the rest.

    Args:
      views: iterable of (`texture.View` of `reflectance`, importance of the photo in (0, 1]); read once.
      albedo: [V, 3] RGB in [0, 1], of the model's vertices.
      atlas: `texture.Atlas`.
      mirror: complete what no photo shows from the other side of the face before the albedo.

    Returns:
      `texture.Texture`.
    """
    canvas = texture.prepare_canvas(albedo, atlas)
    seen = np.zeros_like(canvas.covered)
    fine, fine_total = np.zeros_like(canvas.source), np.zeros_like(canvas.covered)
    coarse = coarse_total = np.float32(0)
    eyes, best = None, 0.0
    for view, importance in views:
        shown = texture.on_texture(atlas, np.log(view.colors + texture.DARKEST))
        known = texture.trust(shown, texture.on_texture(atlas, view.weight), canvas)
        difference = shown - canvas.source
        facing = known * texture.on_texture(atlas, view.facing)
        field = fields.pull_push(*fields.shrink(difference, known))
        reach = fields.shrink(facing, facing)
        reach = importance * ndimage.gaussian_filter(reach[0] * reach[1], (REACH, REACH, 0))
        coarse, coarse_total = coarse + reach * field, coarse_total + reach
        sharp = (importance * facing) ** SHARPNESS
        fine += sharp * (difference - fields.grow(field, *known.shape[:2]))
        fine_total += sharp
        seen = np.maximum(seen, known)
        score = importance * float(facing[canvas.eyes].sum())
        if score > best:
            eyes, best = shown[canvas.eyes], score
    value = canvas.source + fine / np.maximum(fine_total, 1e-30)
    if np.max(coarse_total) > 0:
        value += fields.grow(coarse / np.maximum(coarse_total, 1e-30), *seen.shape[:2])
    if eyes is not None:
        value[canvas.eyes] = eyes
    return texture.finish(value, seen, canvas, atlas, mirror)


def expose(skin, illumination, importance):
    """A `texture.Texture` of albedo as bright as the photos: an even light of their mean strength from the front.

    Args:
      skin: `texture.Texture`.
      illumination: [P, C, 9] of the photos.
      importance: [P], weights of the mean.
    """
    front = np.tile(np.float32([[[0, 0, 1]]]), (len(illumination), 1, 1))
    strength = np.average(lighting.irradiance(front, illumination).mean((1, 2)), weights=importance)
    return skin._replace(image=np.clip(skin.image * max(strength, SHADES[0]), 0.0, 1.0))
