"""GNM Head in miniature: metres, plain arrays under the published names, a head of parts that vertex groups name."""

import zipfile

import numpy as np
import pytest

from tests.foreign_face import assert_centered, assert_model_is, foreign_face
from tf_deep3d.face import morphable_model
from tf_deep3d.face.landmarks import EYES
from tf_deep3d.porting import PortingError, gnm, landmarks
from tf_deep3d.porting.__main__ import main

FACE = foreign_face(21, 25, back=True)
COUNT = len(FACE.vertices)
PLATE = np.array([[-0.03, 0.03, 0], [-0.03, -0.03, 0], [0.03, -0.03, 0], [0.03, 0.03, 0]])
RIGHT_EYE, LEFT_EYE = (FACE.vertices[FACE.landmarks[eye]].mean(0) for eye in EYES)
MOUTH = FACE.vertices[FACE.landmarks[60:]].mean(0)
PARTS = {  # four corners each, after the skin
    "mouth_sock": MOUTH + np.array([0, 0, -0.4]),
    "left_eye": LEFT_EYE + np.array([0, 0, -0.02]),
    "cornea": LEFT_EYE + np.array([0, 0, 0.01]),
    "right_eye": RIGHT_EYE + np.array([0, 0, -0.02]),
    "upper_teeth_and_gums": MOUTH + np.array([0, 0.02, -0.1]),
    "lower_teeth_and_gums": MOUTH + np.array([0, -0.02, -0.1]),
    "tongue": MOUTH + np.array([0, 0, -0.2]),
}
PLACES = {name: COUNT + 4 * k + np.arange(4) for k, name in enumerate(PARTS)}
VERTICES = np.concatenate([FACE.vertices, *(PLATE + place for place in PARTS.values())])
KEPT = np.setdiff1d(np.arange(len(VERTICES)), PLACES["cornea"])
GROUPS = {
    "skin": [np.arange(COUNT), PLACES["mouth_sock"]],
    "mouth_sock": [PLACES["mouth_sock"]],
    "left_eye": [PLACES["left_eye"], PLACES["cornea"]],
    "eye_exteriors": [PLACES["cornea"]],
    **{name: [PLACES[name]] for name in ("right_eye", "upper_teeth_and_gums", "lower_teeth_and_gums", "tongue")},
    "left": [np.flatnonzero(VERTICES[:, 0] > 0)],
}
REVERSED = [0, 1, 6, 5, 4, 3, 2, *range(7, 68)]  # of the first edition of the landmark file


def padded(modes):
    return np.concatenate([modes, np.zeros((len(modes), len(VERTICES) - COUNT, 3))], 1)


def triangles():
    quads = [PLACES[name][[[0, 1, 2], [0, 2, 3]]] for name in PARTS]
    return np.concatenate([FACE.triangles, *quads]).astype(np.int32)


def texture():
    """[T, 3, 2]: every part lies on the unit square, over the others."""
    plate = np.array([[0.2, 0.8], [0.2, 0.2], [0.8, 0.2], [0.8, 0.8]])[[[0, 1, 2], [0, 2, 3]]]
    return np.concatenate([(0.05 + 0.9 * FACE.uv)[FACE.triangles], *[plate] * len(PARTS)])


def arrays():
    """All fields of version 3.0, the unused ones small."""
    groups = np.zeros((len(GROUPS), len(VERTICES)))
    for row, places in zip(groups, GROUPS.values(), strict=True):
        row[np.concatenate(places)] = 1
    head = padded(FACE.identity[:3])
    shrunk = padded(FACE.expression) * np.array([0.1, 1, 0.5, 0.9])[:, None, None]
    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": (VERTICES / 10).astype(np.float32),
        "template_joint_positions": np.zeros((4, 3)),
        "vertex_identity_basis": (np.concatenate([head, head[:2]]) / 10).astype(np.float32),
        "joint_identity_basis": np.zeros((5, 4, 3)),
        "expression_basis": (shrunk / 10).astype(np.float32),
        "identity_names": np.array(["head_000", "head_001", "head_002", "eyes_000", "teeth_000"]),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "expression_names": np.array(
            ["left_eye_region_000", "right_eye_region_000", "lower_face_region_000", "tongue"]
        ),
        "joint_parent_indices": np.array([-1, 0, 1, 1]),
        "skinning_weights": np.ones((4, len(VERTICES))) / 4,
        "quads": np.zeros((1, 4), np.int32),
        "triangles": triangles(),
        "quad_uvs": np.zeros((1, 4, 2)),
        "triangle_uvs": texture(),
        "mesh_component_names": np.array(["skin", *GROUPS]),
        "mirror_indices": np.arange(len(VERTICES)),
        "joint_regressor": np.zeros((4, len(VERTICES))),
        "pose_correctives_regressor": np.zeros((36, 3 * len(VERTICES)), np.float32),
        "bone_aligned_template_joint_orientations": np.tile(np.eye(3), (4, 1, 1)),
        "vertex_groups": groups,
        "vertex_group_names": np.array(list(GROUPS)),
    }


def write(path, **changes):
    """The file with `changes`; None leaves a field out."""
    fields = {**arrays(), **changes}
    np.savez_compressed(path, **{name: value for name, value in fields.items() if value is not None})
    return path


def sparse(order=range(68)):
    """The lines of head_sparse_68.txt: three vertices with weights."""
    corners = FACE.triangles[FACE.places[0]][list(order)]
    rows = np.stack([corners, FACE.places[1][list(order)]], -1).reshape(68, 6)
    return "\n".join(" ".join(f"{value:.8g}" for value in row) for row in rows) + "\n"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "gnm_head.npz")
    (tmp_path / "head_sparse_68.txt").write_text(sparse())
    return tmp_path


def load(folder, *options):
    files = [folder / "gnm_head.npz", folder / "out.npz", "--landmarks", folder / "head_sparse_68.txt"]
    assert main(["gnm", *map(str, files), "--overwrite", *map(str, options)]) == 0
    return morphable_model.load(folder / "out.npz")


def expressions(keep=(0, 1, 2, 3)):
    return (padded(FACE.expression) * np.array([0.1, 1, 0.5, 0.9])[:, None, None])[list(keep)]


def test_whole_head_round_trip(folder):
    model = load(folder, "--whole-head")
    whole = FACE._replace(vertices=VERTICES)
    head = padded(FACE.identity[:3])  # the modes of eyeballs and teeth are others
    assert_model_is(model, whole, keep=KEPT, identity=head, expression=expressions(), tolerance=3e-6)
    assert_centered(model)
    assert (model.name, model.licence) == ("GNM Head", "Apache-2.0")


def test_the_back_of_the_head_is_cut_off(folder):
    model = load(folder)
    assert model.mean_shape[:, 2].min() > -1
    assert FACE.front / 2 < len(model.mean_shape) < FACE.front + 4 * len(PARTS)


def test_landmarks_lie_where_the_file_says(folder):
    model = load(folder, "--whole-head")
    found = landmarks.positions(model.landmarks["ibug68"], model.mean_shape)
    corners = FACE.vertices[FACE.triangles[FACE.places[0]]]
    wanted = (corners * FACE.places[1][..., None]).sum(1)
    np.testing.assert_allclose(found - found[30], wanted - wanted[30], atol=1e-5)


def test_a_backward_jaw_is_turned(folder):
    wanted = load(folder).landmarks["ibug68"]
    (folder / "head_sparse_68.txt").write_text(sparse(REVERSED))
    found = load(folder).landmarks["ibug68"]
    np.testing.assert_array_equal(found.vertices, wanted.vertices)
    np.testing.assert_array_equal(found.weights, wanted.weights)


def test_the_largest_expressions_are_taken_in_the_order_of_the_file(folder):
    model = load(folder, "--whole-head", "--expression", 2, "--identity", 1)
    assert len(model.identity_basis) == 1
    np.testing.assert_allclose(model.expression_basis, expressions([1, 3])[:, KEPT], atol=1e-6)


def test_regions_follow_the_groups(folder):
    model = load(folder, "--whole-head")
    place = np.full(len(VERTICES), -1)
    place[KEPT] = np.arange(len(KEPT))
    parts = {name: place[corners].tolist() for name, corners in PLACES.items()}
    assert np.flatnonzero(model.regions["eyes"]).tolist() == parts["left_eye"] + parts["right_eye"]
    inside = [parts[name] for name in ("mouth_sock", "upper_teeth_and_gums", "lower_teeth_and_gums", "tongue")]
    assert np.flatnonzero(model.regions["inner_mouth"]).tolist() == np.concatenate(inside).tolist()


def test_no_two_parts_share_a_place_of_the_texture(folder):
    model = load(folder, "--whole-head")
    corners = model.uv[model.uv_triangles]
    boxes = [corners[:-10], *np.split(corners[-10:], 5)]  # skin, eyes, teeth and tongue
    for one in range(len(boxes)):
        for other in range(one):
            low = np.maximum(boxes[one].min((0, 1)), boxes[other].min((0, 1)))
            high = np.minimum(boxes[one].max((0, 1)), boxes[other].max((0, 1)))
            assert (low >= high - 1e-6).any()


def bomb(path):
    """A field whose header promises 50 GB, in a file of a few hundred bytes."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250, 16666667, 3), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("joint_extras.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 8)


def replace_line(folder, text):
    path = folder / "head_sparse_68.txt"
    path.write_text(path.read_text().replace(path.read_text().splitlines()[5], text))


MISSHAPEN = np.zeros((2, len(VERTICES) - 1, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: write(f / "gnm_head.npz", triangles=None), "must hold 'triangles'. Received: bone_aligned"),
        (lambda f: write(f / "gnm_head.npz", template_vertex_positions=None), "must hold 'template_vertex_positions'"),
        (lambda f: write(f / "gnm_head.npz", vertex_group_names=None), "must hold 'vertex_group_names'"),
        (
            lambda f: write(f / "gnm_head.npz", expression_basis=MISSHAPEN),
            rf"expression_basis must be numbers of shape \('any', {len(VERTICES)}, 3\)",
        ),
        (lambda f: write(f / "gnm_head.npz", triangles=triangles() + 9), "triangles must be whole numbers in"),
        (lambda f: write(f / "gnm_head.npz", triangle_uvs=texture()[1:]), "triangle_uvs must be numbers of shape"),
        (lambda f: write(f / "gnm_head.npz", identity_names=np.array(["a"])), "identity_names must be 5 names"),
        (
            lambda f: write(f / "gnm_head.npz", identity_names=np.array(list("abcde"))),
            "must hold names that begin with 'head'. Received: a, b",
        ),
        (lambda f: write(f / "gnm_head.npz", variant=np.array("body")), "must be the variant 'head'. Received: 'body'"),
        (
            lambda f: write(f / "gnm_head.npz", vertex_group_names=np.array([name[:5] for name in GROUPS])),
            "vertex_group_names must hold mouth_sock, left_eye, .* Received: skin, mouth, left_",
        ),
        (
            lambda f: write(f / "gnm_head.npz", vertex_identity_basis=np.array([{}], dtype=object)),
            "not a readable .npz of plain arrays.*vertex_identity_basis.npy, an array of pickled objects",
        ),
        (
            lambda f: write(f / "gnm_head.npz", template_vertex_positions=VERTICES * np.nan),
            "must be finite. Received: NaN",
        ),
        (lambda f: write(f / "gnm_head.npz", template_vertex_positions=VERTICES), "0.5 to 1.5 dm apart"),
        (lambda f: bomb(f / "gnm_head.npz"), "an array of 50000001000 bytes in"),
        (lambda f: (f / "gnm_head.npz").write_bytes(b"no zip"), "not a readable .npz"),
        (lambda f: (f / "gnm_head.npz").unlink(), "No such file: .*gnm_head.npz"),
        (lambda f: (f / "head_sparse_68.txt").unlink(), "No such file: .*head_sparse_68.txt"),
        (lambda f: replace_line(f, "0 1 2"), "must hold 68 lines of a .txt"),
        (lambda f: replace_line(f, "0 1 1 1 2 1"), "the landmarks' weights must sum to 1"),
        (lambda f: replace_line(f, "0 1 1 0 999999 0"), "the landmarks' vertices must be whole numbers in"),
    ],
)
def test_wrong_files(folder, capsys, change, message):
    change(folder)
    files = [folder / "gnm_head.npz", folder / "out.npz", "--landmarks", folder / "head_sparse_68.txt"]
    assert main(["gnm", *map(str, files)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(PortingError, match=message):
        raise PortingError(error)
    assert not (folder / "out.npz").exists()


def test_landmarks_are_asked_for(folder, capsys):
    assert main(["gnm", str(folder / "gnm_head.npz"), str(folder / "out.npz")]) == 1
    assert "pass --landmarks FILE, head_sparse_68.txt" in capsys.readouterr().err


def test_read_needs_no_command_line(folder):
    source = gnm.read(folder / "gnm_head.npz", folder / "head_sparse_68.txt", whole_head=True)
    assert source.albedo is None
    assert len(source.vertices) == len(KEPT)
    assert source.origin == "gnm_head.npz (GNM Head 3.0, Google)"
