"""Names of types for code that runs on NumPy and on the backends of Keras alike."""

from typing import Any, TypeAlias

Array: TypeAlias = Any  # of NumPy, or a tensor of the Keras backend; its shape stands in the docstring
Namespace: TypeAlias = Any  # `numpy` or `keras.ops`
