"""Reads video files and folders of frames, and writes videos. What is read is untrusted: it is judged by
its content, within limits.

Frames come upright (rotation of the display matrix) and with square pixels; times are those of the file, so that
variable frame rates stay what they are. Only containers that hold their pictures themselves are opened: a playlist
cannot make the reader fetch other files or addresses. Sound is copied from one video to another.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from tf_deep3d.errors import InputError, extra
from tf_deep3d.io import photos
from tf_deep3d.reconstruction.clip import sound as sounds

with extra("video"):
    import av
    from av.codec import Codec
    from av.container import InputContainer
    from av.error import FFmpegError
    from av.video.stream import VideoStream

MAX_PIXELS = 40_000_000  # of a frame; 8K has 33 million
MAX_STRETCH = 4.0  # of a pixel's width over its height, and the reverse
SHORTEST_STEP = 1e-4  # s between frames; times that stand still or go back are moved on by it
FRAME_RATE = 25.0  # of a folder of frames
RATES = (0.1, 1000.0)  # lowest and highest frame rate that is believed or accepted
CODECS = ("libx264", "mpeg4")  # the first that this build of FFmpeg has writes the video
QUALITY = "20"  # constant rate factor of x264; 18 cannot be told from the original
TICKS = 90_000  # per second, of written times
# FFmpeg's names of containers; playlists (hls, dash, concat, ..) and scripts are not among them.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,gif,apng,ogg,asf,h264,hevc,m4v,mjpeg"


class VideoError(InputError):
    """The bytes are no video that can be read; the message says what was received."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
      time: seconds since the first frame; rises from frame to frame.
      image: [H, W, 3] uint8 RGB, the same size throughout a clip.
    """

    time: float
    image: np.ndarray


def read_frames(path: str | Path, max_frames: int | None = None, frame_rate: float | None = None) -> Iterator[Frame]:
    """Reads a clip frame by frame; only one frame is in memory.

    Args:
      path: video file, or folder of photos, whose names are sorted with numbers by value.
      max_frames: stop after so many.
      frame_rate: frames a second of a folder, by default `FRAME_RATE`; a video file has its own times.

    Yields:
      `Frame`.

    Raises:
      FileNotFoundError: if there is no such file, or the folder holds no photos.
      VideoError: if the clip cannot be read, is too large, changes its size, or breaks off damaged.
      photos.PhotoError: for a frame of a folder that cannot be read.
      InputError: for a frame rate outside `RATES` or of a video file.
    """
    path = Path(path)
    if frame_rate is not None and not RATES[0] <= frame_rate <= RATES[1]:
        raise InputError(f"the frame rate must lie in {RATES}. Received: {frame_rate}")
    if path.is_dir():
        frames = _read_folder(path, frame_rate or FRAME_RATE)
    elif not path.is_file():
        raise FileNotFoundError(f"there is no such clip. Received: {str(path)!r}")
    elif frame_rate is not None:
        raise InputError(f"a frame rate is for a folder of frames; a video has its own. Received: {frame_rate}")
    else:
        frames = _read_file(path)
    size = None
    for frame in islice(frames, max_frames):
        size = size or frame.image.shape
        if frame.image.shape != size:
            received = f"{path.name}, {_size(size)} px, then {_size(frame.image.shape)} px at {frame.time:.2f} s"
            raise VideoError(f"all frames of a clip must have one size. Received: {received}")
        yield frame


def frame_count(path: str | Path) -> int | None:
    """Number of frames that a clip says it has, or None: to show progress, not to rely on."""
    path = Path(path)
    if path.is_dir():
        return len(photos.photos_in(path))
    with _opened(path) as container:
        stream = container.streams.video[0]
        seconds = container.duration / 1e6 if container.duration else 0.0
        return stream.frames or round(seconds * _believable(stream.average_rate)) or None


@contextmanager
def writing_video(
    path: str | Path, width: int, height: int, frame_rate: float = FRAME_RATE, sound: Path | None = None
) -> Iterator[Callable[[Frame], None]]:
    """Writes an MP4: H.264 where this build of FFmpeg has an encoder, else MPEG-4 part 2.

    Args:
      path: file to write; half a file is left if the block raises.
      width, height: of the frames, px; an odd side loses its last line, as the format demands.
      frame_rate: nominal; each frame has its own time.
      sound: video whose first track of sound is copied, up to the last frame; it may have none.

    Yields:
      A function that takes `Frame`s, times rising.

    Raises:
      InputError: for frames smaller than 2 px.
    """
    width, height = width // 2 * 2, height // 2 * 2
    if min(width, height) < 2:
        raise InputError(f"a video needs at least 2 x 2 px. Received: {width} x {height}")
    with (
        av.open(str(path), "w", format="mp4", container_options={"movflags": "+faststart"}) as container,
        _opened(sound) if sound else nullcontext() as source,
    ):
        rate = Fraction(_believable(frame_rate)).limit_denominator(1001)
        stream = cast(VideoStream, container.add_stream(writing_codec(), rate=rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for tag in ("color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, tag, 1)  # BT.709
        if stream.codec_context.name == "libx264":
            stream.codec_context.options = {"crf": QUALITY, "preset": "veryfast"}
        else:
            stream.codec_context.time_base = Fraction(1, 1000)  # MPEG-4 counts up to 65535 ticks a second
            stream.codec_context.bit_rate = max(width * height * 8, 400_000)
        ticks = stream.codec_context.time_base.denominator

        with sounds.copying(source, container) as play:

            def write(frame: Frame) -> None:
                image = np.ascontiguousarray(frame.image[:height, :width])
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                picture.pts, picture.time_base = round(frame.time * ticks), Fraction(1, ticks)
                container.mux(stream.encode(picture))
                play(frame.time)

            yield write
        container.mux(stream.encode(None))


def writing_codec() -> str:
    """FFmpeg's name of the encoder that `writing_video` uses."""
    for name in CODECS:
        try:
            return Codec(name, "w").name
        except ValueError:  # av.codec.codec.UnknownCodecError
            continue
    raise VideoError(f"this build of FFmpeg has none of the encoders {CODECS}. Received: {av.__version__}")


def _read_folder(path: Path, frame_rate: float) -> Iterator[Frame]:
    for index, photo in enumerate(sorted(photos.photos_in(path), key=natural_order)):
        yield Frame(index / frame_rate, photos.read_photo(photo))


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key of a file name in which numbers count by value: frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _read_file(path: Path) -> Iterator[Frame]:
    with _opened(path) as container:
        stream = container.streams.video[0]
        context, name = stream.codec_context, path.name
        _check_size(context.width, context.height, name)
        stretch = float(context.sample_aspect_ratio or 1)
        stretch = stretch if 1 / MAX_STRETCH <= stretch <= MAX_STRETCH else 1.0
        step = 1 / _believable(stream.average_rate)
        first = previous = None
        count = 0
        try:
            for picture in container.decode(stream):
                _check_size(picture.width, picture.height, name)
                image = picture.to_ndarray(format="rgb24", width=max(1, round(picture.width * stretch)))
                time = picture.time
                first = time if first is None else first
                time = (previous or 0.0) + step if time is None or first is None else time - first
                time = 0.0 if previous is None else max(time, previous + SHORTEST_STEP)
                previous, count = time, count + 1
                yield Frame(time, np.ascontiguousarray(np.rot90(image, round(picture.rotation / 90))))
        except FFmpegError as error:
            advice = f"; max_frames {count - 1} uses what comes before" if count > 1 else ""
            raise VideoError(f"the video is damaged after {count} frames{advice}. Received: {name}: {error}") from error
        if not count:
            raise VideoError(f"the video has no frames. Received: {name}")


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """The open container of a video file; errors of opening it become `VideoError`."""

    def refuse(url: str, flags: int, options: object) -> None:
        raise VideoError(f"a video must not refer to other files. Received: {url!r}")

    if not path.is_file():
        raise FileNotFoundError(f"a video must be a regular file, no pipe or device. Received: {str(path)!r}")
    with open(path, "rb") as file:
        try:
            options = {"format_whitelist": _FORMATS}
            container = av.open(file, "r", container_options=options, metadata_errors="replace", io_open=refuse)
        except (FFmpegError, OSError, VideoError) as error:
            raise VideoError(f"not a video of a known format, or damaged. Received: {path.name}: {error}") from error
        with container:
            if not container.streams.video:
                raise VideoError(f"the file holds no pictures. Received: {path.name}")
            if container.streams.video[0].codec_context is None:
                raise VideoError(f"no decoder for this video. Received: {path.name}")
            yield container


def _check_size(width: int, height: int, name: str) -> None:
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise VideoError(f"a frame may have 1 to {MAX_PIXELS} pixels. Received: {name}, {width} x {height}")


def _believable(rate: float | Fraction | None) -> float:
    """`rate` as float, or `FRAME_RATE` where a file claims nonsense."""
    rate = float(rate or 0.0)
    return rate if RATES[0] <= rate <= RATES[1] else FRAME_RATE


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
