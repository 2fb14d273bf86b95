"""The networks that are shipped, by name; and where the weights of a preset, a file or a training lie."""

from pathlib import Path
from typing import NamedTuple

from tf_deep3d import assets


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
      face_model: asset of the face model that their coefficients belong to.
    """

    rnet: Shipped
    cnet: Shipped
    face_model: str


PRESETS = {
    "mobilenet": Preset(
        rnet=Shipped("rnet_mobilenet.keras"),
        cnet=Shipped("cnet_mobilenet.keras"),
        face_model="open_face.npz",
    ),
}
DEFAULT = "mobilenet"


def find_weights(preset: str | Path, network: str) -> Path:
    """The file of weights that a user names.

    Args:
      preset: name in `PRESETS`, which comes before a file of that name; a `.keras` file; or the folder of a training.
      network: "rnet" or "cnet".

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
