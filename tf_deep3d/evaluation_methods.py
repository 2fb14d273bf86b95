"""The methods that `evaluation` compares: this project's own, and meshes that another program left in a folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from keras import ops

from tf_deep3d import camera as cameras
from tf_deep3d import face as faces
from tf_deep3d import fitting, pipeline, renderer
from tf_deep3d.coefficients import Coefficients
from tf_deep3d.evaluation import Method, Prediction
from tf_deep3d.models import mobilenet, recognition, rnet
from tf_deep3d.open_benchmark import MILLIMETRES
from tf_deep3d.scans import ANCHORS, JAW, read_landmarks, read_mesh


def own_methods(names, levels, model=None, weights=None, refine=None):
    """Loads what the named methods need.

    Args:
      names: see `own_method`.
      levels: the face model's levels of detail, the finest first.
      model: path of the face model, None for the open one.
      weights: R-Net's, or the folder of a training; None for the shipped ones.
      refine: steps of the fit after R-Net, None for the default.

    Returns:
      List of `Method`.
    """
    network = version = None
    if any(name.startswith("rnet") for name in names):
        path = weights or rnet.SHIPPED
        network = rnet.load_rnet(path, rnet.fingerprint(model))
        version = rnet.fingerprint(path / rnet.WEIGHTS if path.is_dir() else path)
    perceptual = recognition.build_recognition() if "fit" in names else None
    models = pipeline.Models(levels, levels[0], None, perceptual, network)
    options = pipeline.Options(model=model, refine=pipeline.REFINE if refine is None else refine)
    return [own_method(name, models, options, version) for name in names]


def descriptor():
    """A function photos [N, 224, 224, 3] -> descriptors [N, 1024] by `models.mobilenet.build_descriptor`."""
    network = mobilenet.build_descriptor()
    return lambda images: ops.convert_to_numpy(network(images))


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

    def regress(portraits):
        observation = pipeline.observe(portraits)
        if kind == "mean":
            return fitting.initial_coefficients(models.levels[0], observation, settings)
        return pipeline.solve(observation, options, models).coefficients

    def run(cases):
        portraits = [portrait for case in cases for portrait in case.portraits]
        if not portraits:
            return ["no face found"] * len(cases)
        batches = [portraits[i : i + pipeline.BATCH] for i in range(0, len(portraits), pipeline.BATCH)]
        parts = [Coefficients(*map(np.asarray, regress(batch))) for batch in batches]
        rows = Coefficients(*(np.concatenate(group) for group in zip(*parts, strict=True)))
        ends = np.cumsum([len(case.portraits) for case in cases])
        return [
            prediction(
                models.levels[0], Coefficients(*(group[start:end] for group in rows)), case.portraits, case.neutral
            )
            for case, start, end in zip(cases, np.r_[0, ends[:-1]], ends, strict=True)
        ]

    identity = {"method": kind, "settings": repr(settings), "model": rnet.fingerprint(options.model)}
    return Method(name, run, identity | ({"weights": weights} if kind == "rnet" else {}))


def prediction(model, coefficients, portraits, neutral=False, identity=None):
    """What the coefficients of the photos of one person say.

    Args:
      model: `MorphableModel`.
      coefficients: `Coefficients` [M], NumPy; photos whose coefficients are not finite do not count.
      portraits: M `pipeline.Portrait`s.
      neutral: leave the expression out of the shape.
      identity: [K], by default the mean over the photos. Expression and albedo are means too.

    Returns:
      `Prediction`, with landmarks and pose if there is one photo; or text why there is none.
    """
    if not portraits:
        return "no face found"
    finite = np.all([np.isfinite(group).reshape(len(portraits), -1).all(1) for group in coefficients], axis=0)
    if not finite.any():
        return "the fit of the face diverged"
    rows = Coefficients(*(group[finite] for group in coefficients))
    identity = rows.identity.mean(0) if identity is None else identity
    mean = Coefficients(*(group.mean(0, keepdims=True) for group in rows._replace(identity=identity[None])))
    calm = faces.unposed_shape(model, mean.identity, 0 * mean.expression)
    shape = calm if neutral else faces.unposed_shape(model, mean.identity, mean.expression)
    points = faces.at_landmarks(model.landmarks["ibug68"], shape)[0]
    landmarks = angles = None
    first = portraits[int(np.flatnonzero(finite)[0])]
    if len(portraits) == 1:
        crop = first.crop.transform
        seen = faces.unposed_shape(model, mean.identity, mean.expression)
        seen = faces.at_landmarks(model.landmarks["ibug68"], seen)
        pixels, _ = cameras.to_pixels(cameras.Camera(), faces.pose(seen, mean.angles, mean.translation))
        landmarks = crop.inverse().apply(pixels[0])
        angles = np.degrees(mean.angles[0] + np.array([0, 0, crop.rotation]))

    def likeness():
        one = Coefficients(*(group[:1] for group in rows))._replace(identity=identity[None])
        picture = renderer.render(faces.reconstruct(model, one), model.triangles, cameras.Camera())
        image, coverage = (ops.convert_to_numpy(each)[0] for each in (picture.image, picture.coverage))
        return first.crop.image, np.clip(image + (1 - coverage) * first.crop.image, 0, 1)

    albedo = np.clip(faces.albedo(model, mean.albedo)[0], 0, 1)
    return Prediction(
        shape[0], model.triangles, points[JAW:], ANCHORS[68], landmarks, angles, albedo, calm[0] * MILLIMETRES, likeness
    )


def mesh_folder(name, folder):
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

    def run(cases):
        return [_read_prediction(folder, case.name) for case in cases]

    return Method(name, run, {"meshes": str(folder.resolve())}, detects=False)


def _read_prediction(folder, name):
    try:
        vertices, triangles = read_mesh(folder / f"{name}.obj")
        own = folder / f"{name}.txt"
        points = read_landmarks(own if own.is_file() else folder / "landmarks.txt", vertices)
    except FileNotFoundError as error:
        return f"no such file: {error.filename}"
    except (ValueError, OSError) as error:
        return str(error)
    known = np.flatnonzero(np.isfinite(points[:, 0]))
    known = known[known >= JAW] if len(known) == len(points) else known
    return Prediction(vertices, triangles, points[known], known)
