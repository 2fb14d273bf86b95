"""The open benchmark: subjects with known geometry, rendered as photos at fixed poses and in fixed light.

Ten random people with skins of portraits, lit by `lights.LIGHTS`, and one scan; see `assets/open_benchmark_CARD.md`.
Nothing is downloaded, and nothing is random but by fixed seeds.

Letters: V vertices, T triangles, S side of a picture in px.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from tf_deep3d import assets
from tf_deep3d import face as faces
from tf_deep3d.data.rendered import light as lamps
from tf_deep3d.data.rendered.people import generator
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import lights, painting
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.lighting import LUMINANCE
from tf_deep3d.io import archive
from tf_deep3d.rendering import renderer

FILE = assets.find("open_benchmark.npz")
SCHEMA = 1
NAME = "open benchmark"
RENDERING = 2  # version of how pictures are made; results of different versions do not compare
SEED = 4177
SIZE = 400  # px
CAMERA = cameras.Camera(SIZE, SIZE, 1140.0, (SIZE / 2, SIZE / 2), 12.0)  # 95 px a dm
FINE = 2  # times as large as the picture is rendered, then averaged
PEOPLE_YAWS = (-60, -30, 0, 30, 60)
GRID_PITCHES, GRID_YAWS = (-15, 0, 15, 30), (-80, -40, 0, 40, 80)
DIVISIONS = 2  # of the scan's triangles, so that its vertices carry its colours

Pose: TypeAlias = tuple[float, float, float]  # pitch, yaw, roll in degrees


class BenchmarkError(InputError):
    """The benchmark's file is unusable."""


class Subject(NamedTuple):
    """A person or scan with known geometry, in the model's frame, dm.

    Attributes:
      name: short name.
      vertices: [V, 3] float32.
      triangles: [T, 3] int32.
      normals: [V, 3] unit.
      colors: [V, 3] in [0, 1]: albedo, or for a scan its colours in the light it was scanned in.
      landmarks: [68, 3].
      region: [P] int, the vertices at which errors are measured: seen from the front, and inside 95 mm of the nose tip,
        neither eye nor inside the mouth.
      lit: whether `colors` are lit already.
      exact: whether the landmarks are the very points that the open face model means.
      expressive: whether the face is not neutral.
    """

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    landmarks: np.ndarray
    region: np.ndarray
    lit: bool = False
    exact: bool = False
    expressive: bool = False


class View(NamedTuple):
    """One picture to be made, and its truth.

    Attributes:
      name: of the picture.
      subject: `Subject`.
      angles: [3] pitch, yaw, roll in degrees.
      landmarks: [68, 2] px.
      seed: of light and background.
      light: name in `lights.LIGHTS` of the light on a subject that is not lit; by default one that the seed draws.
    """

    name: str
    subject: Subject
    angles: np.ndarray
    landmarks: np.ndarray
    seed: tuple[int, ...]
    light: str = ""


class Benchmark(NamedTuple):
    """What is evaluated on.

    Attributes:
      name: with version; results under different names do not compare.
      views: list of `View`.
    """

    name: str
    views: list[View]


def load(limit: int | None = None, path: str | Path | None = None) -> Benchmark:
    """Reads the benchmark.

    Args:
      limit: keep this many views, evenly spread.
      path: file of `porting.open_benchmark`, by default the shipped one.

    Returns:
      `Benchmark`.

    Raises:
      FileNotFoundError: if there is no such file.
      BenchmarkError: if the file is no benchmark of this schema.
      InputError: for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1. Received: {limit}")
    path = Path(path or FILE)
    try:
        arrays = archive.read_arrays(path)
        if int(arrays["schema"]) != SCHEMA or "people_vertices" not in arrays:
            raise BenchmarkError(f"{path} is no benchmark of schema {SCHEMA}. Received: {arrays['schema']}")
        version = int(arrays["version"])
        subjects = [*_people(arrays), _scan(arrays)]
    except (archive.ArchiveError, KeyError) as error:
        raise BenchmarkError(f"{path} is no usable benchmark. Received: {error}") from error
    views = [view for number, subject in enumerate(subjects) for view in views_of(number, subject)]
    if limit is not None and limit < len(views):
        views = [views[i] for i in np.linspace(0, len(views) - 1, limit).round().astype(int)]
    return Benchmark(f"{NAME} {version}.{RENDERING}", views)


def _people(arrays: Mapping[str, np.ndarray]) -> Iterator[Subject]:
    positions = arrays["people_vertices"] * arrays["people_step"]
    triangles = arrays["people_triangles"].astype(np.int32)
    parts = (arrays[f"people_{name}"] for name in ("region", "colors", "landmarks", "expressive"))
    for number, (vertices, region, colors, landmarks, makes_a_face) in enumerate(zip(positions, *parts, strict=True)):
        name = f"person{number:02d}"
        yield subject(name, vertices, triangles, region, colors, landmarks, exact=True, expressive=bool(makes_a_face))


def _scan(arrays: Mapping[str, np.ndarray]) -> Subject:
    vertices = arrays["james_vertices"] * arrays["james_step"]
    region = arrays["james_region"][:, None].astype(np.float32)
    attributes, triangles, colors = painting.paint(
        np.concatenate([vertices, region], 1), arrays["james_triangles"].astype(np.int32), arrays["james_uv"] / 65535.0,
        arrays["james_uv_triangles"].astype(np.int32), arrays["james_texture"], DIVISIONS,
    )  # fmt: skip
    vertices, region = attributes[:, :3], attributes[:, 3] > 1 - 1e-6
    return subject("james", vertices, triangles, region, colors, arrays["james_landmarks"], lit=True)


def subject(
    name: str,
    vertices: np.ndarray,
    triangles: np.ndarray,
    region: np.ndarray,
    colors: np.ndarray,
    landmarks: np.ndarray,
    **kind: bool,
) -> Subject:
    """A `Subject`; `region` is [V] bool and `colors` are uint8, everything else as there.

    Args:
      name, vertices, triangles, region, colors, landmarks: see above.
      **kind: those of `lit`, `exact` and `expressive` that are true.
    """
    vertices = np.asarray(vertices, np.float32)
    normals = geometry.vertex_normals(vertices[None], triangles, geometry.corners_around(triangles, len(vertices)))[0]
    colors = colors / np.float32(255)
    return Subject(name, vertices, triangles, normals, colors, landmarks, np.flatnonzero(region), **kind)


def views_of(number: int, who: Subject) -> list[View]:
    """The `View`s of a subject, the `number`-th of the benchmark."""
    if who.lit:
        return views_at(number, who, grid(who.name))
    tilts = np.clip(generator(SEED, number, 1).normal(0, [7, 4], (len(PEOPLE_YAWS), 2)), -15, 15)
    poses = {f"{who.name}_yaw{yaw:+03d}": (tilt[0], yaw, tilt[1]) for yaw, tilt in zip(PEOPLE_YAWS, tilts, strict=True)}
    kinds = list(lights.LIGHTS)
    return [
        view._replace(light=kinds[(number + i) % len(kinds)]) for i, view in enumerate(views_at(number, who, poses))
    ]


def grid(name: str) -> dict[str, Pose]:
    """Twenty poses, pitch x yaw: name of the picture -> (pitch, yaw, roll) in degrees."""
    poses = [(pitch, yaw, 0.0) for pitch in GRID_PITCHES for yaw in GRID_YAWS]
    return {f"{name}_pitch{pitch:+03d}_yaw{yaw:+03d}": (pitch, yaw, roll) for pitch, yaw, roll in poses}


def views_at(number: int, who: Subject, poses: Mapping[str, Pose], first: int = 10) -> list[View]:
    """The `View`s of a subject at chosen poses.

    Args:
      number: of the subject, for the seeds.
      who: `Subject`.
      poses: name of the picture -> (pitch, yaw, roll) in degrees.
      first: purpose of the first picture's seed; the next ones count up from it.
    """
    pixels = [cameras.to_pixels(CAMERA, _posed(who.landmarks, pose))[0][0] for pose in poses.values()]
    rows = enumerate(zip(poses.items(), pixels, strict=True), first)
    return [View(name, who, np.array(pose, float), at, (SEED, number, seed)) for seed, ((name, pose), at) in rows]


def _posed(points: np.ndarray, angles: Pose | np.ndarray) -> np.ndarray:
    return faces.pose(
        points[None], np.radians(np.asarray(angles, float)[None]).astype(np.float32), np.zeros((1, 3), np.float32)
    )


def picture(view: View) -> np.ndarray:
    """Renders a view: [S, S, 3] uint8, the subject in its light before a smooth background."""
    who, rng = view.subject, generator(*view.seed)
    world = _posed(who.vertices, view.angles)
    colors = who.colors
    if not who.lit:
        normals = _posed(who.normals, view.angles)
        colors = _lit(view, world[0], normals[0], rng)
    side = SIZE * FINE
    pixels, depth = cameras.to_pixels(CAMERA, world)
    fragments = renderer.rasterize(pixels * np.float32(FINE), depth, who.triangles, side, side)
    values = np.concatenate([colors, np.ones((len(colors), 1))], 1)[None].astype(np.float32)
    image = np.asarray(renderer.interpolate(fragments, values, who.triangles))[0]
    image = np.clip(image, 0, 1).reshape(SIZE, FINE, SIZE, FINE, 4).mean((1, 3))
    image = image[..., :3] + (1 - image[..., 3:]) * _background(rng)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _lit(view: View, world: np.ndarray, normals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours [V, 3] of a view's subject in its light, where its vertices and normals are posed."""
    who = view.subject
    if view.light:
        rotation = geometry.rotation_matrix(np.radians([view.angles]))[0]
        eye = np.array([0, 0, CAMERA.distance])
        return lights.shine(lights.LIGHTS[view.light], _surface(who), rotation, world, normals, who.colors, eye)
    skin = float(np.median(who.colors[who.region] @ LUMINANCE))
    light = lamps.harmonics(lamps.sample(rng, max(skin, 0.03)))[None].astype(np.float32)
    return lighting.shade(who.colors[None], normals[None], light)[0]


_LAST: dict[int, tuple[Subject, lamps.Surface]] = {}  # id of the subject that was lit last


def _surface(who: Subject) -> lamps.Surface:
    """How a subject takes light; the last one's is kept."""
    if id(who) not in _LAST:
        _LAST.clear()
        _LAST[id(who)] = (who, lamps.see(who.vertices[None], who.triangles))
    return _LAST[id(who)][1]


def _background(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture of random, dull colours: [S, S, 3] in [0, 1]."""
    grey = rng.uniform(0.15, 0.8)
    colors = np.clip(grey + rng.normal(0, 0.08, (4, 4, 1)) + rng.normal(0, 0.03, (4, 4, 3)), 0, 1)
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(colors, -1, 0)]
    return np.stack([np.asarray(plane.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for plane in planes], -1)
