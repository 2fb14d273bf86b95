"""Lists whose length depends on the values: the only place that asks which backend runs.

TensorFlow's lists are as long as they need to be. JAX compiles static shapes, and its lists are as long as they could
be: what fills them up has a zero first value, repeats the end of the list or is not valid.

Letters: N elements, P listed elements, S slots.
"""

from keras import backend, ops

from tf_deep3d.arrays import Array

STATIC_SHAPES = backend.backend() == "jax"
CANDIDATES_PER_PIXEL = 4 if STATIC_SHAPES else 16  # at most; with static shapes all of them always cost time


def listed(condition: Array, *values: Array) -> list[Array]:
    """Indices [P] int of the true elements of `condition` [N] bool, of any shape, and the `values` [P] there.

    With static shapes P = N, and the first of `values` is zero where the condition is false.
    """
    condition = ops.reshape(condition, (-1,))
    values = tuple(ops.reshape(value, (-1,)) for value in values)
    if STATIC_SHAPES:
        return [ops.arange(condition.shape[0]), *(ops.where(condition, value, 0) for value in values)]
    indices = ops.nonzero(condition)[0]
    return [indices, *(ops.take(value, indices) for value in values)]


def expand(counts: Array, longest: int) -> tuple[Array, Array, Array]:
    """Lists counts[i] slots for each i.

    Args:
      counts: [N] int32.
      longest: the largest sum of `counts` that may come, the list's length S with static shapes.

    Returns:
      Where the slots of each i start, [N] int32; the i of each slot, [S] int32; and the slots, [S] int32.
    """
    ends = ops.cumsum(counts)
    total = ops.sum(counts)
    length = longest if STATIC_SHAPES else total
    owner = ops.cumsum(ops.segment_sum(ops.ones_like(ends), ends, length + 1)[:-1])
    slot = ops.arange(length, dtype="int32")
    if STATIC_SHAPES:
        owner, slot = ops.minimum(owner, counts.shape[0] - 1), ops.minimum(slot, total - 1)
    return ends - counts, owner, slot


def totals(columns: list[Array], indices: Array, count: Array) -> list[Array]:
    """For each of `columns` [3 P], the sums of its values with equal `indices` [3 P] int32: `count` sums each.

    On TensorFlow `bincount`, whose rows (here the three corners) are counted in parallel and each in order, is several
    times faster than `segment_sum`, whose threads each read everything.
    """
    if STATIC_SHAPES:
        return [ops.segment_sum(column, indices, count) for column in columns]
    indices = ops.reshape(indices, (3, -1))
    return [ops.sum(ops.bincount(indices, ops.reshape(c, (3, -1)), minlength=count), axis=0) for c in columns]


def guard(values: Array, valid: Array, default: float) -> Array:
    """`values` [P], with `default` in the entries that only fill the list: where `valid` [P] bool is false."""
    return ops.where(valid, values, default) if STATIC_SHAPES else values
