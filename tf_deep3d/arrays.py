"""Code that runs on NumPy and on the backends of Keras alike: names of types, and what NumPy 2.0 lacks."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # of NumPy, or a tensor of the Keras backend; its shape stands in the docstring
Namespace: TypeAlias = Any  # `numpy` or `keras.ops`


def unstack(array: Array, axis: int, xp: Namespace = np) -> Any:  # a tuple of them
    """The slices of an array along an axis, which they no longer have; NumPy has a function for it from 2.1 on."""
    return tuple(np.moveaxis(array, axis, 0)) if xp is np else xp.unstack(array, axis=axis)
