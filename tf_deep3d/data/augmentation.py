"""Augmentation of prepared faces: the picture moves, and its landmarks and its skin mask move with it.

Pure `keras.ops`, for a whole batch at once; chance comes in as numbers, `dice`, so that the same record at the same
place of a training always looks the same, on every backend.

Letters: B batch, L landmarks. A record is S = 320 px wide, the network's picture, cut from its centre, 224 px.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from keras import ops
from scipy.spatial import KDTree

from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.face import landmarks
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients, Layout
from tf_deep3d.face.morphable_model import MorphableModel

DICE = 32  # uniform numbers that one record needs
FLIP = 4  # the one that decides whether it is mirrored
OCCLUDERS = 2  # at most, ellipses over the network's input
BLUR = 4.0  # px, standard deviation of the strongest
DARKEST = 0.08  # factor of the light
ACROSS = np.array([-1.0, 1.0, 1.0])  # x changes its sign
_SYMMETRIC = 1e-3  # share by which a symmetric mode may differ from its mirror image


@dataclass(frozen=True)
class Augmentation:
    """How far chance goes; the defaults are those of the authors' PyTorch code.

    Attributes:
      shift: px in x and in y, either way.
      scale: share by which the picture grows or shrinks.
      rotation: degrees, either way.
      flip: mirror every second picture.
      jitter: strength of changes of brightness, contrast and tint, 0 none, 0.2 strong.
      occluders: share of the pictures whose network input gets ellipses of a random colour; the losses still compare
        with the whole picture.
      blur, dark: likewise the shares of the inputs that are blurred and darkened.
    """

    shift: float = 10.0
    scale: float = 0.1
    rotation: float = 10.0
    flip: bool = True
    jitter: float = 0.0
    occluders: float = 0.0
    blur: float = 0.0
    dark: float = 0.0

    def __post_init__(self) -> None:
        bounds = {"shift": 48, "scale": 0.5, "rotation": 180, "jitter": 1, "occluders": 1, "blur": 1, "dark": 1}
        for name, bound in bounds.items():
            if not 0 <= getattr(self, name) <= bound:
                raise InputError(f"{name} must lie in [0, {bound}]. Received: {getattr(self, name)}")


def augment(
    batch: dict[str, Array], dice: Array, settings: Augmentation, mirrored: np.ndarray | None = None
) -> dict[str, Array]:
    """Augments a batch and cuts the network's picture.

    Args:
      batch: dict of image [B, S, S, 3] and skin [B, S, S, 1] in 0..255, landmarks [B, 68, 2] and dense [B, 478, 2] in
        px of the record.
      dice: [B, DICE] uniform in [0, 1).
      settings: `Augmentation`.
      mirrored: [478], where each dense landmark goes when left and right change places; needed to flip.

    Returns:
      Dict of inputs [B, 224, 224, 3] for the network, images [B, 224, 224, 3] to compare with, both RGB in [0, 1],
      skin [B, 224, 224, 1] in [0, 1], landmarks and dense in px of the picture, and flipped [B], 0 or 1.
    """
    if settings.flip and mirrored is None:
        raise InputError(
            "to flip, the face model must have dense landmarks, or set data.augmentation.flip=false. Received: none"
        )
    size = batch["image"].shape[1]
    throw = iter(range(DICE))
    shift = settings.shift * _spread(ops.stack([dice[:, next(throw)], dice[:, next(throw)]], axis=-1))
    scale = 1.0 + settings.scale * _spread(dice[:, next(throw)])
    angle = math.radians(settings.rotation) * _spread(dice[:, next(throw)])
    flipped = ops.cast(dice[:, FLIP] < (0.5 if settings.flip else 0.0), "float32")
    mirror = 1.0 - 2.0 * flipped
    # forward: q = center + M (p - center_of_record) + shift, M = mirror . scale . rotation
    cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
    matrix = ops.stack([mirror * cos, -mirror * sin, sin, cos], axis=-1)
    matrix = ops.reshape(matrix, (-1, 2, 2))
    pictures = _warp(batch["image"], batch["skin"], matrix, shift, size)
    images, skin = pictures[..., :3], pictures[..., 3:]
    images = _jitter(images, dice[:, 5:11], settings.jitter)
    inputs = _occlude(images, dice[:, 11:26], settings.occluders)
    inputs = _darken(_blur(inputs, dice[:, 26:28], settings.blur), dice[:, 28:30], settings.dark)

    def move(points: Array, order: np.ndarray | None) -> Array:
        moved = ops.einsum("bij,blj->bli", matrix, points - size / 2) + IMAGE_SIZE / 2 + ops.expand_dims(shift, 1)
        if order is None:
            return moved
        return ops.where(ops.reshape(flipped, (-1, 1, 1)) > 0, ops.take(moved, order, axis=1), moved)

    return {
        "inputs": inputs,
        "images": images,
        "skin": skin,
        "landmarks": move(batch["landmarks"], landmarks.MIRROR if settings.flip else None),
        "dense": move(batch["dense"], mirrored if settings.flip else None),
        "flipped": flipped,
    }


def center(batch: dict[str, Array]) -> dict[str, Array]:
    """What `augment` gives without any augmentation."""
    margin = (batch["image"].shape[1] - IMAGE_SIZE) // 2
    inner = slice(margin, margin + IMAGE_SIZE)
    images = ops.cast(batch["image"][:, inner, inner], "float32") / 255.0
    return {
        "inputs": images,
        "images": images,
        "skin": ops.cast(batch["skin"][:, inner, inner], "float32") / 255.0,
        "landmarks": batch["landmarks"] - margin,
        "dense": batch["dense"] - margin,
        "flipped": ops.zeros_like(images[:, 0, 0, 0]),
    }


class Mirror(NamedTuple):
    """What becomes of a face whose picture is mirrored.

    Attributes:
      dense: [478], where each dense landmark goes when left and right change places; None if the model has none.
      signs: [K] float32, factors of the coefficients, 1 or -1; NaN where the mirrored face has no such coefficient,
        because the mode is neither symmetric nor antisymmetric.
    """

    dense: np.ndarray | None
    signs: np.ndarray


def mirror(model: MorphableModel, layout: Layout) -> Mirror:
    """The `Mirror` of the faces of a model."""
    points, dense = model.landmarks.get("mediapipe478"), None
    if points is not None:
        places = faces.at_landmarks(points, model.mean_shape[None])[0]
        dense = np.argmin(np.linalg.norm((places * ACROSS)[:, None] - places[None], axis=-1), axis=1)
    distance, other = KDTree(model.mean_shape).query(model.mean_shape * ACROSS)
    same = distance.max() < _SYMMETRIC * np.ptp(model.mean_shape)
    bases = [(model.identity_basis, ACROSS), (model.expression_basis, ACROSS), (model.albedo_basis, np.ones(3))]
    modes = [_signs(basis, other, axes) if same else np.full(len(basis), np.nan) for basis, axes in bases]
    light = np.tile([1, 1, 1, -1, -1, 1, 1, -1, 1], layout.shapes.illumination[0])
    signs = Coefficients(modes[0], modes[1], modes[2], np.array([1, -1, -1]), light, ACROSS)
    return Mirror(dense, np.concatenate(signs).astype(np.float32))


def _signs(basis: np.ndarray, other: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """[K], 1 for the symmetric modes of `basis` [K, V, 3], -1 for the antisymmetric ones, NaN for the others."""
    turned = basis[:, other] * axes
    size = _SYMMETRIC * np.linalg.norm(basis, axis=(1, 2))
    even, odd = (np.linalg.norm(turned - sign * basis, axis=(1, 2)) <= size for sign in (1, -1))
    return np.select([even, odd], [1.0, -1.0], np.nan)


def _spread(dice: Array) -> Array:
    """[0, 1) -> [-1, 1)."""
    return 2.0 * dice - 1.0


def _warp(image: Array, skin: Array, matrix: Array, shift: Array, size: int) -> Array:
    """[B, 224, 224, 4] in [0, 1]: pictures and skin masks, moved; black where the record ends."""
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    inverse = ops.stack(
        [
            ops.stack([matrix[:, 1, 1], -matrix[:, 0, 1]], axis=-1),
            ops.stack([-matrix[:, 1, 0], matrix[:, 0, 0]], axis=-1),
        ],
        axis=1,
    ) / ops.reshape(determinant, (-1, 1, 1))
    # A pixel's centre is half a pixel from its index: p_index = inverse (q_index + 1/2 - center - shift) + S/2 - 1/2
    start = 0.5 - IMAGE_SIZE / 2 - shift
    offset = ops.einsum("bij,bj->bi", inverse, start) + (size - 1) / 2
    zero = ops.zeros_like(offset[:, :1])
    rows = [inverse[:, 0], offset[:, :1], inverse[:, 1], offset[:, 1:], zero, zero]
    both = ops.concatenate([ops.cast(image, "float32"), ops.cast(skin, "float32")], axis=-1) / 255.0
    moved = ops.image.affine_transform(both, ops.concatenate(rows, axis=-1), data_format="channels_last")
    return moved[:, :IMAGE_SIZE, :IMAGE_SIZE]


def _jitter(images: Array, dice: Array, strength: float) -> Array:
    """Brightness, contrast about the middle grey, and tint of each channel."""
    if strength == 0:
        return images
    change = ops.reshape(1.0 + strength * _spread(dice), (-1, 1, 1, 6))
    images = (images - 0.5) * change[..., 1:2] + 0.5 * change[..., :1]
    return ops.clip(images * (0.5 + 0.5 * change[..., 2:5]), 0.0, 1.0)


def _occlude(images: Array, dice: Array, share: float) -> Array:
    """Covers some pictures with ellipses in a flat colour."""
    if share == 0:
        return images
    axis = (np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5) / IMAGE_SIZE
    hit = ops.cast(dice[:, 0] < share, "float32")
    for index in range(OCCLUDERS):
        x, y, width, height, *color = (ops.reshape(dice[:, 1 + 7 * index + i], (-1, 1, 1)) for i in range(7))
        width, height = 0.06 + 0.22 * width, 0.06 + 0.22 * height
        inside = ops.square((axis[None, None, :] - x) / width) + ops.square((axis[None, :, None] - y) / height) < 1
        cover = ops.expand_dims(ops.cast(inside, "float32") * ops.reshape(hit, (-1, 1, 1)), -1)
        images = images * (1.0 - cover) + cover * ops.stack(color, axis=-1)
    return images


def _blur(images: Array, dice: Array, share: float) -> Array:
    """Blurs some pictures: a mixture of the picture and its widest blur."""
    if share == 0:
        return images
    reach = np.arange(-int(2 * BLUR), int(2 * BLUR) + 1)
    kernel = np.exp(-0.5 * (reach / BLUR) ** 2).astype(np.float32)
    kernel = np.tile((kernel / kernel.sum()).reshape(-1, 1, 1, 1), (1, 1, 3, 1))
    edge = [(0, 0), (len(reach) // 2,) * 2, (len(reach) // 2,) * 2, (0, 0)]
    wide = ops.pad(images, edge, mode="symmetric")
    for each in (kernel, kernel.swapaxes(0, 1)):
        wide = ops.depthwise_conv(wide, ops.convert_to_tensor(each), padding="valid")
    amount = ops.cast(dice[:, 0] < share, "float32") * (0.5 + 0.5 * dice[:, 1])
    return images + ops.reshape(amount, (-1, 1, 1, 1)) * (wide - images)


def _darken(images: Array, dice: Array, share: float) -> Array:
    """Takes the light from some pictures."""
    if share == 0:
        return images
    light = DARKEST + (0.5 - DARKEST) * dice[:, 1]
    return images * ops.reshape(ops.where(dice[:, 0] < share, light, ops.ones_like(light)), (-1, 1, 1, 1))
