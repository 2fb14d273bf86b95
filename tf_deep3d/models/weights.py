"""`.keras` files of our networks: written whole or not at all, read as untrusted."""

import zipfile
from pathlib import Path
from typing import TypeVar

import keras

from tf_deep3d.errors import InputError
from tf_deep3d.io.files import writing

MAX_BYTES = 1 << 30  # of a weights file
T = TypeVar("T", bound=keras.Model)


class WeightsError(InputError):
    """The file holds no weights that fit; the message says what was received."""


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
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise WeightsError(f"{path} unpacks to more than {MAX_BYTES} bytes. Received: {size}")
        stored = keras.saving.load_model(path, compile=False, safe_mode=True)
    except WeightsError:
        raise
    except Exception as error:  # untrusted: whatever Keras, HDF5 or zip find wrong with it
        raise WeightsError(f"{path} is no readable .keras file. Received: {error}") from error
    if not isinstance(stored, kind):
        raise WeightsError(f"{path} must hold weights of {kind.__name__}. Received: {type(stored).__name__}")
    return _rebuilt(stored, "float32")


def _rebuilt(network: T, dtype: str) -> T:
    """A copy of `network` that stores its weights as `dtype`."""
    copy = type(network).from_config({**network.get_config(), "dtype": dtype})
    for mine, theirs in zip(copy.weights, network.get_weights(), strict=True):
        mine.assign(theirs)
    return copy
