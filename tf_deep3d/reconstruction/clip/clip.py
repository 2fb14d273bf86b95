"""From a clip to one person who moves.

Once through the clip, the face is followed, its landmarks are kept, and the crops of some frames, spread evenly.
These key frames are reconstructed like photos; identity and albedo are their weighted medians and hold for the whole
clip. Then pose and expression of every frame come from its landmarks (`motion`), and so do the weights of ARKit's
units (`face.expression`), about the neutral face that the frames have in common. Short gaps are filled, and the curves
are smoothed.

One camera sees the whole clip: that of an aligned crop, at the clip's median scale, its axis through the middle of
the picture. A head that moves through the picture moves in this camera's space.

Letters: N frames, M key frames, Ki, Ke, Kt identity, expression and albedo modes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.command_line import counted
from tf_deep3d.detection import alignment, tracking
from tf_deep3d.detection.detector import Detection
from tf_deep3d.errors import InputError
from tf_deep3d.face import expression
from tf_deep3d.face.camera import FOCAL, Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.face.landmarks import COUNT
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting import motion
from tf_deep3d.models.likeness import describe
from tf_deep3d.reconstruction.clip import curves, video
from tf_deep3d.reconstruction.clip.people import People, spread
from tf_deep3d.reconstruction.parallel import in_order
from tf_deep3d.reconstruction.photo import Models, Options, solve
from tf_deep3d.reconstruction.portraits import NoFaceError, Portrait, observe

MAX_FRAMES = 3000
SMOOTH = 0.06  # s, standard deviation of the smoothing in time
GAP = 0.5  # s without a face that are filled
MISSING = ("blend", "hold")  # what the face does meanwhile, see `ClipSettings`
QUICK = 1 / 3  # of the smoothing, for the units of the eyes: a blink lasts three to six frames
WINDOW = 0.35  # share of the face box's side kept of the photo around it, for the texture

Progress: TypeAlias = Callable[[str, int, int | None], object]  # of (name of the stage, steps done, steps in all)


@dataclass(frozen=True)
class ClipSettings:
    """How to read and smooth a clip.

    Attributes:
      frame_rate: of a folder of frames, None for 25.
      max_frames: the clip ends after so many.
      smooth: s, standard deviation of the smoothing in time; 0 for none.
      missing: what the face does where it is not seen: "blend" from the last pose to the next, or "hold" the last.

    Raises:
      InputError: for values out of range.
    """

    frame_rate: float | None = None
    max_frames: int = MAX_FRAMES
    smooth: float = SMOOTH
    missing: str = MISSING[0]

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        if self.max_frames < 1:
            raise InputError(f"max_frames must be at least 1. Received: {self.max_frames}")
        if not 0 <= self.smooth <= 10:
            raise InputError(f"smooth must lie in [0, 10] seconds. Received: {self.smooth}")
        if self.missing not in MISSING:
            raise InputError(f"missing must be one of {MISSING}. Received: {self.missing!r}")


class Track(NamedTuple):
    """What the first pass finds.

    Attributes:
      times: [N] s.
      size: (width, height) of the frames, px.
      present: [N] bool, frames with the face that is followed.
      others: [N] bool, frames with somebody else's instead.
      landmarks: [N, 546, 2], 68 and 478 landmarks, px of the frame; NaN without a face.
      scales: [N], px of the aligned crop over px of the frame; NaN without a face.
      key_frames: indices [M] of frames and their `Portrait`s.
      cut: whether the clip goes on after `max_frames`.
    """

    times: np.ndarray
    size: tuple[int, int]
    present: np.ndarray
    others: np.ndarray
    landmarks: np.ndarray
    scales: np.ndarray
    key_frames: tuple[np.ndarray, tuple[Portrait, ...]]
    cut: bool


class Appearance(NamedTuple):
    """What holds for the clip, and the light.

    Attributes:
      identity: [Ki].
      albedo: [Kt].
      illumination: [M, C, 9] of the key frames.
      frames: [M] indices of the key frames.
      portraits: their `Portrait`s.
    """

    identity: np.ndarray
    albedo: np.ndarray
    illumination: np.ndarray
    frames: np.ndarray
    portraits: tuple[Portrait, ...]


def follow_clip(
    path: str | Path,
    settings: ClipSettings,
    model: MorphableModel,
    on_progress: Progress | None = None,
    by_likeness: bool = True,
) -> Track:
    """First pass: `Track` of a clip, of the person who is seen most.

    Args:
      path: video file or folder of frames.
      settings: `ClipSettings`.
      model: `MorphableModel`, for its five alignment points.
      on_progress: see `reconstruct_clip`.
      by_likeness: tell people apart by face recognition; else whoever is seen is the same.
    """
    points = faces.at_landmarks(model.landmarks["alignment5"], model.mean_shape[None])[0]
    progress = on_progress or (lambda stage, done, total: None)
    total = video.frame_count(path)
    total = min(total, settings.max_frames) if total else None
    times, landmarks, scales, size, cut = [], [], [], (0, 0), False
    frames = video.read_frames(path, settings.max_frames + 1, settings.frame_rate)

    def look(image: np.ndarray, found: Detection) -> np.ndarray:
        if not by_likeness:
            return np.ones(1)
        crop = alignment.align(image, found.points5, points).image
        seen = describe(crop[None])[0]
        return seen / max(np.linalg.norm(seen), 1e-9)

    people = People(look)
    for frame, found in tracking.track(frames, people.prefer):
        if len(times) == settings.max_frames:
            cut = True
            break
        size = frame.image.shape[1::-1]
        times.append(frame.time)
        landmarks.append(np.full((546, 2), np.nan))
        scales.append(np.nan)
        person = people.whose(frame.time, frame.image, found)
        if found is not None and person is not None:
            landmarks[-1] = np.concatenate([found.landmarks68, found.landmarks478[:, :2]])
            scales[-1] = alignment.alignment_transform(found.points5, points)[0].scale
            person.add(len(times) - 1, partial(_portrait, Path(path), frame.image, found, points))
        progress("tracking", len(times), total)
    if not people.seen:
        raise NoFaceError(f"no face found in {counted(len(times), 'frame')} of {size[0]} x {size[1]} px")
    followed = people.followed()
    present = np.zeros(len(times), bool)
    present[[number for person in followed for number in person.frames]] = True
    others = np.isfinite(scales) & ~present
    found_landmarks = np.where(others[:, None, None], np.nan, np.stack(landmarks))
    indices, portraits = zip(*spread(followed), strict=True)
    return Track(
        times=np.array(times),
        size=size,
        present=present,
        others=others,
        landmarks=found_landmarks,
        scales=np.where(others, np.nan, scales),
        key_frames=(np.array(indices), portraits),
        cut=cut,
    )


def clip_camera(track: Track) -> tuple[Camera, Similarity]:
    """The clip's `Camera` and the `Similarity` from px of a frame to its px, which are about those of aligned crops."""
    scale = float(np.nanmedian(track.scales))
    width, height = (side * scale for side in track.size)
    # A side need not be whole: nothing is rendered with this camera.
    camera = Camera(width, height, FOCAL, (width / 2, height / 2))  # pyright: ignore[reportArgumentType]
    return camera, Similarity(scale)


def appearance(track: Track, options: Options, models: Models, on_progress: Progress | None = None) -> Appearance:
    """`Appearance` of the key frames of a `Track`; options and models as in `reconstruct_clip`."""
    frames, portraits = track.key_frames
    fitting = options.method == "fit"  # all together, step by step; else each photo for itself
    steps = count(1)
    total = options.steps if fitting else len(portraits)

    def on_step() -> None:
        if on_progress:
            on_progress("person", next(steps), total)

    if fitting:
        fit = solve(observe(portraits), options, models, on_step)
    else:
        fits: list[Coefficients] = []
        for one in in_order(lambda portrait: solve(observe([portrait]), options, models), portraits):
            fits.append(one)
            on_step()
        fit = Coefficients(*(np.concatenate(groups) for groups in zip(*fits, strict=True)))
    sound = np.all([np.isfinite(group.reshape(len(frames), -1)).all(-1) for group in fit], axis=0)
    if not sound.any():
        raise InputError(f"the fit of the face diverged. Received: {len(frames)} key frames")
    frontal = np.cos(fit.angles[sound, 0]) * np.cos(fit.angles[sound, 1])
    weights = np.maximum(frontal, 0.05) ** 2
    return Appearance(
        identity=weighted_median(fit.identity[sound], weights).astype(np.float32),
        albedo=weighted_median(fit.albedo[sound], weights).astype(np.float32),
        illumination=fit.illumination[sound],
        frames=frames[sound],
        portraits=tuple(portrait for portrait, good in zip(portraits, sound, strict=True) if good),
    )


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Column by column the middle [K] of `values` [M, K], between which half of `weights` [M] > 0 lie."""
    order = np.argsort(values, axis=0)
    below = np.cumsum(weights[order], axis=0) - 0.5 * weights[order]
    ordered = np.take_along_axis(values, order, axis=0)
    half = 0.5 * weights.sum()
    return np.array([np.interp(half, below[:, k], ordered[:, k]) for k in range(values.shape[1])])


def find_motion(
    track: Track,
    known: motion.Person,
    camera: Camera,
    transform: Similarity,
    on_progress: Progress | None = None,
    missing: str = MISSING[0],
) -> tuple[motion.Motion, np.ndarray]:
    """`Motion` of the frames of a `Track`, short gaps filled, and the stretches [N] of `curves.fill_gaps`.

    Args:
      track: `Track`.
      known: `motion.Person`.
      camera, transform: of `clip_camera`.
      on_progress: see `reconstruct_clip`.
      missing: of `ClipSettings`, how frames without the face are filled.

    Returns:
      `Motion`, and [N] int.
    """
    pixels = transform.apply(track.landmarks[:, : len(known.points)])
    rows = np.zeros((len(track.times), 6 + len(known.modes)))
    present = np.flatnonzero(track.present)
    for index, moved in zip(present, in_order(lambda i: motion.solve(known, pixels[i], camera), present), strict=True):
        rows[index] = np.concatenate(moved)
        if on_progress:
            on_progress("motion", int(index) + 1, len(rows))
    rows[track.present, :3] = motion.continuous(rows[track.present, :3])
    stretches = curves.fill_gaps(track.times, track.present, GAP)
    return _motion(_filled(track, rows, missing)), stretches


def find_units(
    track: Track,
    names: Sequence[str],
    found: motion.Motion,
    camera: Camera,
    transform: Similarity,
    on_progress: Progress | None = None,
    missing: str = MISSING[0],
) -> np.ndarray:
    """Weights [N, J] in [0, 1] of the units in the frames of a `Track`, those without a face from their neighbours.

    Args:
      track: `Track`.
      names: J units.
      found: `motion.Motion` of the frames, not smoothed.
      camera, transform: of `clip_camera`.
      on_progress: see `reconstruct_clip`.
      missing: of `ClipSettings`, how frames without the face are filled.
    """
    pixels = transform.apply(track.landmarks[:, COUNT:])
    present = np.flatnonzero(track.present)
    responses = expression.load()

    def seen(index: int) -> np.ndarray:
        frame = expression.Frame(pixels[index], found.angles[index], found.translation[index])
        return expression.coordinates(responses, frame, camera)

    shown = np.array(list(in_order(seen, present.tolist())))
    known = expression.neutral_of(responses, shown)
    rows = np.zeros((len(track.times), len(names)))
    weights_of = partial(expression.solve, responses, known=known, names=names)
    for index, weights in zip(present, in_order(weights_of, shown), strict=True):
        rows[index] = weights
        if on_progress:
            on_progress("units", int(index) + 1, len(rows))
    return _filled(track, rows, missing)


def smoothed_units(
    names: Sequence[str], weights: np.ndarray, times: np.ndarray, stretches: np.ndarray, seconds: float
) -> np.ndarray:
    """Weights [N, J] of units smoothed in time as by `curves.smooth`, those of the eyes over `QUICK` of the time."""
    eyes = np.array([name.startswith("eye") for name in names])
    result = np.empty_like(weights)
    for chosen, span in ((eyes, QUICK * seconds), (~eyes, seconds)):
        result[:, chosen] = curves.smooth(times, stretches, weights[:, chosen], span)
    return np.clip(result, 0.0, 1.0)


def smoothed(found: motion.Motion, times: np.ndarray, stretches: np.ndarray, seconds: float) -> motion.Motion:
    """A `Motion` smoothed in time, see `curves.smooth`."""
    return _motion(curves.smooth(times, stretches, np.concatenate(found, axis=-1), seconds))


def _filled(track: Track, rows: np.ndarray, missing: str) -> np.ndarray:
    """Rows [N, D] of the frames of a `Track`, those without a face after `missing` of `ClipSettings`."""
    if missing == "hold":
        return curves.hold(track.present, rows)
    return curves.interpolate(track.times, track.present, rows)


def _motion(rows: np.ndarray) -> motion.Motion:
    return motion.Motion(rows[:, :3], rows[:, 3:6], rows[:, 6:])


def _portrait(path: Path, image: np.ndarray, found: Detection, points: np.ndarray) -> Portrait:
    """The `Portrait` of a frame."""
    low, high = found.box[:2], found.box[2:]
    margin = WINDOW * (high - low).max()
    x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int)
    x1, y1 = np.ceil(high + margin).astype(int)
    window = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].copy()
    return Portrait(path, window, (int(x0), int(y0)), alignment.align(image, found.points5, points), found)
