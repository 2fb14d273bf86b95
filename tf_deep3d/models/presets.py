"""The networks that are shipped, by name; and where the weights of a preset, a file or a training lie."""

from pathlib import Path
from typing import NamedTuple

from tf_deep3d import assets
from tf_deep3d.io import files
from tf_deep3d.models.weights import WeightsError


class Shipped(NamedTuple):
    """A file of weights in `assets/`, with a card and a notice beside it.

    Attributes:
      file: its name.
      sha256: of its contents, in hex.
    """

    file: str
    sha256: str

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
        rnet=Shipped("rnet_mobilenet.keras", "66b46a1e66beb01d7543a27de98d4e724d09247f3be9e751df05e0ff3da9682f"),
        cnet=Shipped("cnet_mobilenet.keras", "aac0382606a68a3356210d1c6294b0414633bc48f2b4cfd4660a6c0aaff1675e"),
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
      WeightsError: if a shipped file is not the one that was shipped.
    """
    if isinstance(preset, str) and preset in PRESETS:
        shipped = getattr(PRESETS[preset], network)
        if (received := files.sha256(shipped.path)) != shipped.sha256:
            raise WeightsError(f"{shipped.path} must have the SHA-256 {shipped.sha256}. Received: {received}")
        return shipped.path
    path = Path(preset)
    if path.is_dir():
        path = path / f"{network}.keras"  # as a training leaves it
    if not path.is_file():
        names = ", ".join(PRESETS)
        raise FileNotFoundError(f"No such file; nor is it a preset ({names}): {path}")
    return path
