"""What is written about a clip: a mesh with an animation, an overlay video, a texture and numbers.

Letters: N frames, V vertices, S side of the texture in px.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from tf_deep3d import face as faces
from tf_deep3d.errors import readable
from tf_deep3d.face import expression, lips, morphable_model
from tf_deep3d.face.geometry import Similarity, vertex_normals
from tf_deep3d.face.landmarks import eye_distance, mean_distance
from tf_deep3d.fitting import motion
from tf_deep3d.io.files import refuse_existing
from tf_deep3d.io.work_folders import work_folder
from tf_deep3d.mesh import face_files, gltf
from tf_deep3d.mesh.accessors import Gltf
from tf_deep3d.mesh.animation import Animation, animate
from tf_deep3d.mesh.mesh import PNG_LEVEL, Mesh, to_uint8
from tf_deep3d.reconstruction import view
from tf_deep3d.reconstruction.appearance import versions
from tf_deep3d.reconstruction.clip import clip as clips
from tf_deep3d.reconstruction.clip import curves, video
from tf_deep3d.reconstruction.clip.scene import Scene, Targets, coefficients_at, shown_targets
from tf_deep3d.reconstruction.parallel import in_order
from tf_deep3d.reconstruction.photo import Models, Options
from tf_deep3d.rendering import pictures
from tf_deep3d.texture import texture
from tf_deep3d.texture.atlas import SIZE
from tf_deep3d.texture.views import extract_view

FILES = ("face.glb", "overlay.mp4", "coefficients.json", "texture.png", view.VIEW)
SIDEWAYS = np.radians(12)  # yaw from which a key frame shows the texture something that the frontal one does not
EXPRESSIVE = 0.02  # radians off the frontal pose that one standard deviation of expression counts as, likewise
OVERLAY_LEVEL = 1  # level of detail of the overlay


@dataclass(frozen=True)
class ClipOutcome:
    """What was found in a clip and written.

    Attributes:
      folder: of the results.
      frames: number of frames read.
      seen: with a face that was found.
      others: with somebody else's face.
      filled: in short gaps.
      cut: whether the clip goes on after `max_frames`.
      landmark_error: mean distance of the 51 inner landmarks over that of the outer eye corners, after smoothing.
      jitter: root mean square second difference of the found and of the smoothed landmarks, px of the frame.
      blendshape_residual: mean over the frames of what the blendshapes leave of the expression, dm; None without any.
    """

    folder: Path
    frames: int
    seen: int
    others: int
    filled: int
    cut: bool
    landmark_error: float
    jitter: tuple[float, float]
    blendshape_residual: float | None

    def told(self) -> str:
        """How many frames do not show the face."""
        missing = self.frames - self.seen - self.filled
        others = f", {self.others} show somebody else" if self.others else ""
        return f"{self.filled} filled in, {missing} without the face{others}"

    def facts(self) -> dict[str, str]:
        """What the page says in numbers, name -> text."""
        rest = self.blendshape_residual
        return {
            "frames": f"{self.frames}, {self.told()}",
            "landmarks": f"{100 * self.landmark_error:.1f} % of the eye distance from those detected",
            "jitter": f"{self.jitter[0]:.2f} px found, {self.jitter[1]:.2f} px smoothed",
            "blendshapes": "" if rest is None else f"{100 * rest:.2f} mm of the expression left",
        }


def reconstruct_clip(
    path: str | Path,
    out: str | Path,
    settings: clips.ClipSettings,
    options: Options,
    models: Models,
    overwrite: bool = False,
    on_progress: clips.Progress | None = None,
) -> ClipOutcome:
    """Reconstructs the face of a clip.

    Args:
      path: video file or folder of frames.
      out: folder; gets `FILES`, each whole or not at all.
      settings: `clips.ClipSettings`.
      options: `photo.Options`.
      models: `photo.Models` of `photo.load_models`.
      overwrite: replace existing results.
      on_progress: called with (name of the stage, steps done, steps in all or None).

    Returns:
      `ClipOutcome`.

    Raises:
      FileExistsError: if a result exists and `overwrite` is false.
      NoFaceError: if no frame shows a face.
      video.VideoError, photos.PhotoError, OSError: if the clip cannot be read or results cannot be written.
    """
    path, out = Path(path), Path(out)
    progress = on_progress or (lambda stage, done, total: None)
    names = [name for name in FILES if models.shown is not None or name != view.VIEW]
    if not overwrite:
        refuse_existing(*(out / name for name in names))
    track = clips.follow_clip(path, settings, models.levels[-1], progress)
    camera, transform = clips.clip_camera(track)
    looks = clips.appearance(track, options, models, progress)
    known = motion.person(models.levels[-1], looks.identity)
    found, stretches = clips.find_motion(track, known, camera, transform, progress, settings.missing)
    moves = clips.smoothed(found, track.times, stretches, settings.smooth)
    weights = None
    if models.units is not None and expression.shows_units(models.levels[-1]):
        units = models.levels[-1].blendshape_names
        weights = clips.find_units(track, units, found, camera, transform, progress, settings.missing)
        weights = clips.smoothed_units(units, weights, track.times, stretches, settings.smooth)
    targets = shown_targets(models, moves, weights)
    scene = Scene(track, camera, transform, looks, stretches, settings.missing == "hold", moves, *targets)
    with work_folder(_writable(out)) as temporary:
        image = _texture(scene, models)
        Image.fromarray(to_uint8(image)).save(temporary / "texture.png", compress_level=PNG_LEVEL)
        gltf.write_glb(temporary / "face.glb", _animated(scene, image, models.written, options.packing))
        still = _write_overlay(temporary / "overlay.mp4", path, scene, settings, models, progress)
        outcome, record = _summary(path, out, scene, known, models, options.method, settings)
        if models.shown is not None:
            coarse = scene._replace(targets=shown_targets(models._replace(written=models.shown), moves, weights)[0])
            file = _animated(coarse, image, models.shown)
            text = view.page(file, path.stem, models.shown, outcome.facts(), still)
            (temporary / view.VIEW).write_text(text, encoding="utf-8")
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        (temporary / "coefficients.json").write_text(text + "\n", encoding="utf-8")
        if not overwrite:
            refuse_existing(*(out / name for name in names))
        for name in names:
            os.replace(temporary / name, out / name)
        if models.shown is None:
            (out / view.VIEW).unlink(missing_ok=True)  # of an earlier run, whose files these replace
    return outcome


def _texture(scene: Scene, models: Models) -> np.ndarray:
    """[S, S, 3] texture of the most frontal key frame, completed by one from each side."""
    frames = scene.appearance.frames
    yaw = scene.motion.angles[frames, 1]
    strength = np.linalg.norm(scene.motion.expression[frames], axis=-1)
    chosen = [int(np.argmin(np.linalg.norm(scene.motion.angles[frames, :2], axis=-1) + EXPRESSIVE * strength))]
    for side in (1, -1):
        best = int(np.argmax(side * (yaw - yaw[chosen[0]])))
        if side * (yaw[best] - yaw[chosen[0]]) > SIDEWAYS:
            chosen.append(best)
    albedo = faces.albedo(models.written, scene.appearance.albedo[None])[0]
    views, atlas = [], models.atlas(SIZE)
    for key in chosen:
        portrait = scene.appearance.portraits[key]
        face = faces.reconstruct(models.written, coefficients_at(scene, frames[key]), scene.camera)
        x, y = scene.transform.apply(np.array(portrait.corner, np.float64)).tolist()
        moved = Similarity(scene.transform.scale, 0.0, (x, y))
        views.append(extract_view(portrait.window, models.written, face, scene.camera, moved, atlas))
    return texture.complete(views, albedo, atlas).image


def _animated(scene: Scene, image: np.ndarray, model: morphable_model.MorphableModel, packing: str = "compact") -> Gltf:
    """The animated glTF of a `Scene` with the texture `image` [S, S, 3], on the level of detail of its targets."""
    neutral = lips.sealed(lips.lips_of(model), faces.neutral_shape(model, scene.appearance.identity[None])[0])
    normals = vertex_normals(neutral[None], model.triangles, model.vertex_corners)[0]
    mesh = Mesh(neutral, model.triangles, normals, model.uv, model.uv_triangles, image)
    targets = scene.targets
    shown = curves.keys(scene.stretches, scene.held)
    moving = {name: moved for name, (moved, _) in targets.items()}
    document = gltf.build(face_files.parts(model, mesh), moving, licence=model.licence, packing=packing)
    animation = Animation(
        times=scene.track.times[shown],
        weights={name: weights[shown] for name, (_, weights) in targets.items()},
        angles=scene.motion.angles[shown],
        translation=scene.motion.translation[shown],
    )
    animate(document, animation, scene.camera)
    return document


def _write_overlay(
    path: Path, clip: Path, scene: Scene, settings: clips.ClipSettings, models: Models, progress: clips.Progress
) -> np.ndarray:
    """Writes the overlay video; returns its most frontal frame [H, W, 3] uint8."""
    times = scene.track.times
    rate = 1 / np.median(np.diff(times)) if len(times) > 1 else video.FRAME_RATE
    model = morphable_model.pick_level(models.levels, OVERLAY_LEVEL)
    frames = video.read_frames(clip, len(times), settings.frame_rate)
    turned = np.linalg.norm(scene.motion.angles[:, :2], axis=1)
    frontal = int(np.where(scene.stretches >= 0, turned, np.inf).argmin())
    still = np.zeros((0, 0, 3), np.uint8)
    sound = clip if clip.is_file() else None

    def draw(numbered: tuple[int, video.Frame]) -> video.Frame:
        index, frame = numbered
        if scene.stretches[index] < 0:
            return frame
        face = faces.reconstruct(model, coefficients_at(scene, index), scene.camera)
        return frame._replace(image=pictures.overlay_photo(frame.image, face, model.triangles, scene.transform))

    with video.writing_video(path, *scene.track.size, rate, sound) as write:
        for index, frame in enumerate(in_order(draw, enumerate(frames))):
            if index == frontal:
                still = frame.image
            write(frame)
            progress("overlay", index + 1, len(times))
    return still


def _summary(
    path: Path,
    out: Path,
    scene: Scene,
    known: motion.Person,
    models: Models,
    method: str,
    settings: clips.ClipSettings,
) -> tuple[ClipOutcome, dict[str, Any]]:
    """`ClipOutcome`, and the content of coefficients.json."""
    track, model = scene.track, models.levels[-1]
    back = scene.transform.inverse()
    landmarks = back.apply(motion.project(known, scene.motion, scene.camera)[:, :68])
    detected = track.landmarks[:, :68]
    inner = mean_distance(landmarks, detected)[track.present]
    eyes = eye_distance(detected)[track.present]
    shown = scene.stretches >= 0
    outcome = ClipOutcome(
        folder=out,
        frames=len(track.times),
        seen=int(track.present.sum()),
        others=int(track.others.sum()),
        filled=int((shown & ~track.present).sum()),
        cut=track.cut,
        landmark_error=float(np.mean(inner / np.maximum(eyes, 1e-6))),
        jitter=(curves.jitter(detected, track.present), curves.jitter(landmarks, track.present)),
        blendshape_residual=None if scene.residual is None else float(scene.residual[shown].mean()),
    )
    frames = [
        {
            "time_s": round(float(track.times[index]), 6),
            "source": "detected" if track.present[index] else "interpolated",
            "angles_radians": _numbers(scene.motion.angles[index]),
            "translation_dm": _numbers(scene.motion.translation[index]),
            "expression": _numbers(scene.motion.expression[index]),
            "blendshape_weights": _numbers([weights[index] for _, weights in scene.targets.values()]),
            **({} if scene.residual is None else {"arkit": _units_of(scene.targets, index)}),
            "landmarks68_frame_px": _numbers(landmarks[index]),
            "detected_landmarks68_frame_px": _numbers(detected[index]) if track.present[index] else None,
        }
        if shown[index]
        else {
            "time_s": round(float(track.times[index]), 6),
            "source": "somebody else" if track.others[index] else "no face",
        }
        for index in range(len(track.times))
    ]
    return outcome, {
        "clip": readable(path.name),
        "frame_size_px": list(track.size),
        "camera": {"focal_px": scene.camera.focal / scene.transform.scale, "distance_dm": scene.camera.distance},
        "identity": _numbers(scene.appearance.identity),
        "albedo": _numbers(scene.appearance.albedo),
        "key_frames": scene.appearance.frames.tolist(),
        "illumination_of_key_frames": _numbers(scene.appearance.illumination),
        "blendshape_names": list(scene.targets),
        "blendshape_residual_dm": outcome.blendshape_residual,
        "landmark_error": outcome.landmark_error,
        "jitter_px": dict(zip(("detected", "smoothed"), outcome.jitter, strict=True)),
        "smooth_s": settings.smooth,
        "overlay_codec": video.writing_codec(),
        "method": method,
        "model": {"name": model.name, "level": models.written.level, "licence": model.licence},
        "versions": versions(),
        "frames": frames,
    }


def _units_of(targets: Targets, index: int) -> dict[str, float]:
    """The units that one frame shows, name -> weight."""
    return {name: shown for name, (_, weights) in targets.items() if (shown := round(float(weights[index]), 5))}


def _writable(out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise PermissionError(f"cannot write to {out}")
    return out


def _numbers(values: ArrayLike) -> list[Any]:
    return np.round(np.asarray(values, np.float64), 5).tolist()
