"""The faces of photos before they are fitted: found, aligned, and with the part of the photo around them.

Letters: B portraits.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.detection import alignment, detector, skin
from tf_deep3d.errors import InputError
from tf_deep3d.face.camera import CAMERA_DISTANCE, FOCAL, IMAGE_SIZE, Camera, together
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting.settings import Observation
from tf_deep3d.io import photos
from tf_deep3d.io.photos import Photo

BATCH = 16  # faces fitted at once; bounds the memory
NEAREST, FARTHEST = 1.5, 100.0  # dm from camera to face that are believed
MARGIN = 0.3  # share of the crop's side that is kept of the photo around the crop, for the texture


class NoFaceError(InputError):
    """The photo shows no face that the detector finds."""


class Portrait(NamedTuple):
    """One face of one photo, before it is fitted.

    Attributes:
      photo: where the photo is.
      window: [H, W, 3] uint8, the part of the photo around the face.
      corner: (x, y) of the window's corner in photo px.
      crop: `alignment.Crop`; its transform maps photo px to crop px.
      detected: `detector.Detection`, in photo px.
      camera: that saw the crop: the photo's own where its focal length is known.
    """

    photo: Photo
    window: np.ndarray
    corner: tuple[int, int]
    crop: alignment.Crop
    detected: detector.Detection
    camera: Camera = Camera()

    def landmarks(self) -> np.ndarray:
        """The detected 68 landmarks [68, 2] in px of the crop."""
        return self.crop.transform.apply(self.detected.landmarks68)


def portraits_of(
    photo: Photo,
    model: MorphableModel,
    all_faces: bool = False,
    lens: Callable[[Photo, tuple[int, int]], float | None] | None = None,
) -> list[Portrait]:
    """Reads a photo and finds its faces.

    Args:
      photo: path, bytes of a file, or [H, W, 3].
      model: `MorphableModel`, for its five alignment points.
      all_faces: every face, else the largest.
      lens: function of the photo and its (width, height) that knows its focal length in px, such as
        `optics.focal_length`; without one all photos were taken by the usual camera.

    Returns:
      List of `Portrait`, largest first.

    Raises:
      photos.PhotoError, OSError: if the photo cannot be read.
      NoFaceError: if it shows no face.
    """
    image = photos.as_pixels(photo)
    found = detector.detect(image)
    if not found:
        raise NoFaceError(f"no face found in {image.shape[1]} x {image.shape[0]} px")
    length = None if lens is None else lens(photo, (image.shape[1], image.shape[0]))
    return [portrait_of(photo, image, detected, model, length) for detected in (found if all_faces else found[:1])]


def portrait_of(
    photo: Photo, image: np.ndarray, detected: detector.Detection, model: MorphableModel, focal: float | None = None
) -> Portrait:
    """The `Portrait` of a face that was detected in the photo's `image` [H, W, 3] uint8, of `focal` length in px."""
    points = faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    crop = alignment.align(image, detected.points5, points)
    window, corner = _window(image, crop.transform)
    return Portrait(photo, window, corner, crop, detected, _camera(image, crop.transform, focal))


def _camera(image: np.ndarray, transform: Similarity, focal: float | None) -> Camera:
    """The `Camera` of a crop; the usual one where the photo's is unknown, or would be too near or too far."""
    own = FOCAL if focal is None else focal * transform.scale
    if focal is None or not NEAREST <= CAMERA_DISTANCE * own / FOCAL <= FARTHEST:
        return Camera()
    x, y = transform.apply(np.array(image.shape[1::-1]) / 2).tolist()
    return Camera(focal=own, center=(x, y))


def observe(portraits: Sequence[Portrait]) -> Observation:
    """The `Observation` of a batch of portraits."""
    images = np.stack([p.crop.image for p in portraits])
    cameras = [p.camera for p in portraits]
    return Observation(
        images=images,
        landmarks=np.stack([p.landmarks() for p in portraits]).astype(np.float32),
        attention=skin.skin_attention(skin.skin_probability(images))[..., None],
        camera=None if all(camera == Camera() for camera in cameras) else together(cameras),
        dense=np.stack([p.crop.transform.apply(p.detected.landmarks478[:, :2]) for p in portraits]).astype(np.float32),
    )


def in_batches(sequence: Any) -> list[Any]:
    """A list or array in slices of a batch."""
    return [sequence[start : start + BATCH] for start in range(0, len(sequence), BATCH)]


def _window(image: np.ndarray, transform: Similarity) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of `image` around the crop and its corner (x, y) in photo px."""
    reach = IMAGE_SIZE * MARGIN
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (IMAGE_SIZE / 2 + reach) + IMAGE_SIZE / 2
    corners = transform.inverse().apply(square)
    size = np.array([image.shape[1], image.shape[0]])
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, size - 1).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)), (x0 + 1, y0 + 1), size).astype(int)
    return image[y0:y1, x0:x1].copy(), (int(x0), int(y0))
