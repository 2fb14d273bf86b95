import numpy as np
import pytest

from tests.foreign_face import foreign_face
from tf_deep3d.porting import PortingError, unwrap

HEAD = foreign_face(back=True)


@pytest.mark.parametrize("back", [False, True])
def test_cylinder(back):
    foreign = foreign_face(back=back)
    uv, triangles = unwrap.cylinder(foreign.vertices - [0.03, 0, 0], foreign.triangles, 0.4)
    assert uv.min() == 0
    assert uv.max() == 1
    assert (uv[triangles].max(1) - uv[triangles].min(1)).max() < 0.3  # no triangle spans the map
    a, b, c = np.moveaxis(uv[triangles], 1, 0)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).all()  # not mirrored, nothing folded
    same = triangles == foreign.triangles
    assert same.all() != back
    np.testing.assert_array_equal(uv[triangles][..., 1], uv[foreign.triangles][..., 1])


def test_texture_map_on_several_tiles():
    uv = np.array([[0.0, 0], [1, 0], [0, 1], [3.2, 0.1], [3.9, 0.1], [3.2, 0.8], [0.5, 1.0], [0.5, 1.9], [0.2, 1.5]])
    triangles = np.arange(9).reshape(3, 3)
    packed, corners = unwrap.pack_tiles(uv, triangles)
    assert packed.min() >= 0
    assert packed.max() <= 1
    np.testing.assert_allclose(packed[corners[0]], uv[:3] * 0.75)
    np.testing.assert_allclose(packed[corners[1]], (uv[3:6] - [3, 0]) * 0.25 + [0.75, 0], atol=1e-6)
    np.testing.assert_allclose(packed[corners[2]], (uv[6:] - [0, 1]) * 0.25 + [0.75, 0.25], atol=1e-6)
    one, corners = unwrap.pack_tiles(HEAD.uv, HEAD.triangles)
    np.testing.assert_allclose(one[corners], HEAD.uv[HEAD.triangles], atol=1e-7)
    with pytest.raises(PortingError, match="at most 8 tiles"):
        unwrap.pack_tiles(
            np.repeat(np.arange(9.0), 3)[:, None] + np.full((27, 2), 0.5) * [1, 0], np.arange(27).reshape(9, 3)
        )
