"""Pictures for people: a strip that shows a reconstruction beside its photo, the face put back into the whole photo,
and sheets of pictures with captions. All pictures are uint8 RGB."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_deep3d.arrays import Array
from tf_deep3d.face import Face
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.rendering import clay
from tf_deep3d.rendering.antialiasing import antialiased

PANELS = ("photo", "overlay", "shape", "albedo", "normals", "depth")
LARGEST_RENDERING = 1536  # px; the face in a larger photo is rendered at this size and enlarged
DETECTED, MODELLED = (0, 200, 60), (230, 40, 40)  # colours of landmark dots
INK, PAPER = (30, 30, 30), (255, 255, 255)


def overlay_strip(
    photo: np.ndarray,
    face: Face,
    triangles: np.ndarray,
    scale: float = 2,
    detected: np.ndarray | None = None,
    captions: bool = True,
) -> np.ndarray:
    """The panels of `panels` side by side.

    Args:
      photo, face, triangles, scale, detected: as in `panels`.
      captions: write the panels' names below them.

    Returns:
      [H, W, 3] uint8.
    """
    pictures = panels(photo, face, triangles, scale, detected)
    return contact_sheet(list(pictures.values()), len(pictures), list(pictures) if captions else None, gap=0)


def panels(
    photo: np.ndarray, face: Face, triangles: np.ndarray, scale: float = 2, detected: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Photo, overlay, grey shape, albedo, normals and depth (near is bright) of a face in its aligned crop.

    Args:
      photo: [S, S, 3] RGB crop, uint8 or float in [0, 1].
      face: `Face` in the camera of the crop; its first face is shown.
      triangles: [T, 3] int32.
      scale: size of a panel over that of the crop.
      detected: [L, 2], landmarks found in the crop, px; drawn green over the overlay, the model's own red.

    Returns:
      Dict of name -> [S * scale, S * scale, 3] uint8, names in `PANELS`.

    Raises:
      ValueError: for a photo of the wrong shape.
    """
    photo = _rgb("photo", photo)
    width, height = (round(n * scale) for n in photo.shape[1::-1])
    photo = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC))
    pixels = _first(face.pixels) * scale
    layers, coverage = _layers(face, pixels, triangles, (width, height))
    overlay = to_uint8(layers["colors"] + (1.0 - coverage) * (photo / np.float32(255)))
    if detected is not None:
        dots = ((detected, DETECTED), (_first(face.landmarks), MODELLED))
        overlay = draw_points(overlay, [(np.asarray(points) * scale, color) for points, color in dots], 1.0 * scale)
    white = np.repeat(1.0 - coverage, 3, axis=-1)
    shown = {name: to_uint8(layers[name] + white) for name in ("shape", "albedo", "normals", "depth")}
    return {"photo": photo, "overlay": overlay, **shown}


def overlay_photo(
    photo: np.ndarray, face: Face, triangles: np.ndarray, transform: Similarity, opacity: float = 1.0
) -> np.ndarray:
    """Puts the face over the whole photo it was cut from.

    Args:
      photo: [H, W, 3] RGB, uint8 or float in [0, 1].
      face: `Face` in the camera of the crop; its first face is shown.
      triangles: [T, 3] int32.
      transform: `Similarity` from photo px to crop px.
      opacity: of the face, in [0, 1].

    Returns:
      [H, W, 3] uint8; a face outside the photo leaves it as it is.
    """
    photo = _rgb("photo", photo)
    pixels = transform.inverse().apply(_first(face.pixels))
    low = np.clip(np.floor(pixels.min(axis=0)), 0, photo.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)), 0, photo.shape[1::-1]).astype(int)
    if (high <= low).any():
        return photo
    factor = min(1.0, LARGEST_RENDERING / (high - low).max())
    width, height = (max(1, round(n * factor)) for n in (high - low))
    places = (pixels - low) * (np.array([width, height]) / (high - low))
    layers, coverage = _layers(face, places, triangles, (width, height), ("colors",))
    part = np.concatenate([np.clip(layers["colors"], 0.0, 1.0), coverage], axis=-1)
    part = np.stack([_resize(part[..., i], *(high - low)) for i in range(4)], axis=-1)
    picture = photo.copy()
    window = picture[low[1] : high[1], low[0] : high[0]]
    window[:] = to_uint8(part[..., :3] * opacity + window / np.float32(255) * (1.0 - opacity * part[..., 3:]))
    return picture


def contact_sheet(
    pictures: Sequence[np.ndarray], columns: int = 4, captions: Sequence[str] | None = None, gap: int = 6
) -> np.ndarray:
    """Pictures in rows, each centred in a cell of the largest one's size.

    Args:
      pictures: list of [H, W, 3] RGB, uint8 or float in [0, 1].
      columns: pictures of a row.
      captions: text below each picture; what does not fit is cut.
      gap: px between the cells.

    Returns:
      [H, W, 3] uint8.

    Raises:
      ValueError: for no pictures, pictures of wrong shapes, or another number of captions.
    """
    pictures = [_rgb("a picture", picture) for picture in pictures]
    captions = [""] * len(pictures) if captions is None else [" ".join(str(text).split()) for text in captions]
    if not pictures or columns < 1 or len(captions) != len(pictures):
        received = f"{len(pictures)} pictures, {columns} columns, {len(captions)} captions"
        raise ValueError(f"A sheet needs pictures, columns and a caption for each picture. Received: {received}")
    columns = min(columns, len(pictures))
    height, width = np.max([picture.shape[:2] for picture in pictures], axis=0).tolist()
    letters = max(11, min(width // 16, 28))  # px
    font = ImageFont.load_default(letters)
    footer = round(letters * 1.5) if any(captions) else 0
    rows = -(-len(pictures) // columns)
    step_x, step_y = width + gap, height + footer + gap
    sheet = Image.new("RGB", (columns * step_x - gap, rows * step_y - gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % columns * step_x, i // columns * step_y
        sheet.paste(
            Image.fromarray(picture), (x + (width - picture.shape[1]) // 2, y + (height - picture.shape[0]) // 2)
        )
        while text and draw.textlength(text, font) > width:
            text = text[:-1]
        draw.text((x + width / 2, y + height + footer / 2), text, INK, font, anchor="mm")
    return np.asarray(sheet)


def draw_points(
    picture: np.ndarray, groups: Iterable[tuple[Array, tuple[int, int, int]]], radius: float = 1.5
) -> np.ndarray:
    """Draws dots of `radius` px on a copy of `picture` [H, W, 3]; `groups` are (points [L, 2] px, RGB) pairs."""
    fine = 4  # Pillow draws without antialiasing
    image = Image.fromarray(_rgb("picture", picture))
    mask_size = (image.width * fine, image.height * fine)
    for points, color in groups:
        mask = Image.new("L", mask_size)
        draw = ImageDraw.Draw(mask)
        for x, y in np.asarray(points, float) * fine:
            draw.ellipse((x - radius * fine, y - radius * fine, x + radius * fine, y + radius * fine), 255)
        image.paste(color, (0, 0), mask.resize(image.size, Image.Resampling.BOX))
    return np.asarray(image)


def _layers(
    face: Face,
    pixels: np.ndarray,
    triangles: np.ndarray,
    size: tuple[int, int],
    names: Sequence[str] = ("colors", "shape", "albedo", "normals", "depth"),
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Renderings of a size (width, height): name -> [H, W, 1 (shape, depth) or 3], multiplied by their coverage; and
    the coverage [H, W, 1]."""
    depth, normals = _first(face.depth), _first(face.normals)
    span = max(float(np.ptp(depth)), 1e-6)
    attributes = {
        "colors": _first(face.colors),
        "shape": clay.COLOR * clay.light(normals),
        "albedo": _first(face.albedo),
        "normals": normals * 0.5 + 0.5,
        "depth": (0.1 + 0.9 * (depth.max() - depth) / span)[:, None],
    }
    chosen = np.concatenate([attributes[name] for name in names], axis=1)
    values, coverage = antialiased(pixels, depth, triangles, chosen, size)
    ends = np.cumsum([attributes[name].shape[1] for name in names])[:-1]
    return dict(zip(names, np.split(values, ends, axis=-1), strict=True)), coverage


def _first(batch: Array) -> np.ndarray:
    """The first of a batch, as NumPy."""
    return np.asarray(batch)[0]


def _rgb(name: str, image: Array) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name} must be [H, W, 3] with at least one pixel. Received: {list(image.shape)}")
    return to_uint8(image)


def _resize(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    if plane.shape == (height, width):
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((int(width), int(height)), Image.Resampling.BILINEAR))
