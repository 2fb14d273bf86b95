"""What a clip shows, frame by frame: the face that moves, and what moves it.

Letters: N frames, V vertices, J targets.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from tf_deep3d.face import blendshapes
from tf_deep3d.face.camera import Camera
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.fitting import motion
from tf_deep3d.reconstruction.clip import clip as clips
from tf_deep3d.reconstruction.photo import Models

Targets: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (displacements [V, 3] dm, weights [N])


class Scene(NamedTuple):
    """All that is written.

    Attributes:
      track: `clips.Track`.
      camera, transform: of `clips.clip_camera`.
      appearance: `clips.Appearance`.
      stretches: [N] int, -1 for frames without a face.
      held: whether the face keeps its last pose in these.
      motion: `motion.Motion`, smoothed.
      targets: name -> (displacements [V, 3] dm, weights [N]).
      residual: [N] dm, what the targets leave of the expression; None where they are the expression modes.
    """

    track: clips.Track
    camera: Camera
    transform: Similarity
    appearance: clips.Appearance
    stretches: np.ndarray
    held: bool
    motion: motion.Motion
    targets: Targets
    residual: np.ndarray | None


def coefficients_at(scene: Scene, index: int) -> Coefficients:
    """`Coefficients` of one frame, the light in between that of the key frames."""
    looks = scene.appearance
    when = scene.track.times[looks.frames]
    columns = looks.illumination.reshape(len(looks.frames), -1).T
    light = [np.interp(scene.track.times[index], when, column) for column in columns]
    groups = (
        *(looks.identity, scene.motion.expression[index], looks.albedo, scene.motion.angles[index]),
        *(np.reshape(light, looks.illumination.shape[1:]), scene.motion.translation[index]),
    )
    return Coefficients(*(np.asarray(group, np.float32)[None] for group in groups))


def shown_targets(
    models: Models, moves: motion.Motion, weights: np.ndarray | None = None
) -> tuple[Targets, np.ndarray | None]:
    """`targets` and `residual` of a `Scene`: the named blendshapes, or else all expression modes.

    The `weights` [N, J] of the blendshapes are by default those that come nearest to the expression.
    """
    model = models.written
    if models.units is not None:
        if weights is None:
            weights, rest = blendshapes.weights(models.units, moves.expression)
        else:
            rest = blendshapes.unexplained(models.units, moves.expression, weights)
        return dict(zip(model.blendshape_names, zip(model.blendshapes, weights.T, strict=True), strict=True)), rest
    names = (f"expression{index}" for index in range(len(model.expression_basis)))
    return dict(zip(names, zip(model.expression_basis, moves.expression.T, strict=True), strict=True)), None
