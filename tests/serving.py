"""A stand-in for TensorFlow Serving, which no package registry has: it answers Predict by a SavedModel.

The messages are TensorFlow Serving's own (tensorflow-serving-api); the checks of a request follow its behaviour.
"""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.c_api import INVALID_ARGUMENT, SavedModel, TensorFlowError

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers by the signatures of a SavedModel, which TensorFlow's C++ loader loads, as TensorFlow Serving has it."""

    def __init__(self, folder):
        message = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
        self.signatures = dict(message.meta_graphs[0].signature_def)
        self.loaded = SavedModel(Path(tf.__file__).parent, folder)

    def answer(self, name, inputs):
        """Name -> array of a signature's outputs.

        Args:
          name: of the signature.
          inputs: name -> function (dtype) that gives the array.
        """
        if name not in self.signatures:
            raise TensorFlowError(INVALID_ARGUMENT, f"no signature {name!r}")
        known, outputs = self.signatures[name].inputs, self.signatures[name].outputs
        if set(inputs) != set(known):
            raise TensorFlowError(INVALID_ARGUMENT, f"inputs must be {sorted(known)}. Received: {sorted(inputs)}")
        try:
            feeds = {}
            for key, info in known.items():
                dtype = tf.as_dtype(info.dtype)
                feeds[info.name] = np.asarray(inputs[key](dtype), dtype.as_numpy_dtype)
        except (TypeError, ValueError) as error:
            raise TensorFlowError(INVALID_ARGUMENT, str(error)) from error
        found = self.loaded.run(feeds, [info.name for info in outputs.values()])
        return dict(zip(outputs, found, strict=True))

    def Predict(self, request, context):  # noqa: N802
        """The call of gRPC."""
        inputs = {name: lambda _, proto=proto: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        try:
            found = self.answer(request.model_spec.signature_name or "serving_default", inputs)
        except TensorFlowError as error:
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[error.code], str(error)[:1000])
        for name, value in found.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextmanager
def grpc_server(folder, threads=32):
    """Serves a SavedModel; yields "HOST:PORT"."""
    server = grpc.server(ThreadPoolExecutor(threads), options=UNLIMITED)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(folder), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def rest_server(folder):
    """Serves a SavedModel; yields "http://HOST:PORT"."""
    service = Service(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inputs = {
                    name: lambda dtype, value=value: _decoded(value) if dtype == tf.string else np.array(value)
                    for name, value in asked["inputs"].items()
                }
                found = service.answer(asked.get("signature_name", "serving_default"), inputs)
                plain = {name: _plain(value) for name, value in found.items()}
                only = next(iter(plain.values())) if len(plain) == 1 else plain
                status, body = 200, {"outputs": only}
            except ValueError as error:
                status, body = 400, {"error": str(error)[:1000]}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # clients that wait at the door

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _decoded(value):
    return np.array([base64.b64decode(item["b64"]) for item in value], object)


def _plain(value):
    return [item.decode() for item in value] if value.dtype == object else value.tolist()
