"""`.keras` files of our networks: written whole or not at all, read as untrusted."""

import inspect
import io
import json
import zipfile
from pathlib import Path
from typing import IO, Any, TypeVar

import h5py
import keras
import numpy as np

from tf_deep3d import assets
from tf_deep3d.errors import WeightsError, first_line
from tf_deep3d.io.archive import ArchiveError, checked_entries
from tf_deep3d.io.files import writing

MAX_BYTES = 1 << 30  # of a weights file, packed and unpacked
MAX_CONFIG = 1 << 20  # bytes of its config.json
T = TypeVar("T", bound=keras.Model)


def save(network: keras.Model, path: str | Path, overwrite: bool = False, half: bool = False) -> None:
    """Writes a `.keras` file.

    Args:
      network: `keras.Model` whose `get_config` rebuilds it with all its weights.
      path: file to write, whole or not at all.
      overwrite: replace an existing file.
      half: store half precision.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
    """
    kept = _rebuilt(network, "float16" if half else "float32")
    with writing(path, overwrite) as file:
        temporary = Path(file.name).with_suffix(".keras")
        try:
            kept.save(temporary)
            file.write(temporary.read_bytes())
        finally:
            temporary.unlink(missing_ok=True)


def load(path: str | Path, kind: type[T]) -> T:
    """Reads a `.keras` file, in single precision whatever it is stored in.

    Args:
      path: file written by `save`.
      kind: class of the network that it must hold.

    Returns:
      An instance of `kind`.

    Raises:
      FileNotFoundError: if there is no such file.
      WeightsError: if the file is damaged or is something else.
      assets.AssetError: if it is a file of the package, but not as it was shipped.
    """
    path = assets.checked(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in checked_entries(archive, path, MAX_BYTES)}
            if entries["config.json"].file_size > MAX_CONFIG:
                raise ValueError(f"a config.json of {entries['config.json'].file_size} bytes")
            config = _checked_config(json.loads(archive.read("config.json")), kind)
            _check_sizes(io.BytesIO(archive.read("model.weights.h5")))
        network = kind.from_config({**config, "dtype": "float32"})
        network.load_weights(path)
    except ArchiveError as error:
        raise WeightsError(str(error)) from error
    except WeightsError as error:
        raise WeightsError(f"{path} must hold weights of {kind.__name__}. Received: {error}") from error
    except Exception as error:  # untrusted: whatever Keras, HDF5 or zip find wrong with it
        raise WeightsError(f"{path} is no readable .keras file. Received: {first_line(error)}") from error
    if not all(np.isfinite(values).all() for values in network.get_weights()):
        raise WeightsError(f"{path}: weights must be finite. Received: NaN or infinity")
    return network


def _checked_config(content: Any, kind: type[keras.Model]) -> dict[str, Any]:
    """The arguments of `kind` in a `config.json`, looked at before anything of it is built: none but its own.

    Raises:
      WeightsError: if it is the config of something else; the message says of what.
      KeyError, TypeError, ValueError: if it is none.
    """
    if content["class_name"] != kind.__name__ or content["module"] != kind.__module__:
        raise WeightsError(str(content["class_name"])[:200])
    config = content["config"]
    known = {*inspect.signature(kind).parameters, "name", "trainable", "dtype"} - {"options"}
    if unknown := set(config) - known:
        raise WeightsError(f"the arguments {sorted(unknown)}"[:200])
    if not isinstance(config["recipe"], dict | None):
        raise TypeError(f"recipe must be a mapping, not {type(config['recipe']).__name__}")
    return config


def _check_sizes(file: IO[bytes]) -> None:
    """Raises a `ValueError` if the arrays of an HDF5 file, which it may compress, take more than `MAX_BYTES`."""
    sizes = []

    def measure(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(item.nbytes)

    with h5py.File(file) as stored:
        stored.visititems(measure)
    if sum(sizes) > MAX_BYTES:
        raise ValueError(f"arrays of {sum(sizes)} bytes")


def _rebuilt(network: T, dtype: str) -> T:
    """A copy of `network` that stores its weights as `dtype`."""
    copy = type(network).from_config({**network.get_config(), "dtype": dtype})
    for mine, theirs in zip(copy.weights, network.get_weights(), strict=True):
        mine.assign(theirs)
    return copy
