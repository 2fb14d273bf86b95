import h5py
import numpy as np
import pytest
import scipy.io

from tf_deep3d.porting import PortingError, containers

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def write_mat73(path, arrays):
    """A MATLAB 7.3 file: HDF5 behind MATLAB's text header, every array transposed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("write", [scipy.io.savemat, write_mat73])
def test_mat(tmp_path, write):
    path, shape = tmp_path / "a.mat", np.arange(6.0, dtype=np.float32).reshape(3, 2)
    write(path, {"shapePC": shape, "other": np.ones((1, 5))})
    found = containers.read_mat(path, ("shapePC",))
    assert list(found) == ["shapePC"]
    np.testing.assert_array_equal(found["shapePC"], shape)
    with pytest.raises(PortingError, match="shapeEV"):
        containers.read_mat(path, ("shapePC", "shapeEV"))


def test_mat_holds_numbers(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"tri": {"a": 1}, "idx": "text"})
    for name in ("tri", "idx"):
        with pytest.raises(PortingError, match=rf"a.mat: {name} must be a numeric array. Received: "):
            containers.read_mat(path, (name,))


@pytest.mark.parametrize(
    "content", [b"", b"MATLAB 5.0 MAT-file", b"\x89HDF\r\n\x1a\n" + b"\x00" * 100, bytes(range(256)) * 4]
)
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(PortingError, match=r"a.mat.*Received"):
        containers.read_mat(path, ("tri",))
    with pytest.raises(PortingError, match=r"a.mat.*Received"):
        containers.read_hdf5(path, ("tri",))


def test_mutated_mat_files_raise_nothing_else(tmp_path):
    path, rng = tmp_path / "a.mat", np.random.default_rng(0)
    scipy.io.savemat(path, {"tri": np.arange(12.0).reshape(4, 3)}, do_compression=True)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(60):
        copy = data[: rng.integers(129, len(data) + 1)].copy()
        copy[rng.integers(124, len(copy), 2)] = rng.integers(0, 256, 2)
        path.write_bytes(copy.tobytes())
        try:
            containers.read_mat(path, ("tri",))
        except PortingError:
            refused += 1
    assert refused > 50


def test_missing_and_large_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file"):
        containers.read_mat(tmp_path / "a.mat", ())
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(PortingError, match="a must be at most 4 bytes"):
        containers.checked_file(tmp_path / "a", 4)


def test_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["shape/model/mean"] = np.arange(6.0)
        file["text"] = "text"
    np.testing.assert_array_equal(containers.read_hdf5(path, ["shape/model/mean"])["shape/model/mean"], np.arange(6))
    for name, message in (
        ("shape/model/x", "missing"),
        ("shape", "numeric dataset"),
        ("text", "numeric"),
        ("text/x", "missing"),
    ):
        with pytest.raises(PortingError, match=message):
            containers.read_hdf5(path, [name])


def test_hdf5_stays_within_the_file(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(3)
    (tmp_path / "raw").write_bytes(bytes(16))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
        file["group"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/")
        file["soft"] = h5py.SoftLink("/link")
        file.create_dataset("external", (2,), "f8", external=[(str(tmp_path / "raw"), 0, 16)])
        layout = h5py.VirtualLayout((3,), "i8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (3,))
        file.create_virtual_dataset("virtual", layout)
    for name in ("link", "group/x", "soft", "external", "virtual"):
        with pytest.raises(PortingError, match=r"must lie in the file itself. Received: "):
            containers.read_hdf5(path, [name])


def test_obj(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text(
        "# comment\nmtllib x.mtl\nv 0 0 0\nv 1 0 0\r\nv 1 1 0 0.5 0.5 0.5\nv 0 1 0\nv 0 2 0\n"
        "vt 0 0\nvt 1 0\nvt 1 1 0\nvt 0 1\n"
        "vn 0 0 1\ng a\nusemtl skin\nf 1/1/1 2/2/1 3/3/1 4/4/1\nusemtl hair\nf -2/-1 -3/-2 -1/-4\n"
    )
    mesh = containers.read_obj(path)
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [3, 2, 4]])
    np.testing.assert_array_equal(mesh.uv_triangles, [[0, 1, 2], [0, 2, 3], [3, 2, 0]])
    assert mesh.materials.tolist() == ["skin", "skin", "hair"]
    np.testing.assert_array_equal(mesh.vertices[2], [1, 1, 0])
    np.testing.assert_array_equal(containers.read_obj_vertices(path), mesh.vertices)
    path.write_text(TRIANGLE + "f 1 2 3\n")
    assert containers.read_obj(path).uv is None
    path.write_text(TRIANGLE + "vt 0 0\nf 1/1 2/1 3\n")
    assert containers.read_obj(path).uv_triangles is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the lines 'v ' must be numbers"),
        (TRIANGLE, "the polygons' vertices must be numbers"),
        (TRIANGLE + "f 1 2 4\n", r"whole numbers in \[1, 4\). Received: 1 to 4"),
        (TRIANGLE + "f 1 2 0\n", r"Received: 0 to 2"),
        (TRIANGLE + "f 1 2 -4\n", r"Received: 0 to 2"),
        (TRIANGLE + "f 1 2 x\n", "a polygon cannot be read. Received: b'f 1 2 x'"),
        (TRIANGLE + "v 1 2\nf 1 2 3\n", "a line 'v ' cannot be read"),
        (TRIANGLE + "v 1 2 inf\nf 1 2 3\n", "must be finite"),
        (TRIANGLE + "f 1 2\n", "polygons"),
        (TRIANGLE + f"f 1 2 {10**22}\n", "a polygon cannot be read. Received: b'an index of more than 64 bits'"),
        (TRIANGLE + f"f 1 2 -{10**22}\n", "a polygon cannot be read. Received: b'an index of more than 64 bits'"),
        (TRIANGLE + "f 1 2 " + "9" * 5000 + "\n", "a polygon cannot be read"),
    ],
)
def test_bad_obj(tmp_path, text, message):
    path = tmp_path / "a.obj"
    path.write_text(text)
    with pytest.raises(PortingError, match=message):
        containers.read_obj(path)


def test_numbers_and_indices():
    assert containers.indices(np.array([[1.0, 3.0]]), "x", (1, None), 3, base=1).tolist() == [[0, 2]]
    for value, message in (
        ([1, 2, 3], r"shape \('any', 3\). Received: int64 \(3,\)"),
        ([["a", "b", "c"]], "Received: <U1"),
        (np.zeros((0, 3)), r"Received: float64 \(0, 3\)"),
        ([[0, np.nan, 1]], "finite"),
        ([[0, 1, 2]], r"in \[1, 4\). Received: 0 to 2"),
        ([[1, 1.5, 2]], "whole numbers"),
        ([[1, 2, 4]], "Received: 1 to 4"),
        ([[1, 2], [3]], "must be numbers. Received: "),
        ([[1, 2, 10**22]], "must be numbers of shape .* Received: object"),
    ):
        with pytest.raises(PortingError, match=message):
            containers.indices(value, "x", (None, 3), 3, base=1)


def test_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" * 100000)
    with pytest.raises(PortingError, match="not readable JSON"):
        containers.read_json(path)
