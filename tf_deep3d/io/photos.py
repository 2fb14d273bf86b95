"""Finds and reads photos. What is read is untrusted: it is judged by its content, within limits, never by its name."""

import contextlib
import glob
import io
import logging
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFile

from tf_deep3d.errors import ExtraError, InputError, extra, readable

MAX_PIXELS = 80_000_000  # that are decoded; more are refused before
# Of a JPEG, which beyond `MAX_PIXELS` is decoded at half its width and height. What it costs in memory is what libjpeg
# keeps of a progressive one: up to 6 bytes a pixel.
MAX_JPEG_PIXELS = 3 * MAX_PIXELS
MAX_BYTES = 512 * 2**20
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".heic", ".heif", ".hif", ".avif", ".jp2"),
    *(".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".tga", ".ppm", ".pgm"),
)
# Of pictures that are not read: raw files of cameras, drawings and what programs keep.
OTHER_SUFFIXES = (
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".raw"),
    *(".psd", ".xcf", ".svg", ".eps", ".ico", ".icns", ".jxl", ".exr", ".hdr", ".jxr", ".dds", ".pcx", ".insp"),
)
# Only decoders that read pixels: Pillow's full list holds formats that run other programs.
_JPEG = ("JPEG", "MPO")  # MPO: several JPEGs in one file, as phones write them
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA")  # TGA has no mark
_TELLING = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF")  # formats that the first bytes of a file prove
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
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


logging.getLogger("PIL").addHandler(logging.NullHandler())  # what its decoders complain of is said by `PhotoError`


class PhotoError(InputError):
    """The bytes are no photo that can be read; the message says what was received."""


def read_photo(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> np.ndarray:
    """Reads one photo.

    Greyscale, palette, CMYK, 16-bit and animated pictures (first frame) are accepted; HEIC needs the extra [heif].
    EXIF orientation is applied. Transparent pixels are shown on white. Colour profiles are ignored: values are taken as
    sRGB.

    A JPEG of more than `MAX_PIXELS`, as phones of 108 and 200 megapixels write, is read at half its width and height.
    Whatever is found in a photo is in px of the picture that this function returns.

    Args:
      source: path of a file, or its bytes.

    Returns:
      [H, W, 3] uint8 RGB, rows from the top of the upright photo.

    Raises:
      OSError: the file cannot be opened.
      PhotoError: empty, too large (`MAX_BYTES`; `MAX_JPEG_PIXELS` or, of other formats, `MAX_PIXELS`), truncated,
        no picture of a known format, or HEIC without its reader.
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
        with open_picture(data) as image:
            _check_size(image, name)
            if image.width * image.height > MAX_PIXELS:
                image.draft(None, (image.width // 2, image.height // 2))
            image.load()
            _check_size(image, name)
            orientation = _orientation(image)  # after loading: the TIFF reader turns the picture and clears the tag
            pixels = _to_rgb(image, name)
    except PhotoError:
        raise
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


def find_photos(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], leave_out: str | os.PathLike[str] | None = None
) -> list[Path]:
    """Lists the photos that paths, patterns and folders name.

    Args:
      paths: one path or several: a file (of any name); a folder, which stands for all files with one of `SUFFIXES` in
        it and in its sub-folders at any depth, by path; or a glob pattern (`**` for folders at any depth), for the
        files it matches, by path. Hidden files and folders, and links to folders, are passed over. A path that exists
        is never taken for a pattern.
      leave_out: folder, usually of results, that folders and patterns do not lead into; if it is the given folder
        itself, its own files are listed, but not those of its sub-folders.

    Returns:
      list of `Path`, in the order given; a file named twice is listed once.

    Raises:
      FileNotFoundError: a path does not exist, a pattern matches no file, a folder holds no photo, or no path was
        given.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    closed = Path(leave_out).resolve() if leave_out is not None else None
    found: dict[Path, Path] = {}
    for path in map(Path, given):
        for photo in _expand(path, closed):
            found.setdefault(photo.resolve(), photo)
    if not found:
        raise FileNotFoundError("at least one photo is needed. Received: none")
    return list(found.values())


def passed_over(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], leave_out: str | os.PathLike[str] | None = None
) -> list[Path]:
    """The files in folders among `paths` that look like pictures, by name or content, and that `find_photos` with the
    same arguments does not take."""
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    closed = Path(leave_out).resolve() if leave_out is not None else None
    return [
        path
        for folder in map(Path, given)
        if folder.is_dir()
        for path in sorted(_walk(folder))
        if path.suffix.lower() not in SUFFIXES and not _is_closed(path, folder, closed) and _looks_like_picture(path)
    ]


def photos_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The photos of `find_photos` that lie in one folder itself, by name: the frames of a clip."""
    return _expand(Path(folder), Path(folder).resolve())


def _expand(path: Path, closed: Path | None) -> list[Path]:
    """The photos of one path, less those in `closed` (`_is_closed`)."""
    if path.is_dir():
        photos = sorted(
            photo for photo in _walk(path) if photo.suffix.lower() in SUFFIXES and not _is_closed(photo, path, closed)
        )
        if not photos:
            known = " ".join(SUFFIXES)
            raise FileNotFoundError(f"the folder holds no file ending in {known}. Received: {str(path)!r}")
        return photos
    if path.is_file():
        return [path]
    if path.exists():
        raise FileNotFoundError(f"a photo must be a regular file, no pipe or device. Received: {str(path)!r}")
    if glob.has_magic(str(path)):
        matches = sorted(match for match in _matches(path) if match.is_file())
        photos = [photo for photo in matches if not _is_closed(photo, path.parent, closed)]
        if photos:
            return photos
        raise FileNotFoundError(f"the pattern matches no file. Received: {str(path)!r}")
    raise FileNotFoundError(f"there is no such photo. Received: {str(path)!r}")


def _walk(root: Path) -> Iterator[Path]:
    """The files of a folder at any depth that are not hidden."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _looks_like_picture(path: Path) -> bool:
    if path.suffix.lower() in OTHER_SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:
        return False
    Image.init()
    marks = (Image.OPEN[kind][1] for kind in _TELLING if kind in Image.OPEN)
    return _is_heif(start) or any(mark is not None and mark(start) is True for mark in marks)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _matches(pattern: Path) -> Iterator[Path]:
    """What a glob pattern matches. `glob.glob` would follow links to folders for ever where two lead upwards."""
    place = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    root, parts = (
        Path(*pattern.parts[:place]),
        [part if part == "**" else re.sub(r"\*+", "*", part) for part in pattern.parts[place:]],
    )
    hidden = any(part.startswith(".") for part in parts)
    for match in root.glob("/".join([*parts, "*"] if parts[-1] == "**" else parts)):
        if hidden or not any(part.startswith(".") for part in match.relative_to(root).parts):
            yield match


def _is_closed(photo: Path, given: Path, closed: Path | None) -> bool:
    """Whether a photo lies in `closed` or below; right in it does not count where it is the `given` folder."""
    place = photo.resolve().parent
    return closed is not None and (closed in place.parents or place == closed != given.resolve())


def open_picture(data: bytes) -> ImageFile.ImageFile:
    """The picture, not decoded yet: `Image.open` without its limit, so that only ours holds."""
    Image.init()
    if _is_heif(data):
        _add_heif()
    for kind in _FORMATS:
        factory, accepts = Image.OPEN.get(kind, (None, None))  # what this Pillow was built with
        if factory is None or (accepts is not None and accepts(data[:16]) is not True):
            continue
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):  # how decoders say: not mine
            return factory(io.BytesIO(data), "")
    raise Image.UnidentifiedImageError


def _add_heif() -> None:
    """Teaches Pillow HEIC and HEIF, which its own decoders do not know; they come upright."""
    try:
        with extra("heif"):
            import pillow_heif  # pyright: ignore[reportMissingImports]  not in every installation
    except ExtraError as error:
        raise PhotoError(f"the photo is HEIC: save it as JPEG, or {error}") from error
    pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType]


def _check_size(image: ImageFile.ImageFile, name: str) -> None:
    width, height = image.size
    most = MAX_JPEG_PIXELS if image.format in _JPEG else MAX_PIXELS
    if not (width > 0 and height > 0 and width * height <= most):
        received = f"{name}, {width} x {height} pixels"
        raise PhotoError(f"a photo in the format {image.format} may have 1 to {most} pixels. Received: {received}")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none, or the EXIF block cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata do not spoil the pixels
        return 1
    return value if value in _ORIENTATIONS else 1


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
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
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    transposed, columns, rows = _ORIENTATIONS.get(orientation, (False, False, False))
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    if columns:
        pixels = pixels[:, ::-1]
    if rows:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


# Path of a file, its bytes, or [H, W, 3] RGB, uint8 or float in [0, 1].
Photo: TypeAlias = str | os.PathLike[str] | bytes | np.ndarray


def as_pixels(photo: Photo) -> np.ndarray:
    """The pixels [H, W, 3] uint8 of a photo that may be an array already.

    Raises:
      PhotoError: for an array of another shape or type; else as of `read_photo`.
      OSError: the file cannot be opened.
    """
    if not isinstance(photo, np.ndarray):
        return read_photo(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise PhotoError(f"a photo must be [H, W, 3] with at least one pixel. Received: {list(photo.shape)}")
    if photo.dtype == np.uint8:
        return photo
    if not np.issubdtype(photo.dtype, np.floating):
        raise PhotoError(f"a photo must be uint8 or float in [0, 1]. Received: {photo.dtype}")
    return np.round(np.clip(np.nan_to_num(photo), 0, 1) * 255).astype(np.uint8)


def photo_name(photo: Photo, unnamed: str = "") -> str:
    """The file name of a photo, `readable`, or `unnamed` if it has none."""
    return readable(Path(photo).name) if isinstance(photo, str | os.PathLike) else unnamed
