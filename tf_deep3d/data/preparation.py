"""From photos to records: lists the photos, decides who is who and what goes where, and prepares shard after shard.

A shard is one piece of work: a list of photos in, one file out, and beside it a small report. Both appear whole or not
at all, so a run that was cut off goes on with the shards that have no report. Everything is decided by the photos and
the `Settings` alone: the same ones give the same bytes, however the work is spread.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tf_deep3d
from tf_deep3d import face as faces
from tf_deep3d.command_line import counted
from tf_deep3d.data import records, tfrecord
from tf_deep3d.data.spread import check_command
from tf_deep3d.detection import alignment, detector, skin
from tf_deep3d.errors import InputError, readable
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.io import files, photos
from tf_deep3d.io.tables import read_csv

WORK = ".prepare"  # folder beside the shards, for what is known before all are done
FACES = ("largest", "all")
SMALLEST = 24.0  # px between the eyes of the photo
PERSON_COLUMNS = ("person", "identity")
_LARGE_SHARD = 100  # photos from which the table of skin colours pays


class RejectedError(InputError):
    """The photo gives no record; the message is the reason."""


class Photo(NamedTuple):
    """A photo to prepare: its path, its name in the records, and who it shows."""

    path: str
    source: str
    person: str


@dataclass(frozen=True)
class Settings:
    """What decides the records besides the photos.

    Attributes:
      faces: one of `FACES`.
      smallest: least distance of the eyes in px of the photo, as if the face looked into the camera.
      validation: share of the people kept for validation, in [0, 1).
      shard_size: photos of a shard.
      model: path of the face model whose points align the photos, None for the open face model.
    """

    faces: str = "largest"
    smallest: float = SMALLEST
    validation: float = 0.05
    shard_size: int = 512
    model: str | None = None

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise InputError(f"faces must be one of {FACES}. Received: {self.faces!r}")
        if not self.smallest >= 0:
            raise InputError(f"smallest must be a number of pixels. Received: {self.smallest}")
        if not 0 <= self.validation < 1:
            raise InputError(f"validation must be a share in [0, 1). Received: {self.validation}")
        if self.shard_size < 1:
            raise InputError(f"shard_size must be positive. Received: {self.shard_size}")


def list_photos(paths: Iterable[str], identities: Iterable[str] = (), out: Path | None = None) -> list[Photo]:
    """The photos of files, folders at any depth, and glob patterns, with their names and people.

    A photo is named by the folder that was given and its path in it. Without `identities` each photo is a person of
    its own, called like the photo without suffix.

    Args:
      paths: of photos; hidden files and folders are left out.
      identities: folders, whose sub-folders are one person each; or CSV files with the columns `file` (relative to the
        CSV or to a given folder) and `person`.
      out: folder that is left out.

    Returns:
      list of `Photo`, sorted by `source`.

    Raises:
      FileNotFoundError: if there is no such path, or no photo.
      InputError: if two photos would have one name, or identities fit no photo.
    """
    found, names = {}, {}
    for given in paths:
        for path, source in _expand(given, out):
            resolved = path.resolve()
            if resolved in found:
                continue
            if source in names:
                raise InputError(f"name a common parent folder: two photos are {source}. Received: {' '.join(paths)}")
            found[resolved] = names[source] = Photo(str(path), source, str(Path(source).with_suffix("")))
    if not found:
        raise FileNotFoundError(f"no photos found. Received: {' '.join(map(str, paths))}")
    for given in identities:
        people = _people_of_folder(Path(given), found) if Path(given).is_dir() else _people_of_csv(Path(given), found)
        if not people:
            raise InputError(f"the identities fit none of the {counted(len(found), 'photo')}. Received: {given}")
        found |= {path: found[path]._replace(person=person) for path, person in people.items()}
    return sorted(found.values(), key=lambda photo: photo.source)


def parameters(listed: list[Photo], settings: Settings) -> dict[str, Any]:
    """What the records depend on, as JSON: settings, versions, the face model, and a digest of the list of photos."""
    path = Path(settings.model or morphable_model.OPEN_FACE)
    listing = [(photo.source, photo.person, os.path.getsize(photo.path)) for photo in listed]
    chosen = {name: value for name, value in asdict(settings).items() if name != "model"}
    versions = {"version": tf_deep3d.__version__, "schema_version": records.SCHEMA_VERSION}
    face_model = {"name": _model_points(settings.model)[1], "file": path.name, "sha256": files.sha256(path)}
    return {
        **chosen,
        **versions,
        "photos": len(listed),
        "listing": _hash(json.dumps(listing)),
        "face_model": face_model,
    }


def plan(
    listed: list[Photo], settings: Settings, workers: int = 1, on_photo: Callable[[], Any] = lambda: None
) -> dict[str, Any]:
    """Drops unreadable photos and duplicates and deals the others to shards.

    Photos are duplicates if their decoded pixels agree; the first one by name is kept. People are split and dealt by a
    hash of their name, so that the photos of one person stand side by side.

    Args:
      listed: of `list_photos`.
      settings: `Settings`.
      workers: threads that read photos.
      on_photo: called after each.

    Returns:
      dict: "shards", shard name -> list of `Photo`; "rejected", list of {"photo", "reason"}; "duplicates", list of
      {"photo", "same_as"}.
    """
    kept, rejected, duplicates, first = {split: [] for split in records.SPLITS}, [], [], {}
    with ThreadPoolExecutor(workers) as pool:
        for photo, (digest, reason) in zip(listed, pool.map(_fingerprint, listed), strict=True):
            on_photo()
            if reason:
                rejected.append({"photo": photo.source, "reason": reason})
            elif digest in first:
                duplicates.append({"photo": photo.source, "same_as": first[digest]})
            else:
                first[digest] = photo.source
                kept[split_of(photo.person, settings.validation)].append(photo)
    shards, size = {}, settings.shard_size
    for split, chosen in kept.items():
        chosen.sort(key=lambda photo: (_hash(photo.person), _hash(photo.source)))
        count = -(-len(chosen) // size)
        for i in range(count):
            shards[f"{split}-{i:05}-of-{count:05}"] = chosen[i * size : (i + 1) * size]
    return {"shards": shards, "rejected": rejected, "duplicates": duplicates}


def split_of(person: str, validation: float) -> str:
    """The split of a person; the same for the same name, whatever else is prepared."""
    return "validation" if int(_hash(person)[:16], 16) / 2**64 < validation else "train"


def prepare_photo(
    photo: str | Path | bytes | np.ndarray,
    settings: Settings = Settings(),
    source: str = "photo",
    person: str = "",
    table: bool = False,
) -> list[dict[str, Any]]:
    """Makes the records of one photo.

    Args:
      photo: path, bytes, or [H, W, 3] uint8 RGB.
      settings: `Settings`.
      source: name of the photo; the number of the face is added.
      person: whom the largest face shows; other faces are people of their own. By default the source.
      table: look skin colours up, for many photos.

    Returns:
      list of records as `records.encode` takes them, largest face first, one unless `settings.faces` is "all".

    Raises:
      RejectedError: the photo cannot be read or shows no face that is large enough.
    """
    try:
        image = photo if isinstance(photo, np.ndarray) else photos.read_photo(photo)
    except (photos.PhotoError, OSError) as error:
        raise RejectedError(f"unreadable: {error}") from error
    found = detector.detect(image)
    if not found:
        raise RejectedError("no face found")
    points = _model_points(settings.model)[0]
    made, widest = [], 0.0
    for number, detected in enumerate(found if settings.faces == "all" else found[:1], 1):
        try:
            crop = alignment.align(image, detected.points5, points, margin=records.MARGIN / IMAGE_SIZE)
        except ValueError as error:
            raise RejectedError(f"cannot be aligned: {error}") from error
        distance = float(np.linalg.norm(points[0] - points[1])) * alignment.MODEL_SCALE / crop.transform.scale
        widest = max(widest, distance)
        if distance >= settings.smallest:
            name = f"{source}#{number}"
            made.append(_record(crop, detected, name, (person or source) if number == 1 else name, table))
    if not made:
        raise RejectedError(f"face too small: {widest:.0f} px between the eyes")
    return made


def prepare_shard(job: dict[str, Any]) -> str:
    """Prepares the photos of one shard and writes it, its report, and its progress: one byte for each photo.

    Args:
      job: of `spread.run`, dict of "out" (folder), "name" (of the shard), "photos" (rows of `Photo`) and "settings" (of
        `Settings`).

    Returns:
      The shard's name.

    Raises:
      OSError: if it cannot be written.
      StoppedError: if the command has ended.
    """
    settings, rejected = Settings(**job["settings"]), []
    work = Path(job["out"]) / WORK

    def examples() -> Iterator[bytes]:
        with open(work / f"{job['name']}.progress", "wb", buffering=0) as progress:
            for path, source, person in job["photos"]:
                check_command(job)
                try:
                    made = prepare_photo(path, settings, source, person, len(job["photos"]) >= _LARGE_SHARD)
                    yield from map(records.encode, made)
                except RejectedError as error:
                    rejected.append({"photo": source, "reason": str(error)})
                progress.write(b".")

    shard = tfrecord.write_shard(Path(job["out"]) / job["name"], examples(), overwrite=True)
    write_json(work / f"{job['name']}.json", {"shard": asdict(shard), "rejected": rejected})
    return job["name"]


def write_json(path: Path, content: Any) -> None:
    """Writes `content` to a JSON file, which appears whole or not at all."""
    with files.writing(path, overwrite=True) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())


def _record(crop: Any, detected: Any, name: str, person: str, table: bool) -> dict[str, Any]:
    image = np.round(crop.image * 255).astype(np.uint8)
    transform = crop.transform
    return {
        "image": image,
        "skin": skin.skin_levels(image) if table else np.round(skin.skin_probability(image) * 255).astype(np.uint8),
        "landmarks": transform.apply(detected.landmarks68).astype(np.float32),
        "dense": transform.apply(detected.landmarks478[:, :2]).astype(np.float32),
        "person": person,
        "source": name,
        "transform": np.array([transform.scale, transform.rotation, *transform.translation], np.float32),
        "coefficients": np.zeros(0, np.float32),
    }


@cache
def _model_points(model: str | None) -> tuple[np.ndarray, str]:
    """(the face model's five alignment points [5, 3] dm, its name)."""
    loaded = morphable_model.load(model)
    return faces.at_landmarks(loaded.landmarks["alignment5"], loaded.mean_shape[None])[0], loaded.name


def _fingerprint(photo: Photo) -> tuple[str | None, str | None]:
    """(hash of the decoded pixels, None) or (None, why it cannot be read)."""
    try:
        photo.path.encode()
    except UnicodeEncodeError:  # neither JSON nor Beam would carry it to a worker
        return None, "unreadable: its name is no UTF-8"
    try:
        pixels = photos.read_photo(photo.path)
    except (photos.PhotoError, OSError) as error:
        return None, f"unreadable: {error}"
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(), None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _expand(given: str, out: Path | None) -> Iterator[tuple[Path, str]]:
    """Yields (path, source) of what one argument stands for."""
    root = Path(given)
    for path in photos.find_photos([root], leave_out=out):
        inside = path.relative_to(root) if root.is_dir() else path.name
        yield path, readable(Path((root if root.is_dir() else path.parent).resolve().name, inside).as_posix())


def _people_of_folder(folder: Path, found: dict[Path, Photo]) -> dict[Path, str]:
    folder = folder.resolve()
    inside = {path: path.relative_to(folder).parts for path in found if path.is_relative_to(folder)}
    return {path: parts[0] for path, parts in inside.items() if len(parts) > 1}


def _people_of_csv(path: Path, found: dict[Path, Photo]) -> dict[Path, str]:
    """Resolved path -> person. A file is named from the CSV's folder, or by the end of a photo's name from its root."""
    columns, rows = read_csv(path)
    column = next((name for name in PERSON_COLUMNS if name in columns), None)
    if column is None or "file" not in columns:
        raise InputError(f"{path} needs the columns file and person. Received: {str(columns)[:200]}")
    named = {row["file"]: row[column] for row in rows if row["file"] and row[column]}
    by_path = {(path.parent / name).resolve(): person for name, person in named.items()}
    people = {}
    for photo, listed in found.items():
        parts = Path(listed.source).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        person = by_path.get(photo) or next((named[end] for end in ends if end in named), None)
        if person:
            people[photo] = person
    return people
