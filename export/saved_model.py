"""The SavedModel that TensorFlow Serving loads: four signatures, and requests to warm up with.

    coefficients      images [B, 224, 224, 3] of aligned faces -> the groups of `Coefficients`, confidence
    serving_default   image_bytes [B], JPEG or PNG files of aligned faces -> the same, and error [B]
    face              the groups -> vertices, normals, colors, landmarks
    aggregate         identity [B, M, K], confidence [B, M, K], present [B, M] of sets of photos -> identity [B, K]

The alignment is not in the graph: it needs a detector. Pictures of another size are resized, which is no substitute.
A file whose EXIF turns it, as phones write them, is refused: it is no aligned face, or its tag is out of date.
A picture that cannot be read, or has pixels that are not finite, spoils no other one of its request: its numbers are
NaN and, where there are bytes to read, its `error` says why. A request of no picture at all is refused.

Pictures of many clients go through the networks together: the graph itself joins them, after it looked at each request.
A server's own batching (`--enable_batching`) joins requests unseen, and one of another shape fails all that it meets.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from export.device_bundle import CONFIDENCE
from export.networks import INPUT, Networks, input_shape, output_shapes, regress
from tf_deep3d import face as faces
from tf_deep3d.arrays import Array
from tf_deep3d.face.aggregation import aggregate
from tf_deep3d.face.camera import IMAGE_SIZE
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io.files import writing

MAX_BYTES = 16 << 20  # of an encoded picture
MAX_PIXELS = 25_000_000  # of a decoded one
BYTES, ERROR, PRESENT = "image_bytes", "error", "present"
EXTRA = "assets.extra"  # the folder that the server reads besides the model
WARM_UP = f"{EXTRA}/tf_serving_warmup_requests"
MAX_PICTURES = 256  # of a request
_BATCH = 8  # pictures; measured on 2 cores: more gain nothing (tests.benchmarks.export)
_joined = tf.nondifferentiable_batch_function(
    num_batch_threads=2,
    max_batch_size=MAX_PICTURES,
    allowed_batch_sizes=list(range(1, _BATCH + 1)),
    batch_timeout_micros=2000,
    max_enqueued_batches=128,
)
FACE = ("vertices", "normals", "colors", "landmarks")  # fields of `face.Face` that the signature `face` gives
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EXIF_WITHIN = 1 << 17  # bytes: where a file has its EXIF, if any
# EXIF, in either byte order, with an orientation (tag 0x0112, one SHORT) other than 1, upright. \C is any byte.
_TURNED = (
    r"\C*(Exif\x00\x00|eXIf)"
    r"(II\*\x00\C*\x12\x01\x03\x00\x01\x00\x00\x00[\x02-\x08]\x00|MM\x00\*\C*\x01\x12\x00\x03\x00\x00\x00\x01\x00[\x02-\x08])\C*"
)


class Service(tf.Module):
    """The networks and a face model, with the functions of the signatures."""

    def __init__(self, networks: Networks, model: MorphableModel) -> None:
        """Holds `networks` (`Networks`) and `model` (`MorphableModel`), whose arrays become variables."""
        super().__init__(name="service")
        # As attributes, Keras' models would bring every variable twice, and a server would restore the wrong ones.
        self._shapes = output_shapes(networks)
        self._joined = _joined(lambda images: [regress(networks, images)[name] for name in self._shapes])
        self.held = [weight.value for network in networks if network is not None for weight in network.weights]
        self._model = model.on_backend(self._hold)

    def _regress(self, images: Array) -> dict[str, Array]:
        """Name -> output [B, ...] of the networks, for [B, 224, 224, 3], computed together with other requests'."""
        found = zip(self._shapes.items(), self._joined(images), strict=True)
        return {name: tf.ensure_shape(value, (None, *shape)) for (name, shape), value in found}

    def _hold(self, array: np.ndarray) -> tf.Variable:
        self.held.append(tf.Variable(tf.constant(array), trainable=False))
        return self.held[-1]

    def coefficients(self, images: Array) -> dict[str, Array]:
        """Signature `coefficients`; of a picture with pixels that are not finite the numbers are NaN."""
        images = tf.ensure_shape(_some(images, "images"), input_shape())
        finite = tf.reduce_all(tf.math.is_finite(images), axis=(1, 2, 3))
        return _blank(self._regress(tf.where(finite[:, None, None, None], images, 0.0)), finite)

    def encoded(self, image_bytes: Array) -> dict[str, Array]:
        """Signature `serving_default`."""
        images, error = decode(_some(image_bytes, BYTES))
        return {**_blank(self._regress(images), error == ""), ERROR: error}

    def face(self, **groups: Array) -> dict[str, Array]:
        """Signature `face`."""
        groups = {name: _some(values, name) for name, values in groups.items()}
        found = faces.reconstruct(self._model.on_backend(tf.convert_to_tensor), Coefficients(**groups), xp=ops)
        return {name: getattr(found, name) for name in FACE}

    def aggregate(self, identity: Array, present: Array, confidence: Array | None = None) -> dict[str, Array]:
        """Signature `aggregate`."""
        identity, strategy = _some(identity, "identity"), "average" if confidence is None else "elementwise"
        return {"identity": aggregate(identity, confidence, present, strategy, xp=ops)}

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """Name -> concrete function."""
        shapes = self._shapes
        groups = {name: _spec(shapes[name], name) for name in Coefficients._fields}
        sets = {"identity": tf.TensorSpec((None, None, *shapes["identity"]), name="identity")}
        if CONFIDENCE in shapes:
            sets[CONFIDENCE] = tf.TensorSpec((None, None, *shapes[CONFIDENCE]), name=CONFIDENCE)
        sets[PRESENT] = tf.TensorSpec((None, None), name=PRESENT)
        concrete = tf.function(self.encoded).get_concrete_function(tf.TensorSpec([None], tf.string, BYTES))
        return {
            "serving_default": concrete,
            "coefficients": tf.function(self.coefficients).get_concrete_function(_spec(input_shape()[1:], INPUT)),
            "face": tf.function(self.face).get_concrete_function(**groups),
            "aggregate": tf.function(self.aggregate).get_concrete_function(**sets),
        }


def write_saved_model(
    folder: Path, networks: Networks, model: MorphableModel, warm_up: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """Writes a SavedModel.

    Args:
      folder: to create; its name is the version, a number.
      networks: `Networks`.
      model: `MorphableModel` of the signature `face`.
      warm_up: list of (signature, dict of NumPy inputs) that the server runs before it answers.

    Raises:
      OSError: if it cannot be written.
    """
    service = Service(networks, model)
    try:
        tf.saved_model.save(service, str(folder), signatures=service.signatures())
    except tf.errors.OpError as error:
        raise OSError(f"cannot write {folder}: {error.message}") from error
    with writing(folder / WARM_UP) as file:
        try:
            with tf.io.TFRecordWriter(file.name) as writer:
                for signature, inputs in warm_up:
                    writer.write(prediction_log(signature, inputs))
        except tf.errors.OpError as error:
            raise OSError(f"cannot write {folder}: {error.message}") from error


def decode(image_bytes: Array) -> tuple[Array, Array]:
    """Reads JPEG and PNG files, each on its own.

    Args:
      image_bytes: [B] string tensor.

    Returns:
      (images [B, 224, 224, 3] float32 RGB in [0, 1], black where unreadable; error [B] text, empty where readable).
    """
    count = tf.size(image_bytes)
    size = tf.strings.length(image_bytes)
    known = (tf.strings.substr(image_bytes, 0, len(_JPEG)) == _JPEG) | _is_png(image_bytes)
    turned = tf.strings.regex_full_match(tf.strings.substr(image_bytes, 0, _EXIF_WITHIN), _TURNED)
    readable = known & ~turned & (size <= MAX_BYTES)
    numbered = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes, readable))
    usable: Any = numbered.filter(lambda _, __, usable: usable)  # pyright: ignore[reportArgumentType]
    read = usable.map(_read, tf.data.AUTOTUNE).ignore_errors()
    # One more, so that there is at least one:
    rest = tf.data.Dataset.from_tensors((count, tf.zeros(input_shape()[1:])))
    rows, pictures = read.concatenate(rest).batch(tf.cast(count, tf.int64) + 1).get_single_element()
    images = tf.scatter_nd(rows[:, None], pictures, tf.stack([count + 1, *input_shape()[1:]]))[:count]
    found = tf.scatter_nd(rows[:, None], tf.ones_like(rows), [count + 1])[:count] > 0
    error = tf.where(found, "", f"the picture is damaged, or has more than {MAX_PIXELS} pixels")
    error = tf.where(turned, "the picture's EXIF turns it: turn its pixels, and leave the tag out", error)
    error = tf.where(known, error, "neither a JPEG nor a PNG file")
    error = tf.where(size > MAX_BYTES, f"a picture may have {MAX_BYTES} bytes at most", error)
    received = tf.strings.join([". Received: ", tf.strings.as_string(size), " bytes"])
    return tf.ensure_shape(images, input_shape()), tf.where(error == "", "", tf.strings.join([error, received]))


def prediction_log(signature: str, inputs: Mapping[str, Any], model: str = "face") -> bytes:
    """Bytes of a `tensorflow.serving.PredictionLog` that asks for `signature` with NumPy `inputs`.

    The message's few fields are written by hand, so that the package tensorflow-serving-api is not needed.
    """
    spec = _field(1, model.encode()) + _field(3, signature.encode())
    entries = (
        _field(1, name.encode()) + _field(2, tf.make_tensor_proto(value).SerializeToString())
        for name, value in inputs.items()
    )
    request = _field(1, spec) + b"".join(_field(2, entry) for entry in entries)
    return _field(6, _field(1, request))  # PredictionLog.predict_log, PredictLog.request


def _some(values: Array, name: str) -> Array:
    """`values` [B, ...], refused where B = 0."""
    message = f"{name} must have at least one element. Received: an empty list"
    with tf.control_dependencies([tf.debugging.assert_positive(tf.shape(values)[0], message)]):
        return tf.identity(values)


def _spec(shape: Sequence[int], name: str) -> tf.TensorSpec:
    return tf.TensorSpec((None, *shape), tf.float32, name)


def _is_png(image_bytes: Array) -> Array:
    return tf.strings.substr(image_bytes, 0, len(_PNG)) == _PNG


def _read(number: Array, image_bytes: Array, _: Array) -> tuple[Array, Array]:
    """(number, image [224, 224, 3]) of one file; fails if it is damaged or too large."""
    png = _is_png(image_bytes)

    def png_size() -> Array:  # in the header, at a fixed place
        return tf.io.decode_raw(tf.strings.substr(image_bytes, 16, 8), tf.int32, little_endian=False)

    extent = tf.cond(png, png_size, lambda: tf.image.extract_jpeg_shape(image_bytes)[:2])
    pixels = tf.reduce_prod(tf.cast(extent, tf.int64))
    with tf.control_dependencies([tf.debugging.Assert((pixels > 0) & (pixels <= MAX_PIXELS), [extent])]):
        image_bytes = tf.identity(image_bytes)
    picture = tf.cond(
        png,
        lambda: tf.io.decode_png(image_bytes, channels=3),
        lambda: tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE"),
    )
    resized = tf.image.resize(picture, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)
    return number, tf.ensure_shape(tf.clip_by_value(resized / 255.0, 0.0, 1.0), input_shape()[1:])


def _blank(found: Mapping[str, Array], keep: Array) -> dict[str, Array]:
    """`found` with NaN where `keep` [B] is false."""
    return {
        name: tf.where(tf.reshape(keep, [-1] + [1] * (len(value.shape) - 1)), value, float("nan"))
        for name, value in found.items()
    }


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    low = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return low + (_varint(value >> 7) if value > 0x7F else b"")
