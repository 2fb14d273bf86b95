"""What a bundle says of itself: the README for those who build the app, the notices, the licence of each file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.device_bundle import CONFIDENCE, QUANTIZATION
from tf_deep3d import assets
from tf_deep3d.face import expression, morphable_model
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets

if TYPE_CHECKING:
    from export.bundle import Subject

TEMPLATE = Path(__file__).parent / "bundle_readme.md"
OURS = "Apache-2.0"
THEIRS = "that of the training's owner"
MEANINGS = {
    "identity": "shape of the person, standard deviations",
    "expression": "standard deviations; zero is neutral",
    "albedo": "colour of the skin, standard deviations",
    "angles": "pitch, yaw, roll in radians",
    "illumination": "spherical harmonics of each colour; add 0.8 to the first of each",
    "translation": "dm",
    CONFIDENCE: "above 0, of each number of `identity`, only ratios between photos count; only in the files `cnet_*`",
}


def readme(manifest: Mapping[str, Any], model: MorphableModel, table: Sequence[str]) -> str:
    """The bundle's README.

    Args:
      manifest: the manifest, with what was measured.
      model: `MorphableModel`.
      table: lines of `parity.table`.
    """
    networks = manifest["networks"]
    outputs = {name: shape for entry in networks for name, shape in entry["outputs"].items()}
    plain = {name: shape for name, shape in networks[0]["outputs"].items() if name != CONFIDENCE}
    default = min(networks, key=lambda entry: entry["quantization"] != QUANTIZATION)["file"]
    in_bytes = [entry["file"] for entry in networks if entry["input"]["dtype"] == "uint8"]
    confident = CONFIDENCE in outputs
    sizes = {name: math.prod(shape) for name, shape in plain.items()}
    meanings = [f"| `{name}` | {shape} | {MEANINGS[name]} |" for name, shape in outputs.items()]
    filled = {
        "NAME": manifest["name"],
        "VERSION": manifest["versions"]["tf_deep3d"],
        "TENSORFLOW": manifest["versions"]["tensorflow"],
        "DEFAULT": default,
        "BYTES_FILE": (in_bytes or [default])[0],
        "CONFIDENCE": " (`cnet_*`: and confidences, for many photos of one person)" if confident else "",
        "VERTICES": f"{len(model.mean_shape):,}",
        "CHECKED": str(manifest["checked_on"]["faces"]),
        "TABLE": "\n".join(table),
        "POINTS5": ", ".join(manifest["input"]["alignment"]["points5"]),
        "SCALE": f"{manifest['input']['alignment']['model_scale']:g}",
        "OUTPUTS": "\n".join(["| name | shape | what |", "| --- | --- | --- |", *meanings]),
        "KOTLIN_SIZES": ", ".join(f'"{name}" to {size}' for name, size in sizes.items()),
        "SWIFT_NAMES": ", ".join(f'"{name}"' for name in sizes),
        "WEIGHED": ", weighed by `confidence` number by number" if confident else "",
        "SETS": "`identity` [B, M, K]," + (" `confidence` [B, M, K]," if confident else ""),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in filled.items():
        text = text.replace(f"@{name}@", value)
    return text


def licence(name: str, subject: "Subject") -> str:
    """Licence of the file `name` of a bundle of `subject` (`bundle.Subject`)."""
    if name in ("face.npz", "blendshapes.json"):
        return subject.model.licence
    weights = name.startswith("saved_model/") or (Path(name).suffix == ".tflite" and not name.startswith("detector/"))
    return THEIRS if weights and not subject.shipped else OURS


def notice(subject: "Subject") -> str:
    """NOTICE.md of a bundle of `subject` (`bundle.Subject`)."""
    parts = [
        "# NOTICE\n\nOf the code in `python/` and `client.py`: Copyright 2026 the tf_deep3d authors, Apache License "
        "2.0, http://www.apache.org/licenses/LICENSE-2.0. `detector/` holds the MediaPipe networks.",
    ]
    face_model = subject.face_model or morphable_model.OPEN_FACE
    open_face = rnets.fingerprint(face_model) == rnets.fingerprint()
    if not open_face:
        parts.append(f"`face.npz` and `saved_model/`: {subject.model.name}, licence: {subject.model.licence}.")
    if not subject.shipped:
        parts.append(f"The weights in `saved_model/` and in the `.tflite` files: licence: {THEIRS}.")
    names = ["mediapipe", expression.SHIPPED.stem, *(["open_face"] if open_face else [])]
    names += [rnets.SHIPPED.stem] if subject.shipped else []
    shipped_cnet = subject.networks.cnet is not None and subject.shipped
    names += [cnets.SHIPPED.stem] if shipped_cnet else []
    names += ["faceres"] if subject.networks.rnet.backbone == "mobilenet" else []
    found = [assets.FOLDER / f"{name}_NOTICE.md" for name in names]
    parts += ["#" + path.read_text(encoding="utf-8").strip() for path in found if path.is_file()]
    return "\n\n".join(parts) + "\n"
