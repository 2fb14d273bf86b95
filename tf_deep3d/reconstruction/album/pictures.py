"""The picture of an album: the fused face from three sides, and how much each photo counts in which coefficient."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_deep3d import face as faces
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.face.lighting import HARMONICS
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.mesh.mesh import to_uint8
from tf_deep3d.rendering import clay, still
from tf_deep3d.rendering.antialiasing import SUPERSAMPLING, averaged
from tf_deep3d.rendering.pictures import INK, PAPER
from tf_deep3d.texture import fields

ROWS = 60  # photos at most; of more, evenly spread by how much they count
ROW, PICTURE, CELL = 72, 64, 6  # px: height of a row, side of a photo, width of a coefficient's cell
TURNS = (-45.0, 0.0, 45.0)  # degrees of yaw of the fused face
PORTRAIT = 300  # px
LESS, EQUAL, MORE = (59, 76, 192), (232, 232, 228), (180, 4, 38)  # a share of a quarter, equal, four times as much
STRANGE = (200, 30, 30)  # frame and text of other people

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Row(NamedTuple):
    """One photo.

    Attributes:
      picture: [S, S, 3] uint8, its face.
      name: of the photo.
      shares: [K], shares in the fused coefficients over the equal share 1 / P; None for a photo that does not count.
      trust: mean confidence in [0, 1], None without confidences.
      note: text; red for a photo that does not count.
    """

    picture: np.ndarray
    name: str
    shares: np.ndarray | None
    trust: float | None
    note: str = ""


def confidence_picture(
    title: str, lines: Sequence[str], portraits: Sequence[np.ndarray], rows: Sequence[Row]
) -> np.ndarray:
    """The fused face, and a row for each photo with a heat map of its shares.

    Args:
      title: of the picture.
      lines: text below it.
      portraits: pictures of the fused face, of one height.
      rows: list of `Row`.

    Returns:
      [H, W, 3] uint8.
    """
    rows, hidden = _chosen(rows), max(0, len(rows) - ROWS)
    modes = max((len(row.shares) for row in rows if row.shares is not None), default=1)
    left, names = 12 + PICTURE + 12, 190
    heat, bars = left + names, left + names + modes * CELL + 14
    width = max(bars + 250, 24 + sum(picture.shape[1] + 6 for picture in portraits))
    top = 44 + 22 * len(lines) + portraits[0].shape[0] + 18
    height = top + 26 + ROW * len(rows) + 60
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    large, font, small = (ImageFont.load_default(size) for size in (22, 15, 12))
    draw.text((12, 10), title, INK, large)
    for number, line in enumerate(lines):
        draw.text((12, 42 + 22 * number), line, INK, font)
    x = 12
    for picture in portraits:
        canvas.paste(Image.fromarray(picture), (x, top - picture.shape[0] - 12))
        x += picture.shape[1] + 6
    for x, text in ((heat, f"identity coefficients 1 to {modes}, share of each photo"), (bars, "mean confidence")):
        draw.text((x, top), text, INK, small)
    for number, row in enumerate(rows):
        y = top + 22 + ROW * number
        _draw_row(canvas, draw, row, y, (left, heat, bars), (font, small))
    _draw_legend(canvas, draw, heat, top + 32 + ROW * len(rows), small)
    if hidden:
        text = f"{len(rows)} of {len(rows) + hidden} photos, evenly spread by mean confidence"
        draw.text((12, height - 24), text, INK, font)
    return np.asarray(canvas)


def turned_views(
    model: MorphableModel, identity: np.ndarray, image: np.ndarray, size: int = PORTRAIT
) -> list[np.ndarray]:
    """The neutral face with its texture from the sides of `TURNS`, and from the front in clay.

    Args:
      model: `MorphableModel`.
      identity: [Ki].
      image: [S, S, 3] texture in [0, 1].
      size: px.

    Returns:
      List of [size, size, 3] uint8.
    """
    shape = faces.neutral_shape(model, np.asarray(identity, np.float32)[None])
    shape = shape - (shape.min(1, keepdims=True) + shape.max(1, keepdims=True)) / 2
    normals = geometry.vertex_normals(shape, model.triangles, model.vertex_corners)
    front = clay.picture(shape[0], model.triangles, normals[0], camera=Camera.for_size(size))
    return [*(_textured(model, shape, image, yaw, size) for yaw in TURNS), front]


def _textured(model: MorphableModel, shape: np.ndarray, image: np.ndarray, yaw: float, size: int) -> np.ndarray:
    """[size, size, 3] uint8 of a shape [1, V, 3] with a texture in a soft light."""
    camera = Camera.for_size(size * SUPERSAMPLING)
    angles = np.array([[0.0, np.radians(yaw), 0.0]], np.float32)
    vertices = faces.pose(shape, angles, np.zeros((1, 3), np.float32)).astype(np.float32)
    normals = geometry.vertex_normals(vertices, model.triangles, model.vertex_corners)
    pixels, depth = to_pixels(camera, vertices)
    fragments = still.rasterize(pixels[0], depth[0], model.triangles, camera.height, camera.width)
    light = np.zeros((1, 1, HARMONICS), np.float32)
    light[0, 0, :4] = [-0.15, -0.25, 0.3, 0.1]
    shade = lighting.irradiance(normals, light)
    shade = still.interpolate(fragments, shade[0], model.triangles)
    triangle = fragments.triangle
    seen = triangle >= 0
    corners = model.uv[model.uv_triangles[triangle[seen]]]
    uv = np.einsum("nk,nkc->nc", fragments.barycentrics[seen], corners)
    picture = np.ones((*triangle.shape, 3), np.float32)
    color = fields.bilinear(image, np.stack([uv[:, 0], 1.0 - uv[:, 1]], -1) * len(image))
    picture[seen] = np.clip(color * shade[seen], 0, 1)
    return to_uint8(averaged(picture))


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """At most `ROWS` rows, evenly spread over those in the order of their trust; the others' rows come last."""
    known = [row for row in rows if row.shares is not None]
    others = [row for row in rows if row.shares is None]
    if len(rows) <= ROWS:
        return known + others
    others = others[: max(ROWS // 4, ROWS - len(known))]
    order = np.argsort([-(row.trust or 0.0) for row in known], kind="stable")
    return [known[i] for i in order[np.linspace(0, len(known) - 1, ROWS - len(others)).round().astype(int)]] + others


def _draw_row(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    row: Row,
    y: int,
    columns: tuple[int, int, int],
    fonts: tuple[Font, Font],
) -> None:
    left, heat, bars = columns
    font, small = fonts
    picture = Image.fromarray(row.picture).resize((PICTURE, PICTURE), Image.Resampling.LANCZOS)
    canvas.paste(picture, (12, y))
    name = row.name
    while draw.textlength(name, font) > heat - left - 12:
        name = name[:-1]
    draw.text((left, y + 12), name, INK, font)
    draw.text((left, y + 34), row.note, STRANGE if row.shares is None else INK, small)
    if row.shares is None:
        draw.rectangle((10, y - 2, 13 + PICTURE, y + 1 + PICTURE), outline=STRANGE, width=3)
        return
    cells = np.repeat(np.repeat(_colors(row.shares)[None], PICTURE - 8, 0), CELL, 1)
    canvas.paste(Image.fromarray(cells), (heat, y + 4))
    if row.trust is None:
        draw.text((bars, y + 24), "every photo counts the same", INK, small)
        return
    draw.rectangle((bars, y + 22, bars + 160, y + 42), outline=EQUAL, fill=EQUAL)
    draw.rectangle((bars, y + 22, bars + 160 * row.trust, y + 42), fill=(60, 130, 90))
    draw.text((bars + 168, y + 24), f"{row.trust:.3f}", INK, font)


def _draw_legend(canvas: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int, font: Font) -> None:
    steps = np.linspace(-2, 2, 161)
    bar = np.repeat(_colors(2.0**steps)[None], 12, 0)
    canvas.paste(Image.fromarray(bar), (x, y))
    for place, text in ((0, "a quarter"), (80, "equal share"), (160, "4 times")):
        draw.text((x + place, y + 22), text, INK, font, anchor="mm")


def _colors(shares: np.ndarray) -> np.ndarray:
    """[n, 3] uint8 of shares over the equal share."""
    level = np.clip(np.log2(np.maximum(shares, 1e-3)) / 2, -1, 1)[:, None]
    ends = np.where(level < 0, LESS, MORE)
    return (np.array(EQUAL) + np.abs(level) * (ends - np.array(EQUAL))).round().astype(np.uint8)
