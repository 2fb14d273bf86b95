"""What of a photo is the fitted face, and what lies before or beside it: hair, hats, glasses, masks, background.

Two witnesses, both asked pixel by pixel on a coarse grid over the photo:

- The face explains the photo: its albedo under its light, lit anew robustly, so that nothing that hides a part of it
  counts. A pixel far from that, darker, brighter or of another tint, in a patch too large for a mole, shows something
  else. Brows, lashes, nostrils and beards, which no albedo knows well, may be dark; they follow what is around them.
- What lies beside the face: a pixel within the silhouette, and connected to it, whose colour is nearer to the colours
  beyond the silhouette than to the skin inside shows what is beyond. It is what a face that was fitted too wide, or
  seen from the side, takes in of hair and background.

Letters: H, W size of the grid, V vertices.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage, spatial

from tf_deep3d.detection.skin import skin_probability
from tf_deep3d.face.landmarks import BROWS, EYES, NOSE_BASE, NOSE_BRIDGE, NOSTRILS
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.face.reconstruction import at_landmarks
from tf_deep3d.texture import fields

AREAS = ("forehead", "eyes", "cheeks and nose", "mouth and chin")  # by height, from above, in which shares are told
NAMED = 0.05  # share of an area that has to be left out to be told
NEAR = {"brows": 0.16, "eyes": 0.08, "nostrils": 0.1, "ridge": 0.09}  # dm around their landmarks
DARKEST = 0.03  # added to colours before the logarithm
# Of logarithms of colours: from these differences to those `RISE` times as large a pixel is explained less and less;
# and in deviations of the skin that is explained, where that is more.
DARK, BRIGHT, TINT, BEARDS = 0.45, 0.5, 0.17, 0.45  # the last: tint of dark hair where a beard may grow
DEVIATIONS, RISE = 3.5, 1.6
HIDDEN = 0.7  # median darkness of the eyes or the mouth from which sunglasses or a mask hide them
CORE = 6.0  # px of the aligned photo from the silhouette, beyond which the skin's light is found
ROUNDS, SPREAD = 6, 0.15  # of that search, and the difference at which a pixel counts half
PATCH, LENGTH = 50.0, 14.0  # px^2 and px; what covers less and is shorter belongs to the skin: moles, scars
MARGIN = (2.5, 6.5)  # px from what is left out, between which trust rises from 0 to 1
RING = 8.0  # px around eyes, brows and mouth that decide about them
FOLLOWS = {"eyes": 0.6, "brows": 0.5, "mouth": 0.5}  # share of that ring above which they are left out, too
INNER, BEYOND = 12.0, (2.0, 16.0)  # px within and beyond the silhouette whose colours are the skin's and the other's
REACH = 36.0  # px within the silhouette, to which what is beyond can reach
# Log luminance and px: a frame of glasses is that much darker than what is nearer than half that.
WIRE, THIN = 0.25, 7.0
# The same of a clear or thin one where it is faint, the share of it that is no less than a plain one, and px^2 that
# frames cover at most: brows and wrinkles that are joined to each other cover more.
CLEAR, STRONG, LARGEST = 0.1, 0.35, 2000.0
# Of a line across the lips: px beyond them that it reaches into, least and largest px^2 on them (that between the lips
# covers more), least px^2 beyond them on either side. FINGER: px around it that are left out.
ACROSS, FINGER = (5.0, 15.0, 150.0, 8.0), 18.0
CROSSING = 28.0  # px from the ridge of the nose that it reaches on both sides: no wrinkle does
DIM = 0.25  # log luminance below the skin's, from which in the brows hair may be that of a fringe over them
# Least dark share of a half of the beard's place, least share of that place that each half is, and largest ratio of the
# two dark shares, for hair that hangs over one half.
ONE_SIDED = (0.1, 0.25, 0.25)
CONTRAST = 0.12  # of colours in [0, 1], below which the two cannot be told apart


class Zones(NamedTuple):
    """Where on the surface what is expected.

    Attributes:
      parts: name -> [V] bool: "eyes" with lids and lashes, "brows", "mouth" with the lips, "nostrils", "beard" where
        one may grow, "core" of skin that is rarely hidden, "ridge" of the nose between the eyes, "left" of the person.
      area: [V] int, index in `AREAS`.
      inner_mouth: [V] bool, what only an open mouth shows.
    """

    parts: Mapping[str, np.ndarray]
    area: np.ndarray
    inner_mouth: np.ndarray


class Scene(NamedTuple):
    """A photo and the face that was fitted to it on one grid of pixels.

    Attributes:
      picture: [H, W, 3] RGB in [0, 1].
      within: [H, W] bool, where there is a photo.
      inside: [H, W] bool, where there is the face, too.
      expected: [H, W, 3] RGB of the face there.
      normals: [H, W, 3], unit, there.
      facing: [H, W], cosine of the angle to the viewing direction.
      parts, area: of `Zones`, on the grid; area -1 beside the face.
      step: px of the aligned photo between two pixels of the grid.
    """

    picture: np.ndarray
    within: np.ndarray
    inside: np.ndarray
    expected: np.ndarray
    normals: np.ndarray
    facing: np.ndarray
    parts: Mapping[str, np.ndarray]
    area: np.ndarray
    step: float


def zones_of(model: MorphableModel) -> Zones:
    """The `Zones` of a face model, from its regions and landmarks."""
    shape, regions = model.mean_shape, model.regions
    points = at_landmarks(model.landmarks["ibug68"], shape[None])[0]

    def near(name: str, *slices: slice) -> np.ndarray:
        tree = spatial.cKDTree(np.concatenate([points[part] for part in slices]))
        return np.isfinite(tree.query(shape, distance_upper_bound=NEAR[name])[0])

    parts = {
        "eyes": regions["eyes"] | regions["lids"] | near("eyes", *EYES),
        "mouth": regions["lips"] | regions["inner_mouth"],
        "brows": near("brows", *BROWS),
        "nostrils": near("nostrils", NOSTRILS),
    }
    brow = points[BROWS[0].start : BROWS[1].stop, 1].max()
    bridge, base = points[NOSE_BRIDGE.stop - 2, 1], points[NOSE_BASE, 1]
    height = shape[:, 1]
    parts["beard"] = (height < base) & ~parts["mouth"]
    free = regions["skin"] & ~np.any(list(parts.values()), axis=0)
    parts["core"] = free & (height < bridge + 0.1) & (height > base)
    parts |= {"ridge": near("ridge", NOSE_BRIDGE), "left": shape[:, 0] > 0}
    return Zones(parts, np.searchsorted(-np.array([brow, bridge, base]), -height), regions["inner_mouth"])


def explained(scene: Scene) -> tuple[np.ndarray, dict[str, float]]:
    """What of a photo is the fitted face.

    Args:
      scene: `Scene`.

    Returns:
      Trust [H, W] float32, 0 where something else is seen, 1 some px from there and beside the face; and of each of
      `AREAS`, the share in [0, 1] of what the photo shows of it that is left out.
    """
    unlike, core, dim = _unlike(scene)
    left_out = unlike | _beyond(scene, unlike)
    for name in FOLLOWS:
        _follow(scene, name, left_out, dim)
    _hide_brows(scene, left_out)
    if core.any():
        left_out |= ~_patches(scene.inside & ~left_out, core, scene.step)  # nor what lies on the other side of it
    left_out |= _frame(scene) | _fingers(scene)
    left_out &= scene.inside
    shown = scene.inside & (scene.facing > 0.3)
    total = np.bincount(scene.area[shown], minlength=len(AREAS))
    lost = np.bincount(scene.area[shown & left_out], minlength=len(AREAS))
    shares: dict[str, float] = dict(zip(AREAS, (lost / np.maximum(total, 1)).tolist(), strict=True))
    if not left_out.any():
        return np.ones(left_out.shape, np.float32), shares
    distance = ndimage.distance_transform_edt(~left_out) * scene.step
    return fields.ramp(distance.astype(np.float32), MARGIN), shares


def told(shares: Mapping[str, float]) -> str:
    """The shares of `explained` as text, "" where nothing worth telling is left out."""
    return ", ".join(f"{100 * share:.0f} % of the {area}" for area, share in shares.items() if share >= NAMED)


def _unlike(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[H, W] bool: patches that the face does not explain; what surely is skin; what may be hair in the brows."""
    parts, inside = scene.parts, scene.inside
    difference = np.log(scene.picture + DARKEST) - np.log(np.clip(scene.expected, 0.0, 1.0) + DARKEST)
    depth = ndimage.distance_transform_edt(inside) * scene.step
    soft = parts["eyes"] | parts["mouth"] | parts["brows"] | parts["nostrils"]
    skin = inside & ~soft & (scene.facing > 0.4) & (depth > CORE)
    core = _core(scene, skin)
    if not core.any():
        return np.zeros(inside.shape, bool), core, parts["brows"]
    difference = difference - _light(difference, scene.normals, core, skin)
    luminance = difference.mean(axis=-1)
    tint = np.linalg.norm(difference - luminance[..., None], axis=-1)
    usual, colored = (1.48 * DEVIATIONS * np.median(np.abs(part[core])) for part in (luminance, tint))
    clear = fields.ramp(scene.picture.max(axis=-1), (0.08, 0.25))  # dark colours have no tint worth trusting
    dark = _rising(-luminance, max(DARK, usual))
    bright = _rising(luminance, max(BRIGHT, usual))
    beards = _rising(tint, max(BEARDS, colored)) * clear
    tint = _rising(tint, max(TINT, colored)) * clear
    masked = _median(luminance, inside & parts["mouth"]) < -HIDDEN
    hairy = parts["brows"] if masked else parts["brows"] | _beard(scene, dark)  # the person's own
    dark, tint = np.where(hairy, 0.0, dark), np.where(hairy & (luminance < -0.15), beards, tint)
    evidence = np.where(inside & (~soft | parts["brows"]), np.maximum.reduce([dark, bright, tint]), 0.0)
    evidence = ndimage.gaussian_filter(evidence.astype(np.float32), 0.8 / scene.step)
    found = _patches(evidence > 0.3, evidence > 0.7, scene.step)
    for name in ("eyes", "mouth"):
        if _median(luminance, inside & parts[name]) < -HIDDEN:
            found |= parts[name] & inside
    return found, core & ~found, (luminance < -DIM) & parts["brows"]


def _beard(scene: Scene, dark: np.ndarray) -> np.ndarray:
    """[H, W] bool: where a beard may grow, but on a half of the face that alone is `dark` [H, W] there: by hair."""
    beard, left = scene.parts["beard"], scene.parts["left"]
    shown = scene.inside & beard & (scene.facing > 0.4)
    halves = [shown & half for half in (left, ~left)]
    if min(map(np.count_nonzero, halves)) < ONE_SIDED[1] * np.count_nonzero(shown):
        return beard
    shares = [float((dark[half] > 0.5).mean()) for half in halves]
    if max(shares) < ONE_SIDED[0] or min(shares) > ONE_SIDED[2] * max(shares):
        return beard
    return beard & (left != (shares[0] > shares[1]))


def _core(scene: Scene, skin: np.ndarray) -> np.ndarray:
    """[H, W] bool: of what should be `skin`, what surely is: nose and cheeks, or where these are hidden, all of it.

    Colours decide, unless hardly anything has those of skin: the photo is grey, or its light coloured.
    """
    colors = skin & (skin_probability(scene.picture) > 0.5)
    if np.count_nonzero(colors) < 0.15 * np.count_nonzero(skin):
        colors = skin
    usual = colors & scene.parts["core"]
    return usual if np.count_nonzero(usual) > 0.5 * np.count_nonzero(skin & scene.parts["core"]) else colors


def _light(difference: np.ndarray, normals: np.ndarray, core: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """The smooth part [H, W, 3] of a difference that a change of the light explains, by robust least squares."""
    x, y, z = np.moveaxis(normals, -1, 0)
    basis = np.stack([np.ones_like(x), x, y, x * y, x * x - y * y, z * z], axis=-1)
    chosen = np.flatnonzero(skin)[:: max(1, np.count_nonzero(skin) // 4000)]
    columns, values = (a.reshape(-1, a.shape[-1])[chosen] for a in (basis, difference))
    weight = np.where(core.reshape(-1)[chosen], 1.0, 0.2)
    light = np.zeros((basis.shape[-1], 3))
    light[0] = np.median(difference[core], axis=0)
    ridge = np.diag([1e-6, *[0.02] * (basis.shape[-1] - 1)])
    for _ in range(ROUNDS):
        distance = np.linalg.norm(values - columns @ light, axis=-1)
        doubt = weight / (1.0 + np.square(distance / SPREAD))
        pulled = columns * doubt[:, None]
        light = np.linalg.solve(pulled.T @ columns + ridge * doubt.sum(), pulled.T @ values)
    return (basis @ light).astype(np.float32)


def _beyond(scene: Scene, unlike: np.ndarray) -> np.ndarray:
    """[H, W] bool: what is connected to the silhouette and looks like what is beyond it, rather than like the face
    where it is not `unlike` [H, W]."""
    inside, picture = scene.inside, scene.picture
    depth = ndimage.distance_transform_edt(inside) * scene.step
    away = ndimage.distance_transform_edt(~inside) * scene.step
    near = (depth > INNER) & (scene.facing > 0.4) & ~unlike
    far = scene.within & (away > BEYOND[0]) & (away < BEYOND[1])
    if not near.any() or not far.any():
        return np.zeros(inside.shape, bool)
    own, other = (fields.pull_push(picture, chosen[..., None].astype(np.float32)) for chosen in (near, far))
    apart = other - own
    square = np.square(apart).sum(axis=-1)
    share = np.einsum("hwc,hwc->hw", picture - own, apart) / np.maximum(square, 1e-6)
    like = inside & (depth < REACH) & (square > CONTRAST**2) & (share > 0.5)
    return _patches(like, like & (depth <= 2.5), scene.step, smallest=4.0)


def _frame(scene: Scene) -> np.ndarray:
    """[H, W] bool: thin lines, all darker or all lighter, that cross the nose between the eyes: a frame of glasses."""
    parts = scene.parts
    beside = scene.inside & ~(parts["eyes"] | parts["mouth"] | parts["nostrils"]) & (scene.area > 0) & (scene.area < 3)
    away = ndimage.distance_transform_edt(~parts["ridge"]) * scene.step > CROSSING
    frame = np.zeros(beside.shape, bool)
    for contrast in _contrast(scene):
        for limit in (WIRE, CLEAR):
            labels, count = ndimage.label((contrast > limit) & beside, np.ones((3, 3)))
            found = np.bincount(labels[parts["ridge"]], minlength=count + 1) > 0
            for half in (parts["left"], ~parts["left"]):
                found &= np.bincount(labels[away & half], minlength=count + 1) > 0
            found[0] = False
            if limit == CLEAR:
                size = np.bincount(labels.reshape(-1), minlength=count + 1)
                strong = np.bincount(labels[contrast > WIRE], minlength=count + 1)
                found &= (strong > STRONG * size) & (size * scene.step**2 < LARGEST)
            frame |= found[labels] & ~(parts["brows"] & (limit == CLEAR))  # which touch it
    return frame


def _fingers(scene: Scene) -> np.ndarray:
    """[H, W] bool: the mouth and what is near thin dark lines that run across both lips, as between fingers, and do not
    follow the lips."""
    mouth = scene.parts["mouth"] & scene.inside
    near = scene.inside & (scene.area >= 2) & ((scene.facing > 0.4) | mouth) & ~scene.parts["nostrils"]
    labels, count = ndimage.label((_contrast(scene)[0] > WIRE) & near, np.ones((3, 3)))
    reach = 2 * round(ACROSS[0] / scene.step) + 1
    beyond = [ndimage.maximum_filter1d(mouth, reach, axis=0, origin=side * (reach // 2)) & ~mouth for side in (1, -1)]
    sizes = [np.bincount(labels[part], minlength=count + 1) * scene.step**2 for part in (mouth, *beyond)]
    found = (sizes[0] > ACROSS[1]) & (sizes[0] < ACROSS[2]) & (sizes[1] > ACROSS[3]) & (sizes[2] > ACROSS[3])
    found[0] = False
    if not found.any():
        return np.zeros(mouth.shape, bool)
    lines = found[labels]
    return scene.inside & (mouth | (ndimage.distance_transform_edt(~lines) * scene.step < FINGER))


def _contrast(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """By how much of log luminance thin lines are darker, and lighter, than what is around: [H, W] each."""
    luminance = np.log(scene.picture + DARKEST).mean(axis=-1)
    side = 2 * round(THIN / scene.step / 2) + 1
    darker = ndimage.grey_closing(luminance, (side, side)) - luminance
    return darker, luminance - ndimage.grey_opening(luminance, (side, side))


def _follow(scene: Scene, name: str, left_out: np.ndarray, dim: np.ndarray) -> None:
    """Leaves out what is around a part on either side of which enough is left out; changes `left_out`.

    Of a brow below a fringe that is what is `dim` [H, W] and connected to the fringe.
    """
    part = scene.parts[name] & scene.inside
    together = ndimage.distance_transform_edt(~part) * scene.step <= RING / 2  # both lips are one mouth
    labels, count = ndimage.label(together)
    free = scene.inside & ~np.any([scene.parts[each] for each in FOLLOWS], axis=0)
    for label in range(1, count + 1):
        mine = part & (labels == label)
        ring = free & (ndimage.distance_transform_edt(~mine) * scene.step <= RING)
        if ring.any() and left_out[ring].mean() > FOLLOWS[name]:
            left_out |= mine & _patches(left_out | dim, left_out, scene.step, smallest=0.0) if name == "brows" else mine


def _hide_brows(scene: Scene, left_out: np.ndarray) -> None:
    """Leaves out the brow over an eye that is left out, too, by hair that hangs over both; changes `left_out`."""
    brows, eyes = (scene.parts[name] & scene.inside for name in ("brows", "eyes"))
    for half in (scene.parts["left"], ~scene.parts["left"]):
        mine = brows & half
        ring = scene.inside & ~(brows | eyes) & (ndimage.distance_transform_edt(~mine) * scene.step <= RING)
        if all(part.any() and left_out[part].mean() > FOLLOWS["brows"] for part in (eyes & half, ring)):
            left_out |= mine


def _patches(possible: np.ndarray, sure: np.ndarray, step: float, smallest: float = PATCH) -> np.ndarray:
    """The patches of `possible` [H, W] bool that hold something `sure` and are not too small."""
    labels, count = ndimage.label(possible, np.ones((3, 3)))
    if not count:
        return np.zeros(possible.shape, bool)
    area = np.bincount(labels.reshape(-1), minlength=count + 1) * step**2
    extent = [max(part.stop - part.start for part in box) * step for box in ndimage.find_objects(labels)]
    large = (area >= smallest) | (np.array([0.0, *extent]) >= LENGTH)
    large &= np.bincount(labels[sure], minlength=count + 1) > 0
    large[0] = False
    return large[labels]


def _rising(value: np.ndarray, limit: float) -> np.ndarray:
    return fields.ramp(value, (limit, RISE * limit))


def _median(value: np.ndarray, chosen: np.ndarray) -> float:
    """The median of `value` where `chosen`; 0 where nothing is."""
    return float(np.median(value[chosen])) if chosen.any() else 0.0
