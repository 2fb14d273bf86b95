"""Random members of the face model as subjects of a benchmark: as many as one likes, with exact geometry and skin.

Unlike the people of `open_benchmark` they lie in the model's own space, so that they are easier for every method that
fits this model, and they show what a method loses for other reasons than the model's limits.
"""

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d import metrics, open_benchmark
from tf_deep3d.rendered_people import LUMINANCE, generator, sample_one

SEED = 7411  # of no training
KIND = "member"
FIRST = 1000  # number of the first, for the seeds of its pictures


def subjects(model, head, count, seed=SEED):
    """Neutral, bald people of random identity and albedo.

    Args:
      model: `MorphableModel` of the face, at the head's level of detail.
      head: `rendered_people.Head`.
      count: number of people; person n of a seed is always the same.
      seed: of the random numbers.

    Yields:
      `open_benchmark.Subject`s, named `KIND` and their number.
    """
    whole = head.whole
    for number in range(count):
        person = sample_one(model, head, generator(seed, number))
        shape = faces.neutral_shape(whole, person.identity[None])[0]
        colors = np.rint(255 * np.clip(faces.albedo(whole, person.albedo[None])[0], 0, 1)).astype(np.uint8)
        points = faces.at_landmarks(whole.landmarks["ibug68"], shape[None])[0]
        millimetres = shape * open_benchmark.MILLIMETRES
        near = metrics.within(millimetres, points[30] * open_benchmark.MILLIMETRES)
        region = near & metrics.visible(millimetres, whole.triangles)
        yield open_benchmark.subject(f"{KIND}{number:03d}", shape, whole.triangles, region, colors, points, exact=True)


def skin_tone(who):
    """Luminance in [0, 1] of the albedo of a `Subject`'s skin, the median where errors are measured."""
    return float(np.median(who.colors[who.region] @ LUMINANCE))


def typology_angle(who):
    """Individual typology angle in degrees of a `Subject`'s skin: atan((L* - 50) / b*), of its median albedo as sRGB.

    Chardon, Cretois, Hourseau 1991; above 55 very light, 41 light, 28 intermediate, 10 tan, -30 brown, below dark.
    """
    srgb = np.median(who.colors[who.region], axis=0)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    _, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])  # skin is brighter than where the cube root becomes a line
    return float(np.degrees(np.arctan2(116 * y - 16 - 50, 200 * (y - z))))
