"""What is written about an album: one neutral face, and each photo's own pose, expression and light.

The photos are read once more, one by one, for their overlays and for the merged texture.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import aggregation, morphable_model
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import nme
from tf_deep3d.io.files import refuse_existing, writing_folder
from tf_deep3d.mesh import face_files
from tf_deep3d.reconstruction import photo, results
from tf_deep3d.reconstruction.album import album as albums
from tf_deep3d.reconstruction.album import pictures as album_pictures
from tf_deep3d.reconstruction.album.sightings import portrait_again
from tf_deep3d.rendering import pictures
from tf_deep3d.texture import merging

OVERLAYS = "overlays"  # folder with a picture of each photo
FILES = (
    *("face.obj", "face.mtl", "texture.png", "face.glb", "face.ply"),
    *("confidence.png", "coefficients.json", OVERLAYS),
)
TEXTURED = 16  # photos at most that make up the texture
OVERLAY_LEVEL = 1  # level of detail of the overlays
OVERLAY_SCALE = 1  # px of a panel over px of the aligned crop
FINEST = 4.0  # px of a photo over px of its aligned crop from which more show nothing more in the texture
EXPRESSIVE = 0.1  # loss of a photo's importance for the texture with each standard deviation of expression


@dataclass(frozen=True)
class AlbumOutcome:
    """What was written.

    Attributes:
      folder: of the results.
      album: `albums.Album`.
      landmark_errors: [P], see `face.landmarks.nme`.
      seen: share of the texture that the photos show.
    """

    folder: Path
    album: albums.Album
    landmark_errors: np.ndarray
    seen: float

    def left_out(self):
        """(path, reason) of the photos that do not count."""
        strangers = [(stranger.sighting.photo, str(stranger)) for stranger in self.album.strangers]
        return [*strangers, *((failure.photo, failure.reason) for failure in self.album.failures)]

    def summary(self):
        """One line, and one more where there is something to know."""
        count = len(self.album.sightings)
        text = (
            f"{count} photo{'s' * (count > 1)} -> {self.folder}: {self.album.strategy}, "
            f"landmarks {100 * self.landmark_errors.mean():.1f} % of the eye distance, "
            f"{100 * self.seen:.0f} % of the texture seen"
        )
        if count == 1:
            text += "\nOne photo is one photo: its face was not fused with any other."
        elif self.album.strategy == "average" and self.album.sightings[0].confidence is None:
            text += "\nEvery photo counts the same: there is no C-Net to weigh them."
        return text


def reconstruct_album(paths, folder, settings, options, on_progress=None):
    """Makes one face of the photos of a person.

    Args:
      paths: photos.
      folder: of the results, see `write_album`.
      settings: `albums.AlbumSettings`.
      options: `photo.Options`.
      on_progress: called with (name of the stage, steps done, steps in all).

    Returns:
      `AlbumOutcome`.

    Raises:
      FileExistsError: if the folder exists and `options.overwrite` is false.
      pipeline.NoFaceError: if no photo shows a face.
      ValueError: see `albums.assemble`.
      OSError: if a model cannot be read, or the results cannot be written.
    """
    if not options.overwrite:
        refuse_existing(folder)
    models = photo.load_models(options)
    album = albums.assemble(paths, settings, options, models, albums.load_cnet(options, models), on_progress)
    return write_album(folder, album, options, models, on_progress)


def write_album(folder, album, options, models, on_progress=None):
    """Writes everything about an `albums.Album` into `folder`, which appears whole or not at all.

    Args:
      folder: to create, named after the person.
      album: `albums.Album`.
      options: `photo.Options`.
      models: `photo.Models`.
      on_progress: called with (name of the stage, steps done, steps in all).

    Returns:
      `AlbumOutcome`.

    Raises:
      FileExistsError: if the folder exists and `options.overwrite` is false.
      photos.PhotoError, OSError: if a photo can no longer be read, or the results cannot be written.
    """
    folder = Path(folder)
    model = models.written
    fused = _neutral(album, model)
    records = []
    with writing_folder(folder, options.overwrite) as temporary:
        (temporary / OVERLAYS).mkdir()
        views = _photo_by_photo(temporary / OVERLAYS, album, models, records, on_progress)
        skin = merging.merge(views, faces.albedo(model, fused.albedo)[0], models.atlas)
        skin = merging.expose(skin, album.coefficients.illumination, importance(album))
        results.write_meshes(temporary, folder.name, model, fused, skin.image)
        portraits = album_pictures.turned_views(model, fused.identity[0], skin.image)
        picture = album_pictures.confidence_picture(folder.name, _lines(album), portraits, _rows(album))
        results.write_picture(temporary / "confidence.png", picture)
        face_files.write_json(temporary / "coefficients.json", _record(album, records, options))
    errors = np.array([record["landmark_error"] for record in records])
    texels = skin.weight.reshape(-1)[models.atlas.texels]
    return AlbumOutcome(folder, album, errors, float(texels.mean()))


def importance(album):
    """How much each photo [P] of an `albums.Album` counts in its texture: 1 for the most important.

    It grows with confidence and resolution, and falls with the strength of the expression.
    """
    size = np.array([min(1.0 / sighting.scale, FINEST) for sighting in album.sightings])
    calm = 1.0 / (1.0 + EXPRESSIVE * np.linalg.norm(album.coefficients.expression, axis=1))
    value = album.weights.mean(1) * size * calm
    return value / value.max()


def _photo_by_photo(folder, album, models, records, on_progress):
    """Yields what `merging.merge` wants; writes overlays and fills `records` on the way."""
    coarse = morphable_model.pick_level(models.levels, OVERLAY_LEVEL)
    value = importance(album)
    textured = albums.spread(album, value, TEXTURED)
    for index, sighting in enumerate(album.sightings):
        mine = Coefficients(*(group[index : index + 1] for group in album.coefficients))
        portrait = portrait_again(sighting, models)
        face = faces.reconstruct(models.written, mine)
        name = f"{sighting.name}.png"
        detected = portrait.landmarks()
        shown = faces.reconstruct(coarse, mine)
        strip = pictures.overlay_strip(portrait.crop.image, shown, coarse.triangles, OVERLAY_SCALE, detected)
        results.write_picture(folder / name, strip)
        records.append(
            {
                **face_files.describe(sighting.photo.name, portrait, models.written, mine, face),
                "landmark_error": float(nme(face.landmarks, detected[None])[0]),
                "overlay": f"{OVERLAYS}/{name}",
                "likeness": float(album.likeness[index]),
                "confidence": None if sighting.confidence is None else face_files.numbers(sighting.confidence),
                "mean_confidence": _trust(sighting),
                "weights": face_files.numbers(album.weights[index]),
            }
        )
        if index in textured:
            view = results.photograph(portrait, models.written, models.atlas, face)
            yield merging.reflectance(view, face, mine.illumination[0], models.atlas), float(value[index])
        if on_progress:
            on_progress("writing", index + 1, len(album.sightings))


def _neutral(album, model):
    """`Coefficients` of the fused face, batch of 1, without expression."""
    mean = model.layout().zeros(1)
    return mean._replace(**{name: getattr(album.coefficients, name)[:1] for name in albums.SHARED})


def _lines(album):
    """What the picture says below its title."""
    count, left_out = len(album.sightings), len(album.strangers)
    lines = [f"{count} photos, one face" if count > 1 else "one photo: more photos would tell more about the shape"]
    lines[0] += f"; {left_out} of another person left out" * bool(left_out)
    return [*lines, f"{album.strategy}: {aggregation.STRATEGIES[album.strategy]}"]


def _rows(album):
    """The `album_pictures.Row`s of an album."""
    angles = np.degrees(album.coefficients.angles)
    shares = album.weights * len(album.weights)
    rows = [
        album_pictures.Row(
            sighting.thumbnail,
            sighting.photo.name,
            shares[index],
            _trust(sighting),
            f"yaw {angles[index, 1]:+.0f}°, pitch {angles[index, 0]:+.0f}°, likeness {album.likeness[index]:.2f}",
        )
        for index, sighting in enumerate(album.sightings)
    ]
    return rows + [
        album_pictures.Row(
            stranger.sighting.thumbnail,
            stranger.sighting.photo.name,
            None,
            None,
            f"another person, likeness {stranger.likeness:.2f}",
        )
        for stranger in album.strangers
    ]


def _trust(sighting):
    return None if sighting.confidence is None else float(np.mean(sighting.confidence))


def _record(album, records, options):
    """The content of coefficients.json; what all photos have in common leaves their `records`."""
    first = records[0]
    shared = {name: first["coefficients"][name] for name in albums.SHARED}
    origin = {name: first[name] for name in ("camera", "model")}
    for record in records:
        for name in origin:
            del record[name]
        for name in shared:
            del record["coefficients"][name]
    return {
        "strategy": album.strategy,
        "refine": options.refine,
        "method": options.method,
        "coefficients": shared,
        **origin,
        "versions": results.versions(),
        "photos": records,
        "left_out": [
            *({"photo": s.sighting.photo.name, "reason": str(s), "likeness": s.likeness} for s in album.strangers),
            *({"photo": failure.photo.name, "reason": failure.reason} for failure in album.failures),
        ],
    }
