"""A small analytic face model: a dome with a nose, in the schema of `morphable_model.load`, with two levels."""

import numpy as np

from tf_deep3d.face import morphable_model

COLUMNS, ROWS = 17, 21  # control vertices in x and y
MODES = {"identity": 6, "expression": 4, "albedo": 5}


def _ibug68():
    """Rough places [68, 2] of the iBUG points in the unit square of the picture plane, y up."""

    def ellipse(center, radii, degrees):
        radians = np.radians(degrees)
        return np.stack([center[0] + radii[0] * np.cos(radians), center[1] + radii[1] * np.sin(radians)], -1)

    jaw = ellipse((0, 0.1), (0.85, 0.95), np.linspace(185, 355, 17))
    brows = [ellipse((x, 0.35), (0.25, 0.2), np.linspace(150, 30, 5)) for x in (-0.4, 0.4)]
    bridge = np.stack([np.zeros(4), np.linspace(0.3, -0.05, 4)], -1)
    nostrils = np.stack([np.linspace(-0.15, 0.15, 5), [-0.15, -0.18, -0.2, -0.18, -0.15]], -1)
    eyes = [ellipse((x, 0.3), (0.15, 0.06), [180, 120, 60, 0, -60, -120]) for x in (-0.4, 0.4)]
    outer = ellipse((0, -0.5), (0.3, 0.1), np.arange(180, -180, -30))
    inner = ellipse((0, -0.5), (0.22, 0.04), np.arange(180, -180, -45))
    return np.concatenate([jaw, *brows, bridge, nostrils, *eyes, outer, inner])


IBUG68 = _ibug68()


def _grid(columns, rows):
    """Grid positions [rows * columns, 2] in [-1, 1], rows from the top, and its triangles, facing +z."""
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(1, -1, rows))
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return np.stack([x, y], -1).reshape(-1, 2), triangles.astype(np.int32)


def _refinement(columns, rows):
    """CSR matrix (indptr, indices, weights) of bilinear midpoint refinement of the grid."""
    indices, weights, indptr = [], [], [0]
    for i in range(2 * rows - 1):
        for j in range(2 * columns - 1):
            corners = {(r, c) for r in (i // 2, (i + 1) // 2) for c in (j // 2, (j + 1) // 2)}
            indices += [r * columns + c for r, c in sorted(corners)]
            weights += [1 / len(corners)] * len(corners)
            indptr.append(len(indices))
    return np.array(indptr, np.int32), np.array(indices, np.int32), np.array(weights, np.float32)


def _smooth_fields(rng, positions, count, amplitude):
    """`count` smooth random fields [count, N, 3] over the grid positions [N, 2]."""
    x, y = positions.T
    waves = np.stack([np.cos(i * 1.5 * x + 0.3) * np.cos(j * 1.5 * y - 0.2) for i in range(4) for j in range(4)])
    return np.einsum("kcw,wn->knc", rng.normal(size=(count, 3, len(waves))), waves) * amplitude


def _landmarks(points, grid, triangles):
    """Triangle and barycentrics of picture-plane `points` [L, 2] on the grid."""
    corners = grid[triangles]
    edges = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
    local = np.linalg.solve(edges[None], (points[:, None] - corners[None, :, 0])[..., None])[..., 0]
    weights = np.concatenate([1 - local.sum(-1, keepdims=True), local], -1)
    best = weights.min(-1).argmax(-1)
    return triangles[best].astype(np.int32), weights[np.arange(len(points)), best].astype(np.float32)


def synthetic_arrays(seed=0):
    """The arrays of the model file; V = 33 x 41 vertices at the finest level, 17 x 21 at the coarsest."""
    rng = np.random.default_rng(seed)
    control, coarse_triangles = _grid(COLUMNS, ROWS)
    fine, fine_triangles = _grid(2 * COLUMNS - 1, 2 * ROWS - 1)
    indptr, indices, weights = _refinement(COLUMNS, ROWS)
    x, y = control.T
    nose = np.exp(-((x / 0.2) ** 2) - ((y + 0.05) / 0.25) ** 2)
    shape = np.stack([0.8 * x, 1.0 * y, 0.9 - 0.6 * x**2 - 0.3 * y**2 + 0.25 * nose - 0.4], -1)
    albedo = np.clip(0.55 + _smooth_fields(rng, fine, 1, 0.04)[0] + [0.15, 0.0, -0.1], 0.05, 0.95)
    lips = (np.abs(fine[:, 0]) < 0.35) & (np.abs(fine[:, 1] + 0.5) < 0.1)
    eyes = (np.abs(np.abs(fine[:, 0]) - 0.4) < 0.15) & (np.abs(fine[:, 1] - 0.3) < 0.08)
    inner = (fine**2).sum(-1) < 0.8
    nothing = np.zeros(len(fine), bool)
    skin = inner & ~lips & ~eyes
    regions = dict(zip(morphable_model.REGIONS, (skin, inner, lips, nothing, nothing, eyes), strict=True))
    subset = np.arange((2 * ROWS - 1) * (2 * COLUMNS - 1)).reshape(2 * ROWS - 1, -1)[::2, ::2].reshape(-1)
    arrays = {
        "schema": np.int64(morphable_model.SCHEMA),
        "name": np.array("synthetic"),
        "licence": np.array("CC0-1.0"),
        "source": np.array("tests/synthetic.py"),
        "mean_shape": shape.astype(np.float32),
        "identity_basis": _smooth_fields(rng, control, MODES["identity"], 0.012).astype(np.float16),
        "expression_basis": _smooth_fields(rng, control, MODES["expression"], 0.012).astype(np.float16),
        "blendshape_names": np.array(["jawOpen", "eyeBlinkLeft"]),
        "blendshapes": _smooth_fields(rng, control, 2, 0.03).astype(np.float16),
        "subdivision_0_indptr": indptr,
        "subdivision_0_indices": indices,
        "subdivision_0_weights": weights,
        "mean_albedo": albedo.astype(np.float32),
        "albedo_basis": rng.integers(-127, 128, (MODES["albedo"], len(fine), 3)).astype(np.int8),
        "albedo_scale": np.full(MODES["albedo"], 0.0002, np.float32),
        "levels": np.int64(2),
        "uv": (fine / 2 + 0.5).astype(np.float32),
        "region_names": np.array(list(regions)),
        "regions": np.stack(list(regions.values())),
    }
    mouth, centers = IBUG68[48:60], [IBUG68[36:42].mean(0), IBUG68[42:48].mean(0), IBUG68[30], IBUG68[48], IBUG68[54]]
    sets = {"ibug68": IBUG68, "alignment5": np.stack(centers), "mediapipe478": np.resize(mouth, (478, 2))}
    levels = [(subset, coarse_triangles, control), (np.arange(len(fine)), fine_triangles, fine)]
    for level, (keep, triangles, grid) in enumerate(levels):
        arrays[f"level{level}_vertices"] = keep.astype(np.int32)
        arrays[f"level{level}_triangles"] = triangles
        arrays[f"level{level}_uv_triangles"] = keep[triangles].astype(np.int32)
        for name, points in sets.items():
            corners, barycentric = _landmarks(points, grid, triangles)
            arrays[f"level{level}_landmarks_{name}_vertices"] = corners
            arrays[f"level{level}_landmarks_{name}_weights"] = barycentric
    return arrays
