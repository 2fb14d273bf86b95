"""Puts the landmarks of the open face model where a detector sees them on people: `python -m
tf_deep3d.porting.open_face.embedding [--scanned MODEL] OUT`, the last step of its build.

The build of the model finds its landmarks on sculpted heads. This step finds them anew on people of the finished model
with heads, hair, expressions and varied light (`open_head.npz`), seen from the front to the profile; with a model of
scanned people (`scanned_people`) every picture is taken twice, once with the identity of one of those. A landmark
becomes the point of the surface that is projected nearest to where the detector sees it, over all pictures in which it
faces the camera. How far the detector strays from there, by pose, is kept beside the points (`strays`). Nothing else
in the file changes, nor do the five points that photos are aligned by: networks have learned from photos so aligned.

Letters: P pictures, T triangles, V vertices, L landmarks.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.data.rendered import pictures
from tf_deep3d.data.rendered.dress import dress
from tf_deep3d.data.rendered.people import Head, draw, generator, load_head
from tf_deep3d.detection.detector import detect
from tf_deep3d.face import geometry, morphable_model
from tf_deep3d.face.camera import MILLIMETRES, Camera, to_pixels
from tf_deep3d.face.head import LEVEL
from tf_deep3d.face.landmarks import DENSE_COUNT, IRISES
from tf_deep3d.face.morphable_model import Landmarks, MorphableModel
from tf_deep3d.io import archive, files
from tf_deep3d.porting.open_face import landmarks, strays
from tf_deep3d.porting.open_face.scanned_people import Registration, register
from tf_deep3d.porting.open_face.surface import EYE, FACE
from tf_deep3d.rendering import renderer

SEED, SCANNED_SEED = 478, 20261129  # of the pictures, of the scanned people's identities
PEOPLE = 400
PASSES = 2  # of the search, each around the places that the last one found
SIZE = 448  # px of the renders, in which a face measures about 300
FACING = 0.2  # cosine of the angle to the viewing direction from which a landmark counts
REACH = 0.06  # dm, how far from its old place a landmark is looked for
ALIKE = 0.6  # cosine of the angle between its normals there and here, at least
WIDEST = 0.9  # radians of yaw, up to which a picture counts: beyond, the detector guesses
GRID = 6  # parts of a triangle's edge, between which the points lie that are tried
ROBUST = 2.0  # mm at the face, where a distance begins to count linearly
OPEN = 0.5  # of jawOpen on the mean face on which the points are found
OTHER = -1  # part of the surface that carries no landmark


class Observed(NamedTuple):
    """What the detector sees on renders.

    Attributes:
      points: [P, 478, 2] px, NaN where no face is found.
      surface: [P, V, 2] px, where the face's vertices are.
      facing: [P, V], cosines of the angles between normals and viewing directions.
      angles: [P, 3], pitch, yaw and roll in radians.
      scale: [P], px a dm at the face.
    """

    points: np.ndarray
    surface: np.ndarray
    facing: np.ndarray
    angles: np.ndarray
    scale: np.ndarray


def opened(model: MorphableModel) -> np.ndarray:
    """The mean face [V, 3] dm with its jaw half open, where upper and lower lip are apart."""
    return model.mean_shape + OPEN * model.blendshapes[model.blendshape_names.index("jawOpen")]


def parts_of(model: MorphableModel) -> np.ndarray:
    """Part of the surface of each triangle [T]: `surface.FACE`, `surface.EYE` or `OTHER`."""
    eyes, inside = (model.regions[name][model.triangles].all(1) for name in ("eyes", "inner_mouth"))
    return np.where(eyes, EYE, np.where(inside, OTHER, FACE))


def sample_angles(rng: np.random.Generator) -> np.ndarray:
    """Pitch, yaw and roll [3] in radians: half of the faces look at the camera, the others anywhere."""
    yaw = rng.normal(0, 18) if rng.uniform() < 0.5 else rng.uniform(-85, 85)
    pitch = rng.normal(0, 8) if rng.uniform() < 0.5 else rng.uniform(-30, 30)
    return np.radians([pitch, yaw, 0.0])


def observe(
    model: MorphableModel,
    head: Head,
    numbers: Sequence[int],
    step: Callable[[], object],
    scanned: Registration | None = None,
) -> Observed:
    """Renders random people, each once, and looks for their landmarks.

    Args:
      model: at the level of detail of the head.
      head: `Head` of it.
      numbers: of the people; each is the same whoever else is drawn.
      step: called after each person.
      scanned: people's shapes are those of scanned people, and all else stays; by default they are the model's.
    """
    camera = Camera.for_size(SIZE)
    rows = []
    for number in numbers:
        rng = generator(SEED, number)
        person, light = draw(model, head, rng, point_noise=0.0)
        if scanned is not None:
            own = scanned.mean + generator(SCANNED_SEED, number).normal(size=len(scanned.modes)) @ scanned.modes
            person = person._replace(identity=own.astype(np.float32))
        person = person._replace(angles=sample_angles(rng).astype(np.float32), translation=np.zeros(3, np.float32))
        worn = dress(head, generator(SEED, number, 1))
        posed = pictures.pose_head(head, person, worn, pictures.head_surface(head), light)
        pixels, depth = to_pixels(camera, posed.vertices)
        rendering = renderer.render(posed._replace(pixels=pixels, depth=depth), head.whole.triangles, camera)
        image, coverage = (np.asarray(layer)[0] for layer in (rendering.image[..., :3], rendering.coverage))
        image = np.clip(image, 0, 1) + (1 - coverage) * pictures.background(SIZE, (), generator(SEED, number, 2))
        found = detect(image)
        points = found[0].landmarks478[:, :2] if found else np.full((DENSE_COUNT, 2), np.nan)
        toward = geometry.normalize([0, 0, camera.distance] - posed.vertices[0])
        facing = (posed.normals[0] * toward).sum(-1)
        scale = camera.focal / (camera.distance - posed.vertices[0, : head.face, 2].mean())
        rows.append(Observed(points, pixels[0, : head.face], facing[: head.face], person.angles, np.asarray(scale)))
        step()
    return Observed(*(np.stack(column) for column in zip(*rows, strict=True)))


def embed(model: MorphableModel, observed: Observed) -> np.ndarray:
    """The 478 points [478, 3] dm on the opened mean face, symmetric, that are projected nearest to what was seen."""
    start, mean, parts = model.landmarks["mediapipe478"], opened(model), parts_of(model)
    places = (mean[start.vertices] * start.weights[..., None]).sum(1)
    along = geometry.vertex_normals(mean[None], model.triangles, model.vertex_corners)[0]
    normals = geometry.normalize((along[start.vertices] * start.weights[..., None]).sum(1))
    irises = np.zeros(len(places), bool)
    irises[IRISES] = True
    found = places.copy()
    for part, own in ((FACE, ~irises), (EYE, irises)):
        triangles = model.triangles[parts == part]
        near = KDTree(mean[triangles].mean(1)).query_ball_point(places[own], REACH)
        for landmark, around in zip(np.flatnonzero(own), near, strict=True):
            around = np.array(around)[along[triangles[around]].mean(1) @ normals[landmark] > ALIKE]
            chosen = _nearest(_one(start, int(landmark)), triangles[around], observed, int(landmark))
            found[landmark] = (mean[chosen.vertices] * chosen.weights[..., None]).sum(1)[0]
    pairs = landmarks.mirrored_points(places)
    return (found + found[pairs] * [-1, 1, 1]) / 2


def _one(points: Landmarks, index: int) -> Landmarks:
    return Landmarks(points.vertices[index : index + 1], points.weights[index : index + 1])


def _nearest(start: Landmarks, triangles: np.ndarray, observed: Observed, landmark: int) -> Landmarks:
    """The point of `triangles` [T, 3] whose projections lie nearest to the observed landmark: `Landmarks` [1]."""
    facing = (observed.facing[:, start.vertices[0]] * start.weights[0]).sum(1)
    seen = (facing > FACING) & np.isfinite(observed.points[:, landmark, 0]) & (np.abs(observed.angles[:, 1]) < WIDEST)
    if not (seen.any() and len(triangles)):
        return start
    steps = np.arange(GRID + 1)
    a, b = (each.ravel() for each in np.meshgrid(steps, steps))
    weights = np.stack([a, b, GRID - a - b], 1)[a + b <= GRID] / np.float32(GRID)  # [G, 3]
    corners = observed.surface[np.flatnonzero(seen)[:, None, None], triangles]  # [P, T, 3, 2]
    off = weights @ corners - observed.points[seen, landmark].astype(np.float32)[:, None, None]  # [P, T, G, 2]
    distance = np.linalg.norm(off, axis=-1) / observed.scale[seen, None, None] * MILLIMETRES
    cost = np.where(distance < ROBUST, distance**2, ROBUST * (2 * distance - ROBUST)).mean(0)  # Huber, [T, G]
    triangle, point = np.unravel_index(cost.argmin(), cost.shape)
    return Landmarks(triangles[triangle][None], weights[point][None])


def look(
    model: MorphableModel,
    head: Head,
    numbers: Sequence[int],
    scanned: Registration | None,
    step: Callable[[], object],
) -> Observed:
    """What `observe` sees of the model's people and, where there are any, of scanned ones in the same pictures."""
    seen = [observe(model, head, numbers, step)]
    if scanned is not None:
        seen.append(observe(model, head, numbers, step, scanned))
    return Observed(*(np.concatenate(column) for column in zip(*seen, strict=True)))


def settle(levels: Sequence[MorphableModel], observed: Observed) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Places the landmarks in `PASSES` of `embed`.

    Args:
      levels: of the model.
      observed: `Observed`, of faces at `LEVEL`.

    Returns:
      (the 478 points [478, 3] dm on the opened mean face, the arrays of the landmark sets).
    """
    model, places, arrays = levels[LEVEL], np.zeros(0), {}
    for _ in range(PASSES):
        places = embed(model, observed)
        arrays = landmark_arrays(levels, places)
        model = replace(model, landmarks={**model.landmarks, "mediapipe478": points478(arrays)})
    return places, arrays


def points478(arrays: dict[str, np.ndarray]) -> Landmarks:
    """The 478 points at `LEVEL` in the arrays of a model file."""
    return Landmarks(*(arrays[f"level{LEVEL}_landmarks_mediapipe478_{part}"] for part in ("vertices", "weights")))


def landmark_arrays(levels: Sequence[MorphableModel], points: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the landmark sets of a model file, but for `alignment5`, from the 478 points on the opened mean
    face."""
    arrays = {}
    for level, model in enumerate(levels):
        sets = landmarks.landmark_sets(points, opened(model), model.triangles, parts_of(model))
        del sets["alignment5"]
        arrays |= landmarks.landmark_arrays(level, sets)
    return arrays


def offsets(points: Landmarks, observed: Observed) -> np.ndarray:
    """Detected less projected points [P, 478, 2] in mm at the face; NaN where no face is found."""
    own = (observed.surface[:, points.vertices] * points.weights[..., None]).sum(2)
    return MILLIMETRES * (observed.points - own) / observed.scale[:, None, None]


def bias(points: Landmarks, observed: Observed) -> np.ndarray:
    """Lengths [478] in mm of the mean offset of each landmark in the picture plane, over the pictures in which it faces
    the camera and the face is not turned farther than `WIDEST`; NaN without any."""
    facing = (observed.facing[:, points.vertices] * points.weights).sum(2)
    seen = (facing > FACING) & (np.abs(observed.angles[:, 1]) < WIDEST)[:, None]
    off = np.where(seen[..., None], offsets(points, observed), np.nan)
    counts = np.isfinite(off).sum(0)
    return np.linalg.norm(np.nansum(off, 0) / np.where(counts, counts, np.nan), axis=-1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.embedding", __doc__)
    parser.add_argument("--face", help="model file of .open_face (default: the shipped one)")
    parser.add_argument("--head", help="its head, of .open_face.head (default: the shipped one)")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"random people to look at (default: {PEOPLE})")
    parser.add_argument(
        "--scanned", metavar="MODEL", help="scanned people to look at as well, .npz of python -m tf_deep3d.porting"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="model file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    levels = morphable_model.load_levels(options.face)
    model = levels[LEVEL]
    head = load_head(model, options.head)
    scanned = register(model, morphable_model.load(options.scanned)) if options.scanned else None
    halves = range(options.people), range(options.people, 2 * options.people)
    total = 2 * options.people * (2 if scanned else 1)
    with tqdm(total=total, desc="landmarks", unit="picture", disable=None) as bar:
        seen, others = (look(model, head, numbers, scanned, bar.update) for numbers in halves)
    places, arrays = settle(levels, seen)
    points = points478(arrays)
    off, angles = (
        np.concatenate([offsets(points, seen), offsets(points, others)]),
        np.concatenate([seen.angles, others.angles]),
    )
    mirror = landmarks.mirrored_points(places)
    arrays["landmarks_mediapipe478_moments"] = strays.moments(off, angles, mirror)
    old = archive.read_arrays(options.face or morphable_model.OPEN_FACE)
    archive.write_arrays(options.out, {**old, **arrays}, options.overwrite)
    before, after = (bias(each, others) for each in (model.landmarks["mediapipe478"], points))
    found = np.isfinite(seen.points).all((1, 2))
    print(f"faces found in {np.sum(found)} of {np.size(found)} pictures")
    lengths = f"{np.nanmean(before):.2f} mm before, {np.nanmean(after):.2f} mm after"
    print(f"mean offset on {np.size(others.scale)} pictures of other people: {lengths}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
