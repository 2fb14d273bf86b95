"""Who a face is: descriptors of the recognition network, run by LiteRT; `recognition` is the same for Keras."""

from functools import lru_cache

import numpy as np

from tf_deep3d import assets
from tf_deep3d.litert import Network

FILE = assets.find("recognition.tflite")
DESCRIPTOR = "descriptor"  # its output


@lru_cache
def _network() -> Network:
    return Network(FILE)


def describe(images: np.ndarray) -> np.ndarray:
    """Descriptors [B, 128] of aligned photos or renders [B, 224, 224, 3] RGB in [0, 1], not normalised.

    Of one person they are close: see `recognition.describe`, which they equal within rounding.
    """
    return _network().run(images)[DESCRIPTOR]
