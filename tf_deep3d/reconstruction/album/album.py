"""From an album of one person to one face (Deng et al. 2019, section 4).

The photos' identities become one (`aggregation`), and each photo gets its own pose and expression of it from its
landmarks, and its own light. `refine` improves all of them together by gradient descent.

Letters: P photos of the person, K identity coefficients.
"""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.command_line import counted
from tf_deep3d.detection import skin
from tf_deep3d.errors import InputError, extra
from tf_deep3d.face import aggregation, morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE, Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import light, motion
from tf_deep3d.fitting.settings import Stage
from tf_deep3d.io.photos import Photo
from tf_deep3d.reconstruction.album.sightings import (
    LIKENESS,
    THUMBNAIL,
    Failure,
    Sighting,
    find_person,
    look_through,
    portrait_again,
)
from tf_deep3d.reconstruction.photo import Models, Options
from tf_deep3d.reconstruction.portraits import BATCH, NoFaceError, in_batches, observe

LIGHT_LEVEL = 1  # level of detail at which the light is found
REFINEMENT = Stage(level=1, steps=20, learning_rate=0.02, perceptual=False)  # by `AlbumSettings.refine` steps
SHARED = ("identity", "albedo")  # groups that all photos of a person have in common

Progress: TypeAlias = Callable[[str, int, int], object]  # of (name of the stage, steps done, steps in all)


@dataclass(frozen=True)
class AlbumSettings:
    """What to make of an album.

    Attributes:
      strategy: name in `aggregation.STRATEGIES`; None for `aggregation.DEFAULT` where the C-Net serves it, else the
        average.
      keep_outliers: fuse faces that look like another person's, too.
      refine: steps of the fit of all photos together.

    Raises:
      InputError: if the strategy is unknown, or `refine` negative.
    """

    strategy: str | None = None
    keep_outliers: bool = False
    refine: int = 0

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        if self.refine < 0:
            raise InputError(f"refine must not be negative. Received: {self.refine}")
        if self.strategy is not None and self.strategy not in aggregation.STRATEGIES:
            known = ", ".join(aggregation.STRATEGIES)
            raise InputError(f"strategy must be one of {known}. Received: {self.strategy!r}")


class Stranger(NamedTuple):
    """A photo whose best face is not the person's.

    Attributes:
      sighting: `Sighting`.
      likeness: see `find_person`.
    """

    sighting: Sighting
    likeness: float

    def __str__(self) -> str:
        """Why the photo does not count."""
        return f"another person: likeness {self.likeness:.2f} to the others, at least {LIKENESS} is needed"


class Album(NamedTuple):
    """One person in all their photos.

    Attributes:
      sightings: P of them, in the order of the photos.
      likeness: [P], see `find_person`.
      strangers: tuple of `Stranger`.
      failures: tuple of `Failure`.
      strategy: how the identities were fused, name in `aggregation.STRATEGIES`.
      weights: [P, K], share of each photo in each coefficient of the fused identity; columns sum to 1.
      coefficients: `Coefficients` of the P photos, with the same identity and albedo in all of them.
      refined: steps of the fit of all photos together.
    """

    sightings: tuple[Sighting, ...]
    likeness: np.ndarray
    strangers: tuple[Stranger, ...]
    failures: tuple[Failure, ...]
    strategy: str
    weights: np.ndarray
    coefficients: Coefficients
    refined: int = 0


def album_name(sources: Sequence[str | Path]) -> str:
    """The name of the album that folders, photos or patterns make up: that of the folder they share.

    Args:
      sources: as in `photos.find_photos`.
    """
    folders = [Path(source) if Path(source).is_dir() else Path(source).parent for source in sources]
    names = {folder.resolve().name for folder in folders if not glob.has_magic(str(folder))}
    return names.pop() if len(names) == 1 and "" not in names else "album"


def choose_strategy(settings: AlbumSettings, confidences: int) -> str:
    """The strategy of `AlbumSettings` where a C-Net gives so many confidences for each photo, 0 for no C-Net.

    Raises:
      InputError: if it needs confidences of another kind.
    """
    if not confidences:
        usable = ("average",)
    elif confidences == 1:
        usable = ("average", "scalar")
    else:
        usable = tuple(name for name in aggregation.STRATEGIES if name != "scalar")
    wanted = settings.strategy or (aggregation.DEFAULT if aggregation.DEFAULT in usable else "average")
    if wanted not in usable:
        have = f"a C-Net with {confidences} confidences" if confidences else "no C-Net"
        raise InputError(f"with {have} the strategy can be {', '.join(usable)}. Received: {wanted!r}")
    return wanted


def assemble(
    photos: Sequence[Photo],
    settings: AlbumSettings,
    options: Options,
    models: Models,
    on_progress: Progress | None = None,
) -> Album:
    """The `Album` of photos.

    Args:
      photos: paths, bytes of files, or arrays [H, W, 3].
      settings: `AlbumSettings`.
      options: `photo.Options`, for the single photos where there is no R-Net.
      models: `photo.Models`.
      on_progress: called with (name of the stage, steps done, steps in all).

    Returns:
      `Album`.

    Raises:
      NoFaceError: if no photo shows a face.
      InputError: for a strategy without its C-Net, or a fit that diverged.
    """
    progress = on_progress or (lambda stage, done, total: None)
    strategy = choose_strategy(settings, models.regressor.confidences if models.regressor else 0)
    seen, failures = look_through(photos, options, models, on_progress)
    if not seen:
        reasons = f"; the first: {failures[0].file}: {failures[0].reason}" if failures else ""
        raise NoFaceError(f"no face found in {counted(len(photos), 'photo')}{reasons}")
    names = {name: place for place, name in enumerate(dict.fromkeys(each.name for each in seen))}
    chosen, likeness = find_person(
        np.stack([each.descriptor for each in seen]), np.array([names[each.name] for each in seen])
    )
    known = likeness >= (-np.inf if settings.keep_outliers else LIKENESS)
    sightings = tuple(seen[face] for face in chosen[known])
    strangers = tuple(Stranger(seen[chosen[place]], float(likeness[place])) for place in np.flatnonzero(~known))
    weights, coefficients = fuse(sightings, strategy)
    album = Album(sightings, likeness[known], strangers, tuple(failures), strategy, weights, coefficients)
    album = _settle(album, models, progress)
    return refine(album, settings.refine, options, models, progress) if settings.refine else album


def fuse(sightings: Sequence[Sighting], strategy: str) -> tuple[np.ndarray, Coefficients]:
    """The shares [P, K] of the photos in the fused identity, and the `Coefficients` of the photos with it.

    The albedo is their mean by mean share.
    """
    groups = Coefficients(*(np.concatenate(group) for group in zip(*(s.coefficients for s in sightings), strict=True)))
    known = [sighting.confidence for sighting in sightings if sighting.confidence is not None]  # of all or none
    confidence = np.stack(known)[None] if known else None
    weights = aggregation.photo_weights(groups.identity[None], confidence, None, strategy)[0]
    weights = np.broadcast_to(weights / weights.sum(0), groups.identity.shape)
    identity = aggregation.aggregate(groups.identity[None], confidence, None, strategy)
    albedo = weights.mean(1) @ groups.albedo
    shared = {"identity": identity[0], "albedo": albedo}
    return weights, groups._replace(**{n: np.tile(np.float32(v), (len(weights), 1)) for n, v in shared.items()})


def refine(album: Album, steps: int, options: Options, models: Models, on_progress: Progress | None = None) -> Album:
    """An `Album` after `steps` steps of gradient descent on all photos together.

    One batch, spread over yaw and of the most trusted photos, decides about identity and albedo; the other photos
    follow with their own coefficients.
    """
    with extra("train"):
        from tf_deep3d.fitting import descent

    progress = on_progress or (lambda stage, done, total: None)
    chosen = spread(album, album.weights.mean(1), BATCH)
    rest = np.setdiff1d(np.arange(len(album.sightings)), chosen)
    batches = [chosen, *in_batches(rest)]
    groups = Coefficients(*(group.copy() for group in album.coefficients))
    stage = replace(REFINEMENT, steps=steps)
    done = [0]

    def count() -> None:
        done[0] += 1
        progress("refining", done[0], len(batches) * steps)

    for number, part in enumerate(batches):
        kept = {"shared": SHARED} if number == 0 else {"fixed": SHARED}
        settings = replace(options.settings, stages=(stage,), **kept)
        observation = observe([portrait_again(album.sightings[index], models) for index in part])
        start = Coefficients(*(group[part] for group in groups))
        fit = descent.fit(models.levels, observation, settings, None, start, count)
        for group, values in zip(groups, fit.coefficients, strict=True):
            group[part] = values
        if number == 0:
            for name in SHARED:
                getattr(groups, name)[:] = getattr(groups, name)[part[0]]
        if not all(np.isfinite(group[part]).all() for group in groups):
            raise InputError(f"the joint fit diverged; try --refine 0. Received: {len(part)} photos")
    return album._replace(coefficients=groups, refined=steps)


def spread(album: Album, value: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` photos of an `Album`, all around: the most valuable of each of as many ranges of yaw.

    Args:
      album: `Album`.
      value: [P], larger is better.
      count: of ranges with about equally many photos.
    """
    order = np.argsort(album.coefficients.angles[:, 1], kind="stable")
    parts = np.array_split(order, min(count, len(order)))
    return np.sort([part[np.argmax(value[part])] for part in parts])


def _settle(album: Album, models: Models, progress: Progress) -> Album:
    """An `Album` with each photo's pose and expression of the fused identity by its landmarks, and its light."""
    model = morphable_model.pick_level(models.levels, LIGHT_LEVEL)
    known = motion.person(models.levels[-1], album.coefficients.identity[0])
    settled = []
    for index, sighting in enumerate(album.sightings):
        angles, translation, expression = motion.solve(known, sighting.landmarks[: len(known.points)], Camera())
        mine = Coefficients(*(group[index : index + 1] for group in album.coefficients))
        solved = {"angles": angles, "translation": translation, "expression": expression}
        mine = mine._replace(**{name: np.asarray(value, np.float32)[None] for name, value in solved.items()})
        settled.append(mine._replace(illumination=_light(sighting, mine, model)[None]))
        progress("posing", index + 1, len(album.sightings))
    return album._replace(coefficients=Coefficients(*map(np.concatenate, zip(*settled, strict=True))))


def _light(sighting: Sighting, coefficients: Coefficients, model: morphable_model.MorphableModel) -> np.ndarray:
    """The light [C, 9] in a thumbnail."""
    image = sighting.thumbnail.astype(np.float32) / 255
    attention = skin.skin_attention(skin.skin_probability(sighting.thumbnail))[..., None]
    face = faces.reconstruct(model, coefficients)
    face = face._replace(pixels=face.pixels * (THUMBNAIL / IMAGE_SIZE))
    return light.find_light(image, attention, model, face, coefficients.illumination[0])
