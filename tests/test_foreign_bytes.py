"""Whatever bytes a reader of foreign files gets, it reads them or says in one line what is wrong with them.

Hypothesis changes small good files and looks for an error of another kind, or of several lines. A short look runs with
the other tests; `pytest tests/test_foreign_bytes.py --hypothesis-profile=long` goes on for hours.
"""

import gzip
import io
import pickle
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import synthetic_arrays
from tf_deep3d.data import records, tfrecord
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import mesh_files
from tf_deep3d.face import morphable_model
from tf_deep3d.io import archive, photos, tables
from tf_deep3d.porting import containers, unpickling
from tf_deep3d.training import config

hypothesis = pytest.importorskip("hypothesis", reason="pip install -r requirements-test.txt")
st = hypothesis.strategies
NUMBERS = (b"0", b"-1", b"255", b"9" * 23, b"1e999", b"nan", b"1:59:59")
OBJ = b"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0 0.5 0.5 0.5\nvt 0 0\nusemtl skin\nf 1/1 2/1 3/1\nf -1 -2 -3\n"
WRL = b"#VRML V2.0 utf8\nShape { point [ 0 0 0, 1 0 0, 1 1 0 ] coordIndex [ 0, 1, 2, -1 ] }"


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


def _image(kind):
    stream = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(stream, kind)
    return stream.getvalue()


def _npz(arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _shard():
    """A TFRecord file of one `Example` with a text and a number, written by hand."""

    def message(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    entries = {
        b"person": message(1, message(1, b"Ann")),
        b"landmarks": message(2, message(1, struct.pack("<2f", 1.0, 2.0))),
    }
    body = message(1, b"".join(message(1, message(1, name) + message(2, value)) for name, value in entries.items()))
    length = struct.pack("<Q", len(body))
    frame = (
        length
        + struct.pack("<I", tfrecord.masked_checksum(length))
        + body
        + struct.pack("<I", tfrecord.masked_checksum(body))
    )
    return gzip.compress(frame, mtime=0)


def _examples(path):
    return [tfrecord.fields(serialized) for serialized in tfrecord.read(path)]


# Suffix -> (reader of a path, bytes that it reads).
READERS = {
    "arrays.npz": (archive.read_arrays, _npz({"a": np.arange(5.0), "b": np.array(["text"])})),
    "face.npz": (lambda path: morphable_model.load(path, 0), _npz(synthetic_arrays())),
    "table.csv": (tables.read_csv, 'file,person\na.jpg,"Ann, B"\nb.jpg,Zoë\n'.encode()),
    "settings.yaml": (
        lambda path: config.load(path, _Outer),
        b"steps: 3\nrate: 1e-4\nnames: [a, 'b']\ninner: {path: x, flag: true}\n",
    ),
    "dataset.json": (
        lambda path: records.read_json(path, shards=dict),
        b'{"schema_version": 1, "shards": {"train": [{"file": "a", "count": 1}]}}',
    ),
    "shard.gz": (_examples, _shard()),
    "porting.obj": (containers.read_obj, OBJ),
    "scan.obj": (mesh_files.read_mesh, OBJ),
    "scan.wrl": (mesh_files.read_mesh, WRL),
    "points.lnd": (mesh_files.read_landmarks, b"\n".join(b"%d %d 2.5 -3" % (n, n) for n in range(7))),
    "photo.png": (photos.read_photo, _image("PNG")),
    "photo.jpg": (photos.read_photo, _image("JPEG")),
    "photo.gif": (photos.read_photo, _image("GIF")),
    "photo.tif": (photos.read_photo, _image("TIFF")),
    "dict.pkl": (
        lambda path: unpickling.read(path.read_bytes()),
        pickle.dumps({"v": [1, 2.5, "x", None], b"k": (True, 2**70)}, protocol=2),
    ),
}


@st.composite
def _changes(draw, good):
    """`good` with a few stretches replaced: by other bytes, by numbers that are extreme, by pieces of itself, by
    nothing."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from((0, 0, 1, 1, 2, 4, 8, 64, len(good)))))
        begin = draw(st.integers(0, max(len(good) - 1, 0)))
        pieces = st.just(good[begin : begin + 32])
        content[start:stop] = draw(st.one_of(st.binary(max_size=8), st.sampled_from(NUMBERS), pieces))
    return bytes(content)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")  # of decoders and of NumPy: what counts is how the reader ends
def test_a_changed_file_is_read_or_refused_in_one_line(name, tmp_path):
    reader, good = READERS[name]
    path = tmp_path / name

    @hypothesis.given(_changes(good))
    def check(content):
        path.write_bytes(content)
        try:
            reader(path)
        except InputError as error:
            message = str(error)
        else:
            return
        assert len(message.splitlines()) == 1, message

    path.write_bytes(good)
    reader(path)
    check()
