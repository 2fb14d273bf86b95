"""What rendered people wear: hair, beards, clothes, teeth of their own shade, and skin that is more or less oily.

Letters: V vertices of the head, R of them after the face's.
"""

from typing import NamedTuple

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.data.rendered.people import Head
from tf_deep3d.face import landmarks

HEAD_CENTER = (0.0, 0.3, -0.9)  # dm, hair grows away from it
HAIR = np.array([[0.03, 0.025, 0.02], [0.08, 0.05, 0.03], [0.20, 0.12, 0.07], [0.45, 0.32, 0.17], [0.42, 0.41, 0.40],
                 [0.35, 0.14, 0.06]])  # fmt: skip
HAIR_SHARES = (0.32, 0.28, 0.18, 0.1, 0.08, 0.04)
BEARDS = 0.25  # share of the people with stubble or a beard
DENSEST = 0.97  # opacity


class Dress(NamedTuple):
    """What a person wears.

    Attributes:
      bulge: [R, 3] dm, offsets of the vertices after the face's.
      cover: [V, 1] in [0, 1], opacity of the paint.
      paint: [V, 3] in [0, 1], colours.
      hair: [3], the hair's colour.
      gloss: [V], strength of highlights, see `light.shade`.
      sharpness: of the highlights.
    """

    bulge: np.ndarray
    cover: np.ndarray
    paint: np.ndarray
    hair: np.ndarray
    gloss: np.ndarray
    sharpness: float


def dress(head: Head, rng: np.random.Generator) -> Dress:
    """Random hair, beard, clothes and teeth."""
    place = head.whole.mean_shape
    hair = HAIR[rng.choice(len(HAIR), p=HAIR_SHARES)] * np.exp(rng.normal(0, 0.2))
    bulge, cover, paint = _clothe(head, hair, rng)
    beard = _beard(head, rng)
    bristles = hair * np.exp(rng.normal(-0.2, 0.2)) * np.exp(0.3 * _waves(place, 40, rng))[:, None]
    paint = np.where(beard >= cover, bristles, paint)
    cover = np.maximum(cover, beard)
    gloss = rng.exponential(0.8) * np.exp(0.3 * _waves(place, 8, rng)) * (1 - 0.9 * cover[:, 0])
    gloss[head.whole.regions["eyes"]] = rng.uniform(0.5, 3)
    tone, enamel = rng.uniform(0.7, 1.1) * np.array([1.0, 1.0, rng.uniform(0.85, 1.05)]), head.teeth
    paint[enamel], cover[enamel], gloss[enamel] = head.whole.mean_albedo[enamel] * tone, 1, rng.uniform(0.2, 1.5)
    bulge, cover, paint, gloss = (each.astype(np.float32) for each in (bulge, cover, np.clip(paint, 0, 1), gloss))
    return Dress(bulge, cover, paint, hair, gloss, float(np.exp(rng.uniform(1.5, 3.5))))


def _clothe(head: Head, hair: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hair and clothes: bulge [R, 3], cover [V, 1], paint [V, 3]."""
    face, anatomy = head.face, head.anatomy
    place, scalp, clothes = head.whole.mean_shape[face:], anatomy.scalp[face:, None], anatomy.clothes[face:, None]
    style = rng.choice(["bald", "short", "thick"], p=[0.2, 0.5, 0.3])
    smooth, fine = _waves(place, 3, rng)[:, None], _waves(place, 25, rng)[:, None]
    thickness = {"bald": 0, "short": rng.uniform(0.02, 0.12), "thick": rng.uniform(0.12, 0.45)}[style]
    density = {"bald": rng.uniform(0, 0.25), "short": rng.uniform(0.6, 1), "thick": 1}[style]
    out = place - np.array(HEAD_CENTER, np.float32)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    bulge = thickness * head.volume[face:, None] * np.maximum(1 + 0.3 * smooth + 0.1 * fine, 0) * out
    cloth = rng.uniform(0.02, 0.9) * rng.uniform(0.3, 1, 3) * (1 + 0.1 * fine)
    paint = np.where(clothes > 0.5, cloth, hair * np.exp(0.35 * fine + 0.2 * smooth))
    cover = np.maximum(np.clip(scalp * (1.2 + 0.3 * fine), 0, 1) * density, clothes * (rng.uniform() < 0.85))
    return bulge, np.concatenate([np.zeros((face, 1)), cover]), np.concatenate([np.zeros((face, 3)), paint])


def _beard(head: Head, rng: np.random.Generator) -> np.ndarray:
    """Opacity [V, 1] of a beard on the mean head: stubble, a moustache, a goatee or a full one on some, else none."""
    place, regions = head.whole.mean_shape, head.whole.regions
    if rng.uniform() > BEARDS:
        return np.zeros((len(place), 1))
    points = faces.at_landmarks(head.whole.landmarks["ibug68"], place[None])[0]
    corner = points[landmarks.MOUTH_CORNERS[1]]
    ear, cheek, chin, nose = points[15], points[13], points[8], points[landmarks.NOSE_BASE]
    across = [0, corner[0], corner[0] + 0.12, cheek[0], ear[0]]
    line = [nose[1] - 0.06, nose[1] - 0.14, corner[1] + rng.uniform(-0.1, 0.15), cheek[1] + 0.25, ear[1] + 0.1]
    away, ragged = np.abs(place[:, 0]), 0.05 * _waves(place, 12, rng)
    grown = _rise(np.interp(away, across, line) - place[:, 1] + ragged, 0.08)
    grown *= _rise(place[:, 1] - chin[1] + rng.uniform(0, 0.5), 0.15) * _rise(place[:, 2] - ear[2] + 0.15, 0.1)
    kind = rng.choice(["all", "moustache", "goatee"], p=[0.7, 0.12, 0.18])
    if kind != "all":
        grown *= _rise(corner[0] * rng.uniform(1, 1.3) - away + ragged, 0.05)
    if kind == "moustache":
        grown *= _rise(place[:, 1] - corner[1], 0.05)
    grown *= _rise(head.from_lips - 0.03, 0.04)
    bare = regions["inner_mouth"] | regions["lips"] | regions["eyes"] | (head.anatomy.scalp > 0.1)
    strength = rng.choice([rng.uniform(0.08, 0.4), rng.uniform(0.4, 0.8), rng.uniform(0.8, DENSEST)], p=[0.5, 0.3, 0.2])
    density = np.clip(strength * (1 + 0.35 * _waves(place, 40, rng)), 0, DENSEST)
    return (grown * density * ~bare)[:, None]


def _rise(height: np.ndarray, width: float) -> np.ndarray:
    """From 0 to 1 over `width` about height 0, smoothly."""
    share = np.clip(height / width + 0.5, 0, 1)
    return share * share * (3 - 2 * share)


def _waves(place: np.ndarray, frequency: float, rng: np.random.Generator, count: int = 10) -> np.ndarray:
    """A random function at `place` [V, 3] with variance 1 and about `frequency` radians a dm: [V]."""
    directions = rng.normal(0, frequency, (3, count))
    phases = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    return np.cos(place @ directions.astype(np.float32) + phases).sum(1) * np.float32((2 / count) ** 0.5)
