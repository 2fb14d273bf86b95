"""How well sets of photos give a shape, for every strategy of `aggregation`: table 5 of Deng et al. 2019.

Each photo is regressed once; what its identity and its confidences make of a set then costs an alignment of the fused
shape and no more, so that sets can be drawn from the photos and spoiled at will.

Letters: M photos, N identities, K identity coefficients, V vertices.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tf_deep3d import degradation, geometry, metrics, open_benchmark, pipeline
from tf_deep3d import face as faces
from tf_deep3d.aggregation import STRATEGIES, aggregate
from tf_deep3d.evaluation import ICP_POINTS
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.weights import signature
from tf_deep3d.rendered_people import generator

SEED = 2290
SMALL = 5  # photos of the small sets, as in a training
DRAWS = 5  # of the photos of a small set, and of those that are spoiled
SPOILED = {
    "blurred": lambda image, rng: degradation.blurred(image, 4.0),
    "occluded": lambda image, rng: degradation.occluded(image, 0.35, rng),
}
MEAN, SINGLE = "mean face", "single"  # rows beside the strategies


class Networks(NamedTuple):
    """R-Net, and what weighs its answers: C-Net or None, and C-Net with one confidence for each photo or None."""

    rnet: Any
    cnet: Any = None
    scalar: Any = None

    @property
    def strategies(self):
        """The strategies that these networks allow."""
        missing = {"scalar"} if self.scalar is None else set()
        missing |= {"summed", "best", "elementwise"} if self.cnet is None else set()
        return [name for name in STRATEGIES if name not in missing]

    @property
    def identity(self):
        """Plain data that changes when the answers would."""
        return {name: None if one is None else signature(one) for name, one in self._asdict().items()}


class Answers(NamedTuple):
    """Of M photos: identity [M, K], confidence [M, K] or None, scalar [M, 1] or None."""

    identity: np.ndarray
    confidence: Any = None
    scalar: Any = None

    def replaced(self, rows, other):
        """These answers with the `rows` of the `other` ones."""

        def mix(mine, theirs):
            return None if mine is None else np.where(np.isin(np.arange(len(mine)), rows)[:, None], theirs, mine)

        return Answers(*map(mix, self, other))


class Condition(NamedTuple):
    """A kind of set: number of photos (0 for all), how some are spoiled ("" for none), and how many."""

    photos: int
    kind: str = ""
    spoiled: int = 0

    def __str__(self):
        size = f"{self.photos} photos" if self.photos else "all photos"
        return f"{size}, {self.spoiled} {self.kind}" if self.spoiled else size


def load_networks(weights=None, scalar_weights=None, model=None):
    """The `Networks` of a training of C-Net, or the shipped ones.

    Args:
      weights: folder of a training of C-Net; None for the shipped networks.
      scalar_weights: folder or `.keras` file of a C-Net with one confidence for each photo, or None.
      model: face model's file, None for the open face model.

    Raises:
      FileNotFoundError: if a file is missing.
      WeightsError: if a file is unusable, or the networks do not belong together.
    """
    face_model = rnets.fingerprint(model)
    if weights is not None and not Path(weights).is_dir():
        raise FileNotFoundError(f"--weights must be the folder of a training of C-Net. Received: {weights}")
    rnet = rnets.load_rnet(weights or rnets.SHIPPED, face_model)
    cnet = cnets.load_cnet(weights or cnets.SHIPPED, rnet)
    scalar = cnets.load_cnet(scalar_weights, rnet) if scalar_weights else None
    for network, expected in ((cnet, rnet.layout.identity), (scalar, 1)):
        if network is not None and network.confidences != expected:
            raise cnets.WeightsError(
                f"a C-Net with {expected} confidences for each photo is needed. Received: {network.confidences}"
            )
    return Networks(rnet, cnet, scalar)


def regress(networks, crops):
    """`Answers` to aligned photos [M, 224, 224, 3], and `Coefficients` of R-Net, NumPy."""
    parts = []
    for start in range(0, len(crops), pipeline.BATCH):
        coefficients, features = networks.rnet.regress(crops[start : start + pipeline.BATCH])
        confidences = [None if one is None else one(features) for one in (networks.cnet, networks.scalar)]
        parts.append([*coefficients, *confidences])
    columns = [
        None if column[0] is None else np.concatenate([ops.convert_to_numpy(each) for each in column])
        for column in zip(*parts, strict=True)
    ]
    coefficients = type(coefficients)(*columns[:-2])
    return Answers(coefficients.identity, *columns[-2:]), coefficients


def fuse(answers, strategy, rows=None):
    """The identity [K] of a set: the photos `rows` of `Answers`, by default all."""
    rows = slice(None) if rows is None else rows
    confidence = answers.scalar if strategy == "scalar" else answers.confidence
    weights = None if strategy == "average" else confidence[None, rows]
    return aggregate(answers.identity[None, rows], weights, None, strategy)[0]


def spoil(crops, kind, seed):
    """Photos [M, 224, 224, 3] spoiled as `SPOILED` says, each by random numbers of its own."""
    return np.stack([SPOILED[kind](crop, generator(SEED, seed, index)) for index, crop in enumerate(crops)])


def conditions(counts):
    """All and `SMALL` photos: as they are, and with so many of them (`counts`) spoiled in each way."""
    for photos in (0, SMALL):
        yield Condition(photos)
        yield from (Condition(photos, kind, count) for kind in SPOILED for count in counts)


def evaluate(given, strategies, wanted, errors_of, rng):
    """Errors of sets drawn from the photos of one person.

    Args:
      given: "" or kind of `SPOILED` -> `Answers` to the same M photos.
      strategies: names.
      wanted: list of `Condition`.
      errors_of: identities [N, K] -> errors [N].
      rng: random generator of the draws.

    Returns:
      (text of the condition -> row -> list with an error for each draw; errors [M] of the single clean photos). All
      rows of a condition see the same draws. `SINGLE` is the mean error of the photos of a set.
    """
    whole = len(given[""].identity)
    sets, fused = [], [np.zeros_like(given[""].identity[0])]
    for condition in wanted:
        size = min(condition.photos or whole, whole)
        draws = 1 if size == whole and not condition.spoiled else DRAWS
        for _ in range(draws):
            chosen = rng.permutation(whole)[:size]
            bad = chosen[: condition.spoiled]
            mixed = given[""].replaced(bad, given[condition.kind])
            sets.append((condition, chosen, bad))
            fused += [fuse(mixed, strategy, chosen) for strategy in strategies]
    singles = [answers.identity for answers in given.values()]
    errors = errors_of(np.concatenate([fused, *singles]))
    single = dict(zip(given, errors[len(fused) :].reshape(len(given), whole), strict=True))
    results, rest = {}, iter(errors[1 : len(fused)])
    for condition, chosen, bad in sets:
        rows = results.setdefault(str(condition), {name: [] for name in (MEAN, SINGLE, *strategies)})
        here = np.where(np.isin(chosen, bad), single[condition.kind][chosen], single[""][chosen])
        for name, error in ((MEAN, errors[0]), (SINGLE, here.mean()), *((s, next(rest)) for s in strategies)):
            rows[name].append(float(error))
    return results, single[""]


def shape_errors(model, who):
    """A function identities [N, K] -> point-to-plane errors [N] in mm (root mean square) of their neutral shapes, NaN
    where there is no alignment.

    All are aligned from where the mean face lies on the truth. As in `evaluation.measure_view`.

    Args:
      model: `MorphableModel`.
      who: `open_benchmark.Subject` with a neutral face.
    """
    points = who.vertices[who.region] * open_benchmark.MILLIMETRES
    pick = np.linspace(0, len(points) - 1, min(ICP_POINTS, len(points))).round().astype(int)
    target = points[pick], who.normals[who.region][pick]
    anchors = faces.at_landmarks(model.landmarks["ibug68"], model.mean_shape[None])[0, 17:]
    rough = metrics.similarity_from_landmarks(anchors, who.landmarks[17:] * open_benchmark.MILLIMETRES)

    def normals_of(shape):
        return geometry.vertex_normals(shape[None], model.triangles, model.vertex_corners)[0]

    start = metrics.icp(model.mean_shape, normals_of(model.mean_shape), *target, rough)

    def error(identity):
        shape = faces.neutral_shape(model, identity[None])[0]
        normals = normals_of(shape)
        try:
            move = metrics.icp(shape, normals, *target, start)
        except (ValueError, np.linalg.LinAlgError):
            return float("nan")
        far = metrics.distances(move.apply(shape), model.triangles, normals @ move.rotation.T, points)
        return metrics.root_mean_square(far.plane)

    def errors(identities):
        different, where = np.unique(np.asarray(identities), axis=0, return_inverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.array(list(pool.map(error, different)))[where.reshape(-1)]

    return errors
