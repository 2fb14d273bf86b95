"""The same proposals as `networks.propose`, made by the package mediapipe: its own graph around the same network.

An optional backend of `detection`, and the reference its decoding is tested against. Packages from 0.10.30 on carry
no models, and ours lack the metadata that MediaPipe's tasks ask for; so the input's range is written into a copy in
memory, with MediaPipe's own schema. Tried with mediapipe 0.10.33; 0.10.21 runs the short-range network only.
"""

import importlib.util
import threading
from functools import lru_cache
from typing import Any

import numpy as np

from tf_deep3d.detection.networks import CANDIDATE_SCORE, BlazeFace, Candidates, Picture, model_file, view
from tf_deep3d.errors import ExtraError
from tf_deep3d.face.geometry import Similarity

KEYPOINTS = 6
_lock = threading.Lock()  # a task serves one caller at a time


def propose(image: Picture, detector: BlazeFace, region: Similarity) -> Candidates:
    """Proposes faces in one region of the photo.

    Args:
      image: `Picture`.
      detector: `networks.BlazeFace`.
      region: `Similarity`, photo px -> the detector's input px.

    Returns:
      `Candidates` in photo px, merged by MediaPipe; boxes are upright squares, cut to whole pixels of the input.

    Raises:
      ExtraError: mediapipe is not installed.
    """
    if importlib.util.find_spec("mediapipe") is None:
        raise ExtraError("the backend needs the package mediapipe (0.10.33). Received: it is not installed")
    import mediapipe  # pyright: ignore[reportMissingImports]

    picture = np.round(view(image, region, detector.size) * 255).astype(np.uint8)
    with _lock:
        result = _task(detector).detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, picture))
    back = region.inverse()
    scores, boxes, keypoints = np.zeros(0), np.zeros((0, 4)), np.zeros((0, KEYPOINTS, 2))
    for found in result.detections:
        box = found.bounding_box
        centre = back.apply(np.array([box.origin_x + box.width / 2, box.origin_y + box.height / 2]))
        half = back.scale * max(box.width, box.height) / 2
        points = back.apply(np.array([[point.x, point.y] for point in found.keypoints]) * detector.size)
        scores = np.append(scores, found.categories[0].score)
        boxes = np.concatenate([boxes, [[*(centre - half), *(centre + half)]]])
        keypoints = np.concatenate([keypoints, points[None]])
    return Candidates(scores, boxes, keypoints)


@lru_cache
def _task(detector: BlazeFace) -> Any:
    """MediaPipe's face detector task around the network of `detector`; kept for the life of the process."""
    from mediapipe.tasks.python import vision  # pyright: ignore[reportMissingImports]
    from mediapipe.tasks.python.core.base_options import BaseOptions  # pyright: ignore[reportMissingImports]

    base = BaseOptions(model_asset_buffer=_with_input_range(model_file(detector.file).read_bytes()))
    options = vision.FaceDetectorOptions(base_options=base, min_detection_confidence=CANDIDATE_SCORE)
    return vision.FaceDetector.create_from_options(options)


def _with_input_range(model: bytes) -> bytes:
    """A copy of the .tflite bytes whose metadata say that the input is RGB mapped to [-1, 1]."""
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata  # pyright: ignore[reportMissingImports]
    from mediapipe.tasks.metadata import schema_py_generated as schema  # pyright: ignore[reportMissingImports]

    normalization = metadata.NormalizationOptionsT()
    normalization.mean = normalization.std = [127.5]
    unit = metadata.ProcessUnitT()
    unit.optionsType, unit.options = metadata.ProcessUnitOptions.NormalizationOptions, normalization
    picture = metadata.ContentT()
    picture.contentPropertiesType = metadata.ContentProperties.ImageProperties
    picture.contentProperties = metadata.ImagePropertiesT()
    picture.contentProperties.colorSpace = metadata.ColorSpaceType.RGB
    tensor = metadata.TensorMetadataT()
    tensor.processUnits, tensor.content = [unit], picture
    graph = metadata.SubGraphMetadataT()
    graph.inputTensorMetadata = [tensor]
    graph.outputTensorMetadata = [metadata.TensorMetadataT(), metadata.TensorMetadataT()]
    described = metadata.ModelMetadataT()
    described.subgraphMetadata = [graph]

    network = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_packed(flatbuffers, described, b"M001"), np.uint8)
    network.buffers.append(buffer)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(network.buffers) - 1
    network.metadata = [*(network.metadata or []), entry]
    return _packed(flatbuffers, network, b"TFL3")


def _packed(flatbuffers: Any, table: Any, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.Finish(table.Pack(builder), identifier)
    return bytes(builder.Output())
