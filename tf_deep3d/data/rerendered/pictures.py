"""Photos rendered anew: their own skin on another face, with exact coefficients (Guo et al. 2018).

A fitted face carries its photo as a texture, projected from where the photo saw it and pulled to the detected
landmarks. Posed anew it shows the same skin on another face, and what was around it follows (`surroundings`). The light
changes by the ratio of the new irradiance to the fitted one, within bounds. Lips that were closed open before the
head's own teeth and tongue.

Letters: S side of a record's picture, V vertices, T triangles, L dense landmarks, N pixels.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage, sparse
from scipy.spatial import KDTree

from tf_deep3d import face as faces
from tf_deep3d.data import records
from tf_deep3d.data.rendered.people import Head
from tf_deep3d.data.rendered.pictures import camera
from tf_deep3d.data.rerendered import people
from tf_deep3d.data.rerendered import surroundings as around
from tf_deep3d.data.rerendered.people import Repertoire
from tf_deep3d.data.rerendered.visibility import visible
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face import head as heads
from tf_deep3d.face.camera import to_pixels
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel

SIZE = records.RECORD_SIZE
REACH = 0.06  # dm, of a dense landmark on the skin
TRUST = 0.3  # weight of the landmarks' absence against their presence
BORDER = 0.25  # dm, within which the face's own light gives way to that of the whole picture
NECK = -1.0  # dm, height of the mean head under which its outline is not asked for
DARKEST = 0.1  # irradiance, below which a fitted light is not believed
RATIOS = (0.4, 2.5)  # of new to fitted light
TINT = 0.3  # share of the light's change of colour that is shown: a fit hardly tells it from the skin's
NEIGHBOURS = 24  # vertices of skin whose light is shared
CLOSED = 1.0  # px, up to which lips show nothing behind them
INSIDE = 0.6  # share of the light that reaches teeth and tongue
INSIDE_PARTS = ("throat", "tongue", "upper teeth", "lower teeth")
FINE = 2  # pixels of a texture on those of its record, so that linear samples of it stay sharp


class Source(NamedTuple):
    """A fitted photo.

    Attributes:
      texture: [F S, F S, 4] uint8, RGB and P(skin), F = `FINE`.
      beyond: [S, S] bool, where the photo had ended.
      dense: [L, 2], detected, px of the record.
      coefficients: fitted `Coefficients` without the batch dimension.
      mouth_open: whether it shows the inside of the mouth.
      view: `View` of the fitted face.
    """

    texture: np.ndarray
    beyond: np.ndarray
    dense: np.ndarray
    coefficients: Coefficients
    mouth_open: bool
    view: "View"


class View(NamedTuple):
    """What a photo says of each vertex.

    Attributes:
      place: [V, 2], px of the record.
      light: [V, 3], fitted irradiance.
      head: [S, S] bool, which pixels show the fitted head.
    """

    place: np.ndarray
    light: np.ndarray
    head: np.ndarray


class Posed(NamedTuple):
    """One posed and lit head: pixels [V, 2], depth [V] dm, light [V, 3], and dict of landmark set -> [L, 2] px."""

    pixels: np.ndarray
    depth: np.ndarray
    light: np.ndarray
    landmarks: dict[str, np.ndarray]


@dataclass(frozen=True)
class Actor:
    """The head that wears photos.

    Attributes:
      known: `Repertoire` of it.
      face: `Head` of the vertices that are drawn: the face's, then those of its mouth.
      kept: [V] int, their numbers in the whole head.
      skin: [T, 3], triangles of the face but its plug in the mouth.
      plug, inside: [T, 3], that plug; what is behind open lips.
      outline: [T, 3], triangles of the whole head that hide what is behind it.
      follow: [V, L], how vertices follow dense landmarks.
      middle: [V] in [0, 1], 0 at the border of the face.
      smooth: [V, V] sparse, means of the skin around each vertex: rims of lids and lips would glow in their own light.
    """

    known: Repertoire
    face: heads.Head
    kept: np.ndarray
    skin: np.ndarray
    plug: np.ndarray
    inside: np.ndarray
    outline: np.ndarray
    follow: np.ndarray
    middle: np.ndarray
    smooth: sparse.csr_array


def actor(model: MorphableModel, head: Head) -> Actor:
    """The `Actor` of a face model and the `Head` around it."""
    whole, parts, count = head.whole, head.anatomy.parts, head.face
    within = whole.triangles.max(1) < count
    own = {tuple(row) for row in whole.triangles[within].tolist()}
    plug = np.array([row for row in model.triangles.tolist() if tuple(row) not in own], np.int32).reshape(-1, 3)
    inside = whole.triangles[np.any([parts[name] for name in INSIDE_PARTS], axis=0)]
    bones = np.concatenate([bone.vertices for bone in head.anatomy.bones])
    kept = np.unique(np.concatenate([np.arange(count), inside.reshape(-1), bones]))
    place = np.full(len(whole.mean_shape), -1)
    place[kept] = np.arange(len(kept))
    skin = within & (parts["skin"] | parts["eyes"])
    high = whole.mean_shape[whole.triangles][..., 1].min(1) > NECK
    return Actor(
        known=people.repertoire(head),
        face=_cut(head.anatomy, kept, place),
        kept=kept,
        skin=place[whole.triangles[skin]],
        plug=place[plug],
        inside=place[inside],
        outline=whole.triangles[(parts["skin"] | parts["eyes"]) & high],
        follow=_follow(model, len(kept)),
        middle=_middle(model, len(kept)),
        smooth=_smooth(model, len(kept)),
    )


def _cut(head: heads.Head, kept: np.ndarray, place: np.ndarray) -> heads.Head:
    """`head` with the vertices `kept` alone, whose new numbers are `place` [V]."""
    whole = head.whole
    triangles = place[whole.triangles]
    triangles = triangles[triangles.min(1) >= 0].astype(np.int32)
    cut = replace(
        whole,
        mean_shape=whole.mean_shape[kept],
        identity_basis=np.ascontiguousarray(whole.identity_basis[:, kept]),
        expression_basis=np.ascontiguousarray(whole.expression_basis[:, kept]),
        mean_albedo=whole.mean_albedo[kept],
        triangles=triangles,
        vertex_corners=geometry.corners_around(triangles, len(kept)),
        regions={name: region[kept] for name, region in whole.regions.items()},
    )
    bones = tuple(replace(bone, vertices=place[bone.vertices], pivot=place[bone.pivot]) for bone in head.bones)
    return replace(head, whole=cut, bones=bones)


def _follow(model: MorphableModel, count: int) -> np.ndarray:
    """[`count`, L] weights by which a vertex moves with the dense landmarks near it, on a face whose lips are apart."""
    apart = model.mean_shape + model.blendshapes[model.blendshape_names.index("jawOpen")]
    points = faces.at_landmarks(model.landmarks["mediapipe478"], apart[None])[0]
    near = np.exp(-((apart[:, None] - points) ** 2).sum(-1) / (2 * REACH**2))
    weights = near / (near.sum(1, keepdims=True) + TRUST)
    return np.pad(weights, ((0, count - len(weights)), (0, 0))).astype(np.float32)


def _middle(model: MorphableModel, count: int) -> np.ndarray:
    """[`count`] in [0, 1]: 0 at the border of the face and beyond it, 1 from `BORDER` on."""
    edges = np.sort(model.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, times = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(edges[times == 1])
    border = border[~(model.regions["lids"] | model.regions["eyes"])[border]]
    distance = KDTree(model.mean_shape[border]).query(model.mean_shape)[0]
    share = np.clip(distance / BORDER, 0, 1)
    return np.pad(share * share * (3 - 2 * share), (0, count - len(share))).astype(np.float32)


def _smooth(model: MorphableModel, count: int) -> sparse.csr_array:
    """[`count`, `count`]: of each vertex of the face the mean of the `NEIGHBOURS` nearest of its skin."""
    skin = np.flatnonzero(model.regions["skin"])
    near = skin[KDTree(model.mean_shape[skin]).query(model.mean_shape, NEIGHBOURS)[1]]
    rows = np.repeat(np.arange(len(near)), NEIGHBOURS)
    values = np.full(near.size, np.float32(1 / NEIGHBOURS))
    return sparse.csr_array((values, (rows, near.reshape(-1))), (count, count))


def pose(head: heads.Head, person: Coefficients) -> Posed:
    """A `heads.Head` as the coefficients of one `person` say, in the camera of the records."""
    person = Coefficients(*(group[None] for group in person))
    whole = head.whole
    shape = heads.unposed_shape(head, person.identity, person.expression)
    vertices = faces.pose(shape, person.angles, person.translation)
    normals = geometry.vertex_normals(vertices, whole.triangles, whole.vertex_corners)
    pixels, depth = to_pixels(camera(), vertices)
    landmarks = {
        name: to_pixels(camera(), faces.at_landmarks(whole.landmarks[name], vertices))[0][0].astype(np.float32)
        for name in ("ibug68", "mediapipe478")
    }
    return Posed(pixels[0], depth[0], lighting.irradiance(normals, person.illumination)[0], landmarks)


def source_of(known: Actor, record: dict[str, Any]) -> Source:
    """The `Source` that a fitted record is: one of a photo whose coefficients were fitted."""
    layout = known.face.whole.layout()
    fitted = Coefficients(*(group[0] for group in layout.split(record["coefficients"][None])))
    image, skin = record["image"], record["skin"].reshape(SIZE, SIZE, 1)
    beyond = around.beyond(image)
    planes = np.moveaxis(around.continued(np.concatenate([image, skin], -1), beyond), -1, 0)
    size = (FINE * SIZE, FINE * SIZE)
    fine = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in planes]
    return Source(
        texture=np.stack(fine, -1),
        beyond=beyond,
        dense=record["dense"],
        coefficients=fitted,
        mouth_open=people.mouth_is_open(record["landmarks"]),
        view=_view(known, fitted, record["dense"]),
    )


def _view(known: Actor, fitted: Coefficients, dense: np.ndarray) -> View:
    whole = pose(known.known.head.anatomy, fitted)
    missing = dense - whole.landmarks["mediapipe478"]
    pull = known.follow @ np.where(np.isfinite(missing), missing, 0)
    pixels = whole.pixels.copy()
    pixels[known.kept] += pull
    mask = np.zeros(SIZE * SIZE, bool)
    mask[visible(pixels, whole.depth, known.outline, SIZE)[0]] = True
    return View(pixels[known.kept], whole.light[known.kept], mask.reshape(SIZE, SIZE))


def rerender(known: Actor, source: Source, person: Coefficients) -> dict[str, np.ndarray]:
    """A picture of `person` with the skin of a photo.

    Args:
      known: `Actor`.
      source: `Source`.
      person: `Coefficients` without the batch dimension; the albedo does not matter.

    Returns:
      Dict of image [S, S, 3] uint8, skin [S, S, 1] uint8, landmarks [68, 2] and dense [L, 2] px of the record.
    """
    posed = pose(known.face, person)
    opens = not source.mouth_open and people.lip_gap(posed.landmarks["ibug68"]) > CLOSED
    triangles = np.concatenate([known.skin, known.inside if opens else known.plug])
    place, owner, weights = visible(posed.pixels, posed.depth, triangles, SIZE)
    mouth = (owner >= len(known.skin)) & opens
    if mouth.any():  # a throat may reach out of a face
        inner = ndimage.binary_fill_holes(_spread(np.ones(len(place), bool)[~mouth], place[~mouth])).reshape(-1)[place]
        place, owner, weights, mouth = (part[inner] for part in (place, owner, weights, mouth))
    mask, corners = _spread(np.ones(len(place), bool), place), triangles[owner]
    change, exposure = _relight(known, source.view.light, posed.light)
    values = np.concatenate([source.view.place, change, known.middle[:, None]], 1).astype(np.float32)
    values = _blend(values, corners, weights)
    shown = sample(source.texture, values[:, :2])
    shown[:, :3] *= np.exp(values[:, 2:5])
    if mouth.any():
        lit = INSIDE * np.clip(known.face.whole.mean_albedo, 0, 1) * posed.light
        shown[mouth, :3] = _blend(lit, corners[mouth], weights[mouth])
        shown[mouth, 3] = 0
    moved = around.follow(_spread(values[:, :2], place), mask, _spread(values[:, 5], place), source.view.head)
    share = _cover(mask)
    outer = share[..., 0] < 1
    picture = np.zeros((SIZE, SIZE, 4), np.float32)
    picture[outer] = sample(source.texture, moved[outer])
    picture[..., :3] *= np.exp(exposure)
    picture = np.clip(share * _spread(shown, place) + (1 - share) * picture, 0, 1)
    picture[source.beyond] = 0
    levels = np.rint(255 * picture).astype(np.uint8)
    return {
        "image": levels[..., :3],
        "skin": levels[..., 3:],
        "landmarks": posed.landmarks["ibug68"],
        "dense": posed.landmarks["mediapipe478"],
    }


def _spread(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """`values` [N, ..] at the pixels `place` [N] of an empty picture [S, S, ..]."""
    picture = np.zeros((SIZE * SIZE, *values.shape[1:]), values.dtype)
    picture[place] = values
    return picture.reshape(SIZE, SIZE, *values.shape[1:])


def _blend(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertex `values` [V, C] at N points with `weights` [N, 3] of the vertices `corners` [N, 3]: [N, C]."""
    return np.sum([values.take(corners[:, i], axis=0) * weights[:, i : i + 1] for i in range(3)], axis=0)


def _relight(known: Actor, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of what the light is multiplied by: [V, 3] on the face, and around it [3]."""
    change = np.log(np.clip(np.maximum(after, DARKEST) / np.maximum(before, DARKEST), *RATIOS))
    grey = (change @ lighting.LUMINANCE)[:, None]
    change = known.smooth @ (grey + TINT * (change - grey))
    mean = np.average(change, axis=0, weights=known.middle)
    return mean + known.middle[:, None] * (change - mean), mean


def _cover(mask: np.ndarray) -> np.ndarray:
    """[S, S, 1]: the share of each pixel that the face covers, with soft edges inside `mask` [S, S]."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.8, truncate=3)
    return (mask * np.clip(2 * soft - 0.6, 0, 1))[..., None]


def sample(texture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear samples [N, 4] in [0, 1] of a `texture` [F S, F S, 4] uint8 at `places` [N, 2], px of the record."""
    limit, width = len(texture) - 1.001, len(texture)
    x, y = np.clip(FINE * places.T - 0.5, 0, limit).astype(np.float32)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = (x - left)[:, None], (y - top)[:, None]
    texels, corner = texture.view(np.uint32).reshape(-1), top * width + left
    a, b, c, d = (texels.take(corner + step).view(np.uint8).reshape(-1, 4) for step in (0, 1, width, width + 1))
    upper, lower = a * (1 - x) + b * x, c * (1 - x) + d * x
    return (upper * (1 - y) + lower * y) / np.float32(255)
