"""Rows of teeth: closed surfaces along the arch where the base mesh's bands meet."""

from types import SimpleNamespace

import numpy as np
import pytest

from tf_deep3d.face.camera import MILLIMETRES
from tf_deep3d.porting.open_face import teeth

SCALE = 1.07


@pytest.fixture(scope="module")
def bands():
    """Two bands that meet on a half ellipse, as the base mesh has them: the only sources that teeth need."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    arch = np.stack([0.31 * np.sin(angle), 6.6 + 0.12 * np.sin(angle) ** 2, 0.95 + 0.52 * np.cos(angle)], 1)
    vertices = (arch + np.array([0, 0.1, 0]) * np.array([0, 1, 0, -1])[:, None, None]).reshape(-1, 3)
    strip = np.stack([np.arange(16), np.arange(16) + 1, np.arange(16) + 18, np.arange(16) + 17], 1)
    return SimpleNamespace(vertices=vertices, quads={"helper-upper-teeth": strip, "helper-lower-teeth": strip + 34})


def test_arch_is_where_the_bands_meet(bands):
    line = teeth.arch(bands)
    np.testing.assert_allclose(line[0], [0, 6.6, 1.47], atol=1e-9)
    np.testing.assert_allclose(line[-1], [0.31, 6.72, 0.95], atol=1e-9)
    assert (np.diff(line[:, 2]) < 0).all()


@pytest.mark.parametrize("which", ["upper", "lower"])
def test_row_is_closed_and_symmetric(bands, which):
    """14 teeth and a gum; every edge once in each direction, volumes positive, left the mirror image of right."""
    row = teeth.row(bands, which, SCALE)
    directed = np.concatenate([row.triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    numbers = directed @ [len(row.points), 1]
    assert len(np.unique(numbers)) == len(numbers)
    assert np.isin(directed @ [1, len(row.points)], numbers).all()
    corners = row.points[row.triangles]
    volumes = np.einsum("ti,ti->t", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    gum = row.gum[row.triangles].all(1)
    assert gum.any()
    sizes = volumes[~gum].reshape(14, -1).sum(1)
    assert (sizes > 0).all()
    np.testing.assert_allclose(sizes[:7], sizes[7:], rtol=1e-6)
    assert volumes[gum].sum() > 0


@pytest.mark.parametrize(("which", "width"), [("upper", 8.5), ("lower", 5.0)])
def test_central_incisors_are_as_wide_as_people_s(bands, which, width):
    """Mean mesiodistal widths, mm, in people's size; the tooth faces almost straight ahead."""
    row = teeth.row(bands, which, SCALE)
    incisor = row.points[~row.gum].reshape(14, -1, 3)[0]
    assert MILLIMETRES * SCALE * np.ptp(incisor[:, 0]) == pytest.approx(width, abs=0.6)


def test_upper_row_covers_the_lower(bands):
    """Incisors: the upper edge hangs below the lower edge, in front of it."""
    upper, lower = (teeth.row(bands, which, SCALE) for which in ("upper", "lower"))
    front = [row.points[~row.gum].reshape(14, -1, 3)[0] for row in (upper, lower)]
    assert front[0][:, 1].min() < front[1][:, 1].max()
    edge = [
        points[points[:, 1].argmin() if index == 0 else points[:, 1].argmax()] for index, points in enumerate(front)
    ]
    assert edge[0][2] > edge[1][2]
