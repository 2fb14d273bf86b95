"""Pictures of random people with exact coefficients, as records (`records`).

People (`people`) stand before random backgrounds, as a camera might see them: in light that throws shadows and
highlights (`light`), with hair, beards and clothes (`dress`), some behind glasses or hands (`occluders`). The face
itself is exactly what its coefficients say, but for eyeballs that turn rigidly. Open lips show teeth and tongue.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from PIL import Image
from scipy.ndimage import gaussian_filter

from tf_deep3d import face as faces
from tf_deep3d.data import records
from tf_deep3d.data.rendered import light, occluders
from tf_deep3d.data.rendered.dress import Dress, dress
from tf_deep3d.data.rendered.light import Light, Surface
from tf_deep3d.data.rendered.people import Head, draw, generator, sample_one
from tf_deep3d.errors import InputError
from tf_deep3d.face import Face, geometry, lighting
from tf_deep3d.face import head as heads
from tf_deep3d.face.camera import FOCAL, Camera, to_pixels
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import photos
from tf_deep3d.rendering import pictures, renderer

SIZE = records.RECORD_SIZE
BATCH = 16  # pictures rendered at once
SMOOTHING = 0.5  # px, least blur of a picture, in place of antialiasing
COARSE, GREY = 0.3, 0.02  # shares of the photos with fewer pixels, and of black-and-white ones
SHEET = (8, 160)  # columns of a contact sheet, px of its pictures
OPENED = dict.fromkeys(["jawOpen", "eyeBlinkLeft", "eyeBlinkRight"], 0.6) | dict.fromkeys(
    ["mouthSmileLeft", "mouthSmileRight"], 0.4
)  # ARKit's units of a face that shows what a neutral one hides
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Settings:
    """Whom and what to render.

    Attributes:
      count: number of pictures.
      seed: of the random numbers; person n of a seed is the same for every count.
      photos_each: pictures of each person, side by side: the same identity, albedo and hair, everything else new.
      backgrounds: picture files, whose corners become backgrounds; without any all are smooth noise.
      validation: share of the people, the last ones, that go to the split "validation".
    """

    count: int
    seed: int = 0
    photos_each: int = 1
    backgrounds: tuple[Path, ...] = ()
    validation: float = 0.05

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.validation < 1:
            received = f"{self.count}, {self.validation}"
            raise InputError(f"count must be positive and validation in [0, 1). Received: {received}")
        if self.photos_each < 1 or self.count % self.photos_each:
            received = f"{self.count}, {self.photos_each}"
            raise InputError(f"count must be a multiple of the photos of each person. Received: {received}")
        if self.held_out == self.count:
            received = f"{self.validation} of {self.count} pictures"
            raise InputError(f"validation must leave somebody to train with. Received: {received}")

    @property
    def held_out(self) -> int:
        """Number of pictures of the split "validation"."""
        return round(self.count * self.validation / self.photos_each) * self.photos_each


def render_people(
    settings: Settings, model: MorphableModel, head: Head, count: int, start: int = 0, batch: int = BATCH
) -> Iterator[dict[str, Any]]:
    """Renders random people.

    Args:
      settings: `Settings`, of which the count and the validation do not matter.
      model: `MorphableModel` of the face.
      head: `Head` around it.
      count: number of pictures.
      start: number of the first.
      batch: pictures rendered at once; the pictures are the same for every number.

    Yields:
      Records, dicts of the fields of `records.SCHEMA`: `transform` is the identity, `coefficients` in the order of
      `Layout.join` with coloured light, `skin` 255 where only the skin region of the face is seen.
    """
    seed, whole, layout = settings.seed, head.whole, model.layout()
    surface = head_surface(head)
    skin = renderer.triangles_within(whole.regions["skin"], whole.triangles)
    triangles, marked = ops.convert_to_tensor(whole.triangles), ops.convert_to_tensor(skin)
    for first in range(start, start + count, batch):
        numbers = range(first, min(first + batch, start + count))
        owners = [n - n % settings.photos_each for n in numbers]  # the number of the person's first picture
        people = [_draw(model, head, seed, n, owner) for n, owner in zip(numbers, owners, strict=True)]
        dresses = [dress(head, generator(seed, owner, 1)) for owner in owners]
        posed = [pose_head(head, one, worn, surface, lit) for (one, lit), worn in zip(people, dresses, strict=True)]
        batched = Face(*(np.concatenate(column) for column in zip(*posed, strict=True)))
        rendering = renderer.render(batched, triangles, camera(), marked)
        bare = rendering.image[..., 3:] * rendering.inner_face
        layers = np.array(ops.concatenate([rendering.image[..., :3], rendering.coverage, bare], -1))
        for n, (person, _), worn, face, pixels in zip(numbers, people, dresses, posed, layers, strict=True):
            occluders.draw(pixels, _pose(head, person, worn, face), generator(seed, n, 3))
            image, mask = photograph(pixels, settings.backgrounds, generator(seed, n, 2))
            yield {
                "image": image,
                "skin": mask,
                "landmarks": _projected(whole, "ibug68", face.vertices),
                "dense": _projected(whole, "mediapipe478", face.vertices),
                "person": f"rendered-{seed}-{n - n % settings.photos_each}",
                "source": f"rendered-{seed}-{n}",
                "transform": np.array([1, 0, 0, 0], np.float32),
                "coefficients": layout.join(_batched(person))[0],
            }


def _draw(model: MorphableModel, head: Head, seed: int, number: int, owner: int) -> tuple[Coefficients, Light]:
    """Picture `number` of the person whose first picture is `owner`, see `people.draw`."""
    person = None if number == owner else sample_one(model, head, generator(seed, owner))
    return draw(model, head, generator(seed, number), person=person)


def _pose(head: Head, person: Coefficients, worn: Dress, face: Face) -> occluders.Pose:
    points = faces.at_landmarks(head.whole.landmarks["ibug68"], face.vertices)[0]
    skin = face.colors[0, head.whole.regions["skin"], :3].mean(0)
    return occluders.Pose(points, geometry.rotation_matrix(person.angles[None])[0], camera(), skin, worn.hair)


def camera() -> Camera:
    """The `Camera` of a record's picture: that of the 224 px photo with a margin."""
    return Camera(SIZE, SIZE, FOCAL, (SIZE / 2, SIZE / 2))


_surfaces: dict[bytes, Surface] = {}


def head_surface(head: Head) -> Surface:
    """How the mean head takes light, eyes and mouth open or closed; seen once for each head, in some seconds."""
    whole = head.whole
    key = hashlib.sha256(whole.mean_shape.tobytes()).digest()
    if key not in _surfaces:
        weights = np.zeros((2, len(whole.blendshapes)), np.float32)
        for name, weight in OPENED.items():
            weights[1, list(whole.blendshape_names).index(name)] = weight
        nobody = np.zeros((2, len(whole.identity_basis)), np.float32)
        _surfaces[key] = light.see(heads.with_units(head.anatomy, nobody, weights), whole.triangles)
    return _surfaces[key]


def pose_head(
    head: Head, person: Coefficients, worn: Dress, surface: Surface, lit: Light, shape: np.ndarray | None = None
) -> Face:
    """The posed and lit head [1, V, ...] of one person: `Face` in the record's camera. Its colours have a fourth
    channel, the share of each place that nothing covers.

    Args:
      head: `Head`.
      person: `Coefficients` without the batch dimension.
      worn: `Dress`.
      surface: `head_surface` of the head.
      lit: `Light`.
      shape: [1, V, 3] dm, unposed, of the head without its dress, by default that of the coefficients.
    """
    person, rest = _batched(person), head.face
    bare = heads.unposed_shape(head.anatomy, person.identity, person.expression) if shape is None else shape
    dressed = np.concatenate([bare[:, :rest], bare[:, rest:] + worn.bulge], 1)
    face = faces.reconstruct(head.whole, person, camera(), shape=dressed)
    shown = face.albedo[0] + worn.cover * (worn.paint - face.albedo[0])
    rotation = geometry.rotation_matrix(person.angles)[0]
    colors = light.shade(lit, surface, shown, face.normals[0], rotation, worn.gloss, worn.sharpness)
    return face._replace(colors=np.concatenate([np.clip(colors, 0, 1), 1 - worn.cover], 1)[None])


def photograph(
    layers: np.ndarray, backgrounds: tuple[Path, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a rendered head before a background and takes a photo of it.

    Args:
      layers: [S, S, 5]: colour times coverage, coverage, share of the skin region, all in [0, 1].
      backgrounds: picture files.
      rng: random generator.

    Returns:
      (image [S, S, 3] uint8 RGB; skin [S, S, 1] uint8).
    """
    size = len(layers)
    image = np.clip(layers[..., :3], 0, 1) + (1 - layers[..., 3:4]) * background(size, backgrounds, rng)
    skin = np.rint(255 * layers[..., 4:5]).astype(np.uint8)
    sigma = SMOOTHING
    if rng.uniform() < 0.6:
        sigma = rng.uniform(SMOOTHING, 1.3) if rng.uniform() < 0.85 else rng.uniform(1.3, 2.2)
    image = gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), truncate=2.5)
    image = _develop(image, rng)
    if rng.uniform() < COARSE:
        image = _coarsen(image, rng.uniform(1.2, 4))
    strength = np.float32(rng.uniform(0, 0.025) if rng.uniform() < 0.8 else 0)
    grain = rng.standard_normal((size, size, 3), np.float32)
    image += strength * np.float32(0.7) * (grain + grain[..., :1])
    if rng.uniform() < 0.12:  # the photo ends within the margin
        cut = int(rng.integers(1, records.MARGIN))
        side = [np.s_[:cut], np.s_[-cut:], np.s_[:, :cut], np.s_[:, -cut:]][rng.integers(0, 4)]
        image[side], skin[side] = 0, 0
    image = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(rng.integers(40, 97)))
    return np.asarray(Image.open(stream).convert("RGB")), skin


def _develop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of light: a tone curve, saturation, corners that fall off."""
    curve = np.exp(rng.normal(0, 0.1))
    image = np.clip(image, 0, 1) ** np.float32(curve)
    grey = image @ lighting.LUMINANCE.astype(np.float32)
    image = grey[..., None] + np.float32(np.clip(rng.normal(1, 0.12), 0.5, 1.5)) * (image - grey[..., None])
    across = np.linspace(-1, 1, len(image), dtype=np.float32) ** 2
    image *= 1 - np.float32(rng.uniform(0, 0.25) ** 2) * (across[:, None] + across)[..., None]
    if rng.uniform() < GREY:
        image = np.repeat(grey[..., None], 3, 2)
    return np.clip(image, 0, 1)


def _coarsen(image: np.ndarray, factor: float) -> np.ndarray:
    """A picture that had fewer pixels by `factor`, enlarged."""
    size = len(image)
    small = Image.fromarray(np.rint(255 * image).astype(np.uint8))
    small = small.resize((round(size / factor), round(size / factor)), Image.Resampling.BOX)
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255


def background(size: int, backgrounds: tuple[Path, ...], rng: np.random.Generator) -> np.ndarray:
    """A background [size, size, 3] float32 in [0, 1]: a photo's corner, or smooth noise in a few colours."""
    if backgrounds and rng.uniform() < 0.75:
        photo = photos.read_photo(backgrounds[rng.integers(0, len(backgrounds))])
        side = int(rng.uniform(0.25, 0.45) * min(photo.shape[:2]))  # a corner: people stand in the middle
        top, left = (int((n - side) * rng.integers(0, 2)) for n in photo.shape[:2])
        region = Image.fromarray(photo[top : top + side, left : left + side])
        return np.asarray(region.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    result = np.full((size, size, 3), rng.uniform(0.02, 0.95) * rng.uniform(0.6, 1, 3))
    for cells in (2, 4, 9, 24):
        strength = rng.uniform(0, 0.35) * (rng.uniform() < 0.7) / np.sqrt(cells / 2)
        grey, color = rng.normal(0, 1, (cells, cells, 1)), rng.normal(0, 0.35, (cells, cells, 3))
        noise = ((grey + color) * strength).astype(np.float32)
        planes = [Image.fromarray(noise[..., i]).resize((size, size), Image.Resampling.BICUBIC) for i in range(3)]
        result = result + np.stack([np.asarray(plane) for plane in planes], -1)
    return np.clip(result, 0, 1).astype(np.float32)


def contact_sheet(made: Iterable[dict[str, Any]]) -> np.ndarray:
    """A sheet of the pictures of records with their landmarks: [H, W, 3] uint8."""
    columns, side = SHEET
    shown = []
    for record in made:
        picture = np.asarray(Image.fromarray(record["image"]).resize((side, side), Image.Resampling.BICUBIC))
        points = record["landmarks"] * side / SIZE
        shown += [picture, pictures.draw_points(picture, [(points, pictures.MODELLED)], 0.8)]
    return pictures.contact_sheet(shown, columns)


def find_pictures(folder: Path | None) -> tuple[Path, ...]:
    """Picture files of a folder and its subfolders, sorted; none for no folder.

    Raises:
      InputError: for a folder without pictures.
    """
    if folder is None:
        return ()
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise InputError(f"backgrounds must be a folder with pictures. Received: {folder}")
    return tuple(found)


def _batched(person: Coefficients) -> Coefficients:
    return Coefficients(*(group[None] for group in person))


def _projected(model: MorphableModel, name: str, vertices: np.ndarray) -> np.ndarray:
    """Landmarks [L, 2] px of the record."""
    points = faces.at_landmarks(model.landmarks[name], vertices)
    return to_pixels(camera(), points)[0][0].astype(np.float32)
