"""What a model file's arrays may be, and the subdivision that takes its control mesh to finer levels of detail.

Letters: C vertices of the control mesh, V vertices of the finest level, R rows, F numbers at a vertex.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from tf_deep3d.errors import InputError

MAX_TERMS = 256  # of the mean that a subdivided vertex is
Arrays: TypeAlias = Mapping[str, np.ndarray]
STEP = "subdivision_{}_"  # of the names of its three arrays
_BLOCK = 512  # terms that are gathered at once, so that they stay in the cache


class ModelError(InputError):
    """The file is not a usable model; the message says which array is wrong and what was received."""


class Step(NamedTuple):
    """One subdivision, a sparse matrix (CSR) from coarser to finer vertices.

    Attributes:
      indptr: [rows + 1] int32, where the terms of each finer vertex start.
      indices: [terms] int32, coarser vertices.
      weights: [terms] float32, theirs.
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray


def checked(arrays: Arrays, name: str, shape: tuple[int | None, ...], kinds: str) -> np.ndarray:
    """The array `name`, of a dtype kind in `kinds` and of `shape`, where None stands for any length.

    Raises:
      ModelError: if it is another.
    """
    array = arrays[name]
    fits = array.ndim == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape, strict=True))
    if not fits or array.dtype.kind not in kinds:
        raise ModelError(f"{name} must have shape {shape} and kind {kinds!r}. Received: {array.dtype} {array.shape}")
    if array.dtype.itemsize > 4 and array.dtype.kind == "f" and np.abs(array).max(initial=0) > np.finfo("f4").max:
        raise ModelError(f"{name} must fit single precision. Received: {np.abs(array).max():.3g}")
    return array


def checked_indices(arrays: Arrays, name: str, shape: tuple[int | None, ...], bound: int) -> np.ndarray:
    """The index array `name` as int32, all within [0, bound).

    Raises:
      ModelError: if it is another.
    """
    array = checked(arrays, name, shape, "iu")
    if array.size and (array.min() < 0 or array.max() >= bound):
        raise ModelError(f"{name} must lie in [0, {bound}). Received: {array.min()} to {array.max()}")
    return array.astype(np.int32)


def read_steps(arrays: Arrays, control: int, full: int) -> list[Step]:
    """The subdivisions of a file, one after the other, from `control` to `full` vertices.

    Raises:
      ModelError: if they do not lead there.
    """
    steps: list[Step] = []
    count = control
    while f"{(prefix := STEP.format(len(steps)))}indptr" in arrays:
        indices = checked_indices(arrays, prefix + "indices", (None,), count)
        indptr = checked_indices(arrays, prefix + "indptr", (None,), len(indices) + 1)
        weights = checked(arrays, prefix + "weights", indices.shape, "f").astype(np.float32)
        terms = np.diff(indptr)
        whole = 0 < len(terms) <= full and indptr[0] == 0 and indptr[-1] == len(indices)
        if not whole or terms.min() < 1 or terms.max() > MAX_TERMS:
            limits = f"must rise by 1 to {MAX_TERMS} from 0 to {len(indices)}"
            raise ModelError(f"{prefix}indptr {limits}. Received: {indptr}")
        steps.append(Step(indptr, indices, weights))
        count = len(terms)
    if count != full:
        raise ModelError(f"the subdivision must end at {full} vertices, as mean_albedo has. Received: {count}")
    return steps


def subdivide(steps: Sequence[Step], fields: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Applies `steps` to `fields` [F, C, 3] at the vertices `rows` [R] of the finest level: [F, R, 3].

    Only what these depend on is computed, and a vertex' bits do not depend on the others asked for.
    """
    if not steps:
        return fields.take(rows, axis=1)
    wanted = [rows]  # of each step's rows, the last step first
    for step in reversed(steps):
        asked = np.zeros(len(step.indptr) - 1, bool)
        asked[wanted[-1]] = True
        wanted.append(np.unique(step.indices[np.repeat(asked, np.diff(step.indptr))]))
    known = wanted.pop()
    values = np.swapaxes(fields.take(known, axis=1), 0, 1).reshape(len(known), -1)
    for step in steps:
        place = np.zeros(step.indices.max() + 1, np.int32)
        place[known] = np.arange(len(known), dtype=np.int32)
        known = wanted.pop()
        values = _rows_of_product(step, known, place, values)
    return _vertices_last(values)


def _rows_of_product(step: Step, rows: np.ndarray, place: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Some `rows` of a step's product with `fields`, whose row `place[index]` is that of a coarser vertex.

    Rows of equally many terms go together, each as a small matrix product: NumPy only, for the device.
    """
    product = np.empty((len(rows), fields.shape[1]), fields.dtype)
    starts, terms = step.indptr[rows], np.diff(step.indptr)[rows]
    for count in map(int, np.unique(terms)):
        alike = np.flatnonzero(terms == count)
        size = max(_BLOCK // count, 1)
        for start in range(0, len(alike), size):
            block = alike[start : start + size]
            own = starts[block][:, None] + np.arange(count)
            product[block] = np.matmul(step.weights[own][:, None], fields[place[step.indices[own]]])[:, 0]
    return product


def _vertices_last(rows: np.ndarray) -> np.ndarray:
    """Rows [R, 3 F] of vertices as [F, R, 3], in blocks that stay in the cache."""
    count = rows.shape[1] // 3
    fields = np.empty((count, len(rows), 3), rows.dtype)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK].reshape(-1, count, 3)
        for axis in range(3):  # thrice as fast as one assignment of all three
            fields[:, start : start + _BLOCK, axis] = block[:, :, axis].T
    return fields
