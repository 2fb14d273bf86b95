"""Focal lengths of photos, in EXIF that the test writes."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.io import optics

FULL = math.hypot(36, 24)


def photo(size, millimetres=None, taken=None, kind="JPEG"):
    """Bytes of a grey photo of `size` (width, height) whose EXIF has a focal length and the size it was taken in."""
    exif = Image.Exif()
    exif[0x010F] = "maker of cameras"
    ifd = exif.get_ifd(0x8769)
    if millimetres is not None:
        ifd[0xA405] = millimetres
    if taken is not None:
        ifd[0xA002], ifd[0xA003] = taken
    stream = io.BytesIO()
    Image.new("RGB", size, "grey").save(stream, kind, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_as_it_was_taken(kind):
    """26 mm are 26 / 36 of the width of a picture of 3 : 2, and as much of the diagonal of any other."""
    assert optics.focal_length(photo((360, 240), 26, kind=kind), (360, 240)) == pytest.approx(260)
    assert optics.focal_length(photo((360, 240), 26, (360, 240), kind), (360, 240)) == pytest.approx(260)
    phone = optics.focal_length(photo((400, 300), 26), (400, 300))
    assert phone == pytest.approx(26 / FULL * 500)


def test_a_smaller_copy_has_a_shorter_focal_length_and_a_cut_keeps_it():
    assert optics.focal_length(photo((180, 120), 26, (3600, 2400)), (180, 120)) == pytest.approx(130)
    assert optics.focal_length(photo((120, 120), 26, (360, 240)), (120, 120)) == pytest.approx(260)


def test_a_photo_that_stands_upright():
    """Stored lying, shown standing: the sizes of EXIF are those of the stored picture."""
    assert optics.focal_length(photo((360, 240), 26, (360, 240)), (240, 360)) == pytest.approx(260)


def test_what_the_user_says_counts(tmp_path):
    (tmp_path / "a.jpg").write_bytes(photo((360, 240), 26))
    assert optics.focal_length(tmp_path / "a.jpg", (360, 240)) == pytest.approx(260)
    assert optics.focal_length(tmp_path / "a.jpg", (360, 240), 52.0) == pytest.approx(520)
    assert optics.focal_length(np.zeros((240, 360, 3), np.uint8), (360, 240), 52.0) == pytest.approx(520)


@pytest.mark.parametrize("data", [photo((30, 20)), photo((30, 20), 0), photo((30, 20), 60_000), b"", b"\xff\xd8\xffno"])
def test_nobody_knows(data):
    assert optics.focal_length(data, (30, 20)) is None
    assert optics.focal_length(np.zeros((20, 30, 3), np.uint8), (30, 20)) is None
