"""Whether ARKit's units follow the face: rendered people who show known weights, and photos whose names say what they
show.

Each of `PEOPLE` random people of the face model, with hair and in light of their own, shows a neutral face, `UNITS` and
`COMBINATIONS` of them at full and at half strength, in poses that sway as in a clip. A picture counts as named where
the strongest weight found is one of the strongest given. Each picture counts twice: alone, and as a frame of one clip
of all pictures of the person, of which nobody says where the person is calm. A photo is judged by its path below the
folder that is given: "closed" and "open" for eyes, "smile" or "smiling" for broad smiles.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from PIL import Image
from scipy.ndimage import gaussian_filter

from tf_deep3d.data.rendered import people, pictures
from tf_deep3d.data.rendered.dress import Dress, dress
from tf_deep3d.data.rendered.light import Light
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation.benchmark import Case
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.face import head as heads
from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.io import photos
from tf_deep3d.io.files import writing
from tf_deep3d.rendering import renderer

VERSION = 3
SEED, PEOPLE, NEUTRALS = 4711, 3, 4
SWAY = (6.0, 10.0, 4.0)  # degrees, standard deviations of pitch, yaw and roll
HALF = "-half"  # ends the names of pictures
POSES, BACKGROUND = 9, 77  # purpose of a person's poses, and seed of the first one's background
STRENGTHS = ("full", "half")
CLIP = "clip, "  # begins the names of sections
CLOSED, OPEN, SMILING = 0.6, 0.15, 0.5  # weights from which eyes are closed, up to which open, from which lips smile

_BOTH = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown"),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer", "eyeLookUp"),
    "eyeLookDown",
)
_ALONE = (
    *("browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthFunnel", "mouthLeft"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("eyeBlinkLeft", "mouthSmileRight", "browOuterUpLeft"),
)


def _both(*names: str, weight: float = 1.0) -> dict[str, float]:
    return {name + side: weight for name in names for side in ("Left", "Right")}


# Name -> weights by unit. Left out: mouthClose, which needs an open jaw, and tongueOut, which no landmark sees.
UNITS: dict[str, dict[str, float]] = {
    **{name: _both(name) for name in _BOTH},
    **{name: {name: 1.0} for name in _ALONE},
    "lookLeft": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
    "lookRight": {"eyeLookOutRight": 1.0, "eyeLookInLeft": 1.0},
}
COMBINATIONS: dict[str, dict[str, float]] = {
    "duchenne": _both("mouthSmile", weight=0.9) | _both("cheekSquint", "eyeSquint", weight=0.45),
    "laugh": _both("mouthSmile", weight=0.9) | {"jawOpen": 0.4} | _both("mouthUpperUp", weight=0.3),
    "surprise": _both("browOuterUp", weight=0.9) | {"browInnerUp": 0.6, "jawOpen": 0.5} | _both("eyeWide", weight=0.5),
    "anger": _both("browDown", weight=0.9) | _both("noseSneer", "mouthPress", weight=0.4),
    "sadness": _both("mouthFrown", weight=0.9) | {"browInnerUp": 0.5, "mouthShrugLower": 0.3},
    "disgust": _both("noseSneer", weight=0.9) | _both("mouthUpperUp", "browDown", weight=0.4),
    "kiss": {"mouthPucker": 0.9} | _both("eyeBlink", weight=0.5),
    "yawn": {"jawOpen": 0.9} | _both("eyeBlink", weight=0.5),
    "doubt": {"browOuterUpLeft": 0.9, "browDownRight": 0.5, "mouthLeft": 0.3},
    "oh": {"jawOpen": 0.8, "mouthFunnel": 0.5},
}


class Shown(NamedTuple):
    """A picture to be made.

    Attributes:
      person: number.
      name: of what is shown.
      weights: by unit; the others are 0.
      angles: [3] pitch, yaw, roll in radians.
      section: title of the table.
    """

    person: int
    name: str
    weights: Mapping[str, float]
    angles: np.ndarray
    section: str


class ShownClip(NamedTuple):
    """A clip of all pictures of a person, some of whose frames are measured.

    Attributes:
      person: number.
      strength: "full" or "half", of the frames that are measured; at full strength the neutral ones are, too.
    """

    person: int
    strength: str


def expressions(folder: str | Path | None = None) -> Protocol:
    """The protocol.

    Args:
      folder: of photos at any depth whose paths say what they show, besides the rendered people; or None.

    Raises:
      photos.PhotoError, FileNotFoundError: if there is no photo in it.
      InputError: if no path says what a photo shows.
    """
    alone = [entry for person in range(PEOPLE) for entry in _plan(person)]
    clips = [ShownClip(person, strength) for person in range(PEOPLE) for strength in STRENGTHS]
    entries: list[Any] = [*alone, *clips]
    remark = f"{PEOPLE} rendered people."
    if folder is not None:
        found = photos.find_photos([folder])
        told = [(path, kind) for path in found if (kind := kind_of(path, Path(folder)))]
        if not told:
            raise InputError(f"paths of photos must say closed, open or smile. Received: {len(found)} in {folder}")
        entries += told
        remark += f" {len(told)} photos of {len(found)}; the paths of the others do not say what they show."

    def make(entry: Shown | ShownClip | tuple[Path, str], folder: Path) -> Case:
        if isinstance(entry, Shown):
            path = _picture_file(entry, folder)
            angles = tuple(np.degrees(entry.angles).tolist())
            who = f"expressive{entry.person}"
            return Case(
                path.stem, who, angles, (path,), lambda given: _of_photo(given, entry.weights), (entry.section,)
            )
        if isinstance(entry, ShownClip):
            shown = {_picture_file(one, folder): one for one in _plan(entry.person)}
            half = entry.strength == STRENGTHS[1]
            frames = {str(path): one for path, one in shown.items() if one.name.endswith(HALF) == half}
            name, section = f"{entry.person}_clip-{entry.strength}", f"{CLIP}{entry.strength} strength"
            who = f"expressive{entry.person}"
            return Case(name, who, None, tuple(shown), lambda given: _of_clip(given, frames), (section,))
        path, kind = entry
        return Case(path.stem, path.stem, None, (path,), lambda given: _judged(given, kind), (f"photos: {kind}",))

    return Protocol(
        f"expressions {VERSION}", entries, make, remark, recognition=False,
        brief=("named", "within", "unit_weight", "most", "blink", "smile"),
    )  # fmt: skip


def _picture_file(shown: Shown, folder: Path) -> Path:
    """The file of a picture in `folder`, which is rendered if need be."""
    path = folder / f"{shown.person}_{shown.name}.png"
    if not path.is_file():
        with writing(path, overwrite=True) as file:
            Image.fromarray(picture(shown)).save(file, "png")
    return path


def kind_of(path: Path, folder: Path) -> str:
    """What the path of a photo below `folder` says that it shows: "closed eyes", "open eyes", "smile"; or ""."""
    text = str(path.relative_to(folder) if path.is_relative_to(folder) and path != folder else path.name).lower()
    words = {"closed": "closed eyes", "open": "open eyes", "smil": "smile"}
    return next((kind for word, kind in words.items() if word in text), "")


def picture(shown: Shown) -> np.ndarray:
    """Renders a person who shows something: [S, S, 3] uint8, S = `pictures.SIZE`."""
    model, head = _loaded()
    whole = head.whole
    person, lit, worn = _person(shown.person)
    still = 0 * person.expression
    angles, translation = people.align(head.five, person.identity, still, shown.angles, np.zeros((5, 2)))
    person = person._replace(
        angles=angles.astype(np.float32),
        translation=translation.astype(np.float32),
        expression=still,
    )
    weights = np.array([[shown.weights.get(name, 0.0) for name in model.blendshape_names]], np.float32)
    shape = heads.with_units(head.anatomy, person.identity[None], weights)
    face = pictures.pose_head(head, person, worn, pictures.head_surface(head), lit, shape)
    skin = renderer.triangles_within(whole.regions["skin"], whole.triangles)
    rendering = renderer.render(face, ops.convert_to_tensor(whole.triangles), pictures.camera(), skin)
    image, coverage = (ops.convert_to_numpy(each)[0] for each in (rendering.image, rendering.coverage))
    ground = pictures.background(pictures.SIZE, (), np.random.default_rng(BACKGROUND + shown.person))
    image = np.clip(image[..., :3], 0, 1) + (1 - coverage) * ground
    image = gaussian_filter(image.astype(np.float32), (pictures.SMOOTHING, pictures.SMOOTHING, 0))
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _plan(person: int) -> list[Shown]:
    """The pictures of one person."""
    rng = people.generator(SEED, person, POSES)
    all_units = [(name, weights, "units") for name, weights in UNITS.items()]
    all_units += [(name, weights, "combinations") for name, weights in COMBINATIONS.items()]
    plan: list[tuple[str, dict[str, float], str]] = [(f"neutral{i}", {}, "neutral") for i in range(NEUTRALS)]
    plan += all_units
    plan += [
        (name + HALF, {unit: weight / 2 for unit, weight in weights.items()}, f"{section}, half")
        for name, weights, section in all_units
    ]
    return [
        Shown(person, name, weights, np.radians([rng.normal(0, sway) for sway in SWAY]), section)
        for name, weights, section in plan
    ]


@lru_cache
def _loaded() -> tuple[morphable_model.MorphableModel, people.Head]:
    model = morphable_model.load(level=heads.LEVEL)
    return model, people.load_head(model)


@lru_cache
def _person(number: int) -> tuple[Coefficients, Light, Dress]:
    model, head = _loaded()
    person, lit = people.draw(model, head, people.generator(SEED, number), 0.0)
    return person, lit, dress(head, people.generator(SEED, number, 1))


def _units_of(prediction: Prediction) -> dict[str, dict[str, float]]:
    if prediction.arkit is None:
        raise InputError("the method gives no weights of units. Received: a shape only")
    return prediction.arkit()


def _of_photo(prediction: Prediction, truth: Mapping[str, float]) -> Measurement:
    """What was found of known weights in one photo."""
    (found,) = _units_of(prediction).values()
    return Measurement(_numbers(found, truth), np.zeros(0))


def _of_clip(prediction: Prediction, frames: Mapping[str, Shown]) -> Measurement:
    """What was found of known weights in some frames of a clip: means over those with a face."""
    found = _units_of(prediction)
    each = [_numbers(found[name], shown.weights) for name, shown in frames.items() if name in found]
    names = dict.fromkeys(name for numbers in each for name in numbers)
    means = {name: float(np.mean([numbers[name] for numbers in each if name in numbers])) for name in names}
    return Measurement(means, np.zeros(0))


def _numbers(found: Mapping[str, float], truth: Mapping[str, float]) -> dict[str, float]:
    """For a neutral face the largest weight, else whether the strongest is named and how far its weight is off."""
    if not truth:
        return {"most": max(found.values())}
    strongest = [name for name, weight in truth.items() if weight == max(truth.values())]
    off = abs(float(np.mean([found[name] - truth[name] for name in strongest])))
    named = max(found, key=lambda name: found[name]) in strongest
    return {"named": float(named), "within": float(off <= 0.25), "unit_weight": off}


def _judged(prediction: Prediction, kind: str) -> Measurement:
    """Whether a photo's blink or smile is what its name says."""
    (found,) = _units_of(prediction).values()
    unit, measure = ("mouthSmile", "smile") if kind == "smile" else ("eyeBlink", "blink")
    weight = float(np.mean([found[unit + side] for side in ("Left", "Right")]))
    right = {"closed eyes": weight >= CLOSED, "open eyes": weight <= OPEN, "smile": weight >= SMILING}[kind]
    return Measurement({measure: weight, "within": float(right)}, np.zeros(0))
