"""Tests of `tf_deep3d.io.photos`: every kind of picture Pillow can write, and bytes that are none."""

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from tf_deep3d.io import photos

RNG_SEED = 5


def encoded(image, suffix="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, suffix, **options)
    return stream.getvalue()


@pytest.fixture
def pixels():
    return np.random.default_rng(RNG_SEED).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_formats_keep_every_pixel(pixels, suffix):
    read = photos.read_photo(encoded(Image.fromarray(pixels), suffix))
    assert read.dtype == np.uint8
    assert read.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("suffix", ["JPEG", "WEBP"])
def test_lossy_formats_stay_close(suffix):
    row = np.linspace(0, 255, 64)
    smooth = np.stack(np.broadcast_arrays(row[None], row[:, None], np.full((64, 64), 90.0)), -1).astype(np.uint8)
    read = photos.read_photo(encoded(Image.fromarray(smooth), suffix, quality=95))
    assert np.abs(read.astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, suffix):
    upright = np.zeros((48, 48, 3), np.uint8)  # square: the size does not give the turn away
    upright[:16, :16] = [250, 10, 10]
    upright[:16, 32:] = [10, 250, 10]
    upright[32:, :16] = [10, 10, 250]
    stored_from_upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),  # the viewer turns it 90 degrees clockwise
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),  # mirrored over the other diagonal
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored_from_upright[orientation](upright)))
    read = photos.read_photo(encoded(image, suffix, exif=exif.tobytes()))
    assert np.abs(read[4:12, 4:12].astype(int) - [250, 10, 10]).max() < 30
    assert np.abs(read[4:12, 36:44].astype(int) - [10, 250, 10]).max() < 30
    assert np.abs(read[36:44, 4:12].astype(int) - [10, 10, 250]).max() < 30


def test_unknown_orientation_and_damaged_exif_leave_the_pixels(pixels):
    exif = Image.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(photos.read_photo(encoded(Image.fromarray(pixels), exif=exif.tobytes())), pixels)
    damaged = encoded(Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    np.testing.assert_array_equal(photos.read_photo(damaged), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_modes_become_rgb(pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    read = photos.read_photo(encoded(image))
    assert read.shape == (6, 9, 3)
    if mode == "L":
        np.testing.assert_array_equal(read, np.repeat(np.asarray(image)[..., None], 3, 2))


def test_cmyk_has_the_colours_of_its_rgb():
    colour = np.tile(np.array([200, 60, 30], np.uint8), (32, 32, 1))
    read = photos.read_photo(encoded(Image.fromarray(colour).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(read.astype(int) - colour).max() < 12


def test_sixteen_bits_are_scaled_not_clipped():
    levels = np.array([[0, 257, 32896, 65535]], np.uint16)
    read = photos.read_photo(encoded(Image.fromarray(levels)))
    np.testing.assert_array_equal(read[0, :, 0], [0, 1, 128, 255])
    np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_transparency_is_shown_on_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 255
    rgba[0, :, 3] = [0, 128, 255]
    read = photos.read_photo(encoded(Image.fromarray(rgba)))
    np.testing.assert_array_equal(read[0, [0, 2]], [[255, 255, 255], [255, 0, 0]])
    np.testing.assert_allclose(read[0, 1], [255, 127, 127], atol=1)


def test_transparent_palette_entry_is_shown_on_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image = image.convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60] + [0] * 762)
    read = photos.read_photo(encoded(image, transparency=0))
    np.testing.assert_array_equal(read[0], [[255, 255, 255], [40, 50, 60]])


@pytest.mark.parametrize("suffix", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(suffix):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    lossless = {"lossless": True} if suffix == "WEBP" else {}
    read = photos.read_photo(encoded(frames[0], suffix, save_all=True, append_images=frames[1:], **lossless))
    assert (read == [255, 0, 0]).all()


def test_one_pixel_is_a_photo():
    assert photos.read_photo(encoded(Image.new("RGB", (1, 1), "blue"))).tolist() == [[[0, 0, 255]]]


def test_content_counts_not_the_suffix(tmp_path, pixels):
    path = tmp_path / "Größe und Maß.jpg"
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(photos.read_photo(path), pixels)
    np.testing.assert_array_equal(photos.read_photo(str(path)), pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty.*0 bytes"),
        (b"#!/bin/sh\necho no photo\n", "known format.*beginning with 23 21"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
        (b"\x89PNG\r\n\x1a\n", "known format"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "known format|damaged"),
    ],
)
def test_bytes_that_are_no_photo(tmp_path, data, message):
    with pytest.raises(photos.PhotoError, match=message):
        photos.read_photo(data)
    path = tmp_path / "claims.jpg"
    path.write_bytes(data)
    with pytest.raises(photos.PhotoError, match=r"claims\.jpg"):
        photos.read_photo(path)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_truncated_photo(suffix):
    noise = np.random.default_rng(RNG_SEED).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), suffix)
    with pytest.raises(photos.PhotoError, match=f"{len(data) // 2} bytes"):
        photos.read_photo(data[: len(data) // 2])


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_damaged_bytes_are_read_or_refused_but_never_crash(suffix, recwarn):
    rng = np.random.default_rng(RNG_SEED)
    clean = encoded(Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)), suffix)
    for _ in range(60):
        data = bytearray(clean)
        for position in rng.integers(0, len(data), 6):
            data[position] = rng.integers(0, 256)
        with contextlib.suppress(photos.PhotoError):  # any other exception fails
            assert photos.read_photo(bytes(data)).ndim == 3


def png_header(width, height):
    """A PNG that claims a size and holds almost no pixel data."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (photos.MAX_PIXELS + 1, 1), (100_000, 850), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_decoding(size, monkeypatch):
    def decoded(image):
        raise AssertionError(f"decoded {image.size}")

    monkeypatch.setattr(Image.Image, "load", decoded)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    with pytest.raises(photos.PhotoError, match=str(photos.MAX_PIXELS)):
        photos.read_photo(png_header(*size))


def test_a_jpeg_that_claims_too_many_pixels_is_refused_before_decoding(monkeypatch):
    data = bytearray(encoded(Image.new("L", (16, 16)), "JPEG"))
    frame = data.index(b"\xff\xc0")  # SOF0: length, precision, height, width
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 50_000)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda image: pytest.fail(f"decoded {image.size}"))
    with pytest.raises(photos.PhotoError, match=f"JPEG may have 1 to {photos.MAX_JPEG_PIXELS} pixels.*50000 x 60000"):
        photos.read_photo(bytes(data))


@pytest.mark.parametrize("excess", [0, 1])
def test_a_jpeg_is_read_whole_up_to_the_limit_and_halved_beyond(monkeypatch, excess):
    monkeypatch.setattr(photos, "MAX_PIXELS", 301 * 201 - excess)
    rows, columns = np.mgrid[:201, :301]
    ramp = np.stack([columns * 0.8, rows * 1.2, rows * 0 + 90], -1).astype(np.uint8)
    read = photos.read_photo(encoded(Image.fromarray(ramp), "JPEG", quality=95, subsampling=0))
    step = 1 + excess
    assert read.shape == (-(-201 // step), -(-301 // step), 3)
    # The centre of pixel (i, j) of the half-sized picture is at the corner of four pixels of the whole one.
    expected = np.stack([(columns[::step, ::step] + excess / 2) * 0.8, (rows[::step, ::step] + excess / 2) * 1.2], -1)
    assert np.abs(read[:-1, :-1, :2] - expected[:-1, :-1]).max() < 4  # the last line has but half a pixel


def test_a_phones_108_megapixels_are_read_at_half_size_in_bounded_memory(tmp_path):
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it clockwise: the upper row becomes the right column
    brighter_downwards = Image.linear_gradient("L").resize((12_000, 9_000))
    brighter_downwards.save(path, quality=75, exif=exif.tobytes())
    code = (
        "import sys; from tf_deep3d.io import photos; print(photos.read_photo(sys.argv[1])[::1000, ::500, 0].tolist())"
    )
    code += "\ntry: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\nexcept OSError: print(0)"
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert not ran.stderr  # Pillow's own warning, for one
    shown, peak = ran.stdout.splitlines()
    expected = (4499 - np.arange(0, 4500, 500)) / 4500 * 255
    np.testing.assert_allclose(json.loads(shown), np.tile(expected, (6, 1)), atol=2)
    assert int(peak) * 1024 < 4 * 12_000 * 9_000  # less than the decoded picture would take in Pillow


def test_too_many_bytes_are_refused(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(photos, "MAX_BYTES", 20)
    path = tmp_path / "large.png"
    path.write_bytes(encoded(Image.fromarray(pixels)))
    with pytest.raises(photos.PhotoError, match=r"20 bytes at most.*large\.png"):
        photos.read_photo(path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        photos.read_photo(tmp_path / "none.jpg")
    with pytest.raises(photos.PhotoError, match="regular file"):
        photos.read_photo(tmp_path)


@pytest.fixture
def folder(tmp_path):
    for name in ("b.JPG", "a.png", "Zoë Ü 1.jpeg", "notes.txt", ".hidden.png", "c[1].jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.webp").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(*arguments, **options):
    return [path.name for path in photos.find_photos(*arguments, **options)]


def test_a_folder_lists_the_photos_at_any_depth_by_path(folder):
    assert names(folder) == ["Zoë Ü 1.jpeg", "a.png", "b.JPG", "c[1].jpg", "d.webp"]
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "e.png").write_bytes(b"x")
    (folder / "deep" / "back").symlink_to(folder)
    assert names(folder) == ["Zoë Ü 1.jpeg", "a.png", "b.JPG", "c[1].jpg", "d.webp"]
    assert names(folder / "deep" / "back") == ["Zoë Ü 1.jpeg", "a.png", "b.JPG", "c[1].jpg", "d.webp"]  # if it is named


def test_the_frames_of_a_folder_are_its_own_files(folder):
    assert [path.name for path in photos.photos_in(folder)] == ["Zoë Ü 1.jpeg", "a.png", "b.JPG", "c[1].jpg"]
    with pytest.raises(FileNotFoundError, match="holds no file"):
        photos.photos_in(folder / "empty")


def test_order_is_kept_and_doubles_are_dropped(folder):
    (folder / "link.png").symlink_to(folder / "a.png")
    paths = [folder / "b.JPG", str(folder / "a.png"), folder / "deep" / ".." / "b.JPG", folder / "link.png", folder]
    assert names(paths) == ["b.JPG", "a.png", "Zoë Ü 1.jpeg", "c[1].jpg", "d.webp"]


def test_patterns(folder):
    assert names(str(folder / "*.p*g")) == ["a.png"]
    assert names(str(folder / "**" / "*.webp")) == ["d.webp"]
    assert names(str(folder / "c[1].jpg")) == ["c[1].jpg"]


def test_results_among_the_photos_are_left_out(folder):
    (folder / "deep" / "me").mkdir()
    (folder / "deep" / "me" / "overlay.png").write_bytes(b"x")
    own = ["Zoë Ü 1.jpeg", "a.png", "b.JPG", "c[1].jpg"]
    assert names(folder) == [*own, "d.webp", "overlay.png"]
    assert names(folder, leave_out=folder / "deep") == own
    assert names(str(folder / "**" / "*.*g"), leave_out=folder / "deep") == [own[0], "a.png", own[3]]
    # Results that were written into the folder of the photos itself:
    assert names(folder / "deep", leave_out=folder / "deep") == ["d.webp"]
    assert names(str(folder / "deep" / "*.webp"), leave_out=folder / "deep") == ["d.webp"]
    assert names(folder / "deep" / "me" / "overlay.png", leave_out=folder / "deep") == ["overlay.png"]  # as told
    assert names(folder, leave_out=folder / "none") == [*own, "d.webp", "overlay.png"]


@pytest.mark.parametrize("missing", ["none.jpg", "*.bmp", "empty", "none/"])
def test_what_names_no_photo_is_an_error(folder, missing):
    with pytest.raises(FileNotFoundError, match="Received: "):
        photos.find_photos([folder / "a.png", folder / missing])


def test_no_path_at_all():
    with pytest.raises(FileNotFoundError, match="Received: none"):
        photos.find_photos([])


def test_patterns_pass_over_hidden_files_unless_told(folder):
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "e.png").write_bytes(b"x")
    assert names(str(folder / "*.png")) == ["a.png"]
    assert names(str(folder / "**" / "*.png")) == ["a.png"]
    assert names(str(folder / ".*.png")) == [".hidden.png"]
    assert names(str(folder / ".th*" / "*.png")) == ["e.png"]
    assert names(str(folder / "**.png")) == ["a.png"]
    assert "d.webp" in names(str(folder / "**"))


def test_patterns_relative_to_where_one_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert photos.find_photos("*.png") == [Path("a.png")]
    assert photos.find_photos("deep/../*.p?g") == [Path("deep/../a.png")]
    assert photos.find_photos("d*/*.webp") == [Path("deep/d.webp")]


def test_links_that_lead_back_do_not_make_a_pattern_endless(folder):
    for name in ("one", "two", "three"):
        (folder / name).symlink_to(".")
    assert names(str(folder / "**" / "*.png")) == ["a.png"]
    assert names(str(folder / "one" / "**" / "*.png")) == ["a.png"]  # if it is named


def test_a_pipe_or_a_device_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(FileNotFoundError, match="must be a regular file, no pipe or device"):
            photos.find_photos(path)
    with pytest.raises(FileNotFoundError, match="matches no file"):
        photos.find_photos(str(tmp_path / "*.png"))


def heic(pixels, **options):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra [heif] is not installed")
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(stream, quality=95, **options)
    return stream.getvalue()


def test_heic_is_read_upright():
    row = np.linspace(0, 255, 64)
    smooth = np.stack(np.broadcast_arrays(row[None], row[:, None], np.full((64, 64), 90.0)), -1).astype(np.uint8)
    assert np.abs(photos.read_photo(heic(smooth)).astype(int) - smooth).mean() < 3
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photos.read_photo(heic(smooth, exif=exif.tobytes()))
    assert np.abs(turned.astype(int) - smooth[::-1].swapaxes(0, 1)).mean() < 3


def test_heic_without_its_reader_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic" + bytes(40)
    with pytest.raises(photos.PhotoError, match=r"HEIC: save it as JPEG, or .*pip install \"tf_deep3d\[heif\]\""):
        photos.read_photo(data)


def test_a_folder_takes_every_name_of_the_formats_that_are_read(tmp_path):
    taken = ["a.jpg", "b.jfif", "c.JPE", "d.tga", "e.HEIC", "f.heif"]
    for name in taken:
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == taken
    assert photos.passed_over(tmp_path) == []


def test_what_looks_like_a_picture_and_is_not_taken_is_listed(folder, pixels):
    """By its name or by its first bytes, at any depth; no text, nothing hidden, no results."""
    (folder / "raw.CR2").write_bytes(b"x")
    (folder / "deep" / "no_suffix").write_bytes(encoded(Image.fromarray(pixels), "JPEG"))
    (folder / "phone.download").write_bytes(b"\0\0\0\x18ftypheic" + bytes(8))
    (folder / "P6 is no picture.md").write_text("P6 and BM begin a text")
    (folder / ".raw.dng").write_bytes(b"x")
    (folder / "out").mkdir()
    (folder / "out" / "scan.psd").write_bytes(b"x")
    over = photos.passed_over([folder, folder / "a.png"], leave_out=folder / "out")
    assert sorted(path.name for path in over) == ["no_suffix", "phone.download", "raw.CR2"]
    assert not {path.name for path in over} & set(names(folder))


def test_the_name_of_a_photo_is_one_line_of_unicode():
    assert photos.photo_name("folder/Zoë 😀.jpg") == "Zoë 😀.jpg"
    assert photos.photo_name(os.fsdecode(b"folder/caf\xe9\n.jpg")) == "caf\\udce9\\n.jpg"
    assert photos.photo_name(b"bytes of a file", "photo1") == "photo1"
