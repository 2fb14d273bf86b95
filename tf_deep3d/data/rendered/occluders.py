"""What hides parts of rendered faces: glasses, a fringe, a mask, fingers; drawn over the picture and its skin mask."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.face.landmarks import BROWS, COUNT, EYES, JAW, NOSE_BRIDGE

GLASSES, SUNGLASSES = 0.14, 0.2  # share of the pictures, and of the glasses
FRINGE, MASK, FINGERS = 0.12, 0.03, 0.06  # shares of the pictures
DETAIL = 2  # pixels of a drawing for one of the picture, either way
LENS = (0.27, 0.20, 0.12)  # dm, half the width and the height of a lens, and its distance before the eye
TEMPLE = (0.72, 0.02, -0.75)  # dm, where a temple meets the ear, from between the eyes


class Pose(NamedTuple):
    """Where a face is in the picture.

    Attributes:
      landmarks: [68, 3] world, dm.
      rotation: [3, 3] of the head.
      camera: `Camera` of the picture.
      skin: [3], a colour of the person's skin in the picture.
      hair: [3], of the hair.
    """

    landmarks: np.ndarray
    rotation: np.ndarray
    camera: Camera
    skin: np.ndarray
    hair: np.ndarray

    def project(self, points: np.ndarray) -> list[tuple[float, float]]:
        """Places of `points` [N, 3] in a drawing, px."""
        pixels = to_pixels(self.camera, points[None].astype(np.float32))[0][0] * DETAIL
        return [(float(x), float(y)) for x, y in pixels]


class _Drawing:
    """A transparent sheet over the picture."""

    def __init__(self, size: int) -> None:
        self.image = Image.new("RGBA", (size * DETAIL, size * DETAIL))
        self.pen = ImageDraw.Draw(self.image)

    def over(self, layers: np.ndarray, opacity: float = 1.0) -> None:
        """Lays the sheet over `layers` [S, S, 5] (see `draw`) and clears it."""
        size = len(layers)
        sheet = np.asarray(self.image.resize((size, size), Image.Resampling.BOX), np.float32) / 255
        share = opacity * sheet[..., 3:]
        layers[..., :3] += share * (sheet[..., :3] - layers[..., :3])
        layers[..., 3:4] += share * (1 - layers[..., 3:4])
        layers[..., 4:5] *= 1 - share
        self.__init__(size)


def draw(layers: np.ndarray, pose: Pose, rng: np.random.Generator) -> None:
    """Hides parts of some faces.

    Args:
      layers: [S, S, 5]: colour times coverage, coverage, share of the skin region, in [0, 1]; changed in place.
      pose: `Pose`.
      rng: random generator.
    """
    chances = rng.uniform(size=4)
    for chance, share, hide in zip(
        chances, (MASK, GLASSES, FRINGE, FINGERS), (_mask, _glasses, _fringe, _fingers), strict=True
    ):
        if chance < share:
            hide(layers, _Drawing(len(layers)), pose, rng)


def _glasses(layers: np.ndarray, sheet: _Drawing, pose: Pose, rng: np.random.Generator) -> None:
    width, height, before = np.array(LENS) * rng.uniform(0.85, 1.15, 3)
    power = rng.choice([2.0, 3.0, 5.0])  # 2 is an ellipse, more a rounded rectangle
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    across, up = (np.sign(wave) * np.abs(wave) ** (2 / power) for wave in (np.cos(turn), np.sin(turn)))
    ring = np.stack([width * across, height * up - rng.uniform(0, 0.05), np.full(48, before)], 1)
    eyes = [pose.landmarks[group].mean(0) for group in EYES]
    lenses = [pose.project(eye + ring @ pose.rotation.T) for eye in eyes]
    dark = rng.uniform() < SUNGLASSES
    glass = tuple(int(v) for v in rng.uniform(0, 60, 3)) if dark else tuple(int(v) for v in rng.uniform(120, 255, 3))
    for lens in lenses:
        sheet.pen.polygon(lens, fill=(*glass, 255))
    sheet.over(layers, rng.uniform(0.75, 0.97) if dark else rng.uniform(0, 0.12))
    frame = tuple(int(v) for v in np.clip(rng.uniform(0, 90) + rng.normal(0, 25, 3), 0, 255))
    if rng.uniform() < 0.15:
        frame = tuple(int(v) for v in rng.uniform(0, 255, 3))
    thick = int(rng.integers(2, 8))
    middle = np.mean(eyes, 0)
    for eye, lens in zip(eyes, lenses, strict=True):
        sheet.pen.line([*lens, *lens[:2]], fill=(*frame, 255), width=thick, joint="curve")
        side = np.sign((eye - middle) @ pose.rotation[:, 0])
        near = eye + pose.rotation @ [side * width, 0.05, before]
        far = middle + pose.rotation @ (np.array(TEMPLE) * [side, 1, 1])
        if near[2] >= middle[2] - 0.25 or side * pose.rotation[2, 0] > 0:  # not the temple behind a turned head
            sheet.pen.line(pose.project(np.stack([near, far])), fill=(*frame, 255), width=max(thick - 1, 1))
    bridge = [eyes[0] + pose.rotation @ [width, 0.05, before], eyes[1] + pose.rotation @ [-width, 0.05, before]]
    sheet.pen.line(pose.project(np.stack(bridge)), fill=(*frame, 255), width=thick)
    sheet.over(layers)


def _fringe(layers: np.ndarray, sheet: _Drawing, pose: Pose, rng: np.random.Generator) -> None:
    brows = np.concatenate([pose.landmarks[group] for group in BROWS])
    up, across = pose.rotation[:, 1], pose.rotation[:, 0]
    wide = np.linalg.norm(brows[-1] - brows[0])
    center = brows.mean(0) + pose.rotation @ [0, 0.75, 0.1]
    slant, length = rng.normal(0, 0.4), rng.uniform(0.35, 1.0)
    for _ in range(int(rng.integers(15, 120))):
        start = center + across * rng.uniform(-0.75, 0.75) * wide + up * rng.uniform(-0.1, 0.2)
        reach = length * rng.uniform(0.6, 1.2)
        steps = np.linspace(0, 1, 6)[:, None]
        bend = (slant + rng.normal(0, 0.15)) * steps**1.5
        strand = start - up * reach * steps + across * bend + pose.rotation[:, 2] * 0.15 * np.sin(2 * steps)
        color = tuple(int(v) for v in np.clip(255 * pose.hair * np.exp(rng.normal(0, 0.3)), 0, 255))
        sheet.pen.line(pose.project(strand), fill=(*color, 255), width=int(rng.integers(1, 5)), joint="curve")
    sheet.over(layers, rng.uniform(0.7, 1))


def _mask(layers: np.ndarray, sheet: _Drawing, pose: Pose, rng: np.random.Generator) -> None:
    jaw = pose.landmarks[JAW][2:15].copy()
    jaw[3:10] -= rng.uniform(0.02, 0.12) * pose.rotation[:, 1]
    bridge = pose.landmarks[NOSE_BRIDGE][int(rng.integers(1, 3))] + 0.06 * pose.rotation[:, 2]
    color = rng.uniform(0.05, 0.95) * np.array([1, 1, 1]) * rng.uniform(0.75, 1.1, 3)
    sheet.pen.polygon(pose.project(np.concatenate([jaw, bridge[None]])), fill=(*_bytes(color), 255))
    for height in np.linspace(0.2, 0.8, int(rng.integers(0, 4))):  # folds
        fold = (1 - height) * jaw[::-1][[1, 6, 11]] + height * np.stack([jaw[-1], bridge, jaw[0]])
        sheet.pen.line(pose.project(fold), fill=(*_bytes(color * rng.uniform(0.7, 1.1)), 255), width=2)
    sheet.over(layers)


def _fingers(layers: np.ndarray, sheet: _Drawing, pose: Pose, rng: np.random.Generator) -> None:
    size = len(layers) * DETAIL
    tip = np.array(pose.project(pose.landmarks)[int(rng.integers(0, COUNT))])
    away = tip - size / 2 + rng.normal(0, 20, 2)
    away[1] = abs(away[1]) + 20
    away = away / np.linalg.norm(away)
    across = np.array([-away[1], away[0]])
    color = pose.skin * rng.uniform(0.7, 1.15)
    for number in range(int(rng.integers(1, 5))):
        width = int(rng.uniform(19, 30) * DETAIL)
        start = tip + across * number * width * rng.uniform(0.85, 0.95) + away * rng.normal(0, 10)
        end = start + away * size
        for share, tone in ((1.0, 0.8), (0.9, 0.88), (0.75, 0.95), (0.5, 1.0)):
            wide = int(width * share)
            fill = (*_bytes(color * tone), 255)
            sheet.pen.line([tuple(start), tuple(end)], fill=fill, width=wide)
            sheet.pen.ellipse([*(start - wide / 2), *(start + wide / 2)], fill=fill)
    sheet.over(layers)


def _bytes(color: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(255 * color, 0, 255))
