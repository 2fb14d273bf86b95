"""3D face reconstruction from photos: a TensorFlow / Keras 3 port of Deng et al. 2019 with an open face model.

    import tf_deep3d as d3d

    reconstructor = d3d.FaceReconstructor.from_preset("mobilenet")
    (face,) = reconstructor.reconstruct("me.jpg")
    face.mesh.vertices, face.landmarks, face.arkit["jawOpen"], face.pose

The names below are imported when they are first asked for: the device imports this package with NumPy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_deep3d.errors import InputError as InputError
    from tf_deep3d.face.camera import Camera as Camera
    from tf_deep3d.face.coefficients import Coefficients as Coefficients
    from tf_deep3d.face.morphable_model import MorphableModel as MorphableModel
    from tf_deep3d.models.cnet import CNet as CNet
    from tf_deep3d.models.rnet import RNet as RNet
    from tf_deep3d.reconstructed import Reconstruction as Reconstruction
    from tf_deep3d.reconstruction.reconstructor import FaceReconstructor as FaceReconstructor
    from tf_deep3d.rendering.renderer import render as render

__version__ = "0.1.0"

_HOMES = {  # public name -> its module
    "CNet": "models.cnet",
    "Camera": "face.camera",
    "Coefficients": "face.coefficients",
    "FaceReconstructor": "reconstruction.reconstructor",
    "InputError": "errors",
    "MorphableModel": "face.morphable_model",
    "RNet": "models.rnet",
    "Reconstruction": "reconstructed",
    "render": "rendering.renderer",
}


def __getattr__(name: str) -> Any:
    """The public name `name`, from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names too, before they are imported."""
    return sorted([*globals(), *_HOMES])
