"""Videos in and out: times, sizes, rotation, and what must be refused."""

import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tf_deep3d.errors import InputError
from tf_deep3d.io import photos
from tf_deep3d.reconstruction.clip import video
from tf_deep3d.reconstruction.clip.video import Frame


def _gradient(height, width, shift=0):
    y, x = np.mgrid[:height, :width]
    return np.stack([(x * 3 + shift) % 256, y * 4 % 256, np.full_like(x, 90)], axis=-1).astype(np.uint8) // 2 + 60


def _write(path, times, size=(48, 64)):
    frames = [Frame(time, np.full((*size, 3), 40 + 20 * i, np.uint8)) for i, time in enumerate(times)]
    with video.writing_video(path, size[1], size[0]) as write:
        for frame in frames:
            write(frame)
    return frames


def test_round_trip_keeps_times_and_colours(tmp_path):
    times = [0.0, 0.04, 0.1, 0.5, 0.533]  # not evenly spaced
    written = _write(tmp_path / "a.mp4", times)
    read = list(video.read_frames(tmp_path / "a.mp4"))
    np.testing.assert_allclose([frame.time for frame in read], times, atol=1.5e-3)
    for before, after in zip(written, read, strict=True):
        assert after.image.shape == before.image.shape
        np.testing.assert_allclose(after.image.astype(int), before.image.astype(int), atol=4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    assert video.frame_count(tmp_path / "a.mp4") == 5
    assert len(list(video.read_frames(tmp_path / "a.mp4", max_frames=3))) == 3


def test_colours_and_odd_sizes(tmp_path):
    image = np.zeros((33, 65, 3), np.uint8)
    image[:, :32], image[:, 32:] = (200, 40, 40), (30, 90, 220)
    with video.writing_video(tmp_path / "a.mp4", 65, 33) as write:
        write(Frame(0.0, image))
    (frame,) = video.read_frames(tmp_path / "a.mp4")
    assert frame.image.shape == (32, 64, 3)
    np.testing.assert_allclose(frame.image[16, [10, 54]].astype(int), [[200, 40, 40], [30, 90, 220]], atol=8)


def test_a_title_that_is_no_utf8_is_no_matter(tmp_path):
    """Older cameras write theirs as Latin-1."""
    _write(tmp_path / "a.mp4", [0.0, 0.04])
    content = (tmp_path / "a.mp4").read_bytes()
    assert b"VideoHandler" in content
    (tmp_path / "a.mp4").write_bytes(content.replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert video.frame_count(tmp_path / "a.mp4") == len(list(video.read_frames(tmp_path / "a.mp4"))) == 2


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_display_matrix_turns_the_picture(tmp_path, quarters):
    """A phone stores lying pictures and says in the track header how to show them."""
    upright = _gradient(64, 48)
    stored = np.rot90(upright, quarters)
    with video.writing_video(tmp_path / "a.mp4", stored.shape[1], stored.shape[0]) as write:
        write(Frame(0.0, stored))
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # ISO/IEC 14496-12: version and flags, 20 + 16 bytes of fields
    assert struct.unpack_from(">9i", data, matrix) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    c, s = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]  # (x, y) -> (c x - s y, s x + c y), y down: clockwise
    struct.pack_into(">9i", data, matrix, c << 16, s << 16, 0, -s << 16, c << 16, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    (frame,) = video.read_frames(tmp_path / "turned.mp4")
    np.testing.assert_allclose(frame.image.astype(int), upright.astype(int), atol=24)
    assert np.abs(frame.image.astype(int) - upright).mean() < 4


def test_wide_pixels_are_made_square(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(_gradient(48, 64), format="rgb24")))
        container.mux(stream.encode(None))
    (frame,) = video.read_frames(path)
    assert frame.image.shape == (48, 96, 3)


def test_folder_is_sorted_by_numbers(tmp_path):
    for number in (10, 9, 1, 100):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    frames = list(video.read_frames(tmp_path, frame_rate=50))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 9, 10, 100]
    assert [frame.time for frame in frames] == [0.0, 0.02, 0.04, 0.06]
    assert video.frame_count(tmp_path) == 4


def test_frames_of_different_sizes(tmp_path):
    for number in (1, 2):
        Image.new("RGB", (8 * number, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(video.VideoError, match=r"Received: .* 8 x 8 px, then 16 x 8 px"):
        list(video.read_frames(tmp_path))


def test_damaged_frame_of_a_folder(tmp_path):
    (tmp_path / "1.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(photos.PhotoError, match=r"1\.png"):
        list(video.read_frames(tmp_path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"hello, this is no video\n" * 40),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"),
        ("list.txt", b"ffconcat version 1.0\nfile '/etc/hostname'\n"),
        ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(200)),
    ],
)
def test_files_that_are_no_videos(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(video.VideoError, match=name):
        list(video.read_frames(tmp_path / name))


def test_truncated_video(tmp_path):
    _write(tmp_path / "a.mp4", np.arange(8) / 10)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(video.VideoError, match=r"half\.mp4"):
        list(video.read_frames(tmp_path / "half.mp4"))


def test_too_large_frames_are_refused(tmp_path, monkeypatch):
    _write(tmp_path / "a.mp4", [0.0])
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(video.VideoError, match="64 x 48"):
        list(video.read_frames(tmp_path / "a.mp4"))


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e9, float("nan")])
def test_frame_rates(tmp_path, rate):
    with pytest.raises(InputError, match="frame rate"):
        list(video.read_frames(tmp_path, frame_rate=rate))


def test_frame_rate_of_a_video_is_its_own(tmp_path):
    _write(tmp_path / "a.mp4", [0.0])
    with pytest.raises(InputError, match="Received: 30"):
        list(video.read_frames(tmp_path / "a.mp4", frame_rate=30.0))


def test_missing_clip(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.mp4"):
        list(video.read_frames(tmp_path / "no.mp4"))


def test_other_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "CODECS", ("no such codec", "mpeg4"))
    _write(tmp_path / "a.mp4", [0.0, 0.1])
    read = list(video.read_frames(tmp_path / "a.mp4"))
    assert [frame.time for frame in read] == pytest.approx([0.0, 0.1], abs=2e-3)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(FileNotFoundError, match=r"pipe\.mp4"):
        list(video.read_frames(tmp_path / "pipe.mp4"))
    with pytest.raises(FileNotFoundError, match=r"must be a regular file.*pipe\.mp4"):
        video.frame_count(tmp_path / "pipe.mp4")


def _write_with_sound(path, codec, seconds=1.0, rate=48_000):
    """A second of pictures and a tone of 440 Hz."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono")
        for _ in range(round(25 * seconds)):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(_gradient(48, 64), format="rgb24")))
        wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
        kind = {"aac": ("fltp", np.float32(wave)[None]), "pcm_s16le": ("s16", np.int16(wave * 32767)[None])}[codec]
        samples = av.AudioFrame.from_ndarray(kind[1], format=kind[0], layout="mono")
        samples.sample_rate = rate
        container.mux(sound.encode(samples))
        for stream in (pictures, sound):
            container.mux(stream.encode(None))


def _heard(path):
    """(name of the codec, samples [N], samples a second) of a file's sound."""
    with av.open(str(path)) as container:
        (track,) = container.streams.audio
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(track)])
        return track.codec_context.name, samples, track.codec_context.sample_rate


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mov", "pcm_s16le")])
def test_sound_is_copied_up_to_the_last_frame(tmp_path, name, codec):
    _write_with_sound(tmp_path / name, codec)
    frames = list(video.read_frames(tmp_path / name))[:13]
    with video.writing_video(tmp_path / "b.mp4", 64, 48, sound=tmp_path / name) as write:
        for frame in frames:
            write(frame)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    heard, samples, rate = _heard(tmp_path / "b.mp4")
    assert heard == "aac"
    assert len(samples) / rate == pytest.approx(12 / 25, abs=0.07)
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    tone = np.argmax(np.abs(np.fft.rfft(middle))) * rate / len(middle)
    assert tone == pytest.approx(440, abs=5)
    original = _heard(tmp_path / name)[1]
    loudness = np.abs(original).max() / (32768 if original.dtype == np.int16 else 1)
    assert np.abs(middle).max() == pytest.approx(loudness, rel=0.1)
    assert len(list(video.read_frames(tmp_path / "b.mp4"))) == 13


def test_a_video_without_sound_gives_none(tmp_path):
    _write(tmp_path / "a.mp4", [0.0, 0.04])
    with video.writing_video(tmp_path / "b.mp4", 64, 48, sound=tmp_path / "a.mp4") as write:
        write(Frame(0.0, _gradient(48, 64)))
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio
