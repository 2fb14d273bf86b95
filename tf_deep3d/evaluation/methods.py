"""The methods that `evaluation` compares: this project's own, exported ones, and meshes of other programs.

Letters: V vertices, M photos of a case, K identity coefficients.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from keras import ops

from tf_deep3d import face as faces
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.benchmark import Method
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.scans import ANCHORS
from tf_deep3d.face import camera as cameras
from tf_deep3d.face import morphable_model
from tf_deep3d.face.aggregation import STRATEGIES, aggregate
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.landmarks import INNER_FACE
from tf_deep3d.fitting import descent
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import mobilenet, recognition, rnet
from tf_deep3d.reconstruction import photo
from tf_deep3d.rendering import renderer

SINGLE = "single"  # method beside the strategies: every photo of a set for itself
KEPT = 4096  # photos whose coefficients are in memory


def set_methods(cnet=None, scalar=None):
    """`SINGLE` and those of the strategies that need no network or one that is there.

    Args:
      cnet: path of C-Net's weights, None for the shipped ones.
      scalar: path of those of a C-Net with one confidence for each photo, or None.
    """
    there = {"average": True, "scalar": scalar is not None}
    return [SINGLE, *(name for name in STRATEGIES if there.get(name, cnet is not None or cnets.SHIPPED.is_file()))]


def usual(benchmark, cnet=None, scalar=None):
    """The names of the methods that a benchmark compares if nobody says which; arguments as of `set_methods`."""
    usual = {
        "sets": ["mean", *set_methods(cnet, scalar)],
        "confidence": ["elementwise"],
        "consistency": set_methods(cnet, scalar),
        "robustness": ["mean", "rnet"],
        "fairness": ["mean", "rnet"],
    }
    return usual.get(benchmark, ["mean", "fit", "rnet"])


def own_methods(names, levels, model=None, weights=None, refine=None, cnet=None, scalar=None, detail=-1):
    """Loads what the named methods need.

    Args:
      names: see `own_method` and `set_method`.
      levels: the face model's levels of detail, the coarsest first.
      model: path of the face model, None for the open one.
      weights: R-Net's, or the folder of a training; None for the shipped ones.
      refine: steps of the fit after R-Net, None for the default.
      cnet: C-Net's weights, or the folder of a training; None for the shipped ones.
      scalar: the same of a C-Net with one confidence for each photo, for "scalar".
      detail: level of the shapes, see `morphable_model.pick_level`.

    Returns:
      List of `Method`.

    Raises:
      FileNotFoundError: if a file is missing.
      weights.WeightsError: if a file is unusable or the networks do not belong together.
    """
    if "scalar" in names and scalar is None:
        raise InputError("the method 'scalar' needs a C-Net of its own, --scalar. Received: none")
    network = version = None
    weighed = [name for name in names if name == SINGLE or name in STRATEGIES]
    if weighed or any(name.startswith("rnet") for name in names):
        network, version = (
            rnet.load_rnet(weights or rnet.SHIPPED, rnet.fingerprint(model)),
            _version(weights or rnet.SHIPPED, rnet.WEIGHTS),
        )
    perceptual = recognition.build_recognition() if "fit" in names else None
    shown = morphable_model.pick_level(levels, detail)
    models = photo.Models(levels, shown, None, perceptual, network)
    options = photo.Options(model=model, refine=photo.REFINE if refine is None else refine)
    judges, versions = {}, {}
    if set(weighed) & {"summed", "best", "elementwise"}:
        path = cnet or cnets.SHIPPED
        judges["elementwise"], versions["cnet"] = (
            _judge(path, network, network.layout.identity),
            _version(path, cnets.WEIGHTS),
        )
    if "scalar" in weighed:
        judges["scalar"], versions["scalar"] = _judge(scalar, network, 1), _version(scalar, cnets.WEIGHTS)
    regress = regressor(network, judges)
    identity = {"model": rnet.fingerprint(model), "weights": version, **versions}
    return [
        set_method(name, shown, regress, identity) if name in weighed else own_method(name, models, options, version)
        for name in names
    ]


def _version(path, weights):
    """Fingerprint of a weights file, or of the one named `weights` in the folder of a training."""
    return rnet.fingerprint(Path(path) / weights if Path(path).is_dir() else path)


def _judge(path, network, confidences):
    """A C-Net of that R-Net, with so many confidences for each photo."""
    judge = cnets.load_cnet(path, network)
    if judge.confidences != confidences:
        raise cnets.WeightsError(
            f"{path} must hold a C-Net with {confidences} confidences for each photo. Received: {judge.confidences}"
        )
    return judge


def descriptor():
    """A function photos [N, 224, 224, 3] -> descriptors [N, 1024] by `models.mobilenet.build_descriptor`."""
    network = mobilenet.build_descriptor()
    return lambda images: ops.convert_to_numpy(network(images))


def own_method(name, models, options, weights=None):
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
      ValueError: for another name.
    """
    kind, colon, steps = name.partition(":")
    if kind not in ("mean", "fit", "rnet") or (colon and (kind != "rnet" or not steps.isdigit())):
        raise InputError(
            f"a method must be 'mean', 'fit', 'rnet', 'rnet:STEPS', '{SINGLE}' or one of {', '.join(STRATEGIES)}. "
            f"Received: {name!r}"
        )
    options = replace(options, method=kind, refine=int(steps) if steps else options.refine)
    settings = options.descent()
    if kind == "mean":
        settings = replace(settings, stages=())

    def regress(portraits):
        observation = photo.observe(portraits)
        if kind == "mean":
            return descent.initial_coefficients(models.levels[-1], observation, settings)
        return photo.solve(observation, options, models).coefficients

    def run(cases):
        portraits = [portrait for case in cases for portrait in case.portraits]
        if not portraits:
            return ["no face found"] * len(cases)
        batches = [portraits[i : i + photo.BATCH] for i in range(0, len(portraits), photo.BATCH)]
        parts = [Coefficients(*map(np.asarray, regress(batch))) for batch in batches]
        rows = Coefficients(*(np.concatenate(group) for group in zip(*parts, strict=True)))
        ends = np.cumsum([len(case.portraits) for case in cases])
        return [
            prediction(
                models.written, Coefficients(*(group[start:end] for group in rows)), case.portraits, case.neutral
            )
            for case, start, end in zip(cases, np.r_[0, ends[:-1]], ends, strict=True)
        ]

    identity = {"method": kind, "settings": repr(settings), "model": rnet.fingerprint(options.model)}
    return Method(name, run, identity | ({"weights": weights} if kind == "rnet" else {}))


def regressor(network, judges):
    """A function `Portrait`s -> (`Coefficients` [M], name -> confidences [M, K or 1]) that remembers photos.

    Args:
      network: `RNet`.
      judges: name -> `CNet` of it.
    """
    known = {}

    def regress(portraits):
        new = [portrait for portrait in portraits if portrait.photo not in known]
        if len(known) + len(new) > KEPT:
            known.clear()
            new = portraits
        for start in range(0, len(new), photo.BATCH):
            batch = new[start : start + photo.BATCH]
            coefficients, features = network.regress(np.stack([portrait.crop.image for portrait in batch]))
            columns = [
                ops.convert_to_numpy(each) for each in (*coefficients, *(judge(features) for judge in judges.values()))
            ]
            known.update((portrait.photo, row) for portrait, row in zip(batch, zip(*columns, strict=True), strict=True))
        columns = [np.stack(column) for column in zip(*(known[portrait.photo] for portrait in portraits), strict=True)]
        size = len(Coefficients._fields)
        return Coefficients(*columns[:size]), dict(zip(judges, columns[size:], strict=True))

    return regress


def set_method(name, model, regress, identity):
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

    def answer(case):
        if not case.portraits:
            return "no face found"
        coefficients, confidences = regress(case.portraits)
        if name == SINGLE:
            rows = (Coefficients(*(group[i : i + 1] for group in coefficients)) for i in range(len(case.portraits)))
            pairs = zip(rows, case.portraits, strict=True)
            return [prediction(model, row, [portrait], case.neutral) for row, portrait in pairs]
        weights = None if name == "average" else confidences[kind]
        fused = aggregate(coefficients.identity[None], weights if weights is None else weights[None], None, name)[0]
        found = prediction(model, coefficients, case.portraits, case.neutral, fused)
        return found if weights is None else found._replace(confidence=weights.mean(0))

    def run(cases):
        everyone = {portrait.photo: portrait for case in cases for portrait in case.portraits}
        if everyone:
            regress(list(everyone.values()))
        return [answer(case) for case in cases]

    return Method(name, run, {"method": name, **identity})


def prediction(model, coefficients, portraits, neutral=False, identity=None):
    """What the coefficients of the photos of one person say.

    Args:
      model: `MorphableModel`.
      coefficients: `Coefficients` [M], NumPy; photos whose coefficients are not finite do not count.
      portraits: M `photo.Portrait`s.
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
        shape[0],
        model.triangles,
        points[INNER_FACE],
        ANCHORS[68],
        landmarks,
        angles,
        albedo,
        calm[0] * MILLIMETRES,
        likeness,
    )
