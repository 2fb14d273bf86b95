"""From an album of one person to one face (Deng et al. 2019, section 4).

The photos' identities become one (`aggregation`), and each photo gets its own pose and expression of it from its
landmarks, and its own light. `refine` improves all of them together by gradient descent.

Letters: P photos of the person, K identity coefficients.
"""

import glob
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.detection import skin
from tf_deep3d.errors import InputError
from tf_deep3d.face import aggregation, morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE, Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.fitting import descent, light, motion
from tf_deep3d.models import cnet as cnets
from tf_deep3d.reconstruction import photo
from tf_deep3d.reconstruction.album.sightings import (
    LIKENESS,
    THUMBNAIL,
    Sighting,
    find_person,
    in_batches,
    look_through,
    portrait_again,
)

LIGHT_LEVEL = 1  # level of detail at which the light is found
SHARED = ("identity", "albedo")  # groups that all photos of a person have in common


@dataclass(frozen=True)
class AlbumSettings:
    """What to make of an album.

    Attributes:
      strategy: name in `aggregation.STRATEGIES`; None for `aggregation.DEFAULT` where the C-Net serves it, else the
        average.
      keep_outliers: fuse faces that look like another person's, too.

    Raises:
      ValueError: if the strategy is unknown.
    """

    strategy: str | None = None
    keep_outliers: bool = False

    def __post_init__(self):
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

    def __str__(self):
        return f"another person: likeness {self.likeness:.2f} to the others, at least {LIKENESS} is needed"


class Album(NamedTuple):
    """One person in all their photos.

    Attributes:
      sightings: P of them, in the order of the photos.
      likeness: [P], see `find_person`.
      strangers: tuple of `Stranger`.
      failures: tuple of `photo.Failure`.
      strategy: how the identities were fused, name in `aggregation.STRATEGIES`.
      weights: [P, K], share of each photo in each coefficient of the fused identity; columns sum to 1.
      coefficients: `Coefficients` of the P photos, with the same identity and albedo in all of them.
    """

    sightings: tuple
    likeness: Any
    strangers: tuple
    failures: tuple
    strategy: str
    weights: Any
    coefficients: Coefficients


def album_name(sources):
    """The name of the album that folders, photos or patterns make up: that of the folder they share.

    Args:
      sources: as in `photos.find_photos`.
    """
    folders = [Path(source) if Path(source).is_dir() else Path(source).parent for source in sources]
    names = {folder.resolve().name for folder in folders if not glob.has_magic(str(folder))}
    return names.pop() if len(names) == 1 and "" not in names else "album"


def load_cnet(options, models):
    """The `CNet` that belongs to the R-Net of `models`, or None.

    Raises:
      weights.WeightsError: if there is one, and it cannot be used.
    """
    if models.rnet is None:
        return None
    path = cnets.SHIPPED if options.weights is None else Path(options.weights) / cnets.WEIGHTS
    return cnets.load_cnet(path, models.rnet) if path.is_file() else None


def choose_strategy(settings, cnet):
    """The strategy of `AlbumSettings`; `cnet` is the `CNet` or None.

    Raises:
      ValueError: if it needs confidences of another kind than `cnet` gives.
    """
    if cnet is None:
        usable = ("average",)
    elif cnet.confidences == 1:
        usable = ("average", "scalar")
    else:
        usable = tuple(name for name in aggregation.STRATEGIES if name != "scalar")
    wanted = settings.strategy or (aggregation.DEFAULT if aggregation.DEFAULT in usable else "average")
    if wanted not in usable:
        have = "no C-Net" if cnet is None else f"a C-Net with {cnet.confidences} confidences"
        raise InputError(f"with {have} the strategy can be {', '.join(usable)}. Received: {wanted!r}")
    return wanted


def assemble(paths, settings, options, models, cnet=None, on_progress=None):
    """The `Album` of photos.

    Args:
      paths: photos.
      settings: `AlbumSettings`.
      options: `photo.Options`; `refine` counts steps for all photos together.
      models: `photo.Models`.
      cnet: `CNet` of the R-Net in `models`, or None.
      on_progress: called with (name of the stage, steps done, steps in all).

    Returns:
      `Album`.

    Raises:
      pipeline.NoFaceError: if no photo shows a face.
      ValueError: for a strategy without its C-Net, or a fit that diverged.
    """
    progress = on_progress or (lambda stage, done, total: None)
    strategy = choose_strategy(settings, cnet)
    seen, failures = look_through(paths, options, models, cnet, on_progress)
    if not seen:
        reasons = f"; the first: {failures[0].photo.name}: {failures[0].reason}" if failures else ""
        raise photo.NoFaceError(f"no face found in {len(paths)} photos{reasons}")
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
    return refine(album, options, models, progress) if options.refine else album


def fuse(sightings, strategy):
    """The shares [P, K] of the photos in the fused identity, and the `Coefficients` of the photos with it.

    The albedo is their mean by mean share.
    """
    groups = Coefficients(*(np.concatenate(group) for group in zip(*(s.coefficients for s in sightings), strict=True)))
    confidence = None if sightings[0].confidence is None else np.stack([s.confidence for s in sightings])[None]
    weights = aggregation.photo_weights(groups.identity[None], confidence, None, strategy)[0]
    weights = np.broadcast_to(weights / weights.sum(0), groups.identity.shape)
    identity = aggregation.aggregate(groups.identity[None], confidence, None, strategy)
    albedo = weights.mean(1) @ groups.albedo
    shared = {"identity": identity[0], "albedo": albedo}
    return weights, groups._replace(**{n: np.tile(np.float32(v), (len(weights), 1)) for n, v in shared.items()})


def refine(album, options, models, on_progress=None):
    """An `Album` after `options.refine` steps of gradient descent on all photos together.

    One batch, spread over yaw and of the most trusted photos, decides about identity and albedo; the other photos
    follow with their own coefficients.
    """
    progress = on_progress or (lambda stage, done, total: None)
    chosen = spread(album, album.weights.mean(1), photo.BATCH)
    rest = np.setdiff1d(np.arange(len(album.sightings)), chosen)
    batches = [chosen, *in_batches(rest)]
    groups = Coefficients(*(group.copy() for group in album.coefficients))
    stage = replace(photo.REFINEMENT, steps=options.refine)
    done = [0]

    def count():
        done[0] += 1
        progress("refining", done[0], len(batches) * options.refine)

    for number, part in enumerate(batches):
        kept = {"shared": SHARED} if number == 0 else {"fixed": SHARED}
        settings = replace(options.settings, stages=(stage,), **kept)
        observation = photo.observe([portrait_again(album.sightings[index], models) for index in part])
        start = Coefficients(*(group[part] for group in groups))
        fit = descent.fit(models.levels, observation, settings, None, start, count)
        for group, values in zip(groups, fit.coefficients, strict=True):
            group[part] = values
        if number == 0:
            for name in SHARED:
                getattr(groups, name)[:] = getattr(groups, name)[part[0]]
        if not all(np.isfinite(group[part]).all() for group in groups):
            raise InputError(f"the joint fit diverged; try --refine 0. Received: {len(part)} photos")
    return album._replace(coefficients=groups)


def spread(album, value, count):
    """Indices of at most `count` photos of an `Album`, all around: the most valuable of each of as many ranges of yaw.

    Args:
      album: `Album`.
      value: [P], larger is better.
      count: of ranges with about equally many photos.
    """
    order = np.argsort(album.coefficients.angles[:, 1], kind="stable")
    parts = np.array_split(order, min(count, len(order)))
    return np.sort([part[np.argmax(value[part])] for part in parts])


def _settle(album, models, progress):
    """An `Album` with each photo's pose and expression of the fused identity by its landmarks, and its light."""
    model = morphable_model.pick_level(models.levels, LIGHT_LEVEL)
    known = motion.person(models.levels[-1], album.coefficients.identity[0])
    settled = []
    for index, sighting in enumerate(album.sightings):
        angles, translation, expression = motion.solve(known, sighting.landmarks[: len(known.points)], Camera())
        mine = Coefficients(*(group[index : index + 1] for group in album.coefficients))
        solved = {"angles": angles, "translation": translation, "expression": expression}
        mine = mine._replace(**{name: np.float32(value)[None] for name, value in solved.items()})
        settled.append(mine._replace(illumination=_light(sighting, mine, model)[None]))
        progress("posing", index + 1, len(album.sightings))
    return album._replace(coefficients=Coefficients(*map(np.concatenate, zip(*settled, strict=True))))


def _light(sighting, coefficients, model):
    """The light [C, 9] in a thumbnail."""
    image = sighting.thumbnail.astype(np.float32) / 255
    attention = skin.skin_attention(skin.skin_probability(sighting.thumbnail))[..., None]
    face = faces.reconstruct(model, coefficients)
    face = face._replace(pixels=face.pixels * (THUMBNAIL / IMAGE_SIZE))
    return light.find_light(image, attention, model, face, coefficients.illumination[0])
