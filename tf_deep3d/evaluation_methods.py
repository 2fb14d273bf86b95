"""The methods that `evaluation` compares: this project's own, and meshes that another program left in a folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tf_deep3d import camera as cameras
from tf_deep3d import face as faces
from tf_deep3d import fitting, pipeline
from tf_deep3d.coefficients import Coefficients
from tf_deep3d.evaluation import ANCHORS, Method, Prediction
from tf_deep3d.models import rnet

MAX_MESH_BYTES = 256 << 20


def own_method(name, models, options, weights=None):
    """One of this project's methods.

    Args:
      name: "mean", the mean face in the pose of the detected landmarks; "fit"; "rnet", or "rnet:N" with N steps of the
        fit after it.
      models: `pipeline.Models`, with its R-Net if the name asks for it.
      options: `pipeline.Options`.
      weights: fingerprint of R-Net's weights, for the method's identity.

    Returns:
      `Method`.

    Raises:
      ValueError: for another name.
    """
    kind, colon, steps = name.partition(":")
    if kind not in ("mean", "fit", "rnet") or (colon and (kind != "rnet" or not steps.isdigit())):
        raise ValueError(f"a method must be 'mean', 'fit', 'rnet' or 'rnet:STEPS'. Received: {name!r}")
    options = replace(options, method=kind, refine=int(steps) if steps else options.refine)
    settings = options.descent()
    if kind == "mean":
        settings = replace(settings, stages=())

    def run(cases):
        found = [case.portrait for case in cases if case.portrait is not None]
        if not found:
            return ["no face found"] * len(cases)
        observation = pipeline.observe(found)
        if kind == "mean":
            coefficients = fitting.initial_coefficients(models.levels[0], observation, settings)
        else:
            coefficients = pipeline.solve(observation, options, models).coefficients
        answers = iter(predictions(models.levels[0], coefficients, found))
        return ["no face found" if case.portrait is None else next(answers) for case in cases]

    identity = {"method": kind, "settings": repr(settings), "model": rnet.fingerprint(options.model)}
    return Method(name, run, identity | ({"weights": weights} if kind == "rnet" else {}))


def predictions(model, coefficients, portraits):
    """`Prediction`s of `Coefficients` [B] of `portraits`, or text for a face whose coefficients are not finite."""
    for index, portrait in enumerate(portraits):
        one = Coefficients(*(np.asarray(group)[index : index + 1] for group in coefficients))
        if not all(np.isfinite(group).all() for group in one):
            yield "the fit of the face diverged"
            continue
        shape = faces.unposed_shape(model, one.identity, one.expression)
        points = faces.at_landmarks(model.landmarks["ibug68"], shape)
        pixels, _ = cameras.to_pixels(cameras.Camera(), faces.pose(points, one.angles, one.translation))
        crop = portrait.crop.transform
        angles = np.degrees(one.angles[0] + np.array([0, 0, crop.rotation]))
        albedo = np.clip(faces.albedo(model, one.albedo)[0], 0, 1)
        yield Prediction(
            shape[0], model.triangles, points[0, 17:], ANCHORS[68], crop.inverse().apply(pixels[0]), angles, albedo
        )


def mesh_folder(name, folder):
    """Meshes that another program made: NAME.obj for each picture, in any unit.

    Where they lie is said by landmarks.txt, which holds the indices of 68, 51 or 7 vertices for all meshes, or
    by NAME.txt beside a mesh, with as many rows x y z. 68 and 51 are the ibug points, with and without the jaw; 7 are
    the right eye's outer and inner corner, the left eye's inner and outer one, the nose's base, the right and the left
    mouth corner (the person's right).

    Args:
      name: of the method.
      folder: path.

    Returns:
      `Method`.

    Raises:
      FileNotFoundError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of meshes. Received: {folder}")

    def run(cases):
        return [_read_prediction(folder, case.name) for case in cases]

    return Method(name, run, {"meshes": str(folder.resolve())}, detects=False)


def _read_prediction(folder, name):
    try:
        vertices, triangles = read_obj(folder / f"{name}.obj")
        own = folder / f"{name}.txt"
        shared = folder / "landmarks.txt"
        path = own if own.is_file() else shared
        rows = np.loadtxt(path, dtype=float if own.is_file() else int, ndmin=2)
        count, columns = rows.shape
        if count not in ANCHORS or columns != (3 if path == own else 1):
            raise ValueError(f"{path} must hold 68, 51 or 7 rows of x y z, or of one index. Received: {rows.shape}")
        if path == shared and not ((rows >= 0) & (rows < len(vertices))).all():
            raise ValueError(f"{path} must hold indices below {len(vertices)}. Received: {rows.min()}..{rows.max()}")
    except FileNotFoundError as error:
        return f"no such file: {error.filename}"
    except (ValueError, OSError) as error:
        return str(error)
    points = rows if path == own else vertices[rows[:, 0]]
    return Prediction(vertices, triangles, points[17:] if count == 68 else points, ANCHORS[count])


def read_obj(path):
    """Vertices [V, 3] and triangles [T, 3] of an OBJ file; polygons become fans.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is too large or no mesh.
    """
    if path.stat().st_size > MAX_MESH_BYTES:
        raise ValueError(f"a mesh may have {MAX_MESH_BYTES} bytes at most. Received: {path}")
    vertices, triangles = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        key, *values = line.split() or [""]
        try:
            if key == "v":
                vertices.append([float(value) for value in values[:3]])
            elif key == "f":
                corners = [int(value.split("/")[0]) for value in values]
                corners = [corner - 1 if corner > 0 else len(vertices) + corner for corner in corners]
                triangles += [(corners[0], *corners[i : i + 2]) for i in range(1, len(corners) - 1)]
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is no line of an OBJ. Received: {line[:60]!r}") from error
    if not vertices or not triangles or {len(vertex) for vertex in vertices} != {3}:
        raise ValueError(f"{path} holds no triangles. Received: {len(vertices)} vertices, {len(triangles)} triangles")
    vertices, triangles = np.array(vertices), np.array(triangles)
    if not np.isfinite(vertices).all() or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError(f"{path} must hold finite vertices and triangles of them. Received: {len(vertices)} vertices")
    return vertices, triangles
