"""The hybrid loss of a photo, minimised by Gauss-Newton steps in NumPy: it starts at once, on any machine.

What is minimised is the loss of `descent` without its perceptual term, and a pull back to the start: R-Net's answer
knows of people what neither landmarks nor colours of one photo tell. Colours are compared at the points of the surface
that every fourth pixel across and down sees. While a step is found each keeps its place on the surface: its colour in
the photo changes along the photo's gradient, its rendered colour with albedo, light and normal. Distances of colours
count by their length, not its square, so their squares are weighed anew at each step (iteratively reweighted least
squares).

Letters: B photos, P points of the surface, K modes of shape (identity, then expression), D coefficients, L landmarks,
N residuals, S coefficients that all photos share.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tf_deep3d import face as faces
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.camera import Camera, projection_jacobian
from tf_deep3d.face.coefficients import GROUPS, SCALES, Coefficients, Layout
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.fitting.settings import WEIGHTS, FitSettings, Observation
from tf_deep3d.fitting.targets import landmark_targets
from tf_deep3d.rendering import still

EVERY = 4  # px of the aligned photo, across and down, for one point
FLOOR = 0.03  # of colours, a distance below which counts by its square
SETTINGS = FitSettings(weights=replace(WEIGHTS, landmark=2.5e-2))
ANGLE = 1e-3  # radians, of the central differences of the rotation


class Surface(NamedTuple):
    """A face model as the steps read it.

    Attributes:
      model: `MorphableModel`.
      shape_modes: [V, 3, K] float32, dm.
      albedo_modes: [V, 3, Kt] float32.
      inner_face: [T] bool, triangles that are compared with the photo.
      flatness: M [Kt, Kt] and m [Kt]; the variance of the albedo d over the skin is d' M d + 2 m' d + a constant.
    """

    model: MorphableModel
    shape_modes: np.ndarray
    albedo_modes: np.ndarray
    inner_face: np.ndarray
    flatness: tuple[np.ndarray, np.ndarray]


def surface_of(model: MorphableModel) -> Surface:
    """The `Surface` of a `MorphableModel`."""
    modes = np.concatenate([model.identity_basis, model.expression_basis])
    shape, albedo = (np.ascontiguousarray(np.moveaxis(each, 0, -1)) for each in (modes, model.albedo_basis))
    spread, mean = (each[model.regions["skin"]] for each in (albedo, model.mean_albedo))
    columns = (spread - spread.mean(axis=0)).reshape(-1, albedo.shape[-1])
    flatness = (columns.T @ columns, columns.T @ (mean - mean.mean(axis=0)).reshape(-1))
    inner = np.all(model.regions["inner_face"][model.triangles], axis=-1)
    return Surface(model, shape, albedo, inner, (flatness[0] / max(len(mean), 1), flatness[1] / max(len(mean), 1)))


def refine(
    surface: Surface,
    observation: Observation,
    start: Coefficients,
    settings: FitSettings,
    steps: int,
    on_step: Callable[[], object] | None = None,
) -> Coefficients:
    """Fits B photos, each for itself but for the groups that they share.

    Args:
      surface: of `surface_of`.
      observation: `Observation` of B photos.
      start: `Coefficients` to start from, to which the faces are pulled back; shared groups start from their mean.
      settings: `FitSettings`; of its loss weights all but the perceptual one count, and `fixed` does not.
      steps: of Gauss-Newton.
      on_step: called without arguments after each step of all faces.

    Returns:
      `Coefficients` of B faces. A face whose photo has no solution may have coefficients that are not finite; where
      groups are shared, all may.
    """
    layout = surface.model.layout(settings.lighting)
    means = {name: np.zeros_like(group) + group.mean(axis=0) for name, group in zip(GROUPS, start, strict=True)}
    start = start._replace(**{name: means[name] for name in settings.shared})
    photos = [_Photo.of(surface, observation, start, index, settings) for index in range(len(observation.images))]
    vectors = layout.join(start).astype(np.float64)
    places = [np.arange(layout.total)[getattr(_places(layout), name)] for name in settings.shared]
    shared = np.concatenate([np.zeros(0, int), *places])
    for _ in range(steps):
        systems = [_system(surface, layout, settings, *each) for each in zip(photos, vectors, strict=True)]
        vectors -= _solve(systems, shared)
        if on_step:
            on_step()
    return layout.split(vectors.astype(np.float32))


class _Photo(NamedTuple):
    """What is known of one photo.

    Attributes:
      colors: [H, W, 3], every `EVERY`th pixel, averaged.
      slopes: [H, W, 3, 2], their derivative by x and y in px of the aligned photo.
      attention: [H, W].
      model: `MorphableModel` with the landmarks "fit" that are compared.
      landmark_modes: [L, 3, K], dm.
      targets: [L, 2] px.
      roots: [L, 2, 2], R with R' R the weight of a landmark's squared distance.
      camera: of the aligned photo.
      start: [D].
    """

    colors: np.ndarray
    slopes: np.ndarray
    attention: np.ndarray
    model: MorphableModel
    landmark_modes: np.ndarray
    targets: np.ndarray
    roots: np.ndarray
    camera: Camera
    start: np.ndarray

    @classmethod
    def of(
        cls, surface: Surface, observation: Observation, start: Coefficients, index: int, settings: FitSettings
    ) -> "_Photo":
        """The `index`-th photo of an `Observation`."""
        known, mine = observation.one(index), Coefficients(*(group[index : index + 1] for group in start))
        model, targets, weights = landmark_targets(surface.model, known, settings, mine)
        points = model.landmarks["fit"]
        modes = np.einsum("lcxk,lc->lxk", surface.shape_modes[points.vertices], points.weights)
        colors, attention = (_reduced(each[0]) for each in (known.images, known.attention))
        down, right = np.gradient(colors, axis=(0, 1))
        weights = weights[0] * (2 * settings.weights.landmark / len(modes))
        roots = np.sqrt(weights)[:, None, None] * np.eye(2) if weights.ndim == 1 else _roots(weights)
        vector = surface.model.layout(settings.lighting).join(mine)[0].astype(np.float64)
        slopes = np.stack([right, down], axis=-1) / EVERY
        return cls(colors, slopes, attention[..., 0], model, modes, targets[0], roots, known.camera or Camera(), vector)


class _Posed(NamedTuple):
    """A face, and what its derivatives are made of.

    Attributes:
      face: `Face` of one.
      shape: [V, 3], unposed, dm.
      rotation: [3, 3].
      turns: [3, 3, 3], its derivatives by pitch, yaw and roll.
      light: [C, 9] with the ambient light.
    """

    face: faces.Face
    shape: np.ndarray
    rotation: np.ndarray
    turns: np.ndarray
    light: np.ndarray


def _system(
    surface: Surface, layout: Layout, settings: FitSettings, photo: _Photo, vector: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Second derivatives [D, D] and gradient [D] of the loss of a photo, at a `vector` [D]."""
    posed = _pose(photo, layout.split(vector[None].astype(np.float32)))
    matrix, gradient = _quadratic(surface, layout, settings, photo, vector, posed)
    for columns, residual in (_colors(surface, layout, settings, photo, posed), _landmarks(layout, photo, posed)):
        matrix += columns.T @ columns
        gradient += columns.T @ residual
    return matrix, gradient


def _solve(systems: Sequence[tuple[np.ndarray, np.ndarray]], shared: np.ndarray) -> np.ndarray:
    """The steps [B, D] that are subtracted, for second derivatives and gradients of B photos: where they are least in
    sum, with the same step of the `shared` [S] coefficients in all photos (Schur complements of the others)."""
    size = len(systems[0][1])
    own = np.setdiff1d(np.arange(size), shared)
    across, solved = np.ix_(own, shared), []
    joint, pull = np.zeros((len(shared), len(shared))), np.zeros(len(shared))
    for matrix, gradient in systems:
        try:  # what the others do is known up to the step of the shared ones
            alone = np.linalg.solve(matrix[np.ix_(own, own)], np.column_stack([gradient[own], matrix[across]]))
        except np.linalg.LinAlgError:  # a photo without a solution
            alone = np.full((len(own), 1 + len(shared)), np.nan)
        joint += matrix[np.ix_(shared, shared)] - matrix[across].T @ alone[:, 1:]
        pull += gradient[shared] - matrix[across].T @ alone[:, 0]
        solved.append(alone)
    steps = np.empty((len(systems), size))
    steps[:, shared] = np.linalg.solve(joint, pull)
    steps[:, own] = [alone[:, 0] - alone[:, 1:] @ steps[0, shared] for alone in solved]
    return steps


def _pose(photo: _Photo, coefficients: Coefficients) -> _Posed:
    angles = coefficients.angles.astype(np.float64) + ANGLE * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    rotations = geometry.rotation_matrix(angles)
    light = coefficients.illumination[0].copy()
    light[:, 0] += lighting.AMBIENT
    return _Posed(
        faces.reconstruct(photo.model, coefficients, photo.camera, landmarks="fit"),
        faces.unposed_shape(photo.model, coefficients.identity, coefficients.expression)[0],
        rotations[0],
        (rotations[1:4] - rotations[4:]) / (2 * ANGLE),
        light,
    )


def _quadratic(
    surface: Surface, layout: Layout, settings: FitSettings, photo: _Photo, vector: np.ndarray, posed: _Posed
) -> tuple[np.ndarray, np.ndarray]:
    """Second derivatives [D, D] and gradient [D] of what asks neither colours nor landmarks."""
    weights, at = settings.weights, _places(layout)
    prior, pull = np.zeros((2, layout.total))
    for name in ("identity", "expression", "albedo"):
        prior[getattr(at, name)] = 2 * weights.prior * getattr(weights, f"prior_{name}")
    for place, scale in zip(at, SCALES, strict=True):
        pull[place] = 2 * settings.pull / scale**2
    matrix, gradient = np.diag(prior + pull), prior * vector + pull * (vector - photo.start)

    variance, mean = surface.flatness
    matrix[at.albedo, at.albedo] += 2 * weights.albedo_flatness * variance
    gradient[at.albedo] += 2 * weights.albedo_flatness * (variance @ vector[at.albedo] + mean)

    channels = len(posed.light)
    share = 2 * weights.illumination_whiteness / (channels * lighting.HARMONICS)
    apart = share * np.kron(np.eye(channels) - 1 / channels, np.eye(lighting.HARMONICS))
    matrix[at.illumination, at.illumination] += apart
    gradient[at.illumination] += apart @ vector[at.illumination]

    skin = lighting.sh_basis(posed.face.normals[:, surface.model.regions["skin"]])[0].mean(axis=0)
    luminance = lighting.LUMINANCE if channels == len(lighting.LUMINANCE) else np.ones(1)
    column = np.kron(luminance, skin) / lighting.EXPOSURE_SPREAD
    excess = column @ posed.light.reshape(-1) - lighting.EXPOSURE / lighting.EXPOSURE_SPREAD
    matrix[at.illumination, at.illumination] += 2 * weights.exposure * np.outer(column, column)
    gradient[at.illumination] += 2 * weights.exposure * excess * column
    return matrix, gradient


def _colors(
    surface: Surface, layout: Layout, settings: FitSettings, photo: _Photo, posed: _Posed
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives [N, D] and residuals [N] of the colours, photo less render, whose squares over 2 are summed."""
    face, model, at = posed.face, surface.model, _places(layout)
    modes, height, width = surface.shape_modes.shape[-1], *photo.attention.shape
    seen = still.rasterize(face.pixels[0] / EVERY, face.depth[0], model.triangles, height, width)
    chosen = (seen.triangle >= 0) & (photo.attention > 0) & surface.inner_face[seen.triangle]
    count, share, attention = chosen.sum(), seen.barycentrics[chosen], photo.attention[chosen]
    corners = model.triangles[seen.triangle[chosen]]
    if not count:
        return np.zeros((0, layout.total), np.float32), np.zeros(0, np.float32)

    def at_points(attribute: np.ndarray) -> np.ndarray:
        return np.matmul(share[:, None], attribute.take(corners, axis=0))[:, 0]

    points, albedo, normals = at_points(face.vertices[0]), at_points(face.albedo[0]), at_points(face.normals[0])
    normals, depth = geometry.normalize(normals), photo.camera.distance - points[:, 2]
    harmonics = lighting.sh_basis(normals[None])[0]
    light = harmonics @ posed.light.T  # [P, C]
    residual = photo.colors[chosen] - albedo * light
    along = photo.slopes[chosen] @ projection_jacobian(points, depth, photo.camera)  # [P, 3, 3] by the place
    across = albedo[..., None] * (posed.light @ lighting.sh_slopes(normals))  # [P, 3, 3] by the normal
    across -= np.matmul(across, normals[..., None]) * normals[:, None]

    columns = np.zeros((count, 3, layout.total), np.float32)
    # A point moves with the corners of its triangle, and so does the triangle's normal: n ~ (b - a) x (c - a).
    a, b, c = (posed.shape.take(corners[:, i], axis=0) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)[:, None, None]
    turned = across @ posed.rotation / np.maximum(area, 1e-12)
    by_b, by_c = np.cross((c - a)[:, None], turned), np.cross(turned, (b - a)[:, None])
    by_corners = share[:, None, :, None] * (along @ posed.rotation)[:, :, None]
    by_corners -= np.stack([-by_b - by_c, by_b, by_c], axis=2)
    by_corners = by_corners.reshape(count, 3, 9).astype(np.float32)
    columns[..., :modes] = by_corners @ surface.shape_modes.take(corners, axis=0).reshape(count, 9, modes)
    albedo_modes = surface.albedo_modes.reshape(len(surface.albedo_modes), -1)
    columns[..., at.albedo] = -light[..., None] * at_points(albedo_modes).reshape(count, 3, -1)
    unposed = at_points(posed.shape), normals @ posed.rotation
    for place, turn in zip(range(*at.angles.indices(layout.total)), posed.turns, strict=True):
        moved, tilted = (each @ turn.T for each in unposed)
        columns[..., place] = np.einsum("pcx,px->pc", along, moved) - np.einsum("pcx,px->pc", across, tilted)
    columns[..., at.translation] = along
    lit = -albedo[..., None] * harmonics[:, None]  # [P, 3, 9]
    if len(posed.light) == 1:
        columns[..., at.illumination] = lit
    else:
        blocks = columns[..., at.illumination].reshape(count, 3, 3, -1)
        blocks[:, range(3), range(3)] = lit
        columns[..., at.illumination] = blocks.reshape(count, 3, -1)

    weight = settings.weights.photometric * attention / attention.sum()
    root = np.sqrt(weight / np.maximum(np.linalg.norm(residual, axis=-1), FLOOR)).astype(np.float32)
    columns *= root[:, None, None]
    return columns.reshape(-1, layout.total), (residual * root[:, None]).reshape(-1)


def _landmarks(layout: Layout, photo: _Photo, posed: _Posed) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives [N, D] and residuals [N] of the landmarks, whose squares over 2 are summed."""
    points, at = photo.model.landmarks["fit"], _places(layout)
    known = np.concatenate([posed.face.vertices, posed.shape[None]])
    placed, unposed = faces.at_landmarks(points, known).astype(np.float64)
    by_place = photo.roots @ projection_jacobian(placed, photo.camera.distance - placed[:, 2], photo.camera)
    columns = np.zeros((len(placed), 2, layout.total))
    columns[..., : photo.landmark_modes.shape[-1]] = by_place @ posed.rotation @ photo.landmark_modes
    columns[..., at.angles] = by_place @ np.moveaxis(posed.turns @ unposed.T, 0, -1).transpose(1, 0, 2)
    columns[..., at.translation] = by_place
    residual = np.einsum("lij,lj->li", photo.roots, posed.face.landmarks[0] - photo.targets)
    return columns.reshape(-1, layout.total), residual.reshape(-1)


def _places(layout: Layout) -> Coefficients:
    """Where each group stands in the vector [D]: a slice each."""
    ends = np.cumsum(layout.sizes).tolist()
    return Coefficients(*(slice(end - size, end) for end, size in zip(ends, layout.sizes, strict=True)))


def _reduced(image: np.ndarray) -> np.ndarray:
    """An image [H, W, C] whose pixels are means of `EVERY` x `EVERY`."""
    height, width, channels = image.shape
    return image.reshape(height // EVERY, EVERY, width // EVERY, EVERY, channels).mean(axis=(1, 3))


def _roots(matrices: np.ndarray) -> np.ndarray:
    """R [L, 2, 2] with R' R each of positive definite `matrices` [L, 2, 2], or zero where that is zero."""
    there = np.trace(matrices, axis1=1, axis2=2) > 0
    roots = np.zeros(matrices.shape)
    roots[there] = np.swapaxes(np.linalg.cholesky(matrices[there]), 1, 2)
    return roots
