"""The methods that the evaluation compares: this project's own, and meshes of other programs.

A further one, such as an exported network, is a further function that returns a `benchmark.Method`.

Letters: V vertices, M photos of a case, K identity coefficients.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.benchmark import Answer, Case, Method
from tf_deep3d.evaluation.bending import bend
from tf_deep3d.evaluation.measuring import ICP_POINTS, Prediction, Truth
from tf_deep3d.evaluation.mesh_files import ANCHORS, read_landmarks, read_mesh
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import expression as expressions
from tf_deep3d.face.aggregation import STRATEGIES, aggregate
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import COUNT, INNER_FACE
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import pose
from tf_deep3d.io.photos import Photo
from tf_deep3d.models.presets import fingerprint
from tf_deep3d.reconstruction import photo
from tf_deep3d.reconstruction.portraits import BATCH, Portrait, observe
from tf_deep3d.rendering import renderer

SINGLE = "single"  # method beside the strategies: every photo of a set for itself
FLOOR = "floor"  # method that sees the truth
FLOOR_RESIDUAL = 0.3  # mm, see `bending.bend`: the modes follow the truth closer than a population's prior would
KEPT = 4096  # faces whose coefficients are in memory
NO_FACE, DIVERGED = "no face found", "the fit of the face diverged"
NO_TRUTH = "the benchmark does not show the truth to methods"

# `Portrait`s [M] -> their `Coefficients`, and C-Net's name -> confidences [M, K or 1].
Regressor: TypeAlias = Callable[[Sequence[Portrait]], tuple[Coefficients, dict[str, np.ndarray]]]


def own_method(name: str, models: photo.Models, options: photo.Options, weights: str | None = None) -> Method:
    """One of this project's methods.

    Args:
      name: "mean", the mean face in the pose of the detected landmarks; "fit"; "rnet", or "rnet:N" with N steps of the
        fit after it.
      models: `photo.Models`, with its R-Net if the name asks for it; predictions are of its written level.
      options: `photo.Options`.
      weights: fingerprint of R-Net's weights, for the method's identity.

    Returns:
      `Method`.

    Raises:
      InputError: for another name.
    """
    kind, colon, steps = name.partition(":")
    if kind not in ("mean", "fit", "rnet") or (colon and (kind != "rnet" or not steps.isdigit())):
        raise InputError(
            f"a method must be 'mean', 'fit', 'rnet', 'rnet:STEPS', '{FLOOR}', '{SINGLE}' or one of "
            f"{', '.join(STRATEGIES)}. Received: {name!r}"
        )
    options = replace(options, method=kind, refine=int(steps) if steps else options.refine)
    settings = options.refinement if kind == "rnet" else options.settings

    def regress(portraits: Sequence[Portrait]) -> Coefficients:
        observation = observe(portraits)
        if kind == "mean":
            return pose.initial_coefficients(models.levels[-1], observation.landmarks, settings.lighting, settings.jaw)
        return photo.solve(observation, options, models)

    def run(cases: Sequence[Case]) -> list[Answer]:
        portraits = [portrait for case in cases for portrait in case.portraits]
        if not portraits:
            return [NO_FACE] * len(cases)
        batches = [portraits[i : i + BATCH] for i in range(0, len(portraits), BATCH)]
        parts = [Coefficients(*map(np.asarray, regress(batch))) for batch in batches]
        rows = Coefficients(*(np.concatenate(group) for group in zip(*parts, strict=True)))
        ends = np.cumsum([len(case.portraits) for case in cases])
        return [
            prediction(
                models.written, Coefficients(*(group[start:end] for group in rows)), case.portraits, case.neutral
            )
            for case, start, end in zip(cases, np.r_[0, ends[:-1]], ends, strict=True)
        ]

    identity = {"method": kind, "settings": repr(settings), "model": fingerprint(options.model)}
    if kind == "rnet":
        identity |= {"steps": options.refine}
    return Method(name, run, identity | ({"weights": weights} if kind == "rnet" else {}))


def regressor(network: Any, judges: Mapping[str, Any]) -> Regressor:
    """A `Regressor` that remembers faces, so that several methods ask the networks once.

    Args:
      network: `RNet`.
      judges: name -> `CNet` of it.
    """
    known: dict[tuple[Photo, bytes], tuple[np.ndarray, ...]] = {}

    def regress(portraits: Sequence[Portrait]) -> tuple[Coefficients, dict[str, np.ndarray]]:
        keys = [_key(portrait) for portrait in portraits]
        new = {key: portrait for key, portrait in zip(keys, portraits, strict=True) if key not in known}
        if len(known) + len(new) > KEPT:
            known.clear()
            new = dict(zip(keys, portraits, strict=True))
        wanted = list(new.items())
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            coefficients, features = network.regress(np.stack([portrait.crop.image for _, portrait in batch]))
            found = (*coefficients, *(judge(features) for judge in judges.values()))
            rows = zip(*(ops.convert_to_numpy(each) for each in found), strict=True)
            known.update((key, row) for (key, _), row in zip(batch, rows, strict=True))
        columns = [np.stack(column) for column in zip(*(known[key] for key in keys), strict=True)]
        size = len(Coefficients._fields)
        return Coefficients(*columns[:size]), dict(zip(judges, columns[size:], strict=True))

    return regress


def _key(portrait: Portrait) -> tuple[Photo, bytes]:
    """Which face of which photo a portrait shows: a photo may have several."""
    return portrait.photo, np.asarray(portrait.detected.landmarks68).tobytes()


def set_method(name: str, model: MorphableModel, regress: Regressor, identity: Mapping[str, Any]) -> Method:
    """A way to make one shape of several photos with R-Net alone and C-Net.

    Args:
      name: `SINGLE`, the errors of the single photos' shapes are averaged; or of `aggregation.STRATEGIES`.
      model: `MorphableModel` of the shapes.
      regress: of `regressor`.
      identity: plain data that changes when the networks do.

    Returns:
      `Method`.
    """
    kind = "scalar" if name == "scalar" else "elementwise"

    def answer(case: Case) -> Answer:
        if not case.portraits:
            return NO_FACE
        coefficients, confidences = regress(case.portraits)
        if name == SINGLE:
            rows = (Coefficients(*(group[i : i + 1] for group in coefficients)) for i in range(len(case.portraits)))
            pairs = zip(rows, case.portraits, strict=True)
            found = [prediction(model, row, [portrait], case.neutral) for row, portrait in pairs]
            return [each for each in found if isinstance(each, Prediction)] or DIVERGED
        weights = None if name == "average" else confidences[kind]
        fused = aggregate(coefficients.identity[None], weights if weights is None else weights[None], None, name)[0]
        found = prediction(model, coefficients, case.portraits, case.neutral, fused)
        return found if weights is None or isinstance(found, str) else found._replace(confidence=weights.mean(0))

    def run(cases: Sequence[Case]) -> list[Answer]:
        everyone = {_key(portrait): portrait for case in cases for portrait in case.portraits}
        if everyone:
            regress(list(everyone.values()))
        return [answer(case) for case in cases]

    return Method(name, run, {"method": name, **identity})


def floor_method(model: MorphableModel, identity: Mapping[str, Any]) -> Method:
    """What no method can do better, hardly: the model's modes, of people and of expressions, fitted to the truth.

    Args:
      model: `MorphableModel` of the shapes.
      identity: plain data that changes when the model does.

    Returns:
      `Method`; it has no landmarks, pose or colours.
    """
    basis = np.concatenate([model.identity_basis, model.expression_basis])
    known: dict[bytes, Prediction] = {}

    def answer(case: Case) -> Answer:
        if case.truth is None:
            return NO_TRUTH
        try:
            truth = case.truth()
            key = hashlib.sha256(truth.points.tobytes()).digest()
            if key not in known:
                known.clear()
                pick = np.linspace(0, len(truth.points) - 1, min(ICP_POINTS, len(truth.points))).round().astype(int)
                few = Truth(truth.points[pick], truth.normals[pick], truth.landmarks)
                shape = bend(model, basis, few, FLOOR_RESIDUAL).shape
                points = faces.at_landmarks(model.landmarks["ibug68"], shape[None])[0]
                known[key] = Prediction(shape, model.triangles, points[INNER_FACE])
        except InputError as error:
            return str(error)
        return known[key]

    def run(cases: Sequence[Case]) -> list[Answer]:
        return [answer(case) for case in cases]

    return Method(FLOOR, run, {"method": FLOOR, "residual": FLOOR_RESIDUAL, **identity}, detects=False)


def prediction(
    model: MorphableModel,
    coefficients: Coefficients,
    portraits: Sequence[Portrait],
    neutral: bool = False,
    identity: np.ndarray | None = None,
) -> Prediction | str:
    """What the coefficients of the photos of one person say.

    Args:
      model: `MorphableModel`.
      coefficients: `Coefficients` [M], NumPy; photos whose coefficients are not finite do not count.
      portraits: M `Portrait`s.
      neutral: leave the expression out of the shape.
      identity: [K], by default the mean over the photos. Expression and albedo are means too.

    Returns:
      `Prediction`, with landmarks and pose if there is one photo; or text why there is none.
    """
    if not portraits:
        return NO_FACE
    finite = np.all([np.isfinite(group).reshape(len(portraits), -1).all(1) for group in coefficients], axis=0)
    if not finite.any():
        return DIVERGED
    rows = Coefficients(*(group[finite] for group in coefficients))
    person = (rows.identity.mean(0) if identity is None else identity)[None]
    mean = Coefficients(*(group.mean(0, keepdims=True) for group in rows._replace(identity=person)))
    calm = faces.unposed_shape(model, mean.identity, 0 * mean.expression)
    shape = calm if neutral else faces.unposed_shape(model, mean.identity, mean.expression)
    points = faces.at_landmarks(model.landmarks["ibug68"], shape)[0]
    landmarks = jaw_line = angles = None
    first = portraits[int(np.flatnonzero(finite)[0])]
    if len(portraits) == 1:
        crop = first.crop.transform
        seen = faces.unposed_shape(model, mean.identity, mean.expression)
        seen = faces.pose(seen, mean.angles, mean.translation)

        def in_photo(name: str) -> np.ndarray:
            pixels, _ = cameras.to_pixels(cameras.Camera(), faces.at_landmarks(model.landmarks[name], seen))
            return crop.inverse().apply(pixels[0])

        landmarks = in_photo("ibug68")
        jaw_line = in_photo("jaw17") if "jaw17" in model.landmarks else None
        angles = np.degrees(mean.angles[0] + np.array([0, 0, crop.rotation]))

    def arkit() -> dict[str, dict[str, float]]:
        responses = expressions.load()
        seen: dict[str, np.ndarray] = {}
        turns = zip(portraits, coefficients.angles, coefficients.translation, finite, strict=True)
        for portrait, turn, place, good in turns:
            if good:
                pixels = portrait.crop.transform.apply(portrait.detected.landmarks478[:, :2])
                frame = expressions.Frame(pixels, turn, place)
                seen[str(portrait.photo)] = expressions.coordinates(responses, frame, cameras.Camera())
        person = expressions.neutral_of(responses, np.array(list(seen.values())))
        names = model.blendshape_names
        return {
            name: dict(zip(names, expressions.solve(responses, each, person, names).tolist(), strict=True))
            for name, each in seen.items()
        }

    def likeness() -> tuple[np.ndarray, np.ndarray]:
        one = Coefficients(*(group[:1] for group in rows))._replace(identity=person)
        picture = renderer.render(faces.reconstruct(model, one), model.triangles, cameras.Camera())
        image, coverage = (np.asarray(ops.convert_to_numpy(each))[0] for each in (picture.image, picture.coverage))
        return first.crop.image, np.clip(image + (1 - coverage) * first.crop.image, 0, 1)

    albedo = np.clip(faces.albedo(model, mean.albedo)[0], 0, 1)
    return Prediction(
        shape[0],
        model.triangles,
        points[INNER_FACE],
        ANCHORS[68],
        landmarks,
        angles,
        albedo,
        calm[0] * MILLIMETRES,
        likeness,
        jaw_line=jaw_line,
        arkit=arkit if expressions.shows_units(model) else None,
    )


def mesh_folder(name: str, folder: str | Path) -> Method:
    """Meshes that another program made: NAME.obj for each case, in any unit.

    A case of several photos has one mesh, named after the case. Where the meshes lie is said by landmarks.txt, which
    holds the indices of 68, 51 or 7 vertices for all of them, or by NAME.txt beside a mesh, with as many rows x y z. 68
    and 51 are the ibug points, with and without the jaw; 7 are those of `scans.ANCHORS`.

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

    def run(cases: Sequence[Case]) -> list[Answer]:
        return [_read_prediction(folder, case.name) for case in cases]

    return Method(name, run, {"meshes": str(folder.resolve())}, detects=False, retries=True)


def _read_prediction(folder: Path, name: str) -> Prediction | str:
    try:
        vertices, triangles = read_mesh(folder / f"{name}.obj")
        own = folder / f"{name}.txt"
        points = read_landmarks(own if own.is_file() else folder / "landmarks.txt", vertices)
    except FileNotFoundError as error:
        return f"no such file: {error.filename}"
    except (InputError, OSError) as error:
        return str(error)
    known = np.flatnonzero(np.isfinite(points[:, 0]))
    known = known[known >= INNER_FACE.start] if len(known) == COUNT else known
    return Prediction(vertices, triangles, points[known], known)
