"""Finds and reads photos. What is read is untrusted: it is judged by its content, within limits, never by its name."""

import glob
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from tf_deep3d.errors import InputError

MAX_PIXELS = 80_000_000  # refused before decoding; below the size from which Pillow itself warns of a bomb
MAX_BYTES = 512 * 2**20
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif", ".mpo")
# Only decoders that read pixels: Pillow's full list holds formats that run other programs.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
_ORIENTATION_TAG = 0x0112
# EXIF orientation -> (transposed, columns reversed, rows reversed), applied in this order.
_ORIENTATIONS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


class PhotoError(InputError):
    """The bytes are no photo that can be read; the message says what was received."""


def read_photo(source):
    """Reads one photo.

    Greyscale, palette, CMYK, 16-bit and animated pictures (first frame) are accepted. EXIF orientation is applied.
    Transparent pixels are shown on white. Colour profiles are ignored: values are taken as sRGB.

    Args:
      source: path of a file, or its bytes.

    Returns:
      [H, W, 3] uint8 RGB, rows from the top of the upright photo.

    Raises:
      OSError: the file cannot be opened.
      PhotoError: empty, too large (`MAX_BYTES`, `MAX_PIXELS`), truncated, or no picture of a known format.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        name = "bytes in memory"
    else:
        name = repr(os.fspath(source))
        if Path(source).exists() and not Path(source).is_file():
            raise PhotoError(f"a photo must be a regular file. Received: {name}")
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if not data:
        raise PhotoError(f"the photo is empty. Received: {name}, 0 bytes")
    if len(data) > MAX_BYTES:
        raise PhotoError(f"a photo may have {MAX_BYTES} bytes at most. Received: {name}, which is larger")
    try:
        Image.init()
        formats = [known for known in _FORMATS if known in Image.OPEN]  # what this Pillow was built with
        with Image.open(io.BytesIO(data), formats=formats) as image:
            _check_size(image, name)
            image.load()
            _check_size(image, name)
            orientation = _orientation(image)  # after loading: the TIFF reader turns the picture and clears the tag
            pixels = _to_rgb(image, name)
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"a photo may have {MAX_PIXELS} pixels at most. Received: {name}: {error}") from error
    except Image.UnidentifiedImageError as error:
        start = data[:8].hex(" ")
        raise PhotoError(
            f"not a picture of a known format ({', '.join(_FORMATS)}). "
            f"Received: {name}, {len(data)} bytes beginning with {start}"
        ) from error
    except Exception as error:  # a decoder may fail in any way on hostile bytes
        raise PhotoError(
            f"the picture is damaged, truncated or of an unsupported kind. "
            f"Received: {name}, {len(data)} bytes: {type(error).__name__}: {error}"
        ) from error
    return _orient(pixels, orientation)


def find_photos(paths):
    """Lists the photos that paths, patterns and directories name.

    Args:
      paths: one path or several: a file (of any name); a directory, which stands for its own files with one of
        `SUFFIXES`, by name, hidden ones left out; or a glob pattern (`**` for folders at any depth), for the files
        it matches, by name. A path that exists is never taken for a pattern.

    Returns:
      list of `Path`, in the order given; a file named twice is listed once.

    Raises:
      FileNotFoundError: a path does not exist, a pattern matches no file, a directory holds no photo, or no path
        was given.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found = {}
    for path in map(Path, paths):
        for photo in _expand(path):
            found.setdefault(photo.resolve(), photo)
    if not found:
        raise FileNotFoundError("at least one photo is needed. Received: none")
    return list(found.values())


def _expand(path):
    if path.is_dir():
        photos = sorted(
            entry
            for entry in path.iterdir()
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        )
        if not photos:
            known = " ".join(SUFFIXES)
            raise FileNotFoundError(f"the directory holds no file ending in {known}. Received: {str(path)!r}")
        return photos
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        photos = sorted(match for match in map(Path, glob.glob(str(path), recursive=True)) if match.is_file())
        if photos:
            return photos
        raise FileNotFoundError(f"the pattern matches no file. Received: {str(path)!r}")
    raise FileNotFoundError(f"there is no such photo. Received: {str(path)!r}")


def _check_size(image, name):
    width, height = image.size
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise PhotoError(f"a photo may have 1 to {MAX_PIXELS} pixels. Received: {name}, {width} x {height} pixels")


def _orientation(image):
    """EXIF orientation 1..8; 1 where there is none, or the EXIF block cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata do not spoil the pixels
        return 1
    return value if value in _ORIENTATIONS else 1


def _to_rgb(image, name):
    """[H, W, 3] uint8 of a loaded Pillow image of any mode."""
    if image.mode.startswith("I"):  # 16 bits, also where Pillow widens them to 32
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise PhotoError(f"a grey photo may have 16 bits at most. Received: {name}, levels up to {levels.max()}")
        grey = np.round(levels / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise PhotoError(f"floating-point pictures have no fixed range. Received: {name}, mode F")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return np.array(Image.alpha_composite(white, picture).convert("RGB"))
    return np.array(image.convert("RGB"))


def _orient(pixels, orientation):
    transposed, columns, rows = _ORIENTATIONS.get(orientation, (False, False, False))
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    if columns:
        pixels = pixels[:, ::-1]
    if rows:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
