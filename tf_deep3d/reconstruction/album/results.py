"""What is written about an album: one neutral face, and each photo's own pose, expression and light.

The photos are read once more, one by one, for their overlays and for the merged texture.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.command_line import counted
from tf_deep3d.errors import readable
from tf_deep3d.face import aggregation, landmarks, morphable_model
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io.files import writing_folder
from tf_deep3d.mesh import face_files, head_files
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.reconstructed import NUMBERS, write_other_textures, write_picture
from tf_deep3d.reconstruction import appearance, view
from tf_deep3d.reconstruction.album import pictures as album_pictures
from tf_deep3d.reconstruction.album.album import SHARED, Album, Progress, spread
from tf_deep3d.reconstruction.album.sightings import Sighting, portrait_again
from tf_deep3d.reconstruction.parallel import in_order
from tf_deep3d.reconstruction.photo import Models, Options, reconstruction_of
from tf_deep3d.texture import fields, merging
from tf_deep3d.texture.atlas import Atlas
from tf_deep3d.texture.views import texture_size

OVERLAYS = "overlays"  # folder with a picture of each photo
FILES = (
    *("face.obj", "face.mtl", *face_files.TEXTURES.values(), "face.glb", "face.ply"),
    *("confidence.png", "coefficients.json", OVERLAYS, view.VIEW),
)
TEXTURED = 16  # photos at most that make up the texture
OVERLAY_LEVEL = 1  # level of detail of the overlays
OVERLAY_SCALE = 1  # px of a panel over px of the aligned crop
FINEST = 4.0  # px of a photo over px of its aligned crop from which more show nothing more in the texture
FRONTAL, CLOSED = 6.0, 4.0  # powers of the yaw's cosine, and of an open mouth, in the choice of eyes and mouth
OPEN_EYES = (0.1, 0.25)  # height over width of the smaller eye's opening, between which it counts more and more
EXPRESSIVE = 0.1  # loss of a photo's importance for the texture with each standard deviation of expression


@dataclass(frozen=True)
class AlbumOutcome:
    """What was written.

    Attributes:
      folder: of the results.
      album: `Album`.
      landmark_errors: [P], see `face.landmarks.nme`.
      seen: share of the texture that the photos show.
      size: of the texture, px.
    """

    folder: Path
    album: Album
    landmark_errors: np.ndarray
    seen: float
    size: int

    def left_out(self) -> list[tuple[str, str]]:
        """(Name, reason) of the photos that do not count."""
        strangers = [(stranger.sighting.file, str(stranger)) for stranger in self.album.strangers]
        return [*strangers, *((failure.file, failure.reason) for failure in self.album.failures)]

    def facts(self) -> dict[str, str]:
        """What the page says in numbers, name -> text."""
        return {
            "photos": str(len(self.album.sightings)),
            "left out": ", ".join(name for name, _ in self.left_out()),
            "weighed": f"{self.album.strategy}: {aggregation.STRATEGIES[self.album.strategy]}",
            "landmarks": f"{100 * self.landmark_errors.mean():.1f} % of the eye distance from those detected",
            "texture": f"{100 * self.seen:.0f} % of it seen",
        }

    def summary(self) -> str:
        """One line, and one more where there is something to know."""
        count = len(self.album.sightings)
        text = (
            f"{counted(count, 'photo')} -> {readable(str(self.folder))}: {self.album.strategy}, "
            f"landmarks {100 * self.landmark_errors.mean():.1f} % of the eye distance, "
            f"{100 * self.seen:.0f} % of the texture of {self.size} px seen"
        )
        if count == 1:
            text += "\nOne photo is one photo: its face was not fused with any other."
        elif self.album.strategy == "average" and self.album.sightings[0].confidence is None:
            text += "\nEvery photo counts the same: there is no C-Net to weigh them."
        return text


@dataclass(frozen=True, eq=False)
class FusedFace:
    """One face of all photos of a person.

    Attributes:
      album: the person in all their photos.
      options: how the faces were found.
      models: with which.
    """

    album: Album
    options: Options
    models: Models

    @property
    def coefficients(self) -> Coefficients:
        """The fused identity and albedo as `Coefficients`, B = 1, without expression, pose and light."""
        mean = self.models.written.layout().zeros(1)
        return mean._replace(**{name: getattr(self.album.coefficients, name)[:1] for name in SHARED})

    @property
    def mesh(self) -> Mesh:
        """The neutral face, facing +z: `Mesh` with vertices [V, 3] in dm and the albedo as colours of the vertices."""
        neutral = face_files.meshes(self.models.written, self.coefficients)[1]
        return neutral._replace(colors=np.clip(faces.albedo(self.models.written, self.coefficients.albedo)[0], 0, 1))

    @property
    def strategy(self) -> str:
        """How the photos were weighed, name in `aggregation.STRATEGIES`."""
        return self.album.strategy

    @property
    def weights(self) -> np.ndarray:
        """Share [P, K] of each of the P photos that count in each of the K identity coefficients."""
        return self.album.weights

    def write(
        self, folder: str | os.PathLike[str], overwrite: bool = False, on_progress: Progress | None = None
    ) -> "AlbumOutcome":
        """Writes what the command writes: see `write_album`, also for its errors."""
        return write_album(Path(folder), self, overwrite, on_progress)


def write_album(
    folder: Path, fused: FusedFace, overwrite: bool = False, on_progress: Progress | None = None
) -> AlbumOutcome:
    """Writes everything about a `FusedFace` into `folder`, which appears whole or not at all.

    Args:
      folder: to create, named after the person.
      fused: `FusedFace`.
      overwrite: replace an existing folder.
      on_progress: called with (name of the stage, steps done, steps in all).

    Returns:
      `AlbumOutcome`.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
      photos.PhotoError, OSError: if a photo can no longer be read, or the results cannot be written.
    """
    album, models, model = fused.album, fused.models, fused.models.written
    coefficients, name = fused.coefficients, readable(folder.name)
    records: list[dict[str, Any]] = []
    with writing_folder(folder, overwrite) as temporary:
        (temporary / OVERLAYS).mkdir()
        atlas, kind = models.atlas(_texture_size(album, models)), fused.options.texture
        shots = _photo_by_photo(temporary / OVERLAYS, fused, atlas, records, on_progress)
        skin = merging.merge(shots, faces.albedo(model, coefficients.albedo)[0], atlas)
        skin = merging.expose(skin, album.coefficients.illumination, importance(album))
        textures = appearance.textures_of(skin)
        style = face_files.Style(fused.options.packing, kind)
        face_files.write_meshes(temporary, name, model, coefficients, textures[kind], style=style)
        write_other_textures(temporary, textures, kind)
        if models.head is not None:
            head_files.write_head(temporary, name, models.head, coefficients, textures[kind], style)
        portraits = album_pictures.turned_views(model, coefficients.identity[0], textures[kind])
        picture = album_pictures.confidence_picture(name, _lines(album), portraits, _rows(album))
        write_picture(temporary / "confidence.png", picture)
        errors = np.array([record["landmark_error"] for record in records])
        painted = appearance.texture_report(skin, atlas, kind)
        outcome = AlbumOutcome(folder, album, errors, painted["share_from_photo"], painted["size_px"])
        if models.shown is not None:
            file = view.still(models.shown, coefficients, textures[kind], name, models.head)
            text = view.page(file, name, models.shown, outcome.facts(), picture)
            (temporary / view.VIEW).write_text(text, encoding="utf-8")
        face_files.write_json(temporary / NUMBERS, _record(fused, records) | {"texture": painted})
    return outcome


def importance(album: Album) -> np.ndarray:
    """How much each photo [P] of an `Album` counts in its texture: 1 for the most important.

    It grows with confidence and resolution, and falls with the strength of the expression.
    """
    size = np.array([min(1.0 / sighting.scale, FINEST) for sighting in album.sightings])
    calm = 1.0 / (1.0 + EXPRESSIVE * np.linalg.norm(album.coefficients.expression, axis=1))
    value = album.weights.mean(1) * size * calm
    return value / value.max()


def part_scores(sighting: Sighting, yaw: float) -> dict[str, float]:
    """How well a photo, whose face is turned by `yaw` radians, shows the parts that come from one photo each.

    Eyes should be open, the mouth closed as that of the neutral mesh, and both be seen from the front.
    """
    points = sighting.landmarks[: landmarks.COUNT]
    gaps = [np.linalg.norm(points[eye][[1, 2]] - points[eye][[5, 4]], axis=-1).mean() for eye in landmarks.EYES]
    widths = [np.linalg.norm(points[eye][0] - points[eye][3]) for eye in landmarks.EYES]
    lips = points[landmarks.INNER_LIPS]
    open_mouth = np.linalg.norm(lips[2] - lips[6]) / max(float(np.linalg.norm(lips[0] - lips[4])), 1e-6)
    front = float(np.cos(yaw)) ** FRONTAL
    open_eyes = float(fields.ramp(min(gaps) / max(*widths, 1e-6), OPEN_EYES))
    return {"eyes": front * (0.05 + open_eyes), "mouth": front / (1.0 + CLOSED * float(open_mouth))}


def _texture_size(album: Album, models: Models) -> int:
    """The size of the texture at which the finest photo of an `Album` shows all it has."""
    coarse = models.levels[0]
    sizes = [
        texture_size(
            coarse, faces.reconstruct(coarse, Coefficients(*(g[i : i + 1] for g in album.coefficients))), sighting.scale
        )
        for i, sighting in enumerate(album.sightings)
    ]
    return max(sizes)


def _photo_by_photo(
    folder: Path, fused: FusedFace, atlas: Atlas, records: list[dict[str, Any]], on_progress: Progress | None
) -> Iterator[merging.Shot]:
    """Yields what `merging.merge` wants; writes overlays and fills `records` on the way."""
    album, models, options = fused.album, fused.models, fused.options
    coarse = morphable_model.pick_level(models.levels, OVERLAY_LEVEL)
    value = importance(album)
    textured = spread(album, value, TEXTURED)

    def look(index: int) -> tuple[dict[str, Any], merging.Shot | None]:
        sighting = album.sightings[index]
        mine = Coefficients(*(group[index : index + 1] for group in album.coefficients))
        portrait = portrait_again(sighting, models)
        found = reconstruction_of(portrait, mine, models, options)
        name = f"{sighting.name}.png"
        shown = faces.reconstruct(coarse, mine)
        write_picture(folder / name, appearance.overlay(portrait, shown, coarse.triangles, OVERLAY_SCALE))
        record = {
            **found.numbers(),
            "photo": sighting.file,
            "overlay": f"{OVERLAYS}/{name}",
            "likeness": float(album.likeness[index]),
            "confidence": None if sighting.confidence is None else face_files.numbers(sighting.confidence),
            "mean_confidence": _trust(sighting),
            "weights": face_files.numbers(album.weights[index]),
        }
        if index not in textured:
            return record, None
        seen = appearance.photograph(portrait, atlas, found, options.keep_everything)
        seen = merging.reflectance(seen, found.face, mine.illumination[0], atlas)
        return record, merging.Shot(seen, float(value[index]), part_scores(sighting, float(mine.angles[0, 1])))

    for record, shot in in_order(look, range(len(album.sightings))):
        records.append(record)
        if shot is not None:
            yield shot
        if on_progress:
            on_progress("writing", len(records), len(album.sightings))


def _lines(album: Album) -> list[str]:
    """What the picture says below its title."""
    count, left_out = len(album.sightings), len(album.strangers)
    lines = [f"{count} photos, one face" if count > 1 else "one photo: more photos would tell more about the shape"]
    lines[0] += f"; {left_out} of another person left out" * bool(left_out)
    return [*lines, f"{album.strategy}: {aggregation.STRATEGIES[album.strategy]}"]


def _rows(album: Album) -> list[album_pictures.Row]:
    """The `album_pictures.Row`s of an album."""
    angles = np.degrees(album.coefficients.angles)
    shares = album.weights * len(album.weights)
    rows = [
        album_pictures.Row(
            sighting.thumbnail,
            sighting.file,
            shares[index],
            _trust(sighting),
            f"yaw {angles[index, 1]:+.0f}°, pitch {angles[index, 0]:+.0f}°, likeness {album.likeness[index]:.2f}",
        )
        for index, sighting in enumerate(album.sightings)
    ]
    return rows + [
        album_pictures.Row(
            stranger.sighting.thumbnail,
            stranger.sighting.file,
            None,
            None,
            f"another person, likeness {stranger.likeness:.2f}",
        )
        for stranger in album.strangers
    ]


def _trust(sighting: Sighting) -> float | None:
    return None if sighting.confidence is None else float(np.mean(sighting.confidence))


def _record(fused: FusedFace, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of coefficients.json; what all photos have in common leaves their `records`."""
    first, album = records[0], fused.album
    shared = {name: first["coefficients"][name] for name in SHARED}
    origin = {name: first[name] for name in ("camera", "model")}
    for record in records:
        for name in origin:
            del record[name]
        for name in shared:
            del record["coefficients"][name]
    return {
        "strategy": album.strategy,
        "refine": album.refined,
        "method": fused.options.method,
        "coefficients": shared,
        **origin,
        "versions": appearance.versions(),
        "photos": records,
        "left_out": [
            *({"photo": s.sighting.file, "reason": str(s), "likeness": s.likeness} for s in album.strangers),
            *({"photo": failure.file, "reason": failure.reason} for failure in album.failures),
        ],
    }
