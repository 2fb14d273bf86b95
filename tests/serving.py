"""A stand-in for TensorFlow Serving, which no package registry has: it answers Predict by a SavedModel.

The messages are TensorFlow Serving's own (tensorflow-serving-api); the checks of a request follow its behaviour.
"""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class RefusedError(ValueError):
    """The request is wrong; the message says how."""


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers by the signatures of a SavedModel."""

    def __init__(self, folder):
        self.loaded = tf.saved_model.load(str(folder))

    def answer(self, name, inputs):
        """Name -> array of a signature's outputs.

        Args:
          name: of the signature.
          inputs: name -> function (dtype) that gives the array.
        """
        signature = self.loaded.signatures.get(name)
        if signature is None:
            raise RefusedError(f"no signature {name!r}")
        specs = signature.structured_input_signature[1]
        if set(inputs) != set(specs):
            raise RefusedError(f"inputs must be {sorted(specs)}. Received: {sorted(inputs)}")
        try:
            tensors = {key: tf.constant(inputs[key](spec.dtype), spec.dtype) for key, spec in specs.items()}
            for key, spec in specs.items():
                if not spec.shape.is_compatible_with(tensors[key].shape):
                    raise RefusedError(f"{key} must be {spec.shape}. Received: {tensors[key].shape}")
            return {key: value.numpy() for key, value in signature(**tensors).items()}
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise RefusedError(str(error)) from error

    def Predict(self, request, context):  # noqa: N802
        """The call of gRPC."""
        inputs = {name: lambda _, proto=proto: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        try:
            found = self.answer(request.model_spec.signature_name or "serving_default", inputs)
        except RefusedError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:1000])
        for name, value in found.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextmanager
def grpc_server(folder, threads=4):
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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
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
