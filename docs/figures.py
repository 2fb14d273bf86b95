"""Draws the figures of the documentation, of a person of the open face model: axes, pixels, pose and the jaw's points.

    python docs/figures.py          writes docs/pages/figures/*.webp

The pictures are kept with the pages, so that building the site needs no model. A test compares them with the code.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_deep3d import face as faces
from tf_deep3d.face import geometry, head, morphable_model
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.rendering import clay

PLACE = Path(__file__).parent / "pages" / "figures"
SIZE = 300  # px, side of a picture
PERSON, COMPLEXION = 4, 7  # seed of the identity; one of the head's complexions
TURN = 25.0  # degrees
AXES = {"x": "#c1121f", "y": "#2a7f2e", "z": "#1d4ed8"}
JAWS = {"jaw of ibug68": "#c1121f", "jaw17": "#1d4ed8"}  # the two kinds of points


class Model:
    """The person, ready to be turned."""

    def __init__(self) -> None:
        self.face = morphable_model.load(level=head.LEVEL)
        self.head = head.load(self.face)
        whole = self.head.whole
        shapes = self.face.layout().shapes
        self.identity = np.random.default_rng(PERSON).normal(0, 0.7, (1, *shapes.identity)).astype(np.float32)
        self.shape = head.unposed_shape(self.head, self.identity, np.zeros((1, *shapes.expression), np.float32))
        tones = np.tensordot(self.head.complexions[COMPLEXION], whole.albedo_basis, 1)
        self.albedo = np.clip(whole.mean_albedo + tones, 0, 1)

    def picture(self, degrees: tuple[float, float, float], camera: Camera) -> Image.Image:
        """The head at pitch, yaw, roll in degrees."""
        whole, rotation = self.head.whole, geometry.rotation_matrix(np.radians([degrees]))[0]
        vertices = self.shape @ rotation.T
        normals = geometry.normalize(geometry.vertex_normals(vertices, whole.triangles, whole.vertex_corners))
        return Image.fromarray(clay.picture(vertices[0], whole.triangles, normals[0], self.albedo * 1.2, camera))

    def jaws(self, yaw: float, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """The jaw's points [17, 2] in px at a yaw in degrees, as in `JAWS`."""
        coefficients = self.face.layout().zeros(1)._replace(identity=self.identity)
        coefficients.angles[0, 1] = np.radians(yaw)
        face = faces.reconstruct(self.face, coefficients, camera)
        edge = faces.at_landmarks(self.face.landmarks["jaw17"], face.vertices)
        return face.landmarks[0, :17], to_pixels(camera, edge)[0][0]


def _camera(size: int) -> Camera:
    """That of `clay.frontal`, wide enough for a head and its neck."""
    return Camera(size, size, 3.4 * size, (size / 2, size / 2), 12.0)


def axes(model: Model) -> Image.Image:
    """The world's axes on a turned head, and the pixels of a picture."""
    camera = _camera(2 * SIZE)
    sheet = Image.new("RGB", (4 * SIZE, 2 * SIZE), "white")
    degrees = (12.0, -35.0, 0.0)
    sheet.paste(model.picture(degrees, camera))
    draw = ImageDraw.Draw(sheet)
    tips = 1.15 * geometry.rotation_matrix(np.radians([degrees]))[0].T  # rows: where x, y, z go
    start, *ends = to_pixels(camera, np.concatenate([np.zeros((1, 3)), tips])[None])[0][0]
    for (name, color), end in zip(AXES.items(), ends, strict=True):
        _arrow(draw, start, end, color)
        _text(draw, end + 0.09 * (end - start), name, color, 28)
    _text(draw, (SIZE, 2 * SIZE - 16), "the world: x right, y up, z out of the face", "black", 20)
    _text(draw, (3 * SIZE, 2 * SIZE - 16), "pixels: (0, 0) is the corner, centres are at .5", "black", 20)
    _pixels(draw, np.array([2 * SIZE + 150, 110]), 85)
    return sheet


def _pixels(draw: ImageDraw.ImageDraw, corner: np.ndarray, side: int) -> None:
    """Four by four pixels of `side` px from `corner` on."""
    for row in range(4):
        for column in range(4):
            place = corner + side * np.array([column, row])
            shade = "#eee" if (row + column) % 2 else "#d8d8d8"
            draw.rectangle([*place, *(place + side)], fill=shade, outline="#999")
            centre = place + side / 2
            draw.ellipse([*(centre - 3), *(centre + 3)], fill="black")
            if row < 2 and column < 2:
                _text(draw, centre + np.array([0, 18]), f"({column}.5, {row}.5)", "black", 15)
    _arrow(draw, corner, corner + np.array([4.6 * side, 0]), AXES["x"])
    _arrow(draw, corner, corner + np.array([0, 4.6 * side]), AXES["y"])
    _text(draw, corner + np.array([4.3 * side, -20]), "x, px", AXES["x"], 22)
    _text(draw, corner + np.array([-40, 4.4 * side]), "y, px", AXES["y"], 22)
    _text(draw, corner + np.array([-30, -18]), "(0, 0)", "black", 20)


def pose(model: Model) -> Image.Image:
    """Pitch, yaw and roll, negative and positive."""
    camera = _camera(SIZE)
    sheet = Image.new("RGB", (3 * SIZE, 2 * (SIZE + 34)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(("pitch", "yaw", "roll")):
        for row, sign in enumerate((1, -1)):
            degrees = [0.0, 0.0, 0.0]
            degrees[column] = sign * TURN
            place = (column * SIZE, row * (SIZE + 34) + 34)
            sheet.paste(model.picture((degrees[0], degrees[1], degrees[2]), camera), place)
            _text(draw, (place[0] + SIZE / 2, place[1] - 16), f"{name} {sign * TURN:+.0f}°", "black", 22)
    return sheet


def jaw(model: Model) -> Image.Image:
    """The two kinds of points of a jaw, from the front and from the side."""
    camera = Camera.for_size(SIZE * 3 // 2)
    sheet = Image.new("RGB", (3 * SIZE, camera.height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, yaw in enumerate((0.0, 40.0)):
        sheet.paste(model.picture((0.0, yaw, 0.0), camera), (column * camera.width, 0))
        for points, color in zip(model.jaws(yaw, camera), JAWS.values(), strict=True):
            for point in points + np.array([column * camera.width, 0]):
                draw.ellipse([*(point - 4), *(point + 4)], fill=color, outline="white")
    for row, (name, color) in enumerate(JAWS.items()):
        _text(draw, (80, camera.height - 50 + 26 * row), name, color, 20)
    return sheet


def _arrow(draw: ImageDraw.ImageDraw, start: np.ndarray, end: np.ndarray, color: str) -> None:
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]])
    draw.line([*start, *(end - 12 * along)], fill=color, width=5)
    draw.polygon([*end, *(end - 18 * along + 8 * across), *(end - 18 * along - 8 * across)], fill=color)


def _text(draw: ImageDraw.ImageDraw, place: np.ndarray | tuple[float, float], text: str, color: str, size: int) -> None:
    x, y = place
    draw.text((float(x), float(y)), text, fill=color, font=ImageFont.load_default(size), anchor="mm")


def main() -> None:
    """Writes all figures."""
    model = Model()
    PLACE.mkdir(exist_ok=True)
    for draw in (axes, pose, jaw):
        draw(model).save(PLACE / f"{draw.__name__}.webp", quality=85, method=6)


if __name__ == "__main__":
    main()
