"""From photos to faces: R-Net regresses, a few steps of the fit refine, or the fit starts from the mean face.

Faces are fitted in batches; one bad photo spoils no other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.face import blendshapes, morphable_model
from tf_deep3d.face import head as heads
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import descent, pose
from tf_deep3d.io.optics import MILLIMETRES, focal_length
from tf_deep3d.io.photos import Photo, photo_name
from tf_deep3d.mesh.face_files import TEXTURES
from tf_deep3d.models import presets
from tf_deep3d.models.cnet import WEIGHTS as CNET_WEIGHTS
from tf_deep3d.models.cnet import CNet
from tf_deep3d.models.recognition import build_recognition
from tf_deep3d.models.rnet import RNet, fingerprint
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction.appearance import paint, versions
from tf_deep3d.reconstruction.portraits import (
    BATCH,
    Portrait,
    in_batches,
    observe,
    portraits_of,
)
from tf_deep3d.reconstruction.view import shown_level
from tf_deep3d.texture.atlas import unwrap

ATLASES = 2  # sizes of texture that are kept
REFINE = 20  # steps of the fit after R-Net
REFINEMENT = descent.Stage(level=1, steps=REFINE, learning_rate=0.02, perceptual=False)


@dataclass(frozen=True)
class Options:
    """How to find a face.

    Attributes:
      preset: R-Net and C-Net, see `presets.find_weights`.
      model: path of the face model, None for the open face model.
      level: level of detail of the meshes from 0, the coarsest, or from -1, the finest.
      method: "rnet" regresses, then refines; "fit" starts from the mean face and needs no preset.
      refine: steps of the fit that start from R-Net's answer.
      settings: of the fit.
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
    settings: descent.FitSettings = field(default_factory=descent.FitSettings)
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

    def descent(self) -> descent.FitSettings:
        """The `descent.FitSettings` of the chosen method."""
        if self.method == "fit":
            return self.settings
        return replace(self.settings, stages=(replace(REFINEMENT, steps=self.refine),))


class Models(NamedTuple):
    """What is loaded once.

    Attributes:
      levels: the face model's levels of detail, the coarsest first.
      written: the level of detail of the meshes.
      atlas: function of a size in px that gives the `Atlas` of `written`; None where no texture is made.
      recognition: the perceptual network; None where no fit asks for it.
      rnet: `RNet`, or None to fit from the mean face.
      cnet: `CNet` of that R-Net, or None.
      units: `blendshapes.Units` of the face model, or None for one without.
      head: the `Head` around the face model, or None where none is written.
      shown: the level of detail of the pages, or None where none is written.
    """

    levels: Sequence[morphable_model.MorphableModel]
    written: morphable_model.MorphableModel
    atlas: Any
    recognition: Any
    rnet: RNet | None = None
    cnet: CNet | None = None
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
    network = judge = None
    if options.method == "rnet":
        network = RNet.from_preset(options.preset, fingerprint(options.model))
        judge = _load_cnet(options.preset, network)
    units = blendshapes.units(levels[0]) if len(levels[0].blendshapes) else None
    head = heads.load(levels[min(heads.LEVEL, len(levels) - 1)]) if options.head else None
    shown = shown_level(levels, options.level) if options.view else None
    atlas = lru_cache(ATLASES)(partial(unwrap, written))
    return Models(levels, written, atlas, build_recognition(), network, judge, units, head, shown)


def _load_cnet(preset: str | Path, network: RNet) -> CNet | None:
    """The `CNet` of a shipped preset or of the folder of a training, which may have none."""
    if preset not in presets.PRESETS and not (Path(preset) / CNET_WEIGHTS).is_file():
        return None
    return CNet.from_preset(preset, network)


def regress(models: Models, images: np.ndarray) -> tuple[Coefficients, np.ndarray | None]:
    """What the networks say of aligned photos [B, 224, 224, 3].

    Args:
      models: with an R-Net.
      images: RGB in [0, 1].

    Returns:
      `Coefficients` of B faces, NumPy; C-Net's confidences [B, K or 1], None without one.
    """
    if models.rnet is None:
        raise ValueError("regress needs an R-Net. Received: models without one")
    found, features = models.rnet.regress(images)
    confidence = None if models.cnet is None else np.asarray(ops.convert_to_numpy(models.cnet(features)))
    return Coefficients(*map(ops.convert_to_numpy, found)), confidence


def solve(
    observation: descent.Observation,
    options: Options,
    models: Models,
    on_step: Callable[[], object] | None = None,
    start: Coefficients | None = None,
) -> descent.Fit:
    """The `descent.Fit` of the faces of an `Observation` by the method of `options`.

    Args:
      observation: see `observe`.
      options: `Options`.
      models: `Models`.
      on_step: called after each step.
      start: what `regress` says of the observation's images, if the caller knows it already.
    """
    if options.method == "rnet" and start is None:
        start, _ = regress(models, observation.images)
    if start is not None and observation.camera is not None:
        start = pose.posed(models.levels[-1], start, observation.landmarks, observation.camera)
    return descent.fit(models.levels, observation, options.descent(), models.recognition, start, on_step)


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
) -> Iterator[Found]:
    """Reconstructs the faces of photos, in batches.

    Args:
      photos: paths, bytes of files, or arrays [H, W, 3].
      options: `Options`.
      models: `Models` of `load_models`.
      all_faces: every face of a photo, else the largest.
      on_progress: called with the share of one photo's work that was done, so that the calls add up to `len(photos)`.

    Yields:
      `Found`, at least one for each photo; faces in the order of the photos, errors as soon as they are met.
    """
    progress = on_progress or (lambda share: None)
    lens = partial(focal_length, millimetres=options.focal)
    waiting: list[tuple[int, list[Portrait]]] = []  # (index of the photo, its portraits)
    for index, photo in enumerate(photos):
        try:
            waiting.append((index, portraits_of(photo, models.levels[-1], all_faces, lens)))
        except (InputError, OSError) as error:
            progress(1.0)
            yield Found(index, 1, error)
            continue
        if sum(len(portraits) for _, portraits in waiting) >= BATCH:
            yield from _reconstruct(waiting, options, models, progress)
            waiting = []
    if waiting:
        yield from _reconstruct(waiting, options, models, progress)


def _reconstruct(
    waiting: list[tuple[int, list[Portrait]]],
    options: Options,
    models: Models,
    progress: Callable[[float], object],
) -> Iterator[Found]:
    """The faces of several photos, at most `BATCH` at once."""
    each = [
        (index, number, portrait)
        for index, portraits in waiting
        for number, portrait in enumerate(portraits, 1)
    ]  # fmt: skip
    batches = in_batches(each)
    steps = options.descent().steps
    share = len(waiting) / (len(batches) * max(steps, 1))
    for batch in batches:
        found = reconstruct_portraits(
            [portrait for *_, portrait in batch], options, models, on_step=lambda: progress(share)
        )
        if not steps:
            progress(len(waiting) / len(batches))
        for (index, number, _), face in zip(batch, found, strict=True):
            yield Found(index, number, InputError("the fit of the face diverged") if face is None else face)


def reconstruct_portraits(
    portraits: Sequence[Portrait], options: Options, models: Models, on_step: Callable[[], object] | None = None
) -> list[Reconstruction | None]:
    """The faces of a batch of portraits, None where the fit diverged; arguments as of `solve`."""
    observation = observe(portraits)
    start = confidence = None
    if options.method == "rnet":
        start, confidence = regress(models, observation.images)
    fit = solve(observation, options, models, on_step, start)
    found: list[Reconstruction | None] = []
    for index, portrait in enumerate(portraits):
        mine = Coefficients(*(group[index : index + 1] for group in fit.coefficients))
        if not all(np.isfinite(group).all() for group in mine):
            found.append(None)
            continue
        losses = {name: float(values[index]) for name, values in fit.terms.items()}
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
