"""Copies the sound of one video into another while the other's pictures are written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from tf_deep3d.errors import extra

with extra("video"):
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.error import FFmpegError
    from av.packet import Packet

CODECS = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # that an MP4 holds; others become AAC


@contextmanager
def copying(source: InputContainer | None, target: OutputContainer) -> Iterator[Callable[[float], None]]:
    """Copies the first track of sound, if there is one.

    Args:
      source: an open video, or None.
      target: an MP4 that is being written, with the streams of its pictures and nothing in them yet.

    Yields:
      Function that writes the sound up to a time, in s since the first picture of `source`; times rise.
    """
    if source is None or not source.streams.audio:
        yield lambda time: None
        return
    track = source.streams.audio[0]
    copied = track.codec_context.name in CODECS
    if copied:
        written = target.add_stream_from_template(track)
    else:
        written = target.add_stream("aac", rate=track.codec_context.sample_rate)
        written = cast(AudioStream, written)
        written.codec_context.layout = track.codec_context.layout
    packets = _packets(source, track)
    following = next(packets, None)

    def play(until: float) -> None:
        nonlocal following
        while following is not None and following[0] <= until:
            packet = following[1]
            if copied:
                packet.stream = written
                target.mux(packet)
            else:
                for samples in cast(list[AudioFrame], packet.decode()):
                    samples.pts = None  # counted anew, without gaps
                    target.mux(written.encode(samples))
            following = next(packets, None)

    yield play
    if not copied:
        target.mux(written.encode(None))


def _packets(source: InputContainer, track: AudioStream) -> Iterator[tuple[float, Packet]]:
    """(s since the first picture, packet with the time stamps of that) of the sound; a damaged end is left out."""
    pictures = source.streams.video[0]
    start = float((pictures.start_time or 0) * (pictures.time_base or 0))
    with suppress(FFmpegError):
        for packet in source.demux(track):
            if packet.pts is None or packet.time_base is None:
                continue
            shift = round(start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, None if packet.dts is None else packet.dts - shift
            if packet.pts >= 0:
                yield float(packet.pts * packet.time_base), packet
