"""Every reader of foreign bytes, and small good files for it.

A reader is made by a function, which imports what it needs: so a fuzzer can watch those imports.
"""

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Reader:
    """A reader of foreign bytes.

    Attributes:
      file: name of the file, since some readers go by its suffix.
      read: takes the file's path.
      seeds: good contents.
      wrap: what a content is put into before it becomes the file: so changes lie behind checksums and compression.
      refusals: kinds of errors by which the reader refuses, in one line.
    """

    file: str
    read: Callable[[Path], object]
    seeds: list[bytes]
    wrap: Callable[[bytes], bytes] = bytes
    refusals: tuple[type[Exception], ...] = ()


LONGEST = 1200  # letters of a refusal
READERS: dict[str, Callable[[], Reader]] = {}


def _reader(make: Callable[[], Reader]) -> Callable[[], Reader]:
    READERS[make.__name__.strip("_").replace("_", "-")] = make
    return make


class UnclearError(Exception):
    """A refusal that is not one line of a length that can be read."""


def outcome(reader: Reader, path: Path) -> str | None:
    """Reads a file; None, or how it was refused.

    Raises:
      Exception: what is no refusal, or an `UnclearError`.
    """
    from tf_deep3d.errors import InputError

    try:
        reader.read(path)
    except (InputError, *reader.refusals) as error:
        kind, message = type(error).__name__, str(error)
        if len(message.splitlines()) != 1 or len(message) > LONGEST:
            raise UnclearError(f"{kind} of {len(message.splitlines())} lines, {len(message)} letters") from error
        return f"{kind} {message.partition('Received')[0][-60:]}"
    return None


def _pixels(height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    return np.arange(height * width * channels, dtype=np.uint32).reshape(height, width, channels).astype(np.uint8)


def encoded(kind: str, image: np.ndarray | None = None, **options: Any) -> bytes:
    """A picture in a format of Pillow."""
    stream = io.BytesIO()
    Image.fromarray(_pixels() if image is None else image).save(stream, kind, **options)
    return stream.getvalue()


def npz(arrays: dict[str, Any], compressed: bool = True) -> bytes:
    """The bytes of an .npz."""
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def _zipped(name: str, others: dict[str, bytes] | None = None) -> Callable[[bytes], bytes]:
    """Puts a content into a zip file under a name, beside others."""

    def wrap(content: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for each, data in {**(others or {}), name: content}.items():
                archive.writestr(each, data)
        return stream.getvalue()

    return wrap


@_reader
def photo() -> Reader:
    from tf_deep3d.io import photos

    Image.init()
    kinds = [kind for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "MPO")
             if kind in Image.SAVE]  # fmt: skip
    seeds = [encoded(kind) for kind in kinds]
    seeds += [encoded("JPEG", progressive=True), encoded("TIFF", compression="tiff_lzw")]
    seeds += [encoded("PNG", _pixels(channels=4)), encoded("PNG", np.full((4, 4), 40_000, np.uint16))]
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
        seeds.append(encoded("HEIF", _pixels(64, 64)))
    return Reader("photo", photos.read_photo, seeds)


def _with_exif(block: bytes) -> bytes:
    """A JPEG around an EXIF block."""
    plain = encoded("JPEG")
    content = b"Exif\0\0" + block[:60_000]
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + plain[2:]


@_reader
def exif() -> Reader:
    from tf_deep3d.io import optics, photos

    tags = Image.Exif()
    tags[0x0112] = 6
    tags.get_ifd(0x8769).update({0xA405: 28, 0xA002: 8, 0xA003: 8})

    def read(path: Path) -> object:
        pixels = photos.read_photo(path)
        return optics.focal_length(path, pixels.shape[1::-1])

    return Reader("photo.jpg", read, [tags.tobytes()[6:], b"MM\0*\0\0\0\x08\0\0\0\0\0\0"], _with_exif)


@_reader
def video() -> Reader:
    from itertools import islice
    from tempfile import TemporaryDirectory

    from tf_deep3d.reconstruction.clip import video as videos

    def read(path: Path) -> object:
        videos.frame_count(path)
        return [frame.time for frame in islice(videos.read_frames(path), 6)]

    with TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        with videos.writing_video(path, 32, 32) as write:
            for number in range(3):
                write(videos.Frame(number / 25, np.roll(_pixels(32, 32), number, 0)))
        seeds = [path.read_bytes()]
    frames = [Image.fromarray(np.roll(_pixels(16, 16), number, 0)) for number in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return Reader("clip.mp4", read, [*seeds, stream.getvalue()])


@_reader
def arrays() -> Reader:
    from tf_deep3d.io import archive

    content = {"a": np.arange(5.0), "b": np.array(["text"])}
    return Reader("arrays.npz", archive.read_arrays, [npz(content), npz(content, compressed=False)])


@_reader
def array_header() -> Reader:
    from tf_deep3d.io import archive

    seeds = []
    for array in (
        np.arange(5.0),
        np.zeros((2, 3), np.int8),
        np.array(["text"]),
        np.array(2.5),
        np.asfortranarray(np.eye(3)),
    ):
        stream = io.BytesIO()
        np.save(stream, array)
        seeds.append(stream.getvalue())
    return Reader("arrays.npz", archive.read_arrays, seeds, _zipped("a.npy"))


@_reader
def face_model() -> Reader:
    from tests.synthetic import synthetic_arrays
    from tf_deep3d.face import morphable_model

    return Reader("face.npz", lambda path: morphable_model.load(path, 0), [npz(synthetic_arrays(), compressed=False)])


@_reader
def face_model_lists() -> Reader:
    """A face model whose array of one name is any bytes."""
    from tests.synthetic import synthetic_arrays
    from tf_deep3d.face import morphable_model

    good = synthetic_arrays()
    names = sorted(good)

    def entry(array: Any) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()

    others = {f"{name}.npy": entry(good[name]) for name in names}
    small = [name for name in names if np.size(good[name]) < 800]

    def wrap(content: bytes) -> bytes:
        name = small[content[0] % len(small)] if content else small[0]
        return _zipped(f"{name}.npy", others)(content[1:])

    seeds = [bytes([number]) + entry(good[name]) for number, name in enumerate(small)]
    return Reader("face.npz", lambda path: morphable_model.load(path, 0), seeds, wrap)


def _network() -> tuple[Any, dict[str, bytes]]:
    """The class of a small network, and the entries of its `.keras` file."""
    from tempfile import TemporaryDirectory

    from tf_deep3d.models import weights
    from tf_deep3d.models.cnet import CNet

    made = CNet((4, 4, 2), 4, 3, "0123456789abcdef", separable=True, recipe={"steps": 3})
    with TemporaryDirectory() as folder:
        weights.save(made, Path(folder, "a.keras"))
        with zipfile.ZipFile(Path(folder, "a.keras")) as archive:
            return CNet, {name: archive.read(name) for name in archive.namelist()}


@_reader
def weights() -> Reader:
    from tf_deep3d.models import weights as files

    kind, entries = _network()
    return Reader(
        "net.keras", lambda path: files.load(path, kind), [_zipped("config.json", entries)(entries["config.json"])]
    )


@_reader
def weights_config() -> Reader:
    from tf_deep3d.models import weights as files

    kind, entries = _network()
    return Reader(
        "net.keras", lambda path: files.load(path, kind), [entries["config.json"]], _zipped("config.json", entries)
    )


@_reader
def weights_hdf5() -> Reader:
    from tf_deep3d.models import weights as files

    kind, entries = _network()
    wrap = _zipped("model.weights.h5", entries)
    return Reader("net.keras", lambda path: files.load(path, kind), [entries["model.weights.h5"]], wrap)


@dataclass(frozen=True)
class _Inner:
    path: str = ""
    flag: bool = False


@dataclass(frozen=True)
class _Outer:
    steps: int = 1
    rate: float = 0.5
    names: tuple[str, ...] = ()
    inner: _Inner = field(default_factory=_Inner)


@_reader
def config() -> Reader:
    from tf_deep3d.training import config as configs

    good = b"steps: 3\nrate: 1e-4\nnames: [a, 'b']\ninner: {path: x, flag: true}\n"
    block = b"inner:\n  path: |\n    a\n? rate\n: .5\n"
    return Reader("settings.yaml", lambda path: configs.load(path, _Outer), [good, block])


@_reader
def recipe() -> Reader:
    """A training's settings, and those of `--set` in the first lines that begin with "--"."""
    from tf_deep3d.training import config as configs
    from tf_deep3d.training.settings import TrainSettings

    def read(path: Path) -> object:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
        overrides = [line[2:] for line in lines if line.startswith("--")]
        path.write_text("\n".join(line for line in lines if not line.startswith("--")), encoding="utf-8")
        return configs.load(path, TrainSettings, overrides)

    folder = Path(__file__).parents[2] / "configs"
    seeds = [each.read_bytes() + b"\n--data.batch=4\n--rate=.5\n" for each in sorted(folder.glob("*.yaml"))]
    return Reader("settings.yaml", read, seeds)


@_reader
def table() -> Reader:
    from tf_deep3d.io import tables

    return Reader(
        "table.csv",
        tables.read_csv,
        ['file,person\na.jpg,"Ann, B"\nb.jpg,Zoë\n'.encode(), b"\xef\xbb\xbfa;b\r\n1;2\r\n"],
    )


@_reader
def identities() -> Reader:
    from tf_deep3d.data import preparation

    def read(path: Path) -> object:
        (path.parent / "a.jpg").write_bytes(b"x")
        return preparation.list_photos([str(path.parent / "a.jpg")], [str(path)])

    return Reader("people.csv", read, [b"file,person\na.jpg,Ann\n"], refusals=(FileNotFoundError,))


def _framed(body: bytes) -> bytes:
    """A TFRecord file of one record, with the checksums that it needs."""
    from tf_deep3d.data import tfrecord

    length = struct.pack("<Q", len(body))
    sums = [struct.pack("<I", tfrecord.masked_checksum(part)) for part in (length, body)]
    return gzip.compress(length + sums[0] + body + sums[1], mtime=0, compresslevel=1)


def _message(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2, len(payload)]) + payload


def _example() -> bytes:
    """An `Example` with a text and numbers, written by hand."""
    entries = {
        b"person": _message(1, _message(1, b"Ann")),
        b"landmarks": _message(2, _message(1, struct.pack("<2f", 1.0, 2.0))),
        b"skin": _message(1, _message(1, encoded("JPEG", _pixels()[..., 0])[:100])),
    }
    return _message(
        1, b"".join(_message(1, _message(1, name) + _message(2, value)) for name, value in list(entries.items())[:2])
    )


@_reader
def shard() -> Reader:
    from tf_deep3d.data import tfrecord

    return Reader(
        "train-0.gz", lambda path: [tfrecord.fields(each) for each in tfrecord.read(path)], [_framed(_example())]
    )


@_reader
def record() -> Reader:
    """A record behind its checksums, as a training without TensorFlow reads it."""
    from tf_deep3d.data import records, tfrecord

    def read(path: Path) -> object:
        return [tfrecord.parse(each, records.SCHEMA) for each in tfrecord.read(path)]

    shapes = {name: tuple(length or 1 for length in each.shape) for name, each in records.SCHEMA.items()}
    good = {
        name: "text"
        if each.kind == "string"
        else np.zeros(shapes[name], np.uint8 if each.kind == "jpeg" else np.float32)
        for name, each in records.SCHEMA.items()
    }
    return Reader("train-0.gz", read, [records.encode(good), _example()], _framed)


@_reader
def dataset() -> Reader:
    """`dataset.json` beside a shard."""
    from tf_deep3d.data import records

    content = _framed(_example())

    def read(path: Path) -> object:
        (path.parent / "a").write_bytes(content)
        found = records.open_records(path.parent)
        return [list(records.read_shard(each)) for each in found.shards]

    from hashlib import sha256

    shards = [{"file": "a", "count": 1, "bytes": len(content), "sha256": sha256(content).hexdigest()}]
    listing = {"schema_version": 1, "shards": {"train": shards, "validation": []}}
    return Reader(records.DATASET_FILE, read, [json.dumps(listing).encode()])


@_reader
def pickled_arrays() -> Reader:
    import scipy.sparse

    from tf_deep3d.porting import pickled, unpickling

    def read(path: Path) -> object:
        value = unpickling.read(path.read_bytes())
        values = value.values() if isinstance(value, dict) else [value]
        return [pickled.array(each, "an array") for each in values]

    content = {
        "v": np.arange(6.0).reshape(2, 3), "f": np.arange(3, dtype=np.uint32), "n": np.float32(2), "l": [1, 2.5],
        "s": scipy.sparse.csc_matrix(np.eye(3)),
    }  # fmt: skip
    plain = {"v": [1, 2.5, "x", None], b"k": (True, 2**70)}
    return Reader(
        "model.pkl",
        read,
        [pickle.dumps(content, protocol=number) for number in (0, 2, 4, 5)] + [pickle.dumps(plain, 2)],
    )


@_reader
def object_array() -> Reader:
    from tf_deep3d.porting import flame

    stream = io.BytesIO()
    np.save(stream, np.array({"full_lmk_faces_idx": np.arange(4), "b": np.ones(3)}, object), allow_pickle=True)
    return Reader("landmark_embedding.npy", flame._embedding, [stream.getvalue()])


@_reader
def matlab() -> Reader:
    import scipy.io

    from tf_deep3d.porting import containers

    seeds = []
    for options in ({"do_compression": True}, {}, {"format": "4"}):
        stream = io.BytesIO()
        scipy.io.savemat(stream, {"tri": np.arange(12.0).reshape(4, 3), "b": np.arange(3, dtype=np.uint8)}, **options)
        seeds.append(stream.getvalue())
    return Reader("model.mat", lambda path: containers.read_mat(path, ("tri", "b")), seeds)


@_reader
def aflw() -> Reader:
    import scipy.io

    from tf_deep3d.evaluation.protocols import landmarks

    seeds = []
    for compressed in (True, False):
        stream = io.BytesIO()
        content = {"pt3d_68": np.zeros((3, 68), np.float32), "Pose_Para": np.zeros((1, 7), np.float32), "n": "text"}
        scipy.io.savemat(stream, content, do_compression=compressed)
        seeds.append(stream.getvalue())
    return Reader("image.mat", landmarks.read_mat, seeds)


@_reader
def pts() -> Reader:
    from tf_deep3d.evaluation.protocols import landmarks

    rows = "\n".join(f"{number} {number}.5" for number in range(68))
    return Reader("image.pts", landmarks.read_pts, [f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n".encode()])


@_reader
def hdf5() -> Reader:
    import h5py

    from tf_deep3d.porting import containers

    stream = io.BytesIO()
    with h5py.File(stream, "w", libver="earliest") as file:
        file["shape/model/mean"] = np.arange(6.0)
        file.create_dataset("b", data=np.arange(40), compression="gzip", chunks=(8,))
    return Reader("model.h5", lambda path: containers.read_hdf5(path, ("shape/model/mean", "b")), [stream.getvalue()])


OBJ = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0 0.5 0.5 0.5\nvt 0 0\nusemtl skin\nf 1/1 2/1 3/1\nf -1 -2 -3\n"


@_reader
def porting_obj() -> Reader:
    from tf_deep3d.porting import containers

    return Reader("head.obj", containers.read_obj, [OBJ])


@_reader
def porting_landmarks() -> Reader:
    """The landmarks of a foreign face model, as text."""
    from tf_deep3d.porting import landmarks

    vertices, triangles = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90).reshape(30, 3)
    rows = [
        b"\n".join(b"%d" % number for number in range(68)),
        b"\n".join(b"%d 0 .5 # x" % number for number in range(68)),
    ]
    rows += [b"\n".join(b"%d 0.5 1 0.5 2 0" % number for number in range(68))]
    return Reader("marks.txt", lambda path: landmarks.read_landmarks(path, vertices, triangles), rows)


@_reader
def porting_landmarks_npy() -> Reader:
    from tf_deep3d.porting import landmarks

    vertices, triangles = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90).reshape(30, 3)
    seeds = []
    for array in (np.arange(68), np.zeros((68, 3))):
        stream = io.BytesIO()
        np.save(stream, array)
        seeds.append(stream.getvalue())
    return Reader("marks.npy", lambda path: landmarks.read_landmarks(path, vertices, triangles), seeds)


@_reader
def porting_landmarks_json() -> Reader:
    from tf_deep3d.porting import landmarks

    vertices, triangles = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90).reshape(30, 3)
    seeds = [json.dumps(list(range(68))).encode(), json.dumps([[0, 0.5, 1]] * 68).encode()]
    return Reader("marks.json", lambda path: landmarks.read_landmarks(path, vertices, triangles), seeds)


@_reader
def dlib_network() -> Reader:
    from tests.porting.networks import test_dlib_recognition as writer
    from tf_deep3d.porting.networks import dlib_format

    good = writer._file()[0]
    tail = good[4000:]
    return Reader("net.dat", lambda path: dlib_format.read_network(path.read_bytes() + tail), [good[:4000]])


@_reader
def faceres_package() -> Reader:
    import tarfile

    from tf_deep3d.porting.networks import faceres

    stream = io.BytesIO()
    manifest = {"weightsManifest": [{"weights": [{"name": "a", "shape": [2, 3], "dtype": "float16"}]}]}
    with tarfile.open(fileobj=stream, mode="w:gz") as package:
        for name, content in ((faceres.MANIFEST, json.dumps(manifest).encode()), (faceres.WEIGHTS, bytes(12))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    return Reader("human.tgz", lambda path: faceres.read_weights(*faceres.read_package(path)), [stream.getvalue()])


@_reader
def faceres_manifest() -> Reader:
    from tf_deep3d.porting.networks import faceres

    entries = [
        {"name": "a", "shape": [2, 3], "dtype": "float16"},
        {"name": "b", "shape": [], "quantization": {"dtype": "float32"}},
    ]
    good = json.dumps({"weightsManifest": [{"weights": entries}]}).encode()
    return Reader("model.json", lambda path: faceres.read_weights(path.read_bytes(), bytes(64)), [good])


@_reader
def scan_obj() -> Reader:
    from tf_deep3d.evaluation import mesh_files

    def read(path: Path) -> object:
        path.with_name("a.mtl").write_bytes(b"newmtl skin\nmap_Kd a.png\n")
        path.with_name("a.png").write_bytes(encoded("PNG"))
        return mesh_files.read_painted(path)

    return Reader("scan.obj", read, [OBJ, OBJ.replace(b"/1", b"").replace(b"0 0 0\n", b"0 0 0 9 9 9\n", 1)])


@_reader
def scan_ply() -> Reader:
    from tf_deep3d.evaluation import mesh_files

    def ply(kind: bytes, body: bytes, lists: bytes = b"uchar int") -> bytes:
        head = b"ply\nformat %s 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n" % kind
        head += b"property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
        return head + b"property list %s vertex_indices\nend_header\n" % lists + body

    rows = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    little = b"".join(struct.pack("<3f3B", *row, 1, 2, 3) for row in rows) + struct.pack("<B3i", 3, 0, 1, 2)
    large = b"".join(struct.pack(">3f3B", *row, 1, 2, 3) for row in rows) + struct.pack(">B4i", 4, 0, 1, 2, 0)
    text = b"0 0 0 1 2 3\n1 0 0 1 2 3\n0 1 0 1 2 3\n3 0 1 2\n"
    seeds = [ply(b"binary_little_endian", little), ply(b"binary_big_endian", large), ply(b"ascii", text)]
    return Reader("scan.ply", mesh_files.read_painted, seeds)


@_reader
def scan_wrl() -> Reader:
    from tf_deep3d.evaluation import mesh_files

    good = b"#VRML V2.0 utf8\nShape { point [ 0 0 0, 1 0 0, 1 1 0 ] coordIndex [ 0, 1, 2, -1 ] }"
    return Reader("scan.wrl", mesh_files.read_mesh, [good])


@_reader
def scan_landmarks() -> Reader:
    from tf_deep3d.evaluation import mesh_files

    good = b"\n".join(b"%d %d 2.5 -3" % (number, number) for number in range(7))
    return Reader(
        "points.lnd", lambda path: mesh_files.read_landmarks(path, np.zeros((9, 3))), [good, b"\n".join([b"3"] * 51)]
    )


@_reader
def picked_points() -> Reader:
    from tf_deep3d.evaluation import mesh_files

    points = b"".join(
        b'<point x="%d" y="1.5" z="-2" name="%d" active="1"/>\n' % (number, number) for number in range(7)
    )
    return Reader(
        "points.pp",
        mesh_files.read_landmarks,
        [b"<!DOCTYPE PickedPoints>\n<PickedPoints>\n" + points + b"</PickedPoints>"],
    )


@_reader
def scan_indices() -> Reader:
    from tf_deep3d.evaluation import mesh_files

    return Reader("measured.txt", lambda path: mesh_files.read_indices(path, 9), [b"1\n2\n3\n", b"1 2 # x\n3 4\n"])


def _manifest() -> dict[str, Any]:
    return {
        "schema": 1,
        "networks": [{"network": "rnet", "quantization": "int8", "file": "net.tflite"}],
        "face": {"file": "face.npz"},
        "detector": {"files": ["detector/a.tflite"]},
        "lighting": "harmonics",
        "input": {"alignment": {"model_points5": [[0, 0, 0]] * 5}},
    }


@_reader
def bundle() -> Reader:
    """A bundle's manifest, beside a face model and a network that is none."""
    from export import device_bundle
    from tests.synthetic import synthetic_arrays
    from tf_deep3d.face.coefficients import LIGHTINGS

    model = npz(synthetic_arrays(), compressed=False)

    def read(path: Path) -> object:
        for name, content in (("face.npz", model), ("net.tflite", b"TFL3"), ("detector/a.tflite", b"")):
            place = path.parent / name
            place.parent.mkdir(exist_ok=True)
            if not place.exists():
                place.write_bytes(content)
        return device_bundle.open_bundle(path.parent)

    good = {**_manifest(), "lighting": sorted(LIGHTINGS)[0]}
    return Reader(device_bundle.MANIFEST, read, [json.dumps(good).encode()], refusals=(FileNotFoundError,))


@_reader
def client_manifest() -> Reader:
    from export import client

    return Reader("manifest.json", client._points5, [json.dumps(_manifest()).encode()], refusals=(ValueError,))


@_reader
def network() -> Reader:
    """A LiteRT network of a bundle."""
    from export import device_bundle
    from tests.synthetic import synthetic_arrays
    from tf_deep3d import assets
    from tf_deep3d.face import morphable_model

    stream = io.BytesIO(npz(synthetic_arrays()))
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder, "a.npz")
        path.write_bytes(stream.getvalue())
        layout = morphable_model.load(path).layout()
    good = (assets.FOLDER / "face_detection_short_range.tflite").read_bytes()
    return Reader("net.tflite", lambda path: device_bundle._open_network(path, layout, 1), [good])


@_reader
def tf_config() -> Reader:
    import os

    from tf_deep3d.training import devices

    def read(path: Path) -> object:
        os.environ["TF_CONFIG"] = path.read_bytes().decode("latin-1").replace("\0", "")
        try:
            return devices.is_chief()
        finally:
            del os.environ["TF_CONFIG"]

    good = {"cluster": {"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "task": {"type": "worker", "index": 0}}
    return Reader("config.json", read, [json.dumps(good).encode()])
