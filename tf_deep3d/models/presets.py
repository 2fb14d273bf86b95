"""The networks that are shipped, by name; and where the weights of a preset, a file or a training lie."""

from pathlib import Path
from typing import NamedTuple

from tf_deep3d import assets
from tf_deep3d.errors import WeightsError
from tf_deep3d.face.morphable_model import OPEN_FACE
from tf_deep3d.io import files


class Shipped(NamedTuple):
    """A file of weights in `assets/`, with a card and a notice beside it.

    Attributes:
      file: its name.
    """

    file: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return assets.find(self.file)

    @property
    def card(self) -> Path:
        """Its model card."""
        return assets.find(f"{Path(self.file).stem}_CARD.md")


class Preset(NamedTuple):
    """Networks that belong together.

    Attributes:
      rnet, cnet: their files.
      runtime: both in one file for LiteRT, which starts at once (`python -m export preset` makes it).
      face_model: asset of the face model that their coefficients belong to.
    """

    rnet: Shipped
    cnet: Shipped
    runtime: Shipped
    face_model: str


PRESETS = {
    "mobilenet": Preset(
        rnet=Shipped("rnet_mobilenet.keras"),
        cnet=Shipped("cnet_mobilenet.keras"),
        runtime=Shipped("rnet_mobilenet.tflite"),
        face_model="open_face.npz",
    ),
}
DEFAULT = "mobilenet"
SCULPTED = "20ce25c4ac521fe4"  # fingerprint of the first open face model


def find_weights(preset: str | Path, network: str) -> Path:
    """The file of weights that a user names.

    Args:
      preset: name in `PRESETS`, which comes before a file of that name; a `.keras` file; or the folder of a training.
      network: "rnet", "cnet", or of a preset also "runtime".

    Raises:
      FileNotFoundError: if it is none of these, or the training has no such network.
    """
    if isinstance(preset, str) and preset in PRESETS:
        return getattr(PRESETS[preset], network).path
    path = Path(preset)
    if path.is_dir():
        path = path / f"{network}.keras"  # as a training leaves it
    if not path.is_file():
        names = ", ".join(PRESETS)
        raise FileNotFoundError(f"No such file; nor is it a preset ({names}): {path}")
    return path


def fingerprint(face_model: str | Path | None = None) -> str:
    """16 hexadecimal digits that name the contents of a face model's file; the open face model's by default.

    Raises:
      FileNotFoundError: if there is no such file.
    """
    return files.sha256(face_model or OPEN_FACE)[:16]


def check_face_model(weights: str | Path, received: str, wanted: str) -> None:
    """Raises `WeightsError` if `weights` belong to another face model, by `fingerprint`, than is `wanted`."""
    if received == wanted:
        return
    remedy = "name that model, or start a training with these weights"
    if received == SCULPTED:
        remedy = "python -m tf_deep3d.porting.open_face.networks moves it to the open face model of people's shapes"
    raise WeightsError(
        f"{weights} was trained with another face model than this one ({wanted}): {remedy}. Received: {received}"
    )
