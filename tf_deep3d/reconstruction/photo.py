"""From photos to folders of results: detect, align, fit, and write what people look at.

A face travels as a `Portrait` (what is known of it before the fit) and ends as a folder that appears whole or not at
all. Faces are fitted in batches; one bad photo is reported and never stops the others.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.detection import alignment, detector, skin
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import descent as fitting
from tf_deep3d.io import photos
from tf_deep3d.io.files import face_folder, folder_names, refuse_existing
from tf_deep3d.models import rnet
from tf_deep3d.models.recognition import build_recognition
from tf_deep3d.reconstruction import results
from tf_deep3d.texture.atlas import Atlas, unwrap

BATCH = 16  # faces fitted at once; bounds the memory
REFINE = 20  # steps of the fit after R-Net
REFINEMENT = fitting.Stage(level=1, steps=REFINE, learning_rate=0.02, perceptual=False)
MARGIN = 0.3  # share of the crop's side that is kept of the photo around the crop, for the texture


class Portrait(NamedTuple):
    """One face of one photo, before it is fitted.

    Attributes:
      photo: path of the photo.
      window: [H, W, 3] uint8, the part of the photo around the face.
      corner: (x, y) of the window's corner in photo px.
      crop: `alignment.Crop`; its transform maps photo px to crop px.
      detected: `detector.Detection`, in photo px.
      folder: name of its folder of results.
    """

    photo: Path
    window: np.ndarray
    corner: tuple
    crop: alignment.Crop
    detected: detector.Detection
    folder: str = ""

    def landmarks(self):
        """The detected 68 landmarks [68, 2] in px of the crop."""
        return self.crop.transform.apply(self.detected.landmarks68)


class Failure(NamedTuple):
    """A photo or face that gave no result, and why."""

    photo: Path
    reason: str


@dataclass(frozen=True)
class Options:
    """What to make of each photo.

    Attributes:
      model: path of the model file, None for the open face model.
      level: level of detail of the written meshes, None for the finest.
      all_faces: every face of a photo, else the largest.
      overwrite: replace existing results.
      method: "rnet" regresses, then refines; "fit" starts from the mean face.
      weights: R-Net's weights file, or the folder of a training; None for the shipped ones.
      refine: steps of the fit that start from R-Net's answer.
      settings: of the fit.
    """

    model: Path | None = None
    level: int | None = None
    all_faces: bool = False
    overwrite: bool = False
    method: str = "rnet"
    weights: Path | None = None
    refine: int = REFINE
    settings: fitting.FitSettings = field(default_factory=fitting.FitSettings)

    def __post_init__(self):
        if self.refine < 0:
            raise InputError(f"refine must not be negative. Received: {self.refine}")

    def descent(self):
        """The `fitting.FitSettings` of the chosen method."""
        if self.method == "fit":
            return self.settings
        return replace(self.settings, stages=(replace(REFINEMENT, steps=self.refine),))


class Models(NamedTuple):
    """What is loaded once.

    Attributes:
      levels: the face model's levels of detail, the coarsest first.
      written: the level of detail of the meshes.
      atlas: `Atlas` of `written`.
      recognition: the perceptual network.
      rnet: `RNet`, or None to fit from the mean face.
    """

    levels: tuple
    written: morphable_model.MorphableModel
    atlas: Atlas
    recognition: Any
    rnet: Any = None


def portraits_of(path, model, all_faces=False):
    """Reads a photo and finds its faces.

    Args:
      path: photo.
      model: `MorphableModel`, for its five alignment points.
      all_faces: every face, else the largest.

    Returns:
      List of `Portrait`, largest first.

    Raises:
      photos.PhotoError: if the photo cannot be read.
      NoFaceError: if it shows no face.
    """
    photo = photos.read_photo(path)
    found = detector.detect(photo)
    if not found:
        raise NoFaceError(f"no face found in {photo.shape[1]} x {photo.shape[0]} px")
    return [portrait_of(path, photo, detected, model) for detected in (found if all_faces else found[:1])]


def portrait_of(path, photo, detected, model):
    """The `Portrait` of a face that was detected in a photo; arguments as in `portraits_of`."""
    points = faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    crop = alignment.align(photo, detected.points5, points)
    window, corner = _window(photo, crop.transform)
    return Portrait(path, window, corner, crop, detected)


class NoFaceError(InputError):
    """The photo shows no face that the detector finds."""


def observe(portraits):
    """The `fitting.Observation` of a batch of portraits."""
    images = np.stack([p.crop.image for p in portraits])
    return fitting.Observation(
        images=images,
        landmarks=np.stack([p.landmarks() for p in portraits]).astype(np.float32),
        attention=skin.skin_attention(skin.skin_probability(images))[..., None],
        dense=np.stack([p.crop.transform.apply(p.detected.landmarks478[:, :2]) for p in portraits]).astype(np.float32),
    )


def regress(network, images):
    """R-Net's `Coefficients`, NumPy, of aligned photos [B, 224, 224, 3]."""
    return Coefficients(*(ops.convert_to_numpy(group) for group in network(images)))


def solve(observation, options, models, on_step=None):
    """The `fitting.Fit` of the faces of an `Observation` by the method of `options`; `on_step` as in `fitting.fit`."""
    start = regress(models.rnet, observation.images) if options.method == "rnet" else None
    return fitting.fit(models.levels, observation, options.descent(), models.recognition, start, on_step)


@dataclass(frozen=True)
class Outcome:
    """One face that was written.

    Attributes:
      photo: path of the photo.
      folder: of the results.
      terms: raw losses, name -> number.
      landmark_error: see `face.landmarks.nme`.
    """

    photo: Path
    folder: Path
    terms: dict
    landmark_error: float


def load_models(options):
    """Loads `Models` for `options`.

    Raises:
      morphable_model.ModelError, FileNotFoundError: for an unusable model file.
      rnet.WeightsError: for unusable weights, or those of another face model.
    """
    levels = morphable_model.load_levels(options.model)
    if options.level is not None and not 0 <= options.level < len(levels):
        raise InputError(f"the model has the levels of detail 0 to {len(levels) - 1}. Received: {options.level}")
    written = levels[-1 if options.level is None else options.level]
    network = None
    if options.method == "rnet":
        network = rnet.load_rnet(options.weights or rnet.SHIPPED, rnet.fingerprint(options.model))
    return Models(levels, written, unwrap(written), build_recognition(), network)


def reconstruct_photos(paths, out, options, models, on_progress=None):
    """Reconstructs the faces of photos, in batches.

    Args:
      paths: photos.
      out: folder; each face gets a folder in it.
      options: `Options`.
      models: `Models` of `load_models`.
      on_progress: called with the share of one photo's work that was done, so that the calls add up to `len(paths)`.

    Yields:
      An `Outcome` for each written face and a `Failure` for each photo or face without a result.
    """
    progress = on_progress or (lambda share: None)
    names = folder_names(paths)
    waiting = []  # the portraits of each photo
    for path, name in zip(paths, names, strict=True):
        try:
            if not options.overwrite:
                refuse_existing(out / name)
            found = portraits_of(path, models.levels[-1], options.all_faces)
        except (photos.PhotoError, NoFaceError, OSError) as error:
            progress(1.0)
            yield Failure(path, str(error))
            continue
        waiting.append([p._replace(folder=face_folder(name, number)) for number, p in enumerate(found, 1)])
        if sum(map(len, waiting)) >= BATCH:
            yield from _reconstruct(waiting, out, options, models, progress)
            waiting = []
    if waiting:
        yield from _reconstruct(waiting, out, options, models, progress)


def _reconstruct(photo_portraits, out, options, models, progress):
    """Fits and writes the portraits of several photos, at most `BATCH` at once."""
    portraits = [portrait for group in photo_portraits for portrait in group]
    batches = [portraits[start : start + BATCH] for start in range(0, len(portraits), BATCH)]
    settings = options.descent()
    share = len(photo_portraits) / (len(batches) * max(settings.steps, 1))
    for batch in batches:
        fit = solve(observe(batch), options, models, on_step=lambda: progress(share))
        if not settings.steps:
            progress(len(photo_portraits) / len(batches))
        for index, portrait in enumerate(batch):
            yield _write(portrait, fit, index, out, options, models)


def _write(portrait, fit, index, out, options, models):
    coefficients = Coefficients(*(group[index : index + 1] for group in fit.coefficients))
    if not all(np.isfinite(group).all() for group in coefficients):
        return Failure(portrait.photo, "the fit of the face diverged")
    terms = {name: float(values[index]) for name, values in fit.terms.items()}
    folder = out / portrait.folder
    try:
        error = results.write_face(
            folder, portrait, models.written, models.atlas, coefficients, terms, options.method, options.overwrite
        )
    except OSError as error:
        return Failure(portrait.photo, f"cannot write {folder}: {error}")
    return Outcome(portrait.photo, folder, terms, error)


def _window(photo, transform):
    """The part of `photo` around the crop and its corner (x, y) in photo px."""
    reach = IMAGE_SIZE * MARGIN
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (IMAGE_SIZE / 2 + reach) + IMAGE_SIZE / 2
    corners = transform.inverse().apply(square)
    size = np.array([photo.shape[1], photo.shape[0]])
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, size - 1).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)), (x0 + 1, y0 + 1), size).astype(int)
    return photo[y0:y1, x0:x1].copy(), (int(x0), int(y0))
