"""From photos to faces: R-Net regresses, a few steps of the fit refine, or the fit starts from the mean face.

Faces are fitted in batches; one bad photo spoils no other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError, extra
from tf_deep3d.face import blendshapes, morphable_model
from tf_deep3d.face import head as heads
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import gauss_newton, judging, pose
from tf_deep3d.fitting.settings import FitSettings, Observation
from tf_deep3d.io.optics import MILLIMETRES, focal_length
from tf_deep3d.io.photos import Photo, photo_name
from tf_deep3d.mesh.face_files import TEXTURES
from tf_deep3d.models import presets
from tf_deep3d.models.regression import Regressor, load_regressor
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction.appearance import paint, versions
from tf_deep3d.reconstruction.parallel import in_order
from tf_deep3d.reconstruction.portraits import (
    Portrait,
    in_batches,
    observe,
    portraits_of,
)
from tf_deep3d.reconstruction.view import shown_level
from tf_deep3d.texture.atlas import unwrap

ATLASES = 2  # sizes of texture that are kept
REFINE, LEVEL = 5, 0  # steps of the fit after R-Net, and the level of detail at which they are made
JUDGED = 1  # level of detail at which it is told how well a face explains its photo


@dataclass(frozen=True)
class Options:
    """How to find a face.

    Attributes:
      preset: R-Net and C-Net, see `presets.find_weights`.
      model: path of the face model, None for the open face model.
      level: level of detail of the meshes from 0, the coarsest, or from -1, the finest.
      method: "rnet" regresses, then refines; "fit" starts from the mean face and needs no preset.
      refine: Gauss-Newton steps that start from R-Net's answer.
      settings: of the fit from the mean face.
      refinement: of the steps after R-Net.
      head: load the whole head, too.
      view: write a page to look at each result, too.
      packing: of written GLB files, one of `gltf.PACKINGS`.
      texture: which texture the meshes show, "photo" in the photo's light or "albedo" without it; both are written.
      keep_everything: take what lies before the face, glasses or hair, into the texture, too.
      focal: equivalent focal length of the photos in mm; None for what each photo's EXIF says.

    Raises:
      InputError: if `refine` is negative, `focal` outside `optics.MILLIMETRES`, or there is no such texture.
    """

    preset: str | Path = presets.DEFAULT
    model: str | Path | None = None
    level: int = -1
    method: str = "rnet"
    refine: int = REFINE
    settings: FitSettings = field(default_factory=FitSettings)
    refinement: FitSettings = gauss_newton.SETTINGS
    head: bool = False
    view: bool = True
    packing: str = "compact"
    texture: str = "photo"
    keep_everything: bool = False
    focal: float | None = None

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        if self.refine < 0:
            raise InputError(f"refine must not be negative. Received: {self.refine}")
        if self.texture not in TEXTURES:
            raise InputError(f"texture must be one of {', '.join(TEXTURES)}. Received: {self.texture!r}")
        if self.focal is not None and not MILLIMETRES[0] <= self.focal <= MILLIMETRES[1]:
            raise InputError(f"the focal length must lie in {MILLIMETRES} mm. Received: {self.focal}")

    @property
    def steps(self) -> int:
        """Steps of the chosen method's fit."""
        return self.settings.steps if self.method == "fit" else self.refine


class Models(NamedTuple):
    """What is loaded once.

    Attributes:
      levels: the face model's levels of detail, the coarsest first.
      written: the level of detail of the meshes.
      atlas: function of a size in px that gives the `Atlas` of `written`; None where no texture is made.
      regressor: R-Net and C-Net, or None to fit from the mean face.
      surface: gives the `surface_of` the levels and keeps it; None to make it each time.
      units: `blendshapes.Units` of the face model, or None for one without.
      head: the `Head` around the face model, or None where none is written.
      shown: the level of detail of the pages, or None where none is written.
    """

    levels: Sequence[morphable_model.MorphableModel]
    written: morphable_model.MorphableModel
    atlas: Any
    regressor: Regressor | None = None
    surface: Callable[[], gauss_newton.Surface] | None = None
    units: blendshapes.Units | None = None
    head: heads.Head | None = None
    shown: morphable_model.MorphableModel | None = None


def load_models(options: Options) -> Models:
    """Loads `Models` for `options`.

    Raises:
      morphable_model.ModelError, FileNotFoundError: for an unusable model file, or one that the head does not fit.
      weights.WeightsError: for unusable weights, or those of another face model.
      InputError: for a level of detail that the model does not have.
    """
    levels = morphable_model.load_levels(options.model)
    if not -len(levels) <= options.level < len(levels):
        raise InputError(f"the model has the levels of detail 0 to {len(levels) - 1}. Received: {options.level}")
    written = levels[options.level]
    regressor = load_regressor(options.preset, options.model) if options.method == "rnet" else None
    units = blendshapes.units(levels[0]) if len(levels[0].blendshapes) else None
    head = heads.load(levels[min(heads.LEVEL, len(levels) - 1)]) if options.head else None
    shown = shown_level(levels, options.level) if options.view else None
    atlas = lru_cache(ATLASES)(partial(unwrap, written))
    surface = lru_cache(partial(surface_of, levels))
    return Models(levels, written, atlas, regressor, surface, units, head, shown)


def surface_of(levels: Sequence[morphable_model.MorphableModel]) -> gauss_newton.Surface:
    """The `gauss_newton.Surface` of the level of detail that is refined."""
    return gauss_newton.surface_of(morphable_model.pick_level(levels, LEVEL))


def solve(
    observation: Observation,
    options: Options,
    models: Models,
    on_step: Callable[[], object] | None = None,
    start: Coefficients | None = None,
) -> Coefficients:
    """The `Coefficients` of the faces of an `Observation` by the method of `options`.

    Args:
      observation: see `observe`.
      options: `Options`.
      models: `Models`.
      on_step: called after each step.
      start: what the regressor says of the observation's images, if the caller knows it already.
    """
    if options.method == "fit" or models.regressor is None:
        with extra("train"):
            from tf_deep3d.fitting import descent
            from tf_deep3d.models.recognition import build_recognition

        fit = descent.fit(models.levels, observation, options.settings, build_recognition(), None, on_step)
        return fit.coefficients
    if start is None:
        start, _ = models.regressor.regress(observation.images)
    if observation.camera is not None:
        start = pose.posed(models.levels[-1], start, observation.landmarks, observation.camera)
    if not options.refine:
        return start
    surface = models.surface or partial(surface_of, models.levels)
    return gauss_newton.refine(surface(), observation, start, options.refinement, options.refine, on_step)


class Found(NamedTuple):
    """One face of one of several photos, or why there is none.

    Attributes:
      photo: index of the photo among those that were given.
      number: of the face in its photo from 1, the largest.
      face: the `Reconstruction`, or the PhotoError, NoFaceError, OSError or InputError that there is instead.
    """

    photo: int
    number: int
    face: Reconstruction | InputError | OSError


def reconstruct_photos(
    photos: Sequence[Photo],
    options: Options,
    models: Models,
    all_faces: bool = False,
    on_progress: Callable[[float], object] | None = None,
    finish: Callable[[Found], object] | None = None,
) -> Iterator[Found]:
    """Reconstructs the faces of photos: each for itself, several at the same time; those that are fitted from the mean
    face in batches.

    Args:
      photos: paths, bytes of files, or arrays [H, W, 3].
      options: `Options`.
      models: `Models` of `load_models`.
      all_faces: every face of a photo, else the largest.
      on_progress: called with the share of one photo's work that was done, so that the calls add up to `len(photos)`.
      finish: called with each `Found`, in the thread that made it, before the photo's work is done; what it raises of
        InputError and OSError becomes the face's error.

    Yields:
      `Found`, at least one for each photo, in their order.
    """
    progress = on_progress or (lambda share: None)
    find = partial(_find, models=models, all_faces=all_faces, lens=partial(focal_length, millimetres=options.focal))
    if options.method == "fit":
        for batch in in_batches(list(enumerate(photos))):
            found = [(index, find(photo)) for index, photo in batch]
            yield from (_finished(each, finish) for each in _fitted(found, options, models, progress))
        return

    def alone(index: int) -> list[Found]:
        found = _fitted([(index, find(photos[index]))], options, models, lambda share: None)
        return [_finished(each, finish) for each in found]

    for several in in_order(alone, range(len(photos))):
        progress(1.0)
        yield from several


def _find(
    photo: Photo, models: Models, all_faces: bool, lens: Callable[[Photo, tuple[int, int]], float | None]
) -> list[Portrait] | InputError | OSError:
    """The portraits of a photo, or why there are none."""
    try:
        return portraits_of(photo, models.levels[0], all_faces, lens)
    except (InputError, OSError) as error:
        return error


def _finished(found: Found, finish: Callable[[Found], object] | None) -> Found:
    try:
        if finish:
            finish(found)
    except (InputError, OSError) as error:
        return found._replace(face=error)
    return found


def _fitted(
    photos: Sequence[tuple[int, list[Portrait] | InputError | OSError]],
    options: Options,
    models: Models,
    progress: Callable[[float], object],
) -> Iterator[Found]:
    """The faces of photos, at most `BATCH` at once, in the order of the photos."""
    each = [
        (index, number, portrait)
        for index, portraits in photos
        if isinstance(portraits, list)
        for number, portrait in enumerate(portraits, 1)
    ]
    batches = in_batches(each)
    share = len(photos) / max(len(batches) * max(options.steps, 1), 1)
    faces_of: dict[int, list[Found]] = {
        index: [Found(index, 1, error)] for index, error in photos if not isinstance(error, list)
    }
    for batch in batches:
        found = reconstruct_portraits(
            [portrait for *_, portrait in batch], options, models, on_step=lambda: progress(share)
        )
        for (index, number, _), face in zip(batch, found, strict=True):
            diverged = InputError("the fit of the face diverged")
            faces_of.setdefault(index, []).append(Found(index, number, diverged if face is None else face))
    if not batches:
        progress(float(len(photos)))
    for index, _ in photos:
        yield from faces_of[index]


def reconstruct_portraits(
    portraits: Sequence[Portrait], options: Options, models: Models, on_step: Callable[[], object] | None = None
) -> list[Reconstruction | None]:
    """The faces of a batch of portraits, None where the fit diverged; arguments as of `solve`."""
    observation = observe(portraits)
    start = confidence = None
    if options.method == "rnet" and models.regressor is not None:
        start, confidence = models.regressor.regress(observation.images)
    fitted = solve(observation, options, models, on_step, start)
    model = morphable_model.pick_level(models.levels, JUDGED)
    found: list[Reconstruction | None] = []
    for index, portrait in enumerate(portraits):
        mine = Coefficients(*(group[index : index + 1] for group in fitted))
        if not all(np.isfinite(group).all() for group in mine):
            found.append(None)
            continue
        (losses,) = judging.terms(model, observation.one(index), mine, options.settings)
        report = {"losses": losses, "method": options.method, "versions": versions()}
        trust = None if confidence is None else confidence[index]
        found.append(reconstruction_of(portrait, mine, models, options, trust, report))
    return found


def reconstruction_of(
    portrait: Portrait,
    coefficients: Coefficients,
    models: Models,
    options: Options,
    confidence: np.ndarray | None = None,
    report: dict[str, object] | None = None,
) -> Reconstruction:
    """The `Reconstruction` of a portrait whose `Coefficients` (B = 1) are known; the rest as of that class."""
    return Reconstruction(
        photo=photo_name(portrait.photo),
        model=models.written,
        coefficients=coefficients,
        face=faces.reconstruct(models.written, coefficients, portrait.camera),
        detected=portrait.detected,
        crop=portrait.crop,
        confidence=confidence,
        units=models.units,
        report=report or {},
        paint=partial(paint, portrait, models.atlas, models.shown, options.texture, options.keep_everything),
        head=models.head,
        camera=portrait.camera,
    )
