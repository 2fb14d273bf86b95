"""Where a training runs: on this machine's devices, or together with other machines where TF_CONFIG names them."""

import json
import os
from typing import Any

import keras

from tf_deep3d.errors import InputError


class ClusterError(InputError):
    """TF_CONFIG does not describe a cluster; the message says what was received."""


def is_chief() -> bool:
    """Whether this process writes the files of a run; of several workers one does."""
    found = _cluster()
    if found is None:
        return True
    cluster, task = found
    return task["type"] == "chief" or ("chief" not in cluster and task["type"] == "worker" and task["index"] == 0)


def find_strategy() -> Any:
    """The `tf.distribute.Strategy` over all devices, or None under JAX, which uses one device.

    Of several workers each waits here for the others.

    Raises:
      ClusterError: if TF_CONFIG is none of ours, or names workers for a backend that cannot have them.
    """
    found = _cluster()
    if keras.backend.backend() != "tensorflow":
        if found is not None:
            raise ClusterError(f"several workers need TensorFlow. Received: TF_CONFIG and {keras.backend.backend()}")
        return None
    import tensorflow as tf

    return tf.distribute.MirroredStrategy() if found is None else tf.distribute.MultiWorkerMirroredStrategy()


def _cluster() -> tuple[dict[str, list[str]], dict[str, Any]] | None:
    """(kind of task -> addresses, {"type", "index"} of this process) of TF_CONFIG, None without."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return None
    try:
        found = json.loads(text)
        cluster, task = found.get("cluster"), found.get("task")
        if not cluster:
            return None
        if not set(cluster) <= {"chief", "worker"} or not 0 <= task["index"] < len(cluster[task["type"]]):
            raise ValueError(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ClusterError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["host:port", ..]}, "task": {"type": "worker", '
            f'"index": 0}}}}. Received: {text}'
        ) from None
    return cluster, task
